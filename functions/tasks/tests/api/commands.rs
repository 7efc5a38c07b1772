//! Create, read, replace, change, complete, reopen, delete.

use std::time::Duration;

use lab::forwarder::Forwarder;
use shared::{
    deadlines::Deadlines,
    testing::{at_port, commits_take_a_second, count, execute, relay_was_woken},
};

use super::*;

/// During an upgrade, and after a rollback. A change writes the whole row, and would replace what it cannot read.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_task_with_a_value_of_a_newer_release_can_be_read_but_not_changed(db: PgPool) {
    execute(
        &db,
        "alter table tasks drop constraint tasks_priority, drop constraint tasks_recurrence_type,
                           drop constraint tasks_recurrence_anchor",
    )
    .await;
    let ada = Client::new(&db);
    for newer in [
        "priority = 'critical'",
        "recurrence_type = 'hourly'",
        "recurrence_anchor = 'lunar'",
        r#"series_values = '{"priority": "critical"}'"#,
    ] {
        let task = json!({"title": "a", "due_at": ahead(5), "recurrence": {"type": "daily"}});
        let task = ada.task(task).await;
        execute(&db, &format!("update tasks set {newer} where id = '{}'", id(&task))).await;
        assert_eq!(ada.get(&path(&task)).await.expect(200)["priority"], "medium", "{newer}");
        ada.get("/v1/tasks").await.expect(200);
        let before = ada.footprint().await;
        let refused = ada.patch(&path(&task), json!({"title": "b"})).await.expect(409);
        assert_eq!(
            refused["detail"],
            "the task has a value of a newer release, which this one would lose; retry later"
        );
        assert_eq!(ada.footprint().await, before, "{newer}");
        ada.post(&format!("{}/complete", path(&task)), Value::Null).await.expect(200);
        ada.delete(&path(&task)).await.expect(204);
    }
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn create_stores_the_task_with_its_event_and_reminder(db: PgPool) {
    let ada = Client::new(&db);
    let remind_at = ahead(1);
    let reply = ada
        .with("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
        .post("/v1/tasks", json!({"title": " call the dentist ", "remind_at": remind_at, "tags": ["b", "a", "b"]}))
        .await;
    assert_eq!(reply.headers["etag"], "\"1\"");
    let location = reply.headers["location"].to_str().unwrap().to_owned();
    let task = reply.expect(201);
    assert_eq!(location, path(&task));
    assert_eq!(task["title"], "call the dentist");
    assert_eq!(task["priority"], "medium");
    assert_eq!(task["time_zone"], "UTC");
    assert_eq!(task["tags"], json!(["a", "b"]));
    assert_eq!(reminder(&task, 0), scheduled(1));
    assert_eq!(instant(&task["reminders"][0]["remind_at"]), instant(&json!(remind_at)));
    assert_eq!(task["reminders"][0]["overdue"], false);
    assert_eq!(ada.get(&location).await.expect(200), task, "create answers what get answers");

    let (kind, data, traceparent): (String, Value, String) =
        sqlx::query_as("select type, data, traceparent from task_events").fetch_one(&db).await.unwrap();
    assert_eq!(kind, "task.created");
    let expected = json!({"task_id": task["id"], "user_id": ada.user.id, "title": "call the dentist", "version": 1});
    assert_eq!(data, expected);
    assert!(traceparent.contains("4bf92f3577b34da6a3ce929d0e0e4736"));
    let (email, remind): (String, DateTime<Utc>) =
        sqlx::query_as("select email, remind_at from tasks join users on users.id = user_id")
            .fetch_one(&db)
            .await
            .unwrap();
    assert_eq!((&*email, remind), ("ada@example.org", instant(&json!(remind_at))));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn get_returns_every_field_that_create_sent(db: PgPool) {
    let ada = Client::new(&db);
    let body = json!({
        "title": "rent", "description": "to the landlord\n", "priority": "urgent", "due_at": "2031-01-31T09:00:00+01:00",
        "time_zone": "Europe/Berlin", "tags": ["home"],
        "reminders": [{"before_due": "P1D"}, {"remind_at": "2031-01-30T10:00:00Z", "channels": ["email", "email"]}],
        "recurrence": {"type": "monthly"},
    });
    let task = ada.task(body).await;
    assert_eq!(task["description"], "to the landlord\n");
    assert_eq!(task["due_at"], "2031-01-31T08:00:00Z");
    assert_eq!(task["reminders"][0]["remind_at"], "2031-01-30T08:00:00Z");
    assert_eq!(task["reminders"][0]["before_due"], "P1D");
    assert_eq!(task["reminders"][1]["channels"], json!(["email"]));
    assert_eq!(task["recurrence"], json!({"type": "monthly", "interval": 1, "rule": null, "anchor": "due"}));
    assert_eq!(task["next_occurrence_at"], "2031-02-28T08:00:00Z");
    assert_eq!(ada.get(&path(&task)).await.expect(200), task);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn concurrent_creates_of_a_new_user_all_succeed(db: PgPool) {
    let ada = Client::new(&db);
    let creates = (0..8).map(|n| {
        let ada = ada.clone();
        tokio::spawn(async move { ada.task(json!({"title": n.to_string(), "tags": ["x", "y", "z"]})).await })
    });
    for create in creates.collect::<Vec<_>>() {
        create.await.unwrap();
    }
    let counts: (i64, i64, i64) = sqlx::query_as(
        "select (select count(*) from users), (select count(*) from task_tags), (select count(*) from task_tag_associations)",
    )
    .fetch_one(&db)
    .await
    .unwrap();
    assert_eq!(counts, (1, 3, 24));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn reminders_go_to_the_address_in_the_latest_token(db: PgPool) {
    let ada = Client::new(&db);
    ada.task(json!({"title": "one"})).await;
    let moved = Client::of(&db, User { email: Address::parse("ada@new.example").unwrap(), ..ada.user.clone() });
    moved.task(json!({"title": "two"})).await;
    let emails: Vec<String> = sqlx::query_scalar("select email from users").fetch_all(&db).await.unwrap();
    assert_eq!(emails, ["ada@new.example"]);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn an_older_token_does_not_bring_a_former_address_back(db: PgPool) {
    let now = Utc::now();
    for by_create in [true, false] {
        let ada = user("unused@example.org", false);
        for (email, minutes_ago, stored) in [
            ("undated@example.org", None, "undated@example.org"),
            ("undated-too@example.org", None, "undated-too@example.org"),
            ("old@example.org", Some(60), "old@example.org"),
            ("new@example.org", Some(30), "new@example.org"),
            ("old@example.org", Some(60), "new@example.org"),
            ("undated@example.org", None, "new@example.org"),
            // The same address in a later token counts: the next token is older than it.
            ("new@example.org", Some(10), "new@example.org"),
            ("between@example.org", Some(20), "new@example.org"),
            ("other@example.org", Some(10), "new@example.org"),
            ("newest@example.org", Some(0), "newest@example.org"),
        ] {
            let issued_at = minutes_ago.map(|minutes| now - TimeDelta::minutes(minutes));
            let client = Client::of(&db, User { email: Address::parse(email).unwrap(), issued_at, ..ada.clone() });
            if by_create {
                client.task(json!({"title": "a"})).await;
            } else {
                client.patch("/v1/me", json!({})).await.expect(200);
            }
            let found = sqlx::query_scalar::<_, String>("select email from users where id = $1").bind(ada.id);
            assert_eq!(found.fetch_one(&db).await.unwrap(), stored, "{email} {minutes_ago:?} {by_create}");
            assert_eq!(client.get("/v1/me").await.expect(200)["email"], stored);
        }
    }
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn put_resets_absent_fields_to_their_defaults(db: PgPool) {
    let ada = Client::new(&db);
    let task = ada
        .task(json!({"title": "a", "description": "d", "priority": "low", "due_at": ahead(5), "tags": ["x"],
                     "time_zone": "Europe/Paris", "reminders": [{"before_due": "PT1H"}], "recurrence": {"type": "daily"}}))
        .await;
    let reply = ada.put(&path(&task), json!({"title": "b"})).await;
    assert_eq!(reply.headers["etag"], "\"2\"");
    let now = reply.expect(200);
    for (field, value) in [
        ("title", json!("b")),
        ("description", json!(null)),
        ("priority", json!("medium")),
        ("due_at", json!(null)),
        ("tags", json!([])),
        ("time_zone", json!("UTC")),
        ("reminders", json!([])),
        ("recurrence", json!(null)),
        ("next_occurrence_at", json!(null)),
        ("version", json!(2)),
        ("created_at", task["created_at"].clone()),
    ] {
        assert_eq!(now[field], value, "{field}");
    }
    assert_eq!(ada.events(&task).await, [event("task.created", 1), event("task.updated", 2)]);
    let reminder: (String, String, i32) =
        sqlx::query_as("select state, cancel_reason, version from task_reminders").fetch_one(&db).await.unwrap();
    assert_eq!(reminder, ("cancelled".to_owned(), "user".to_owned(), 2));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_repeated_put_changes_nothing(db: PgPool) {
    let ada = Client::new(&db);
    let body = json!({"title": "a", "due_at": ahead(5), "tags": ["x", "y"], "priority": "high", "recurrence": {"type": "weekly"},
                      "reminders": [{"before_due": "PT1H"}, {"remind_at": ahead(1)}]});
    let task = ada.task(json!({"title": "old"})).await;
    let put = ada.put(&path(&task), body.clone()).await.expect(200);
    let before = ada.footprint().await;
    assert_eq!(ada.put(&path(&task), body).await.expect(200), put);
    assert_eq!(ada.footprint().await, before);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn put_keeps_the_reminders_it_names_and_cancels_the_others(db: PgPool) {
    let ada = Client::new(&db);
    let (one, two) = (ahead(1), ahead(2));
    let task = ada.task(json!({"title": "a", "reminders": [{"remind_at": one}, {"remind_at": two}]})).await;
    let three = ahead(3);
    let now = ada
        .put(&path(&task), json!({"title": "a", "reminders": [{"remind_at": two}, {"remind_at": three}]}))
        .await
        .expect(200);
    assert_eq!(now["reminders"][0], task["reminders"][1]);
    assert_eq!(instant(&now["reminders"][1]["remind_at"]), instant(&json!(three)));
    assert_eq!(now["reminders"].as_array().unwrap().len(), 2);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn patch_keeps_absent_fields(db: PgPool) {
    let ada = Client::new(&db);
    let task = ada
        .task(json!({"title": "a", "description": "d", "priority": "low", "due_at": ahead(5), "tags": ["x"],
                     "time_zone": "Europe/Paris", "remind_at": ahead(1), "recurrence": {"type": "daily"}}))
        .await;
    let now = ada
        .with("content-type", "application/merge-patch+json; charset=utf-8")
        .patch(&path(&task), json!({"title": "b"}))
        .await
        .expect(200);
    let mut expected = task.clone();
    expected["title"] = json!("b");
    expected["version"] = json!(2);
    expected["updated_at"] = now["updated_at"].clone();
    assert_eq!(now, expected);
    assert_ne!(now["updated_at"], task["updated_at"]);
    assert_eq!(ada.events(&task).await, [event("task.created", 1), event("task.updated", 2)]);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn patch_removes_fields_with_null(db: PgPool) {
    let ada = Client::new(&db);
    let body = json!({"title": "a", "description": "d", "priority": "low", "tags": ["x"], "time_zone": "Europe/Paris"});
    let task = ada.task(body).await;
    ada.patch("/v1/me", json!({"time_zone": "Asia/Tokyo"})).await.expect(200);
    let patch = json!({"description": null, "priority": null, "tags": null, "time_zone": null});
    let now = ada.patch(&path(&task), patch).await.expect(200);
    assert_eq!(now["description"], json!(null));
    assert_eq!(now["priority"], "medium");
    assert_eq!(now["tags"], json!([]));
    assert_eq!(now["time_zone"], "Asia/Tokyo");
    assert_eq!(ada.patch(&path(&task), json!({"title": null})).await.invalid_fields(), ["#/title"]);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_patch_equal_to_the_task_changes_nothing(db: PgPool) {
    let ada = Client::new(&db);
    let due = ahead(5);
    let task = ada.task(json!({"title": "a", "due_at": due, "tags": ["x"], "recurrence": {"type": "daily"}})).await;
    let before = ada.footprint().await;
    for patch in [
        json!({}),
        json!({"title": "a", "due_at": due, "tags": ["x", "x"]}),
        json!({"description": null, "priority": "medium", "recurrence": {"interval": 1}}),
    ] {
        let reply = ada.patch(&path(&task), patch).await;
        assert_eq!(reply.headers["etag"], "\"1\"");
        assert_eq!(reply.expect(200), task);
    }
    assert_eq!(ada.footprint().await, before);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn concurrent_patches_each_raise_the_version(db: PgPool) {
    let ada = Client::new(&db);
    let task = ada.task(json!({"title": "0"})).await;
    let patches = (1..=6).map(|n| {
        let (ada, path) = (ada.clone(), path(&task));
        tokio::spawn(async move { ada.patch(&path, json!({"title": n.to_string()})).await.expect(200) })
    });
    let mut versions = Vec::new();
    for patch in patches.collect::<Vec<_>>() {
        versions.push(patch.await.unwrap()["version"].as_i64().unwrap());
    }
    versions.sort_unstable();
    assert_eq!(versions, [2, 3, 4, 5, 6, 7]);
    let sequences: Vec<i64> = ada.events(&task).await.into_iter().map(|(_, version)| version).collect();
    assert_eq!(sequences, [1, 2, 3, 4, 5, 6, 7]);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn completing_twice_has_one_effect(db: PgPool) {
    let ada = Client::new(&db);
    let task = ada.task(json!({"title": "a", "remind_at": ahead(1)})).await;
    let done = ada.post(&format!("{}/complete", path(&task)), json!(null)).await.expect(200);
    assert_eq!(done["completed"], true);
    assert_eq!(done["version"], 2);
    assert_eq!(reminder(&done, 0), cancelled(2, "completed"));
    let completed_at: Value =
        sqlx::query_scalar("select data -> 'completed_at' from task_events where type = 'task.completed'")
            .fetch_one(&db)
            .await
            .unwrap();
    assert_eq!(instant(&completed_at), instant(&done["completed_at"]));
    let remind_at: Option<DateTime<Utc>> =
        sqlx::query_scalar("select remind_at from tasks").fetch_one(&db).await.unwrap();
    assert_eq!(remind_at, None);

    let before = ada.footprint().await;
    assert_eq!(ada.post(&format!("{}/complete", path(&task)), json!({})).await.expect(200), done);
    assert_eq!(ada.footprint().await, before);
    assert_eq!(ada.events(&task).await, [event("task.created", 1), event("task.completed", 2)]);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn reopen_restores_reminders_that_are_still_ahead(db: PgPool) {
    let ada = Client::new(&db);
    let task = ada.task(json!({"title": "a", "reminders": [{"remind_at": ahead(-1)}, {"remind_at": ahead(1)}]})).await;
    let unchanged = ada.post(&format!("{}/reopen", path(&task)), json!(null)).await.expect(200);
    assert_eq!(unchanged["version"], 1);
    ada.post(&format!("{}/complete", path(&task)), json!(null)).await.expect(200);
    let open = ada.post(&format!("{}/reopen", path(&task)), json!(null)).await.expect(200);
    assert_eq!(open["completed"], false);
    assert_eq!(open["completed_at"], json!(null));
    assert_eq!(open["version"], 3);
    assert_eq!(reminder(&open, 0), cancelled(2, "completed"), "its time has passed");
    assert_eq!(reminder(&open, 1), scheduled(3));
    let events = [event("task.created", 1), event("task.completed", 2), event("task.updated", 3)];
    assert_eq!(ada.events(&task).await, events);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn delete_removes_the_task_once(db: PgPool) {
    let ada = Client::new(&db);
    let task = ada.task(json!({"title": "a", "tags": ["x"], "remind_at": ahead(1)})).await;
    let reply = ada.delete(&path(&task)).await;
    assert_eq!(reply.expect(204), Value::Null);
    ada.get(&path(&task)).await.expect(404);
    ada.delete(&path(&task)).await.expect(404);
    let state: (String, String, i32) =
        sqlx::query_as("select state, cancel_reason, version from task_reminders").fetch_one(&db).await.unwrap();
    assert_eq!(state, ("cancelled".to_owned(), "deleted".to_owned(), 2));
    assert_eq!(ada.events(&task).await, [event("task.created", 1), event("task.deleted", 2)]);
    let left: i64 = sqlx::query_scalar("select count(*) from tasks").fetch_one(&db).await.unwrap();
    assert_eq!(left, 0);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn every_command_checks_if_match(db: PgPool) {
    let ada = Client::new(&db);
    let task = ada.task(json!({"title": "a", "remind_at": ahead(1)})).await;
    ada.patch(&path(&task), json!({"title": "b"})).await.expect(200);
    let reminder = format!("/v1/reminders/{}", id(&task["reminders"][0]));
    let before = ada.footprint().await;
    for stale in ["\"1\"", "W/\"2\"", "2", "\"1\", \"3\""] {
        let ada = ada.with("if-match", stale);
        for (method, path, body) in [
            (Method::PUT, path(&task), json!({"title": "c"})),
            (Method::PATCH, path(&task), json!({"title": "c"})),
            (Method::POST, format!("{}/complete", path(&task)), json!({})),
            (Method::POST, format!("{}/reopen", path(&task)), json!({})),
            (Method::POST, format!("{}/restore", path(&task)), json!({"version": 1})),
            (Method::POST, format!("{}/reminders", path(&task)), json!({"remind_at": ahead(2)})),
            (Method::POST, format!("{reminder}/snooze"), json!({"minutes": 5})),
            (Method::POST, format!("{reminder}/send-now"), json!({})),
            (Method::DELETE, reminder.clone(), json!({})),
            (Method::DELETE, path(&task), json!({})),
        ] {
            ada.send(method, &path, body.to_string()).await.expect(412);
        }
    }
    assert_eq!(ada.footprint().await, before);
    ada.with("if-match", "\"1\", \"2\"").patch(&path(&task), json!({"title": "c"})).await.expect(200);
    ada.with("if-match", "*").patch(&path(&task), json!({"title": "d"})).await.expect(200);
    ada.with("if-match", "\"4\"").delete(&path(&task)).await.expect(204);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_task_of_the_older_application_can_be_read_and_changed(db: PgPool) {
    let ada = Client::new(&db);
    let id = Uuid::new_v4();
    sqlx::query("insert into users (id, email) values ($1, 'ada@example.org')")
        .bind(ada.user.id)
        .execute(&db)
        .await
        .unwrap();
    sqlx::query("insert into tasks (id, user_id, title) values ($1, $2, $3)")
        .bind(id)
        .bind(ada.user.id)
        .bind("x".repeat(600))
        .execute(&db)
        .await
        .unwrap();
    let task = ada.get(&format!("/v1/tasks/{id}")).await.expect(200);
    assert_eq!(task["time_zone"], "UTC");
    assert_eq!(task["version"], 1);
    let now = ada.patch(&path(&task), json!({"priority": "high"})).await.expect(200);
    assert_eq!(now["version"], 2);
    sqlx::query("update tasks set version = null, completed = true").execute(&db).await.unwrap();
    let now = ada.post(&format!("{}/reopen", path(&task)), json!(null)).await.expect(200);
    assert_eq!(now["completed"], false);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_reminder_that_is_being_marked_sent_is_sent_and_not_cancelled(db: PgPool) {
    let ada = Client::new(&db);
    let task = ada.task(json!({"title": "a", "remind_at": ahead(-1)})).await;
    let mut marking = db.begin().await.unwrap();
    sqlx::query("update task_reminders set state = 'sent'").execute(&mut *marking).await.unwrap();
    let complete = {
        let (ada, path) = (ada.clone(), format!("{}/complete", path(&task)));
        tokio::spawn(async move { ada.post(&path, json!(null)).await.expect(200) })
    };
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!complete.is_finished());
    marking.commit().await.unwrap();
    assert_eq!(reminder(&complete.await.unwrap(), 0), ("sent".to_owned(), 1, Value::Null));
}

/// PostgreSQL completes a commit whose connection is lost.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn an_event_committed_after_the_connection_was_lost_is_published(db: PgPool) {
    let ada = Client::new(&db);
    let task = ada.task(json!({"title": "call the dentist"})).await;
    commits_take_a_second(&db).await;
    let options = db.connect_options();
    let forwarder = Forwarder::to(options.get_host(), options.get_port()).unwrap();
    let app = app(at_port(&db, forwarder.port, Deadlines::default()));
    let ada = ada.at(app.clone());
    let commands = [
        (ada.clone(), Method::POST, "/v1/tasks".to_owned()),
        (ada.with("idempotency-key", "one"), Method::POST, "/v1/tasks".to_owned()),
        (ada, Method::PATCH, path(&task)),
    ];
    for (written, (client, method, path)) in (2..).zip(commands) {
        let asked = tokio::spawn(async move { client.send(method, &path, r#"{"title": "call them"}"#).await });
        tokio::time::sleep(Duration::from_millis(500)).await;
        forwarder.cut();
        asked.await.unwrap().expect(503);
        assert!(relay_was_woken(&app).await, "at once");
        assert!(relay_was_woken(&app).await, "again when the commit is complete");
        assert_eq!(count(&db, "select count(*) from task_events").await, written);
    }
}
