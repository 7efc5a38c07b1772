//! A process that dies in the middle of an attempt, and what the next one makes of the row it left.

use std::time::Duration;

use axum::http::StatusCode;
use chrono::{SubsecRound as _, TimeDelta, Utc};
use serde_json::Value;
use shared::testing::{Dapr, app_with, audit_steps, count, deliver, execute, post, step};
use sqlx::PgPool;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::oneshot,
};
use uuid::Uuid;

use super::{
    Folder, delivery, fired, reminder_state, sent_events, smtp_process,
    smtp_server::{Answer, Script, SmtpServer, WILLING},
    with_files, with_smtp, with_smtp_and_jobs,
};

/// Leaves the delivery of an event as a process that died did: begun, its lease at an end, and what `columns` say.
async fn died(db: &PgPool, event: &Value, columns: &str) {
    let (names, values): (Vec<&str>, Vec<&str>) =
        columns.split(", ").map(|column| column.split_once(" = ").unwrap()).unzip();
    let id = event["id"].as_str().unwrap();
    execute(
        db,
        &format!(
            "insert into notification_deliveries
                 (id, reminder_id, reminder_version, channel, user_id, task_id, event_id, state, attempts, started_at, lease_until,
                  {})
             select gen_random_uuid(), id, version, 'email', user_id, task_id, '{id}', 'sending', 1, now(), now(), {}
             from task_reminders",
            names.join(", "),
            values.join(", ")
        ),
    )
    .await;
}

