//! Requests to every operation that needs a token, generated from the OpenAPI document. A new operation whose object or body is unknown here fails
//! these tests, so that none is forgotten.

use super::*;

/// An operation of the document.
pub(crate) struct Operation {
    pub(crate) id: String,
    method: Method,
    template: String,
    body: Option<String>,
}

impl Operation {
    /// Every operation of this function. The document also describes the stream of `updates`.
    pub(crate) fn all() -> Vec<Self> {
        let document = serde_json::to_value(tasks::document()).unwrap();
        let mut all = Vec::new();
        for (template, methods) in document["paths"].as_object().unwrap() {
            // `actions` tests the one that needs none.
            let methods = methods.as_object().unwrap().iter();
            for (method, operation) in methods.filter(|(_, operation)| operation["security"] != json!([{}])) {
                let content = operation["requestBody"]["content"].as_object();
                let body = content.and_then(|content| content.values().next()).map(|body| {
                    let name = body["schema"]["$ref"].as_str().expect("a body has a name");
                    name.rsplit('/').next().unwrap().to_owned()
                });
                let method = method.to_uppercase().parse().unwrap();
                let id = operation["operationId"].as_str().expect("an id").to_owned();
                all.push(Self { id, method, template: template.clone(), body });
            }
        }
        all.retain(|operation| operation.id != "updates");
        // Last, because nothing of the user is left after it.
        all.sort_by_key(|operation| operation.id == "erase_me");
        all
    }

    /// The kind of object that its path identifies.
    pub(crate) fn object(&self) -> Option<&'static str> {
        match self.template.split('/').skip(2).collect::<Vec<_>>()[..] {
            ["tasks", "{id}", ..] => Some("task"),
            ["reminders", "{id}", ..] => Some("reminder"),
            ["push-subscriptions", "{id}"] => Some("device"),
            ["tasks" | "tags" | "me" | "deliveries" | "export" | "system" | "push-subscriptions" | "dead-letters"]
            | ["dead-letters", "{id}", "replay"]
            | ["recurrence", "preview"] => None,
            _ => panic!("{}: say here which object it is about", self.template),
        }
    }

    pub(crate) fn is_for_operators(&self) -> bool {
        ["/v1/dead-letters", "/v1/system"].iter().any(|path| self.template.starts_with(path))
    }

    /// A request about a task, its first reminder or the device of [`walls::canary`], with a valid body.
    pub(crate) fn on(&self, task: &Value) -> (Method, String, Value) {
        let id = match self.object() {
            Some("task") => id(task),
            Some("device") => id(&task["device"]),
            Some(_) => id(&task["reminders"][0]),
            None => Uuid::new_v4(),
        };
        let body = match (self.body.as_deref(), &self.method) {
            (Some("NewTask"), _) => json!({"title": "x"}),
            (Some("WholeTask" | "TaskPatch"), _) => json!({"title": "mine now"}),
            (Some("NewReminder"), _) => json!({"remind_at": ahead(2)}),
            (Some("Snooze"), _) => json!({"minutes": 5}),
            (Some("PreviewedRecurrence"), _) => {
                json!({"recurrence": {"type": "monthly"}, "due_at": "2031-01-31T09:00:00Z", "count": 2})
            }
            (Some("Restore"), _) => json!({"version": 1}),
            (Some("NewPushSubscription"), _) => push::device("https://fcm.googleapis.com/fcm/send/x"),
            (Some("MePatch"), _) => json!({"time_zone": null}),
            (Some(other), _) => panic!("{other}: say here what a valid body is"),
            (None, &Method::GET) => json!(null),
            (None, _) => json!({}),
        };
        (self.method.clone(), self.template.replace("{id}", &id.to_string()), body)
    }
}

