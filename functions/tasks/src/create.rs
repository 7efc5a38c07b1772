//! `POST /v1/tasks`.

use axum::extract::State;
use chrono::Utc;
use shared::{
    App,
    auth::User,
    outbox,
    problem::{OnConstraint as _, Problem, Result},
    recurrence::{Series, Zone},
    schema::{TaskCreated, TaskRef},
    search_text,
};
use sqlx::{PgConnection, types::Json};
use uuid::Uuid;

use crate::{
    answer::Answer,
    bodies,
    command::Command,
    docs::WriteProblems,
    draft::{self, NewReminder, NewTask, When},
    liveness::{Due, Row},
    me::Preferences,
    params,
    tags::{self, tag_ids},
    task::{Inner, Repeats, Task},
    user_tx::admit,
};

/// The answer to a command whose user disappeared before what it adds was linked to them.
pub(crate) const USER_DELETED: Problem = Problem::Conflict("the user was deleted at the same time; retry");

/// Create a task
///
/// A reminder whose time has passed is accepted and fires at once; it is shown as `overdue`.
#[utoipa::path(
    post, path = "/v1/tasks", operation_id = "create_task", tag = "tasks", request_body = bodies::NewTask,
    params(params::IdempotencyKey),
    responses(
        (status = 201, description = "The new task", body = Task,
         headers(("etag" = String, description = "`\"<version>\"`"), ("location" = String, description = "Its address"))),
        WriteProblems,
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn create_task(State(app): State<App>, user: User, command: Command) -> Result<Answer> {
    let task = command.object()?.read(draft::new_task)?;
    let answer = if command.key.is_some() {
        let mut tx = app.db.begin().await?;
        // `insert` does so too, but a kept answer must not reach a token from before.
        admit(&mut tx, &user).await?;
        if let Some(answer) = command.answered(&mut tx, user.id).await? {
            return Ok(answer);
        }
        let task = insert(&mut tx, &user, task, &command).await?;
        let answer = Answer::created(&task);
        command.keep(&mut tx, user.id, &answer).await?;
        tx.commit().await.map(|()| answer).map_err(Problem::from)
    } else {
        let mut tx = app.db.begin_single().await?;
        match insert(&mut tx, &user, task, &command).await {
            Ok(task) => tx.commit().await.map(|()| Answer::created(&task)).map_err(Problem::from),
            Err(problem) => Err(problem),
        }
    };
    app.outbox.wake_after(answer)
}

/// Inserts everything that makes a task, with its event, in one statement: one round trip, one transaction. Every `user_id` is the
/// token's. The token's address replaces the stored one only if the token was issued later than the stored address's.
async fn insert(conn: &mut PgConnection, user: &User, task: NewTask, command: &Command) -> Result<Task> {
    let NewTask { wanted, mut reminders, by_default } = task;
    let mut zone = wanted.time_zone.clone();
    // A computation in the user's zone must read it first; otherwise the statement does.
    let computed = wanted.recurrence.is_some() || reminders.iter().any(|reminder| reminder.before_due().is_some());
    let takes_channels = reminders.iter().any(|reminder| reminder.channels.is_empty());
    if takes_channels || (computed && zone.is_none()) || (by_default && wanted.due_at.is_some()) {
        let users = Preferences::of(conn, user.id).await?;
        let zone = zone.get_or_insert(users.zone);
        if by_default && let Some(before) = users.default_reminder {
            let reminder = NewReminder { when: When::Before(before), channels: Vec::new() };
            // A reminder that nobody asked for must not fire at once.
            reminders
                .extend(Some(reminder).filter(|new| new.instant(wanted.due_at, zone).is_ok_and(|at| at > Utc::now())));
        }
        draft::fill_channels(&mut reminders, &users.channels);
    }
    let id = Uuid::now_v7();
    let rows = Row::all(&reminders, Due { at: wanted.due_at, zone: zone.as_ref().unwrap_or(&Zone::utc()) });
    let repeats = wanted.recurrence.as_ref().map(Repeats::from);
    let next = match (&wanted.recurrence, wanted.due_at, &zone) {
        (Some(recurrence), Some(start), Some(zone)) => {
            let series = Series { recurrence: recurrence.clone(), start, zone: zone.clone() };
            series.next(start, start.max(Utc::now()))
        }
        _ => None,
    };
    let series_id = repeats.is_some().then(Uuid::now_v7);
    let task = TaskRef { task_id: id, user_id: user.id, title: wanted.title.clone(), version: 1 };
    let event = outbox::Row::new(&TaskCreated { task }, &command.trace);
    let inserted = sqlx::query!(
        r#"
        with admitted as materialized (
            select admit_token($2, $22, true)
        ), quota as materialized (
            select check_quotas($2, 1, $16, cardinality($24::timestamptz[]), '{}', $24, $24, $25, $26, $27, $28) from admitted
        ), owner as (
            insert into users (id, email, email_issued_at) values ($2, $3, $22) on conflict (id) do nothing
        ), address as (
            update users set email = $3, email_issued_at = $22
            where id = $2 and (email <> $3 or $22::timestamptz is not null)
              and (email_issued_at is null or email_issued_at < $22)
        ), task as (
            insert into tasks (id, user_id, title, description, priority, due_at, remind_at, time_zone, version,
                               recurrence_type, recurrence_interval, recurrence_rule, recurrence_anchor,
                               recurrence_start, next_occurrence_at, series_id, occurrence, search_text)
            -- From the quota, because it must be checked before anything is there.
            select $1, $2, $4, $5, $6, $7, $8,
                    coalesce($9, (select time_zone from users where id = $2), 'UTC'), 1,
                    $10, $11, $12, $13, case when $10::text is not null then $7::timestamptz end, $14, $15,
                    case when $10::text is not null then 1 end, $23
            from quota
            returning time_zone, created_at, updated_at
        ), occurrence as (
            insert into task_occurrences (series_id, occurrence, task_id) select $15, 1, $1 where $15::uuid is not null
        ), tag as (
            insert into task_tags (id, user_id, name)
            select id, $2, name from unnest($16::uuid[], $17::text[]) as tag (id, name) on conflict do nothing
        ), tagged as (
            insert into task_tag_associations (task_id, tag_id) select $1, unnest($16::uuid[])
        ), reminder as (
            insert into task_reminders (id, task_id, user_id, remind_at, before_due, channels)
            select id, $1, $2, remind_at, before_due, channels
            from jsonb_to_recordset($18) as reminder (id uuid, remind_at timestamptz, before_due text, channels text[])
        ), event as (
            insert into task_events (type, task_id, user_id, sequence, data, traceparent)
            values ($19, $1, $2, 1, $20, $21)
        )
        select time_zone as "time_zone!", created_at, updated_at, clock_timestamp() as "now!" from task
        "#,
        id,
        user.id,
        user.email.as_str(),
        wanted.title,
        wanted.description,
        wanted.priority.as_str(),
        wanted.due_at,
        rows.iter().map(|row| row.remind_at).min(),
        zone.as_ref().map(Zone::as_str),
        repeats.as_ref().map(|repeats| repeats.kind.as_str()),
        repeats.as_ref().and_then(|repeats| i32::try_from(repeats.interval).ok()),
        repeats.as_ref().and_then(|repeats| repeats.rule.as_deref()),
        repeats.as_ref().map(|repeats| repeats.anchor.as_str()),
        next,
        series_id,
        &tag_ids(user.id, &wanted.tags),
        &wanted.tags,
        Json(&rows) as _,
        event.kind,
        event.data,
        event.traceparent,
        user.issued_at,
        search_text::of_task(&wanted.title, wanted.description.as_deref()),
        &rows.iter().map(|row| row.remind_at).collect::<Vec<_>>(),
        i64::from(command.quotas.user_tasks),
        i64::from(command.quotas.user_tags),
        i64::from(command.quotas.user_reminders),
        i64::from(command.quotas.user_reminders_per_hour),
    )
    .fetch_one(conn)
    .await
    .map_err(|error| command.quotas.refusal(error))
    .on_constraint("task_tag_associations_tag_id_fkey", tags::DELETED)
    .on_constraint("user_usage_user_id_fkey", USER_DELETED)?;
    let mut reminders: Vec<_> = rows.iter().map(|row| row.to_reminder(inserted.now)).collect();
    reminders.sort_by_key(|reminder| (reminder.remind_at, reminder.id));
    Ok(Task {
        id,
        title: wanted.title,
        description: wanted.description,
        completed: false,
        completed_at: None,
        priority: wanted.priority,
        due_at: wanted.due_at,
        time_zone: inserted.time_zone,
        tags: wanted.tags,
        reminders,
        recurrence: repeats,
        next_occurrence_at: next,
        version: 1,
        created_at: inserted.created_at,
        updated_at: inserted.updated_at,
        inner: Inner::default(),
    })
}
