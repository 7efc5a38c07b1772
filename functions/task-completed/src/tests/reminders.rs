//! The reminders of a successor.

use chrono::{DateTime, Utc};
use shared::{
    cloud_event::{Event, Trace},
    inbox,
    schema::TaskRef,
    testing::{app, count},
};
use sqlx::PgPool;
use uuid::Uuid;

use super::{DAILY, Repeats, at, completed, data, successors};
use crate::successor;

/// Adds a reminder to the completed task.
async fn remind(
    db: &PgPool,
    task: &TaskRef,
    remind_at: &str,
    before_due: Option<&str>,
    state: &str,
    cancelled: Option<&str>,
) {
    sqlx::query(
        "insert into task_reminders (id, task_id, user_id, remind_at, before_due, state, cancel_reason, version, fired_version)
         values ($1, $2, $3, $4, $5, $6, $7, 4, 3)",
    )
    .bind(Uuid::now_v7())
    .bind(task.task_id)
    .bind(task.user_id)
    .bind(at(remind_at))
    .bind(before_due)
    .bind(state)
    .bind(cancelled)
    .execute(db)
    .await
    .unwrap();
}

/// Creates the successor in the transaction of a claim, as the handler does.
async fn create(db: &PgPool, task: &TaskRef) -> Option<Uuid> {
    let app = app(db);
    let event = Event { id: Uuid::now_v7(), trace: Trace::from_header(None), time: Utc::now(), data: data(task) };
    let mut tx = inbox::claim(&app, &event).await.unwrap().unwrap();
    let successor = successor::create(&mut tx, task).await.unwrap();
    tx.commit(&app).await.unwrap();
    successor
}

type Row = (DateTime<Utc>, Option<String>, String, Option<String>);

/// The new reminders of a task: not armed, not fired.
async fn reminders(db: &PgPool, task: Uuid) -> Vec<Row> {
    sqlx::query_as(
        "select remind_at, before_due, state, cancel_reason from task_reminders
         where task_id = $1 and version = 1 and fired_version is null and job_id is null and user_id is not null
         order by remind_at, before_due",
    )
    .bind(task)
    .fetch_all(db)
    .await
    .unwrap()
}