/// Fields that rows have and bodies must not have.
const FORGED: [&str; 6] = ["user_id", "id", "version", "task_id", "series_id", "created_at"];

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn bodies_refuse_fields_that_only_the_system_writes(db: PgPool) {
    let (ada, bob, op) = (Client::new(&db), Client::new(&db), Client::operator(&db));
    let task = walls::canary(&ada).await;
    let of_bob = walls::canary(&bob).await;
    let shown = ada.get(&path(&task)).await.expect(200);
    let before = ada.footprint().await;
    let mut tried = 0;
    for operation in Operation::all() {
        let (method, path, body) = operation.on(&of_bob);
        if method == Method::GET {
            continue;
        }
        let caller = if path.contains("dead-letters") { &op } else { &bob };
        for name in FORGED {
            let mut body = body.clone();
            body[name] = if name == "version" { json!(999) } else { json!(ada.user.id) };
            let reply = caller.with("idempotency-key", "k").send(method.clone(), &path, body.to_string()).await;
            assert_eq!(reply.invalid_fields(), [format!("#/{name}")], "{method} {path}");
            tried += 1;
        }
    }
    assert_eq!(tried, 17 * FORGED.len());
    // Nor does an object inside a body.
    for (name, body) in [
        ("reminders/0/user_id", json!({"title": "x", "reminders": [{"remind_at": ahead(1), "user_id": ada.user.id}]})),
        (
            "recurrence/version",
            json!({"title": "x", "due_at": ahead(1), "recurrence": {"type": "daily", "version": 2}}),
        ),
    ] {
        assert_eq!(bob.post("/v1/tasks", body.clone()).await.invalid_fields(), [format!("#/{name}")]);
        assert_eq!(bob.put(&path(&of_bob), body).await.invalid_fields(), [format!("#/{name}")]);
    }
    assert_eq!(ada.footprint().await, before);
    assert_eq!(ada.get(&path(&task)).await.expect(200), shown);
}

/// Only the token says who the user is.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_user_id_in_the_query_or_a_header_is_ignored(db: PgPool) {
    let (ada, bob) = (Client::new(&db), Client::new(&db));
    let task = walls::canary(&ada).await;
    let before = ada.footprint().await;
    for operation in Operation::all() {
        let (method, path, body) = operation.on(&task);
        if operation.object().is_none() && method != Method::GET {
            continue; // it would change Bob's own objects
        }
        let plain = bob.send(method.clone(), &path, body.to_string()).await;
        let forged = bob.with("x-user-id", ada.user.id).with("x-forwarded-user", ada.user.id);
        let forged = forged.with("cookie", format!("user_id={}", ada.user.id));
        assert_eq!(forged.send(method.clone(), &path, body.to_string()).await, plain, "{method} {path}");
        let query = forged.send(method.clone(), &format!("{path}?user_id={}", ada.user.id), body.to_string()).await;
        // A list refuses an unknown parameter. Other operations read none.
        assert!(query == plain || query.invalid_fields() == ["user_id"], "{method} {path}");
    }
    assert_eq!(ada.footprint().await, before);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn problems_do_not_reveal_the_database_the_host_or_the_code(db: PgPool) {
    let ada = Client::operator(&db);
    let task = walls::canary(&ada).await;
    let database: String = sqlx::query_scalar("select current_database()").fetch_one(&db).await.unwrap();
    for statement in [
        "alter table tasks rename column title to secret_title", // every statement about tasks fails
        "alter table dead_letters rename column reason to secret_reason",
        "alter table users rename column time_zone to secret_zone",
        "alter table task_tags rename column name to secret_name",
        "alter table audit_logs rename column action to secret_action",
        "alter table task_reminders rename column channels to secret_channels",
        "alter table push_subscriptions rename column vapid_key to secret_key",
    ] {
        sqlx::query(statement).execute(&db).await.unwrap();
    }
    let mut failed = 0;
    for operation in Operation::all() {
        let (method, path, body) = operation.on(&task);
        for body in [body.to_string(), "{".to_owned(), json!({"title": 7, "x\"y": {}}).to_string()] {
            let reply = ada.send(method.clone(), &path, body).await;
            failed += usize::from(reply.status == 503);
            assert_ne!(reply.status, 500, "{method} {path}");
            let told = reply.body.to_string().to_lowercase();
            for inside in
                ["secret_", "column \\\"", "select", "relation", "sqlx", "postgres", ".rs", "panick", &database]
            {
                assert!(!told.contains(inside), "{method} {path} tells of {inside}: {told}");
            }
        }
    }
    assert!(failed >= 20, "only {failed} requests failed inside");
}
