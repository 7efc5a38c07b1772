//! Requests through API Gateway and a load balancer reach the router unchanged, and so do its answers.

use clap::Parser as _;
use lab::api::id;
use serde_json::{Value, json};
use shared::{App, catalogue::EventType, config::Config, sidecar::SidecarError};
use uuid::Uuid;

use crate::{
    host::{bearer, on_lambda},
    sources::{http_api, load_balancer},
};

#[test]
fn a_task_is_created_read_changed_and_deleted_through_an_http_api() {
    on_lambda(async |host| {
        let (tasks, user) = (host.function("tasks").await, host.user());
        let created = tasks.request(&user, "POST", "/v1/tasks", Some(json!({"title": "Üben – „täglich“"}))).await;
        assert_eq!((created.status, &created.headers["etag"]), (201, &json!("\"1\"")), "{created:?}");
        assert_eq!(created.headers["content-type"], "application/json");
        let path = format!("/v1/tasks/{}", id(&created.body["id"]));

        let read = tasks.request(&user, "GET", &path, None).await;
        assert_eq!((read.status, &read.body), (200, &created.body));
        assert_eq!(read.body["title"], "Üben – „täglich“");

        let bearer = bearer(&user);
        let change = |etag: &str| {
            let headers = [("authorization", bearer.as_str()), ("if-match", etag)];
            http_api("PATCH", &path, "", &headers, Some(&json!({"priority": "high"})))
        };
        let changed = tasks.answer(change("\"1\"")).await;
        assert_eq!((changed.status, &changed.headers["etag"]), (200, &json!("\"2\"")), "{changed:?}");
        let stale = tasks.answer(change("\"1\"")).await;
        assert_eq!(
            (stale.status, &stale.headers["content-type"]),
            (412, &json!("application/problem+json")),
            "{stale:?}"
        );
        assert_eq!(stale.body["type"], "urn:punctual:problem:changed-since");

        let deleted = tasks.request(&user, "DELETE", &path, None).await;
        assert_eq!((deleted.status, deleted.text.as_str()), (204, ""), "{deleted:?}");
        assert_eq!(tasks.request(&user, "GET", &path, None).await.status, 404);
    });
}

#[test]
fn a_refused_request_is_answered_with_a_problem_and_is_not_a_function_error() {
    on_lambda(async |host| {
        let (tasks, user) = (host.function("tasks").await, host.user());
        let nobody = tasks.answer(http_api("GET", "/v1/tasks", "", &[], None)).await;
        assert_eq!((nobody.status, &nobody.headers["www-authenticate"]), (401, &json!("Bearer")), "{nobody:?}");
        let nowhere = tasks.request(&user, "GET", "/v1/nowhere", None).await;
        assert_eq!((nowhere.status, &nowhere.body["status"]), (404, &json!(404)), "{nowhere:?}");
        let wrong = tasks.request(&user, "POST", "/v1/tasks", Some(json!({"title": ""}))).await;
        assert_eq!((wrong.status, &wrong.body["errors"][0]["pointer"]), (422, &json!("#/title")), "{wrong:?}");
        for problem in [nobody, nowhere, wrong] {
            assert_eq!(problem.headers["content-type"], "application/problem+json", "{problem:?}");
        }
    });
}

#[test]
fn a_query_arrives_with_every_value_unchanged() {
    on_lambda(async |host| {
        let (tasks, user) = (host.function("tasks").await, host.user());
        tasks.create(&user, json!({"title": "at home", "tags": ["a+b & c"]})).await;
        tasks.create(&user, json!({"title": "elsewhere", "tags": ["b"]})).await;
        let list = async |query: &str| {
            tasks.answer(http_api("GET", "/v1/tasks", query, &[("authorization", &bearer(&user))], None)).await
        };
        let titles = |page: &Value| -> Vec<Value> {
            page["items"].as_array().into_iter().flatten().map(|task| task["title"].clone()).collect()
        };
        assert_eq!(titles(&list("status=open&tag=a%2Bb%20%26+c").await.body), ["at home"]);
        assert_eq!(titles(&list("").await.body).len(), 2);
        let twice = list("tag=b&limit=1&tag=a").await;
        assert_eq!(
            (twice.status, &twice.body["errors"][0]["detail"]),
            (422, &json!("must be given only once")),
            "{twice:?}"
        );
    });
}

