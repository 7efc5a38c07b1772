//! Versions of tasks: what is kept of them, what restoring one brings back, and what undoing does to reminders and occurrences.

use std::time::Duration;

use shared::testing::{Dapr, app_with, count, deliver, execute, handed_over};

use super::{series::World, *};

async fn restore(ada: &Client, task: &Value, version: i64) -> Reply {
    ada.post(&format!("{}/restore", path(task)), json!({"version": version})).await
}

async fn kept(db: &PgPool) -> Vec<i64> {
    sqlx::query_scalar("select version from task_versions order by version").fetch_all(db).await.unwrap()
}

/// An instant that has passed after [`until_then`].
fn soon() -> String {
    (Utc::now() + TimeDelta::seconds(1)).to_rfc3339()
}

async fn until_then() {
    tokio::time::sleep(Duration::from_millis(1_050)).await;
}

/// As if the last commands had been sent so many seconds earlier.
async fn seconds_pass(db: &PgPool, seconds: u32) {
    execute(
        db,
        &format!(
            "update task_versions set replaced_at = replaced_at - interval '{seconds} s';
             update tasks set completed_at = completed_at - interval '{seconds} s', version = version"
        ),
    )
    .await;
}

/// What the user wrote, without versions, ids and states.
fn written(task: &Value) -> Value {
    let reminders = task["reminders"].as_array().unwrap().iter();
    let reminders: Vec<_> = reminders.map(|one| [&one["remind_at"], &one["before_due"], &one["state"]]).collect();
    let fields =
        ["title", "description", "priority", "due_at", "time_zone", "tags", "recurrence", "next_occurrence_at"];
    json!([fields.map(|name| &task[name]), reminders])
}

