//! What clients see: the answer of every operation, and one of each kind of problem, as snapshots. `INSTA_UPDATE=always` writes them
//! anew; without it a changed or missing snapshot fails.

use std::collections::{BTreeMap, BTreeSet};

use insta::internals::Content;

use super::{operations::Operation, *};

/// The headers that are part of the contract.
const HEADERS: [&str; 8] = [
    "accept-encoding",
    "allow",
    "content-type",
    "etag",
    "idempotency-replayed",
    "location",
    "retry-after",
    "www-authenticate",
];

const AT: &str = "2031-01-31T09:00:00Z";

fn snapshot(name: &str, answers: &BTreeMap<String, Value>) {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    let ids = ["id", "task_id", "event_id", "location"];
    let times = ["created_at", "updated_at", "completed_at", "replayed_at", "at", "oldest"];
    for endpoint in [".list_push_subscriptions.body.items[].endpoint", ".export.body[].push_subscription.endpoint"] {
        settings.add_redaction(endpoint, "[endpoint]");
    }
    for (names, redacted) in [(ids.as_slice(), "[id]"), (times.as_slice(), "[time]")] {
        for name in names {
            let keep_null = move |value: Content, _: insta::internals::ContentPath<'_>| {
                if value.is_nil() { value } else { Content::from(redacted) }
            };
            settings.add_dynamic_redaction(&format!(".**.{name}"), keep_null);
        }
    }
    // These fire at a time that depends on when the test runs.
    for operation in ["add_reminder", "snooze_reminder", "send_reminder_now"] {
        settings.add_redaction(&format!(".{operation}.body.reminders[].remind_at"), "[time]");
    }
    // All events so far are unpublished.
    settings.add_redaction(".get_system.body.*.count", "[count]");
    settings.bind(|| insta::assert_json_snapshot!(name, answers));
}

fn shown(reply: &Reply) -> Value {
    let headers: BTreeMap<_, _> = HEADERS
        .iter()
        .filter_map(|name| Some((*name, reply.headers.get(*name)?.to_str().unwrap().to_owned())))
        .collect();
    json!({"status": reply.status.as_u16(), "headers": headers, "body": reply.body})
}

