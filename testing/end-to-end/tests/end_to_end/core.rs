//! What the product is for: reminders come at their time, once, and never after they were moved, completed or deleted.
//!
//! Written against any run, so that the same code proves it on Kafka (here) and on other hosts and brokers (`hosts`).

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::{
    user::{User, id, instant, text},
    world::{World, beside_others},
};

#[test]
fn a_created_task_is_armed_and_reminds_at_its_time_and_tells_its_story() {
    beside_others(reminds_at_its_time);
}

#[test]
fn a_moved_reminder_fires_once_at_its_new_time_only() {
    beside_others(fires_at_its_new_time_only);
}

#[test]
fn a_completed_task_is_silent_and_recurs_once() {
    beside_others(is_silent_and_recurs_once);
}

#[test]
fn a_deleted_task_is_silent_and_absorbs_what_comes_late() {
    beside_others(absorbs_what_comes_late);
}

#[test]
fn a_reminder_at_the_end_of_the_calendar_holds_nobody_up() {
    beside_others(async |world| {
        let user = world.user();
        let body = json!({
            "title": "the heat death", "due_at": text(user.in_ms(3_600_000).await), "recurrence": {"type": "weekly"},
            "reminders": [{"remind_at": "9999-12-31T23:59:59Z"}],
        });
        let task = user.create(body).await;
        user.complete(&task).await;
        user.settled().await; // its successor's reminder a week later would be in a year that the scheduler cannot read
    });
}

/// One reminder that comes after all others: when it is there, what should not have come did not.
pub(crate) async fn witness(world: &World, user: &User, after_ms: i64) {
    let at = user.in_ms(after_ms).await;
    user.remind("witness", at).await;
    world.mail_about(user, "witness").await;
}

pub(crate) async fn reminds_at_its_time(world: &World) {
    let user = world.user();
    let at = user.in_ms(3_000).await;
    let task = user.remind("call the dentist", at).await;
    let reminder = task["reminders"][0].clone();
    assert_eq!(reminder["state"], "scheduled");

    let mail = world.mail_about(&user, "call the dentist").await;
    assert!(mail.accepted_at >= at, "due {at}, accepted {}", mail.accepted_at);
    assert_eq!(mail.message.header("to").as_deref(), Some(user.email.as_str()));
    assert_eq!(mail.message.header("from").as_deref(), Some("Punctual <reminders@punctual.test>"));
    for part in [mail.message.text(), mail.message.html()] {
        assert!(part.is_some_and(|part| part.contains("call the dentist")), "{:?}", mail.message);
    }

    user.settled().await;
    let deliveries = user.deliveries().await;
    let [delivery] = &deliveries[..] else { panic!("{deliveries:?}") };
    assert_eq!((delivery.state.as_str(), delivery.attempts, delivery.reminder_version), ("sent", 1, 1));
    assert_eq!(delivery.reminder_id, id(&reminder["id"]));
    assert!(delivery.started_at >= Some(at), "{delivery:?}");
    assert_eq!(user.task(&task).await["reminders"][0]["state"], "sent");

    let timeline = user.timeline(&reminder).await;
    let steps: Vec<&str> = timeline.iter().map(|(what, _)| what.as_str()).collect();
    assert_eq!(steps, ["created", "armed", "fired", "sending", "sent"]);
    let entry = |what: &str| &timeline.iter().find(|(step, _)| step == what).expect("a step").1;
    assert_eq!(instant(&entry("armed")["planned_at"]), at);
    assert!(instant(&entry("armed")["at"]) < at, "armed in time: {timeline:?}");
    assert_eq!(instant(&entry("fired")["planned_at"]), at);
    assert!(entry("fired")["late_ms"].as_i64().is_some_and(|late| (0..10_000).contains(&late)), "{timeline:?}");
    assert!(instant(&entry("sent")["at"]) >= at);

    let history = user.history(&task).await;
    let times = |action: &str| history.iter().filter(|found| *found == action).count();
    for action in ["task.created", "reminder.armed", "reminder.fired", "reminder.due", "reminder.sent"] {
        assert_eq!(times(action), 1, "{action} in {history:?}");
    }
    // What a client shows: that it was created, and that its reminder was sent.
    assert_eq!(user.count("select count(*) from feed where user_id = $1").await, 2);
    assert_eq!(user.count("select feed_seq from users where id = $1").await, 2);
    assert_eq!(world.mails(&user).len(), 1);
}

