//! A job's callback becomes `reminder.due`, once per version and never early: on a real PostgreSQL and through the door.

use std::time::Duration;

use axum::{Router, body::Body, http::Request, http::StatusCode};
use chrono::{DurationRound as _, Utc};
use lab::forwarder::Forwarder;
use serde_json::{Value, json};
use shared::{
    db::Db,
    deadlines::Deadlines,
    schema::ReminderDue,
    serve::complete,
    testing::{
        Dapr, app, app_with, at_port, audit_steps, call_job, commits_take_a_second, count, due, execute, handed_over,
        post, relay_was_woken, step, waits_for_lock,
    },
};
use sqlx::{PgPool, postgres::PgPoolOptions};
use tower::ServiceExt as _;
use uuid::Uuid;

/// A process of the function, without a daprd.
fn process(db: &PgPool) -> Router {
    complete(alarm::router(app(db)), app(db))
}

/// The database through a forwarder.
fn through(db: &PgPool) -> (Db, Forwarder) {
    let options = db.connect_options();
    let forwarder = Forwarder::to(options.get_host(), options.get_port()).unwrap();
    (at_port(db, forwarder.port, Deadlines::default()), forwarder)
}

async fn events(db: &PgPool) -> i64 {
    count(db, "select count(*) from task_events where type = 'reminder.due'").await
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn the_event_has_the_time_at_which_the_reminder_fired(db: PgPool) {
    let (id, _) = due(&db, Utc::now() - chrono::Duration::seconds(1)).await;
    assert_eq!(call_job(&process(&db), id, 1).await, StatusCode::OK);
    assert_eq!(count(&db, "select count(*) from task_reminders join task_events on occurred_at = fired_at").await, 1);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_hundred_callbacks_at_once_at_several_processes_fire_once(db: PgPool) {
    let pool = || PgPoolOptions::new().max_connections(3).connect_lazy_with(db.connect_options().as_ref().clone());
    let pools = [(); 5].map(|()| pool());
    let processes = pools.each_ref().map(process);
    let at = Utc::now().duration_trunc(chrono::Duration::milliseconds(1)).unwrap()
        - chrono::Duration::microseconds(2_999_999);
    let (id, task) = due(&db, at).await;
    let mut calls = tokio::task::JoinSet::new();
    for routes in processes.iter().cycle().take(100) {
        let routes = routes.clone();
        calls.spawn(async move { call_job(&routes, id, 1).await });
    }
    assert!(calls.join_all().await.into_iter().all(|status| status == StatusCode::OK));
    assert_eq!((events(&db).await, audit_steps(&db).await), (1, vec![step("reminder.fired", None)]));
    let event: Uuid = sqlx::query_scalar("select id from task_events").fetch_one(&db).await.unwrap();
    let event = handed_over(&db, event).await;
    assert_eq!((&event["type"], &event["subject"]), (&json!("reminder.due"), &json!(task.task_id)));
    let data = ReminderDue { task, reminder_id: id, remind_at: at, reminder_version: 1 };
    assert_eq!(event["data"], json!(data));
    let late: i64 =
        sqlx::query_scalar("select (detail->>'late_ms')::bigint from audit_logs").fetch_one(&db).await.unwrap();
    assert!((2_999..30_000).contains(&late), "{late}");
    drop(processes);
    for pool in pools {
        pool.close().await;
    }
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn reminders_due_at_once_each_fire_once_and_a_locked_one_delays_no_other(db: PgPool) {
    const MANY: usize = 300;
    let routes = process(&db);
    let mut reminders = Vec::new();
    for _ in 0..MANY {
        reminders.push(due(&db, Utc::now()).await.0);
    }
    let mut holder = db.begin().await.unwrap();
    let hold = "update task_reminders set updated_at = now() where id = $1";
    sqlx::query(hold).bind(reminders[0]).execute(&mut *holder).await.unwrap();
    let (mut calls, mut held) = (tokio::task::JoinSet::new(), tokio::task::JoinSet::new());
    for id in reminders.iter().chain(&reminders) {
        let (routes, id) = (routes.clone(), *id);
        let calls = if id == reminders[0] { &mut held } else { &mut calls };
        calls.spawn(async move { call_job(&routes, id, 1).await });
    }
    let others =
        tokio::time::timeout(Duration::from_secs(8), calls.join_all()).await.expect("none waits for the held one");
    assert!(others.into_iter().all(|status| status == StatusCode::OK));
    assert_eq!(events(&db).await, 299);
    assert!(held.try_join_next().is_none(), "it was answered without having fired");
    holder.commit().await.unwrap();
    assert!(held.join_all().await.into_iter().all(|status| status == StatusCode::OK));
    assert_eq!((events(&db).await, audit_steps(&db).await), (300, vec![step("reminder.fired", None); MANY]));
    let reminders = "select count(distinct data->>'reminder_id') from task_events";
    assert_eq!(count(&db, reminders).await, 300);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn reminders_fired_alone_and_in_a_burst_are_published(db: PgPool) {
    for together in [1, 60] {
        let app = app(&db);
        let routes = complete(alarm::router(app.clone()), app.clone());
        let mut calls = tokio::task::JoinSet::new();
        for _ in 0..together {
            let (routes, id) = (routes.clone(), due(&db, Utc::now()).await.0);
            calls.spawn(async move { call_job(&routes, id, 1).await });
        }
        calls.join_all().await;
        assert!(relay_was_woken(&app).await, "{together} at once");
    }
    assert_eq!(events(&db).await, 61);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_reminder_that_cannot_fire_does_not_stop_the_others_of_its_batch(db: PgPool) {
    let routes = process(&db);
    let mut reminders = Vec::new();
    for _ in 0..20 {
        reminders.push(due(&db, Utc::now()).await.0);
    }
    execute(
        &db,
        &format!(
            "create function break() returns trigger language plpgsql as $$ begin raise 'broken'; end $$;
             create trigger break before update on task_reminders for each row when (old.id = '{}') execute function break()",
            reminders[7]
        ),
    )
    .await;
    let mut calls = tokio::task::JoinSet::new();
    for &id in &reminders {
        let routes = routes.clone();
        calls.spawn(async move { (id, call_job(&routes, id, 1).await) });
    }
    for (id, status) in calls.join_all().await {
        assert_eq!(status == StatusCode::OK, id != reminders[7], "{status}");
    }
    assert_eq!(events(&db).await, 19);
    execute(&db, "drop trigger break on task_reminders").await;
    assert_eq!(call_job(&routes, reminders[7], 1).await, StatusCode::OK);
    assert_eq!(events(&db).await, 20);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn an_outdated_version_fires_nothing_and_is_audited_once_with_the_reason(db: PgPool) {
    let routes = process(&db);
    for (change, reason) in [
        ("update task_reminders set version = 2, remind_at = now() + interval '1 day'", "moved"),
        ("update task_reminders set version = 2, fired_version = 2", "moved"),
        ("update task_reminders set version = 2, state = 'cancelled', cancel_reason = 'user'", "user"),
        ("update task_reminders set version = 2, state = 'cancelled', cancel_reason = 'completed'", "completed"),
        ("update task_reminders set version = 2, state = 'cancelled', cancel_reason = 'deleted'", "deleted"),
        ("update task_reminders set state = 'failed'", "failed"),
        // By a newer release, whose words this one does not know.
        (
            "alter table task_reminders drop constraint task_reminders_state; update task_reminders set state = 'muted'",
            "other",
        ),
        (
            "alter table task_reminders drop constraint task_reminders_cancel_reason;
             update task_reminders set version = 2, state = 'cancelled', cancel_reason = 'merged'",
            "other",
        ),
        // By an application that knows of no reminders.
        ("update tasks set completed = true", "completed"),
        ("delete from tasks", "deleted"),
    ] {
        execute(&db, "delete from audit_logs; delete from task_reminders; delete from task_events").await;
        let (id, _) = due(&db, Utc::now()).await;
        execute(&db, change).await;
        for _ in 0..3 {
            assert_eq!(call_job(&routes, id, 1).await, StatusCode::OK, "{change}");
        }
        assert_eq!(audit_steps(&db).await, [step("reminder.skipped", Some(reason))], "{change}");
        assert_eq!(events(&db).await, 0, "{change}");
    }
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_callback_cancels_the_reminder_of_a_task_that_an_older_application_ended(db: PgPool) {
    let routes = process(&db);
    for (change, reason) in [("update tasks set completed = true", "completed"), ("delete from tasks", "deleted")] {
        let (id, _) = due(&db, Utc::now()).await;
        execute(&db, "update task_reminders set version = 2 where state = 'scheduled'").await;
        execute(&db, change).await;
        let state = "select state || coalesce(' ' || cancel_reason, ''), version, reminder_is_live(state, version, fired_version)
                     from task_reminders where id = $1";
        let state = async || -> (String, i32, bool) { sqlx::query_as(state).bind(id).fetch_one(&db).await.unwrap() };
        // A version that has passed says nothing about this one.
        assert_eq!(call_job(&routes, id, 1).await, StatusCode::OK);
        assert_eq!(state().await, ("scheduled".to_owned(), 2, true));
        // Repair arms what is live and overdue; after this call, there is nothing left for it.
        assert_eq!(call_job(&routes, id, 2).await, StatusCode::OK);
        assert_eq!(state().await, (format!("cancelled {reason}"), 2, false));
    }
    assert_eq!(events(&db).await, 0);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_repeated_callback_of_a_fired_version_is_not_audited(db: PgPool) {
    let routes = process(&db);
    let (id, _) = due(&db, Utc::now()).await;
    for change in ["select", "update task_reminders set version = 2, remind_at = now() + interval '1 day'"] {
        for _ in 0..2 {
            assert_eq!(call_job(&routes, id, 1).await, StatusCode::OK);
        }
        assert_eq!((events(&db).await, audit_steps(&db).await), (1, vec![step("reminder.fired", None)]));
        execute(&db, change).await;
    }
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn each_version_fires_once(db: PgPool) {
    let routes = process(&db);
    let (id, _) = due(&db, Utc::now()).await;
    call_job(&routes, id, 1).await;
    execute(&db, "update task_reminders set version = 2, remind_at = now()").await;
    for version in [1, 2, 3] {
        assert_eq!(call_job(&routes, id, version).await, StatusCode::OK);
    }
    let versions: Vec<i32> = sqlx::query_scalar("select (data->>'reminder_version')::int from task_events order by id")
        .fetch_all(&db)
        .await
        .unwrap();
    assert_eq!(versions, [1, 2]);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn concurrent_callbacks_of_two_versions_fire_only_the_current_one(db: PgPool) {
    let routes = process(&db);
    let (id, _) = due(&db, Utc::now()).await;
    execute(&db, "update task_reminders set version = 2").await;
    let mut calls = tokio::task::JoinSet::new();
    for version in [1, 2] {
        let routes = routes.clone();
        calls.spawn(async move { call_job(&routes, id, version).await });
    }
    assert!(calls.join_all().await.into_iter().all(|status| status == StatusCode::OK));
    let mut story = audit_steps(&db).await;
    story.sort();
    assert_eq!(story, [step("reminder.fired", None), step("reminder.skipped", Some("moved"))]);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn reminder_due_continues_the_trace_of_the_last_event_of_its_task(db: PgPool) {
    let routes = process(&db);
    let (id, _) = due(&db, Utc::now()).await;
    for (event, trace) in [(2, "b"), (1, "a")] {
        execute(
            &db,
            &format!(
                "insert into task_events (id, type, task_id, user_id, sequence, data, traceparent)
                 select '00000000-0000-7000-8000-00000000000{event}', 'task.updated', id, user_id, {event}, '{{}}',
                        '00-{}-00f067aa0ba902b7-01' from tasks",
                trace.repeat(32)
            ),
        )
        .await;
    }
    assert_eq!(call_job(&routes, id, 1).await, StatusCode::OK);
    let trace: String = sqlx::query_scalar("select traceparent from task_events where type = 'reminder.due'")
        .fetch_one(&db)
        .await
        .unwrap();
    assert_eq!(trace, format!("00-{}-00f067aa0ba902b7-01", "b".repeat(32)));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_callback_that_is_early_waits_for_the_clock_of_the_database(db: PgPool) {
    let routes = process(&db);
    let (id, _) = due(&db, Utc::now() + chrono::Duration::milliseconds(900)).await;
    assert_eq!(call_job(&routes, id, 1).await, StatusCode::OK);
    assert_eq!(events(&db).await, 1);
    assert_eq!(count(&db, "select count(*) from task_reminders where fired_at >= remind_at").await, 1);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_reminder_cancelled_while_a_callback_waits_does_not_fire(db: PgPool) {
    let routes = process(&db);
    let (id, _) = due(&db, Utc::now() + chrono::Duration::milliseconds(900)).await;
    let waiting = tokio::spawn(async move { call_job(&routes, id, 1).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    execute(&db, "update task_reminders set version = 2, state = 'cancelled', cancel_reason = 'user'").await;
    assert_eq!(waiting.await.unwrap(), StatusCode::OK);
    assert_eq!((events(&db).await, audit_steps(&db).await), (0, vec![step("reminder.skipped", Some("user"))]));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_reminder_erased_while_it_is_skipped_is_not_audited(db: PgPool) {
    let routes = process(&db);
    let (id, _) = due(&db, Utc::now()).await;
    execute(&db, "update task_reminders set version = 2").await;
    let mut erasure = db.begin().await.unwrap();
    sqlx::query("delete from task_reminders").execute(&mut *erasure).await.unwrap();
    let call = tokio::spawn(async move { call_job(&routes, id, 1).await });
    waits_for_lock(&db, &call).await;
    erasure.commit().await.unwrap();
    assert_eq!(call.await.unwrap(), StatusCode::OK);
    assert_eq!(audit_steps(&db).await, []);
}

/// Armed at its instant, it would call again at once: by that clock the instant has passed.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_scheduler_whose_clock_is_ahead_calls_again_after_a_part_of_the_rest(db: PgPool) {
    let dapr = Dapr::start().await;
    let app = app_with(&db, &dapr, &dapr, &dapr);
    let routes = complete(alarm::router(app.clone()), app);
    for (ahead, pause) in [(6, 6), (20, 20), (120, 30), (3_500, 350), (2 * 3_600, 720), (24 * 3_600, 8_640)] {
        let at = Utc::now() + chrono::Duration::seconds(ahead);
        let (id, _) = due(&db, at).await;
        dapr.set_away(true);
        assert_eq!(call_job(&routes, id, 1).await, StatusCode::SERVICE_UNAVAILABLE);
        dapr.set_away(false);
        assert!(!dapr.jobs().contains_key(&format!("reminder-{id}-1")));
        let before = Utc::now();
        assert_eq!(call_job(&routes, id, 1).await, StatusCode::OK);
        let job = &dapr.jobs()[&format!("reminder-{id}-1")];
        let calls_in = job.due.unwrap() - before;
        assert!((calls_in - chrono::Duration::seconds(pause)).abs() < chrono::Duration::seconds(1), "{calls_in}");
        assert_eq!((&job.data["reminder_id"], &job.data["version"]), (&json!(id), &json!(1)));
        // The job of a version before it was moved is not needed again.
        execute(&db, "update task_reminders set version = 2 where version = 1").await;
        dapr.wipe();
        assert_eq!(call_job(&routes, id, 1).await, StatusCode::OK);
        assert_eq!(dapr.names(), [""; 0]);
    }
    assert_eq!(events(&db).await, 0);
    assert!(audit_steps(&db).await.iter().all(|step| step.0 == "reminder.skipped"));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn send_now_fires_the_current_version_once(db: PgPool) {
    let routes = process(&db);
    let (id, _) = due(&db, Utc::now()).await;
    for (version, fired) in [(2, 0), (1, 1), (1, 1)] {
        let body = json!({"reminder_id": id, "version": version}).to_string();
        assert_eq!(post(&routes, "/send-now", body).await, StatusCode::OK);
        assert_eq!(events(&db).await, fired);
    }
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_job_of_an_unknown_reminder_is_dropped_and_an_unknown_kind_of_job_is_refused(db: PgPool) {
    let routes = process(&db);
    let (id, _) = due(&db, Utc::now()).await;
    assert_eq!(call_job(&routes, Uuid::now_v7(), 1).await, StatusCode::OK);
    for name in ["reminder-1-1", "reminder-", "reminder-00000000-0000-0000-0000-000000000000-x"] {
        let expected = if name == "reminder-" { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK };
        assert_eq!(post(&routes, &format!("/job/{name}"), "not JSON").await, expected, "{name}");
    }
    // A kind of job that only newer code knows comes again until that code is back.
    assert_eq!(post(&routes, "/job/anything", "not JSON").await, StatusCode::INTERNAL_SERVER_ERROR);
    let body: Value = json!({"reminder_id": id, "version": 1, "due_at": Utc::now()});
    for path in [format!("/job/reminder-{id}-1"), "/send-now".to_owned()] {
        let request = Request::post(path).header("content-type", "application/json");
        let request = request.body(Body::from(body.to_string())).unwrap();
        assert!(routes.clone().oneshot(request).await.unwrap().status().is_server_error());
    }
    assert_eq!((events(&db).await, audit_steps(&db).await.len()), (0, 0));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_connection_lost_since_the_last_callback_fails_no_callback(db: PgPool) {
    let routes = process(&db);
    for fired in 1..=3 {
        let (id, _) = due(&db, Utc::now()).await;
        assert_eq!(call_job(&routes, id, 1).await, StatusCode::OK);
        assert_eq!(events(&db).await, fired);
        execute(
            &db,
            "select pg_terminate_backend(pid) from pg_stat_activity
             where datname = current_database() and pid <> pg_backend_pid()",
        )
        .await;
    }
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_connection_that_fell_silent_since_the_last_callback_is_replaced(db: PgPool) {
    let (silenced, forwarder) = through(&db);
    let routes = complete(alarm::router(app(silenced.clone())), app(silenced));
    for fired in 1..=2 {
        let (id, _) = due(&db, Utc::now()).await;
        let answer = tokio::time::timeout(Duration::from_secs(20), call_job(&routes, id, 1)).await;
        assert_eq!(answer.expect("it waits for the silent one"), StatusCode::OK);
        assert_eq!(events(&db).await, fired);
        forwarder.silence();
    }
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_commit_whose_answer_was_lost_is_published(db: PgPool) {
    let (cut, forwarder) = through(&db);
    let app = app(cut);
    let routes = complete(alarm::router(app.clone()), app.clone());
    let (id, _) = due(&db, Utc::now()).await;
    commits_take_a_second(&db).await;
    let called = tokio::spawn(async move { call_job(&routes, id, 1).await });
    tokio::time::sleep(Duration::from_millis(500)).await;
    forwarder.cut();
    assert_eq!(called.await.unwrap(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(relay_was_woken(&app).await);
    // PostgreSQL was still at it.
    assert!(relay_was_woken(&app).await);
    assert_eq!(events(&db).await, 1);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_callback_without_the_database_is_answered_503(db: PgPool) {
    let closed = sqlx::postgres::PgPoolOptions::new().connect_lazy_with(db.connect_options().as_ref().clone());
    closed.close().await;
    let (id, _) = due(&db, Utc::now()).await;
    assert_eq!(call_job(&process(&closed), id, 1).await, StatusCode::SERVICE_UNAVAILABLE);
}
