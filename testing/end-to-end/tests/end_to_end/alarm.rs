//! `alarm` and the arming window with the real scheduler: jobs that an older release armed at `reminder-due`, and years of reminders.

use std::{fs, path::Path, time::Duration};

use chrono::TimeDelta;
use lab::{dev, wait};
use serde_json::{Value, json};
use shared::{reminder::ReminderJob, sidecar::Jobs};
use uuid::Uuid;

use crate::{
    product::{RunningProduct, SOON, alone, beside_others},
    user::{id, instant},
};

fn job_of(task: &Value) -> ReminderJob {
    let reminder = &task["reminders"][0];
    ReminderJob { reminder_id: id(&reminder["id"]), version: 1, due_at: instant(&reminder["remind_at"]) }
}

/// Arms a job at `reminder-due`, as a release before `alarm` did.
async fn arm_as_before(product: &RunningProduct, job: &ReminderJob) {
    let jobs = product.sidecar("reminder-due").delivery_jobs;
    jobs.arm(&job.name().to_string(), job.due_at, &json!(job)).await.expect("Dapr accepts the job");
}

/// Whether there is a job of this name. Asking for one that is missing schedules it, years ahead, and deletes it again.
async fn exists(product: &RunningProduct, jobs: &Jobs, name: &str) -> bool {
    let years_ahead = product.now().await + TimeDelta::days(3 * 365);
    let missing = jobs.arm_if_missing(name, years_ahead, &json!({})).await.expect("Dapr answers");
    if missing {
        jobs.disarm(name).await.expect("Dapr answers");
    }
    !missing
}

#[test]
fn a_reminder_armed_at_both_app_ids_or_only_at_the_former_one_fires_once() {
    beside_others(async |product| {
        let user = product.user();
        let due = user.in_ms(6_000).await;
        let both = user.remind("armed at both", due).await;
        let former = user.remind("armed at the former one", due).await;
        user.settled().await;
        for task in [&both, &former] {
            arm_as_before(product, &job_of(task)).await;
        }
        let job = job_of(&former);
        product.sidecar("alarm").reminder_jobs.disarm(&job.name().to_string()).await.expect("Dapr answers");
        assert!(product.now().await < due, "the machine is too slow for this test");
        for task in [&both, &former] {
            let mail = product.mail_about(&user, task["title"].as_str().unwrap_or_default()).await;
            assert!(mail.accepted_at >= due, "{mail:?}");
        }
        user.settled().await;
        assert_eq!((user.events("reminder.due").await, product.mails(&user).len()), (2, 2));
    });
}

#[test]
fn a_job_at_the_former_app_id_waits_for_alarm() {
    alone(async |product| {
        let user = product.user();
        product.without_repair();
        let task = user.remind("alarm is away", user.in_ms(3_600_000).await).await;
        user.settled().await;
        let alarm = &product.function("alarm").process;
        alarm.kill9();
        let now = product.now().await;
        sqlx::query("update task_reminders set remind_at = $2 where id = $1")
            .bind(job_of(&task).reminder_id)
            .bind(now)
            .execute(&product.db)
            .await
            .expect("the database answers");
        arm_as_before(product, &ReminderJob { due_at: now, ..job_of(&task) }).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(user.events("reminder.due").await, 0);
        alarm.start().expect("it starts");
        product.mail_about(&user, "alarm is away").await;
        user.settled().await;
        assert_eq!((user.events("reminder.due").await, product.mails(&user).len()), (1, 1));
    });
}

#[test]
fn repair_arms_at_alarm_and_deletes_the_jobs_of_an_older_release_once() {
    alone(async |product| {
        let user = product.user();
        product.without_repair();
        let near = user.remind("near", user.in_ms(20_000).await).await;
        let far = user.remind("far", user.in_ms(90 * 24 * 3_600_000).await).await;
        user.settled().await;
        let sidecar = product.sidecar("upkeep");
        let retry = format!("delivery-{}-1", Uuid::new_v4());
        let years_ahead = product.now().await + TimeDelta::days(1_000);
        let data = json!({"delivery_id": Uuid::nil()});
        sidecar.delivery_jobs.arm(&retry, years_ahead, &data).await.expect("Dapr accepts the job");
        for task in [&near, &far] {
            arm_as_before(product, &job_of(task)).await;
        }
        // The state that the previous release leaves.
        let name = job_of(&near).name().to_string();
        sidecar.reminder_jobs.disarm(&name).await.expect("Dapr answers");
        let forget = "update task_reminders set armed_version = null where user_id = $1";
        sqlx::query(forget).bind(user.id).execute(&product.db).await.expect("the database answers");
        let upgrade = "delete from marks where name = 'alarm-took-over'";
        sqlx::query(upgrade).execute(&product.db).await.expect("the database answers");

        product.repair_now().await;
        for task in [&near, &far] {
            let name = job_of(task).name().to_string();
            assert!(!exists(product, &sidecar.delivery_jobs, &name).await, "{name} is still at reminder-due");
        }
        assert!(exists(product, &sidecar.delivery_jobs, &retry).await, "the retry of a delivery was deleted");
        assert!(exists(product, &sidecar.reminder_jobs, &name).await, "the job is not at alarm");
        assert!(
            !exists(product, &sidecar.reminder_jobs, &job_of(&far).name().to_string()).await,
            "armed 90 days ahead"
        );
        sidecar.delivery_jobs.disarm(&retry).await.expect("Dapr answers");
        let mail = product.mail_about(&user, "near").await;
        assert!(mail.accepted_at >= job_of(&near).due_at, "{mail:?}");
        user.settled().await;

        // A later repair deletes nothing more.
        arm_as_before(product, &job_of(&far)).await;
        product.repair_now().await;
        let name = job_of(&far).name().to_string();
        assert!(exists(product, &sidecar.delivery_jobs, &name).await, "the job was deleted again");
        sidecar.delivery_jobs.disarm(&name).await.expect("Dapr answers");
    });
}

