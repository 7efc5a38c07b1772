//! The event and job routes of the functions: they never answer 404, which Dapr takes as success, and serve only daprd.

use lab::api::Method;
use serde_json::json;
use shared::{
    catalogue::EventType,
    schema::{TaskRef, TaskUpdated},
};

use crate::{
    product::{RunningProduct, beside_others},
    user::id,
};

async fn status(product: &RunningProduct, function: &str, path: &str, token: Option<&str>, body: String) -> u16 {
    let url = format!("http://127.0.0.1:{}{path}", product.function(function).port);
    let mut request = product.http.post(url).header("content-type", "application/cloudevents+json").body(body);
    if let Some(token) = token {
        request = request.header("dapr-api-token", token);
    }
    request.send().await.expect("an answer").status().as_u16()
}

#[test]
fn no_event_or_job_route_answers_404() {
    beside_others(async |product| {
        let token = Some(product.topology.app_api_token.as_str());
        for function in &product.topology.functions {
            for path in [
                "/events/nothing",
                "/events/task-created/x",
                "/events/dead-letters/x",
                "/job/nothing",
                "/job/a/b",
                "/job/",
            ] {
                for token in [token, None] {
                    let answer = status(product, &function.name, path, token, String::new()).await;
                    // An unknown dead letter is stored and an unknown job is logged and dropped: both routes exist.
                    assert!(matches!(answer, 200 | 500 | 503), "{} {path} answered {answer}", function.name);
                }
            }
            assert_eq!(status(product, &function.name, "/events/_ignore", token, String::new()).await, 200);
        }
    });
}

#[test]
fn a_call_without_the_token_is_refused_and_has_no_effect() {
    beside_others(async |product| {
        let user = product.user();
        let task = user.remind("not by you", user.in_ms(3_600_000).await).await;
        user.settled().await;
        let task_ref = TaskRef { task_id: id(&task["id"]), user_id: user.id, title: String::new(), version: 2 };
        let event = crate::topics::cloud_event(&TaskUpdated { task: task_ref });
        let (events, reminder) =
            (user.count("select count(*) from task_events where user_id = $1").await, &task["reminders"][0]);
        let job = json!({"reminder_id": reminder["id"], "version": 1, "due_at": reminder["remind_at"]});

        let mut routes: Vec<(&str, String, String)> = EventType::ALL
            .into_iter()
            .map(|kind| (kind.consumer(), format!("/events/{}", kind.consumer()), event.to_string()))
            .collect();
        routes.push(("dead-letters", "/events/dead-letters/task-created".to_owned(), event.to_string()));
        routes.push(("alarm", format!("/job/reminder-{}-1", id(&reminder["id"])), job.to_string()));
        routes.push(("alarm", "/send-now".to_owned(), job.to_string()));
        routes.push(("upkeep", "/job/retention".to_owned(), "{}".to_owned()));
        for (function, path, body) in routes {
            let near = format!("{}x", &product.topology.app_api_token);
            for token in [None, Some(""), Some(near.as_str()), Some(product.topology.dapr_api_token(function))] {
                let answer = status(product, function, &path, token, body.clone()).await;
                assert!((500..600).contains(&answer), "{function} {path} answered {answer} to {token:?}");
            }
        }
        user.settled().await;
        let event_id = id(&event["id"]);
        assert_eq!(product.count("select count(*) from processed_events where event_id = $1", event_id).await, 0);
        let letters = "select count(*) from dead_letters where payload like concat('%', $1::uuid, '%')";
        assert_eq!(product.count(letters, event_id).await, 0);
        assert_eq!(user.count("select count(*) from task_events where user_id = $1").await, events);
        let public = user.send(Method::POST, "/job/nothing", None).await;
        assert_eq!(public.status, 500, "a bearer token does not authorize job routes: {public:?}");
    });
}
