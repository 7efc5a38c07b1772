//! An outage is answered 503 however often, and never counts.

use std::time::Duration;

use axum::http::StatusCode;
use serde_json::Value;
use shared::{
    inbox::{self, HandlerError},
    testing::{app, deliver, relay_was_woken},
};
use sqlx::{PgPool, postgres::PgPoolOptions};

use super::{claims, effect, effects, event, failures, letters, routes};

/// One delivery more than a fault would be allowed.
async fn never_counts(db: &PgPool, routes: &axum::Router, event: &Value) {
    for _ in 0..6 {
        assert_eq!(deliver(routes, event).await, StatusCode::SERVICE_UNAVAILABLE);
    }
    assert_eq!((failures(db).await, letters(db).await.len(), claims(db).await), (0, 0, 0));
}

/// And when it is over, the event has its effect.
async fn is_handled(db: &PgPool, event: &Value) {
    assert_eq!(deliver(&routes(&app(db), effect), event).await, StatusCode::OK);
    assert_eq!((effects(db).await, claims(db).await), (1, 1));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn an_outage_of_a_dependency_never_counts_as_a_failure(db: PgPool) {
    let away = routes(&app(&db), async |_, _| Err(HandlerError::Outage(anyhow::anyhow!("nobody home"))));
    let event = event(&db).await;
    never_counts(&db, &away, &event).await;
    is_handled(&db, &event).await;
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn an_outage_of_the_sidecar_never_counts_as_a_failure(db: PgPool) {
    let away = routes(&app(&db), async |app: shared::App, event| {
        app.sidecar.reminder_jobs.disarm("reminder-1").await?;
        effect(app, event).await
    });
    let event = event(&db).await;
    never_counts(&db, &away, &event).await;
    is_handled(&db, &event).await;
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn an_outage_of_the_database_never_counts_as_a_failure(db: PgPool) {
    let closed = PgPoolOptions::new().connect_lazy_with(db.connect_options().as_ref().clone());
    closed.close().await;
    let nowhere = PgPoolOptions::new()
        .acquire_timeout(Duration::from_millis(200))
        .connect_lazy_with(db.connect_options().as_ref().clone().port(9));
    let event = event(&db).await;
    for away in [closed, nowhere] {
        never_counts(&db, &routes(&app(&away), effect), &event).await;
    }
    is_handled(&db, &event).await;
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_killed_backend_never_counts_as_a_failure(db: PgPool) {
    let killed = routes(&app(&db), async |app, event| {
        let Some(mut tx) = inbox::claim(&app, &event).await? else { return Ok(()) };
        sqlx::query("select pg_terminate_backend(pg_backend_pid())").execute(tx.conn()).await?;
        tx.commit(&app).await
    });
    let event = event(&db).await;
    never_counts(&db, &killed, &event).await;
    is_handled(&db, &event).await;
}

/// It may have been committed, and then the next delivery has nothing to do.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_commit_without_an_answer_wakes_the_relay(db: PgPool) {
    let app = app(&db);
    let killed = routes(&app, async |app, event| {
        let Some(mut tx) = inbox::claim(&app, &event).await? else { return Ok(()) };
        let backend: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(tx.conn()).await?;
        sqlx::query("select pg_terminate_backend($1)").bind(backend).execute(&app.db).await?;
        tx.commit(&app).await
    });
    assert_eq!(deliver(&killed, &event(&db).await).await, StatusCode::SERVICE_UNAVAILABLE);
    assert!(relay_was_woken(&app).await);
    // And in a while, in case PostgreSQL is still at it.
    assert!(relay_was_woken(&app).await);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_lock_timeout_behind_a_duplicate_never_counts_as_a_failure(db: PgPool) {
    let impatient = db.connect_options().as_ref().clone().options([("lock_timeout", "50ms")]);
    let impatient = routes(&app(&PgPoolOptions::new().connect_lazy_with(impatient)), effect);
    let event = event(&db).await;
    // The first delivery has claimed the event and takes its time; then its process dies.
    let mut first = db.begin().await.unwrap();
    sqlx::query("insert into processed_events (consumer, event_id) values ('task-changed', $1)")
        .bind(event["id"].as_str().unwrap().parse::<uuid::Uuid>().unwrap())
        .execute(&mut *first)
        .await
        .unwrap();
    never_counts(&db, &impatient, &event).await;
    first.rollback().await.unwrap();
    is_handled(&db, &event).await;
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_missing_schema_never_counts_as_a_failure(db: PgPool) {
    let early = routes(&app(&db), async |app: shared::App, event| {
        sqlx::query("select a_column_of_the_next_version from users").execute(&app.db).await?;
        effect(app, event).await
    });
    let event = event(&db).await;
    never_counts(&db, &early, &event).await;
    is_handled(&db, &event).await;
}