pub(crate) async fn fires_at_its_new_time_only(world: &World) {
    let user = world.user();
    let (first, later) = (user.in_ms(8_000).await, user.in_ms(10_000).await);
    let quarter = TimeDelta::minutes(15);

    // Relative to a due time that moves.
    let due = json!({"title": "due moved", "due_at": text(first + quarter), "reminders": [{"before_due": "PT15M"}]});
    let due = user.create(due).await;
    // Later, and from an hour ahead to soon.
    let snoozed = user.remind("snoozed", first).await;
    let hastened = user.remind("hastened", user.in_ms(3_600_000).await).await;
    // Sent already, and snoozed then: the same reminder once more.
    let again = user.remind("again", user.in_ms(0).await).await;
    world.mail_about(&user, "again").await;
    user.settled().await;

    let moved = user.patch(&format!("/v1/tasks/{}", id(&due["id"])), json!({"due_at": text(later + quarter)})).await;
    assert_eq!(instant(&moved["reminders"][0]["remind_at"]), later);
    for task in [&snoozed, &hastened, &again] {
        let moved = user.snooze(&task["reminders"][0], later).await.body;
        assert_eq!(moved["reminders"][0]["version"], 2, "{moved}");
        assert_eq!(instant(&moved["reminders"][0]["remind_at"]), later);
    }
    assert!(user.in_ms(0).await < first, "the machine is too slow for this test: the first time has passed");

    for title in ["due moved", "snoozed", "hastened"] {
        world.mail_about(&user, title).await;
    }
    witness(world, &user, 1_000).await;
    user.settled().await;
    for title in ["due moved", "snoozed", "hastened"] {
        let mails = world.mails_about(&user, title);
        assert_eq!(mails.len(), 1, "{title}: {mails:?}");
        assert!(mails[0].accepted_at >= later, "{title}: due {later}, accepted {}", mails[0].accepted_at);
    }
    let again_mails = world.mails_about(&user, "again");
    assert_eq!(again_mails.len(), 2, "{again_mails:?}");
    assert!(again_mails[1].accepted_at >= later);
    for task in [&due, &snoozed, &hastened, &again] {
        let reminder = &user.task(task).await["reminders"][0];
        assert_eq!((&reminder["state"], &reminder["version"]), (&json!("sent"), &json!(2)), "{reminder}");
    }
}

