//! A process may die at any moment; nothing that was acknowledged is lost and nothing happens twice.

use std::{fs, thread, time::Duration};

use serde_json::json;
use tokio::time::Instant;

use crate::{
    user::{id, text},
    wait::{self, until_equal},
    world::{SOON, World, alone},
};

async fn tasks_answers(world: &World) {
    let process = &world.function("tasks").process;
    process.wait_ready(SOON).unwrap_or_else(|error| panic!("{error:#}"));
}

#[test]
fn killing_tasks_right_after_its_answers_loses_nothing() {
    alone(async |world| {
        let user = world.user();
        world.without_repair();
        let mut tasks = Vec::new();
        for number in 0..12 {
            let task = user.create(json!({"title": format!("kept {number}")})).await;
            world.kill_and_start("tasks");
            tasks.push(task);
            tasks_answers(world).await;
        }
        user.settled().await;
        for task in &tasks {
            assert_eq!(user.history(task).await, ["task.created"]);
        }
        assert_eq!(user.tasks().await.len(), tasks.len());
    });
}

#[test]
fn what_tasks_committed_and_could_not_publish_before_it_died_is_published_by_the_next_one_or_by_repair() {
    alone(async |world| {
        let user = world.user();
        let unpublished = "select count(*) from task_events where user_id = $1 and published_at is null";

        world.without_repair(); // the next process must do it by itself
        world.topology.daprd("tasks").process.kill9();
        let first = user.remind("the next one", user.in_ms(1_000).await).await;
        world.function("tasks").process.kill9();
        assert_eq!(user.count(unpublished).await, 1);
        world.function("tasks").process.start().expect("it starts");
        world.topology.daprd("tasks").process.start().expect("it starts");
        user.settled().await;

        tasks_answers(world).await;
        world.topology.daprd("tasks").process.kill9();
        let second = user.remind("repair", user.in_ms(1_000).await).await;
        world.function("tasks").process.kill9(); // and stays away: repair has a daprd of its own
        assert_eq!(user.count(unpublished).await, 1);
        world.topology.repair.as_ref().expect("repair").start().expect("it starts");
        user.settled().await;
        world.mail_about(&user, "the next one").await;
        world.mail_about(&user, "repair").await;
        user.settled().await;

        world.function("tasks").process.start().expect("it starts");
        tasks_answers(world).await;
        for task in [first, second] {
            assert_eq!(user.history(&task).await.iter().filter(|what| *what == "task.created").count(), 1);
        }
        assert_eq!(world.mails(&user).len(), 2);
    });
}

#[test]
fn killing_alarm_and_reminder_due_while_reminders_fire_sends_each_once() {
    alone(async |world| {
        let user = world.user();
        world.without_repair();
        let begin = user.in_ms(2_000).await;
        let mut tasks = Vec::new();
        for number in 0..20 {
            let at = begin + chrono::TimeDelta::milliseconds(number * 150);
            tasks.push(user.remind(&format!("fired {number:02}"), at).await);
        }
        world.clock_reaches(begin - chrono::TimeDelta::milliseconds(200)).await;
        // Nobody answers a message at first, so that the first deaths meet attempts however fast the machine is.
        let smtp = &world.topology.smtp.as_ref().expect("an SMTP server").process;
        smtp.pause();
        let killing = Instant::now();
        let mut pause = 40;
        while killing.elapsed() < Duration::from_secs(9) {
            if killing.elapsed() > Duration::from_secs(4) {
                smtp.resume();
            }
            for function in ["alarm", "reminder-due"] {
                world.kill_and_start(function);
            }
            // Each life a little longer, so that death comes at every step.
            tokio::time::sleep(Duration::from_millis(pause)).await;
            pause = if pause > 400 { 40 } else { pause + 17 };
        }
        for task in &tasks {
            world.mail_about(&user, task["title"].as_str().unwrap_or_default()).await;
        }
        user.settled().await;

        let deliveries = user.deliveries().await;
        assert_eq!(deliveries.len(), tasks.len(), "one delivery each");
        let mut attempts = 0;
        for task in &tasks {
            let reminder = id(&task["reminders"][0]["id"]);
            let delivery = deliveries.iter().find(|found| found.reminder_id == reminder).expect("a delivery");
            let mails = world.mails_about(&user, task["title"].as_str().unwrap_or_default());
            // The stated exception: it died after the final dot, which the row knows.
            let allowed = if delivery.repeated { 1..=2 } else { 1..=1 };
            assert!(allowed.contains(&mails.len()), "{} mails: {delivery:?}", mails.len());
            let due: chrono::DateTime<chrono::Utc> = crate::user::instant(&task["reminders"][0]["remind_at"]);
            assert!(mails[0].accepted_at >= due, "due {due}: {mails:?}");
            attempts += delivery.attempts;
        }
        assert_eq!(user.events("reminder.due").await, 20);
        assert!(attempts > 20, "no attempt died: nothing was tested");
        println!("{} attempts died and were made again", attempts - 20);
    });
}

