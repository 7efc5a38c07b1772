//! `DELETE /v1/me` deletes everything of the user, also what is being written at that time, and earlier tokens are refused.

use std::time::Duration;

use shared::{
    schema::{TaskCreated, TaskRef},
    serve,
    testing::{count, deliver, emitted, execute, tables_with},
};

use super::{operations::Operation, *};

const CANARY: &str = "canary";
const EMAIL: &str = "canary@example.org";

/// The same user with a token that was issued after the erasure.
pub(crate) fn later(client: &Client) -> Client {
    Client::of(&client.db, User { issued_at: Some(Utc::now() + TimeDelta::seconds(2)), ..client.user.clone() })
}

/// A user who has rows in every table that has rows of users.
async fn ada_with_everything(db: &PgPool) -> Client {
    let ada = Client::of(db, user(EMAIL, false));
    let task = walls::canary(&ada).await;
    let deleted = walls::canary(&ada.with("idempotency-key", CANARY)).await;
    ada.delete(&path(&deleted)).await.expect(204);
    let reference = TaskRef { task_id: id(&task), user_id: ada.user.id, title: CANARY.to_owned(), version: 1 };
    let event = emitted(db, &TaskCreated { task: reference }).await;
    let (user, task, reminder) = (ada.user.id, id(&task), id(&task["reminders"][0]));
    let event_id = event["id"].as_str().unwrap();
    execute(
        db,
        &format!(
            "insert into audit_logs (user_id, task_id, reminder_id, reminder_version, action, detail)
                 values ('{user}', '{task}', '{reminder}', 1, 'reminder.failed', '{{\"reason\": \"canary\"}}');
             insert into notification_deliveries
                 (id, reminder_id, reminder_version, channel, user_id, task_id, event_id, state, message)
                 values (gen_random_uuid(), '{reminder}', 1, 'email', '{user}', '{task}', '{event_id}', 'sending', '\"canary\"');
             insert into feed values ('{user}', 1, '{event_id}', '{task}', '\"canary\"');
             insert into dead_letters (id, consumer, dedupe, event_id, origin, reason, payload)
             select gen_random_uuid(), 'task-created', payload, event, 'daprd', 'canary', 'canary ' || payload
             from (values ('{event_id}', '{event_id}'::uuid), ('{user}', null), ('{task}', null), ('{deleted}', null)) as letter (payload, event)",
            deleted = id(&deleted),
        ),
    )
    .await;
    let letter: Uuid =
        sqlx::query_scalar("select id from dead_letters where event_id is not null").fetch_one(db).await.unwrap();
    let operator = Client::operator(db).with("idempotency-key", "replay");
    let replayed = operator.post(&format!("/v1/dead-letters/{letter}/replay"), Value::Null).await.expect(200);
    assert!(replayed["payload"].as_str().unwrap().contains(CANARY), "{replayed}");
    execute(db, &format!("insert into event_failures values ('task-created', '{event_id}', 1, 'canary')")).await;
    ada
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn erasing_leaves_only_a_tombstone_and_event_ids_and_no_change_to_other_users(db: PgPool) {
    let ada = ada_with_everything(&db).await;
    let bob = Client::of(&db, user("bob@example.org", false));
    let of_bob =
        bob.with("idempotency-key", "k").task(json!({"title": "bob", "tags": ["bob"], "remind_at": ahead(1)})).await;
    execute(&db, "insert into dead_letters (id, consumer, dedupe, origin, reason, payload) values (gen_random_uuid(), 'a', 'b', 'daprd', 'c', 'bob')").await;
    let before = tables_with(&db, "bob").await;
    let found = tables_with(&db, CANARY).await;
    let expected = [
        "audit_logs",
        "dead_letters",
        "event_failures",
        "feed",
        "idempotency_keys",
        "notification_deliveries",
        "push_subscriptions",
        "task_events",
        "task_tags",
        "task_versions",
        "tasks",
        "users",
    ];
    assert_eq!(found, expected, "the test looks for something in every table");
    let events = count(&db, "select count(*) from task_events").await;

    assert_eq!(ada.delete("/v1/me").await.expect(204), Value::Null);

    assert!(tables_with(&db, CANARY).await.is_empty(), "{:?}", tables_with(&db, CANARY).await);
    assert_eq!(tables_with(&db, &ada.user.id.to_string()).await, ["erased_users", "task_events"]);
    assert_eq!(count(&db, "select count(*) from erased_users where done").await, 1);
    // The outbox keeps ids: nothing of them is to be published or handled any more.
    assert_eq!(count(&db, "select count(*) from task_events").await, events);
    let open = "select count(*) from task_events event where data = '{}' and (traceparent is not null or published_at is null
                or not exists (select from processed_events where event_id = id and consumer = replace(type, '.', '-')))";
    assert_eq!(count(&db, open).await, 0);
    assert_eq!((tables_with(&db, "bob").await, bob.get(&path(&of_bob)).await.expect(200)), (before, of_bob));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn every_operation_refuses_a_token_from_before_the_erasure(db: PgPool) {
    for issued_at in [None, Some(Utc::now()), Some(Utc::now() + TimeDelta::seconds(20))] {
        // An operator, so that no operation refuses for another reason.
        let ada = Client::of(&db, User { issued_at, ..user(EMAIL, true) });
        let task = walls::canary(&ada).await;
        ada.delete("/v1/me").await.expect(204);
        for key in [None, Some("once")] {
            let ada = key.map_or(ada.clone(), |key| ada.with("idempotency-key", key));
            for operation in Operation::all() {
                let (method, path, body) = operation.on(&task);
                let reply = ada.send(method, &path, body.to_string()).await;
                assert_eq!(reply.headers.get("www-authenticate").unwrap(), "Bearer error=\"invalid_token\"");
                let problem = reply.expect(401);
                assert!(problem["detail"].as_str().unwrap().contains("was erased"), "{}: {problem}", operation.id);
            }
        }
        assert_eq!(tables_with(&db, EMAIL).await, [""; 0]);
    }
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_token_issued_after_the_erasure_opens_an_empty_account_that_older_tokens_cannot_read(db: PgPool) {
    let ada = Client::of(&db, User { issued_at: Some(Utc::now()), ..user(EMAIL, false) });
    walls::canary(&ada).await;
    ada.delete("/v1/me").await.expect(204);
    let again = later(&ada);
    assert_eq!(again.get("/v1/tasks?status=all").await.expect(200)["items"], json!([]));
    let keyed = again.with("idempotency-key", "k");
    let task = keyed.task(json!({"title": "a", "tags": ["canary"]})).await;
    ada.with("idempotency-key", "k").post("/v1/tasks", json!({"title": "a", "tags": ["canary"]})).await.expect(401);
    let event: Uuid = sqlx::query_scalar("select id from task_events where data <> '{}'").fetch_one(&db).await.unwrap();
    let routes = serve::complete(task_completed::router(app(&db)), app(&db));
    again.post(&format!("{}/complete", path(&task)), Value::Null).await.expect(200);
    let completed = sqlx::query_scalar("select id from task_events where type = 'task.completed'").fetch_one(&db).await;
    let completed = shared::testing::handed_over(&db, completed.unwrap()).await;
    assert_eq!(deliver(&routes, &completed).await, StatusCode::OK);
    assert_eq!(
        again.get(&format!("{}/history", path(&task))).await.expect(200)["items"][0]["action"],
        "task.completed"
    );
    let published = "select count(*) from task_events where id = $1 and published_at is null";
    let unpublished: i64 = sqlx::query_scalar(published).bind(event).fetch_one(&db).await.unwrap();
    assert_eq!(unpublished, 1);
    // And once more.
    again.delete("/v1/me").await.expect(204);
    again.get("/v1/me").await.expect(401);
    assert!(tables_with(&db, CANARY).await.is_empty());
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn an_unfinished_erasure_refuses_every_operation(db: PgPool) {
    let ada = Client::of(&db, user(EMAIL, true));
    let task = walls::canary(&ada).await;
    shared::testing::order_erasure(&db, ada.user.id).await;
    for operation in Operation::all() {
        let (method, path, body) = operation.on(&task);
        ada.send(method.clone(), &path, body.to_string()).await.expect(401);
        let reply = later(&ada).send(method, &path, body.to_string()).await;
        assert_eq!(reply.headers["retry-after"], "60");
        assert_eq!(reply.expect(503)["type"], "urn:punctual:problem:erasing", "{}", operation.id);
    }
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn an_erasure_waits_for_the_commands_of_its_user_and_finds_what_they_write(db: PgPool) {
    execute(
        &db,
        "create function pause() returns trigger language plpgsql as $$ begin perform pg_sleep(0.5); return null; end $$;
         create trigger pause after insert on task_events for each row execute function pause()",
    )
    .await;
    for (key, method) in [(None, Method::POST), (Some("k"), Method::POST), (None, Method::PATCH)] {
        let ada = Client::of(&db, user(EMAIL, false));
        let target = match method {
            Method::PATCH => path(&walls::canary(&ada).await),
            _ => "/v1/tasks".to_owned(),
        };
        let client = key.map_or(ada.clone(), |key| ada.with("idempotency-key", key));
        let body = json!({"title": format!("{CANARY} again"), "tags": [CANARY]}).to_string();
        let command = tokio::spawn(async move { client.send(method, &target, body).await });
        let sleeping =
            "select count(*) from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'";
        while count(&db, sleeping).await == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        ada.delete("/v1/me").await.expect(204);
        assert!(command.await.unwrap().status.is_success());
        assert!(tables_with(&db, CANARY).await.is_empty(), "{:?}", tables_with(&db, CANARY).await);
    }
}
