//! What a change of one occurrence does to the later ones: commands, with the successors that `task-completed` creates.

use std::collections::BTreeSet;

use shared::testing::{Dapr, app_with, deliver, handed_over};

use super::*;

/// A user, and the function that creates the successors of their tasks.
pub(crate) struct World {
    pub(crate) ada: Client,
    task_completed: Router,
}

impl World {
    pub(crate) async fn new(db: &PgPool) -> Self {
        let dapr = Dapr::start().await;
        Self { ada: Client::new(db), task_completed: task_completed::router(app_with(db, &dapr, &dapr, &dapr)) }
    }

    /// Completes a task. Returns its successor, if it has one.
    pub(crate) async fn complete(&self, task: &Value) -> Option<Value> {
        self.ada.post(&format!("{}/complete", path(task)), json!(null)).await.expect(200);
        self.handle_completion(task).await
    }

    /// The event of the last completion of a task.
    pub(crate) async fn completion(&self, task: &Value) -> Value {
        let event = sqlx::query_scalar(
            "select id from task_events where task_id = $1 and type = 'task.completed' order by id desc limit 1",
        );
        let event = event.bind(id(task)).fetch_one(&self.ada.db).await.unwrap();
        handed_over(&self.ada.db, event).await
    }

    /// Hands over the event of the last completion of a task. Returns the task's successor, if it has one.
    pub(crate) async fn handle_completion(&self, task: &Value) -> Option<Value> {
        self.handle(task, &self.completion(task).await).await
    }

    pub(crate) async fn handle(&self, task: &Value, completion: &Value) -> Option<Value> {
        assert_eq!(deliver(&self.task_completed, completion).await, StatusCode::OK);
        let successor = sqlx::query_scalar(
            "select next.id from tasks done
             join tasks next on next.series_id = done.series_id and next.occurrence = done.occurrence + 1
             where done.id = $1",
        );
        let successor: Option<Uuid> = successor.bind(id(task)).fetch_optional(&self.ada.db).await.unwrap();
        match successor {
            Some(id) => Some(self.ada.get(&format!("/v1/tasks/{id}")).await.expect(200)),
            None => None,
        }
    }

    pub(crate) async fn reopen(&self, task: &Value) -> Value {
        self.ada.post(&format!("{}/reopen", path(task)), json!(null)).await.expect(200)
    }

    pub(crate) async fn next(&self, task: &Value) -> Value {
        self.complete(task).await.expect("a successor")
    }

    pub(crate) async fn patch(&self, task: &Value, patch: Value) -> Value {
        self.ada.patch(&path(task), patch).await.expect(200)
    }

    async fn on_reminder(&self, task: &Value, command: &str, body: Value) {
        let path = format!("/v1/reminders/{}/{command}", id(&task["reminders"][0]));
        self.ada.post(&path, body).await.expect(200);
    }

    pub(crate) async fn open_tasks(&self) -> i64 {
        let open = sqlx::query_scalar("select count(*) from tasks where not completed");
        open.fetch_one(&self.ada.db).await.unwrap()
    }
}

/// A daily task at 10:00.
fn daily(fields: Value) -> Value {
    let mut task =
        json!({"title": "water the plants", "due_at": "2031-01-01T10:00:00Z", "recurrence": {"type": "daily"}});
    task.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    task
}

/// The fields that the user wrote.
fn written(task: &Value) -> [&Value; 6] {
    ["title", "description", "priority", "tags", "time_zone", "due_at"].map(|name| &task[name])
}

