//! What the provider says decides what follows: never again, later, or nobody knows.

use axum::http::StatusCode;
use shared::testing::{audit_steps, count, deliver, execute, post, step};
use sqlx::PgPool;
use uuid::Uuid;

use super::{
    Folder, delivery, fired, reminder_state, sent_events,
    smtp_server::{Answer, Script, SmtpServer, WILLING},
    with_files, with_smtp,
};

/// Has the next attempt be due.
async fn make_due(db: &PgPool) {
    execute(db, "update notification_deliveries set next_attempt_at = now()").await;
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_permanent_refusal_ends_the_delivery_and_the_reminder(db: PgPool) {
    let script = Script { recipient: Answer::Reply("550 5.1.1 no such user"), ..WILLING };
    let server = SmtpServer::start(script).await;
    let routes = with_smtp(&db, &server.url);
    let (.., event) = fired(&db, &routes).await;
    for _ in 0..2 {
        assert_eq!(deliver(&routes, &event).await, StatusCode::OK);
        assert_eq!(delivery(&db).await, ("failed".to_owned(), 1, false, Some("smtp RCPT: 550".to_owned())));
    }
    assert_eq!((reminder_state(&db).await.as_str(), sent_events(&db).await), ("failed", 0));
    assert!(audit_steps(&db).await.contains(&step("reminder.failed", Some("smtp RCPT: 550"))));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn an_invalid_address_fails_the_delivery_at_once(db: PgPool) {
    let folder = Folder::new();
    let routes = with_files(&db, &folder);
    let (.., event) = fired(&db, &routes).await;
    execute(&db, "update users set email = 'ada at home'").await;
    assert_eq!(deliver(&routes, &event).await, StatusCode::OK);
    assert_eq!((delivery(&db).await.0.as_str(), reminder_state(&db).await.as_str()), ("failed", "failed"));
    assert!(folder.messages().is_empty());
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_temporary_refusal_is_retried_at_its_planned_time_and_not_before(db: PgPool) {
    let busy = SmtpServer::start(Script { mail: Answer::Reply("451 4.7.1 greylisted"), ..WILLING }).await;
    let willing = SmtpServer::start(WILLING).await;
    let (.., event) = fired(&db, &with_smtp(&db, &busy.url)).await;
    // 503, because the job of the next attempt could not be armed: there is no scheduler here.
    for _ in 0..3 {
        assert_eq!(deliver(&with_smtp(&db, &busy.url), &event).await, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(delivery(&db).await, ("retrying".to_owned(), 1, false, Some("smtp MAIL: 451".to_owned())));
    }
    let waits = "select count(*) from notification_deliveries
                 where next_attempt_at - started_at between interval '4 seconds' and interval '5 seconds'";
    assert_eq!(count(&db, waits).await, 1);
    make_due(&db).await;
    let id: Uuid = sqlx::query_scalar("select id from notification_deliveries").fetch_one(&db).await.unwrap();
    // The job of the attempt, and the event after all.
    assert_eq!(post(&with_smtp(&db, &willing.url), &format!("/job/delivery-{id}-1"), "{}").await, StatusCode::OK);
    assert_eq!(deliver(&with_smtp(&db, &willing.url), &event).await, StatusCode::OK);
    assert_eq!(delivery(&db).await, ("sent".to_owned(), 2, false, None));
    assert_eq!((willing.bodies().len(), sent_events(&db).await), (1, 1));
}

/// The user moves, and the task with them.
async fn change_everything(db: &PgPool) {
    execute(
        db,
        "update users set email = 'moved@punctual.example', time_zone = 'Asia/Tokyo';
         update tasks set title = 'another title', due_at = now() + interval '3 days', time_zone = null",
    )
    .await;
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_provider_with_an_idempotency_key_gets_the_same_message_at_every_attempt(db: PgPool) {
    let folder = Folder::new();
    let routes = with_files(&db, &folder);
    let (.., event) = fired(&db, &routes).await;
    std::fs::write(&folder.0, "no folder yet").unwrap();
    assert_eq!(deliver(&routes, &event).await, StatusCode::SERVICE_UNAVAILABLE);
    let first: serde_json::Value =
        sqlx::query_scalar("select message from notification_deliveries").fetch_one(&db).await.unwrap();
    change_everything(&db).await;
    for _ in 0..2 {
        make_due(&db).await;
        assert_eq!(deliver(&routes, &event).await, StatusCode::SERVICE_UNAVAILABLE);
    }
    std::fs::remove_file(&folder.0).unwrap();
    make_due(&db).await;
    assert_eq!(deliver(&routes, &event).await, StatusCode::OK);
    assert_eq!(delivery(&db).await, ("sent".to_owned(), 4, false, None));
    let messages = folder.messages();
    assert!(messages.len() == 1 && !messages[0].contains("moved@") && !messages[0].contains("Tokyo"), "{messages:?}");
    assert!(messages[0].contains(first["to"].as_str().unwrap()), "{messages:?}");
    // It is a copy of personal data, and is kept no longer than it is needed.
    assert_eq!(count(&db, "select count(*) from notification_deliveries where message is not null").await, 0);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_provider_without_an_idempotency_key_gets_the_current_data_at_every_attempt(db: PgPool) {
    let busy = SmtpServer::start(Script { mail: Answer::Reply("451 4.7.1 greylisted"), ..WILLING }).await;
    let willing = SmtpServer::start(WILLING).await;
    let (.., event) = fired(&db, &with_smtp(&db, &busy.url)).await;
    assert_eq!(deliver(&with_smtp(&db, &busy.url), &event).await, StatusCode::SERVICE_UNAVAILABLE);
    change_everything(&db).await;
    make_due(&db).await;
    assert_eq!(deliver(&with_smtp(&db, &willing.url), &event).await, StatusCode::OK);
    assert_eq!(header(&willing.bodies()[0], "To: "), "moved@punctual.example");
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn an_attempt_without_a_reply_is_repeated_once_with_the_same_message_id_and_audited(db: PgPool) {
    let server = SmtpServer::start(Script { body: Answer::Drop, ..WILLING }).await;
    let (.., event) = fired(&db, &with_smtp(&db, &server.url)).await;
    assert_eq!(deliver(&with_smtp(&db, &server.url), &event).await, StatusCode::SERVICE_UNAVAILABLE);
    let (state, attempts, repeated, _) = delivery(&db).await;
    assert_eq!((state.as_str(), attempts, repeated), ("retrying", 1, true));
    make_due(&db).await;
    for _ in 0..3 {
        assert_eq!(deliver(&with_smtp(&db, &server.url), &event).await, StatusCode::OK);
    }
    let (state, attempts, ..) = delivery(&db).await;
    assert_eq!((state.as_str(), attempts, reminder_state(&db).await.as_str()), ("unknown", 2, "failed"));
    let ids: Vec<String> = server.bodies().iter().map(|body| header(body, "Message-ID: ")).collect();
    assert!(ids.len() == 2 && ids[0] == ids[1], "{ids:?}");
    assert_eq!(sent_events(&db).await, 0);
    let unknown = audit_steps(&db).await.into_iter().filter(|(action, _)| action == "reminder.unknown").count();
    assert_eq!(unknown, 2);
}

fn header(body: &[u8], name: &str) -> String {
    let text = String::from_utf8_lossy(body);
    text.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned()
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_delivery_to_an_unreachable_provider_ends_after_a_day(db: PgPool) {
    let nobody = with_smtp(&db, "smtp://127.0.0.1:9");
    let (.., event) = fired(&db, &nobody).await;
    assert_eq!(deliver(&nobody, &event).await, StatusCode::SERVICE_UNAVAILABLE);
    execute(&db, "update notification_deliveries set created_at = now() - interval '24 hours'").await;
    make_due(&db).await;
    assert_eq!(deliver(&nobody, &event).await, StatusCode::OK);
    assert_eq!((delivery(&db).await.0.as_str(), reminder_state(&db).await.as_str()), ("failed", "failed"));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn an_invalid_provider_setting_is_an_outage_and_fails_no_reminder(db: PgPool) {
    let broken = with_smtp(&db, "not a url");
    let (.., event) = fired(&db, &broken).await;
    for _ in 0..6 {
        assert_eq!(deliver(&broken, &event).await, StatusCode::SERVICE_UNAVAILABLE);
    }
    let folder = Folder::new();
    assert_eq!(deliver(&with_files(&db, &folder), &event).await, StatusCode::OK);
    assert_eq!((folder.messages().len(), delivery(&db).await.1), (1, 1));
}
