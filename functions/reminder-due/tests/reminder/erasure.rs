//! A user who is erased while a reminder is being sent: no message begins, and nothing is written back.

use std::time::Duration;

use axum::http::StatusCode;
use shared::testing::{Dapr, call_job, count, deliver, erase, order_erasure, post, tables_with};
use sqlx::PgPool;

use super::{
    Folder,
    deaths::{delivery_id, gate},
    delivery, fired,
    smtp_server::{Answer, Script, SmtpServer, WILLING},
    with_files, with_smtp_and_jobs,
};

async fn nothing_is_left(db: &PgPool) {
    for word in ["dentist", "ada@example.com"] {
        assert!(tables_with(db, word).await.is_empty(), "{word}: {:?}", tables_with(db, word).await);
    }
    let ids = "select (select count(*) from notification_deliveries) + (select count(*) from audit_logs)
               + (select count(*) from task_reminders) + (select count(*) from dead_letters) + (select count(*) from event_failures)";
    assert_eq!(count(db, ids).await, 0);
    assert_eq!(count(db, "select count(*) from task_events where published_at is null").await, 0);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn an_erasure_stops_an_attempt_before_its_message_leaves(db: PgPool) {
    let (server, dapr) = (SmtpServer::start(WILLING).await, Dapr::start().await);
    let (url, arrives, opened) = gate(&server).await;
    let routes = with_smtp_and_jobs(&db, &url, &dapr);
    let (reminder, task, event) = fired(&db, &routes).await;
    let attempt = tokio::spawn({
        let (routes, event) = (routes.clone(), event.clone());
        async move { deliver(&routes, &event).await }
    });
    arrives.await.unwrap();
    let delivery = delivery_id(&db).await;
    erase(&db, task.user_id).await;
    opened.send(()).unwrap();
    assert_eq!(attempt.await.unwrap(), StatusCode::OK);
    assert!(server.bodies().is_empty());
    nothing_is_left(&db).await;
    // Later deliveries of the event and callbacks of the job change nothing.
    assert_eq!(deliver(&routes, &event).await, StatusCode::OK);
    assert_eq!(post(&routes, &format!("/job/delivery-{delivery}-1"), "{}").await, StatusCode::OK);
    assert_eq!(call_job(&routes, reminder, 1).await, StatusCode::OK);
    nothing_is_left(&db).await;
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn an_acceptance_or_a_refusal_that_comes_after_the_erasure_is_not_recorded(db: PgPool) {
    for body in [Answer::LateReply("250 2.0.0 queued"), Answer::LateReply("451 4.7.1 later")] {
        let (server, dapr) = (SmtpServer::start(Script { body, ..WILLING }).await, Dapr::start().await);
        let routes = with_smtp_and_jobs(&db, &server.url, &dapr);
        let (_, task, event) = fired(&db, &routes).await;
        let attempt = tokio::spawn(async move { deliver(&routes, &event).await });
        server.story.reaches("<dot>").await;
        erase(&db, task.user_id).await;
        assert_eq!(attempt.await.unwrap(), StatusCode::OK);
        assert_eq!(server.bodies().len(), 1, "it had left before");
        nothing_is_left(&db).await;
    }
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn no_attempt_begins_after_an_erasure_was_ordered(db: PgPool) {
    let folder = Folder::new();
    let routes = with_files(&db, &folder);
    let (_, task, event) = fired(&db, &routes).await;
    order_erasure(&db, task.user_id).await;
    assert_eq!(deliver(&routes, &event).await, StatusCode::OK);
    let (state, .., reason) = delivery(&db).await;
    assert_eq!((state.as_str(), reason.as_deref()), ("skipped", Some("the user is gone")));
    assert!(folder.messages().is_empty());
}

/// The deliveries of an event are being created when its reminder is erased.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn deliveries_that_are_being_created_are_erased_with_their_reminder(db: PgPool) {
    let folder = Folder::new();
    let routes = with_files(&db, &folder);
    let (_, task, event) = fired(&db, &routes).await;
    shared::testing::execute(
        &db,
        "create function pause() returns trigger language plpgsql as $$ begin perform pg_sleep(0.3); return null; end $$;
         create trigger pause after insert on notification_deliveries for each row execute function pause()",
    )
    .await;
    let attempt = tokio::spawn(async move { deliver(&routes, &event).await });
    let sleeping =
        "select count(*) from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'";
    while count(&db, sleeping).await == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    erase(&db, task.user_id).await;
    assert_eq!(attempt.await.unwrap(), StatusCode::OK);
    nothing_is_left(&db).await;
}
