//! The core promise: a reminder is sent at its time, exactly once, and never after it was moved, completed or deleted.
//!
//! These tests take any running product: here one on Kafka, in `hosts` other hosts and brokers.

use chrono::TimeDelta;
use lab::api::{Method, text};
use serde_json::{Value, json};

use crate::{
    product::{RunningProduct, beside_others},
    user::{User, id, instant},
};

#[test]
fn a_reminder_is_armed_sent_at_its_time_and_recorded_in_timeline_and_history() {
    beside_others(reminds_at_its_time);
}

#[test]
fn a_moved_reminder_fires_once_at_its_new_time_only() {
    beside_others(fires_at_its_new_time_only);
}

#[test]
fn a_completed_task_sends_nothing_and_recurs_once() {
    beside_others(is_silent_and_recurs_once);
}

#[test]
fn a_deleted_task_sends_nothing_and_ignores_late_events() {
    beside_others(absorbs_late_events);
}

#[test]
fn a_reminder_at_the_end_of_the_calendar_blocks_nothing() {
    beside_others(async |product| {
        let user = product.user();
        let body = json!({
            "title": "the heat death", "due_at": text(user.in_ms(3_600_000).await), "recurrence": {"type": "weekly"},
            "reminders": [{"remind_at": "9999-12-31T23:59:59Z"}],
        });
        let task = user.create(body).await;
        user.complete(&task).await;
        user.settled().await; // the successor's reminder would be in a year that the scheduler cannot parse
    });
}

/// Waits for a reminder that is sent after all others. Once it arrives, a missing mail is known to never come.
pub(crate) async fn witness(product: &RunningProduct, user: &User, after_ms: i64) {
    let at = user.in_ms(after_ms).await;
    user.remind("witness", at).await;
    product.mail_about(user, "witness").await;
}

pub(crate) async fn reminds_at_its_time(product: &RunningProduct) {
    let user = product.user();
    let at = user.in_ms(3_000).await;
    let task = user.remind("call the dentist", at).await;
    let reminder = task["reminders"][0].clone();
    assert_eq!(reminder["state"], "scheduled");

    let mail = product.mail_about(&user, "call the dentist").await;
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
    // The feed of clients: task created, reminder sent.
    assert_eq!(user.count("select count(*) from feed where user_id = $1").await, 2);
    assert_eq!(user.count("select feed_seq from users where id = $1").await, 2);
    assert_eq!(product.mails(&user).len(), 1);
}

pub(crate) async fn fires_at_its_new_time_only(product: &RunningProduct) {
    let user = product.user();
    let (first, later) = (user.in_ms(8_000).await, user.in_ms(10_000).await);
    let quarter = TimeDelta::minutes(15);

    // Relative to the due time, which moves.
    let due = json!({"title": "due moved", "due_at": text(first + quarter), "reminders": [{"before_due": "PT15M"}]});
    let due = user.create(due).await;
    // Moved to later, and from an hour ahead to soon.
    let snoozed = user.remind("snoozed", first).await;
    let hastened = user.remind("hastened", user.in_ms(3_600_000).await).await;
    // Snoozed after it was sent, so it is sent again.
    let again = user.remind("again", user.in_ms(0).await).await;
    product.mail_about(&user, "again").await;
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
        product.mail_about(&user, title).await;
    }
    witness(product, &user, 1_000).await;
    user.settled().await;
    for title in ["due moved", "snoozed", "hastened"] {
        let mails = product.mails_about(&user, title);
        assert_eq!(mails.len(), 1, "{title}: {mails:?}");
        assert!(mails[0].accepted_at >= later, "{title}: due {later}, accepted {}", mails[0].accepted_at);
    }
    let again_mails = product.mails_about(&user, "again");
    assert_eq!(again_mails.len(), 2, "{again_mails:?}");
    assert!(again_mails[1].accepted_at >= later);
    for task in [&due, &snoozed, &hastened, &again] {
        let reminder = &user.task(task).await["reminders"][0];
        assert_eq!((&reminder["state"], &reminder["version"]), (&json!("sent"), &json!(2)), "{reminder}");
    }
}

