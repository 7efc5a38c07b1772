//! `reminder.due` becomes one message, if it is still wanted.

use std::time::Duration;

use axum::{Router, http::StatusCode};
use chrono::{DateTime, Utc};
use reminder_due::email::{EmailConfig, ProviderName};
use secrecy::SecretString;
use serde_json::{Value, json};
use shared::{
    capability::{Action, Capability, CapabilityConfig, Keys, LIFETIME},
    schema::{ReminderDue, TaskRef},
    testing::{
        Dapr, app, app_with, audit_steps, call_job, count, deliver, deliver_at_once, due, erase, execute, handed_over,
        post, step,
    },
};
use sqlx::{PgPool, postgres::PgPoolOptions};
use uuid::Uuid;

use super::{
    Folder, delivery, email, fired, reminder_state, routes, sent_events,
    smtp_server::{Answer::Silence, Script, SmtpServer, WILLING},
    with_files, with_smtp, with_smtp_and_jobs,
};

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_due_reminder_becomes_one_message_one_delivery_and_one_event(db: PgPool) {
    let folder = Folder::new();
    let routes = with_files(&db, &folder);
    let (id, task, event) = fired(&db, &routes).await;
    // The words are those of the moment it fired, whatever the attempt.
    execute(&db, "update tasks set title = 'something else'").await;
    for _ in 0..3 {
        assert_eq!(deliver(&routes, &event).await, StatusCode::OK);
    }
    let messages = folder.messages();
    assert_eq!(messages.len(), 1);
    assert!(messages[0].contains("To: ada@example.com") && messages[0].contains("Subject: Reminder: call the dentist"));
    assert_eq!(delivery(&db).await, ("sent".to_owned(), 1, false, None));
    let (delivery_id, message_id): (Uuid, String) = sqlx::query_as(
        "select id, provider_message_id from notification_deliveries where sent_at is not null and provider = 'files'",
    )
    .fetch_one(&db)
    .await
    .unwrap();
    assert!(messages[0].contains(&message_id));
    let sent: Uuid =
        sqlx::query_scalar("select id from task_events where type = 'reminder.sent'").fetch_one(&db).await.unwrap();
    let sent = handed_over(&db, sent).await;
    assert_eq!(sent["traceparent"], event["traceparent"]);
    let expected = json!({
        "task_id": task.task_id, "user_id": task.user_id, "title": task.title, "version": task.version, "reminder_id": id,
        "remind_at": event["data"]["remind_at"], "reminder_version": 1, "channel": "email", "delivery_id": delivery_id,
    });
    assert_eq!(sent["data"], expected);
    let steps = ["reminder.fired", "reminder.sending", "reminder.due"].map(|action| step(action, None));
    assert_eq!(audit_steps(&db).await, steps);
}