async fn unknowns(db: &PgPool) -> usize {
    audit_steps(db).await.into_iter().filter(|(action, _)| action == "reminder.unknown").count()
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_death_before_the_final_dot_leads_to_another_attempt(db: PgPool) {
    let server = SmtpServer::start(WILLING).await;
    let routes = with_smtp(&db, &server.url);
    let (.., event) = fired(&db, &routes).await;
    died(&db, &event, "at_dot = null, repeated = false").await;
    assert_eq!(deliver(&routes, &event).await, StatusCode::OK);
    assert_eq!(delivery(&db).await, ("sent".to_owned(), 2, false, None));
    assert_eq!((server.bodies().len(), unknowns(&db).await, sent_events(&db).await), (1, 0, 1));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_death_after_the_final_dot_leads_to_one_repeat_and_an_audited_unknown(db: PgPool) {
    let server = SmtpServer::start(WILLING).await;
    let routes = with_smtp(&db, &server.url);
    let (.., event) = fired(&db, &routes).await;
    died(&db, &event, "at_dot = now(), repeated = false").await;
    assert_eq!(deliver(&routes, &event).await, StatusCode::OK);
    assert_eq!(delivery(&db).await, ("sent".to_owned(), 2, true, None));
    assert_eq!((server.bodies().len(), unknowns(&db).await, sent_events(&db).await), (1, 1, 1));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_death_after_the_final_dot_of_the_repeat_ends_the_delivery_unknown(db: PgPool) {
    let server = SmtpServer::start(WILLING).await;
    let routes = with_smtp(&db, &server.url);
    let (.., event) = fired(&db, &routes).await;
    died(&db, &event, "at_dot = now(), repeated = true").await;
    for _ in 0..2 {
        assert_eq!(deliver(&routes, &event).await, StatusCode::OK);
    }
    assert_eq!(delivery(&db).await.0, "unknown");
    assert_eq!((server.bodies().len(), unknowns(&db).await, sent_events(&db).await), (0, 1, 0));
    assert_eq!(reminder_state(&db).await, "failed");
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_death_with_an_idempotent_provider_leads_to_another_attempt_within_a_day(db: PgPool) {
    for (columns, state, repeated) in [
        ("at_dot = null, created_at = now()", "sent", true),
        ("at_dot = now(), created_at = now()", "sent", true),
        ("at_dot = null, created_at = now() - interval '23 hours'", "sent", true),
        ("at_dot = null, created_at = now() - interval '24 hours'", "unknown", false),
    ] {
        execute(&db, "delete from notification_deliveries; delete from task_reminders").await;
        let folder = Folder::new();
        let routes = with_files(&db, &folder);
        let (.., event) = fired(&db, &routes).await;
        died(&db, &event, columns).await;
        assert_eq!(deliver(&routes, &event).await, StatusCode::OK, "{columns}");
        assert_eq!((delivery(&db).await.0.as_str(), delivery(&db).await.2), (state, repeated), "{columns}");
        assert_eq!(folder.messages().len(), usize::from(state == "sent"), "{columns}");
    }
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_message_that_may_have_been_accepted_ends_unknown_when_cancelled_or_refused_later(db: PgPool) {
    let refusing = SmtpServer::start(Script { recipient: Answer::Reply("550 5.1.1 no such user"), ..WILLING }).await;
    let folder = Folder::new();
    let cancel = "update task_reminders set version = 2, state = 'cancelled', cancel_reason = 'completed'";
    let cancelled = "completed, and it may have been accepted before";
    for (routes, columns, change, ended) in [
        (with_smtp(&db, &refusing.url), "at_dot = now(), repeated = false", cancel, ("unknown", true, cancelled)),
        (with_smtp(&db, &refusing.url), "at_dot = null, repeated = true", cancel, ("unknown", true, cancelled)),
        (with_smtp(&db, &refusing.url), "at_dot = null, repeated = false", cancel, ("skipped", false, "completed")),
        (with_files(&db, &folder), "at_dot = null, repeated = false", cancel, ("unknown", true, cancelled)),
        (with_smtp(&db, &refusing.url), "at_dot = now(), repeated = false", "", ("unknown", true, "smtp RCPT: 550")),
        (with_smtp(&db, &refusing.url), "at_dot = null, repeated = false", "", ("failed", false, "smtp RCPT: 550")),
    ] {
        execute(&db, "delete from notification_deliveries; delete from task_reminders").await;
        let (.., event) = fired(&db, &routes).await;
        died(&db, &event, columns).await;
        execute(&db, change).await;
        assert_eq!(deliver(&routes, &event).await, StatusCode::OK, "{columns}");
        let (state, _, repeated, reason) = delivery(&db).await;
        assert_eq!((state.as_str(), repeated, reason.unwrap().as_str()), ended, "{columns}, {change}");
        assert!(folder.messages().is_empty() && refusing.bodies().is_empty(), "{columns}");
    }
}

/// Makes the database fail whenever a delivery takes this state, and mends it again.
async fn break_database(db: &PgPool, when: &str, failure: &str) {
    execute(
        db,
        &format!(
            "create function break() returns trigger language plpgsql as $$ begin {failure}; return new; end $$;
             create trigger break before update on notification_deliveries for each row when ({when}) execute function break()"
        ),
    )
    .await;
}

async fn mend_database(db: &PgPool) {
    execute(db, "drop trigger break on notification_deliveries; drop function break()").await;
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn an_outage_of_the_database_after_the_reply_repeats_no_message(db: PgPool) {
    let server = SmtpServer::start(WILLING).await;
    let routes = with_smtp(&db, &server.url);
    let (.., event) = fired(&db, &routes).await;
    break_database(&db, "new.state = 'sent'", "raise 'away' using errcode = '57P03'").await;
    for _ in 0..6 {
        assert_eq!(deliver(&routes, &event).await, StatusCode::SERVICE_UNAVAILABLE);
    }
    mend_database(&db).await;
    assert_eq!(deliver(&routes, &event).await, StatusCode::OK);
    assert_eq!(delivery(&db).await, ("sent".to_owned(), 1, false, None));
    assert_eq!((server.bodies().len(), sent_events(&db).await), (1, 1));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn no_process_repeats_a_message_while_another_knows_that_it_was_accepted(db: PgPool) {
    let (server, dapr) = (SmtpServer::start(WILLING).await, Dapr::start().await);
    let processes = [(); 2].map(|()| with_smtp_and_jobs(&db, &server.url, &dapr));
    let (.., event) = fired(&db, &processes[0]).await;
    break_database(&db, "new.state = 'sent'", "perform pg_terminate_backend(pg_backend_pid())").await;
    let (first, of_first) = (processes[0].clone(), event.clone());
    let knows = tokio::spawn(async move { deliver(&first, &of_first).await });
    server.story.reaches("<dot>").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    for _ in 0..3 {
        assert_eq!((deliver(&processes[1], &event).await, server.bodies().len()), (StatusCode::OK, 1));
    }
    mend_database(&db).await;
    assert_eq!(knows.await.unwrap(), StatusCode::OK);
    assert_eq!(delivery(&db).await, ("sent".to_owned(), 1, false, None));
    assert_eq!((server.bodies().len(), sent_events(&db).await, unknowns(&db).await), (1, 1, 0));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn an_accepted_message_is_recorded_as_sent_over_the_record_of_another_process(db: PgPool) {
    let server = SmtpServer::start(WILLING).await;
    let routes = with_smtp(&db, &server.url);
    let (.., event) = fired(&db, &routes).await;
    break_database(&db, "new.state = 'sent'", "raise 'away' using errcode = '57P03'").await;
    assert_eq!(deliver(&routes, &event).await, StatusCode::SERVICE_UNAVAILABLE);
    // The outage outlasts the lease: another process repeats it, and its server is away.
    execute(&db, "update notification_deliveries set lease_until = now()").await;
    assert_eq!(deliver(&with_smtp(&db, "smtp://127.0.0.1:9"), &event).await, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(delivery(&db).await.0, "retrying");
    mend_database(&db).await;
    assert_eq!(deliver(&routes, &event).await, StatusCode::OK);
    assert_eq!((delivery(&db).await.0.as_str(), server.bodies().len(), sent_events(&db).await), ("sent", 1, 1));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn an_attempt_whose_connection_dies_before_the_body_sends_nothing(db: PgPool) {
    let server = SmtpServer::start(WILLING).await;
    let routes = with_smtp(&db, &server.url);
    let (.., event) = fired(&db, &routes).await;
    break_database(&db, "new.at_dot is not null", "perform pg_terminate_backend(pg_backend_pid())").await;
    assert_eq!(deliver(&routes, &event).await, StatusCode::SERVICE_UNAVAILABLE);
    assert!(server.bodies().is_empty());
    mend_database(&db).await;
    execute(&db, "update notification_deliveries set next_attempt_at = now()").await;
    assert_eq!(deliver(&routes, &event).await, StatusCode::OK);
    assert_eq!((delivery(&db).await.0.as_str(), server.bodies().len(), sent_events(&db).await), ("sent", 1, 1));
}

/// A proxy of `server` that forwards its first connection once it is opened. Returns its URL, a signal that a client has connected, and the
/// sender that opens it.
pub(crate) async fn gate(server: &SmtpServer) -> (String, oneshot::Receiver<()>, oneshot::Sender<()>) {
    let gate = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("smtp://{}", gate.local_addr().unwrap());
    let (arrived, arrives) = oneshot::channel();
    let (opened, open) = oneshot::channel();
    let server = server.url.strip_prefix("smtp://").unwrap().to_owned();
    tokio::spawn(async move {
        let (mut client, _) = gate.accept().await.unwrap();
        arrived.send(()).unwrap();
        open.await.unwrap();
        let mut server = TcpStream::connect(server).await.unwrap();
        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
    });
    (url, arrives, opened)
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_process_whose_lease_was_taken_over_sends_nothing_and_writes_nothing(db: PgPool) {
    for answer in [WILLING, Script { mail: Answer::Reply("451 4.7.1 greylisted"), ..WILLING }] {
        execute(&db, "delete from notification_deliveries; delete from task_reminders; delete from audit_logs").await;
        let (server, dapr) = (SmtpServer::start(answer).await, Dapr::start().await);
        let (url, arrives, opened) = gate(&server).await;
        let routes = with_smtp_and_jobs(&db, &url, &dapr);
        let (.., event) = fired(&db, &routes).await;
        let attempt = tokio::spawn(async move { deliver(&routes, &event).await });
        arrives.await.unwrap();
        let take_over = "update notification_deliveries set attempts = 2, lease_until = now() + interval '1 minute'";
        execute(&db, take_over).await;
        opened.send(()).unwrap();
        assert_eq!(attempt.await.unwrap(), StatusCode::OK);
        assert!(server.bodies().is_empty());
        assert_eq!(delivery(&db).await, ("sending".to_owned(), 2, false, None));
        let steps = ["reminder.fired", "reminder.sending", "reminder.due"].map(|action| step(action, None));
        assert_eq!(audit_steps(&db).await, steps);
        // The job finishes the delivery if the other process dies.
        assert_eq!(dapr.names(), [format!("delivery-{}-2", delivery_id(&db).await)]);
    }
}

pub(crate) async fn delivery_id(db: &PgPool) -> Uuid {
    sqlx::query_scalar("select id from notification_deliveries").fetch_one(db).await.unwrap()
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_process_that_finds_a_foreign_lease_arms_a_job_at_its_end_and_acknowledges_the_event(db: PgPool) {
    let (server, dapr) = (SmtpServer::start(WILLING).await, Dapr::start().await);
    let routes = with_smtp_and_jobs(&db, &server.url, &dapr);
    // Older code has no lease, and says in `next_attempt_at` how long its attempt may take.
    for (lease, ends) in [("lease_until", "lease_until"), ("lease_until = null, next_attempt_at", "next_attempt_at")] {
        execute(&db, "delete from notification_deliveries; delete from task_reminders").await;
        dapr.wipe();
        let (.., event) = fired(&db, &routes).await;
        died(&db, &event, "at_dot = null, repeated = false").await;
        let until = Utc::now().trunc_subsecs(6) + TimeDelta::minutes(1);
        execute(&db, &format!("update notification_deliveries set {lease} = '{}'", until.to_rfc3339())).await;
        assert_eq!(deliver(&routes, &event).await, StatusCode::OK);
        let job = format!("delivery-{}-1", delivery_id(&db).await);
        assert_eq!((dapr.names(), dapr.jobs()[&job].due), (vec![job.clone()], Some(until)));
        // A scheduler whose clock is ahead calls early.
        let early = Utc::now();
        assert_eq!(post(&routes, &format!("/job/{job}"), "{}").await, StatusCode::OK);
        let calls_in = dapr.jobs()[&job].due.unwrap() - early;
        assert!((calls_in - TimeDelta::seconds(30)).abs() < TimeDelta::seconds(1), "{calls_in}");
        assert_eq!(delivery(&db).await, ("sending".to_owned(), 1, false, None));
        execute(&db, &format!("update notification_deliveries set {ends} = now()")).await;
        assert_eq!(post(&routes, &format!("/job/{job}"), "{}").await, StatusCode::OK);
        assert_eq!(delivery(&db).await, ("sent".to_owned(), 2, false, None));
    }
    assert_eq!(server.bodies().len(), 2);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn the_final_dot_renews_the_lease_for_the_answer_and_its_record(db: PgPool) {
    let server = SmtpServer::start(Script { body: Answer::Silence, ..WILLING }).await;
    let routes = with_smtp(&db, &server.url);
    let (.., event) = fired(&db, &routes).await;
    let attempt = tokio::spawn(async move { deliver(&routes, &event).await });
    server.story.reaches("<dot>").await;
    // The deadline of the tests is 2 s, their limit to record 0.2 s, the slack 5 s.
    let leases = "select count(*) from notification_deliveries
                  where next_attempt_at - started_at between interval '7 s' and interval '7.1 s'
                    and lease_until - at_dot between interval '7.2 s' and interval '7.3 s'";
    assert_eq!(count(&db, leases).await, 1);
    attempt.abort();
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_stopping_process_leaves_unsent_messages_to_another(db: PgPool) {
    let (server, dapr) = (SmtpServer::start(WILLING).await, Dapr::start().await);
    let app = app_with(&db, &dapr, &dapr, &dapr);
    let routes = smtp_process(app.clone(), &server.url);
    let (.., event) = fired(&db, &routes).await;
    // The signal comes while the attempt is being committed.
    break_database(&db, "new.state = 'sending'", "perform pg_sleep(0.3)").await;
    let first = tokio::spawn({
        let (routes, event) = (routes.clone(), event.clone());
        async move { deliver(&routes, &event).await }
    });
    let commits = "select count(*) from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'";
    while count(&db, commits).await == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    app.stop.cancel();
    assert_eq!(first.await.unwrap(), StatusCode::OK);
    let reason = "the process stopped before the provider was called";
    assert_eq!(delivery(&db).await, ("retrying".to_owned(), 1, false, Some(reason.to_owned())));
    assert_eq!(server.bodies().len(), 0);
    let job = format!("/job/delivery-{}-1", delivery_id(&db).await);
    assert_eq!(dapr.names().len(), 1);
    assert_eq!(post(&routes, &job, "{}").await, StatusCode::SERVICE_UNAVAILABLE);
    let other = with_smtp_and_jobs(&db, &server.url, &dapr);
    assert_eq!(post(&other, &job, "{}").await, StatusCode::OK);
    assert_eq!((delivery(&db).await.0.as_str(), server.bodies().len(), unknowns(&db).await), ("sent", 1, 0));
}

/// daprd cancels the calls of jobs when its scheduler goes away.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn an_attempt_whose_call_is_cancelled_runs_to_its_end(db: PgPool) {
    let server = SmtpServer::start(Script { body: Answer::LateReply("250 2.0.0 queued"), ..WILLING }).await;
    let routes = with_smtp(&db, &server.url);
    let (.., event) = fired(&db, &routes).await;
    died(&db, &event, "at_dot = null, repeated = false").await;
    let id = delivery_id(&db).await;
    let call = tokio::spawn(async move { post(&routes, &format!("/job/delivery-{id}-1"), "{}").await });
    server.story.reaches("<dot>").await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    for _ in 0..50 {
        if delivery(&db).await.0 == "sent" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(delivery(&db).await, ("sent".to_owned(), 2, false, None));
    assert_eq!((server.bodies().len(), sent_events(&db).await), (1, 1));
}