fn full() -> Value {
    json!({
        "title": "pay the rent", "description": "to the landlord", "priority": "high", "due_at": "2031-01-15T09:00:00Z",
        "time_zone": "Europe/Berlin", "tags": ["home", "money"], "recurrence": {"type": "custom", "rule": "FREQ=MONTHLY;COUNT=5"},
        "reminders": [{"before_due": "PT15M"}, {"remind_at": "2031-01-14T10:00:00Z"}],
    })
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn every_command_keeps_the_content_that_it_replaces(db: PgPool) {
    let ada = Client::new(&db);
    let task = ada.task(full()).await;
    let reminder = format!("/v1/reminders/{}", id(&task["reminders"][0]));
    assert!(kept(&db).await.is_empty(), "the current content is that of the task");
    ada.patch(&path(&task), json!({"title": "b"})).await.expect(200);
    ada.post(&format!("{reminder}/snooze"), json!({"minutes": 5})).await.expect(200);
    ada.delete(&reminder).await.expect(200);
    ada.post(&format!("{}/complete", path(&task)), json!(null)).await.expect(200);
    ada.post(&format!("{}/reopen", path(&task)), json!(null)).await.expect(200);
    assert_eq!(kept(&db).await, [1, 2, 3, 4, 5]);
    // Commands that change nothing or are refused keep nothing.
    ada.patch(&path(&task), json!({"title": "b"})).await.expect(200);
    ada.patch(&path(&task), json!({"title": ""})).await.expect(422);
    ada.with("if-match", "\"1\"").delete(&path(&task)).await.expect(412);
    assert_eq!(kept(&db).await, [1, 2, 3, 4, 5]);
    ada.delete(&path(&task)).await.expect(204);
    assert_eq!(kept(&db).await, [1, 2, 3, 4, 5, 6]);
    let titles: Vec<String> =
        sqlx::query_scalar("select distinct snapshot->'content'->>'title' from task_versions where version > 1")
            .fetch_all(&db)
            .await
            .unwrap();
    assert_eq!(titles, ["b"]);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn the_last_thousand_versions_of_a_task_are_kept(db: PgPool) {
    let ada = Client::new(&db);
    let task = ada.task(json!({"title": "a"})).await;
    ada.patch(&path(&task), json!({"title": "b"})).await.expect(200);
    execute(&db, "update tasks set version = 1001").await;
    ada.patch(&path(&task), json!({"title": "c"})).await.expect(200);
    assert_eq!(kept(&db).await, [1001]);
    assert_eq!(restore(&ada, &task, 1).await.expect(410)["type"], "urn:punctual:problem:gone");
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn restoring_a_version_brings_its_content_back_with_a_new_version(db: PgPool) {
    let ada = Client::new(&db);
    let task = ada.task(full()).await;
    ada.put(&path(&task), json!({"title": "b", "reminders": [{"remind_at": "2031-05-04T09:00:00Z"}]}))
        .await
        .expect(200);
    let restored = restore(&ada, &task, 1).await;
    assert_eq!(restored.headers["etag"], "\"3\"");
    let restored = restored.expect(200);
    assert_eq!(written(&restored), written(&task));
    assert_eq!(ada.get(&path(&task)).await.expect(200), restored);
    assert_eq!(ada.events(&task).await, [event("task.created", 1), event("task.updated", 2), event("task.updated", 3)]);
    // Equal to the task: nothing changes.
    let before = ada.footprint().await;
    for version in [1, 3] {
        assert_eq!(restore(&ada, &task, version).await.expect(200), restored);
    }
    assert_eq!(ada.footprint().await, before);
    // Restoring can be undone.
    let again = restore(&ada, &task, 2).await.expect(200);
    assert_eq!((&again["title"], &again["recurrence"], &again["version"]), (&json!("b"), &Value::Null, &json!(4)));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn restoring_returns_to_the_place_in_the_series(db: PgPool) {
    let world = World::new(&db).await;
    let first = world.ada.task(full()).await;
    let second = world.next(&first).await;
    let place = "select jsonb_build_array(series_id, occurrence, recurrence_start, series_values) from tasks where occurrence > 1";
    let before: Value = sqlx::query_scalar(place).fetch_one(&db).await.unwrap();
    for patch in [
        json!({"due_at": "2031-02-20T09:00:00Z", "scope": "following"}),
        json!({"recurrence": null}),
        json!({"title": "for later ones too", "scope": "following"}),
    ] {
        world.patch(&second, patch).await;
        let version = second["version"].as_i64().unwrap();
        let restored = restore(&world.ada, &second, version).await.expect(200);
        assert_eq!(written(&restored), written(&second));
        assert_eq!(sqlx::query_scalar::<_, Value>(place).fetch_one(&db).await.unwrap(), before);
    }
    let third = world.next(&second).await;
    assert_eq!(third["due_at"], "2031-03-15T09:00:00Z");
    // What later ones get can be restored only at the last occurrence.
    restore(&world.ada, &second, 4).await.expect(409);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn restoring_brings_reminders_back_and_sends_none_again(db: PgPool) {
    let ada = Client::new(&db);
    let at = |hours: i64| json!({"remind_at": ahead(hours)});
    let task = ada.task(json!({"title": "a", "reminders": [at(-1), at(1), at(2), at(3)]})).await;
    let reminder = |n: usize| format!("/v1/reminders/{}", id(&task["reminders"][n]));
    execute(&db, "update task_reminders set state = 'sent', fired_version = 1 where remind_at < now()").await;
    ada.post(&format!("{}/snooze", reminder(0)), json!({"minutes": 300})).await.expect(200);
    ada.post(&format!("{}/snooze", reminder(1)), json!({"minutes": 400})).await.expect(200);
    ada.delete(&reminder(2)).await.expect(200);
    let added = ada.post(&format!("{}/reminders", path(&task)), at(9)).await.expect(201);
    let added = id(added["reminders"].as_array().unwrap().last().unwrap());

    let restored = restore(&ada, &task, 1).await.expect(200);
    let times = |task: &Value| -> Vec<Value> {
        task["reminders"].as_array().unwrap().iter().map(|reminder| reminder["remind_at"].clone()).collect()
    };
    assert_eq!(times(&restored), times(&task));
    assert_eq!(super::reminder(&restored, 0), ("sent".to_owned(), 3, Value::Null));
    assert_eq!(super::reminder(&restored, 1), scheduled(3));
    assert_eq!(super::reminder(&restored, 2), scheduled(1), "a new one: its user had cancelled it");
    assert_eq!(super::reminder(&restored, 3), scheduled(1));
    assert_eq!([0, 1, 3].map(|n| id(&restored["reminders"][n])), [0, 1, 3].map(|n| id(&task["reminders"][n])));
    let gone: String = sqlx::query_scalar("select cancel_reason from task_reminders where id = $1")
        .bind(added)
        .fetch_one(&db)
        .await
        .unwrap();
    assert_eq!(gone, "user");
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_deleted_task_is_restored_with_its_id_its_tags_and_its_reminders(db: PgPool) {
    let ada = Client::new(&db);
    let task = ada.task(full()).await;
    ada.patch(&path(&task), json!({"description": null, "tags": ["home"]})).await.expect(200);
    ada.delete(&format!("/v1/reminders/{}", id(&task["reminders"][0]))).await.expect(200);
    let last = ada.get(&path(&task)).await.expect(200);
    ada.delete(&path(&task)).await.expect(204);
    // The quota of tags deletes those that no task has.
    execute(&db, "delete from task_tags").await;

    let restored = restore(&ada, &task, 3).await;
    assert_eq!(restored.headers["etag"], "\"5\"", "the deletion had version 4");
    let restored = restored.expect(200);
    assert_eq!(written(&restored), written(&last));
    assert_eq!((&restored["id"], &restored["created_at"]), (&task["id"], &task["created_at"]));
    assert_eq!(restored["reminders"].as_array().unwrap().len(), 1);
    assert_eq!(reminder(&restored, 0), scheduled(3), "2 is the version that the deletion cancelled");
    let events = ada.events(&task).await;
    assert_eq!(events[3..], [event("task.deleted", 4), event("task.updated", 5)]);
    let list = ada.get("/v1/tasks?q=rent&tag=home").await.expect(200);
    assert_eq!(list["items"], json!([restored]));
    // An older version of a deleted task.
    ada.delete(&path(&task)).await.expect(204);
    let first = restore(&ada, &task, 1).await.expect(200);
    assert_eq!(written(&first), written(&task));
    assert_eq!(first["version"], 7);
    let rows = count(&db, "select count(*) from task_occurrences").await;
    assert_eq!(rows, 1);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_version_that_is_not_kept_is_gone_and_one_that_never_was_is_refused(db: PgPool) {
    let (ada, bob) = (Client::new(&db), Client::new(&db));
    let task = ada.task(json!({"title": "a"})).await;
    bob.task(json!({"title": "b"})).await;
    ada.patch(&path(&task), json!({"title": "b"})).await.expect(200);
    let before = ada.footprint().await;
    for (body, invalid) in [
        (json!({"version": 3}), "#/version"),
        (json!({"version": 0}), "#/version"),
        (json!({"version": 1.5}), "#/version"),
        (json!({}), "#/version"),
        (json!({"version": 1, "title": "c"}), "#/title"),
    ] {
        assert_eq!(ada.post(&format!("{}/restore", path(&task)), body).await.invalid_fields(), [invalid]);
    }
    restore(&bob, &task, 1).await.expect(404);
    restore(&ada, &json!({"id": Uuid::new_v4()}), 1).await.expect(404);
    assert_eq!(ada.footprint().await, before);

    ada.delete(&path(&task)).await.expect(204);
    execute(&db, "insert into audit_logs (user_id, task_id, action) select user_id, task_id, 'task.created' from task_versions limit 1").await;
    restore(&ada, &task, 3).await.invalid_fields();
    restore(&bob, &task, 2).await.expect(404);
    execute(&db, "update task_versions set replaced_at = now() - interval '31 days' where version = 1").await;
    restore(&ada, &task, 1).await.expect(410);
    execute(&db, "update task_versions set replaced_at = now() - interval '31 days'").await;
    let before = ada.footprint().await;
    assert_eq!(restore(&ada, &task, 2).await.expect(410)["type"], "urn:punctual:problem:gone");
    assert_eq!(ada.footprint().await, before);
    execute(&db, "delete from task_versions").await;
    let before = ada.footprint().await;
    restore(&ada, &task, 2).await.expect(410);
    restore(&bob, &task, 2).await.expect(404);
    assert_eq!(ada.footprint().await, before);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn restoring_is_a_command_like_the_others(db: PgPool) {
    let ada = Client::new(&db);
    let task = ada.task(json!({"title": "a", "tags": ["x"], "remind_at": ahead(1)})).await;
    ada.delete(&path(&task)).await.expect(204);
    let before = ada.footprint().await;
    for stale in ["\"1\"", "\"3\""] {
        restore(&ada.with("if-match", stale), &task, 1).await.expect(412);
    }
    restore(&ada.with("if-none-match", "\"2\""), &task, 1).await.expect(412);
    assert_eq!(ada.footprint().await, before);
    // The quotas of tasks, tags and reminders.
    execute(&db, "delete from task_tags").await;
    ada.task(json!({"title": "b", "tags": ["y"], "remind_at": ahead(1)})).await;
    for (quota, what) in [("--user-tasks", "tasks"), ("--user-tags", "tags"), ("--user-reminders", "reminders")] {
        let full = Client { router: router_with(app(&db), &[quota, "1"]), ..ada.clone() };
        let before = full.footprint().await;
        let refused = restore(&full, &task, 1).await.expect(422);
        assert_eq!(refused["type"], "urn:punctual:problem:quota-exceeded");
        assert!(refused["detail"].as_str().unwrap().contains(what), "{refused}");
        assert_eq!(full.footprint().await, before);
    }
    let keyed = ada.with("idempotency-key", "once").with("if-match", "\"2\"");
    let first = restore(&keyed, &task, 1).await.expect(200);
    let before = ada.footprint().await;
    let again = restore(&keyed, &task, 1).await;
    assert_eq!(again.headers["idempotency-replayed"], "true");
    assert_eq!(again.expect(200), first);
    assert_eq!(ada.footprint().await, before);
}

/// The server rolls back what a process that died has not committed.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_restore_whose_process_dies_before_its_commit_changes_nothing_and_succeeds_later(db: PgPool) {
    let ada = Client::new(&db);
    let task = ada.task(full()).await;
    ada.delete(&path(&task)).await.expect(204);
    let (keyed, before) = (ada.with("idempotency-key", "once"), ada.footprint().await);
    dies_at(&db, "task_events").await;
    restore(&keyed, &task, 1).await.expect(503);
    assert_eq!(ada.footprint().await, before);
    lives(&db).await;
    let restored = restore(&keyed, &task, 1).await.expect(200);
    assert_eq!(written(&restored), written(&task));
    assert_eq!(ada.events(&task).await.last(), Some(&event("task.updated", 3)));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn undoing_within_a_minute_brings_back_reminders_whose_time_passed_meanwhile(db: PgPool) {
    let ada = Client::new(&db);
    let reason = "its time passed before the command was undone: it fires at once";
    for (is_late, undone) in
        [(false, "complete"), (true, "complete"), (false, "delete"), (true, "delete"), (false, "cancel")]
    {
        let task =
            ada.task(json!({"title": "a", "reminders": [{"remind_at": soon()}, {"remind_at": ahead(-1)}]})).await;
        // This one has fired before the command.
        execute(&db, "update task_reminders set fired_version = version where remind_at < now() - interval '1 minute'")
            .await;
        let cancelled_by = match undone {
            "complete" => ada.post(&format!("{}/complete", path(&task)), json!(null)).await.expect(200),
            "delete" => ada.delete(&path(&task)).await.expect(204),
            _ => ada.put(&path(&task), json!({"title": "a"})).await.expect(200),
        };
        until_then().await;
        if is_late {
            seconds_pass(&db, 61).await;
        }
        let back = match undone {
            "complete" => ada.post(&format!("{}/reopen", path(&task)), json!(null)).await.expect(200),
            _ => restore(&ada, &task, 1).await.expect(200),
        };
        let reminders = back["reminders"].as_array().unwrap();
        let soonest = reminders.iter().find(|one| one["remind_at"] == task["reminders"][1]["remind_at"]);
        let live = reminders.iter().filter(|one| one["state"] == "scheduled").count();
        assert_eq!(live, usize::from(!is_late), "{undone}: {back}, after {cancelled_by}");
        if is_late {
            assert_eq!(soonest.unwrap()["state"], "cancelled", "{undone}");
            continue;
        }
        let soonest = soonest.unwrap();
        assert_eq!(soonest["overdue"], true, "{undone}");
        let timeline = ada.get(&format!("/v1/reminders/{}/timeline", id(soonest))).await.expect(200);
        let told = timeline["entries"].as_array().unwrap().iter().find(|entry| entry["what"] == "restored");
        let told = told.unwrap_or_else(|| panic!("{undone}: {timeline}"));
        assert_eq!((&told["reason"], &told["version"]), (&json!(reason), &soonest["version"]));
        assert_eq!(instant(&told["planned_at"]), instant(&soonest["remind_at"]));
    }
}

/// A reminder whose time passed while the task was deleted stays cancelled, and follows a due time that moves ahead.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_reminder_that_the_deletion_cancelled_follows_the_due_time_after_a_restore(db: PgPool) {
    let ada = Client::new(&db);
    let task = ada.task(json!({"title": "a", "due_at": ahead(1), "reminders": [{"before_due": "PT30M"}]})).await;
    ada.delete(&path(&task)).await.expect(204);
    execute(
        &db,
        "update task_reminders set remind_at = remind_at - interval '1 day';
         update task_versions set replaced_at = replaced_at - interval '1 day',
             snapshot = jsonb_set(snapshot, '{reminders,0,remind_at}', to_jsonb((select remind_at from task_reminders)))",
    )
    .await;
    let restored = restore(&ada, &task, 1).await.expect(200);
    assert_eq!(reminder(&restored, 0), cancelled(2, "deleted"));
    let moved = ada.patch(&path(&task), json!({"due_at": ahead(5)})).await.expect(200);
    assert_eq!(reminder(&moved, 0), scheduled(3));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_deletion_that_is_handled_after_the_restore_deletes_no_job(db: PgPool) {
    let dapr = Dapr::start().await;
    let functions = app_with(&db, &dapr, &dapr, &dapr);
    let ada = Client::new(&db);
    let task = ada.task(json!({"title": "a", "remind_at": ahead(1)})).await;
    ada.delete(&path(&task)).await.expect(204);
    let restored = restore(&ada, &task, 1).await.expect(200);
    assert_eq!(reminder(&restored, 0), scheduled(3));
    let job = format!("reminder-{}-3", id(&task["reminders"][0]));
    let events: Vec<(String, Uuid)> =
        sqlx::query_as("select type, id from task_events order by sequence").fetch_all(&db).await.unwrap();
    let [.., (_, deleted), (_, updated)] = &events[..] else { panic!("{events:?}") };
    let (on_deleted, on_updated) = (task_deleted::router(functions.clone()), task_updated::router(functions));
    for (routes, event) in [(&on_updated, updated), (&on_deleted, deleted)] {
        assert_eq!(deliver(routes, &handed_over(&db, *event).await).await, StatusCode::OK);
        assert_eq!(dapr.names(), std::slice::from_ref(&job));
    }
    assert_eq!(ada.get(&path(&task)).await.expect(200), restored);
    // Clients hear of both, and the version tells them which is later.
    let heard = "select array_agg(data->>'version' order by id) from task_events where type = 'task.changed'";
    let heard: Vec<String> = sqlx::query_scalar(heard).fetch_one(&db).await.unwrap();
    assert_eq!(heard, ["3", "2"]);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_handler_that_dies_after_it_armed_a_restored_reminder_arms_it_again(db: PgPool) {
    let dapr = Dapr::start().await;
    let routes = task_updated::router(app_with(&db, &dapr, &dapr, &dapr));
    let ada = Client::new(&db);
    let task = ada.task(json!({"title": "a", "remind_at": ahead(1)})).await;
    ada.delete(&path(&task)).await.expect(204);
    restore(&ada, &task, 1).await.expect(200);
    let updated: Uuid =
        sqlx::query_scalar("select id from task_events where type = 'task.updated'").fetch_one(&db).await.unwrap();
    let updated = handed_over(&db, updated).await;
    let job = [format!("reminder-{}-3", id(&task["reminders"][0]))];
    let armed = "select count(*) from task_reminders where armed_version = 3";
    dies_at(&db, "audit_logs").await;
    assert_eq!(deliver(&routes, &updated).await, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!((dapr.names(), count(&db, armed).await), (job.to_vec(), 0));
    lives(&db).await;
    assert_eq!(deliver(&routes, &updated).await, StatusCode::OK);
    assert_eq!((dapr.names(), count(&db, armed).await), (job.to_vec(), 1));
}

/// The completion was handled while the task was deleted, so it made no successor.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_completed_occurrence_that_is_restored_without_a_successor_gets_one(db: PgPool) {
    let world = World::new(&db).await;
    let first = world.ada.task(full()).await;
    world.ada.post(&format!("{}/complete", path(&first)), json!(null)).await.expect(200);
    world.ada.delete(&path(&first)).await.expect(204);
    assert_eq!(world.handle_completion(&first).await, None);
    let restored = restore(&world.ada, &first, 2).await.expect(200);
    assert_eq!((&restored["completed"], &restored["version"]), (&json!(true), &json!(4)));
    assert_eq!(world.ada.events(&first).await.last(), Some(&event("task.completed", 4)));
    let second = world.handle_completion(&first).await.expect("a successor");
    // With its successor there it is restored like any other task.
    world.ada.delete(&path(&first)).await.expect(204);
    restore(&world.ada, &first, 4).await.expect(200);
    assert_eq!(world.ada.events(&first).await.last(), Some(&event("task.updated", 6)));
    assert_eq!(world.ada.get(&path(&second)).await.expect(200), second);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn complete_reopen_complete_is_one_series(db: PgPool) {
    let world = World::new(&db).await;
    let first = world.ada.task(full()).await;
    let second = world.next(&first).await;
    let reopened = world.reopen(&first).await;
    assert_eq!(reopened["next_occurrence_at"], "2031-02-15T09:00:00Z");
    world.ada.get(&path(&second)).await.expect(404);
    assert_eq!(world.ada.events(&second).await, [event("task.created", 1), event("task.deleted", 2)]);
    let left = "select count(*) from task_reminders where state = 'scheduled' and task_id <> (select id from tasks)";
    assert_eq!(count(&db, left).await, 0);
    // What the occurrence was is no version of anything: completing makes it again.
    restore(&world.ada, &second, 1).await.expect(404);
    world.patch(&first, json!({"title": "changed for later ones", "scope": "following"})).await;
    let again = world.next(&first).await;
    assert_ne!(id(&again), id(&second));
    assert_eq!((&again["title"], &again["due_at"]), (&json!("changed for later ones"), &second["due_at"]));
    assert_eq!(world.open_tasks().await, 1);

    // One that was changed stays.
    world.patch(&again, json!({"description": "changed"})).await;
    world.reopen(&first).await;
    assert_eq!(id(&world.next(&first).await), id(&again));
    // One that was deleted stays deleted, also if nobody had changed it.
    let third = world.next(&again).await;
    world.ada.delete(&path(&third)).await.expect(204);
    world.reopen(&again).await;
    assert_eq!(world.complete(&again).await, None);
    assert_eq!(written(&restore(&world.ada, &third, 1).await.expect(200)), written(&third));
}

/// A completion that is handled after the reopening makes no successor; one that is handled after the next completion makes the only one.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn late_completions_make_one_series(db: PgPool) {
    let world = World::new(&db).await;
    let first = world.ada.task(full()).await;
    let complete = async || world.ada.post(&format!("{}/complete", path(&first)), json!(null)).await.expect(200);
    complete().await;
    let late = world.completion(&first).await;
    world.reopen(&first).await;
    assert_eq!(world.handle(&first, &late).await, None);
    complete().await;
    let second = world.handle_completion(&first).await.expect("a successor");
    // Again, as a message on its topic may be.
    assert_eq!(world.handle(&first, &late).await.as_ref().map(id), Some(id(&second)));
    assert_eq!(world.open_tasks().await, 1);
}

/// The action of each entry, and its changes as field, from and to.
fn changes(history: &Value) -> Value {
    let entries = history["items"].as_array().unwrap().iter();
    let entries = entries.map(|entry| {
        let changes = entry["changes"].as_array().into_iter().flatten();
        let changes: Vec<_> = changes.map(|change| ["field", "from", "to"].map(|name| &change[name])).collect();
        json!([entry["action"], changes])
    });
    entries.collect()
}

/// Logs the events of a task as their functions do.
async fn are_handled(db: &PgPool) {
    execute(
        db,
        "insert into audit_logs (user_id, task_id, event_id, action, detail)
         select user_id, task_id, id, type, jsonb_build_object('version', sequence, 'occurred_at', occurred_at) from task_events event
         where not exists (select from audit_logs where event_id = event.id) order by event.id",
    )
    .await;
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn the_history_says_what_each_command_changed(db: PgPool) {
    let ada = Client::new(&db);
    let task = ada.task(json!({"title": "a", "tags": ["x"], "reminders": [{"remind_at": ahead(1)}]})).await;
    let history = format!("{}/history", path(&task));
    ada.patch(&path(&task), json!({"title": "b", "priority": "high", "tags": ["x", "y"]})).await.expect(200);
    ada.delete(&format!("/v1/reminders/{}", id(&task["reminders"][0]))).await.expect(200);
    ada.post(&format!("{}/complete", path(&task)), json!(null)).await.expect(200);
    ada.delete(&path(&task)).await.expect(204);
    restore(&ada, &task, 3).await.expect(200);
    ada.patch(&path(&task), json!({"title": "c"})).await.expect(200);
    are_handled(&db).await;
    let told = ada.get(&history).await.expect(200);
    let first = &task["reminders"][0];
    let reminders =
        json!([{"id": first["id"], "remind_at": first["remind_at"], "before_due": null, "channels": ["email"]}]);
    let expected = json!([
        ["task.created", []],
        ["task.updated", [["priority", "medium", "high"], ["tags", ["x"], ["x", "y"]], ["title", "a", "b"]]],
        ["task.updated", [["reminders", reminders, []]]],
        ["task.completed", [["completed", false, true]]],
        ["task.deleted", []],
        ["task.updated", []],
        ["task.updated", [["title", "b", "c"]]],
    ]);
    assert_eq!(changes(&told), expected);
    // It stays when the task is gone, and ends when the versions are.
    ada.delete(&path(&task)).await.expect(204);
    assert_eq!(changes(&ada.get(&history).await.expect(200)), expected);
    execute(&db, "delete from task_versions").await;
    let told = ada.get(&history).await.expect(200);
    assert!(told["items"].as_array().unwrap().iter().all(|entry| entry.get("changes").is_none()), "{told}");
    assert_eq!(told["items"].as_array().unwrap().len(), 7);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn edits_of_one_field_within_ten_minutes_are_one_entry(db: PgPool) {
    let ada = Client::new(&db);
    let task = ada.task(json!({"title": "0"})).await;
    let history = format!("{}/history", path(&task));
    let edit = async |field: &str, value: &str| {
        ada.patch(&path(&task), json!({field: value})).await.expect(200);
    };
    // More edits than are read at a time.
    for n in 1..=30 {
        edit("title", &n.to_string()).await;
    }
    edit("description", "x").await;
    edit("title", "b").await;
    edit("title", "c").await;
    are_handled(&db).await;
    execute(
        &db,
        "update audit_logs set detail = detail || jsonb_build_object('occurred_at',
             now() - interval '1 hour' + interval '1 minute' * case when detail->>'version' = '34' then 45 else (detail->>'version')::int * 0.3 end)",
    )
    .await;
    let folded = |from: &str, to: &str| json!([{"field": "title", "from": from, "to": to}]);
    let told = ada.get(&history).await.expect(200);
    let told: Vec<&Value> = told["items"].as_array().unwrap().iter().map(|entry| &entry["changes"]).collect();
    let expected = [
        Value::Null,
        folded("0", "30"),
        json!([{"field": "description", "from": null, "to": "x"}]),
        folded("30", "b"),
        folded("b", "c"),
    ];
    assert_eq!(told, expected.iter().collect::<Vec<_>>(), "the last edit is 35 minutes later");
    // Pages cut between entries.
    let mut paged = Vec::new();
    let mut next = history.clone();
    loop {
        let page = ada.get(&format!("{next}{}limit=2", if next.contains('?') { '&' } else { '?' })).await.expect(200);
        paged.extend(page["items"].as_array().unwrap().iter().map(|entry| entry["changes"].clone()));
        match page["next_cursor"].as_str() {
            Some(cursor) => next = format!("{history}?cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(paged, expected);
}

/// A page holds at most 256 KB, whatever the edits replaced.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_page_of_large_changes_is_bounded(db: PgPool) {
    let ada = Client::new(&db);
    let task = ada.task(json!({"title": "a"})).await;
    for n in 0..30_u8 {
        let body = json!({"title": n.to_string(), "description": char::from(b'a' + n % 2).to_string().repeat(10_000).replace('a', "\u{1F600}")});
        ada.patch(&path(&task), body).await.expect(200);
    }
    are_handled(&db).await;
    let first = ada.get(&format!("{}/history", path(&task))).await.expect(200);
    let size = first.to_string().len();
    assert!((150_000..(256 << 10) + 1_000).contains(&size), "{size}");
    assert!(first["next_cursor"].is_string());
}
