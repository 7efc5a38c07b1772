//! Commands on reminders.

use std::time::Duration;

use shared::testing::execute;

use super::*;

fn path_of(reminder: &Value) -> String {
    format!("/v1/reminders/{}", id(reminder))
}

/// Marks a reminder as fired and sent, as the functions do.
async fn was_sent(db: &PgPool, reminder: &Value) {
    sqlx::query("update task_reminders set state = 'sent', fired_version = version, fired_at = now() where id = $1")
        .bind(id(reminder))
        .execute(db)
        .await
        .unwrap();
}

async fn earliest(db: &PgPool) -> Option<DateTime<Utc>> {
    sqlx::query_scalar("select remind_at from tasks").fetch_one(db).await.unwrap()
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_reminder_in_the_past_is_accepted_and_overdue(db: PgPool) {
    let ada = Client::new(&db);
    let task = ada.task(json!({"title": "a", "remind_at": ahead(-1)})).await;
    assert_eq!(reminder(&task, 0), scheduled(1));
    assert_eq!(task["reminders"][0]["overdue"], true);
    assert_eq!(ada.get(&path(&task)).await.expect(200)["reminders"][0]["overdue"], true);
    was_sent(&db, &task["reminders"][0]).await;
    assert_eq!(ada.get(&path(&task)).await.expect(200)["reminders"][0]["overdue"], false);
}

/// During an upgrade, and after a rollback.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_state_or_reason_of_a_newer_release_is_shown_as_other_and_left_alone(db: PgPool) {
    execute(
        &db,
        "alter table task_reminders drop constraint task_reminders_state, drop constraint task_reminders_cancel_reason",
    )
    .await;
    let ada = Client::new(&db);
    let reminders = json!([{"before_due": "PT1H"}, {"before_due": "PT2H"}]);
    let task = ada.task(json!({"title": "a", "due_at": ahead(5), "reminders": reminders})).await;
    let [merged, muted] = [0, 1].map(|index| id(&task["reminders"][index]));
    sqlx::query(
        "update task_reminders set state = case when id = $1 then 'cancelled' else 'muted' end,
                                   cancel_reason = case when id = $1 then 'merged' end",
    )
    .bind(merged)
    .execute(&db)
    .await
    .unwrap();
    let stored = "select array_agg(concat_ws(' ', state, cancel_reason, version) order by state) from task_reminders";
    let stored = async || -> Vec<String> { sqlx::query_scalar(stored).fetch_one(&db).await.unwrap() };
    let other = |task: &Value| [reminder(task, 0), reminder(task, 1)];
    let expected = [cancelled(1, "other"), ("other".to_owned(), 1, Value::Null)];
    assert_eq!(other(&ada.get(&path(&task)).await.expect(200)), expected);
    assert_eq!(other(&ada.get("/v1/tasks").await.expect(200)["items"][0]), expected);
    for reminder in [merged, muted] {
        ada.get(&format!("/v1/reminders/{reminder}/timeline")).await.expect(200);
    }
    for due in [json!(ahead(6)), Value::Null] {
        assert_eq!(other(&ada.patch(&path(&task), json!({"due_at": due})).await.expect(200)), expected);
    }
    ada.post(&format!("{}/complete", path(&task)), Value::Null).await.expect(200);
    ada.post(&format!("{}/reopen", path(&task)), Value::Null).await.expect(200);
    assert_eq!(stored().await, ["cancelled merged 1", "muted 1"]);
    // Its user decides.
    ada.delete(&format!("/v1/reminders/{muted}")).await.expect(200);
    assert_eq!(stored().await, ["cancelled merged 1", "cancelled user 1"]);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn reminders_are_added_and_listed(db: PgPool) {
    let ada = Client::new(&db);
    let task = ada.task(json!({"title": "a", "due_at": ahead(5)})).await;
    let reminders = format!("{}/reminders", path(&task));
    ada.post(&reminders, json!({"before_due": "PT30M"})).await.expect(201);
    let reply = ada.post(&reminders, json!({"remind_at": ahead(1), "channels": ["email"]})).await;
    assert_eq!(reply.headers["etag"], "\"3\"");
    let task = reply.expect(201);
    let list = ada.get(&reminders).await.expect(200);
    assert_eq!(list["items"], task["reminders"]);
    assert_eq!(list["items"].as_array().unwrap().len(), 2);
    assert_eq!(earliest(&db).await, Some(instant(&list["items"][0]["remind_at"])));
    let events = [event("task.created", 1), event("task.updated", 2), event("task.updated", 3)];
    assert_eq!(ada.events(&task).await, events);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_task_has_at_most_twenty_reminders(db: PgPool) {
    let ada = Client::new(&db);
    let twenty: Vec<_> = (1..=20).map(|hours| json!({"remind_at": ahead(hours)})).collect();
    let more = json!({"title": "a", "reminders": twenty, "remind_at": ahead(30)});
    assert_eq!(ada.post("/v1/tasks", more).await.invalid_fields(), ["#/remind_at"]);
    let task = ada.task(json!({"title": "a", "reminders": twenty})).await;
    let reminders = format!("{}/reminders", path(&task));
    assert_eq!(ada.post(&reminders, json!({"remind_at": ahead(30)})).await.invalid_fields(), ["#"]);
    ada.delete(&path_of(&task["reminders"][0])).await.expect(200);
    ada.post(&reminders, json!({"remind_at": ahead(30)})).await.expect(201);
}

/// A body with twenty reminders that no other request has.
fn twenty(request: i64) -> Value {
    let first = Utc::now() + TimeDelta::days(1) + TimeDelta::seconds(20 * request);
    let at = |nth| (first + TimeDelta::seconds(nth)).to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    json!({"title": "a", "reminders": (0..20).map(|nth| json!({"remind_at": at(nth)})).collect::<Vec<_>>()})
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_task_keeps_two_hundred_reminders_and_forgets_the_oldest_that_were_cancelled_before_they_fired(db: PgPool) {
    let ada = Client::new(&db);
    let task = ada.task(twenty(0)).await;
    let fired = id(&task["reminders"][0]);
    was_sent(&db, &task["reminders"][0]).await;
    let armed = id(&task["reminders"][1]);
    let job = "update task_reminders set job_id = 'reminder-' || id || '-1' where id = $1";
    sqlx::query(job).bind(armed).execute(&db).await.unwrap();
    let other = ada.task(twenty(0)).await;
    for request in 1..=60 {
        let task = ada.put(&path(&task), twenty(request)).await.expect(200);
        assert_eq!(task["reminders"].as_array().unwrap().len(), 20);
    }
    let rows = |task: &Value| {
        let id = id(task);
        let db = db.clone();
        async move {
            let ids = sqlx::query_scalar("select id from task_reminders where task_id = $1 order by updated_at, id");
            let ids: Vec<Uuid> = ids.bind(id).fetch_all(&db).await.unwrap();
            ids
        }
    };
    let left = rows(&task).await;
    assert_eq!(left.len(), 200);
    assert_eq!(rows(&other).await.len(), 20, "another task loses nothing");
    // One that fired stays with its story; one whose job the scheduler may still have waits for the handler that deletes it.
    assert!(left.contains(&fired) && left.contains(&armed));
    let now = ada.get(&path(&task)).await.expect(200);
    assert!(now["reminders"].as_array().unwrap().iter().all(|reminder| left.contains(&id(reminder))));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_task_forgets_the_oldest_fired_reminders_that_were_cancelled_once_their_deliveries_have_ended(db: PgPool) {
    let ada = Client::new(&db);
    let mut task = ada.task(twenty(0)).await;
    let [armed, open, begun, ended] = [0, 1, 2, 3].map(|nth| id(&task["reminders"][nth]));
    let delivery = "insert into notification_deliveries
                        (id, reminder_id, reminder_version, channel, user_id, task_id, event_id, state)
                    select gen_random_uuid(), id, 1, 'email', user_id, task_id, gen_random_uuid(), $2
                    from (select * from task_reminders where id = $1 for key share) reminder";
    sqlx::query(delivery).bind(open).bind("retrying").execute(&db).await.unwrap();
    sqlx::query(delivery).bind(ended).bind("sent").execute(&db).await.unwrap();
    let mut handler = db.begin().await.unwrap();
    sqlx::query(delivery).bind(begun).bind("pending").execute(&mut *handler).await.unwrap();
    for request in 1..=14 {
        // The job that fired stays on record. Only cancelling a reminder that is not sent yet raises its version.
        let state = if request % 2 == 0 { "sent" } else { "scheduled" };
        let fire = format!(
            "update task_reminders
             set state = '{state}', fired_version = 1, fired_at = now(), job_id = 'reminder-' || id || '-1' where state = 'scheduled'"
        );
        execute(&db, &fire).await;
        task = ada.put(&path(&task), twenty(request)).await.expect(200);
        // The handler that deletes the jobs of the others has not come to this one.
        let aligned =
            format!("update task_reminders set job_id = null where version > fired_version and id <> '{armed}'");
        execute(&db, &aligned).await;
    }
    handler.commit().await.unwrap();
    let left = "select id from task_reminders where task_id = $1";
    let left: Vec<Uuid> = sqlx::query_scalar(left).bind(id(&task)).fetch_all(&db).await.unwrap();
    assert_eq!(left.len(), 200);
    assert!([armed, open, begun].iter().all(|reminder| left.contains(reminder)), "a function is not done with them");
    assert!(!left.contains(&ended));
    assert!(task["reminders"].as_array().unwrap().iter().all(|reminder| left.contains(&id(reminder))));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_command_does_not_wait_for_a_reminder_that_the_user_cancelled(db: PgPool) {
    let ada = Client::new(&db);
    let task = ada.task(json!({"title": "a", "remind_at": ahead(1)})).await;
    ada.delete(&path_of(&task["reminders"][0])).await.expect(200);
    let mut handler = db.begin().await.unwrap();
    sqlx::query("select from task_reminders for update").execute(&mut *handler).await.unwrap();
    let path = path(&task);
    let command = ada.patch(&path, json!({"title": "b"}));
    tokio::time::timeout(Duration::from_secs(2), command).await.expect("it waits for the row").expect(200);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_cancelled_reminder_leaves_the_list_and_cancelling_again_changes_nothing(db: PgPool) {
    let ada = Client::new(&db);
    let task = ada.task(json!({"title": "a", "remind_at": ahead(1)})).await;
    let reminder = &task["reminders"][0];
    let now = ada.delete(&path_of(reminder)).await.expect(200);
    assert_eq!(now["reminders"], json!([]));
    assert_eq!(now["version"], 2);
    assert_eq!(earliest(&db).await, None);
    let row: (String, String, i32) =
        sqlx::query_as("select state, cancel_reason, version from task_reminders").fetch_one(&db).await.unwrap();
    assert_eq!(row, ("cancelled".to_owned(), "user".to_owned(), 2));
    let before = ada.footprint().await;
    assert_eq!(ada.delete(&path_of(reminder)).await.expect(200), now);
    ada.post(&format!("{}/snooze", path_of(reminder)), json!({"minutes": 5})).await.expect(409);
    ada.post(&format!("{}/send-now", path_of(reminder)), json!(null)).await.expect(409);
    assert_eq!(ada.footprint().await, before);
    assert_eq!(ada.events(&task).await, [event("task.created", 1), event("task.updated", 2)]);
    ada.delete(&path(&task)).await.expect(204);
    ada.delete(&path_of(reminder)).await.expect(404);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_sent_reminder_that_is_cancelled_keeps_its_version(db: PgPool) {
    let ada = Client::new(&db);
    let task = ada.task(json!({"title": "a", "remind_at": ahead(-1)})).await;
    was_sent(&db, &task["reminders"][0]).await;
    ada.delete(&path_of(&task["reminders"][0])).await.expect(200);
    let version: i32 = sqlx::query_scalar("select version from task_reminders").fetch_one(&db).await.unwrap();
    assert_eq!(version, 1, "it was not live before, so cancelling does not change its liveness");
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn snooze_moves_scheduled_and_sent_reminders(db: PgPool) {
    let ada = Client::new(&db);
    let task = ada.task(json!({"title": "a", "remind_at": ahead(-1)})).await;
    let snooze = format!("{}/snooze", path_of(&task["reminders"][0]));
    let until = ahead(3);
    let now = ada.post(&snooze, json!({"until": until})).await.expect(200);
    assert_eq!(reminder(&now, 0), scheduled(2));
    assert_eq!(instant(&now["reminders"][0]["remind_at"]), instant(&json!(until)));
    assert_eq!(earliest(&db).await, Some(instant(&json!(until))));
    was_sent(&db, &task["reminders"][0]).await;
    let now = ada.post(&snooze, json!({"minutes": 10})).await.expect(200);
    assert_eq!(reminder(&now, 0), scheduled(3));
    let in_ten = instant(&now["reminders"][0]["remind_at"]) - Utc::now();
    assert!((9..=10).contains(&in_ten.num_minutes()), "{in_ten}");
    let events = [event("task.created", 1), event("task.updated", 2), event("task.updated", 3)];
    assert_eq!(ada.events(&task).await, events);
    // Snoozing it to its own instant changes nothing.
    let at = now["reminders"][0]["remind_at"].clone();
    assert_eq!(ada.post(&snooze, json!({"until": at})).await.expect(200)["version"], 3);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn an_invalid_snooze_is_refused_and_has_no_effect(db: PgPool) {
    let ada = Client::new(&db);
    let task = ada.task(json!({"title": "a", "remind_at": ahead(1)})).await;
    let snooze = format!("{}/snooze", path_of(&task["reminders"][0]));
    let before = ada.footprint().await;
    for (body, invalid) in [
        (json!({}), "#/until"),
        (json!({"until": ahead(1), "minutes": 1}), "#/until"),
        (json!({"until": ahead(-1)}), "#/until"),
        (json!({"minutes": 0}), "#/minutes"),
        (json!({"minutes": 600_000}), "#/minutes"),
        (json!({"minutes": "5"}), "#/minutes"),
        (json!({"minutes": 5, "version": 9}), "#/version"),
    ] {
        assert_eq!(ada.post(&snooze, body).await.invalid_fields(), [invalid]);
    }
    assert_eq!(ada.footprint().await, before);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_completed_task_refuses_reminders(db: PgPool) {
    let ada = Client::new(&db);
    let task = ada.task(json!({"title": "a", "remind_at": ahead(1)})).await;
    ada.post(&format!("{}/complete", path(&task)), json!(null)).await.expect(200);
    let reminder = path_of(&task["reminders"][0]);
    let before = ada.footprint().await;
    ada.post(&format!("{reminder}/snooze"), json!({"minutes": 5})).await.expect(409);
    ada.post(&format!("{reminder}/send-now"), json!(null)).await.expect(409);
    ada.post(&format!("{}/reminders", path(&task)), json!({"remind_at": ahead(1)})).await.expect(409);
    assert_eq!(ada.footprint().await, before);
    // PUT may list one. It stays cancelled until the task is reopened.
    let put = ada.put(&path(&task), json!({"title": "a", "reminders": [{"remind_at": ahead(4)}]})).await.expect(200);
    assert_eq!(super::reminder(&put, 0), cancelled(1, "completed"));
    let open = ada.post(&format!("{}/reopen", path(&task)), json!(null)).await.expect(200);
    assert_eq!(super::reminder(&open, 0), scheduled(2));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn send_now_moves_the_reminder_to_now(db: PgPool) {
    let ada = Client::new(&db);
    let task = ada.task(json!({"title": "a", "remind_at": ahead(9)})).await;
    let now = ada.post(&format!("{}/send-now", path_of(&task["reminders"][0])), json!(null)).await.expect(200);
    assert_eq!(reminder(&now, 0), scheduled(2));
    assert_eq!(now["reminders"][0]["overdue"], true);
    let late: bool =
        sqlx::query_scalar("select remind_at <= clock_timestamp() from task_reminders").fetch_one(&db).await.unwrap();
    assert!(late);
    assert_eq!(ada.events(&task).await, [event("task.created", 1), event("task.updated", 2)]);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn relative_reminders_follow_the_due_time(db: PgPool) {
    let ada = Client::new(&db);
    let task = ada
        .task(json!({"title": "a", "due_at": ahead(5), "reminders": [{"before_due": "PT1H"}, {"remind_at": ahead(4)}]}))
        .await;
    let absolute =
        |task: &Value| task["reminders"].as_array().unwrap().iter().find(|r| r["before_due"].is_null()).cloned();
    let relative =
        |task: &Value| task["reminders"].as_array().unwrap().iter().find(|r| !r["before_due"].is_null()).cloned();
    let moved = ada.patch(&path(&task), json!({"due_at": ahead(9)})).await.expect(200);
    assert_eq!(absolute(&moved), absolute(&task));
    let follows = relative(&moved).unwrap();
    assert_eq!(follows["version"], 2);
    assert_eq!(instant(&follows["remind_at"]), instant(&moved["due_at"]) - TimeDelta::hours(1));

    let without = ada.patch(&path(&task), json!({"due_at": null})).await.expect(200);
    let rests = relative(&without).unwrap();
    assert_eq!(
        (&rests["state"], &rests["cancel_reason"], &rests["version"]),
        (&json!("cancelled"), &json!("due_removed"), &json!(3))
    );
    assert_eq!(absolute(&without), absolute(&task));

    let again = ada.patch(&path(&task), json!({"due_at": ahead(7)})).await.expect(200);
    let live = relative(&again).unwrap();
    assert_eq!((&live["state"], &live["version"]), (&json!("scheduled"), &json!(4)));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_new_zone_moves_only_reminders_counted_in_days(db: PgPool) {
    let ada = Client::new(&db);
    // The clocks go forward in Berlin in the night before, and never in Tokyo.
    let task = ada
        .task(json!({"title": "a", "due_at": "2031-03-30T07:00:00Z", "time_zone": "Europe/Berlin",
                     "reminders": [{"before_due": "P1D"}, {"before_due": "PT24H"}]}))
        .await;
    let instants = |task: &Value| -> Vec<Value> {
        task["reminders"].as_array().unwrap().iter().map(|reminder| reminder["remind_at"].clone()).collect()
    };
    assert_eq!(instants(&task), [json!("2031-03-29T07:00:00Z"), json!("2031-03-29T08:00:00Z")]);
    let moved = ada.patch(&path(&task), json!({"time_zone": "Asia/Tokyo"})).await.expect(200);
    assert_eq!(instants(&moved), [json!("2031-03-29T07:00:00Z"), json!("2031-03-29T07:00:00Z")]);
    let mut versions: Vec<_> =
        moved["reminders"].as_array().unwrap().iter().map(|r| r["version"].as_i64().unwrap()).collect();
    versions.sort_unstable();
    assert_eq!(versions, [1, 2]);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_sent_relative_reminder_is_live_again_when_the_due_time_moves_ahead(db: PgPool) {
    let ada = Client::new(&db);
    let task = ada.task(json!({"title": "a", "due_at": ahead(0), "reminders": [{"before_due": "PT1H"}]})).await;
    was_sent(&db, &task["reminders"][0]).await;
    let back = ada.patch(&path(&task), json!({"due_at": ahead(-5)})).await.expect(200);
    assert_eq!(reminder(&back, 0), ("sent".to_owned(), 1, Value::Null));
    let on = ada.patch(&path(&task), json!({"due_at": ahead(5)})).await.expect(200);
    assert_eq!(reminder(&on, 0), scheduled(2));
}
