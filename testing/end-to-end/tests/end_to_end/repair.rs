//! Repair restores from the database what the broker or the scheduler lost.

use chrono::TimeDelta;
use lab::api::text;
use lab::wait;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    product::{REPAIR, RunningProduct, SOON, alone},
    topics,
    user::{User, id, instant},
};

/// The maximum lateness of an armed reminder on a busy machine.
const ON_TIME: TimeDelta = TimeDelta::seconds(5);

/// Makes every claim of these functions fail like a database outage, so that their events are redelivered and stay unhandled. `%` means
/// every function. A second call replaces the first.
pub(crate) fn hold(product: &RunningProduct, functions: &str) {
    let postgres = &product.topology.postgres;
    let statements = format!(
        "create or replace function broken_for_a_while() returns trigger language plpgsql as
             $$ begin raise exception 'held' using errcode = 'cannot_connect_now'; end $$;
         drop trigger if exists held on processed_events;
         create trigger held before insert on processed_events for each row when (new.consumer like '{functions}')
             execute function broken_for_a_while()"
    );
    postgres.sql("punctual", &statements).unwrap_or_else(|error| panic!("{error:#}"));
}

/// Ends [`hold`].
pub(crate) fn let_go(product: &RunningProduct) {
    let release = "drop function if exists broken_for_a_while() cascade";
    product.topology.postgres.sql("punctual", release).unwrap_or_else(|error| panic!("{error:#}"));
}

/// The types of a user's events that are published and unclaimed.
pub(crate) async fn unhandled(product: &RunningProduct, user: &User) -> Vec<String> {
    sqlx::query_scalar(
        "select distinct type from task_events event where user_id = $1 and published_at is not null and not exists (
             select from processed_events where consumer = replace(type, '.', '-') and event_id = event.id) order by 1",
    )
    .bind(user.id)
    .fetch_all(&product.db)
    .await
    .expect("the database answers")
}

/// The events of a user that were not claimed exactly once, by the right function.
pub(crate) async fn not_claimed_once(product: &RunningProduct, user: &User) -> Vec<(Uuid, String)> {
    sqlx::query_as(
        "select id, type from task_events event where user_id = $1 and (
             select array_agg(consumer) from processed_events where event_id = event.id) is distinct from array[replace(type, '.', '-')]",
    )
    .bind(user.id)
    .fetch_all(&product.db)
    .await
    .expect("the database answers")
}

const TOPICS: [(&str, i32); 3] = [("task-events", 6), ("reminders", 12), ("task-updates", 6)];

#[test]
fn topics_that_are_deleted_and_created_again_lose_no_effect() {
    alone(async |product| {
        let user = product.user();
        product.without_repair();
        let kafka = product.topology.kafka.as_ref().expect("Kafka");
        // Each topic holds consumed events.
        let kept = user.create(json!({"title": "kept"})).await;
        let moved = user.remind("moved", user.in_ms(3_600_000).await).await;
        let before = user.remind("before", user.in_ms(500).await).await;
        product.mail_about(&user, "before").await;
        user.settled().await;

        // Each topic holds unconsumed events, which are being redelivered.
        hold(product, "task-changed");
        user.create(json!({"title": "not in the feed"})).await;
        wait::until_equal("its task.changed is published", SOON, vec!["task.changed".to_owned()], async || {
            unhandled(product, &user).await
        })
        .await;
        hold(product, "%");
        let created = user.remind("created", user.in_ms(1_000).await).await;
        user.snooze(&moved["reminders"][0], user.in_ms(1_000).await).await;
        let due = user.in_ms(3_600_000).await;
        let recurs = json!({"title": "recurs", "due_at": text(due), "recurrence": {"type": "daily"}});
        let recurs = user.create(recurs).await;
        user.complete(&recurs).await;
        user.delete(&kept).await;
        let every = [
            "reminder.due",
            "reminder.sent",
            "task.changed",
            "task.completed",
            "task.created",
            "task.deleted",
            "task.updated",
        ];
        wait::until_equal(
            "every type is published and unclaimed",
            SOON,
            every.map(str::to_owned).to_vec(),
            async || unhandled(product, &user).await,
        )
        .await;
        let unpublished = "select count(*) from task_events where user_id = $1 and published_at is null";
        wait::until_equal("everything is published", SOON, 0, async || user.count(unpublished).await).await;

        for (topic, partitions) in TOPICS {
            kafka.delete_topic(topic).unwrap_or_else(|error| panic!("{error:#}"));
            kafka.create_topic(topic, partitions).unwrap_or_else(|error| panic!("{error:#}"));
        }
        let made = TOPICS.map(|(topic, _)| topic);
        wait::until("the topics exist and are empty", SOON, async || {
            let kafka = product.kafka().await;
            let known = kafka.list_topics().await.expect("Kafka answers");
            for topic in made {
                if !known.iter().any(|known| known.name == topic) {
                    return Err(format!("{topic} does not exist"));
                }
                let left = topics::read(&kafka, topic).await.len();
                assert_eq!(left, 0, "events left on {topic}");
            }
            Ok(())
        })
        .await;
        let_go(product);
        product.topology.repair.as_ref().expect("repair").start().unwrap_or_else(|error| panic!("{error:#}"));
        user.settled().await;
        for title in ["before", "created", "moved"] {
            product.mail_about(&user, title).await;
        }
        user.settled().await;
        assert_eq!(product.mails(&user).len(), 3, "{:?}", product.subjects(&user));
        assert_eq!(not_claimed_once(product, &user).await, []);
        assert_eq!(user.history(&kept).await, ["task.created", "task.deleted"]);
        for (task, action) in [
            (&created, "task.created"),
            (&moved, "task.updated"),
            (&recurs, "task.completed"),
            (&before, "reminder.sent"),
            (&created, "reminder.sent"),
        ] {
            let history = user.history(task).await;
            assert_eq!(history.iter().filter(|found| *found == action).count(), 1, "{history:?}");
        }
        let successors = user.tasks().await.iter().filter(|task| task["title"] == "recurs").count();
        assert_eq!(successors, 2);
        // New events need no repair.
        product.without_repair();
        user.patch(&format!("/v1/tasks/{}", id(&created["id"])), json!({"title": "flows"})).await;
        user.settled().await;
    });
}

