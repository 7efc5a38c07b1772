//! `task.completed` on a real PostgreSQL. Tasks without reminders go through the route. Reminders need a scheduler there, so their
//! tests call `successor` itself.

mod occurrences;
mod reminders;

use chrono::{DateTime, Utc};
use serde_json::Value;
use shared::{
    schema::{TaskCompleted, TaskRef},
    testing,
};
use sqlx::PgPool;
use uuid::Uuid;

/// The series of a test. Its dates are so far ahead that none has passed.
#[derive(Clone, Copy)]
struct Repeats {
    kind: &'static str,
    rule: Option<&'static str>,
    anchor: &'static str,
    zone: &'static str,
    due: &'static str,
    completed: &'static str,
}

const DAILY: Repeats = Repeats {
    kind: "daily",
    rule: None,
    anchor: "due",
    zone: "Europe/Berlin",
    // 09:00, on the day before the clocks go forward.
    due: "2099-03-28T08:00:00Z",
    completed: "2099-03-28T06:00:00Z",
};

/// The first occurrence of a series, completed as the command does it.
async fn completed(db: &PgPool, repeats: Repeats) -> TaskRef {
    let user = testing::user(db).await;
    let task = TaskRef { version: 2, ..testing::task(db, user).await };
    sqlx::query(
        "with series as (
             update tasks set description = 'bring the card', priority = 'high', completed = true, version = 2,
                 completed_at = $6, due_at = $5, recurrence_type = $2, recurrence_interval = 1, recurrence_rule = $3,
                 recurrence_anchor = $4, recurrence_start = $5, time_zone = $7, series_id = gen_random_uuid(), occurrence = 1
             where id = $1 returning series_id
         )
         insert into task_occurrences select series_id, 1, $1 from series",
    )
    .bind(task.task_id)
    .bind(repeats.kind)
    .bind(repeats.rule)
    .bind(repeats.anchor)
    .bind(at(repeats.due))
    .bind(at(repeats.completed))
    .bind(repeats.zone)
    .execute(db)
    .await
    .unwrap();
    task
}

/// The event of a completion.
async fn event(db: &PgPool, task: &TaskRef) -> Value {
    testing::emitted(db, &data(task)).await
}

fn data(task: &TaskRef) -> TaskCompleted {
    TaskCompleted { task: task.clone(), completed_at: Utc::now() }
}

/// Changes a task as a command does.
async fn set(db: &PgPool, task: &TaskRef, change: &'static str) {
    let statement = sqlx::AssertSqlSafe(format!("update tasks set {change} where id = $1"));
    sqlx::query(statement).bind(task.task_id).execute(db).await.unwrap();
}

/// The occurrences after the first: number, id and due time.
async fn successors(db: &PgPool) -> Vec<(i32, Uuid, DateTime<Utc>)> {
    sqlx::query_as("select occurrence, id, due_at from tasks where occurrence > 1 order by occurrence, id")
        .fetch_all(db)
        .await
        .unwrap()
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}
