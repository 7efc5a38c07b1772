//! Repair: the database is the truth, and what the broker or the scheduler forgot is brought back from it.

use chrono::TimeDelta;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    topics,
    user::{User, id, instant, text},
    wait,
    world::{REPAIR, SOON, World, alone},
};

/// What is armed comes within this of its time, however busy the machine.
const ON_TIME: TimeDelta = TimeDelta::seconds(5);

/// Makes the claims of these functions fail as an outage of the database would, until it is called with others: events come and
/// come, and are not handled. `%` is every function.
pub(crate) fn hold(world: &World, functions: &str) {
    let postgres = &world.topology.postgres;
    let statements = format!(
        "create or replace function broken_for_a_while() returns trigger language plpgsql as
             $$ begin raise exception 'held' using errcode = 'cannot_connect_now'; end $$;
         drop trigger if exists held on processed_events;
         create trigger held before insert on processed_events for each row when (new.consumer like '{functions}')
             execute function broken_for_a_while()"
    );
    postgres.sql("punctual", &statements).unwrap_or_else(|error| panic!("{error:#}"));
}

/// Lets every function claim again.
pub(crate) fn let_go(world: &World) {
    let release = "drop function if exists broken_for_a_while() cascade";
    world.topology.postgres.sql("punctual", release).unwrap_or_else(|error| panic!("{error:#}"));
}

/// The types of a user's events that are on their topics and that nobody has handled.
pub(crate) async fn unhandled(world: &World, user: &User) -> Vec<String> {
    sqlx::query_scalar(
        "select distinct type from task_events event where user_id = $1 and published_at is not null and not exists (
             select from processed_events where consumer = replace(type, '.', '-') and event_id = event.id) order by 1",
    )
    .bind(user.id)
    .fetch_all(&world.db)
    .await
    .expect("the database answers")
}

/// The events of a user that are not claimed exactly once, by the one function whose they are.
pub(crate) async fn not_claimed_once(world: &World, user: &User) -> Vec<(Uuid, String)> {
    sqlx::query_as(
        "select id, type from task_events event where user_id = $1 and (
             select array_agg(consumer) from processed_events where event_id = event.id) is distinct from array[replace(type, '.', '-')]",
    )
    .bind(user.id)
    .fetch_all(&world.db)
    .await
    .expect("the database answers")
}

const TOPICS: [(&str, i32); 3] = [("task-events", 6), ("reminders", 12), ("task-updates", 6)];

#[test]
fn topics_that_are_deleted_and_made_again_cost_no_effect() {
    alone(async |world| {
        let user = world.user();
        world.without_repair();
        let kafka = world.topology.kafka.as_ref().expect("Kafka");
        // Consumed, on each of them.
        let kept = user.create(json!({"title": "kept"})).await;
        let moved = user.remind("moved", user.in_ms(3_600_000).await).await;
        let before = user.remind("before", user.in_ms(500).await).await;
        world.mail_about(&user, "before").await;
        user.settled().await;

        // Not consumed, on each of them: with their functions at them, again and again.
        hold(world, "task-changed");
        user.create(json!({"title": "told to nobody"})).await;
        wait::until_equal("its story is written", SOON, vec!["task.changed".to_owned()], async || {
            unhandled(world, &user).await
        })
        .await;
        hold(world, "%");
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
        wait::until_equal("all of it is on the topics", SOON, every.map(str::to_owned).to_vec(), async || {
            unhandled(world, &user).await
        })
        .await;
        let unpublished = "select count(*) from task_events where user_id = $1 and published_at is null";
        wait::until_equal("nothing is still to come", SOON, 0, async || user.count(unpublished).await).await;

        for (topic, partitions) in TOPICS {
            kafka.delete_topic(topic).unwrap_or_else(|error| panic!("{error:#}"));
            kafka.create_topic(topic, partitions).unwrap_or_else(|error| panic!("{error:#}"));
        }
        let made = TOPICS.map(|(topic, _)| topic);
        wait::until("they are there, and empty", SOON, async || {
            let kafka = world.kafka().await;
            let known = kafka.list_topics().await.expect("Kafka answers");
            for topic in made {
                if !known.iter().any(|known| known.name == topic) {
                    return Err(format!("{topic} is not there"));
                }
                let left = topics::read(&kafka, topic).await.len();
                assert_eq!(left, 0, "events that are still on {topic}");
            }
            Ok(())
        })
        .await;
        let_go(world);
        world.topology.repair.as_ref().expect("repair").start().unwrap_or_else(|error| panic!("{error:#}"));
        user.settled().await;
        for title in ["before", "created", "moved"] {
            world.mail_about(&user, title).await;
        }
        user.settled().await;
        assert_eq!(world.mails(&user).len(), 3, "{:?}", world.subjects(&user));
        assert_eq!(not_claimed_once(world, &user).await, []);
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
        // What happens now flows on by itself.
        world.without_repair();
        user.patch(&format!("/v1/tasks/{}", id(&created["id"])), json!({"title": "flows"})).await;
        user.settled().await;
    });
}

