//! Jobs that an older release armed at this app-id.

use axum::{Router, http::StatusCode};
use chrono::Utc;
use serde_json::json;
use shared::{
    serve::complete,
    testing::{Dapr, app, app_with, call_job, count, due, post},
};
use sqlx::PgPool;
use uuid::Uuid;

use super::{Folder, with_files};

/// `reminder-due` in a process of its own, and the daprds that it knows.
async fn separate(db: &PgPool) -> (Router, Dapr) {
    let (own, alarm) = (Dapr::start().await, Dapr::start().await);
    let app = app_with(db, &own, &alarm, &own);
    (complete(reminder_due::former_jobs::router(app.clone()), app), own)
}

async fn events(db: &PgPool) -> i64 {
    count(db, "select count(*) from task_events where type = 'reminder.due'").await
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_job_of_an_older_release_fires_through_alarm_and_a_version_fires_once_from_both_app_ids(db: PgPool) {
    let (routes, own) = separate(&db).await;
    let alarm = complete(alarm::router(app(&db)), app(&db));
    for first in ["reminder-due", "alarm"] {
        let (id, _) = due(&db, Utc::now()).await;
        let before = events(&db).await;
        if first == "alarm" {
            assert_eq!(call_job(&alarm, id, 1).await, StatusCode::OK);
        }
        let invoked = own.invoked().len();
        assert_eq!(call_job(&routes, id, 1).await, StatusCode::OK);
        // What daprd carries to `alarm` is what its route takes.
        let (app_id, method, body) = own.invoked().swap_remove(invoked);
        assert_eq!((app_id.as_str(), &body), ("alarm", &json!({"reminder_id": id, "version": 1})));
        assert_eq!(post(&alarm, &format!("/{method}"), body.to_string()).await, StatusCode::OK);
        assert_eq!(call_job(&alarm, id, 1).await, StatusCode::OK);
        assert_eq!(events(&db).await, before + 1, "{first}");
    }
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_job_of_an_older_release_is_retried_while_alarm_is_unavailable(db: PgPool) {
    let (routes, own) = separate(&db).await;
    let id = Uuid::now_v7();
    own.set_away(true);
    assert_eq!(call_job(&routes, id, 1).await, StatusCode::SERVICE_UNAVAILABLE);
    own.set_away(false);
    assert_eq!(call_job(&routes, id, 1).await, StatusCode::OK);
    assert_eq!(own.invoked().len(), 1);
    // Not a reminder of ours.
    assert_eq!(post(&routes, "/job/reminder-1-1", "{}").await, StatusCode::OK);
    assert_eq!(own.invoked().len(), 1);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn reminder_due_does_not_invoke_itself_behind_a_daprd_shared_by_all_functions(db: PgPool) {
    let dapr = Dapr::start().await;
    let app = app_with(&db, &dapr, &dapr, &dapr);
    let routes = complete(reminder_due::former_jobs::router(app.clone()), app);
    assert_eq!(call_job(&routes, Uuid::now_v7(), 1).await, StatusCode::SERVICE_UNAVAILABLE);
    assert!(dapr.invoked().is_empty());
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn delivery_jobs_of_unknown_deliveries_are_dropped(db: PgPool) {
    let folder = Folder::new();
    let routes = with_files(&db, &folder);
    for name in ["delivery-1-1".to_owned(), format!("delivery-{}-1", Uuid::new_v4())] {
        assert_eq!(post(&routes, &format!("/job/{name}"), "null").await, StatusCode::OK, "{name}");
    }
    assert_eq!(post(&routes, "/job/anything", "not JSON").await, StatusCode::INTERNAL_SERVER_ERROR);
}