#[test]
fn a_function_that_is_asked_to_end_finishes_its_event_first() {
    alone(async |world| {
        let user = world.user();
        world.without_repair();
        let task = user.create(json!({"title": "in the middle"})).await;
        user.settled().await;
        let function = &world.function("task-changed").process;

        // Its handler waits for the lock of the user's row.
        let mut lock = world.db.begin().await.expect("the database answers");
        sqlx::query("select from users where id = $1 for update")
            .bind(user.id)
            .execute(&mut *lock)
            .await
            .expect("a lock");
        user.patch(&format!("/v1/tasks/{}", id(&task["id"])), json!({"title": "in the middle of it"})).await;
        until_equal("the handler is in the middle of it", SOON, 1, async || {
            let waits =
                "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query like '%feed_seq%'
                         and $1::uuid is not null";
            world.count(waits, user.id).await
        })
        .await;
        let began = Instant::now();
        thread::scope(|scope| {
            let stopping = scope.spawn(|| function.stop(Duration::from_secs(20)));
            while lab::http::connect(world.function("task-changed").port).is_ok() {
                thread::sleep(Duration::from_millis(10)); // it takes no new calls once it knows
            }
            assert!(function.pid().is_some(), "it did not wait for its event");
            drop(lock);
            stopping.join().expect("it stops");
        });
        assert!(began.elapsed() < Duration::from_secs(8), "it was killed after {:?}", began.elapsed());
        let log = fs::read_to_string(function.log()).unwrap_or_default();
        assert!(log.trim_end().ends_with("stopped"), "its last word is {:?}", log.lines().last());
        let handled = "select count(*) from feed where user_id = $1";
        assert_eq!(user.count(handled).await, 2, "finished before it stopped");

        function.start().expect("it starts");
        user.settled().await;
        assert_eq!(user.count(handled).await, 2, "and not done again");
        assert_eq!(user.count("select feed_seq from users where id = $1").await, 2);
        wait::until("it works again", SOON, async || {
            user.patch(&format!("/v1/tasks/{}", id(&task["id"])), json!({"due_at": text(user.in_ms(0).await)})).await;
            if user.count(handled).await > 2 { Ok(()) } else { Err("no feed".to_owned()) }
        })
        .await;
    });
}

#[test]
fn a_scheduler_that_dies_with_a_job_that_was_armed_twice_starts_again() {
    alone(async |world| {
        let user = world.user();
        let task = user.remind("armed twice", user.in_ms(15_000).await).await;
        user.settled().await;
        // Its function arms the same version of the reminder again: the scheduler has the job replaced.
        user.patch(&format!("/v1/tasks/{}", id(&task["id"])), json!({"priority": "high"})).await;
        user.settled().await;
        world.without_repair();
        world.topology.scheduler.process.kill9();
        world.topology.scheduler.process.start().expect("it starts");
        world.topology.scheduler.wait_ready().unwrap_or_else(|error| panic!("{error:#}"));
        world.mail_about(&user, "armed twice").await;
        user.settled().await;
        assert_eq!(world.mails(&user).len(), 1, "{:?}", world.subjects(&user));
    });
}
