//! Users never see each other's objects, through the API or in the database behind it.

use super::{operations::Operation, *};

/// A valid request to every operation about an object.
fn operations(task: &Value) -> Vec<(Method, String, Value)> {
    let about = |operation: &Operation| operation.object().is_some();
    Operation::all().into_iter().filter(about).map(|operation| operation.on(task)).collect()
}

/// A valid request to every other operation.
fn operations_without_object() -> Vec<(Method, String, Value)> {
    let about = |operation: &Operation| operation.object().is_none();
    Operation::all().into_iter().filter(about).map(|operation| operation.on(&Value::Null)).collect()
}

const ROW_LEVEL_SECURITY: [&str; 15] = [
    "users",
    "tasks",
    "task_tags",
    "task_tag_associations",
    "task_reminders",
    "task_occurrences",
    "task_versions",
    "task_events",
    "idempotency_keys",
    "audit_logs",
    "notification_deliveries",
    "feed",
    "user_usage",
    "erased_users",
    "push_subscriptions",
];

/// A task with something in every field, and beside its own fields a device of the user.
pub(crate) async fn canary(ada: &Client) -> Value {
    let mut task = ada
        .task(json!({
            "title": "canary", "description": "canary", "tags": ["canary"], "due_at": ahead(5), "remind_at": ahead(1),
            "recurrence": {"type": "daily"},
        }))
        .await;
    let device = push::device(&format!("https://fcm.googleapis.com/fcm/send/canary-{}", ada.user.id));
    // A key of the task is not one of the device as well.
    let added = Client { headers: Vec::new(), ..ada.clone() }.post("/v1/push-subscriptions", device).await;
    assert!(added.status.is_success(), "{}", added.body);
    task["device"] = added.body;
    task
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn another_users_object_gets_the_answer_of_a_missing_one(db: PgPool) {
    check_strangers(&db).await;
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn statements_filter_by_user_without_row_level_security(db: PgPool) {
    for table in ROW_LEVEL_SECURITY {
        let statement = sqlx::AssertSqlSafe(format!("alter table {table} disable row level security"));
        sqlx::query(statement).execute(&db).await.unwrap();
    }
    check_strangers(&db).await;
    let (ada, bob) = (Client::new(&db), Client::new(&db));
    canary(&ada).await;
    for path in ["/v1/tasks", "/v1/tags", "/v1/push-subscriptions"] {
        assert_eq!(bob.get(path).await.expect(200)["items"], json!([]), "{path}");
    }
}

async fn check_strangers(db: &PgPool) {
    let (ada, bob) = (Client::new(db), Client::new(db));
    let task = canary(&ada).await;
    let missing =
        json!({"id": Uuid::new_v4(), "reminders": [{"id": Uuid::new_v4()}], "device": {"id": Uuid::new_v4()}});
    let before = ada.footprint().await;
    for ((method, path, body), (_, nowhere, _)) in operations(&task).into_iter().zip(operations(&missing)) {
        for key in [None, Some("once")] {
            let bob = key.map_or(bob.clone(), |key| bob.with("idempotency-key", key));
            let theirs = bob.send(method.clone(), &path, body.to_string()).await;
            let none = bob.send(method.clone(), &nowhere, body.to_string()).await;
            let no_uuid = nowhere.replace('-', ":").replace("send:now", "send-now").replace("push:sub", "push-sub");
            let no_uuid = bob.send(method.clone(), &no_uuid, body.to_string()).await;
            assert_eq!(theirs.status, 404, "{method} {path}");
            assert_eq!(theirs, none, "{method} {path}");
            assert_eq!(theirs, no_uuid, "{method} {path}");
        }
    }
    assert_eq!(ada.footprint().await, before);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_request_without_a_valid_token_is_refused_and_has_no_effect(db: PgPool) {
    let ada = Client::new(&db);
    let task = canary(&ada).await;
    let before = ada.footprint().await;
    let tokens = [
        None,
        Some(token(&ada.user, TimeDelta::minutes(-5))),
        Some("nonsense".to_owned()),
        Some(
            auth::sign(&"another secret of 32 bytes or more".into(), &ada.user, Utc::now() + TimeDelta::hours(1))
                .unwrap(),
        ),
    ];
    for token in tokens {
        let nobody = Client { token, ..ada.clone() };
        for (method, path, body) in operations(&task).into_iter().chain(operations_without_object()) {
            let reply = nobody.send(method.clone(), &path, body.to_string()).await;
            assert!(reply.headers.contains_key("www-authenticate"));
            let body = reply.expect(401);
            assert!(!body.to_string().contains("canary"), "{method} {path}");
        }
        // The token is checked before the body.
        nobody.send(Method::POST, "/v1/tasks", "{").await.expect(401);
    }
    assert_eq!(ada.footprint().await, before);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn the_owner_may_use_every_operation(db: PgPool) {
    let ada = Client::new(&db);
    for n in
        0..operations(&json!({"id": Uuid::nil(), "reminders": [{"id": Uuid::nil()}], "device": {"id": Uuid::nil()}}))
            .len()
    {
        let task = canary(&ada).await;
        let (method, path, body) = operations(&task).swap_remove(n);
        let reply = ada.send(method.clone(), &path, body.to_string()).await;
        assert!(reply.status.is_success(), "{method} {path} {}", reply.body);
    }
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn no_answer_to_another_user_contains_a_canary(db: PgPool) {
    let (ada, bob, op) = (Client::new(&db), Client::new(&db), Client::operator(&db));
    let task = canary(&ada).await;
    canary(&ada).await;
    for other in [&bob, &op] {
        for path in
            ["/v1/tasks", "/v1/tasks?q=canary", "/v1/tasks?tag=canary", "/v1/tags", "/v1/me", "/v1/push-subscriptions"]
        {
            let body = other.get(path).await.expect(200);
            assert!(
                !body.to_string().contains("canary") && !body.to_string().contains(task["id"].as_str().unwrap()),
                "{path} {body}"
            );
        }
    }
    assert_eq!(ada.get("/v1/tasks?q=canary&tag=canary").await.expect(200)["items"].as_array().unwrap().len(), 2);
    // Each user has a tag of that name.
    bob.task(json!({"title": "b", "tags": ["canary"]})).await;
    assert_eq!(bob.get("/v1/tags").await.expect(200)["items"], json!([{"name": "canary", "open_tasks": 1}]));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn an_operator_cannot_use_other_users_objects(db: PgPool) {
    let (ada, op) = (Client::new(&db), Client::operator(&db));
    let task = canary(&ada).await;
    for (method, path, body) in operations(&task) {
        op.send(method, &path, body.to_string()).await.expect(404);
    }
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn every_operation_but_create_runs_under_row_level_security(db: PgPool) {
    let ada = Client::new(&db);
    let task = canary(&ada).await;
    sqlx::query("revoke all on all tables in schema public from punctual_api").execute(&db).await.unwrap();
    for (method, path, body) in operations(&task).into_iter().chain(operations_without_object()) {
        let status = ada.send(method.clone(), &path, body.to_string()).await.status;
        let expected = match (&method, &*path) {
            (&Method::POST, "/v1/tasks") => 201,
            (_, path) if path.starts_with("/v1/dead-letters") || path == "/v1/system" => 403,
            _ => 500,
        };
        assert_eq!(status, expected, "{method} {path}");
    }
}

/// A transaction as the API's role, for statements without `where user_id = …`.
pub(crate) async fn as_user(db: &PgPool, user: Option<Uuid>) -> sqlx::Transaction<'static, sqlx::Postgres> {
    let mut tx = db.begin().await.unwrap();
    sqlx::query("select set_config('role', 'punctual_api', true), set_config('punctual.user_id', $1, true)")
        .bind(user.map(|user| user.to_string()).unwrap_or_default())
        .execute(&mut *tx)
        .await
        .unwrap();
    tx
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn row_level_security_hides_other_users_rows(db: PgPool) {
    let (ada, bob) = (Client::new(&db), Client::new(&db));
    let task = canary(&ada).await;
    ada.with("idempotency-key", "k").task(json!({"title": "x"})).await;
    bob.task(json!({"title": "bob's"})).await;
    sqlx::query("insert into audit_logs (user_id, task_id, action) values ($1, $2, 'task.created')")
        .bind(ada.user.id)
        .bind(id(&task))
        .execute(&db)
        .await
        .unwrap();
    for user in [Some(bob.user.id), None] {
        for table in ROW_LEVEL_SECURITY {
            let of_ada = if table == "users" { "id" } else { "user_id" };
            let statement = match table {
                "task_tag_associations" | "task_occurrences" => format!("select count(*) from {table}"),
                table => format!("select count(*) from {table} where {of_ada} = '{}'", ada.user.id),
            };
            let mut tx = as_user(&db, user).await;
            let seen: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(statement)).fetch_one(&mut *tx).await.unwrap();
            assert_eq!(seen, 0, "{table}");
        }
        for statement in [
            "update tasks set title = 'mine now' where title = 'canary'",
            "delete from tasks where title = 'canary'",
            "update task_reminders set state = 'sent' where state = 'scheduled'",
            "delete from task_tag_associations",
            "update users set email = 'mine@now' where email = 'ada@example.org' and id <> punctual_user()",
        ] {
            let mut tx = as_user(&db, user).await;
            let touched = sqlx::query(statement).execute(&mut *tx).await.unwrap().rows_affected();
            assert_eq!(touched, 0, "{statement}");
        }
    }
    // Row-level security also refuses rows of another user.
    for statement in [
        "insert into tasks (user_id, title) values ($1, 'x')",
        "update tasks set user_id = $1 where user_id = punctual_user()",
        "insert into task_events (id, type, task_id, user_id, sequence, data) values (gen_random_uuid(), 't', gen_random_uuid(), $1, 1, '{}')",
    ] {
        let mut tx = as_user(&db, Some(bob.user.id)).await;
        let refused = sqlx::query(statement).bind(ada.user.id).execute(&mut *tx).await.unwrap_err();
        assert!(refused.to_string().contains("row-level security"), "{refused}");
    }
    // The role cannot read the tables of the other functions.
    for table in ["processed_events", "dead_letters", "marks", "event_failures"] {
        let mut tx = as_user(&db, Some(bob.user.id)).await;
        let statement = sqlx::AssertSqlSafe(format!("select count(*) from {table}"));
        assert!(sqlx::query(statement).execute(&mut *tx).await.is_err(), "{table}");
    }
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_connection_returns_to_the_pool_without_its_user(db: PgPool) {
    let one = db.connect_options().as_ref().clone();
    let one = sqlx::postgres::PgPoolOptions::new().max_connections(1).connect_lazy_with(one);
    let ada = Client::new(&one);
    let task = canary(&ada).await;
    // A transaction that commits, and others that do not.
    ada.patch(&path(&task), json!({"title": "another"})).await.expect(200);
    ada.get(&path(&task)).await.expect(200);
    ada.get(&format!("/v1/tasks/{}", Uuid::new_v4())).await.expect(404);
    let (user, role): (Option<String>, String) =
        sqlx::query_as("select nullif(current_setting('punctual.user_id', true), ''), current_user::text")
            .fetch_one(&one)
            .await
            .unwrap();
    assert_eq!(user, None);
    assert_ne!(role, "punctual_api");
    let bob = Client::new(&one);
    bob.get(&path(&task)).await.expect(404);
}