async fn fired(product: &RunningProduct, task: &Value) -> i64 {
    let fired = "select count(*) from task_events where task_id = $1 and type = 'reminder.due'";
    product.count(fired, id(&task["id"])).await
}

#[test]
fn a_scheduler_that_loses_its_data_loses_no_reminder() {
    alone(async |product| {
        let user = product.user();
        let scheduler = &product.topology.scheduler;
        product.without_repair();
        let mut tasks = Vec::new();
        // Due while the scheduler is away, within two repair intervals, and later.
        for seconds in [8, 16, 22, 28, 34, 40, 46] {
            tasks.push(user.remind(&format!("due {seconds}"), user.in_ms(seconds * 1_000).await).await);
        }
        let due = |task: &Value| instant(&task["reminders"][0]["remind_at"]);
        user.settled().await;
        scheduler.process.kill9();
        assert_eq!(user.events("reminder.due").await, 0, "the scheduler was killed too late");
        product.clock_reaches(due(&tasks[0]) + TimeDelta::seconds(1)).await;
        scheduler.wipe().unwrap_or_else(|error| panic!("{error:#}"));

        let two_intervals = TimeDelta::from_std(2 * REPAIR).expect("a few seconds");
        let began = product.now().await;
        let repaired = product.repair_now().await;
        let ended = product.now().await;
        let armed: Vec<&Value> = tasks.iter().filter(|task| due(task) <= began + two_intervals).collect();
        let beyond: Vec<&Value> = tasks.iter().filter(|task| due(task) > ended + two_intervals).collect();
        assert!(armed.len() > 1 && !beyond.is_empty(), "repair ran too late for this test: {began}");
        assert!(repaired.reminders as usize >= armed.len(), "{repaired:?}, but {} were lost", armed.len());
        assert!(
            repaired.reminders as usize <= tasks.len() - beyond.len(),
            "{repaired:?}: repair armed reminders beyond two intervals"
        );
        // Later reminders wait for a later repair. None ran, so none of them fires at its time.
        product.clock_reaches(due(&tasks[tasks.len() - 1]) + TimeDelta::seconds(1)).await;
        for task in &armed {
            assert_eq!(fired(product, task).await, 1, "{} was armed", task["title"]);
        }
        for task in &beyond {
            assert_eq!(fired(product, task).await, 0, "{} was not armed", task["title"]);
        }
        // Now they are overdue.
        let repaired = product.repair_now().await;
        assert!(repaired.reminders as usize >= beyond.len(), "{repaired:?}");
        for task in &tasks {
            let mail = product.mail_about(&user, task["title"].as_str().unwrap_or_default()).await;
            assert!(mail.accepted_at >= due(task), "{mail:?}");
            let on_time = armed.contains(&task) && due(task) > ended;
            assert!(!on_time || mail.accepted_at < due(task) + ON_TIME, "{mail:?} for {}", due(task));
        }
        user.settled().await;
        assert_eq!(product.mails(&user).len(), tasks.len(), "{:?}", product.subjects(&user));
        for task in &tasks {
            assert_eq!(fired(product, task).await, 1);
        }
        let again = product.repair_now().await;
        assert_eq!((again.events, again.reminders, again.deliveries), (0, 0, 0), "a second repair finds nothing");
    });
}
