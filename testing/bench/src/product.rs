//! The product: users of its API, and its database.

use std::time::Duration;

use anyhow::ensure;
use chrono::{DateTime, Utc};
use lab::{
    api::{Answer, Api, Method, User},
    topology::Topology,
};
use serde_json::json;
use sqlx::{AssertSqlSafe, PgPool};
use tokio::time::{Instant, sleep};

/// Enough users that neither a row nor a rate limit of one user is the bottleneck.
pub(super) const USERS: usize = 100;

/// A running product.
pub(super) struct Product {
    pub(super) db: PgPool,
    pub(super) users: Vec<User>,
}

impl Product {
    pub(super) fn new(topology: &Topology) -> anyhow::Result<Self> {
        let api = Api::of(topology);
        Ok(Self { db: PgPool::connect_lazy(&topology.database_url)?, users: (0..USERS).map(|_| api.user()).collect() })
    }

    /// Creates the task `<title> <index>`, for each index by another user.
    pub(super) fn create(
        &self,
        title: &str,
        index: usize,
        remind_at: Option<DateTime<Utc>>,
    ) -> impl Future<Output = anyhow::Result<Answer>> + Send + use<> {
        let user = self.users[index % USERS].clone();
        let mut task = json!({ "title": format!("{title} {index}") });
        if let Some(remind_at) = remind_at {
            task["remind_at"] = json!(remind_at);
        }
        async move { user.command(Method::POST, "/v1/tasks", Some(&task)).await }
    }

    /// Waits until a statement counts `count` among the tasks of a title; `$1` is the pattern of their titles.
    pub(super) async fn wait_for(
        &self,
        what: &str,
        statement: &str,
        title: &str,
        count: usize,
        limit: Duration,
    ) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            let statement = AssertSqlSafe(statement.to_owned());
            let found: i64 = sqlx::query_scalar(statement).bind(pattern(title)).fetch_one(&self.db).await?;
            if usize::try_from(found)? == count {
                return Ok(());
            }
            ensure!(began.elapsed() < limit, "{what}: {found} of {count} after {} s", limit.as_secs());
            // Some callers poll while the measurement runs, and each poll takes processor time from it.
            sleep(Duration::from_secs(1)).await;
        }
    }
}

/// The `like` pattern of the titles `<title> <index>`.
pub(super) fn pattern(title: &str) -> String {
    format!("{title} %")
}
