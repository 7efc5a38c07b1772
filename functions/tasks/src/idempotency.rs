//! `Idempotency-Key`: one transaction claims the key, does the work and keeps the answer. So a repeated request has one effect and
//! one answer, whatever process dies in between.
//!
//! A concurrent duplicate waits in [`Command::answered`], for at most `lock_timeout`. If the first request commits, it gets that
//! answer; if it rolls back, it does the work itself. After the timeout it is refused (409). A refused request keeps no answer, because
//! it had no effect. `upkeep` deletes old keys.

use axum::http::StatusCode;
use serde_json::Value;
use shared::problem::{Problem, Result};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{answer::Answer, command::Command};

impl Command {
    /// The kept answer, if this request is a repetition. Otherwise the transaction has claimed the key.
    pub(crate) async fn answered(&self, conn: &mut PgConnection, user_id: Uuid) -> Result<Option<Answer>> {
        let Some(key) = &self.key else { return Ok(None) };
        let claimed = sqlx::query!(
            "insert into idempotency_keys (user_id, key, fingerprint) values ($1, $2, $3) on conflict do nothing",
            user_id,
            key,
            self.fingerprint
        )
        .execute(&mut *conn)
        .await?;
        if claimed.rows_affected() == 1 {
            return Ok(None);
        }
        let first = sqlx::query!(
            r#"select fingerprint, status as "status!", headers as "headers!", body
               from idempotency_keys where user_id = $1 and key = $2"#,
            user_id,
            key
        )
        .fetch_optional(conn)
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
            body: first.body.and_then(|body| body.as_str().map(str::to_owned)),
        };
        answer.headers.insert("idempotency-replayed".to_owned(), "true".to_owned());
        Ok(Some(answer))
    }

    /// Keeps the answer for a repetition, in the transaction of the command.
    pub(crate) async fn keep(&self, conn: &mut PgConnection, user_id: Uuid, answer: &Answer) -> Result<()> {
        let Some(key) = &self.key else { return Ok(()) };
        let headers = serde_json::to_value(&answer.headers).expect("headers are plain data");
        sqlx::query!(
            "update idempotency_keys set status = $3, headers = $4, body = $5 where user_id = $1 and key = $2",
            user_id,
            key,
            i16::try_from(answer.status.as_u16()).unwrap_or(i16::MAX),
            headers,
            answer.body.clone().map(Value::String)
        )
        .execute(conn)
        .await?;
        Ok(())
    }
}
