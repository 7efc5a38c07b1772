//! Occurrence n creates occurrence n+1 once.

use axum::{Router, http::StatusCode};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use shared::{
    schema::TaskRef,
    serve::complete,
    tag,
    testing::{app, count, deliver, deliver_at_once, handed_over, task, user},
};
use sqlx::PgPool;
use uuid::Uuid;

use super::{DAILY, Repeats, at, completed, event, set, successors};

fn routes(db: &PgPool) -> Router {
    complete(crate::router(app(db)), app(db))
}

/// Delivers a completion of the task.
async fn complete_once(db: &PgPool, task: &TaskRef) {
    assert_eq!(deliver(&routes(db), &event(db, task).await).await, StatusCode::OK);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn an_event_delivered_many_times_creates_one_successor(db: PgPool) {
    let task = completed(&db, DAILY).await;
    sqlx::raw_sql(
        "insert into task_tags (id, user_id, name) select gen_random_uuid(), user_id, 'health' from tasks;
         insert into task_tags (id, user_id, name) select gen_random_uuid(), user_id, 'other' from tasks;
         insert into task_tag_associations select tasks.id, task_tags.id from tasks, task_tags where name = 'health'",
    )
    .execute(&db)
    .await
    .unwrap();
    let event = event(&db, &task).await;
    assert_eq!(deliver_at_once(&routes(&db), &event, 30).await, 30);

    let [(2, successor, due)] = successors(&db).await[..] else { panic!("{:?}", successors(&db).await) };
    // 09:00 again, in summer time.
    assert_eq!(due, at("2099-03-29T07:00:00Z"));
    let [done, next] = [task.task_id, successor].map(async |id| -> Value {
        sqlx::query_scalar("select to_jsonb(tasks) from tasks where id = $1").bind(id).fetch_one(&db).await.unwrap()
    });
    let (done, next) = (done.await, next.await);
    for same in ["user_id", "title", "description", "priority", "time_zone", "series_id", "recurrence_start"] {
        assert_eq!(done[same], next[same], "{same}");
    }
    assert_eq!((&next["version"], &next["completed"], &next["completed_at"]), (&1.into(), &false.into(), &Value::Null));
    assert_eq!(next["next_occurrence_at"], "2099-03-30T07:00:00+00:00");
    let tags: Vec<String> =
        sqlx::query_scalar("select name from task_tags join task_tag_associations on tag_id = id where task_id = $1")
            .bind(successor)
            .fetch_all(&db)
            .await
            .unwrap();
    assert_eq!(tags, ["health"]);

    let created: Uuid =
        sqlx::query_scalar("select id from task_events where type = 'task.created'").fetch_one(&db).await.unwrap();
    let created = handed_over(&db, created).await;
    assert_eq!(created["subject"], successor.to_string());
    assert_eq!(created["data"]["version"], 1);
    assert_eq!(created["traceparent"], event["traceparent"]);
    assert_eq!(count(&db, "select count(*) from task_events where type = 'task.changed'").await, 1);
    let told: Value = sqlx::query_scalar("select detail->'successor' from audit_logs").fetch_one(&db).await.unwrap();
    assert_eq!(told, successor.to_string());
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn two_concurrent_events_of_one_completion_create_one_successor(db: PgPool) {
    let task = completed(&db, DAILY).await;
    let (first, second, routes) = (event(&db, &task).await, event(&db, &task).await, routes(&db));
    let both = tokio::join!(deliver(&routes, &first), deliver(&routes, &second));
    assert_eq!(both, (StatusCode::OK, StatusCode::OK));
    assert_eq!(successors(&db).await.len(), 1);
    assert_eq!(count(&db, "select count(*) from task_events where type = 'task.created'").await, 1);
    assert_eq!(count(&db, "select count(*) from audit_logs where action = 'task.completed'").await, 2);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_task_completed_twice_has_one_successor(db: PgPool) {
    let task = completed(&db, DAILY).await;
    complete_once(&db, &task).await;
    set(&db, &task, "completed = false").await;
    set(&db, &task, "completed = true").await;
    complete_once(&db, &task).await;
    assert_eq!(successors(&db).await.len(), 1);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_task_reopened_before_delivery_gets_its_successor_when_completed_again(db: PgPool) {
    let task = completed(&db, DAILY).await;
    set(&db, &task, "completed = false").await;
    complete_once(&db, &task).await;
    assert!(successors(&db).await.is_empty());
    set(&db, &task, "completed = true, completed_at = '2099-03-28T07:00:00Z'").await;
    complete_once(&db, &task).await;
    assert_eq!(successors(&db).await.len(), 1);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_task_deleted_before_delivery_has_no_successor(db: PgPool) {
    let task = completed(&db, DAILY).await;
    sqlx::query("delete from tasks").execute(&db).await.unwrap();
    complete_once(&db, &task).await;
    assert!(successors(&db).await.is_empty());
    assert_eq!(count(&db, "select count(*) from audit_logs where action = 'task.completed'").await, 1);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_deleted_successor_is_not_created_again(db: PgPool) {
    let task = completed(&db, DAILY).await;
    complete_once(&db, &task).await;
    sqlx::query("delete from tasks where occurrence = 2").execute(&db).await.unwrap();
    complete_once(&db, &task).await;
    assert!(successors(&db).await.is_empty());
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn monthly_from_31_january_is_28_february_and_31_march(db: PgPool) {
    let (due, completed_at) = ("2099-01-31T08:00:00Z", "2099-01-30T08:00:00Z");
    let mut task = completed(&db, Repeats { kind: "monthly", due, completed: completed_at, ..DAILY }).await;
    for n in 0..2 {
        complete_once(&db, &task).await;
        task.task_id = successors(&db).await[n].1;
        set(&db, &task, "completed = true, completed_at = due_at - interval '1 day'").await;
    }
    let dues: Vec<DateTime<Utc>> = successors(&db).await.into_iter().map(|(.., due)| due).collect();
    assert_eq!(dues, [at("2099-02-28T08:00:00Z"), at("2099-03-31T07:00:00Z")]);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn the_successor_has_the_values_of_its_series(db: PgPool) {
    let task = completed(&db, DAILY).await;
    sqlx::raw_sql(
        r#"insert into task_tags (id, user_id, name)
           select gen_random_uuid(), user_id, name from tasks, unnest('{once,always}'::text[]) name;
           insert into task_tag_associations select tasks.id, task_tags.id from tasks, task_tags where name = 'once';
           update tasks set title = 'once', description = 'once', priority = 'low', time_zone = 'UTC',
               due_at = '2099-04-02T08:00:00Z', series_values = '{
                   "title": "always", "description": null, "priority": "urgent", "time_zone": "Europe/Berlin",
                   "due_at": "2099-03-28T08:00:00Z", "tags": ["always"]}'"#,
    )
    .execute(&db)
    .await
    .unwrap();
    complete_once(&db, &task).await;
    let successor: Value = sqlx::query_scalar(
        "select jsonb_build_array(title, description, priority, time_zone, due_at, next_occurrence_at, series_values,
                    (select jsonb_agg(name) from task_tags join task_tag_associations on tag_id = task_tags.id
                     where task_id = tasks.id), search_text)
         from tasks where occurrence = 2",
    )
    .fetch_one(&db)
    .await
    .unwrap();
    let (due, next) = ("2099-03-29T07:00:00+00:00", "2099-03-30T07:00:00+00:00");
    assert_eq!(successor, json!(["always", null, "urgent", "Europe/Berlin", due, next, null, ["always"], "always"]));
    let told: Value =
        sqlx::query_scalar("select data from task_events where type = 'task.created'").fetch_one(&db).await.unwrap();
    assert_eq!(told["title"], "always");
}

/// The quota of tags deletes those that no task has, so also one that only later occurrences are to have.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_tag_of_the_series_that_was_deleted_is_made_again(db: PgPool) {
    let task = completed(&db, DAILY).await;
    set(&db, &task, r#"series_values = '{"tags": ["always", "cafe\u0301"]}'"#).await;
    complete_once(&db, &task).await;
    let tags: Vec<(Uuid, String)> = sqlx::query_as(
        "select task_tags.id, name from task_tags join task_tag_associations on tag_id = task_tags.id
         join tasks on tasks.id = task_id where occurrence = 2 order by name",
    )
    .fetch_all(&db)
    .await
    .unwrap();
    assert_eq!(tags, ["always", "caf\u{e9}"].map(|name| (tag::id(task.user_id, name), name.to_owned())));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn the_successor_has_the_values_of_a_change_that_the_handler_waited_for(db: PgPool) {
    let task = completed(&db, DAILY).await;
    let mut command = db.begin().await.unwrap();
    sqlx::raw_sql(r#"update tasks set title = 'once', series_values = '{"title": "always"}'"#)
        .execute(&mut *command)
        .await
        .unwrap();
    let delivery = tokio::spawn({
        let (db, task) = (db.clone(), task.clone());
        async move { complete_once(&db, &task).await }
    });
    let waits = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    while count(&db, waits).await == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    command.commit().await.unwrap();
    delivery.await.unwrap();
    let created = "select count(*) from task_events where type = 'task.created' and data->>'title' = 'always'";
    assert_eq!(count(&db, created).await, 1);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn with_anchor_completion_the_successor_is_due_after_the_completion(db: PgPool) {
    let task = completed(&db, Repeats { anchor: "completion", completed: "2099-03-30T20:00:00Z", ..DAILY }).await;
    complete_once(&db, &task).await;
    assert_eq!(successors(&db).await[0].2, at("2099-03-31T07:00:00Z"));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_task_without_recurrence_or_at_its_end_has_no_successor(db: PgPool) {
    let ended = completed(&db, Repeats { kind: "custom", rule: Some("FREQ=DAILY;COUNT=1"), ..DAILY }).await;
    complete_once(&db, &ended).await;
    let user = user(&db).await;
    let once = task(&db, user).await;
    set(&db, &once, "completed = true").await;
    complete_once(&db, &once).await;
    assert!(successors(&db).await.is_empty());
    assert_eq!(count(&db, "select count(*) from task_events where type = 'task.created'").await, 0);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn an_invalid_row_rejects_the_event_and_writes_nothing(db: PgPool) {
    let task = completed(&db, DAILY).await;
    set(&db, &task, "time_zone = 'Mars/Olympus'").await;
    let event = event(&db, &task).await;
    for _ in 0..4 {
        assert_eq!(deliver(&routes(&db), &event).await, StatusCode::SERVICE_UNAVAILABLE);
    }
    assert_eq!(deliver(&routes(&db), &event).await, StatusCode::OK);
    assert!(successors(&db).await.is_empty());
    assert_eq!(count(&db, "select count(*) from task_occurrences").await, 1);
    assert_eq!(count(&db, "select count(*) from dead_letters where reason like '%unknown time zone%'").await, 1);
}