/// It needs no database and no daprd, and a compressed file arrives whole.
#[test]
fn the_page_is_served_through_an_http_api() {
    on_lambda(async |host| {
        let page = host.function("page").await;
        let index = page.answer(http_api("GET", "/", "", &[], None)).await;
        assert_eq!(
            (index.status, &index.headers["content-type"]),
            (200, &json!("text/html; charset=utf-8")),
            "{index:?}"
        );
        assert!(index.text.contains("data-updates=\"https://live.punctual.test/v1/updates\""), "{}", index.text);
        let script = index.text.split('"').find(|part| part.starts_with("/a/") && part.ends_with(".js"));
        let request = http_api("GET", script.expect("a script"), "", &[("accept-encoding", "br")], None);
        let (acknowledged, file) = page.invoke(request).await;
        assert!(acknowledged && file["statusCode"] == 200 && file["isBase64Encoded"] == true, "{file}");
        assert_eq!(file["headers"]["content-encoding"], "br");
        assert_eq!(page.answer(http_api("GET", "/nothing", "", &[], None)).await.status, 404);
    });
}

/// On Lambda, daprd calls `alarm` through a load balancer.
#[test]
fn a_job_through_a_load_balancer_fires_its_reminder_once() {
    on_lambda(async |host| {
        let (tasks, due, user) = (host.function("tasks").await, host.function("alarm").await, host.user());
        let task = tasks.create(&user, json!({"title": "now", "remind_at": "2026-01-01T00:00:00Z"})).await;
        let reminder = id(&task["reminders"][0]["id"]);
        let data = json!({"reminder_id": reminder, "version": 1, "due_at": task["reminders"][0]["remind_at"]});
        let job = |token: &str| {
            let headers = [("content-type", "application/json"), ("dapr-api-token", token), ("host", "internal")];
            load_balancer("POST", &format!("/job/reminder-{reminder}-1"), &headers, &data)
        };
        let (_, refused) = due.invoke(job("another")).await;
        assert_eq!(refused["statusCode"], 503, "{refused}");
        for _ in 0..2 {
            let (acknowledged, answer) = due.invoke(job(&host.app_api_token)).await;
            assert!(acknowledged && answer["statusCode"] == 200, "{answer}");
        }
        assert_eq!(host.on_topic(EventType::ReminderDue, id(&task["id"])).await.len(), 1);
    });
}

/// The functions of one daprd share what it offers. The mail provider's key is at another, with another token.
#[test]
fn only_reminder_due_can_read_secrets_and_invoke() {
    on_lambda(async |host| {
        let sidecar = |of: &str, token_of: &str| {
            let config = Config::try_parse_from([
                "test".to_owned(),
                format!("--database-url={}", host.postgres.url("punctual")),
                format!("--dapr-grpc-endpoint=http://127.0.0.1:{}", host.daprd_of(of).0.grpc_port),
                format!("--dapr-api-token={}", host.daprd_of(token_of).1),
                format!("--app-api-token={}", host.app_api_token),
            ]);
            App::new(config.expect("a configuration"), &host.db).expect("an address").sidecar
        };
        let why = |outcome: Result<(), SidecarError>| outcome.expect_err("a refusal").to_string();
        let reads = async |of: &str, token_of: &str| why(sidecar(of, token_of).secret("nothing").await.map(drop));
        assert!(reads("tasks", "tasks").await.contains("Not Implemented"));
        assert!(reads("reminder-due", "tasks").await.contains("Unauthorized"));
        let allowed = reads("reminder-due", "reminder-due").await;
        assert!(allowed.contains("nothing") && !allowed.contains("Not Implemented"), "{allowed}");
        assert!(why(sidecar("tasks", "tasks").fire(Uuid::nil(), 1).await).contains("Not Implemented"));
    });
}