/// The instants of the reminders.
fn reminds_at(task: &Value) -> Vec<&str> {
    let reminders = task["reminders"].as_array().unwrap().iter();
    reminders.map(|reminder| reminder["remind_at"].as_str().unwrap()).collect()
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn moving_an_occurrence_keeps_the_count(db: PgPool) {
    let world = World::new(&db).await;
    let thrice = json!({"recurrence": {"type": "custom", "rule": "FREQ=DAILY;COUNT=3"}});
    let first = world.ada.task(daily(thrice)).await;
    let moved = world.patch(&first, json!({"due_at": "2031-01-01T11:00:00Z"})).await;
    assert_eq!(moved["next_occurrence_at"], "2031-01-02T10:00:00Z");
    let second = world.next(&first).await;
    assert_eq!(second["due_at"], "2031-01-02T10:00:00Z");
    world.patch(&second, json!({"due_at": "2031-01-02T08:00:00Z"})).await;
    let third = world.next(&second).await;
    assert_eq!((&third["due_at"], &third["next_occurrence_at"]), (&json!("2031-01-03T10:00:00Z"), &Value::Null));
    world.patch(&third, json!({"due_at": "2031-01-07T10:00:00Z"})).await;
    assert_eq!(world.complete(&third).await, None);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn moving_an_occurrence_keeps_the_end_of_the_month(db: PgPool) {
    let world = World::new(&db).await;
    let rent = json!({"due_at": "2031-01-31T10:00:00Z", "recurrence": {"type": "monthly"}});
    let january = world.ada.task(daily(rent)).await;
    let february = world.next(&january).await;
    assert_eq!(february["due_at"], "2031-02-28T10:00:00Z");
    let moved = world.patch(&february, json!({"due_at": "2031-02-28T11:00:00Z"})).await;
    assert_eq!(moved["next_occurrence_at"], "2031-03-31T10:00:00Z");
    assert_eq!(world.next(&february).await["due_at"], "2031-03-31T10:00:00Z");
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_task_completed_reopened_moved_and_completed_again_has_one_successor(db: PgPool) {
    let world = World::new(&db).await;
    let first = world.ada.task(daily(json!({}))).await;
    let second = world.next(&first).await;
    world.reopen(&first).await;
    world.patch(&first, json!({"due_at": "2031-01-01T11:00:00Z"})).await;
    let again = world.next(&first).await;
    assert_eq!(written(&again), written(&second));
    assert_eq!(world.open_tasks().await, 1);
    // One that was changed stays the successor.
    world.patch(&again, json!({"title": "b"})).await;
    world.reopen(&first).await;
    world.patch(&first, json!({"due_at": "2031-01-01T12:00:00Z"})).await;
    assert_eq!(id(&world.next(&first).await), id(&again));
    assert_eq!(world.open_tasks().await, 1);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn later_occurrences_keep_a_reminders_offset_when_one_occurrence_changes(db: PgPool) {
    let world = World::new(&db).await;
    let hour_before = json!({"reminders": [{"remind_at": "2031-01-01T09:00:00Z"}, {"before_due": "PT15M"}]});
    let first = world.ada.task(daily(hour_before)).await;
    world.on_reminder(&first, "snooze", json!({"until": "2031-01-01T09:30:00Z"})).await;
    world.on_reminder(&first, "snooze", json!({"until": "2031-01-01T09:40:00Z"})).await;
    let second = world.next(&first).await;
    assert_eq!(reminds_at(&second), ["2031-01-02T09:00:00Z", "2031-01-02T09:45:00Z"]);

    world.on_reminder(&second, "send-now", json!(null)).await;
    let third = world.next(&second).await;
    assert_eq!(reminds_at(&third), ["2031-01-03T09:00:00Z", "2031-01-03T09:45:00Z"]);

    let moved = world.patch(&third, json!({"due_at": "2031-01-03T12:00:00Z"})).await;
    assert_eq!(reminds_at(&moved), ["2031-01-03T09:00:00Z", "2031-01-03T11:45:00Z"]);
    world.on_reminder(&moved, "snooze", json!({"minutes": 5})).await;
    world.patch(&third, json!({"due_at": "2031-01-03T14:00:00Z"})).await;
    let fourth = world.next(&third).await;
    assert_eq!(reminds_at(&fourth), ["2031-01-04T09:00:00Z", "2031-01-04T09:45:00Z"]);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn one_off_changes_do_not_affect_the_next_occurrence(db: PgPool) {
    let world = World::new(&db).await;
    let series = json!({
        "description": "the ferns too", "priority": "high", "tags": ["home"], "time_zone": "Europe/Berlin",
        "reminders": [{"remind_at": "2031-01-01T06:00:00Z"}, {"before_due": "P1D"}],
    });
    let (changed, untouched) = (world.ada.task(daily(series.clone())).await, world.ada.task(daily(series)).await);
    let patch = json!({
        "title": "water the neighbour's plants", "description": null, "priority": null, "tags": ["away"],
        "time_zone": "Asia/Tokyo", "due_at": "2031-01-02T20:00:00Z", "scope": "this",
    });
    let now = world.patch(&changed, patch).await;
    assert_eq!(now["next_occurrence_at"], "2031-01-03T10:00:00Z", "the first after the completion on time");
    world.on_reminder(&now, "snooze", json!({"minutes": 5})).await;
    // PUT changes one occurrence too. It keeps the reminders that it repeats.
    let mut whole =
        json!({"title": "water all plants", "due_at": "2031-01-01T15:00:00Z", "recurrence": {"type": "daily"}});
    let now = world.ada.get(&path(&changed)).await.expect(200);
    let repeated = now["reminders"].as_array().unwrap().iter().map(|reminder| match &reminder["before_due"] {
        Value::Null => json!({"remind_at": reminder["remind_at"]}),
        before => json!({"before_due": before}),
    });
    whole["reminders"] = repeated.collect();
    let replaced = world.ada.put(&path(&changed), whole).await.expect(200);
    assert_eq!(written(&replaced)[..2], [&json!("water all plants"), &Value::Null]);
    let ids = |task: &Value| task["reminders"].as_array().unwrap().iter().map(id).collect::<BTreeSet<_>>();
    assert_eq!(ids(&replaced), ids(&now));

    let (after_change, after_none) = (world.next(&changed).await, world.next(&untouched).await);
    assert_eq!(written(&after_change), written(&after_none));
    assert_eq!(reminds_at(&after_change), reminds_at(&after_none));
    assert_eq!(after_change["next_occurrence_at"], after_none["next_occurrence_at"]);
    let (third, third_of_untouched) = (world.next(&after_change).await, world.next(&after_none).await);
    assert_eq!(written(&third), written(&third_of_untouched));
}

/// The list of reminders is that of later occurrences too. Snooze moves one in this occurrence alone.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn later_occurrences_inherit_added_replaced_and_cancelled_reminders(db: PgPool) {
    let world = World::new(&db).await;
    let first = world
        .ada
        .task(daily(json!({"reminders": [{"remind_at": "2031-01-01T09:00:00Z"}, {"before_due": "PT1H"}]})))
        .await;
    let put = async |task: &Value, due_at: &str, reminders: Value| {
        let whole = json!({"title": "once", "due_at": due_at, "recurrence": {"type": "daily"}, "reminders": reminders});
        world.ada.put(&path(task), whole).await.expect(200)
    };
    let moved = json!([{"remind_at": "2031-01-01T08:30:00Z"}, {"before_due": "PT1H"}]);
    assert_eq!(
        reminds_at(&put(&first, "2031-01-01T10:00:00Z", moved).await),
        ["2031-01-01T08:30:00Z", "2031-01-01T09:00:00Z"]
    );
    let second = world.next(&first).await;
    assert_eq!(second["title"], "water the plants", "the other fields were for one occurrence");
    assert_eq!(reminds_at(&second), ["2031-01-02T08:30:00Z", "2031-01-02T09:00:00Z"]);

    // A due time that the same body moves is that of this occurrence alone. The new reminder keeps its distance to it.
    let moved = json!([{"remind_at": "2031-01-02T11:45:00Z"}, {"before_due": "PT1H"}]);
    put(&second, "2031-01-02T12:00:00Z", moved).await;
    let third = world.next(&second).await;
    assert_eq!(third["due_at"], "2031-01-03T10:00:00Z");
    assert_eq!(reminds_at(&third), ["2031-01-03T09:00:00Z", "2031-01-03T09:45:00Z"]);

    // One that exists already keeps its reminders.
    let third = world.patch(&third, json!({"description": "changed"})).await;
    world.reopen(&second).await;
    put(&second, "2031-01-02T10:00:00Z", json!([])).await;
    let unchanged = world.ada.get(&path(&third)).await.expect(200);
    assert_eq!(unchanged, third);

    world.ada.delete(&format!("/v1/reminders/{}", id(&third["reminders"][0]))).await.expect(200);
    world
        .ada
        .post(&format!("{}/reminders", path(&third)), json!({"remind_at": "2031-01-03T08:00:00Z"}))
        .await
        .expect(201);
    let fourth = world.next(&third).await;
    assert_eq!(reminds_at(&fourth), ["2031-01-04T08:00:00Z", "2031-01-04T09:45:00Z"]);

    // No fifth: the series ends.
    world.ada.delete(&path(&fourth)).await.expect(204);
    world.ada.post(&format!("{}/reopen", path(&third)), json!(null)).await.expect(200);
    assert_eq!(world.complete(&third).await, None);
    assert_eq!(world.open_tasks().await, 1, "the second, which was reopened");
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_change_for_following_occurrences_changes_this_one_and_all_later_ones(db: PgPool) {
    let world = World::new(&db).await;
    let thrice = json!({
        "recurrence": {"type": "custom", "rule": "FREQ=DAILY;COUNT=3"}, "reminders": [{"remind_at": "2031-01-01T09:00:00Z"}],
    });
    let first = world.ada.task(daily(thrice)).await;
    world.patch(&first, json!({"title": "once", "tags": ["once"]})).await;
    world.on_reminder(&first, "snooze", json!({"until": "2031-01-01T09:30:00Z"})).await;
    // It names the title that this occurrence has already.
    let renamed = world.patch(&first, json!({"title": "once", "priority": "low", "scope": "following"})).await;
    assert_eq!((&renamed["version"], &renamed["next_occurrence_at"]), (&json!(4), &json!("2031-01-02T10:00:00Z")));
    let again = world.patch(&first, json!({"title": "once", "priority": "low", "scope": "following"})).await;
    assert_eq!(again["version"], 4, "nothing to change");
    let second = world.next(&first).await;
    assert_eq!(written(&second)[..4], [&json!("once"), &Value::Null, &json!("low"), &json!([])]);

    // From the second on at 11:00, three times: COUNT begins again. The reminder stays at 09:00.
    let later = world.patch(&second, json!({"due_at": "2031-01-02T11:00:00Z", "scope": "following"})).await;
    assert_eq!(reminds_at(&later), ["2031-01-02T09:00:00Z"]);
    let third = world.next(&second).await;
    assert_eq!((&third["due_at"], reminds_at(&third)), (&json!("2031-01-03T11:00:00Z"), vec!["2031-01-03T09:00:00Z"]));
    let fourth = world.next(&third).await;
    assert_eq!((&fourth["due_at"], &fourth["next_occurrence_at"]), (&json!("2031-01-04T11:00:00Z"), &Value::Null));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_moved_due_time_can_become_the_due_time_of_the_series(db: PgPool) {
    let world = World::new(&db).await;
    let first = world.ada.task(daily(json!({"remind_at": "2031-01-01T09:00:00Z"}))).await;
    world.patch(&first, json!({"due_at": "2031-01-01T11:00:00Z"})).await;
    world
        .ada
        .post(&format!("{}/reminders", path(&first)), json!({"remind_at": "2031-01-01T10:45:00Z"}))
        .await
        .expect(201);
    let alone = world.patch(&first, json!({"title": "b"})).await;
    assert_eq!(alone["next_occurrence_at"], "2031-01-02T10:00:00Z");
    let following = world.patch(&first, json!({"due_at": "2031-01-01T11:00:00Z", "scope": "following"})).await;
    assert_eq!(following["next_occurrence_at"], "2031-01-02T11:00:00Z");
    let second = world.next(&first).await;
    assert_eq!((&second["title"], &second["due_at"]), (&json!("water the plants"), &json!("2031-01-02T11:00:00Z")));
    assert_eq!(reminds_at(&second), ["2031-01-02T09:00:00Z", "2031-01-02T10:45:00Z"]);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn only_the_changed_recurrence_of_a_patch_applies_to_later_occurrences(db: PgPool) {
    let world = World::new(&db).await;
    let first = world.ada.task(daily(json!({"remind_at": "2031-01-01T09:00:00Z"}))).await;
    world.patch(&first, json!({"title": "once", "due_at": "2031-01-01T12:00:00Z"})).await;
    let changed = world.patch(&first, json!({"description": "once", "recurrence": {"interval": 2}})).await;
    assert_eq!(changed["next_occurrence_at"], "2031-01-03T10:00:00Z");
    let second = world.next(&first).await;
    assert_eq!(written(&second)[..2], [&json!("water the plants"), &Value::Null]);
    assert_eq!(
        (&second["due_at"], reminds_at(&second)),
        (&json!("2031-01-03T10:00:00Z"), vec!["2031-01-03T09:00:00Z"])
    );

    // A due time that comes with a recurrence is its first.
    let weekly = json!({"due_at": "2031-01-06T08:00:00Z", "recurrence": {"type": "weekly", "interval": null}});
    let changed = world.patch(&second, weekly).await;
    assert_eq!(changed["next_occurrence_at"], "2031-01-13T08:00:00Z");
    world.patch(&second, json!({"title": "once"})).await;
    world.patch(&second, json!({"recurrence": null})).await;
    assert_eq!(world.complete(&second).await, None);
    let left: i64 =
        sqlx::query_scalar("select count(*) from tasks where recurrence_type is null and series_values is not null")
            .fetch_one(&db)
            .await
            .unwrap();
    assert_eq!(left, 0);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn only_the_last_occurrence_accepts_changes_for_later_ones(db: PgPool) {
    let world = World::new(&db).await;
    let first = world.ada.task(daily(json!({}))).await;
    let second = world.next(&first).await;
    let before = world.ada.footprint().await;
    for patch in [
        json!({"title": "b", "scope": "following"}),
        json!({"due_at": "2031-01-01T11:00:00Z", "scope": "following"}),
        json!({"time_zone": "Asia/Tokyo", "scope": "following"}),
        json!({"recurrence": {"interval": 2}}),
        json!({"recurrence": null}),
    ] {
        world.ada.patch(&path(&first), patch).await.expect(409);
    }
    world.ada.put(&path(&first), json!({"title": "water the plants"})).await.expect(409);
    assert_eq!(world.ada.footprint().await, before);
    // What would change nothing later is no conflict.
    world
        .patch(&first, json!({"title": "water the plants", "recurrence": {"interval": 1}, "scope": "following"}))
        .await;
    world.patch(&first, json!({"title": "b", "due_at": "2031-01-01T11:00:00Z"})).await;
    world.patch(&second, json!({"title": "c", "scope": "following"})).await;
    // Nobody can change a deleted one.
    world.ada.delete(&path(&second)).await.expect(204);
    let stopped = world.patch(&first, json!({"recurrence": null})).await;
    assert_eq!((&stopped["title"], &stopped["recurrence"]), (&json!("b"), &Value::Null));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_scope_has_no_effect_on_a_task_that_does_not_recur(db: PgPool) {
    let ada = Client::new(&db);
    let task = ada.task(json!({"title": "a", "due_at": ahead(4)})).await;
    let patched =
        ada.patch(&path(&task), json!({"title": "b", "due_at": ahead(5), "scope": "following"})).await.expect(200);
    assert_eq!((&patched["title"], patched.get("scope")), (&json!("b"), None));
    ada.patch(&path(&task), json!({"title": "c", "scope": null})).await.expect(200);
    assert_eq!(ada.patch(&path(&task), json!({"scope": "all"})).await.invalid_fields(), ["#/scope"]);
    assert_eq!(ada.put(&path(&task), json!({"title": "d", "scope": "this"})).await.invalid_fields(), ["#/scope"]);
    let remembered = "select count(*) from tasks where series_values is not null";
    assert_eq!(sqlx::query_scalar::<_, i64>(remembered).fetch_one(&db).await.unwrap(), 0);
}

/// The Phase II application knows the title and the description only.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn an_older_application_changes_later_occurrences_unless_the_series_has_its_own_value(db: PgPool) {
    let world = World::new(&db).await;
    let first = world.ada.task(daily(json!({}))).await;
    world.patch(&first, json!({"title": "once"})).await;
    sqlx::query("update tasks set title = 'old writer', description = 'old writer'").execute(&db).await.unwrap();
    let second = world.next(&first).await;
    assert_eq!(written(&second)[..2], [&json!("water the plants"), &json!("old writer")]);
}
