//! The time limits of repair, with a fake clock. Repair also touches nothing when there is nothing to do.

use chrono::{DateTime, TimeDelta, Utc};
use shared::{
    schema::TaskCreated,
    testing::{Dapr, app_with, emitted, reminder, task, user},
};
use sqlx::{AssertSqlSafe, PgPool};
use upkeep::{
    arming::{due, unarmed},
    repair::{Settings, overdue, run, unpublish_unclaimed},
};
use uuid::Uuid;

const SETTINGS: Settings = Settings { repair_interval_seconds: 300, repair_after_seconds: 120 };
/// The resolution of PostgreSQL's timestamps.
const TICK: TimeDelta = TimeDelta::microseconds(1);

/// The current time at PostgreSQL's resolution.
fn now() -> DateTime<Utc> {
    DateTime::from_timestamp_micros(Utc::now().timestamp_micros()).unwrap()
}

async fn set(db: &PgPool, statement: &'static str, id: Uuid) {
    sqlx::query(statement).bind(id).execute(db).await.unwrap();
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn repair_arms_unfired_reminders_that_are_overdue_or_due_within_two_intervals(db: PgPool) {
    let of = task(&db, user(&db).await).await;
    let now = now();
    let edge = now + TimeDelta::seconds(600);
    let mut wanted = Vec::new();
    for due_at in [now - TimeDelta::days(400), now - TimeDelta::days(1), now - TICK, now, now + TICK, edge - TICK, edge]
    {
        wanted.push((reminder(&db, &of, due_at).await, due_at));
    }
    for due_at in [edge + TICK, edge + TimeDelta::days(400)] {
        reminder(&db, &of, due_at).await;
    }
    // Overdue, but never armed: fired, sent, given up, cancelled.
    for change in [
        "update task_reminders set fired_version = version where id = $1",
        "update task_reminders set state = 'sent', fired_version = version where id = $1",
        "update task_reminders set state = 'failed', fired_version = version where id = $1",
        "update task_reminders set state = 'cancelled', cancel_reason = 'user' where id = $1",
    ] {
        set(&db, change, reminder(&db, &of, now - TimeDelta::hours(1)).await).await;
    }
    let found = due(&db, now, &SETTINGS, None).await.unwrap();
    assert_eq!(found.iter().map(|job| (job.reminder_id, job.due_at)).collect::<Vec<_>>(), wanted);

    // Fired and then moved: the new version fires at its own time.
    let moved = reminder(&db, &of, now).await;
    set(&db, "update task_reminders set fired_version = 1, version = 2 where id = $1", moved).await;
    let found = due(&db, now, &SETTINGS, None).await.unwrap();
    assert!(found.iter().any(|job| (job.reminder_id, job.version) == (moved, 2)));

    // The result stays the same until the window reaches the next reminder.
    assert_eq!(due(&db, now, &SETTINGS, None).await.unwrap().len(), 8);
    assert_eq!(due(&db, now + TICK, &SETTINGS, None).await.unwrap().len(), 9);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn reminders_due_within_25_hours_enter_the_window_once_in_each_version(db: PgPool) {
    let of = task(&db, user(&db).await).await;
    let now = now();
    let edge = now + TimeDelta::hours(25);
    let mut wanted = Vec::new();
    for due_at in [now - TimeDelta::days(400), now, edge - TimeDelta::minutes(1), edge - TICK, edge] {
        wanted.push(reminder(&db, &of, due_at).await);
    }
    for due_at in [edge + TICK, edge + TimeDelta::minutes(1), edge + TimeDelta::days(400)] {
        reminder(&db, &of, due_at).await;
    }
    // Not armed again: armed in this version, fired, sent, given up, cancelled.
    for change in [
        "update task_reminders set armed_version = version where id = $1",
        "update task_reminders set fired_version = version where id = $1",
        "update task_reminders set state = 'sent', fired_version = version where id = $1",
        "update task_reminders set state = 'failed', fired_version = version where id = $1",
        "update task_reminders set state = 'cancelled', cancel_reason = 'user' where id = $1",
    ] {
        set(&db, change, reminder(&db, &of, now + TimeDelta::hours(1)).await).await;
    }
    let found = async |at| -> Vec<Uuid> {
        unarmed(&db, at, None).await.unwrap().into_iter().map(|job| job.reminder_id).collect()
    };
    assert_eq!(found(now).await, wanted);
    assert_eq!(found(now + TICK).await.len(), wanted.len() + 1);

    // Armed in another version: an older one, or a newer one because the database was restored.
    for armed in [1, 3] {
        let moved = reminder(&db, &of, now).await;
        sqlx::query("update task_reminders set version = 2, armed_version = $2 where id = $1")
            .bind(moved)
            .bind(armed)
            .execute(&db)
            .await
            .unwrap();
        assert!(found(now).await.contains(&moved));
    }
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn one_repair_arms_twenty_thousand_reminders(db: PgPool) {
    let of = task(&db, user(&db).await).await;
    let now = now();
    // Two reminders in each microsecond, so that a page ends between two of the same instant.
    sqlx::query(
        "insert into task_reminders (id, task_id, user_id, remind_at)
         select gen_random_uuid(), $1, $2, $3 + make_interval(secs => (n / 2) * 0.000001) from generate_series(1, 20001) n",
    )
    .bind(of.task_id)
    .bind(of.user_id)
    .bind(now - TimeDelta::hours(1))
    .execute(&db)
    .await
    .unwrap();
    let mut found = std::collections::BTreeSet::new();
    let mut last = None;
    loop {
        let page = due(&db, now, &SETTINGS, last.as_ref()).await.unwrap();
        found.extend(page.iter().map(|job| job.reminder_id));
        last = page.into_iter().last();
        if last.is_none() {
            break;
        }
    }
    assert_eq!(found.len(), 20_001);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_delivery_is_overdue_ten_seconds_after_its_time(db: PgPool) {
    let of = task(&db, user(&db).await).await;
    let of = reminder(&db, &of, Utc::now()).await;
    let now = now();
    let edge = now - TimeDelta::seconds(10);
    let mut wanted = Vec::new();
    for (version, (state, at, lease, is)) in [
        ("pending", edge - TICK, None, true),
        ("sending", edge - TICK, None, true),
        ("sending", edge - TICK, Some(edge - TICK), true),
        ("sending", edge - TICK, Some(edge), false),
        ("retrying", edge - TICK, None, true),
        // The lease of an attempt that has ended.
        ("retrying", edge - TICK, Some(edge), true),
        ("retrying", edge, None, false),
        ("retrying", now + TimeDelta::hours(1), None, false),
        ("sent", edge - TICK, None, false),
        ("unknown", edge - TICK, None, false),
        ("failed", edge - TICK, None, false),
        ("skipped", edge - TICK, None, false),
    ]
    .into_iter()
    .enumerate()
    {
        let id: Uuid = sqlx::query_scalar(
            "insert into notification_deliveries
                 (id, reminder_id, reminder_version, channel, user_id, task_id, event_id, state, next_attempt_at, attempts,
                  lease_until)
             select gen_random_uuid(), id, $2, 'email', user_id, task_id, gen_random_uuid(), $3, $4, $2, $5
             from task_reminders where id = $1 returning id",
        )
        .bind(of)
        .bind(i32::try_from(version).unwrap())
        .bind(state)
        .bind(at)
        .bind(lease)
        .fetch_one(&db)
        .await
        .unwrap();
        if is {
            wanted.push((id, i32::try_from(version).unwrap()));
        }
    }
    let mut found = overdue(&db, now).await.unwrap();
    found.sort_by_key(|(_, attempts)| *attempts);
    assert_eq!(found, wanted);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn an_unclaimed_event_is_lost_more_than_two_minutes_after_its_publication(db: PgPool) {
    let of = task(&db, user(&db).await).await;
    emitted(&db, &TaskCreated { task: of }).await;
    let published: DateTime<Utc> =
        sqlx::query_scalar("update task_events set published_at = now() returning published_at")
            .fetch_one(&db)
            .await
            .unwrap();
    let edge = published + TimeDelta::seconds(120);
    for (at, lost) in [(published, 0), (edge - TICK, 0), (edge, 0), (edge + TICK, 1), (edge + TICK, 0)] {
        assert_eq!(unpublish_unclaimed(&(&db).into(), at, &SETTINGS).await.unwrap(), lost, "{}", at - edge);
    }
}

/// The position of each row, its writer and its last locker.
async fn rows(db: &PgPool) -> Vec<String> {
    let mut rows = Vec::new();
    for table in [
        "users",
        "tasks",
        "task_events",
        "processed_events",
        "task_reminders",
        "notification_deliveries",
        "audit_logs",
        "dead_letters",
        "event_failures",
        "marks",
        "feed",
    ] {
        let of = format!("select concat_ws(' ', '{table}', tableoid, ctid, xmin, xmax) from {table} order by 1");
        let of: Vec<String> = sqlx::query_scalar(AssertSqlSafe(of)).fetch_all(db).await.unwrap();
        rows.extend(of);
    }
    rows
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn an_idle_repair_writes_nothing(db: PgPool) {
    let of = task(&db, user(&db).await).await;
    let event = emitted(&db, &TaskCreated { task: of.clone() }).await;
    let event: Uuid = event["id"].as_str().unwrap().parse().unwrap();
    sqlx::query("update task_events set published_at = now()").execute(&db).await.unwrap();
    set(&db, "insert into processed_events (consumer, event_id) values ('task-created', $1)", event).await;
    reminder(&db, &of, Utc::now() + TimeDelta::days(1)).await;
    let sent = reminder(&db, &of, Utc::now() - TimeDelta::days(1)).await;
    set(&db, "update task_reminders set state = 'sent', fired_version = version where id = $1", sent).await;

    // The first repair arms the one reminder and schedules the jobs of upkeep itself.
    let daprd = Dapr::start().await;
    let app = app_with(&db, &daprd, &daprd, &daprd);
    run(&app, &SETTINGS).await.unwrap();
    assert_eq!(daprd.scheduled(), 3, "{:?}", daprd.names());
    let before = rows(&db).await;
    assert_eq!(before.len(), 9, "{before:?}");
    for _ in 0..2 {
        run(&app, &SETTINGS).await.unwrap();
    }
    assert_eq!(rows(&db).await, before);
    assert_eq!(daprd.scheduled(), 3, "{:?}", daprd.names());

    // Once the event is old enough, the mark moves past it. It stays there while nothing happens.
    let later = Utc::now() + TimeDelta::minutes(11);
    assert_eq!(unpublish_unclaimed(&(&db).into(), later, &SETTINGS).await.unwrap(), 0);
    let moved = rows(&db).await;
    assert_ne!(moved, before);
    for hours in [1, 2, 24 * 365] {
        assert_eq!(unpublish_unclaimed(&(&db).into(), later + TimeDelta::hours(hours), &SETTINGS).await.unwrap(), 0);
    }
    assert_eq!(rows(&db).await, moved);
}