fn row(remind_at: &str, before_due: Option<&str>, cancelled: Option<&str>) -> Row {
    let state = if cancelled.is_some() { "cancelled" } else { "scheduled" };
    (at(remind_at), before_due.map(str::to_owned), state.to_owned(), cancelled.map(str::to_owned))
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn reminders_keep_their_time_of_day_when_the_clocks_change(db: PgPool) {
    // Due on the 28th at 09:00; that night 02:00 becomes 03:00.
    let task = completed(&db, DAILY).await;
    let completed = Some("completed");
    remind(&db, &task, "2099-03-27T08:00:00Z", Some("P1D"), "cancelled", completed).await;
    remind(&db, &task, "2099-03-27T17:00:00Z", None, "cancelled", completed).await; // the evening before at 18:00
    remind(&db, &task, "2099-03-28T05:30:00Z", None, "sent", None).await; // that morning at 06:30
    remind(&db, &task, "2099-03-28T07:30:00Z", Some("PT30M"), "failed", None).await;
    let successor = create(&db, &task).await.unwrap();
    let expected = [
        row("2099-03-28T08:00:00Z", Some("P1D"), None),
        row("2099-03-28T17:00:00Z", None, None),
        row("2099-03-29T04:30:00Z", None, None),
        row("2099-03-29T06:30:00Z", Some("PT30M"), None),
    ];
    assert_eq!(reminders(&db, successor).await, expected);
    let earliest: DateTime<Utc> =
        sqlx::query_scalar("select remind_at from tasks where id = $1").bind(successor).fetch_one(&db).await.unwrap();
    assert_eq!(earliest, expected[0].0);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_reminder_that_the_user_cancelled_is_not_carried_over(db: PgPool) {
    let task = completed(&db, DAILY).await;
    remind(&db, &task, "2099-03-28T07:00:00Z", None, "cancelled", Some("user")).await;
    remind(&db, &task, "2099-03-28T07:00:00Z", Some("PT1H"), "cancelled", Some("due_removed")).await;
    remind(&db, &task, "2099-03-28T07:30:00Z", None, "cancelled", Some("completed")).await;
    let successor = create(&db, &task).await.unwrap();
    assert_eq!(reminders(&db, successor).await, [row("2099-03-29T06:30:00Z", None, None)]);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_reminder_whose_time_has_passed_is_cancelled_until_the_next_occurrence(db: PgPool) {
    // The successor is due within a day, so a reminder ten days before has passed.
    let task = completed(
        &db,
        Repeats { zone: "UTC", due: "2020-01-01T00:00:00Z", completed: "2020-01-01T00:00:00Z", ..DAILY },
    )
    .await;
    sqlx::query("update tasks set completed_at = now()").execute(&db).await.unwrap();
    remind(&db, &task, "2019-12-22T00:00:00Z", Some("P10D"), "sent", None).await;
    remind(&db, &task, "2020-01-01T00:00:00Z", Some("PT0S"), "sent", None).await;
    let successor = create(&db, &task).await.unwrap();
    let due = successors(&db).await[0].2;
    assert!(due > Utc::now());
    let ten_days = chrono::Duration::days(10);
    let expected = [
        (due - ten_days, Some("P10D".to_owned()), "cancelled".to_owned(), Some("completed".to_owned())),
        (due, Some("PT0S".to_owned()), "scheduled".to_owned(), None),
    ];
    assert_eq!(reminders(&db, successor).await, expected);
    assert_eq!(count(&db, "select count(*) from tasks where remind_at = due_at").await, 1);

    // The cancelled reminder is carried over to the next occurrence.
    sqlx::query("update tasks set completed = true, completed_at = due_at + interval '20 days' where id = $1")
        .bind(successor)
        .execute(&db)
        .await
        .unwrap();
    let next = create(&db, &TaskRef { task_id: successor, ..task }).await.unwrap();
    assert!(reminders(&db, next).await.iter().all(|(_, _, state, _)| state == "scheduled"));
    assert_eq!(reminders(&db, next).await.len(), 2);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_reminder_at_the_end_of_the_calendar_keeps_its_instant(db: PgPool) {
    let task = completed(&db, DAILY).await;
    remind(&db, &task, "9999-12-31T23:59:59Z", None, "scheduled", None).await;
    let successor = create(&db, &task).await.unwrap();
    assert_eq!(reminders(&db, successor).await, [row("9999-12-31T23:59:59Z", None, None)]);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_reminder_returns_to_its_time_of_day_after_a_day_that_skips_it(db: PgPool) {
    let task = completed(&db, DAILY).await;
    remind(&db, &task, "2099-03-28T01:30:00Z", None, "sent", None).await; // 02:30
    let skipped = create(&db, &task).await.unwrap();
    assert_eq!(reminders(&db, skipped).await, [row("2099-03-29T01:30:00Z", None, None)]); // 03:30
    sqlx::query("update tasks set completed = true, completed_at = due_at where id = $1")
        .bind(skipped)
        .execute(&db)
        .await
        .unwrap();
    let next = create(&db, &TaskRef { task_id: skipped, ..task }).await.unwrap();
    assert_eq!(reminders(&db, next).await, [row("2099-03-30T00:30:00Z", None, None)]); // 02:30
    let kept = "select count(*) from task_reminders where series_due_at is not null or series_remind_at is not null";
    assert_eq!(count(&db, kept).await, 1);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_reminder_keeps_the_distance_that_its_user_set(db: PgPool) {
    let task = completed(&db, DAILY).await;
    // Set for 08:00, an hour before the due time at 09:00. Then the task was moved to 12:00, and the reminder snoozed until 11:45.
    remind(&db, &task, "2099-03-28T10:45:00Z", None, "sent", None).await;
    sqlx::raw_sql(
        "update tasks set series_values = jsonb_build_object('due_at', due_at), due_at = '2099-03-28T11:00:00Z';
         update task_reminders set series_remind_at = '2099-03-28T07:00:00Z', series_due_at = '2099-03-28T08:00:00Z'",
    )
    .execute(&db)
    .await
    .unwrap();
    let successor = create(&db, &task).await.unwrap();
    assert_eq!(reminders(&db, successor).await, [row("2099-03-29T06:00:00Z", None, None)]);
}