/// The capabilities in a message, in the order of its text part.
fn capabilities(message: &str) -> Vec<String> {
    let text = message.replace("=\r\n", "");
    let ends = text.split("/app/#/act/").skip(1).map(|rest| rest.split(['\r', '\n', '"']).next().unwrap().to_owned());
    ends.collect()
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_mail_has_links_that_act_on_its_reminder_for_seven_days(db: PgPool) {
    let folder = Folder::new();
    let key: SecretString = "a key of capabilities with 32 bytes or more".into();
    let capabilities_config = CapabilityConfig { action_key: Some(key), former_action_key: None };
    let keys = Keys::new(&capabilities_config).unwrap().unwrap();
    let config = |page: Option<&str>, capabilities: &CapabilityConfig| EmailConfig {
        mail_dir: Some(folder.0.clone()),
        page_url: page.map(|page| page.parse().unwrap()),
        capabilities: capabilities.clone(),
        ..email(ProviderName::Files)
    };
    let page = Some("https://punctual.example/app/");
    let with_links = routes(app(&db), config(page, &capabilities_config));
    let (id, task, event) = fired(&db, &with_links).await;
    // Without a page or a key there are none.
    for without in [config(None, &capabilities_config), config(page, &CapabilityConfig::default())] {
        let routes = routes(app(&db), without);
        let (.., event) = fired(&db, &routes).await;
        assert_eq!(deliver(&routes, &event).await, StatusCode::OK);
        assert!(folder.messages().iter().all(|message| capabilities(message).is_empty()));
    }
    assert_eq!(deliver(&with_links, &event).await, StatusCode::OK);
    let messages = folder.messages();
    let found = messages.iter().map(|message| capabilities(message)).find(|found| !found.is_empty()).unwrap();
    let created_at: DateTime<Utc> =
        sqlx::query_scalar("select created_at from notification_deliveries where reminder_id = $1")
            .bind(id)
            .fetch_one(&db)
            .await
            .unwrap();
    let expires_at = DateTime::from_timestamp((created_at + LIFETIME).timestamp(), 0).unwrap();
    let expected = [Action::Complete, Action::Snooze].map(|action| Capability {
        user_id: task.user_id,
        task_id: task.task_id,
        reminder_id: id,
        reminder_version: 1,
        action,
        expires_at,
    });
    let read: Vec<_> = found.iter().map(|text| keys.verify(text, Utc::now()).unwrap()).collect();
    assert_eq!(read, [expected, expected].concat(), "the same links in text and HTML");
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn an_event_delivered_a_hundred_times_at_once_sends_one_message(db: PgPool) {
    let server = SmtpServer::start(WILLING).await;
    let routes = with_smtp(&db, &server.url);
    let (.., event) = fired(&db, &routes).await;
    // Who comes while it is being sent is told to come again: here no job can be armed for the end of the lease.
    assert!(deliver_at_once(&routes, &event, 100).await >= 1);
    assert_eq!(deliver(&routes, &event).await, StatusCode::OK);
    assert_eq!((server.bodies().len(), sent_events(&db).await), (1, 1));
    assert_eq!(delivery(&db).await, ("sent".to_owned(), 1, false, None));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_delivery_that_another_process_is_creating_is_not_called_skipped(db: PgPool) {
    let folder = Folder::new();
    let routes = with_files(&db, &folder);
    let (.., event) = fired(&db, &routes).await;
    let mut creating = db.begin().await.unwrap();
    sqlx::query(
        "insert into notification_deliveries (id, reminder_id, reminder_version, channel, user_id, task_id, event_id)
         select gen_random_uuid(), id, version, 'email', user_id, task_id, $1 from task_reminders",
    )
    .bind(event["id"].as_str().unwrap().parse::<Uuid>().unwrap())
    .execute(&mut *creating)
    .await
    .unwrap();
    let second = tokio::spawn(async move { deliver(&routes, &event).await });
    let waits =
        "select count(*) from pg_stat_activity where datname = current_database() and wait_event = 'transactionid'";
    while count(&db, waits).await == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    creating.commit().await.unwrap();
    assert_eq!(second.await.unwrap(), StatusCode::OK);
    assert_eq!(delivery(&db).await, ("sent".to_owned(), 1, false, None));
    assert_eq!(folder.messages().len(), 1);
    let steps = ["reminder.fired", "reminder.sending", "reminder.due"].map(|action| step(action, None));
    assert_eq!(audit_steps(&db).await, steps);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn more_reminders_at_once_than_connections_are_all_sent(db: PgPool) {
    let server = SmtpServer::start(WILLING).await;
    let routes = with_smtp(&db, &server.url);
    let mut sends = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (.., event) = fired(&db, &routes).await;
        let routes = routes.clone();
        sends.spawn(async move { deliver(&routes, &event).await });
    }
    assert!(sends.join_all().await.into_iter().all(|status| status == StatusCode::OK));
    assert_eq!((server.bodies().len(), sent_events(&db).await), (20, 20));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn messages_that_take_long_hold_no_connection(db: PgPool) {
    let server = SmtpServer::start(Script { greeting: Silence, ..WILLING }).await;
    let options = db.connect_options().as_ref().clone();
    let few = PgPoolOptions::new().max_connections(2).connect_lazy_with(options);
    // Firing keeps a connection, so it has a pool of its own.
    let (firing, sending) = (with_smtp(&db, &server.url), with_smtp(&few, &server.url));
    let mut sends = tokio::task::JoinSet::new();
    for _ in 0..10 {
        let (.., event) = fired(&db, &firing).await;
        let routes = sending.clone();
        sends.spawn(async move { deliver(&routes, &event).await });
    }
    while count(&db, "select count(*) from notification_deliveries where state = 'sending'").await < 10 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let free = async { (few.acquire().await.unwrap(), few.acquire().await.unwrap()) };
    tokio::time::timeout(Duration::from_millis(500), free).await.expect("every connection is free");
    assert!(sends.try_join_next().is_none(), "they were to take longer");
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn messages_that_take_long_keep_no_reminder_from_firing(db: PgPool) {
    let server = SmtpServer::start(Script { greeting: Silence, ..WILLING }).await;
    let routes = with_smtp(&db, &server.url);
    let (id, _) = due(&db, Utc::now()).await;
    let mut sends = tokio::task::JoinSet::new();
    let mut events = Vec::new();
    for _ in 0..10 {
        events.push(fired(&db, &routes).await.2);
    }
    for event in events {
        let routes = routes.clone();
        sends.spawn(async move { deliver(&routes, &event).await });
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let fired = tokio::time::timeout(Duration::from_millis(700), call_job(&routes, id, 1)).await;
    assert_eq!(fired.expect("it fires though the provider says nothing"), StatusCode::OK);
    assert!(sends.try_join_next().is_none(), "they were to take longer");
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_version_outdated_between_firing_and_sending_is_not_sent(db: PgPool) {
    for (change, reason) in [
        ("update task_reminders set version = 2, remind_at = now() + interval '1 day'", "moved"),
        ("update task_reminders set version = 2, state = 'cancelled', cancel_reason = 'user'", "user"),
        ("update task_reminders set version = 2, state = 'cancelled', cancel_reason = 'completed'", "completed"),
        (
            "update task_reminders set version = 2, state = 'cancelled', cancel_reason = 'deleted'; delete from tasks",
            "deleted",
        ),
        (
            "alter table task_reminders drop constraint task_reminders_cancel_reason;
             update task_reminders set version = 2, state = 'cancelled', cancel_reason = 'merged'",
            "other",
        ),
    ] {
        execute(&db, "delete from audit_logs; delete from task_reminders").await;
        let folder = Folder::new();
        let routes = with_files(&db, &folder);
        let (.., event) = fired(&db, &routes).await;
        execute(&db, change).await;
        for _ in 0..2 {
            assert_eq!(deliver(&routes, &event).await, StatusCode::OK, "{change}");
        }
        let expected =
            [step("reminder.fired", None), step("reminder.skipped", Some(reason)), step("reminder.due", None)];
        assert_eq!(audit_steps(&db).await, expected, "{change}");
        assert_eq!((folder.messages().len(), sent_events(&db).await), (0, 0), "{change}");
    }
    assert_eq!(count(&db, "select count(*) from notification_deliveries").await, 0);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn reminders_of_tasks_that_an_older_application_completed_or_deleted_are_not_sent(db: PgPool) {
    for (change, reason) in [
        ("update tasks set completed = true", "completed"),
        ("delete from tasks", "deleted"),
        ("delete from users", "deleted"),
    ] {
        execute(&db, "delete from notification_deliveries; delete from task_reminders").await;
        let folder = Folder::new();
        let routes = with_files(&db, &folder);
        let (.., event) = fired(&db, &routes).await;
        execute(&db, change).await;
        for _ in 0..2 {
            assert_eq!(deliver(&routes, &event).await, StatusCode::OK, "{change}");
        }
        assert_eq!(delivery(&db).await, ("skipped".to_owned(), 1, false, Some(reason.to_owned())), "{change}");
        assert_eq!((folder.messages().len(), sent_events(&db).await), (0, 0), "{change}");
        // Not failed: nobody wanted it.
        assert_eq!(reminder_state(&db).await, "scheduled", "{change}");
    }
}

/// During an upgrade, and after a rollback.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_channel_or_state_of_a_newer_release_is_left_to_that_release(db: PgPool) {
    execute(
        &db,
        "alter table notification_deliveries drop constraint notification_deliveries_state, drop constraint notification_deliveries_channel;
         alter table task_reminders drop constraint task_reminders_channels",
    )
    .await;
    let folder = Folder::new();
    let routes = with_files(&db, &folder);
    let (.., event) = fired(&db, &routes).await;
    execute(&db, "update task_reminders set channels = '{email,sms}'").await;
    for _ in 0..2 {
        assert_eq!(deliver(&routes, &event).await, StatusCode::OK);
    }
    let states = "select channel, state, attempts from notification_deliveries order by channel";
    let states: Vec<(String, String, i32)> = sqlx::query_as(states).fetch_all(&db).await.unwrap();
    assert_eq!(states, [("email".to_owned(), "sent".to_owned(), 1), ("sms".to_owned(), "pending".to_owned(), 0)]);
    assert_eq!(folder.messages().len(), 1);
    // Repair of this release arms no job for it: this release's `reminder-due` would do nothing, at every repair.
    let overdue = upkeep::repair::overdue(&db, Utc::now() + chrono::TimeDelta::hours(1)).await.unwrap();
    assert_eq!(overdue, []);

    execute(&db, "delete from notification_deliveries where channel = 'sms'; delete from processed_events").await;
    execute(&db, "update notification_deliveries set state = 'bounced'").await;
    let job: String = sqlx::query_scalar("select 'delivery-' || id || '-1' from notification_deliveries")
        .fetch_one(&db)
        .await
        .unwrap();
    assert_eq!(deliver(&routes, &event).await, StatusCode::OK);
    assert_eq!(post(&routes, &format!("/job/{job}"), "{}").await, StatusCode::OK);
    assert_eq!(delivery(&db).await, ("bounced".to_owned(), 1, false, None));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_reminder_cancelled_after_its_first_attempt_is_not_attempted_again(db: PgPool) {
    let routes = with_smtp(&db, "smtp://127.0.0.1:9");
    let (.., event) = fired(&db, &routes).await;
    assert_eq!(deliver(&routes, &event).await, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(delivery(&db).await.0, "retrying");
    execute(
        &db,
        "update notification_deliveries set next_attempt_at = now();
                  update task_reminders set version = 2, state = 'cancelled', cancel_reason = 'completed'",
    )
    .await;
    let server = SmtpServer::start(WILLING).await;
    assert_eq!(deliver(&with_smtp(&db, &server.url), &event).await, StatusCode::OK);
    assert_eq!(delivery(&db).await, ("skipped".to_owned(), 2, false, Some("completed".to_owned())));
    assert!(server.bodies().is_empty());
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_reminder_fired_early_by_a_faster_clock_waits_without_blocking_others(db: PgPool) {
    let (server, dapr) = (SmtpServer::start(WILLING).await, Dapr::start().await);
    let routes = with_smtp_and_jobs(&db, &server.url, &dapr);
    let (.., event) = fired(&db, &routes).await;
    // A standby took over whose clock is behind.
    execute(&db, "update task_reminders set remind_at = now() + interval '2 seconds'").await;
    assert_eq!(deliver(&routes, &event).await, StatusCode::OK);
    let remind_at: DateTime<Utc> =
        sqlx::query_scalar("select remind_at from task_reminders").fetch_one(&db).await.unwrap();
    let (job, armed) = dapr.jobs().pop_first().unwrap();
    assert_eq!(armed.due, Some(remind_at));
    // The scheduler's clock is ahead of the new database's.
    assert_eq!(post(&routes, &format!("/job/{job}"), "{}").await, StatusCode::OK);
    assert_eq!((server.bodies().len(), dapr.scheduled()), (0, 2));
    tokio::time::sleep(std::time::Duration::from_millis(2100)).await;
    assert_eq!(post(&routes, &format!("/job/{job}"), "{}").await, StatusCode::OK);
    assert_eq!((server.bodies().len(), delivery(&db).await.0.as_str()), (1, "sent"));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn an_event_that_the_outbox_does_not_have_is_rejected_and_does_not_block_its_successor(db: PgPool) {
    let folder = Folder::new();
    let routes = with_files(&db, &folder);
    let (.., event) = fired(&db, &routes).await;
    // On the topic, but not in a database that was restored to a moment before: there the reminder is still to fire.
    execute(&db, "delete from task_events; update task_reminders set fired_version = null").await;
    assert_eq!(deliver(&routes, &event).await, StatusCode::OK);
    assert!(folder.messages().is_empty());
    assert_eq!(count(&db, "select count(*) from dead_letters where reason like '%outbox does not have it'").await, 1);
    let id: Uuid = event["data"]["reminder_id"].as_str().unwrap().parse().unwrap();
    call_job(&routes, id, 1).await;
    let again: Uuid = sqlx::query_scalar("select id from task_events").fetch_one(&db).await.unwrap();
    assert_eq!(deliver(&routes, &handed_over(&db, again).await).await, StatusCode::OK);
    assert_eq!((folder.messages().len(), delivery(&db).await.0.as_str()), (1, "sent"));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_message_states_its_lateness_and_uses_the_time_zone_of_the_task(db: PgPool) {
    let folder = Folder::new();
    let routes = with_files(&db, &folder);
    let remind_at: DateTime<Utc> = "2026-01-05T08:00:00Z".parse().unwrap();
    let (id, _) = super::due(&db, remind_at).await;
    execute(&db, "update tasks set time_zone = 'Asia/Tokyo', due_at = '2026-01-05T09:00:00Z'").await;
    call_job(&routes, id, 1).await;
    let event: Uuid = sqlx::query_scalar("select id from task_events").fetch_one(&db).await.unwrap();
    assert_eq!(deliver(&routes, &handed_over(&db, event).await).await, StatusCode::OK);
    let message = folder.messages().pop().unwrap().replace("=\r\n", "");
    for words in ["5 January 2026 at 17:00 (Asia/Tokyo)", "5 January 2026 at 18:00 (Asia/Tokyo)", " days"] {
        assert!(message.contains(words), "{words}: {message}");
    }
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn an_event_of_an_unknown_reminder_is_handled_and_sends_nothing(db: PgPool) {
    let folder = Folder::new();
    let task = TaskRef { task_id: Uuid::now_v7(), user_id: Uuid::now_v7(), title: "x".to_owned(), version: 1 };
    let data = ReminderDue { task, reminder_id: Uuid::now_v7(), remind_at: Utc::now(), reminder_version: 1 };
    let event: Value = shared::testing::emitted(&db, &data).await;
    assert_eq!(deliver(&with_files(&db, &folder), &event).await, StatusCode::OK);
    assert!(folder.messages().is_empty());
    assert_eq!(audit_steps(&db).await[0], step("reminder.skipped", Some("moved")));
}

/// A process that sends each user one message per hour.
fn with_one_message_per_hour(db: &PgPool, server: &SmtpServer, dapr: &Dapr) -> Router {
    let config = EmailConfig {
        smtp_url: Some(server.url.clone()),
        user_messages_per_hour: 1.try_into().unwrap(),
        ..email(ProviderName::Smtp)
    };
    routes(app_with(db, dapr, dapr, dapr), config)
}

/// Moves all messages that were sent to another time. A time ahead is in the hour of the test, also if that ends now.
async fn were_sent(db: &PgPool, at: &str) {
    let id = format!("(left(uuid_v7_floor({at})::text, 24) || right(id::text, 12))::uuid");
    execute(db, &format!("update task_events set id = {id} where type = 'reminder.sent'")).await;
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_message_above_the_quota_of_its_user_is_delayed_with_a_reason_and_sent_later(db: PgPool) {
    let (server, dapr) = (SmtpServer::start(WILLING).await, Dapr::start().await);
    let routes = with_one_message_per_hour(&db, &server, &dapr);
    let (.., first) = fired(&db, &routes).await;
    assert_eq!(deliver(&routes, &first).await, StatusCode::OK);
    were_sent(&db, "now() + interval '1 minute'").await;
    let (id, _, second) = fired(&db, &routes).await;
    execute(&db, "update task_reminders set user_id = (select user_id from notification_deliveries)").await;
    assert_eq!(deliver(&routes, &second).await, StatusCode::OK);
    assert_eq!(server.bodies().len(), 1);
    let reason = "the user had the maximum of messages in this clock hour; the others follow in the next";
    let delayed: (String, i32, Option<String>, bool) = sqlx::query_as(
        "select state, attempts, reason, next_attempt_at > now() and next_attempt_at = date_trunc('hour', next_attempt_at)
         from notification_deliveries where reminder_id = $1",
    )
    .bind(id)
    .fetch_one(&db)
    .await
    .unwrap();
    assert_eq!(delayed, ("retrying".to_owned(), 0, Some(reason.to_owned()), true));
    assert!(audit_steps(&db).await.contains(&step("reminder.retrying", Some(reason))));
    // Another user is not delayed.
    let (.., other) = fired(&db, &routes).await;
    assert_eq!(deliver(&routes, &other).await, StatusCode::OK);
    assert_eq!(server.bodies().len(), 2);
    // Later than any attempt for another reason.
    were_sent(&db, "now() - interval '2 hours'").await;
    let earlier =
        "update notification_deliveries set next_attempt_at = now(), created_at = now() - interval '26 hours'";
    execute(&db, earlier).await;
    let (job, _) = dapr.jobs().pop_first().unwrap();
    assert_eq!(post(&routes, &format!("/job/{job}"), "{}").await, StatusCode::OK);
    assert_eq!((server.bodies().len(), sent_events(&db).await), (3, 3));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn messages_count_in_the_hour_in_which_they_are_sent_also_after_days_or_an_erasure(db: PgPool) {
    let (server, dapr) = (SmtpServer::start(WILLING).await, Dapr::start().await);
    let routes = with_one_message_per_hour(&db, &server, &dapr);
    let (_, task, first) = fired(&db, &routes).await;
    assert_eq!(deliver(&routes, &first).await, StatusCode::OK);
    were_sent(&db, "now() + interval '1 minute'").await;
    execute(&db, "update notification_deliveries set created_at = now() - interval '3 days'").await;
    let next = async || {
        let (id, _, event) = fired(&db, &routes).await;
        let owned = format!("update task_reminders set user_id = '{}' where id = '{id}'", task.user_id);
        execute(&db, &owned).await;
        assert_eq!(deliver(&routes, &event).await, StatusCode::OK);
        let state = "select state from notification_deliveries where reminder_id = $1";
        let state: String = sqlx::query_scalar(state).bind(id).fetch_one(&db).await.unwrap();
        assert_eq!((state.as_str(), server.bodies().len()), ("retrying", 1));
    };
    next().await;
    erase(&db, task.user_id).await;
    let again = format!("insert into users (id, email) values ('{}', 'ada@example.com')", task.user_id);
    execute(&db, &again).await;
    next().await;
}

/// The number depends neither on how many deliveries of the user wait, nor on how many messages the user got before.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn an_attempt_reads_a_bounded_number_of_rows(db: PgPool) {
    let folder = Folder::new();
    let routes = with_files(&db, &folder);
    let (.., event) = fired(&db, &routes).await;
    assert_eq!(deliver(&routes, &event).await, StatusCode::OK);
    let delivery: Uuid = sqlx::query_scalar("select id from notification_deliveries").fetch_one(&db).await.unwrap();
    execute(
        &db,
        "insert into notification_deliveries (id, reminder_id, reminder_version, channel, user_id, task_id, event_id, state)
         select gen_random_uuid(), gen_random_uuid(), 1, channel, user_id, task_id, event_id, 'retrying'
         from notification_deliveries, generate_series(1, 5000);
         insert into task_events (id, type, task_id, user_id, sequence, data)
         select (left(uuid_v7_floor(now() - n * interval '1 minute')::text, 24) || right(gen_random_uuid()::text, 12))::uuid,
                type, task_id, user_id, n, data
         from task_events, generate_series(1, 5000) n where type = 'reminder.sent';
         analyze task_events",
    )
    .await;
    let mut conn = db.acquire().await.unwrap();
    sqlx::query("set plan_cache_mode = 'force_generic_plan'").execute(&mut *conn).await.unwrap();
    let statement = concat!("explain (analyze, buffers, format json) ", include_str!("../../src/send/row.sql"));
    let plan: Value = sqlx::query_scalar(statement).bind(delivery).bind(10_i64).fetch_one(&mut *conn).await.unwrap();
    let top = &plan[0]["Plan"];
    let buffers: u64 = ["Shared Hit Blocks", "Shared Read Blocks"].iter().map(|name| top[name].as_u64().unwrap()).sum();
    assert!(buffers < 60, "{buffers} buffers: {plan}");
}