async fn fired(world: &World, task: &Value) -> i64 {
    let fired = "select count(*) from task_events where task_id = $1 and type = 'reminder.due'";
    world.count(fired, id(&task["id"])).await
}

#[test]
fn a_scheduler_that_lost_its_data_costs_no_reminder() {
    alone(async |world| {
        let user = world.user();
        let scheduler = &world.topology.scheduler;
        world.without_repair();
        let mut tasks = Vec::new();
        // While it is away, within two intervals of the repair, and beyond them.
        for seconds in [8, 16, 22, 28, 34, 40, 46] {
            tasks.push(user.remind(&format!("due {seconds}"), user.in_ms(seconds * 1_000).await).await);
        }
        let due = |task: &Value| instant(&task["reminders"][0]["remind_at"]);
        user.settled().await;
        scheduler.process.kill9();
        assert_eq!(user.events("reminder.due").await, 0, "the scheduler went away too late to lose anything");
        world.clock_reaches(due(&tasks[0]) + TimeDelta::seconds(1)).await;
        scheduler.wipe().unwrap_or_else(|error| panic!("{error:#}"));

        let two_intervals = TimeDelta::from_std(2 * REPAIR).expect("a few seconds");
        let began = world.now().await;
        let repaired = world.repair_now().await;
        let ended = world.now().await;
        let armed: Vec<&Value> = tasks.iter().filter(|task| due(task) <= began + two_intervals).collect();
        let beyond: Vec<&Value> = tasks.iter().filter(|task| due(task) > ended + two_intervals).collect();
        assert!(armed.len() > 1 && !beyond.is_empty(), "the repair came too late to tell anything: {began}");
        assert!(repaired.reminders as usize >= armed.len(), "{repaired:?}, where {} were lost", armed.len());
        assert!(repaired.reminders as usize <= tasks.len() - beyond.len(), "{repaired:?}: more than two intervals");
        // What is beyond them waits for one of the next repairs, so that there was none is seen once its time has passed.
        world.clock_reaches(due(&tasks[tasks.len() - 1]) + TimeDelta::seconds(1)).await;
        for task in &armed {
            assert_eq!(fired(world, task).await, 1, "{} was armed", task["title"]);
        }
        for task in &beyond {
            assert_eq!(fired(world, task).await, 0, "{} was not armed", task["title"]);
        }
        // Overdue and unfired.
        let repaired = world.repair_now().await;
        assert!(repaired.reminders as usize >= beyond.len(), "{repaired:?}");
        for task in &tasks {
            let mail = world.mail_about(&user, task["title"].as_str().unwrap_or_default()).await;
            assert!(mail.accepted_at >= due(task), "{mail:?}");
            let on_time = armed.contains(&task) && due(task) > ended;
            assert!(!on_time || mail.accepted_at < due(task) + ON_TIME, "{mail:?} for {}", due(task));
        }
        user.settled().await;
        assert_eq!(world.mails(&user).len(), tasks.len(), "{:?}", world.subjects(&user));
        for task in &tasks {
            assert_eq!(fired(world, task).await, 1);
        }
        let again = world.repair_now().await;
        assert_eq!((again.events, again.reminders, again.deliveries), (0, 0, 0), "there is nothing left to repair");
    });
}
