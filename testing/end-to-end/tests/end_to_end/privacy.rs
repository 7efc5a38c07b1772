//! No user sees, changes or receives another user's data.

use lab::api::{Method, text};
use serde_json::json;
use uuid::Uuid;

use crate::{core::witness, product::beside_others, user::id};

const CANARY: &str = "canary-7f3a";

#[test]
fn two_users_see_nothing_of_each_other() {
    beside_others(async |product| {
        let (owner, other) = (product.user(), product.user());
        let (soon, far) = (owner.in_ms(1_500).await, owner.in_ms(3_600_000).await);
        let task = owner
            .create(json!({
                "title": CANARY, "description": CANARY, "tags": [CANARY], "due_at": text(far),
                "reminders": [{"remind_at": text(soon)}, {"before_due": "PT5M"}],
            }))
            .await;
        let before = owner.task(&task).await;

        let (task_id, reminder_id) = (id(&task["id"]), id(&task["reminders"][1]["id"]));
        let of = |template: &str, id: Uuid| template.replace("{id}", &id.to_string());
        for (method, path, body) in [
            (Method::GET, "/v1/tasks/{id}", None),
            (Method::PUT, "/v1/tasks/{id}", Some(json!({"title": "stolen"}))),
            (Method::PATCH, "/v1/tasks/{id}", Some(json!({"title": "stolen"}))),
            (Method::DELETE, "/v1/tasks/{id}", None),
            (Method::POST, "/v1/tasks/{id}/complete", Some(json!({}))),
            (Method::POST, "/v1/tasks/{id}/reopen", Some(json!({}))),
            (Method::POST, "/v1/tasks/{id}/restore", Some(json!({"version": 1}))),
            (Method::GET, "/v1/tasks/{id}/history", None),
            (Method::GET, "/v1/tasks/{id}/reminders", None),
            (Method::POST, "/v1/tasks/{id}/reminders", Some(json!({"remind_at": text(far)}))),
            (Method::GET, "/v1/reminders/{id}/timeline", None),
            (Method::POST, "/v1/reminders/{id}/snooze", Some(json!({"minutes": 5}))),
            (Method::POST, "/v1/reminders/{id}/send-now", Some(json!({}))),
            (Method::DELETE, "/v1/reminders/{id}", None),
        ] {
            let theirs = if path.starts_with("/v1/tasks") { task_id } else { reminder_id };
            let real = other.send(method.clone(), &of(path, theirs), body.as_ref()).await;
            let none = other.send(method.clone(), &of(path, Uuid::now_v7()), body.as_ref()).await;
            assert_eq!(real.status, 404, "{method} {path}: {real:?}");
            assert_eq!((none.status, &none.body), (real.status, &real.body), "{method} {path}");
        }
        assert_eq!(owner.task(&task).await, before, "the task is unchanged");

        let own = other.create(json!({"title": "my own", "tags": ["mine"]})).await;
        witness(product, &other, 1_500).await;
        product.mail_about(&owner, CANARY).await;
        owner.settled().await;
        other.settled().await;
        for path in
            ["/v1/tasks?status=all&limit=100", "/v1/tasks?q=canary", "/v1/tasks?tag=canary-7f3a", "/v1/tags", "/v1/me"]
        {
            let seen = other.get(path).await.to_string();
            assert!(!seen.contains(CANARY) && !seen.contains(&owner.email), "{path}: {seen}");
        }
        for mail in product.mails(&other) {
            assert!(!mail.message.raw.contains(CANARY), "{mail:?}");
        }
        let raw: Vec<String> = product.mails(&owner).into_iter().map(|mail| mail.message.raw).collect();
        assert!(raw.iter().all(|mail| !mail.contains(&other.email)) && raw.len() == 1, "{raw:?}");
        let feed = "select count(*) from feed where user_id = $1 and data::text like '%canary%'";
        assert_eq!((other.count(feed).await, owner.count(feed).await > 0), (0, true));
        // Dead letters may hold any user's data: only operators may read them.
        assert_eq!(other.send(Method::GET, "/v1/dead-letters", None).await.status, 403);
        assert_eq!(
            id(&other.tasks().await.iter().find(|task| task["title"] == "my own").expect("mine")["id"]),
            id(&own["id"])
        );
    });
}

/// Logs are read by people who must not learn secrets, tokens, addresses or what users wrote.
#[test]
fn no_log_contains_a_secret_an_address_or_a_title() {
    beside_others(async |product| {
        let (user, operator) = (product.user(), product.operator());
        let title = format!("canary-{}", Uuid::now_v7().simple());
        let soon = user.in_ms(800).await;
        let body = json!({"title": title, "description": title, "tags": [title], "remind_at": text(soon)});
        let task = user.create(body.clone()).await;
        user.patch(&format!("/v1/tasks/{}", id(&task["id"])), json!({"description": format!("{title} again")})).await;
        let mut wrong = body;
        wrong["due_at"] = json!(title);
        assert_eq!(user.send(Method::POST, "/v1/tasks", Some(&wrong)).await.status, 422);
        user.get(&format!("/v1/tasks?q={title}")).await;
        product.mail_about(&user, &title).await;
        user.complete(&task).await;
        user.delete(&task).await;
        user.settled().await;
        operator.get("/v1/dead-letters").await;
        // The witness comes last, so by then everything has been logged.
        witness(product, &user, 500).await;

        let topology = &product.topology;
        let signature = |token: &str| token.rsplit('.').next().expect("a token has a signature").to_owned();
        let secrets = [
            ("the JWT secret", topology.jwt_secret.clone()),
            ("the app API token", topology.app_api_token.clone()),
            ("the Dapr API token", topology.dapr_api_token("tasks").to_owned()),
            ("the Dapr API token of reminder-due", topology.dapr_api_token("reminder-due").to_owned()),
            ("a user's token", signature(&user.token)),
            ("an operator's token", signature(&operator.token)),
            ("an address", user.email.clone()),
            ("a title", title),
        ];
        let mut read = 0;
        for process in topology.processes() {
            // The mail server stands in for a provider and is not part of the product.
            if process.name() == "smtp" {
                continue;
            }
            let log = std::fs::read(process.log()).unwrap_or_default();
            let log = String::from_utf8_lossy(&log);
            read += log.len();
            for (what, secret) in &secrets {
                let at = log.lines().find(|line| line.contains(secret.as_str()));
                assert!(at.is_none(), "{} logged {what}: {}", process.name(), at.unwrap_or_default());
            }
        }
        assert!(read > 20_000, "the logs have only {read} bytes");
    });
}