pub(crate) async fn is_silent_and_recurs_once(product: &RunningProduct) {
    let user = product.user();
    let (soon, due) = (user.in_ms(8_000).await, user.in_ms(3_600_000).await);
    let task = user
        .create(json!({
            "title": "water the plants", "due_at": text(due), "time_zone": "Europe/Berlin", "tags": ["home"],
            "recurrence": {"type": "weekly"},
            "reminders": [{"remind_at": text(soon)}, {"before_due": "PT30M"}],
        }))
        .await;
    user.complete(&task).await;
    user.complete(&task).await; // a no-op
    user.settled().await;
    let reopened = user.reopen(&task).await.body;
    assert!(reopened["reminders"].as_array().is_some_and(|all| all.iter().all(|one| one["state"] == "scheduled")));
    user.settled().await;
    let completed = user.complete(&task).await.body;
    assert_eq!(completed["completed"], true);
    user.settled().await;
    assert!(user.in_ms(0).await < soon, "the machine is too slow for this test: the reminder's time has passed");

    product.clock_reaches(soon).await;
    witness(product, &user, 500).await;
    user.settled().await;
    assert_eq!(product.subjects(&user).len(), 1, "{:?}", product.subjects(&user));
    for reminder in user.task(&task).await["reminders"].as_array().expect("reminders") {
        assert_eq!((&reminder["state"], &reminder["cancel_reason"]), (&json!("cancelled"), &json!("completed")));
    }

    let mut tasks = user.tasks().await;
    tasks.retain(|task| task["title"] == "water the plants");
    assert_eq!(tasks.len(), 2, "one successor: {tasks:?}");
    let successor = tasks.iter().find(|found| found["id"] != task["id"]).expect("a successor");
    assert_eq!((&successor["completed"], &successor["version"]), (&json!(false), &json!(1)));
    assert_eq!((&successor["tags"], &successor["time_zone"]), (&json!(["home"]), &json!("Europe/Berlin")));
    // A week of wall-clock time: with a daylight-saving change an hour more or less.
    let week = instant(&successor["due_at"]) - due;
    assert!((week - TimeDelta::weeks(1)).abs() <= TimeDelta::hours(1), "{week}");
    let reminders = successor["reminders"].as_array().expect("reminders");
    assert_eq!(reminders.len(), 2, "{successor}");
    for reminder in reminders {
        assert_eq!(reminder["state"], "scheduled", "{successor}");
        assert!(instant(&reminder["remind_at"]) < instant(&successor["due_at"]));
    }
}

pub(crate) async fn absorbs_late_events(product: &RunningProduct) {
    let user = product.user();
    let soon = user.in_ms(8_000).await;
    let task = user.remind("never", soon).await;
    let task_id = id(&task["id"]);
    user.patch(&format!("/v1/tasks/{task_id}"), json!({"title": "never ever"})).await;
    user.settled().await;
    assert_eq!(user.delete(&task).await.status, 204);
    user.settled().await;
    assert!(user.in_ms(0).await < soon, "the machine is too slow for this test: the reminder's time has passed");

    // Publish each event again. All of them were handled before.
    let before = everything_about(product, &user).await;
    let again = product.publish_again(task_id).await;
    product.seen_again(&again).await;
    assert_eq!(everything_about(product, &user).await, before);

    // Deliver each event for the first time after the delete, as if the broker had delayed it.
    sqlx::query("delete from processed_events using task_events where event_id = id and task_id = $1 and type <> $2")
        .bind(task_id)
        .bind("task.changed")
        .execute(&product.db)
        .await
        .expect("the database answers");
    product.publish_again(task_id).await;
    user.settled().await;

    product.clock_reaches(soon).await;
    witness(product, &user, 500).await;
    user.settled().await;
    assert_eq!(product.mails_about(&user, "never").len(), 0, "{:?}", product.subjects(&user));
    assert_eq!(user.events("reminder.due").await, 1, "only the witness fires");
    let missing = user.send(Method::GET, &format!("/v1/tasks/{task_id}"), None).await;
    assert_eq!(missing.status, 404);
    let reminder = user.timeline(&task["reminders"][0]).await;
    assert!(reminder.iter().any(|(what, entry)| what == "cancelled" && entry["reason"] == "deleted"), "{reminder:?}");
}

/// Every row that the user's events have written.
async fn everything_about(product: &RunningProduct, user: &User) -> Value {
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
    .fetch_one(&product.db)
    .await
    .expect("the database answers")
}