/// Resident memory of the scheduler in MB, and the size of its etcd.
fn scheduler(product: &RunningProduct) -> (u64, u64) {
    let pid = product.topology.scheduler.process.pid().expect("it runs");
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("Linux");
    let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    let kilobytes: u64 = rss.trim().trim_end_matches(" kB").parse().expect("a number");
    (kilobytes >> 10, size(&dev().join(&product.topology.options.name).join("scheduler")) >> 20)
}

fn size(path: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(path) else { return fs::metadata(path).map_or(0, |file| file.len()) };
    entries.map(|entry| size(&entry.expect("an entry").path())).sum()
}

/// Inserts live reminders of a user at even distances over three years, by SQL.
async fn insert(product: &RunningProduct, task: &Value, user: Uuid, number: i32) {
    sqlx::query(
        "insert into task_reminders (id, task_id, user_id, remind_at)
         select gen_random_uuid(), $1, $2, now() + interval '1 hour' + interval '3 years' * n / $3 from generate_series(1, $3) n",
    )
    .bind(id(&task["id"]))
    .bind(user)
    .bind(number)
    .execute(&product.db)
    .await
    .expect("the database answers");
}

/// 100,000 reminders over three years cost the scheduler what 3,000 cost it: the jobs of 25 hours.
#[test]
fn the_scheduler_holds_only_the_jobs_of_25_hours_of_three_years_of_reminders() {
    alone(async |product| {
        let user = product.user();
        let task = user.create(json!({"title": "for years"})).await;
        user.settled().await;
        product.without_repair();
        let armed = "select count(*) from task_reminders where user_id = $1 and armed_version = version";
        let window =
            "select count(*) from task_reminders where user_id = $1 and remind_at <= now() + interval '25 hours'";
        let mut measured = Vec::new();
        for number in [3_000, 97_000] {
            insert(product, &task, user.id, number).await;
            let repaired = product.repair_now().await;
            let (armed, window) = (user.count(armed).await, user.count(window).await);
            assert!(armed <= window && armed + 2 >= window, "{armed} armed of {window} in the window");
            measured.push(scheduler(product));
            eprintln!(
                "{number} more reminders: {repaired:?}, {armed} armed, scheduler (MB, MB of etcd) {:?}",
                measured.last()
            );
        }
        let (few, many) = (measured[0], measured[1]);
        assert!(many.0 <= few.0 + 20, "memory {few:?} with 3,000 reminders, {many:?} with 100,000");
        assert!(many.1 <= few.1 + 8, "etcd {few:?} with 3,000 reminders, {many:?} with 100,000");

        // 5,000 of them move into the window by SQL: the next repair arms all of them.
        sqlx::query(
            "update task_reminders set version = version + 1, remind_at = now() + interval '24 hours' * random() + interval '1 hour'
             where id in (select id from task_reminders where user_id = $1 and armed_version is null limit 5000)",
        )
        .bind(user.id)
        .execute(&product.db)
        .await
        .expect("the database answers");
        let before = user.count(armed).await;
        wait::until("the moved reminders are armed", SOON, async || {
            let repaired = product.repair_now().await;
            let missing = 5_000 + before - user.count(armed).await;
            if missing == 0 { Ok(()) } else { Err(format!("{missing} are not armed after {repaired:?}")) }
        })
        .await;
        eprintln!("5,000 more in the window: scheduler (MB, MB of etcd) {:?}", scheduler(product));

        // They must not fire in other tests.
        let names: Vec<String> =
            sqlx::query_scalar("delete from task_reminders where user_id = $1 returning coalesce(job_id, '')")
                .bind(user.id)
                .fetch_all(&product.db)
                .await
                .expect("the database answers");
        let jobs = product.sidecar("alarm").reminder_jobs;
        for name in names.iter().filter(|name| !name.is_empty()) {
            jobs.disarm(name).await.expect("Dapr answers");
        }
    });
}