/// A task with something in every field, and a device.
async fn full_task(ada: &Client) -> Value {
    let mut task = ada
        .task(json!({
            "title": "pay the rent", "description": "to the landlord", "priority": "high", "due_at": AT, "time_zone": "Europe/Berlin",
            "tags": ["home"], "reminders": [{"before_due": "PT15M"}], "recurrence": {"type": "monthly"},
        }))
        .await;
    sqlx::query(
        "insert into audit_logs (user_id, task_id, event_id, action, detail)
         values ($1, $2, gen_random_uuid(), 'task.created', '{\"version\": 1}')",
    )
    .bind(ada.user.id)
    .bind(id(&task))
    .execute(&ada.db)
    .await
    .unwrap();
    let device = push::device(&format!("https://updates.push.services.mozilla.com/wpush/v2/{}", ada.user.id));
    task["device"] = ada.post("/v1/push-subscriptions", device).await.expect(201);
    task
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn every_operation_answers_as_in_its_snapshot(db: PgPool) {
    let mut answers = BTreeMap::new();
    for operation in Operation::all() {
        // A user of its own for each, so that lists show one task.
        let ada = Client::new(&db);
        let task = full_task(&ada).await;
        let (method, path, body) = operation.on(&task);
        let reply = if operation.is_for_operators() {
            let letter = dead_letters::rejected(&ada).await.0;
            let path = path
                .split('/')
                .map(|part| if part.parse::<Uuid>().is_ok() { letter.to_string() } else { part.to_owned() });
            let path = path.collect::<Vec<_>>().join("/");
            let reply = Client::operator(&db).send(method, &path, body.to_string()).await;
            sqlx::query("delete from dead_letters").execute(&db).await.unwrap();
            reply
        } else {
            ada.send(method, &path, body.to_string()).await
        };
        assert!(reply.status.is_success(), "{}: {reply:?}", operation.id);
        answers.insert(operation.id.clone(), shown(&reply));
    }
    snapshot("operations", &answers);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn every_problem_is_as_in_its_snapshot(db: PgPool) {
    let ada = Client::new(&db);
    let task = full_task(&ada).await;
    let path = path(&task);
    let nobody = Client { token: None, ..ada.clone() };
    let forged = Client { token: Some("nonsense".to_owned()), ..ada.clone() };
    let keyed = ada.with("idempotency-key", "once");
    keyed.task(json!({"title": "a"})).await;
    let replaced = ada.task(json!({"title": "a"})).await;
    sqlx::query("update tasks set version = 2 where id = $1").bind(id(&replaced)).execute(&db).await.unwrap();
    let nowhere = "postgres://nobody@127.0.0.1:1/nowhere".parse().unwrap();
    let unavailable = sqlx::postgres::PgPoolOptions::new().acquire_timeout(std::time::Duration::from_millis(200));
    let unavailable = Client::new(&unavailable.connect_lazy_with(nowhere));
    let hasty = Client { router: router_with(app(&db), &["--user-requests-per-second", "1"]), ..ada.clone() };
    let satisfied = Client { router: router_with(app(&db), &["--user-tasks", "1"]), ..ada.clone() };
    let full = Client { router: router_with(app(&db), &["--requests-in-flight", "1"]), ..ada.clone() };

    let mut problems = BTreeMap::new();
    let mut note = |name: &str, reply: &Reply| drop(problems.insert(name.to_owned(), shown(reply)));
    note("malformed", &ada.send(Method::POST, "/v1/tasks", "{").await);
    note("no token", &nobody.get("/v1/tasks").await);
    note("invalid token", &forged.get("/v1/tasks").await);
    note("forbidden", &ada.get("/v1/dead-letters").await);
    note("not found", &ada.get(&format!("/v1/tasks/{}", Uuid::nil())).await);
    note("gone", &ada.post(&format!("/v1/tasks/{}/restore", id(&replaced)), json!({"version": 1})).await);
    note("method not allowed", &ada.put("/v1/me", json!({})).await);
    note("changed since", &ada.with("if-match", "\"7\"").patch(&path, json!({})).await);
    note("exists", &ada.with("if-none-match", "*").put(&path, json!({"title": "a"})).await);
    note("no ETag", &ada.with("if-match", "\"1\"").patch("/v1/me", json!({})).await);
    note("too large", &ada.send(Method::POST, "/v1/tasks", "x".repeat((256 << 10) + 1)).await);
    note("not JSON", &ada.with("content-type", "text/plain").post("/v1/tasks", json!({"title": "a"})).await);
    note("encoded", &ada.with("content-encoding", "gzip").post("/v1/tasks", json!({"title": "a"})).await);
    note("field given twice", &ada.send(Method::POST, "/v1/tasks", r#"{"title":"a","title":"b"}"#).await);
    note("one invalid field", &ada.post("/v1/tasks", json!({})).await);
    let invalid = json!({
        "title": "", "description": "x".repeat(10_001), "priority": "highest", "due_at": "tomorrow", "time_zone": "Mars/Olympus",
        "tags": [""], "reminders": [{}, {"remind_at": AT, "before_due": "PT1H"}, {"before_due": "soon"}, {"remind_at": AT, "channels": []}],
        "recurrence": {"type": "hourly", "interval": 0, "rule": "", "anchor": "x"}, "completed": true, "version": 2, "nothing": 1,
    });
    note("many invalid fields", &ada.post("/v1/tasks", invalid).await);
    note("rule that does not fit", &ada.patch(&path, json!({"recurrence": {"rule": "FREQ=DAILY"}})).await);
    note("invalid parameters", &ada.get("/v1/tasks?limit=0&status=done&cursor=x&nothing=1").await);
    note("invalid header", &ada.with("idempotency-key", "").post("/v1/tasks", json!({"title": "a"})).await);
    note("key reused", &keyed.post("/v1/tasks", json!({"title": "b"})).await);
    note("quota exceeded", &satisfied.post("/v1/tasks", json!({"title": "a"})).await);
    note("unavailable", &unavailable.get("/v1/tasks").await);
    let refused = loop {
        let reply = hasty.get("/v1/me").await;
        if !reply.status.is_success() {
            break reply;
        }
    };
    note("too many requests", &refused);
    let mut lock = db.begin().await.unwrap();
    sqlx::query("select from tasks for update").execute(&mut *lock).await.unwrap();
    let waiting = {
        let (full, path) = (full.clone(), path.clone());
        tokio::spawn(async move { full.patch(&path, json!({"title": "b"})).await })
    };
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    note("overloaded", &full.get("/v1/me").await);
    lock.rollback().await.unwrap();
    waiting.await.unwrap().expect(200);
    let mut lock = db.begin().await.unwrap();
    sqlx::query("lock table tasks in access exclusive mode").execute(&mut *lock).await.unwrap();
    note("search timeout", &ada.get("/v1/tasks?q=a").await);
    lock.rollback().await.unwrap();
    ada.post(&format!("{path}/complete"), json!(null)).await.expect(200);
    let reminder = id(&task["reminders"][0]);
    note("conflict", &ada.post(&format!("/v1/reminders/{reminder}/snooze"), json!({"minutes": 5})).await);
    sqlx::query("revoke all on tasks from punctual_api").execute(&db).await.unwrap();
    note("internal", &ada.get(&path).await);
    let (erased, later) = (Client::new(&db), erasure::later);
    erased.delete("/v1/me").await.expect(204);
    note("token from before the erasure", &erased.get("/v1/me").await);
    sqlx::query("update erased_users set done = false").execute(&db).await.unwrap();
    note("erasing", &later(&erased).get("/v1/me").await);

    let kinds: BTreeSet<&str> = problems.values().map(|problem| problem["body"]["type"].as_str().unwrap()).collect();
    let source = include_str!("../../../../shared/src/problem.rs");
    let known = source.split("\"urn:").skip(1).map(|rest| rest.split('"').next().unwrap());
    let known: BTreeSet<String> = known.map(|kind| format!("urn:{kind}")).collect();
    assert_eq!(kinds, known.iter().map(String::as_str).collect(), "a problem of each kind");
    snapshot("problems", &problems);
}
