//! Which reminders get a job, when, and how late a reminder can be. The daprds of `alarm` and `reminder-due` are in memory.
//!
//! No clock is faked: "repair pauses for 12 hours" moves every instant in the rows and every job 12 hours into the past.

use std::collections::BTreeSet;

use axum::http::StatusCode;
use chrono::{DateTime, TimeDelta, Utc};
use shared::{
    App,
    reminder::{ReminderJob, ReminderJobName, align, record_armed},
    schema::TaskRef,
    serve::complete,
    testing::{Dapr, app, app_with, count, execute, post, reminder, task, user, waits_for_lock},
};
use sqlx::PgPool;
use upkeep::repair::{Settings, run};
use uuid::Uuid;

const SETTINGS: Settings = Settings { repair_interval_seconds: 300, repair_after_seconds: 120 };

/// A database, and the daprds of `upkeep`, `alarm` and `reminder-due`.
struct Plane {
    db: PgPool,
    app: App,
    alarm: Dapr,
    reminder_due: Dapr,
    task: TaskRef,
}

impl Plane {
    async fn new(db: &PgPool) -> Self {
        let (own, alarm, reminder_due) = (Dapr::start().await, Dapr::start().await, Dapr::start().await);
        let app = app_with(db, &own, &alarm, &reminder_due);
        let task = task(db, user(db).await).await;
        Self { db: db.clone(), app, alarm, reminder_due, task }
    }

    async fn repair(&self) {
        run(&self.app, &SETTINGS).await.unwrap();
    }

    /// Calls `upkeep`'s arming job through its route.
    async fn arming_job(&self) -> StatusCode {
        post(&complete(upkeep::router(self.app.clone()), self.app.clone()), "/job/arming", "{}").await
    }

    async fn reminder(&self, from_now: TimeDelta) -> Uuid {
        reminder(&self.db, &self.task, now(&self.db).await + from_now).await
    }

    /// Inserts `number` reminders at equal distances, the first at `from` and the last at `to`.
    async fn reminders(&self, number: i32, from: TimeDelta, to: TimeDelta) {
        sqlx::query(
            "insert into task_reminders (id, task_id, user_id, remind_at)
             select gen_random_uuid(), $1, $2, now() + $3 + ($4 - $3) * ((n - 1)::float8 / ($5 - 1)) from generate_series(1, $5) n",
        )
        .bind(self.task.task_id)
        .bind(self.task.user_id)
        .bind(from)
        .bind(to)
        .bind(number)
        .execute(&self.db)
        .await
        .unwrap();
    }

    /// The reminders that have a job at `alarm` for their version and instant.
    async fn armed(&self) -> BTreeSet<Uuid> {
        let jobs = self.alarm.jobs();
        let rows: Vec<(Uuid, i32, DateTime<Utc>)> =
            sqlx::query_as("select id, version, remind_at from task_reminders").fetch_all(&self.db).await.unwrap();
        let armed = rows.into_iter().filter(|(reminder_id, version, at)| {
            let name = ReminderJobName { reminder_id: *reminder_id, version: *version }.to_string();
            jobs.get(&name).is_some_and(|job| job.due == Some(*at))
        });
        armed.map(|(id, ..)| id).collect()
    }

    /// Lets `time` pass while only the scheduler runs. It calls the due jobs, so those reminders fire.
    async fn passes(&self, time: TimeDelta) {
        let armed: Vec<Uuid> = self.armed().await.into_iter().collect();
        sqlx::query(
            "update task_reminders
             set remind_at = remind_at - $1,
                 fired_version = case when id = any($2) and remind_at - $1 <= now() then version else fired_version end,
                 fired_at = case when id = any($2) and remind_at - $1 <= now() then remind_at - $1 else fired_at end",
        )
        .bind(time)
        .bind(&armed)
        .execute(&self.db)
        .await
        .unwrap();
        self.alarm.shift(-time);
    }

    /// How late the oldest reminder is that is overdue and has not fired.
    async fn lateness(&self) -> Option<TimeDelta> {
        let oldest: Option<DateTime<Utc>> = sqlx::query_scalar(
            "select min(remind_at) from task_reminders
             where reminder_is_live(state, version, fired_version) and remind_at <= now()",
        )
        .fetch_one(&self.db)
        .await
        .unwrap();
        Some(now(&self.db).await - oldest?)
    }