pub(crate) async fn is_silent_and_recurs_once(world: &World) {
    let user = world.user();
    let (soon, due) = (user.in_ms(8_000).await, user.in_ms(3_600_000).await);
    let task = user
        .create(json!({
            "title": "water the plants", "due_at": text(due), "time_zone": "Europe/Berlin", "tags": ["home"],
            "recurrence": {"type": "weekly"},
            "reminders": [{"remind_at": text(soon)}, {"before_due": "PT30M"}],
        }))
        .await;
    user.complete(&task).await;
    user.complete(&task).await; // changes nothing
    user.settled().await;
    let reopened = user.reopen(&task).await.body;
    assert!(reopened["reminders"].as_array().is_some_and(|all| all.iter().all(|one| one["state"] == "scheduled")));
    user.settled().await;
    let completed = user.complete(&task).await.body;
    assert_eq!(completed["completed"], true);
    user.settled().await;
    assert!(user.in_ms(0).await < soon, "the machine is too slow for this test: the reminder's time has passed");

    world.clock_reaches(soon).await;
    witness(world, &user, 500).await;
    user.settled().await;
    assert_eq!(world.subjects(&user).len(), 1, "{:?}", world.subjects(&user));
    for reminder in user.task(&task).await["reminders"].as_array().expect("reminders") {
        assert_eq!((&reminder["state"], &reminder["cancel_reason"]), (&json!("cancelled"), &json!("completed")));
    }

    let mut tasks = user.tasks().await;
    tasks.retain(|task| task["title"] == "water the plants");
    assert_eq!(tasks.len(), 2, "one successor: {tasks:?}");
    let successor = tasks.iter().find(|found| found["id"] != task["id"]).expect("a successor");
    assert_eq!((&successor["completed"], &successor["version"]), (&json!(false), &json!(1)));
    assert_eq!((&successor["tags"], &successor["time_zone"]), (&json!(["home"]), &json!("Europe/Berlin")));
    // A week on the wall, which is an hour more or less twice a year.
    let week = instant(&successor["due_at"]) - due;
    assert!((week - TimeDelta::weeks(1)).abs() <= TimeDelta::hours(1), "{week}");
    let reminders = successor["reminders"].as_array().expect("reminders");
    assert_eq!(reminders.len(), 2, "{successor}");
    for reminder in reminders {
        assert_eq!(reminder["state"], "scheduled", "{successor}");
        assert!(instant(&reminder["remind_at"]) < instant(&successor["due_at"]));
    }
}

pub(crate) async fn absorbs_what_comes_late(world: &World) {
    let user = world.user();
    let soon = user.in_ms(8_000).await;
    let task = user.remind("never", soon).await;
    let task_id = id(&task["id"]);
    user.patch(&format!("/v1/tasks/{task_id}"), json!({"title": "never ever"})).await;
    user.settled().await;
    assert_eq!(user.delete(&task).await.status, 204);
    user.settled().await;
    assert!(user.in_ms(0).await < soon, "the machine is too slow for this test: the reminder's time has passed");

    // Each again, handled already.
    let before = everything_about(world, &user).await;
    let again = world.publish_again(task_id).await;
    world.seen_again(&again).await;
    assert_eq!(everything_about(world, &user).await, before);

    // Each for the first time, after the delete: as if the broker had held them back until now.
    sqlx::query("delete from processed_events using task_events where event_id = id and task_id = $1 and type <> $2")
        .bind(task_id)
        .bind("task.changed")
        .execute(&world.db)
        .await
        .expect("the database answers");
    world.publish_again(task_id).await;
    user.settled().await;

    world.clock_reaches(soon).await;
    witness(world, &user, 500).await;
    user.settled().await;
    assert_eq!(world.mails_about(&user, "never").len(), 0, "{:?}", world.subjects(&user));
    assert_eq!(user.events("reminder.due").await, 1, "that of the witness");
    let missing = user.send(reqwest::Method::GET, &format!("/v1/tasks/{task_id}"), None).await;
    assert_eq!(missing.status, 404);
    let reminder = user.timeline(&task["reminders"][0]).await;
    assert!(reminder.iter().any(|(what, entry)| what == "cancelled" && entry["reason"] == "deleted"), "{reminder:?}");
}

/// Everything that events about the user's tasks have written.
async fn everything_about(world: &World, user: &User) -> Value {
    sqlx::query_scalar(
        "select jsonb_build_object(
             'tasks', (select count(*) from tasks where user_id = $1),
             'events', (select jsonb_agg(id order by id) from task_events where user_id = $1),
             'audit', (select jsonb_agg(id order by id) from audit_logs where user_id = $1),
             'feed', (select jsonb_agg(event_id order by seq) from feed where user_id = $1),
             'reminders', (select jsonb_agg(to_jsonb(reminder) order by id) from task_reminders reminder
                           where user_id = $1),
             'deliveries', (select count(*) from notification_deliveries where user_id = $1))",
    )
    .bind(user.id)
    .fetch_one(&world.db)
    .await
    .expect("the database answers")
}
