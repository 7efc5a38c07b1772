//! A repeated request has one effect and one answer.

use sqlx::postgres::PgPoolOptions;

use super::*;

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_repeated_create_has_one_effect_and_the_first_answer(db: PgPool) {
    let ada = Client::new(&db).with("idempotency-key", "once");
    let body = json!({"title": "a", "remind_at": ahead(1), "tags": ["x"]});
    let first = ada.post("/v1/tasks", body.clone()).await;
    let before = ada.footprint().await;
    let mut second = ada.post("/v1/tasks", body).await;
    assert_eq!(second.headers.remove("idempotency-replayed").unwrap(), "true");
    assert_eq!(second.status, 201);
    assert_eq!(second, first);
    assert_eq!(ada.footprint().await, before);
    assert_eq!(ada.events(&first.body).await, [event("task.created", 1)]);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_large_answer_is_not_kept_and_its_repetition_shows_the_task_as_it_is(db: PgPool) {
    let ada = Client::new(&db).with("idempotency-key", "once");
    let body = json!({"title": "a", "description": "x".repeat(10_000)});
    let first = ada.post("/v1/tasks", body.clone()).await;
    let kept: i32 = sqlx::query_scalar("select sum(pg_column_size(k.*))::int from idempotency_keys k")
        .fetch_one(&db)
        .await
        .unwrap();
    assert!(kept < 1_000, "{kept} bytes are kept");
    let mut again = ada.post("/v1/tasks", body.clone()).await;
    assert_eq!(again.headers.remove("idempotency-replayed").unwrap(), "true");
    assert_eq!(again, first);
    let unkeyed = Client::of(&db, ada.user.clone());
    let changed = unkeyed.patch(&path(&first.body), json!({"description": "y".repeat(9_000)})).await;
    let again = ada.post("/v1/tasks", body.clone()).await;
    assert_eq!((again.status, &again.body), (StatusCode::CREATED, &changed.body));
    assert_eq!(again.headers["etag"], changed.headers["etag"]);
    assert_eq!(again.headers["location"], first.headers["location"]);
    unkeyed.delete(&path(&first.body)).await.expect(204);
    let again = ada.post("/v1/tasks", body).await;
    assert_eq!((again.status, &again.body), (StatusCode::CREATED, &Value::Null));
    assert_eq!(unkeyed.get("/v1/tasks").await.expect(200)["items"], json!([]));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_key_is_refused_for_a_different_request(db: PgPool) {
    let ada = Client::new(&db).with("idempotency-key", "once");
    let task = ada.task(json!({"title": "a"})).await;
    let before = ada.footprint().await;
    for reply in [
        ada.post("/v1/tasks", json!({"title": "b"})).await,
        ada.put(&path(&task), json!({"title": "a"})).await,
        ada.post(&format!("{}/complete", path(&task)), json!(null)).await,
    ] {
        assert_eq!(reply.expect(422)["type"], "urn:punctual:problem:key-reused");
    }
    assert_eq!(ada.footprint().await, before);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn two_users_may_choose_the_same_key(db: PgPool) {
    let ada = Client::new(&db).with("idempotency-key", "once");
    let bob = Client::new(&db).with("idempotency-key", "once");
    let one = ada.task(json!({"title": "a"})).await;
    let two = bob.task(json!({"title": "a"})).await;
    assert_ne!(one["id"], two["id"]);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn every_write_accepts_a_key(db: PgPool) {
    let ada = Client::new(&db);
    let task = ada.task(json!({"title": "a", "remind_at": ahead(1)})).await;
    let reminder = format!("/v1/reminders/{}", id(&task["reminders"][0]));
    let task = path(&task);
    for (key, (method, path, body)) in [
        (Method::PUT, task.clone(), json!({"title": "b", "remind": 1})),
        (Method::PATCH, task.clone(), json!({"title": "c"})),
        (Method::POST, format!("{task}/reminders"), json!({"remind_at": ahead(2)})),
        (Method::POST, format!("{reminder}/snooze"), json!({"minutes": 5})),
        (Method::POST, format!("{reminder}/send-now"), json!({})),
        (Method::DELETE, reminder.clone(), json!({})),
        (Method::POST, format!("{task}/complete"), json!({})),
        (Method::POST, format!("{task}/reopen"), json!({})),
        (Method::POST, format!("{task}/restore"), json!({"version": 1})),
        (Method::PATCH, "/v1/me".to_owned(), json!({"time_zone": "Europe/Rome"})),
        (Method::DELETE, task.clone(), json!({})),
        (Method::POST, format!("{task}/restore"), json!({"version": 1})),
    ]
    .into_iter()
    .enumerate()
    {
        let ada = ada.with("idempotency-key", key);
        let first = ada.send(method.clone(), &path, body.to_string()).await;
        let before = ada.footprint().await;
        let second = ada.send(method.clone(), &path, body.to_string()).await;
        assert_eq!((second.status, &second.body), (first.status, &first.body), "{method} {path}");
        assert_eq!(second.headers.get("etag"), first.headers.get("etag"));
        assert_eq!(second.headers.contains_key("idempotency-replayed"), first.status.is_success(), "{method} {path}");
        assert_eq!(ada.footprint().await, before, "{method} {path}");
    }
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_refused_request_does_not_use_up_its_key(db: PgPool) {
    let ada = Client::new(&db).with("idempotency-key", "once");
    ada.post("/v1/tasks", json!({"title": ""})).await.expect(422);
    ada.delete(&format!("/v1/tasks/{}", Uuid::new_v4())).await.expect(404);
    ada.task(json!({"title": "a"})).await;
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn concurrent_duplicates_have_one_effect_and_one_answer(db: PgPool) {
    let ada = Client::new(&db).with("idempotency-key", "once");
    let task = Client::of(&db, ada.user.clone()).task(json!({"title": "old"})).await;
    for (n, (method, path)) in
        [(Method::POST, "/v1/tasks".to_owned()), (Method::PATCH, path(&task))].into_iter().enumerate()
    {
        let duplicates = (0..5).map(|_| {
            let (ada, method, path) = (ada.with("idempotency-key", n), method.clone(), path.clone());
            let mut ada = ada;
            ada.headers.remove(0);
            tokio::spawn(async move { ada.send(method, &path, json!({"title": "a", "tags": ["x"]}).to_string()).await })
        });
        let mut answers = Vec::new();
        for duplicate in duplicates.collect::<Vec<_>>() {
            let answer = duplicate.await.unwrap();
            assert!(answer.status.is_success(), "{answer:?}");
            answers.push((answer.status, answer.body));
        }
        answers.dedup();
        assert_eq!(answers.len(), 1, "{answers:?}");
    }
    let counts: (i64, i64) = sqlx::query_as("select (select count(*) from tasks), (select count(*) from task_events)")
        .fetch_one(&db)
        .await
        .unwrap();
    assert_eq!(counts, (2, 3));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_duplicate_that_waits_too_long_gets_a_409(db: PgPool) {
    let ada = Client::new(&db);
    let mut first = db.begin().await.unwrap();
    sqlx::query("insert into idempotency_keys (user_id, key, fingerprint) values ($1, 'once', '')")
        .bind(ada.user.id)
        .execute(&mut *first)
        .await
        .unwrap();
    let impatient = db.connect_options().as_ref().clone().options([("lock_timeout", "200ms")]);
    let impatient = PgPoolOptions::new().max_connections(2).connect_lazy_with(impatient);
    let duplicate = Client::of(&impatient, ada.user.clone()).with("idempotency-key", "once");
    duplicate.post("/v1/tasks", json!({"title": "a"})).await.expect(409);
    // The first request has died: its key is free, and the repetition does the work.
    first.rollback().await.unwrap();
    duplicate.post("/v1/tasks", json!({"title": "a"})).await.expect(201);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_key_must_be_visible_ascii_of_at_most_255_characters(db: PgPool) {
    let ada = Client::new(&db);
    for key in [String::new(), "x".repeat(256), "\u{e9}".to_owned()] {
        let reply = ada.with("idempotency-key", key).post("/v1/tasks", json!({"title": "a"})).await;
        assert_eq!(reply.invalid_fields(), ["Idempotency-Key"]);
    }
    let two = ada.with("idempotency-key", "a").with("idempotency-key", "b");
    assert_eq!(two.post("/v1/tasks", json!({"title": "a"})).await.invalid_fields(), ["Idempotency-Key"]);
    ada.with("idempotency-key", "x".repeat(255)).task(json!({"title": "a"})).await;
}
