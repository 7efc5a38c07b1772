//! An operator lists and replays dead letters.

use shared::testing::{execute, relay_was_woken, tables_with};

use super::*;

/// A task whose `task.created` was published and rejected by its function.
pub(crate) async fn rejected(ada: &Client) -> (Uuid, Uuid) {
    let task = ada.task(json!({"title": "a"})).await;
    let event: Uuid = sqlx::query_scalar("update task_events set published_at = now() where task_id = $1 returning id")
        .bind(id(&task))
        .fetch_one(&ada.db)
        .await
        .unwrap();
    let letter = Uuid::now_v7();
    for statement in [
        "insert into processed_events (consumer, event_id) select 'task-created', $1 where $2::uuid is not null",
        "insert into event_failures (consumer, event_id, failures, reason) select 'task-created', $1, 5, 'no' where $2::uuid is not null",
        "insert into dead_letters (id, consumer, dedupe, event_id, type, topic, origin, reason, payload)
         values ($2, 'task-created', $1::uuid::text, $1, 'task.created', 'task-events', 'function', 'no', '{}')",
    ] {
        sqlx::query(statement).bind(event).bind(letter).execute(&ada.db).await.unwrap();
    }
    (letter, event)
}

/// Whether the event is unpublished, unclaimed, without failures, and watched by repair.
async fn as_new(db: &PgPool, event: Uuid) -> (bool, bool, bool, bool) {
    sqlx::query_as(
        "select (select published_at is null from task_events where id = $1),
                not exists (select from processed_events where event_id = $1),
                not exists (select from event_failures where event_id = $1),
                (select event_id <= $1 from marks where name = 'handled')",
    )
    .bind(event)
    .fetch_one(db)
    .await
    .unwrap()
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_replay_publishes_the_event_again_once(db: PgPool) {
    let (ada, app) = (Client::new(&db), app(&db));
    let op = Client::operator(&db).at(app.clone());
    let (letter, event) = rejected(&ada).await;
    sqlx::query("update marks set event_id = uuid_v7_floor(now() + interval '1 minute') where name = 'handled'")
        .execute(&db)
        .await
        .unwrap();
    assert_eq!(as_new(&db, event).await, (false, false, false, false));
    let replay = format!("/v1/dead-letters/{letter}/replay");
    let replayed = op.post(&replay, json!(null)).await.expect(200);
    assert_eq!(replayed["state"], "replayed");
    assert_eq!(as_new(&db, event).await, (true, true, true, true));
    assert!(relay_was_woken(&app).await);

    // After the event was published and handled, a second replay changes nothing.
    sqlx::query("update task_events set published_at = now()").execute(&db).await.unwrap();
    sqlx::query("insert into processed_events (consumer, event_id) values ('task-created', $1)")
        .bind(event)
        .execute(&db)
        .await
        .unwrap();
    assert_eq!(op.post(&replay, json!(null)).await.expect(200), replayed);
    assert_eq!(as_new(&db, event).await, (false, false, true, true));
    assert_eq!(op.get("/v1/dead-letters").await.expect(200)["items"], json!([]));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn the_idempotency_key_of_a_replay_stores_no_copy_of_the_letter(db: PgPool) {
    let (ada, op) = (Client::new(&db), Client::operator(&db).with("idempotency-key", "k"));
    let (letter, _) = rejected(&ada).await;
    execute(&db, "update dead_letters set payload = 'secret'").await;
    let replay = format!("/v1/dead-letters/{letter}/replay");
    let replayed = op.post(&replay, Value::Null).await.expect(200);
    assert_eq!(tables_with(&db, "secret").await, ["dead_letters"]);
    assert_eq!(op.post(&replay, Value::Null).await.expect(200), replayed);
    execute(&db, "delete from dead_letters").await;
    assert_eq!(op.post(&replay, Value::Null).await.expect(200), Value::Null);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_replay_affects_only_its_letter(db: PgPool) {
    let (ada, op) = (Client::new(&db), Client::operator(&db));
    let (letter, event) = rejected(&ada).await;
    let (_, other) = rejected(&ada).await;
    op.post(&format!("/v1/dead-letters/{letter}/replay"), json!(null)).await.expect(200);
    assert!(as_new(&db, event).await.0);
    let (unpublished, unclaimed, unfailed, _) = as_new(&db, other).await;
    assert_eq!((unpublished, unclaimed, unfailed), (false, false, false));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn only_an_operator_may_read_and_replay(db: PgPool) {
    let ada = Client::new(&db);
    let (letter, event) = rejected(&ada).await;
    ada.get("/v1/dead-letters").await.expect(403);
    ada.post(&format!("/v1/dead-letters/{letter}/replay"), json!(null)).await.expect(403);
    assert!(!as_new(&db, event).await.0);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn dead_letters_are_listed_page_by_page(db: PgPool) {
    let (ada, op) = (Client::new(&db), Client::operator(&db));
    let mut letters = Vec::new();
    for _ in 0..5 {
        letters.push(rejected(&ada).await.0);
    }
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = op.get(&format!("/v1/dead-letters?limit=2{cursor}")).await.expect(200);
        seen.extend(page["items"].as_array().unwrap().iter().map(id));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, letters);
    let first = &op.get("/v1/dead-letters?limit=1").await.expect(200)["items"][0];
    assert_eq!(
        (&first["consumer"], &first["reason"], &first["origin"]),
        (&json!("task-created"), &json!("no"), &json!("function"))
    );
    assert_eq!(op.get("/v1/dead-letters?cursor=x").await.invalid_fields(), ["cursor"]);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_letter_that_cannot_be_replayed_is_refused_and_stays_open(db: PgPool) {
    let (ada, op) = (Client::new(&db), Client::operator(&db));
    let (letter, event) = rejected(&ada).await;
    sqlx::query("update marks set event_id = uuid_v7_floor(now() + interval '1 minute') where name = 'inbox-floor'")
        .execute(&db)
        .await
        .unwrap();
    op.post(&format!("/v1/dead-letters/{letter}/replay"), json!(null)).await.expect(409);
    for event_id in [None, Some(Uuid::now_v7())] {
        let foreign = Uuid::now_v7();
        sqlx::query(
            "insert into dead_letters (id, consumer, dedupe, event_id, origin, reason, payload) values ($1, 'x', $1::uuid::text, $2, 'daprd', 'no', '?')",
        )
        .bind(foreign)
        .bind(event_id)
        .execute(&db)
        .await
        .unwrap();
        op.post(&format!("/v1/dead-letters/{foreign}/replay"), json!(null)).await.expect(409);
    }
    op.post(&format!("/v1/dead-letters/{}/replay", Uuid::new_v4()), json!(null)).await.expect(404);
    assert_eq!(op.get("/v1/dead-letters").await.expect(200)["items"].as_array().unwrap().len(), 3);
    assert!(!as_new(&db, event).await.0);
}

/// Also a number that is no time in PostgreSQL.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn an_invalid_cursor_is_refused(db: PgPool) {
    let op = Client::operator(&db);
    for at in ["-300000000000000000", "8200000000000000000", "-8200000000000000000", "9223372036854775807", "1e9", ""] {
        let path = format!("/v1/dead-letters?cursor={at}_{}", Uuid::nil());
        assert_eq!(op.get(&path).await.invalid_fields(), ["cursor"], "{at}");
    }
}

/// daprd could not deliver the event; repair published it again meanwhile, and its function handled it.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_letter_of_daprd_whose_event_was_handled_meanwhile_is_closed_and_publishes_nothing(db: PgPool) {
    let (ada, op) = (Client::new(&db), Client::operator(&db));
    let (letter, event) = rejected(&ada).await;
    sqlx::query("update dead_letters set origin = 'daprd'").execute(&db).await.unwrap();
    let replay = format!("/v1/dead-letters/{letter}/replay");
    assert_eq!(op.post(&replay, json!(null)).await.expect(200)["state"], "replayed");
    let (unpublished, unclaimed, ..) = as_new(&db, event).await;
    assert!(!unpublished && !unclaimed, "its function would handle it twice");
    assert_eq!(op.get("/v1/dead-letters").await.expect(200)["items"], json!([]));
}

/// The handling that is not committed when the operator replays keeps its claim, so that the published copy has no effect.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_replay_of_a_letter_of_daprd_never_removes_a_claim(db: PgPool) {
    let (ada, op) = (Client::new(&db), Client::operator(&db));
    let (letter, event) = rejected(&ada).await;
    sqlx::raw_sql("update dead_letters set origin = 'daprd'; delete from processed_events").execute(&db).await.unwrap();
    let mut handling = db.begin().await.unwrap();
    sqlx::query("insert into processed_events (consumer, event_id) values ('task-created', $1)")
        .bind(event)
        .execute(&mut *handling)
        .await
        .unwrap();
    op.post(&format!("/v1/dead-letters/{letter}/replay"), json!(null)).await.expect(200);
    handling.commit().await.unwrap();
    let (unpublished, unclaimed, ..) = as_new(&db, event).await;
    assert!(unpublished && !unclaimed);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_letter_is_replayed_only_to_the_function_of_its_event(db: PgPool) {
    let (ada, op) = (Client::new(&db), Client::operator(&db));
    let (letter, event) = rejected(&ada).await;
    sqlx::query("update dead_letters set consumer = 'task-deleted'").execute(&db).await.unwrap();
    op.post(&format!("/v1/dead-letters/{letter}/replay"), json!(null)).await.expect(409);
    assert!(!as_new(&db, event).await.0);
}

/// Letters that older code stored whole, up to 32 MB each.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn large_messages_are_listed_by_their_beginning_and_size(db: PgPool) {
    let op = Client::operator(&db);
    sqlx::query(
        "insert into dead_letters (id, consumer, dedupe, origin, reason, payload)
         select gen_random_uuid(), 'task-created', n, 'daprd', 'no', repeat('x', 5000000) from generate_series(1, 3) n",
    )
    .execute(&db)
    .await
    .unwrap();
    let page = op.get("/v1/dead-letters").await.expect(200);
    for letter in page["items"].as_array().unwrap() {
        assert_eq!((&letter["payload"], &letter["payload_bytes"]), (&json!("x".repeat(16384)), &json!(5_000_000)));
    }
    assert_eq!(page["items"].as_array().unwrap().len(), 3);
}
