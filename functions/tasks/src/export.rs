//! `GET /v1/export`: everything of a user, one JSON object a line.
//!
//! It is read page by page, each in a transaction of its own, so that a large export holds no snapshot of the database open. What is there the
//! whole time is in it exactly once. The answer is streamed: a process holds one page of it in memory. The last line tells that it is
//! complete, because a connection that breaks ends a stream as well.
//!
//! AWS Lambda keeps an answer until it is complete, and limits its size. There the export ends early and its last line has the cursor of the next
//! part.

use std::sync::Arc;

use axum::{
    body::{Body, Bytes},
    extract::State,
    http::{HeaderValue, header},
    response::Response,
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use futures_util::{StreamExt as _, stream};
use serde::Serialize;
use serde_json::json;
use shared::{
    App,
    auth::User,
    problem::{Problem, Result},
};
use sqlx::PgConnection;
use tokio::sync::OwnedSemaphorePermit;
use utoipa::IntoParams;
use uuid::Uuid;

use crate::{
    Api, PushConfig,
    deliveries::{self, Delivery},
    docs::ReadProblems,
    history::{self, OwnEntry},
    me::Me,
    page::{self, Place},
    params::Params,
    push_subscriptions, task,
    user_tx::UserTx,
    versions::{self, OwnVersion},
};

/// Rows of one page.
const PAGE: usize = 100;
/// An export on AWS Lambda ends after the page that reaches this size. A page has at most a few megabytes, and an answer six.
pub(crate) const LAMBDA_BYTES: usize = 2 * 1024 * 1024;

/// Where an export continues.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes a query")]
pub(crate) struct ExportParams {
    /// The `next_cursor` of an export that ended early.
    cursor: Option<String>,
}

/// Where the next page begins.
#[derive(Clone, Copy)]
enum Position {
    Me,
    Tasks { after: Place },
    History { after: (Uuid, i64) },
    Versions { after: (Uuid, i64) },
    Deliveries { after: Place },
    Devices,
}

impl Position {
    fn encode(self) -> String {
        let text = match self {
            Self::Me => "me".to_owned(),
            Self::Tasks { after } => format!("tasks {}", after.encode()),
            Self::History { after: (id, number) } => format!("history {number} {}", id.simple()),
            Self::Versions { after: (id, number) } => format!("versions {number} {}", id.simple()),
            Self::Deliveries { after } => format!("deliveries {}", after.encode()),
            Self::Devices => "devices".to_owned(),
        };
        BASE64_URL_SAFE_NO_PAD.encode(text)
    }

    fn decode(text: &str) -> Option<Self> {
        let text = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        let mut parts = text.split(' ');
        let (section, rest) = (parts.next()?, [parts.next(), parts.next(), parts.next()]);
        match (section, rest) {
            ("me", [None, ..]) => Some(Self::Me),
            ("devices", [None, ..]) => Some(Self::Devices),
            ("tasks", [Some(after), None, None]) => Some(Self::Tasks { after: Place::decode(after)? }),
            ("history" | "versions", [Some(number), Some(id), None]) => {
                let after = (id.parse().ok()?, number.parse().ok()?);
                Some(if section == "history" { Self::History { after } } else { Self::Versions { after } })
            }
            ("deliveries", [Some(after), None, None]) => Some(Self::Deliveries { after: Place::decode(after)? }),
            _ => None,
        }
    }
}

/// An export that goes on.
struct Export {
    app: App,
    push: Arc<PushConfig>,
    user: User,
    /// `None` after the last line.
    next: Option<Position>,
    /// The lines so far.
    count: u64,
    bytes: usize,
    limit: Option<usize>,
    /// One at a time for a user.
    _alone: OwnedSemaphorePermit,
}

/// Export the user's data
///
/// One JSON object a line (NDJSON): `{"me": …}`, then `{"task": …}`, `{"history": …}`, `{"version": …}`, `{"delivery": …}` and
/// `{"push_subscription": …}` for each. The last line is `{"end": true, "count": n}` with the number of lines before it; without it the export is not
/// complete. If it says `"end": false`, ask for the rest with its `next_cursor`. One export at a time for a user.
#[utoipa::path(
    get, path = "/v1/export", operation_id = "export", tag = "me", params(ExportParams),
    responses((status = 200, description = "The lines", body = String, content_type = "application/x-ndjson"), ReadProblems),
    security(("bearer" = [])),
)]
pub(crate) async fn export(State(api): State<Api>, user: User, mut params: Params) -> Result<Response> {
    let from = params.take("cursor", |text| Position::decode(text).ok_or("must be the `next_cursor` of an export"));
    params.finish()?;
    let alone = api.limits.export(user.id)?;
    let next = Some(from.unwrap_or(Position::Me));
    let Api { app, push, export_bytes: limit, .. } = api;
    let mut export = Export { app, push, user, next, count: 0, bytes: 0, limit, _alone: alone };
    // Before the answer begins, so that a problem is answered as such.
    let first = export.page().await?;
    let others = stream::try_unfold(export, |mut export: Export| async move {
        let page =
            export.page().await.inspect_err(|problem| tracing::warn!(%problem, "an export broke off: {problem}"))?;
        Ok::<_, Problem>(page.map(|page| (page, export)))
    });
    let pages = stream::iter(first.map(Ok)).chain(others);
    let mut response = Response::new(Body::from_stream(pages));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

impl Export {
    /// The lines of the next page that has any. `None` after the last line.
    async fn page(&mut self) -> Result<Option<Bytes>> {
        let mut lines = Lines::default();
        while let Some(position) = self.next {
            if self.limit.is_some_and(|limit| self.bytes >= limit) {
                self.next = None;
                lines.push(&json!({"end": false, "count": self.count, "next_cursor": position.encode()}));
                return Ok(Some(lines.text.into()));
            }
            let mut tx = UserTx::read(&self.app.db, &self.user).await?;
            self.next = self.read(&mut tx, position, &mut lines).await?;
            drop(tx);
            self.count += lines.count;
            self.bytes += lines.text.len();
            if self.next.is_none() {
                lines.push(&json!({"end": true, "count": self.count}));
            }
            if !lines.text.is_empty() {
                return Ok(Some(lines.text.into()));
            }
        }
        Ok(None)
    }

    /// Reads a page. Returns where the next one begins.
    async fn read(&self, conn: &mut PgConnection, from: Position, lines: &mut Lines) -> Result<Option<Position>> {
        let user_id = self.user.id;
        Ok(match from {
            Position::Me => {
                let me = Me::of(conn, &self.user, &self.push).await?;
                lines.push(&json!({"me": me}));
                Some(Position::Tasks { after: Place::default() })
            }
            Position::Tasks { after } => {
                let rows = task_page(conn, user_id, after).await?;
                let loaded: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
                for task in task::load_all(conn, user_id, &loaded).await? {
                    lines.push(&json!({"task": task}));
                }
                let last = rows.last().copied();
                Some(last.map_or(Position::History { after: (Uuid::nil(), 0) }, |after| Position::Tasks { after }))
            }
            Position::History { after } => {
                let rows = history::of_user(conn, user_id, after, PAGE).await?;
                let last = rows.last().map(OwnEntry::place);
                for entry in rows {
                    lines.push(&json!({"history": entry}));
                }
                Some(last.map_or(Position::Versions { after: (Uuid::nil(), 0) }, |after| Position::History { after }))
            }
            Position::Versions { after } => {
                let rows = versions::of_user(conn, user_id, after).await?;
                let last = rows.last().map(OwnVersion::place);
                for version in rows {
                    lines.push(&json!({"version": version}));
                }
                Some(
                    last.map_or(Position::Deliveries { after: deliveries::newest() }, |after| Position::Versions {
                        after,
                    }),
                )
            }
            Position::Deliveries { after } => {
                let rows = deliveries::load(conn, user_id, after, PAGE).await?;
                for delivery in &rows {
                    lines.push(&json!({"delivery": delivery}));
                }
                let last = rows.last().map(Delivery::place);
                Some(last.map_or(Position::Devices, |after| Position::Deliveries { after }))
            }
            Position::Devices => {
                for device in push_subscriptions::load(conn, user_id).await? {
                    lines.push(&json!({"push_subscription": device}));
                }
                None
            }
        })
    }
}

/// The tasks after one, in the order of their creation. As many as fit on a page.
async fn task_page(conn: &mut PgConnection, user_id: Uuid, after: Place) -> sqlx::Result<Vec<Place>> {
    let rows = sqlx::query!(
        r#"select id, created_at, octet_length(title)::bigint + coalesce(octet_length(description), 0) as "bytes!"
           from tasks where user_id = $1 and (created_at, id) > ($2, $3)
           order by created_at, id limit $4"#,
        user_id,
        after.at,
        after.id,
        i64::try_from(PAGE).unwrap_or(i64::MAX)
    )
    .fetch_all(conn)
    .await?;
    let fitting = page::fitting(rows.iter().map(|row| row.bytes));
    Ok(rows.into_iter().take(fitting).map(|row| Place { at: row.created_at, id: row.id }).collect())
}

#[derive(Default)]
struct Lines {
    text: Vec<u8>,
    count: u64,
}

impl Lines {
    fn push(&mut self, line: &impl Serialize) {
        serde_json::to_writer(&mut self.text, line).expect("a line is plain data");
        self.text.push(b'\n');
        self.count += 1;
    }
}
