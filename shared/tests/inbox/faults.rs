//! The fifth failure of the function's own ends in the dead letters.

use axum::http::StatusCode;
use serde_json::Value;
use shared::{
    inbox::{self, HandlerError},
    testing::{app, count, deliver},
};
use sqlx::PgPool;

use super::{changed, claims, effect, effects, event, failures, letters, routes};

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn the_fifth_failure_rejects_the_event_and_the_fourth_does_not(db: PgPool) {
    let routes = routes(&app(&db), async |_, _| Err(HandlerError::Failed(anyhow::anyhow!("a wheel came off"))));
    let event = event(&db).await;
    for _ in 0..4 {
        assert_eq!(deliver(&routes, &event).await, StatusCode::SERVICE_UNAVAILABLE);
    }
    assert_eq!((letters(&db).await.len(), claims(&db).await, failures(&db).await), (0, 0, 4));
    for _ in 0..2 {
        assert_eq!(deliver(&routes, &event).await, StatusCode::OK);
        let reason = "it failed 5 times: the function failed: a wheel came off".to_owned();
        assert_eq!(letters(&db).await, [("open".to_owned(), reason)]);
    }
    assert_eq!((claims(&db).await, failures(&db).await), (1, 0));
    let letter: (String, String, Value) =
        sqlx::query_as("select type, topic, payload::jsonb from dead_letters").fetch_one(&db).await.unwrap();
    assert_eq!(letter, ("task.changed".to_owned(), "task-updates".to_owned(), event));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn failures_are_counted_for_each_event_separately(db: PgPool) {
    let routes = routes(&app(&db), async |_, _| Err(HandlerError::Failed(anyhow::anyhow!("a wheel came off"))));
    for _ in 0..6 {
        assert_eq!(deliver(&routes, &event(&db).await).await, StatusCode::SERVICE_UNAVAILABLE);
    }
    assert!(letters(&db).await.is_empty());
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_panic_and_an_error_text_that_cannot_be_stored_count_as_failures(db: PgPool) {
    let panicking = routes(&app(&db), async |_, _| -> Result<(), HandlerError> { panic!("off by one") });
    let binary = routes(&app(&db), async |_, _| Err(HandlerError::Failed(anyhow::anyhow!("a\0title"))));
    for (routes, reason) in [(panicking, "off by one"), (binary, "a\u{fffd}title")] {
        let event = event(&db).await;
        for _ in 0..4 {
            assert_eq!(deliver(&routes, &event).await, StatusCode::SERVICE_UNAVAILABLE);
        }
        assert_eq!(deliver(&routes, &event).await, StatusCode::OK);
        assert!(letters(&db).await.last().unwrap().1.contains(reason), "{:?}", letters(&db).await);
    }
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_statement_refused_by_the_database_counts_as_a_failure(db: PgPool) {
    let routes = routes(&app(&db), async |app, event| {
        let Some(mut tx) = inbox::claim(&app, &event).await? else { return Ok(()) };
        sqlx::query("insert into users (id, email) values (gen_random_uuid(), null)").execute(tx.conn()).await?;
        tx.commit(&app).await
    });
    let event = event(&db).await;
    for _ in 0..5 {
        deliver(&routes, &event).await;
    }
    assert!(letters(&db).await[0].1.contains("not-null"), "{:?}", letters(&db).await);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_failure_after_the_claim_leaves_neither_claim_nor_effect(db: PgPool) {
    let routes = routes(&app(&db), async |app, event| {
        let Some(mut tx) = inbox::claim(&app, &event).await? else { return Ok(()) };
        tx.audit(&event, serde_json::json!({})).await?;
        tx.emit(&event.data).await?;
        Err(HandlerError::Failed(anyhow::anyhow!("a wheel came off")))
    });
    let event = event(&db).await;
    assert_eq!(deliver(&routes, &event).await, StatusCode::SERVICE_UNAVAILABLE);
    let events = count(&db, "select count(*) from task_events").await;
    assert_eq!((claims(&db).await, effects(&db).await, events), (0, 0, 1));
    assert_eq!(deliver(&super::routes(&app(&db), effect), &event).await, StatusCode::OK);
    assert_eq!((claims(&db).await, effects(&db).await), (1, 1));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn the_fifth_failure_of_an_event_that_another_delivery_handled_leaves_no_letter(db: PgPool) {
    // The fifth fault of a delivery, while another one of the same event succeeds.
    let routes = routes(&app(&db), async |app, event| {
        effect(app, event).await?;
        Err(HandlerError::Failed(anyhow::anyhow!("a wheel came off")))
    });
    let event = event(&db).await;
    sqlx::query("insert into event_failures (consumer, event_id, failures, reason) values ('task-changed', $1, 4, '')")
        .bind(event["id"].as_str().unwrap().parse::<uuid::Uuid>().unwrap())
        .execute(&db)
        .await
        .unwrap();
    assert_eq!(deliver(&routes, &event).await, StatusCode::OK);
    assert_eq!((letters(&db).await.len(), effects(&db).await, failures(&db).await), (0, 1, 0));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_replayed_letter_reopens_if_its_event_is_rejected_again(db: PgPool) {
    let rejecting = routes(&app(&db), async |_, _| Err(HandlerError::Reject("nobody wants it".to_owned())));
    let event = event(&db).await;
    let open = || vec![("open".to_owned(), "nobody wants it".to_owned())];
    for _ in 0..2 {
        assert_eq!(deliver(&rejecting, &event).await, StatusCode::OK);
        assert_eq!(letters(&db).await, open());
        replay(&db).await;
        assert_eq!(letters(&db).await[0].0, "replayed");
    }
    assert_eq!(deliver(&routes(&app(&db), effect), &event).await, StatusCode::OK);
    assert_eq!((letters(&db).await[0].0.as_str(), effects(&db).await), ("replayed", 1));
}

/// As an operator's replay does it.
async fn replay(db: &PgPool) {
    sqlx::query(
        "with letter as (update dead_letters set state = 'replayed' where state = 'open' returning consumer, event_id)
         delete from processed_events using letter
         where processed_events.consumer = letter.consumer and processed_events.event_id = letter.event_id",
    )
    .execute(db)
    .await
    .unwrap();
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_rejected_event_leaves_a_letter_with_the_reason_and_no_effect(db: PgPool) {
    let routes = routes(&app(&db), async |app, event| {
        let Some(mut tx) = inbox::claim(&app, &event).await? else { return Ok(()) };
        tx.audit(&event, serde_json::json!({})).await?;
        Err(HandlerError::Reject("it speaks of a\0 stranger".to_owned()))
    });
    let event = shared::testing::emitted(&db, &changed()).await;
    assert_eq!(deliver(&routes, &event).await, StatusCode::OK);
    assert_eq!(letters(&db).await, [("open".to_owned(), "it speaks of a\u{fffd} stranger".to_owned())]);
    assert_eq!((claims(&db).await, effects(&db).await), (1, 0));
}
