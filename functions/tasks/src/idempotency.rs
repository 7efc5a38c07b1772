//! `Idempotency-Key`: one transaction claims the key, does the work and keeps the answer. So a repeated request has one effect and
//! one answer, whatever process dies in between.
//!
//! A concurrent duplicate waits in [`Command::answered`], for at most `lock_timeout`. If the first request commits, it gets that
//! answer; if it rolls back, it does the work itself. After the timeout it is refused (409). A refused request keeps no answer, because
//! it had no effect. `upkeep` deletes old keys.
//!
//! The body of a large answer is not kept, only the id of the task that it shows. A repetition then shows the task as it is now, or nothing
//! if it was deleted. So, and because a user has a quota of keys, nobody fills the disk with answers. Of a dead letter only the id is kept, too: it
//! has data of a user whose erasure does not find the operator's keys.

use axum::http::StatusCode;
use serde_json::{Value, json};
use shared::problem::{OnConstraint as _, Problem, Result};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    answer::{Answer, Shown},
    command::Command,
    create::USER_DELETED,
    dead_letters, task,
};

/// Maximum size of the body of a kept answer that shows a task.
const KEPT: usize = 4096;

impl Command {
    /// The kept answer, if this request is a repetition. Otherwise the transaction has claimed the key.
    pub(crate) async fn answered(&self, conn: &mut PgConnection, user_id: Uuid) -> Result<Option<Answer>> {
        let Some(key) = &self.key else { return Ok(None) };
        let claim = sqlx::query!(
            r#"with claimed as (
                   insert into idempotency_keys (user_id, key, fingerprint) values ($1, $2, $3)
                   on conflict do nothing returning 1
               ), counted as (
                   insert into user_usage as usage (user_id, keys, keys_day)
                   select id, 1, (now() at time zone 'UTC')::date from users, claimed where id = $1
                   on conflict (user_id) do update
                   set keys = 1 + case when usage.keys_day = excluded.keys_day then usage.keys else 0 end,
                       keys_day = excluded.keys_day
                   where usage.keys < $4 or usage.keys_day <> excluded.keys_day
                   returning 1
               )
               select exists (select from claimed) as "is_first!",
                      exists (select from counted) or not exists (select from users where id = $1) as "is_counted!""#,
            user_id,
            key,
            self.fingerprint,
            i32::try_from(self.quotas.user_keys_per_day).unwrap_or(i32::MAX),
        )
        .fetch_one(&mut *conn)
        .await
        .on_constraint("user_usage_user_id_fkey", USER_DELETED)?;
        if claim.is_first {
            return if claim.is_counted { Ok(None) } else { Err(self.quotas.no_key_left()) };
        }
        let first = sqlx::query!(
            r#"select fingerprint, status as "status!", headers as "headers!", body
               from idempotency_keys where user_id = $1 and key = $2"#,
            user_id,
            key
        )
        .fetch_optional(&mut *conn)
        .await?
        // Retention deleted it between the two statements.
        .ok_or(Problem::Conflict("this Idempotency-Key has just expired; retry"))?;
        if first.fingerprint != self.fingerprint {
            return Err(Problem::KeyReused);
        }
        let unreadable = |error: Box<dyn std::error::Error + Send + Sync>| Problem::Internal(error);
        let mut answer = Answer {
            status: u16::try_from(first.status)
                .ok()
                .and_then(|status| StatusCode::from_u16(status).ok())
                .ok_or_else(|| unreadable("a kept answer has no valid status".into()))?,
            headers: serde_json::from_value(first.headers).map_err(|error| unreadable(error.into()))?,
            body: first.body.as_ref().and_then(Value::as_str).map(str::to_owned),
            shows: first.body.and_then(|body| serde_json::from_value(body).ok()),
        };
        let current = match answer.shows {
            Some(Shown::Task(id)) => task::load(conn, user_id, id).await.map(|task| Answer::task(answer.status, &task)),
            Some(Shown::Letter(id)) => dead_letters::load(conn, id).await.map(|letter| Answer::letter(&letter)),
            None => Err(Problem::NotFound),
        };
        match current {
            Ok(current) => {
                answer.headers.extend(current.headers);
                answer.body = current.body;
            }
            Err(Problem::NotFound) => {}
            Err(problem) => return Err(problem),
        }
        answer.headers.insert("idempotency-replayed".to_owned(), "true".to_owned());
        Ok(Some(answer))
    }

    /// Keeps the answer for a repetition, in the transaction of the command.
    pub(crate) async fn keep(&self, conn: &mut PgConnection, user_id: Uuid, answer: &Answer) -> Result<()> {
        let Some(key) = &self.key else { return Ok(()) };
        let headers = serde_json::to_value(&answer.headers).expect("headers are plain data");
        let body = answer.body.as_ref().map(|body| match answer.shows {
            Some(shown @ Shown::Task(_)) if body.len() > KEPT => json!(shown),
            Some(shown @ Shown::Letter(_)) => json!(shown),
            _ => json!(body),
        });
        sqlx::query!(
            "update idempotency_keys set status = $3, headers = $4, body = $5 where user_id = $1 and key = $2",
            user_id,
            key,
            i16::try_from(answer.status.as_u16()).unwrap_or(i16::MAX),
            headers,
            body
        )
        .execute(conn)
        .await?;
        Ok(())
    }
}
