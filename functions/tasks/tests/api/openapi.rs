//! The OpenAPI document is checked in, so that each change of it is reviewed.

use super::*;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");

#[test]
fn the_document_matches_openapi_json() {
    let document = format!("{}\n", tasks::document().to_pretty_json().unwrap());
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::write(FILE, &document).unwrap();
    }
    let checked_in = std::fs::read_to_string(FILE).unwrap_or_default();
    assert!(
        document == checked_in,
        "openapi.json is not up to date: run this test with UPDATE_OPENAPI=1, then review the diff"
    );
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn the_document_is_public(db: PgPool) {
    let nobody = Client { token: None, ..Client::new(&db) };
    nobody.post("/openapi.json", Value::Null).await.expect(405);
    let served = nobody.get("/openapi.json").await.expect(200);
    assert_eq!(served, serde_json::to_value(tasks::document()).unwrap());
    assert_eq!(served["openapi"], "3.1.0");
}

/// Every reference resolves, and every route names its problems, and its security scheme unless it needs no token.
#[test]
fn the_document_is_complete() {
    let document = serde_json::to_value(tasks::document()).unwrap();
    let text = document.to_string();
    for reference in text.split("\"$ref\":\"#").skip(1) {
        let pointer = reference.split('"').next().unwrap();
        assert!(document.pointer(pointer).is_some(), "{pointer} does not resolve");
    }
    let mut operations = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            operations += 1;
            let is_public = operation["security"] == json!([{}]);
            assert_eq!(is_public, path == "/v1/actions");
            assert!(is_public || operation["security"][0].get("bearer").is_some(), "{method} {path}");
            assert!(operation["summary"].is_string(), "{method} {path}");
            for status in ["401", "429", "500", "503"].into_iter().skip(usize::from(is_public)) {
                let problem = &operation["responses"][status]["content"]["application/problem+json"]["schema"]["$ref"];
                assert_eq!(problem, "#/components/schemas/Problem", "{method} {path} {status}");
            }
        }
    }
    assert_eq!(operations, 31);
    for body in [
        "ActionRequest",
        "PreviewedRecurrence",
        "NewTask",
        "WholeTask",
        "TaskPatch",
        "NewReminder",
        "NewPushSubscription",
        "Snooze",
        "Restore",
        "MePatch",
        "RecurrenceInput",
        "RecurrencePatch",
    ] {
        assert_eq!(document["components"]["schemas"][body]["additionalProperties"], false, "{body}");
    }
}

/// Answers have every field that their schema requires, and no other fields.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn answers_match_their_schemas(db: PgPool) {
    let ada = Client::new(&db);
    let task = ada
        .task(json!({"title": "a", "due_at": ahead(4), "tags": ["x"], "reminders": [{"before_due": "PT1H"}], "recurrence": {"type": "daily"}}))
        .await;
    let document = serde_json::to_value(tasks::document()).unwrap();
    let timeline = ada.get(&format!("/v1/reminders/{}/timeline", id(&task["reminders"][0]))).await.expect(200);
    let problem = ada.post("/v1/tasks", json!({})).await.expect(422);
    let rule = json!({"type": "custom", "rule": "FREQ=MONTHLY;COUNT=2"});
    let preview = json!({"recurrence": rule, "due_at": "2027-01-31T09:00:00Z"});
    ada.patch(&path(&task), json!({"title": "b", "description": "c", "tags": []})).await.expect(200);
    let audit =
        "insert into audit_logs (user_id, task_id, action, detail) values ($1, $2, 'task.updated', '{\"version\": 2}')";
    sqlx::query(audit).bind(ada.user.id).bind(id(&task)).execute(&db).await.unwrap();
    let history = ada.get(&format!("{}/history", path(&task))).await.expect(200);
    assert_eq!(history["items"][0]["changes"].as_array().map(Vec::len), Some(3));
    for (schema, body) in [
        ("Task", &task),
        ("Task", &ada.task(json!({"title": "b"})).await),
        ("TaskPage", &ada.get("/v1/tasks").await.expect(200)),
        ("Timeline", &timeline),
        ("Preview", &ada.post("/v1/recurrence/preview", preview).await.expect(200)),
        ("Deliveries", &ada.get("/v1/deliveries").await.expect(200)),
        ("System", &Client::operator(&db).get("/v1/system").await.expect(200)),
        ("History", &history),
        ("Me", &ada.get("/v1/me").await.expect(200)),
        (
            "PushSubscription",
            &ada.post("/v1/push-subscriptions", push::device("https://fcm.googleapis.com/x")).await.expect(201),
        ),
        ("PushSubscriptions", &ada.get("/v1/push-subscriptions").await.expect(200)),
        ("Tags", &ada.get("/v1/tags").await.expect(200)),
        ("Problem", &problem),
    ] {
        let mut schema = json!({"$ref": format!("#/components/schemas/{schema}")});
        schema["components"] = document["components"].clone();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let errors: Vec<_> = validator.iter_errors(body).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{errors:?}\n{body:#}");
    }
}
