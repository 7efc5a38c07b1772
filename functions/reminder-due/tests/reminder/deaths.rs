//! A process that dies in the middle of an attempt, and what the next one makes of the row it left.

use std::time::Duration;

use axum::http::StatusCode;
use serde_json::Value;
use shared::testing::{audit_steps, deliver, execute, post};
use sqlx::PgPool;

use super::{
    Folder, delivery, fired, reminder_state, sent_events,
    smtp_server::{Answer, Script, SmtpServer, WILLING},
    with_files, with_smtp,
};

/// Leaves the delivery of an event as a process that died did: begun, and what `columns` say.
async fn died(db: &PgPool, event: &Value, columns: &str) {
    let (names, values): (Vec<&str>, Vec<&str>) =
        columns.split(", ").map(|column| column.split_once(" = ").unwrap()).unzip();
    let id = event["id"].as_str().unwrap();
    execute(
        db,
        &format!(
            "insert into notification_deliveries
                 (id, reminder_id, reminder_version, channel, user_id, task_id, event_id, state, attempts, started_at, {})
             select gen_random_uuid(), id, version, 'email', user_id, task_id, '{id}', 'sending', 1, now(), {}
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
async fn before_the_final_dot_it_is_attempted_again(db: PgPool) {
    let server = SmtpServer::start(WILLING).await;
    let routes = with_smtp(&db, &server.url);
    let (.., event) = fired(&db, &routes).await;
    died(&db, &event, "at_dot = null, repeated = false").await;
    assert_eq!(deliver(&routes, &event).await, StatusCode::OK);
    assert_eq!(delivery(&db).await, ("sent".to_owned(), 2, false, None));
    assert_eq!((server.bodies().len(), unknowns(&db).await, sent_events(&db).await), (1, 0, 1));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn after_the_final_dot_it_is_repeated_once_and_told(db: PgPool) {
    let server = SmtpServer::start(WILLING).await;
    let routes = with_smtp(&db, &server.url);
    let (.., event) = fired(&db, &routes).await;
    died(&db, &event, "at_dot = now(), repeated = false").await;
    assert_eq!(deliver(&routes, &event).await, StatusCode::OK);
    assert_eq!(delivery(&db).await, ("sent".to_owned(), 2, true, None));
    assert_eq!((server.bodies().len(), unknowns(&db).await, sent_events(&db).await), (1, 1, 1));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn after_the_final_dot_of_the_repeat_it_ends_unknown(db: PgPool) {
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
async fn with_a_provider_that_knows_the_key_it_is_attempted_again_within_a_day(db: PgPool) {
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
async fn what_may_have_been_accepted_is_not_called_unsent_when_it_is_cancelled_or_refused_later(db: PgPool) {
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
async fn what_one_process_knows_to_be_accepted_is_sent_whatever_another_has_recorded(db: PgPool) {
    let server = SmtpServer::start(WILLING).await;
    let routes = with_smtp(&db, &server.url);
    let (.., event) = fired(&db, &routes).await;
    break_database(&db, "new.state = 'sent'", "raise 'away' using errcode = '57P03'").await;
    assert_eq!(deliver(&routes, &event).await, StatusCode::SERVICE_UNAVAILABLE);
    mend_database(&db).await;
    // Meanwhile another process repeated it, and its server was away.
    assert_eq!(deliver(&with_smtp(&db, "smtp://127.0.0.1:9"), &event).await, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(delivery(&db).await.0, "retrying");
    assert_eq!(deliver(&routes, &event).await, StatusCode::OK);
    assert_eq!((delivery(&db).await.0.as_str(), server.bodies().len(), sent_events(&db).await), ("sent", 1, 1));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn an_attempt_whose_connection_dies_before_the_body_sends_nothing(db: PgPool) {
    let server = SmtpServer::start(WILLING).await;
    let routes = with_smtp(&db, &server.url);
    let (.., event) = fired(&db, &routes).await;
    // The lock dies with its connection: another process may be at it already.
    break_database(&db, "new.at_dot is not null", "perform pg_terminate_backend(pg_backend_pid())").await;
    assert_eq!(deliver(&routes, &event).await, StatusCode::SERVICE_UNAVAILABLE);
    assert!(server.bodies().is_empty());
    mend_database(&db).await;
    assert_eq!(deliver(&routes, &event).await, StatusCode::OK);
    assert_eq!((delivery(&db).await.0.as_str(), server.bodies().len(), sent_events(&db).await), ("sent", 1, 1));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn an_attempt_that_another_process_took_over_ends_before_the_body(db: PgPool) {
    let server = SmtpServer::start(WILLING).await;
    // A way to the server that takes a moment.
    let way = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("smtp://{}", way.local_addr().unwrap());
    let (opened, open) = tokio::sync::oneshot::channel();
    let (arrived, arrives) = tokio::sync::oneshot::channel();
    let to = server.url.strip_prefix("smtp://").unwrap().to_owned();
    let walking = tokio::spawn(async move {
        let (mut from, _) = way.accept().await.unwrap();
        arrived.send(()).unwrap();
        open.await.unwrap();
        let mut to = tokio::net::TcpStream::connect(to).await.unwrap();
        let _ = tokio::io::copy_bidirectional(&mut from, &mut to).await;
    });
    let routes = with_smtp(&db, &url);
    let (.., event) = fired(&db, &routes).await;
    let attempt = tokio::spawn(async move { deliver(&routes, &event).await });
    arrives.await.unwrap();
    // The lock was lost, and another process has begun an attempt.
    execute(&db, "update notification_deliveries set attempts = 2").await;
    opened.send(()).unwrap();
    attempt.await.unwrap();
    walking.await.unwrap();
    assert!(server.bodies().is_empty());
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn while_one_process_is_at_a_delivery_another_comes_again(db: PgPool) {
    let folder = Folder::new();
    let routes = with_files(&db, &folder);
    let (.., event) = fired(&db, &routes).await;
    died(&db, &event, "at_dot = null, repeated = false").await;
    let id: uuid::Uuid = sqlx::query_scalar("select id from notification_deliveries").fetch_one(&db).await.unwrap();
    let lock = sqlx::postgres::PgAdvisoryLock::new(format!("delivery {id}"));
    let lease = lock.acquire(db.acquire().await.unwrap()).await.unwrap();
    assert_eq!(deliver(&routes, &event).await, StatusCode::SERVICE_UNAVAILABLE);
    assert!(folder.messages().is_empty());
    lease.release_now().await.unwrap();
    assert_eq!(deliver(&routes, &event).await, StatusCode::OK);
    assert_eq!(folder.messages().len(), 1);
}

/// daprd cancels the calls of jobs when its scheduler goes away.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn an_attempt_whose_call_is_given_up_goes_on_to_its_end(db: PgPool) {
    let server = SmtpServer::start(Script { body: Answer::LateReply("250 2.0.0 queued"), ..WILLING }).await;
    let routes = with_smtp(&db, &server.url);
    let (.., event) = fired(&db, &routes).await;
    died(&db, &event, "at_dot = null, repeated = false").await;
    let id: uuid::Uuid = sqlx::query_scalar("select id from notification_deliveries").fetch_one(&db).await.unwrap();
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
