//! Links of messages act without a token: once, and only as their capability says.

use shared::{
    capability::{Action, Capability, CapabilityConfig, Keys},
    testing::{count, execute},
};

use super::*;

const KEY: &str = "a key of capabilities with 32 bytes or more";
const FORMER: &str = "the key of capabilities before that one";

fn keys(key: &str) -> Keys {
    let config = CapabilityConfig { action_key: Some(key.into()), former_action_key: None };
    Keys::new(&config).unwrap().unwrap()
}

/// A user whose reminder was sent, and nobody with a token.
struct Sent {
    ada: Client,
    nobody: Client,
    task: Value,
    capability: Capability,
}

impl Sent {
    async fn new(db: &PgPool) -> Self {
        let settings = ["--user-requests-per-second", "1000", "--action-key", KEY, "--former-action-key", FORMER];
        let ada = Client { router: router_with(app(db), &settings), ..Client::new(db) };
        let task = ada.task(json!({"title": "canary", "remind_at": "2026-01-01T09:00:00Z"})).await;
        let reminder = id(&task["reminders"][0]);
        sqlx::query(
            "with sent as (update task_reminders set state = 'sent', fired_version = 1 where id = $1 returning *)
             insert into notification_deliveries
                 (id, reminder_id, reminder_version, channel, user_id, task_id, event_id, state, sent_at)
             select gen_random_uuid(), id, version, 'email', user_id, task_id, gen_random_uuid(), 'sent', now() from sent",
        )
        .bind(reminder)
        .execute(db)
        .await
        .unwrap();
        let capability = Capability {
            user_id: ada.user.id,
            task_id: id(&task),
            reminder_id: reminder,
            reminder_version: 1,
            action: Action::Complete,
            expires_at: Utc::now() + TimeDelta::days(6),
        };
        Self { nobody: Client { token: None, ..ada.clone() }, ada, task, capability }
    }

    fn text(&self, action: Action) -> String {
        keys(KEY).sign(&Capability { action, ..self.capability })
    }

    async fn act(&self, action: Action) -> Value {
        self.nobody.post(PATH, json!({"capability": self.text(action)})).await.expect(200)
    }

    async fn task_now(&self) -> Value {
        self.ada.get(&path(&self.task)).await.expect(200)
    }

    async fn recorded(&self) -> (Option<String>, bool) {
        let recorded = "select action, acted_at is not null from notification_deliveries";
        sqlx::query_as(recorded).fetch_one(&self.ada.db).await.unwrap()
    }
}

const PATH: &str = "/v1/actions";