    /// Lets the scheduler call every due job. Returns how many overdue reminders have not fired.
    async fn unfired(&self) -> i64 {
        self.passes(TimeDelta::zero()).await;
        count(
            &self.db,
            // The minute excludes reminders that became due during the test.
            "select count(*) from task_reminders
             where reminder_is_live(state, version, fired_version) and remind_at <= now() - interval '1 minute'",
        )
        .await
    }
}

async fn now(db: &PgPool) -> DateTime<Utc> {
    sqlx::query_scalar("select now()").fetch_one(db).await.unwrap()
}

async fn row(db: &PgPool, id: Uuid) -> (Option<String>, Option<i32>) {
    sqlx::query_as("select job_id, armed_version from task_reminders where id = $1")
        .bind(id)
        .fetch_one(db)
        .await
        .unwrap()
}

async fn set(db: &PgPool, statement: &'static str, id: Uuid) {
    sqlx::query(statement).bind(id).execute(db).await.unwrap();
}

async fn told_armed(db: &PgPool) -> i64 {
    count(db, "select count(*) from audit_logs where action = 'reminder.armed'").await
}

/// Aligns and records the task's jobs as a handler does.
async fn handle(plane: &Plane) {
    let aligned = align(&plane.app, plane.task.task_id).await.unwrap();
    aligned.record(&mut plane.db.acquire().await.unwrap()).await.unwrap();
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_handler_arms_only_reminders_due_within_25_hours(db: PgPool) {
    let plane = Plane::new(&db).await;
    let near = plane.reminder(TimeDelta::hours(25) - TimeDelta::minutes(1)).await;
    let far = plane.reminder(TimeDelta::hours(25) + TimeDelta::minutes(1)).await;
    let past = plane.reminder(-TimeDelta::hours(1)).await;
    for _ in 0..2 {
        handle(&plane).await;
        assert_eq!(plane.armed().await, BTreeSet::from([near, past]));
        assert_eq!(row(&db, near).await, (Some(format!("reminder-{near}-1")), Some(1)));
        assert_eq!(row(&db, far).await, (None, None));
        assert_eq!(told_armed(&db).await, 2);
    }
    // Moved out of the window: the job of the old version is deleted, and no new one is scheduled.
    execute(&db, "update task_reminders set version = 2, remind_at = now() + interval '26 hours'").await;
    handle(&plane).await;
    assert!(plane.alarm.jobs().is_empty());
    assert_eq!(row(&db, near).await, (None, Some(1)));
    // Moved back into the window.
    execute(&db, "update task_reminders set version = 3, remind_at = now() + interval '24 hours'").await;
    handle(&plane).await;
    assert_eq!(plane.armed().await, BTreeSet::from([near, far, past]));
    assert_eq!(row(&db, far).await, (Some(format!("reminder-{far}-3")), Some(3)));
}

/// Inserts `number` reminders that the user cancelled before they were armed.
async fn cancelled(plane: &Plane, number: i32) {
    sqlx::query(
        "insert into task_reminders (id, task_id, user_id, remind_at, version, state, cancel_reason)
         select gen_random_uuid(), $1, $2, now() + interval '1 hour', 2, 'cancelled', 'user' from generate_series(1, $3)",
    )
    .bind(plane.task.task_id)
    .bind(plane.task.user_id)
    .bind(number)
    .execute(&plane.db)
    .await
    .unwrap();
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_reminder_is_aligned_once_in_each_version_and_costs_no_call_afterwards(db: PgPool) {
    let plane = Plane::new(&db).await;
    let near = plane.reminder(TimeDelta::hours(1)).await;
    let far = plane.reminder(TimeDelta::days(30)).await;
    cancelled(&plane, 1_000).await;
    handle(&plane).await;
    // One job is armed. Of each cancelled reminder, the jobs of its two versions are deleted.
    assert_eq!((plane.armed().await, plane.alarm.calls()), (BTreeSet::from([near]), 1 + 2_000));
    for _ in 0..3 {
        handle(&plane).await;
    }
    assert_eq!(plane.alarm.calls(), 2_001);

    // Another version of one reminder costs the calls of that reminder: its new job, and the one before.
    set(&db, "update task_reminders set version = 2, remind_at = now() + interval '2 hours' where id = $1", near).await;
    handle(&plane).await;
    assert_eq!((plane.alarm.names(), plane.alarm.calls()), (vec![format!("reminder-{near}-2")], 2_003));

    // A reminder that was aligned outside the window is armed when it enters it.
    plane.passes(TimeDelta::days(29)).await;
    assert_eq!(plane.arming_job().await, StatusCode::OK);
    assert!(plane.armed().await.contains(&far));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_late_handler_does_not_record_a_newer_version_as_aligned(db: PgPool) {
    let plane = Plane::new(&db).await;
    let id = plane.reminder(TimeDelta::hours(1)).await;
    let late = align(&plane.app, plane.task.task_id).await.unwrap();
    set(&db, "update task_reminders set version = 2, remind_at = now() + interval '2 hours' where id = $1", id).await;
    late.record(&mut db.acquire().await.unwrap()).await.unwrap();
    assert_eq!(row(&db, id).await, (None, None));
    handle(&plane).await;
    assert_eq!((plane.armed().await, row(&db, id).await.1), (BTreeSet::from([id]), Some(2)));
    assert_eq!(plane.alarm.names(), [format!("reminder-{id}-2")]);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_command_and_the_record_of_a_handler_lock_reminders_in_the_same_order(db: PgPool) {
    let plane = Plane::new(&db).await;
    let mut ids = [plane.reminder(TimeDelta::hours(1)).await, plane.reminder(TimeDelta::hours(1)).await];
    ids.sort();
    let cancel = "update task_reminders set version = 2, state = 'cancelled', cancel_reason = 'completed',
                  job_id = 'reminder-' || id || '-1' where id = $1";
    set(&db, cancel, ids[1]).await;
    let aligned = align(&plane.app, plane.task.task_id).await.unwrap();

    let lock = "select from task_reminders where id = $1 for no key update";
    let mut command = db.begin().await.unwrap();
    sqlx::query(lock).bind(ids[0]).execute(&mut *command).await.unwrap();
    let recording = tokio::spawn({
        let db = db.clone();
        async move {
            let mut tx = db.begin().await.unwrap();
            aligned.record(&mut tx).await.unwrap();
            tx.commit().await.unwrap();
        }
    });
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    // PostgreSQL looks for a deadlock after a second.
    let second = sqlx::query(lock).bind(ids[1]).execute(&mut *command);
    let locked = tokio::time::timeout(std::time::Duration::from_millis(500), second).await;
    locked.expect("the command waits for the record, which waits for the command").unwrap();
    command.commit().await.unwrap();
    recording.await.unwrap();
    assert_eq!((row(&db, ids[0]).await.1, row(&db, ids[1]).await), (Some(1), (None, None)));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn repair_updates_a_recurring_job_whose_schedule_changed_and_touches_no_other(db: PgPool) {
    let dapr = Dapr::start().await;
    let app = app_with(&db, &dapr, &dapr, &dapr);
    app.sidecar.own_jobs.repeat("retention", "0 0 1 * * *").await.unwrap();
    run(&app, &SETTINGS).await.unwrap();
    assert_eq!(dapr.jobs()["retention"].schedule.as_deref(), Some("0 30 3 * * *"));
    let scheduled = dapr.scheduled();
    run(&app, &SETTINGS).await.unwrap();
    assert_eq!(dapr.scheduled(), scheduled);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn repair_and_the_arming_job_arm_reminders_that_enter_the_window(db: PgPool) {
    let plane = Plane::new(&db).await;
    let far = plane.reminder(TimeDelta::hours(25) + TimeDelta::minutes(1)).await;
    let further = plane.reminder(TimeDelta::hours(31)).await;
    plane.repair().await;
    assert_eq!(plane.arming_job().await, StatusCode::OK);
    assert!(plane.armed().await.is_empty());

    plane.passes(TimeDelta::minutes(2)).await;
    plane.repair().await;
    assert_eq!(plane.armed().await, BTreeSet::from([far]));
    assert_eq!((row(&db, far).await.1, told_armed(&db).await), (Some(1), 1));

    plane.passes(TimeDelta::hours(6)).await;
    let scheduled = plane.alarm.scheduled();
    for _ in 0..2 {
        assert_eq!(plane.arming_job().await, StatusCode::OK);
        assert_eq!(plane.armed().await, BTreeSet::from([far, further]));
        // A reminder that is armed in its current version is not armed again.
        assert_eq!(plane.alarm.scheduled(), scheduled + 1);
    }
    assert_eq!((row(&db, further).await.1, told_armed(&db).await), (Some(1), 2));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn without_the_scheduler_the_arming_job_is_retried_and_records_nothing(db: PgPool) {
    let plane = Plane::new(&db).await;
    let id = plane.reminder(TimeDelta::hours(1)).await;
    plane.alarm.set_away(true);
    assert_eq!(plane.arming_job().await, StatusCode::SERVICE_UNAVAILABLE);
    assert!(run(&plane.app, &SETTINGS).await.is_err());
    assert_eq!((row(&db, id).await, told_armed(&db).await), ((None, None), 0));
    let took_over = "select count(*) from marks where name = 'alarm-took-over'";
    assert_eq!(count(&db, took_over).await, 0);
    plane.alarm.set_away(false);
    assert_eq!(plane.arming_job().await, StatusCode::OK);
    assert_eq!(plane.armed().await, BTreeSet::from([id]));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn repair_arms_reminders_due_within_two_intervals_again_if_their_job_is_lost(db: PgPool) {
    let plane = Plane::new(&db).await;
    let (soon, later) = (plane.reminder(TimeDelta::minutes(9)).await, plane.reminder(TimeDelta::minutes(12)).await);
    plane.repair().await;
    plane.alarm.wipe();
    assert_eq!(plane.arming_job().await, StatusCode::OK);
    assert!(plane.alarm.jobs().is_empty());
    plane.repair().await;
    assert_eq!(plane.armed().await, BTreeSet::from([soon]));
    plane.passes(TimeDelta::minutes(5)).await;
    plane.repair().await;
    assert_eq!(plane.armed().await, BTreeSet::from([soon, later]));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_reminder_moved_while_it_is_armed_is_armed_in_its_new_version(db: PgPool) {
    let plane = Plane::new(&db).await;
    let id = plane.reminder(TimeDelta::hours(1)).await;
    let job = ReminderJob { reminder_id: id, version: 1, due_at: now(&db).await };
    job.arm(&plane.app.sidecar).await.unwrap();
    // A command moves the reminder between the call to the scheduler and the record.
    let mut command = db.begin().await.unwrap();
    let moves = "update task_reminders set version = 2, remind_at = remind_at + interval '1 hour'";
    sqlx::query(moves).execute(&mut *command).await.unwrap();
    let recording = tokio::spawn({
        let db = db.clone();
        async move { record_armed(&mut db.acquire().await.unwrap(), &[job]).await.unwrap() }
    });
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert!(!recording.is_finished(), "it must wait for the command");
    command.commit().await.unwrap();
    recording.await.unwrap();
    assert_eq!(row(&db, id).await, (None, None));
    plane.repair().await;
    assert_eq!(plane.armed().await, BTreeSet::from([id]));
    assert_eq!(row(&db, id).await, (Some(format!("reminder-{id}-2")), Some(2)));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_reminder_erased_while_it_is_armed_is_not_audited(db: PgPool) {
    let plane = Plane::new(&db).await;
    let id = plane.reminder(TimeDelta::hours(1)).await;
    let job = ReminderJob { reminder_id: id, version: 1, due_at: now(&db).await };
    let mut erasure = db.begin().await.unwrap();
    sqlx::query("delete from task_reminders").execute(&mut *erasure).await.unwrap();
    let recording = tokio::spawn({
        let db = db.clone();
        async move { record_armed(&mut db.acquire().await.unwrap(), &[job]).await.unwrap() }
    });
    waits_for_lock(&db, &recording).await;
    assert!(!recording.is_finished(), "it must wait for the erasure");
    erasure.commit().await.unwrap();
    recording.await.unwrap();
    assert_eq!(told_armed(&db).await, 0);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn reminders_years_ahead_have_no_job(db: PgPool) {
    let plane = Plane::new(&db).await;
    plane.reminders(100_000, TimeDelta::minutes(1), TimeDelta::days(3 * 365)).await;
    plane.repair().await;
    // 25 hours out of three years.
    let window = count(&db, "select count(*) from task_reminders where remind_at <= now() + interval '25 hours'").await;
    assert!((90..110).contains(&window), "{window}");
    assert_eq!(i64::try_from(plane.alarm.jobs().len()).unwrap(), window);
    assert_eq!(plane.alarm.scheduled(), plane.alarm.jobs().len());
}

/// Moves 5,000 of the reminders that are far ahead to instants between now and `hours` ahead, by SQL.
async fn move_5000(db: &PgPool, hours: i32) {
    let moved = sqlx::query(
        "with moved as (select id, row_number() over (order by remind_at) as n from task_reminders
                        where remind_at > now() + interval '60 days' order by remind_at limit 5000)
         update task_reminders set version = version + 1, remind_at = now() + make_interval(mins => $1 * 60) * n / 5000
         from moved where task_reminders.id = moved.id",
    )
    .bind(hours)
    .execute(db)
    .await
    .unwrap();
    assert_eq!(moved.rows_affected(), 5_000);
}

/// Each case: the pause in hours, whether `upkeep`'s job runs, whether SQL moved the reminders into the window, and the maximum lateness.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn five_thousand_reminders_at_the_boundary_survive_pauses_and_are_late_by_at_most_the_promise(db: PgPool) {
    const NONE: TimeDelta = TimeDelta::zero();
    // Tolerance for the duration of the test itself.
    let slack = TimeDelta::minutes(2);
    for (pause, upkeeps_job, moved, bound) in [
        // Repair armed them before the pause: inside the window no reminder is late for 25 hours.
        (12, false, false, NONE),
        // 30 h minus the window of 25 h.
        (30, false, false, TimeDelta::hours(5)),
        // The job every 6 hours arms in time.
        (12, true, false, NONE),
        (30, true, false, NONE),
        // SQL moves them when the pause begins. The next check is at the end of the pause, or by the job after at most 6 hours.
        (12, false, true, TimeDelta::hours(12)),
        (30, false, true, TimeDelta::hours(30)),
        (12, true, true, TimeDelta::hours(6)),
        (30, true, true, TimeDelta::hours(6)),
    ] {
        let case = format!("{pause} h, upkeep's job {upkeeps_job}, moved {moved}");
        execute(&db, "truncate task_reminders, audit_logs").await;
        let plane = Plane::new(&db).await;
        plane.reminders(6_000, TimeDelta::days(61), TimeDelta::days(61 + 3 * 365)).await;
        let hours = pause + 1;
        if !moved {
            move_5000(&db, hours).await;
        }
        plane.repair().await;
        if moved {
            move_5000(&db, hours).await;
        }
        let mut latest = NONE;
        for passed in (3..=pause).step_by(3) {
            plane.passes(TimeDelta::hours(3)).await;
            latest = latest.max(plane.lateness().await.unwrap_or(NONE));
            if upkeeps_job && passed % 6 == 0 {
                assert_eq!(plane.arming_job().await, StatusCode::OK);
                assert_eq!(plane.unfired().await, 0, "{case}: everything overdue has fired");
            }
        }
        plane.repair().await;
        assert_eq!(plane.unfired().await, 0, "{case}: repair has everything fire that is overdue");
        assert!(latest <= bound + slack, "{case}: {latest} late");
        // The bound is tight.
        assert!(latest + slack >= bound, "{case}: only {latest} late");
        // No reminder is lost: the others fire on time.
        plane.passes(TimeDelta::hours(2)).await;
        let fired = count(&db, "select count(*) from task_reminders where fired_version = version").await;
        assert_eq!(fired, 5_000, "{case}");
    }
}

/// The scheduler's clock was two hours ahead. Its jobs were early, were told to call again, and now the clock is right.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn repair_replaces_the_job_of_an_overdue_reminder(db: PgPool) {
    let plane = Plane::new(&db).await;
    let overdue = plane.reminder(-TimeDelta::minutes(2)).await;
    plane.reminder(TimeDelta::minutes(2)).await;
    plane.repair().await;
    plane.alarm.shift(TimeDelta::hours(2));
    plane.repair().await;
    assert_eq!(plane.armed().await, BTreeSet::from([overdue]));
    assert_eq!(plane.alarm.names().len(), 2);
}

/// A delivery after one attempt, whose next one should have begun `overdue` ago.
async fn delivery(plane: &Plane, overdue: TimeDelta) -> Uuid {
    let of = plane.reminder(-TimeDelta::minutes(1)).await;
    sqlx::query_scalar(
        "insert into notification_deliveries
             (id, reminder_id, reminder_version, channel, user_id, task_id, event_id, state, next_attempt_at, attempts)
         select gen_random_uuid(), id, 1, 'email', user_id, task_id, gen_random_uuid(), 'retrying', now() - $2, 1
         from task_reminders where id = $1 returning id",
    )
    .bind(of)
    .bind(overdue)
    .fetch_one(&plane.db)
    .await
    .unwrap()
}

/// The job has the instant by which even a scheduler an hour behind calls it.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn an_overdue_delivery_without_a_job_is_armed_for_now_under_any_scheduler_clock(db: PgPool) {
    let plane = Plane::new(&db).await;
    let id = delivery(&plane, TimeDelta::seconds(20)).await;

    plane.repair().await;

    let due = plane.reminder_due.jobs()[&format!("delivery-{id}-1")].due.unwrap();
    assert!(due <= now(&db).await - TimeDelta::hours(1), "{due}");
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn an_overdue_delivery_that_cannot_be_armed_does_not_stop_the_others(db: PgPool) {
    let plane = Plane::new(&db).await;
    let oldest = delivery(&plane, TimeDelta::seconds(30)).await;
    let other = delivery(&plane, TimeDelta::seconds(20)).await;
    plane.reminder_due.refuse(format!("delivery-{oldest}-1"));

    let told = run(&plane.app, &SETTINGS).await.unwrap_err();

    assert!(format!("{told:#}").contains("schedule job"), "{told:#}");
    assert_eq!(plane.reminder_due.names(), [format!("delivery-{other}-1")]);
}

/// Arms a reminder as a release before `alarm` does: at `reminder-due`, however far ahead, and recorded without a version.
async fn armed_by_the_release_before(plane: &Plane, id: Uuid) {
    let before = app_with(&plane.db, &plane.reminder_due, &plane.reminder_due, &plane.reminder_due);
    let (version, due_at) = sqlx::query_as("select version, remind_at from task_reminders where id = $1")
        .bind(id)
        .fetch_one(&plane.db)
        .await
        .unwrap();
    let job = ReminderJob { reminder_id: id, version, due_at };
    job.arm(&before.sidecar).await.unwrap();
    sqlx::query("update task_reminders set job_id = $2 where id = $1")
        .bind(id)
        .bind(job.name().to_string())
        .execute(&plane.db)
        .await
        .unwrap();
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn an_upgrade_arms_reminders_at_alarm_and_deletes_the_jobs_at_reminder_due_once(db: PgPool) {
    let plane = Plane::new(&db).await;
    let (near, far) = (plane.reminder(TimeDelta::hours(2)).await, plane.reminder(TimeDelta::days(90)).await);
    for id in [near, far] {
        armed_by_the_release_before(&plane, id).await;
    }
    let retry = format!("delivery-{}-1", Uuid::new_v4());
    let data = serde_json::json!({});
    plane.app.sidecar.delivery_jobs.arm(&retry, now(&db).await, &data).await.unwrap();

    // No job is deleted before `alarm` has its jobs, or while the deletion fails.
    plane.alarm.set_away(true);
    assert!(run(&plane.app, &SETTINGS).await.is_err());
    assert_eq!(plane.reminder_due.jobs().len(), 3);
    plane.alarm.set_away(false);
    plane.reminder_due.set_away(true);
    assert!(run(&plane.app, &SETTINGS).await.is_err());
    assert_eq!(plane.armed().await, BTreeSet::from([near]));
    plane.reminder_due.set_away(false);
    plane.repair().await;
    assert_eq!((plane.armed().await, plane.reminder_due.names()), (BTreeSet::from([near]), vec![retry.clone()]));

    // The jobs are deleted only once. Jobs that a rollback arms there later stay, and `reminder-due` forwards them.
    let after = plane.reminder(TimeDelta::hours(3)).await;
    armed_by_the_release_before(&plane, after).await;
    plane.repair().await;
    assert_eq!(plane.reminder_due.jobs().len(), 2);
    assert_eq!(plane.armed().await, BTreeSet::from([near, after]));
}

/// Repairs as the previous release does: arms reminders that are due within two intervals and have no job at `reminder-due`.
async fn repair_of_the_release_before(plane: &Plane) {
    let before = app_with(&plane.db, &plane.reminder_due, &plane.reminder_due, &plane.reminder_due);
    for job in upkeep::arming::due(&plane.db, now(&plane.db).await, &SETTINGS, None).await.unwrap() {
        job.arm_if_missing(&before.sidecar).await.unwrap();
    }
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_rollback_arms_every_reminder_at_reminder_due_and_the_next_upgrade_at_alarm(db: PgPool) {
    let plane = Plane::new(&db).await;
    let soon = plane.reminder(TimeDelta::minutes(8)).await;
    let later = plane.reminder(TimeDelta::hours(5)).await;
    let far = plane.reminder(TimeDelta::hours(40)).await;
    plane.repair().await;
    assert_eq!(plane.armed().await, BTreeSet::from([soon, later]));

    // After a rollback `alarm`'s daprd is gone, and its jobs wait in the scheduler.
    repair_of_the_release_before(&plane).await;
    assert_eq!(plane.reminder_due.names(), [format!("reminder-{soon}-1")]);
    // A command of the older release moves one reminder out of the window and one into it. It raises the version and arms at
    // `reminder-due`.
    let moves = "update task_reminders set version = 2, remind_at = now() + interval '3 hours' where id = $1";
    sqlx::query(moves).bind(far).execute(&db).await.unwrap();
    armed_by_the_release_before(&plane, far).await;

    // Upgraded again.
    plane.repair().await;
    assert_eq!(plane.armed().await, BTreeSet::from([soon, later, far]));
    assert_eq!(row(&db, far).await, (Some(format!("reminder-{far}-2")), Some(2)));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_job_that_the_previous_release_arms_during_the_take_over_loses_no_reminder(db: PgPool) {
    let plane = Plane::new(&db).await;
    plane.repair().await;
    execute(&db, "delete from marks where name = 'alarm-took-over'").await;
    // This reminder is committed and armed after `arming` has read the rows and before the deletion.
    let id = plane.reminder(TimeDelta::minutes(1)).await;
    armed_by_the_release_before(&plane, id).await;
    upkeep::arming::take_over(&plane.app, now(&db).await).await.unwrap();
    assert!(plane.reminder_due.jobs().is_empty());
    assert_eq!(plane.armed().await, BTreeSet::from([id]));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn the_take_over_deletes_no_job_where_one_daprd_owns_all_jobs(db: PgPool) {
    let (dapr, of) = (Dapr::start().await, task(&db, user(&db).await).await);
    let id = reminder(&db, &of, Utc::now() + TimeDelta::hours(1)).await;
    let app = app_with(&db, &dapr, &dapr, &dapr);
    for _ in 0..2 {
        run(&app, &SETTINGS).await.unwrap();
        assert!(dapr.names().contains(&format!("reminder-{id}-1")));
    }
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn without_the_database_the_arming_job_is_retried(db: PgPool) {
    let closed = sqlx::postgres::PgPoolOptions::new().connect_lazy_with(db.connect_options().as_ref().clone());
    closed.close().await;
    let app = app(&closed);
    let routes = complete(upkeep::router(app.clone()), app);
    assert_eq!(post(&routes, "/job/arming", "{}").await, StatusCode::SERVICE_UNAVAILABLE);
}
