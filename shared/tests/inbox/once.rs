//! One event, one effect.

use std::time::Duration;

use axum::{body::Body, http::Request, http::StatusCode};
use shared::{
    catalogue::EventType,
    inbox,
    schema::TaskChanged,
    testing::{app, count, deliver, deliver_at_once, handed_over, post},
};
use sqlx::PgPool;
use tower::ServiceExt as _;
use uuid::Uuid;

use super::{claims, effect, effects, event, letters, routes};

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn the_same_event_delivered_a_hundred_times_at_once_has_one_effect(db: PgPool) {
    let routes = routes(&app(&db), effect);
    let event = event(&db).await;
    assert_eq!(deliver_at_once(&routes, &event, 100).await, 100);
    assert_eq!((effects(&db).await, claims(&db).await), (1, 1));
    assert_eq!(deliver(&routes, &event).await, StatusCode::OK);
    assert_eq!(effects(&db).await, 1);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn different_events_of_one_task_have_an_effect_each(db: PgPool) {
    let routes = routes(&app(&db), effect);
    for _ in 0..5 {
        assert_eq!(deliver(&routes, &event(&db).await).await, StatusCode::OK);
    }
    assert_eq!((effects(&db).await, claims(&db).await), (5, 5));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn events_of_a_handler_are_committed_with_its_claim_in_the_trace_of_its_event(db: PgPool) {
    let routes = routes(&app(&db), async |app, event| {
        let Some(mut tx) = inbox::claim(&app, &event).await? else { return Ok(()) };
        tx.emit(&TaskChanged { cause: EventType::TaskDeleted.into(), ..event.data }).await?;
        tx.commit(&app).await
    });
    let event = event(&db).await;
    assert_eq!(deliver(&routes, &event).await, StatusCode::OK);
    let id: Uuid = sqlx::query_scalar("select max(id::text)::uuid from task_events").fetch_one(&db).await.unwrap();
    let emitted = handed_over(&db, id).await;
    assert_ne!(emitted["id"], event["id"]);
    assert_eq!(emitted["data"]["cause"], "task.deleted");
    assert_eq!(emitted["traceparent"], event["traceparent"]);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_delivery_that_daprd_gave_up_on_is_still_handled_whole(db: PgPool) {
    let routes = routes(&app(&db), async |app, event| {
        tokio::time::sleep(Duration::from_millis(300)).await;
        effect(app, event).await
    });
    let event = event(&db).await;
    let given_up = tokio::time::timeout(Duration::from_millis(150), deliver(&routes, &event)).await;
    assert!(given_up.is_err());
    for _ in 0..100 {
        if effects(&db).await == 1 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the handler was cut off");
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn without_the_right_token_nothing_happens_and_nothing_is_acknowledged(db: PgPool) {
    let routes = routes(&app(&db), effect);
    let event = event(&db).await;
    for token in [None, Some(""), Some("token"), Some("token-of-the-application "), Some("Token-of-the-application")] {
        for body in [event.to_string(), "poison".to_owned()] {
            let request = Request::post("/events/task-changed");
            let request = token.into_iter().fold(request, |request, token| request.header("dapr-api-token", token));
            let answer = routes.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
            assert!(answer.status().is_server_error(), "{token:?}: {}", answer.status());
        }
    }
    assert_eq!((effects(&db).await, claims(&db).await, letters(&db).await.len()), (0, 0, 0));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn an_unknown_event_or_job_is_never_answered_404(db: PgPool) {
    let routes = routes(&app(&db), effect);
    let event = event(&db).await.to_string();
    for path in ["/events/task-creatd", "/events/", "/events/task-changed/", "/job/retention", "/job/reminder-1-1"] {
        assert_eq!(post(&routes, path, event.clone()).await, StatusCode::INTERNAL_SERVER_ERROR, "{path}");
    }
    assert_eq!(post(&routes, "/events/_ignore", event).await, StatusCode::OK);
    assert_eq!(count(&db, "select count(*) from dead_letters").await, 0);
}
