//! Repair: the database is the truth, and what the broker or the scheduler forgot is brought back from it.

use serde_json::json;

use crate::{
    user::{id, instant, text},
    wait::until_equal,
    world::{SOON, alone},
};

#[test]
fn a_topic_that_is_deleted_after_publication_costs_no_effect() {
    alone(async |world| {
        let user = world.user();
        let kafka = world.topology.kafka.as_ref().expect("Kafka");
        let kept = user.create(json!({"title": "kept"})).await;
        let moved = user.remind("moved", user.in_ms(3_600_000).await).await;
        user.settled().await;

        let functions = ["task-created", "task-updated", "task-completed", "task-deleted"];
        for function in functions {
            world.topology.daprd(function).process.kill9();
        }
        let created = user.remind("created", user.in_ms(1_000).await).await;
        user.snooze(&moved["reminders"][0], user.in_ms(1_000).await).await;
        let due = user.in_ms(3_600_000).await;
        let recurs = json!({"title": "recurs", "due_at": text(due), "recurrence": {"type": "daily"}});
        let recurs = user.create(recurs).await;
        user.complete(&recurs).await;
        user.delete(&kept).await;
        let unpublished = "select count(*) from task_events where user_id = $1 and published_at is null";
        until_equal("all of it is published", SOON, 0, async || user.count(unpublished).await).await;

        kafka.delete_topic("task-events").unwrap_or_else(|error| panic!("{error:#}"));
        kafka.create_topic("task-events", 6).unwrap_or_else(|error| panic!("{error:#}"));
        for function in functions {
            world.topology.daprd(function).process.start().unwrap_or_else(|error| panic!("{error:#}"));
        }
        user.settled().await;
        world.mail_about(&user, "created").await;
        world.mail_about(&user, "moved").await;
        user.settled().await;
        assert_eq!(world.mails(&user).len(), 2, "{:?}", world.subjects(&user));
        assert_eq!(user.history(&kept).await, ["task.created", "task.deleted"]);
        for (task, action) in [(&created, "task.created"), (&moved, "task.updated"), (&recurs, "task.completed")] {
            let history = user.history(task).await;
            assert_eq!(history.iter().filter(|found| *found == action).count(), 1, "{history:?}");
        }
        let successors = user.tasks().await.iter().filter(|task| task["title"] == "recurs").count();
        assert_eq!(successors, 2);
    });
}

#[test]
fn a_scheduler_that_lost_its_data_costs_no_reminder() {
    alone(async |world| {
        let user = world.user();
        let scheduler = &world.topology.scheduler;
        let mut tasks = vec![user.remind("while it was away", user.in_ms(3_000).await).await];
        for number in 0..5 {
            let at = user.in_ms(25_000 + 500 * number).await;
            tasks.push(user.remind(&format!("after it came back {number}"), at).await);
        }
        user.settled().await;
        scheduler.process.kill9();
        world.clock_reaches(user.in_ms(4_000).await).await;
        scheduler.wipe().unwrap_or_else(|error| panic!("{error:#}"));

        world.mail_about(&user, "while it was away").await;
        for task in &tasks {
            let mail = world.mail_about(&user, task["title"].as_str().unwrap_or_default()).await;
            assert!(mail.accepted_at >= instant(&task["reminders"][0]["remind_at"]), "{mail:?}");
        }
        user.settled().await;
        assert_eq!(world.mails(&user).len(), tasks.len(), "{:?}", world.subjects(&user));
        for task in &tasks {
            let fired = world.count(
                "select count(*) from task_events where task_id = $1 and type = 'reminder.due'",
                id(&task["id"]),
            );
            assert_eq!(fired.await, 1);
        }
    });
}
