//! What a user prefers.

use super::*;

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn preferences_are_patched_one_by_one(db: PgPool) {
    let ada = Client::new(&db);
    let mut me = ada.get("/v1/me").await.expect(200);
    assert_eq!(
        me,
        json!({
            "id": ada.user.id, "email": "ada@example.org", "time_zone": "UTC", "channels": ["email"], "default_reminder": null,
            "hide_titles": false, "vapid_public_keys": [VAPID_KEY],
        })
    );
    for (name, value) in [
        ("default_reminder", json!("PT15M")),
        ("hide_titles", json!(true)),
        ("channels", json!(["email"])),
        ("time_zone", json!("Asia/Tokyo")),
        ("hide_titles", json!(false)),
    ] {
        me[name] = value.clone();
        assert_eq!(ada.patch("/v1/me", json!({name: value})).await.expect(200), me, "{name}");
        assert_eq!(ada.get("/v1/me").await.expect(200), me, "{name}");
    }
    let nothing = json!({"channels": null, "default_reminder": null, "hide_titles": null});
    me["default_reminder"] = Value::Null;
    assert_eq!(ada.patch("/v1/me", nothing).await.expect(200), me);
    let wrong = json!({"channels": ["pigeon"], "default_reminder": "soon", "hide_titles": "yes"});
    assert_eq!(
        ada.patch("/v1/me", wrong).await.invalid_fields(),
        ["#/channels", "#/default_reminder", "#/hide_titles"]
    );
    assert_eq!(ada.get("/v1/me").await.expect(200), me);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_new_task_gets_the_default_reminder_unless_it_names_its_reminders(db: PgPool) {
    let ada = Client::new(&db);
    ada.patch("/v1/me", json!({"default_reminder": "PT1H"})).await.expect(200);
    let due_at = ahead(5);
    let task = ada.task(json!({"title": "a", "due_at": due_at})).await;
    let reminder = &task["reminders"][0];
    assert_eq!(instant(&reminder["remind_at"]), instant(&json!(due_at)) - TimeDelta::hours(1));
    assert_eq!((&reminder["before_due"], &reminder["channels"]), (&json!("PT1H"), &json!(["email"])));
    for (body, reminders) in [
        (json!({"title": "a", "due_at": due_at, "reminders": []}), 0),
        (json!({"title": "a", "due_at": due_at, "reminders": [{"before_due": "PT2H"}]}), 1),
        (json!({"title": "a", "due_at": due_at, "remind_at": ahead(2)}), 1),
        (json!({"title": "a"}), 0),
        // It would fire at once.
        (json!({"title": "a", "due_at": (Utc::now() + TimeDelta::minutes(30)).to_rfc3339()}), 0),
    ] {
        let task = ada.task(body.clone()).await;
        assert_eq!(task["reminders"].as_array().unwrap().len(), reminders, "{body}");
        assert!(reminders == 0 || task["reminders"][0]["before_due"] != "PT1H", "{body}");
    }
    // Another user has none.
    let bob = Client::new(&db);
    assert_eq!(bob.task(json!({"title": "a", "due_at": due_at})).await["reminders"], json!([]));
}

/// A channel that a newer release adds is not one of this release.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_choice_of_a_newer_release_counts_as_none(db: PgPool) {
    let ada = Client::new(&db);
    ada.patch("/v1/me", json!({"hide_titles": true})).await.expect(200);
    sqlx::query("update users set channels = '{pigeon}', default_reminder = 'soon'").execute(&db).await.unwrap();
    let me = ada.get("/v1/me").await.expect(200);
    assert_eq!((&me["channels"], &me["default_reminder"]), (&json!(["email"]), &Value::Null));
    let task = ada.task(json!({"title": "a", "due_at": ahead(5), "reminders": [{"before_due": "PT1H"}]})).await;
    assert_eq!(task["reminders"][0]["channels"], json!(["email"]));
}