#[track_caller]
fn assert_unchanged(answer: &Value, reason: &str) {
    assert_eq!((&answer["outcome"], &answer["reason"]), (&json!("unchanged"), &json!(reason)));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_link_completes_the_task_as_the_route_of_a_token_does(db: PgPool) {
    let sent = Sent::new(&db).await;
    let done = sent.act(Action::Complete).await;
    let reminder = &sent.task["reminders"][0]["id"];
    assert_eq!(
        done,
        json!({"action": "complete", "task_id": sent.task["id"], "reminder_id": reminder, "outcome": "done"})
    );
    assert_eq!(sent.task_now().await["completed"], true);
    assert_eq!(sent.ada.events(&sent.task).await, [event("task.created", 1), event("task.completed", 2)]);
    assert_eq!(sent.recorded().await, (Some("complete".to_owned()), true));
    // It can be explained.
    let timeline = sent.ada.get(&format!("/v1/reminders/{}/timeline", sent.capability.reminder_id)).await.expect(200);
    let acted = timeline["entries"].as_array().unwrap().last().unwrap();
    assert_eq!((&acted["what"], &acted["version"], &acted["action"]), (&json!("acted"), &json!(1), &json!("complete")));
    let delivery = &sent.ada.get("/v1/deliveries").await.expect(200)["items"][0];
    assert_eq!((&delivery["action"], &delivery["acted_at"]), (&json!("complete"), &acted["at"]));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_link_snoozes_the_reminder_for_an_hour_or_as_long_as_asked(db: PgPool) {
    for (body, minutes) in [(json!({}), 60), (json!({"minutes": 5}), 5)] {
        let sent = Sent::new(&db).await;
        let mut body = body;
        body["capability"] = json!(sent.text(Action::Snooze));
        let done = sent.nobody.post(PATH, body).await.expect(200);
        let task = sent.task_now().await;
        assert_eq!((&done["outcome"], &done["remind_at"]), (&json!("done"), &task["reminders"][0]["remind_at"]));
        let ahead = instant(&done["remind_at"]) - Utc::now();
        assert!((minutes - 1..=minutes).contains(&ahead.num_minutes()), "{ahead}");
        assert_eq!(reminder(&task, 0), scheduled(2));
        assert_eq!(sent.ada.events(&sent.task).await, [event("task.created", 1), event("task.updated", 2)]);
    }
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_link_takes_effect_once_also_if_it_is_used_many_times_at_once(db: PgPool) {
    let sent = Sent::new(&db).await;
    let mut uses = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let (nobody, text) = (sent.nobody.clone(), sent.text(Action::Snooze));
        uses.spawn(async move { nobody.post(PATH, json!({"capability": text})).await.expect(200) });
    }
    let answers = uses.join_all().await;
    assert_eq!(answers.iter().filter(|answer| answer["outcome"] == "done").count(), 1, "{answers:?}");
    let before = sent.ada.footprint().await;
    // Nor does another link of the same mail act any more.
    for action in [Action::Snooze, Action::Complete] {
        assert_unchanged(&sent.act(action).await, "used");
    }
    assert_eq!(sent.ada.footprint().await, before);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_link_whose_process_dies_before_its_commit_was_not_used(db: PgPool) {
    let sent = Sent::new(&db).await;
    let before = sent.ada.footprint().await;
    dies_at(&db, "task_events").await;
    sent.nobody.post(PATH, json!({"capability": sent.text(Action::Complete)})).await.expect(503);
    assert_eq!((sent.ada.footprint().await, sent.recorded().await), (before, (None, false)));
    lives(&db).await;
    assert_eq!(sent.act(Action::Complete).await["outcome"], "done");
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_link_that_was_used_does_not_complete_a_task_that_was_reopened(db: PgPool) {
    let sent = Sent::new(&db).await;
    sent.act(Action::Complete).await;
    let open = sent.ada.post(&format!("{}/reopen", path(&sent.task)), Value::Null).await.expect(200);
    assert_unchanged(&sent.act(Action::Complete).await, "used");
    assert_eq!(sent.task_now().await, open);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_link_changes_nothing_if_something_has_happened_since_the_message(db: PgPool) {
    for (command, reason) in
        [("complete", "completed"), ("snooze", "moved"), ("cancel", "moved"), ("delete", "deleted")]
    {
        let sent = Sent::new(&db).await;
        let reminder = format!("/v1/reminders/{}", sent.capability.reminder_id);
        match command {
            "complete" => sent.ada.post(&format!("{}/complete", path(&sent.task)), Value::Null).await,
            "snooze" => sent.ada.post(&format!("{reminder}/snooze"), json!({"minutes": 5})).await,
            "cancel" => sent.ada.delete(&reminder).await,
            _ => sent.ada.delete(&path(&sent.task)).await,
        };
        let before = sent.ada.footprint().await;
        for action in [Action::Complete, Action::Snooze] {
            assert_unchanged(&sent.act(action).await, reason);
        }
        assert_eq!(sent.ada.footprint().await, before, "{command}");
        assert_eq!(sent.recorded().await, (None, false), "{command}");
    }
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_link_that_is_forged_expired_or_of_an_erased_user_is_refused(db: PgPool) {
    let sent = Sent::new(&db).await;
    let expired = Capability { expires_at: Utc::now() - TimeDelta::seconds(1), ..sent.capability };
    let former = keys(FORMER).sign(&sent.capability);
    let before = sent.ada.footprint().await;
    for (text, wrong) in [
        ("x".to_owned(), "is not the text"),
        (keys("another key of capabilities, as long").sign(&sent.capability), "is not the text"),
        (keys(KEY).sign(&expired), "has expired"),
    ] {
        let refused = sent.nobody.post(PATH, json!({"capability": text})).await.expect(422);
        assert_eq!(refused["errors"][0]["pointer"], "#/capability");
        assert!(refused["errors"][0]["detail"].as_str().unwrap().contains(wrong), "{refused}");
    }
    for body in [json!({}), json!({"capability": former, "user_id": sent.ada.user.id})] {
        sent.nobody.post(PATH, body).await.expect(422);
    }
    assert_eq!(sent.ada.footprint().await, before);
    sent.ada.delete("/v1/me").await.expect(204);
    let text = sent.text(Action::Complete);
    assert_eq!(sent.nobody.post(PATH, json!({"capability": text})).await.invalid_fields(), ["#/capability"]);
    // The user is back with a task of the same id, as a restored database may have it.
    let later = erasure::later(&sent.ada);
    later.task(json!({"title": "new"})).await;
    execute(&db, &format!("update tasks set id = '{}'", sent.capability.task_id)).await;
    assert_eq!(sent.nobody.post(PATH, json!({"capability": text})).await.invalid_fields(), ["#/capability"]);
    assert_eq!(count(&db, "select count(*) from tasks where completed").await, 0);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_link_of_the_former_key_acts(db: PgPool) {
    let sent = Sent::new(&db).await;
    let text = keys(FORMER).sign(&sent.capability);
    assert_eq!(sent.nobody.post(PATH, json!({"capability": text})).await.expect(200)["outcome"], "done");
}

/// Whose task it is says the capability alone, and the answer shows nothing of it.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_token_a_key_and_a_precondition_make_no_difference(db: PgPool) {
    let sent = Sent::new(&db).await;
    let body = json!({"capability": sent.text(Action::Complete)});
    let bob = Client { router: sent.ada.router.clone(), ..Client::new(&db) };
    bob.with("idempotency-key", "k").with("if-match", "\"7\"").post(PATH, body.clone()).await.expect(200);
    assert_eq!(sent.task_now().await["completed"], true);
    assert_eq!(count(&db, "select count(*) from idempotency_keys").await, 0);
    for client in [&sent.ada, &bob, &sent.nobody] {
        let repeated = client.with("idempotency-key", "k").post(PATH, body.clone()).await.expect(200);
        assert_unchanged(&repeated, "used");
        assert!(!repeated.to_string().contains("canary"), "{repeated}");
    }
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_get_never_acts_and_without_a_key_there_are_no_links(db: PgPool) {
    let sent = Sent::new(&db).await;
    let before = sent.ada.footprint().await;
    let text = sent.text(Action::Complete);
    for path in [PATH.to_owned(), format!("{PATH}?capability={text}")] {
        sent.nobody.get(&path).await.expect(405);
    }
    sent.nobody.get(&format!("{PATH}/{text}")).await.expect(404);
    let keyless = Client { router: router(&db), ..sent.nobody.clone() };
    keyless.post(PATH, json!({"capability": text})).await.expect(404);
    assert_eq!(sent.ada.footprint().await, before);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn links_count_against_the_rate_of_their_user(db: PgPool) {
    let sent = Sent::new(&db).await;
    let hasty = router_with(app(&db), &["--user-requests-per-second", "1", "--action-key", KEY]);
    let hasty = Client { router: hasty, ..sent.nobody.clone() };
    let mut statuses = Vec::new();
    for _ in 0..16 {
        statuses.push(hasty.post(PATH, json!({"capability": sent.text(Action::Complete)})).await.status);
    }
    assert!(statuses.contains(&StatusCode::TOO_MANY_REQUESTS), "{statuses:?}");
}
