//! Timelines, history, users and tags.

use super::*;

async fn audit(db: &PgPool, user: Uuid, task: &Value, action: &str, of: Option<(&Value, i32)>, detail: Value) {
    sqlx::query(
        "insert into audit_logs (user_id, task_id, action, reminder_id, reminder_version, detail) values ($1, $2, $3, $4, $5, $6)",
    )
    .bind(user)
    .bind(id(task))
    .bind(action)
    .bind(of.map(|(reminder, _)| id(reminder)))
    .bind(of.map(|(_, version)| version))
    .bind(detail)
    .execute(db)
    .await
    .unwrap();
}

fn told(timeline: &Value) -> Vec<(&str, i64)> {
    let entries = timeline["entries"].as_array().unwrap().iter();
    entries.map(|entry| (entry["what"].as_str().unwrap(), entry["version"].as_i64().unwrap())).collect()
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_timeline_shows_how_a_reminder_was_sent(db: PgPool) {
    let ada = Client::new(&db);
    let task = ada.task(json!({"title": "a", "remind_at": ahead(1)})).await;
    let of = &task["reminders"][0];
    let timeline = format!("/v1/reminders/{}/timeline", id(of));
    assert_eq!(told(&ada.get(&timeline).await.expect(200)), [("created", 1)]);

    let planned = of["remind_at"].clone();
    audit(
        &db,
        ada.user.id,
        &task,
        "reminder.armed",
        Some((of, 1)),
        json!({"planned_at": planned, "job_id": "reminder-x-1"}),
    )
    .await;
    audit(&db, ada.user.id, &task, "reminder.fired", Some((of, 1)), json!({"planned_at": planned, "late_ms": 7})).await;
    audit(&db, ada.user.id, &task, "reminder.due", Some((of, 1)), json!({})).await;
    let delivery = Uuid::now_v7();
    audit(
        &db,
        ada.user.id,
        &task,
        "reminder.sending",
        Some((of, 1)),
        json!({"delivery_id": delivery, "channel": "email", "attempt": 1}),
    )
    .await;
    audit(
        &db,
        ada.user.id,
        &task,
        "reminder.retrying",
        Some((of, 1)),
        json!({"delivery_id": delivery, "reason": "451 later", "next_attempt_at": ahead(2)}),
    )
    .await;
    sqlx::query(
        "insert into notification_deliveries (id, reminder_id, reminder_version, channel, user_id, task_id, event_id, state, provider, sent_at)
         values ($1, $2, 1, 'email', $3, $4, gen_random_uuid(), 'sent', 'smtp', clock_timestamp())",
    )
    .bind(delivery)
    .bind(id(of))
    .bind(ada.user.id)
    .bind(id(&task))
    .execute(&db)
    .await
    .unwrap();
    audit(
        &db,
        ada.user.id,
        &task,
        "reminder.sent",
        Some((of, 1)),
        json!({"delivery_id": delivery, "channel": "email"}),
    )
    .await;
    sqlx::query("update task_reminders set state = 'sent', fired_version = 1, fired_at = now()")
        .execute(&db)
        .await
        .unwrap();

    let story = ada.get(&timeline).await.expect(200);
    assert_eq!(
        told(&story),
        [("created", 1), ("armed", 1), ("fired", 1), ("sending", 1), ("retrying", 1), ("sent", 1)]
    );
    assert_eq!(story["reminder"]["state"], "sent");
    assert_eq!(story["reminder"]["remind_at"], planned);
    assert_eq!(story["entries"][1]["planned_at"], planned);
    assert_eq!(story["entries"][2]["late_ms"], 7);
    assert_eq!(story["entries"][4]["reason"], "451 later");
    let sent = &story["entries"][5];
    assert_eq!(
        (&sent["channel"], &sent["delivery_id"], &sent["provider"]),
        (&json!("email"), &json!(delivery), &json!("smtp"))
    );

    // The timeline outlives the task.
    ada.delete(&path(&task)).await.expect(204);
    assert_eq!(told(&ada.get(&timeline).await.expect(200)).len(), 6);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_timeline_shows_why_a_reminder_was_not_sent(db: PgPool) {
    let ada = Client::new(&db);
    let task = ada.task(json!({"title": "a", "remind_at": ahead(1)})).await;
    let of = &task["reminders"][0];
    let timeline = format!("/v1/reminders/{}/timeline", id(of));
    let until = ahead(2);
    ada.post(&format!("/v1/reminders/{}/snooze", id(of)), json!({"until": until})).await.expect(200);
    let story = ada.get(&timeline).await.expect(200);
    assert_eq!(told(&story), [("created", 1), ("moved", 2)]);
    assert_eq!(instant(&story["entries"][1]["planned_at"]), instant(&json!(until)));
    // A reason of another release is shown as it is.
    for (version, reason) in [(1, "moved"), (2, "merged")] {
        audit(&db, ada.user.id, &task, "reminder.skipped", Some((of, version)), json!({"reason": reason})).await;
    }
    ada.post(&format!("{}/complete", path(&task)), json!(null)).await.expect(200);
    let story = ada.get(&timeline).await.expect(200);
    assert_eq!(told(&story), [("created", 1), ("skipped", 1), ("skipped", 2), ("cancelled", 3)]);
    assert_eq!([1, 2, 3].map(|entry| &story["entries"][entry]["reason"]), ["moved", "merged", "completed"]);
    assert_eq!(story["reminder"]["cancel_reason"], "completed");
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn the_history_outlives_the_task(db: PgPool) {
    let (ada, bob) = (Client::new(&db), Client::new(&db));
    let task = ada.task(json!({"title": "a"})).await;
    let history = format!("{}/history", path(&task));
    assert_eq!(ada.get(&history).await.expect(200), json!({"items": [], "next_cursor": null}));
    for action in ["task.created", "task.updated", "task.deleted"] {
        audit(&db, ada.user.id, &task, action, None, json!({"version": 1})).await;
    }
    ada.delete(&path(&task)).await.expect(204);
    let page = ada.get(&history).await.expect(200);
    let actions: Vec<_> =
        page["items"].as_array().unwrap().iter().map(|item| item["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["task.created", "task.updated", "task.deleted"]);
    let first = ada.get(&format!("{history}?limit=2")).await.expect(200);
    assert_eq!(first["items"].as_array().unwrap().len(), 2);
    let rest =
        ada.get(&format!("{history}?limit=2&cursor={}", first["next_cursor"].as_str().unwrap())).await.expect(200);
    assert_eq!(rest["items"][0]["action"], "task.deleted");
    assert_eq!(rest["next_cursor"], Value::Null);
    bob.get(&history).await.expect(404);
    assert_eq!(ada.get(&format!("{history}?cursor=x&limit=0")).await.invalid_fields(), ["cursor", "limit"]);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn me_is_the_user_in_the_token(db: PgPool) {
    let ada = Client::new(&db);
    let me = json!({
        "id": ada.user.id, "email": "ada@example.org", "time_zone": "UTC", "channels": ["email"], "default_reminder": null,
        "hide_titles": false, "vapid_public_keys": [VAPID_KEY],
    });
    assert_eq!(ada.get("/v1/me").await.expect(200), me);
    let users: i64 = sqlx::query_scalar("select count(*) from users").fetch_one(&db).await.unwrap();
    assert_eq!(users, 0, "reading writes nothing");
    let changed = ada.patch("/v1/me", json!({"time_zone": "America/New_York"})).await.expect(200);
    assert_eq!(changed["time_zone"], "America/New_York");
    assert_eq!(ada.get("/v1/me").await.expect(200), changed);
    assert_eq!(ada.patch("/v1/me", json!({})).await.expect(200), changed);
    assert_eq!(
        ada.patch("/v1/me", json!({"time_zone": "Mars", "email": "x@y", "id": 1})).await.invalid_fields(),
        ["#/time_zone", "#/email", "#/id"]
    );
    assert_eq!(ada.patch("/v1/me", json!({"time_zone": null})).await.expect(200), me);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn me_shows_the_address_that_reminders_go_to(db: PgPool) {
    let ada = Client::new(&db);
    ada.task(json!({"title": "a"})).await;
    let other = Client::of(&db, User { email: Address::parse("other@example.org").unwrap(), ..ada.user.clone() });
    assert_eq!(other.get("/v1/me").await.expect(200)["email"], "ada@example.org");
    assert_eq!(other.patch("/v1/me", json!({})).await.expect(200)["email"], "other@example.org");
    assert_eq!(ada.get("/v1/me").await.expect(200)["email"], "other@example.org");
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn the_users_zone_applies_to_new_tasks_only(db: PgPool) {
    let ada = Client::new(&db);
    let before = ada.task(json!({"title": "a"})).await;
    ada.patch("/v1/me", json!({"time_zone": "Asia/Tokyo"})).await.expect(200);
    assert_eq!(ada.get(&path(&before)).await.expect(200), before);
    assert_eq!(ada.task(json!({"title": "b"})).await["time_zone"], "Asia/Tokyo");
    assert_eq!(ada.task(json!({"title": "c", "time_zone": "Europe/Rome"})).await["time_zone"], "Europe/Rome");
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn tags_count_their_open_tasks(db: PgPool) {
    let ada = Client::new(&db);
    let one = ada.task(json!({"title": "a", "tags": ["x", "y"]})).await;
    let two = ada.task(json!({"title": "b", "tags": ["x", "z"]})).await;
    ada.post(&format!("{}/complete", path(&one)), json!(null)).await.expect(200);
    let names = |tags: Value| {
        tags["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|tag| (tag["name"].as_str().unwrap().to_owned(), tag["open_tasks"].as_i64().unwrap()))
            .collect::<Vec<_>>()
    };
    let tags = names(ada.get("/v1/tags").await.expect(200));
    assert_eq!(tags, [("x".to_owned(), 1), ("y".to_owned(), 0), ("z".to_owned(), 1)]);
    ada.patch(&path(&two), json!({"tags": ["y"]})).await.expect(200);
    let tags = names(ada.get("/v1/tags").await.expect(200));
    assert_eq!(tags, [("x".to_owned(), 0), ("y".to_owned(), 1)]);
}
