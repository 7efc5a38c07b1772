use anyhow::{Context as _, bail, ensure};
use sqlx::{PgPool, postgres::PgConnectOptions};

const POOLER: &str =
    "DATABASE_URL is a pooler's address: migrations need a direct one, because their lock belongs to a session";

/// Settings of the session. The first reveals a pooler, which refuses or ignores it. With the others the server notices within about a minute that
/// this process has vanished, and frees its lock.
const SETTINGS: [(&str, &str); 5] = [
    ("punctual.direct", "on"),
    ("tcp_keepalives_idle", "30"),
    ("tcp_keepalives_interval", "10"),
    ("tcp_keepalives_count", "3"),
    ("tcp_user_timeout", "30s"),
];

/// Connects to a database for [`apply`](crate::apply).
///
/// # Errors
/// - The database cannot be reached.
/// - A transaction pooler stands in between.
pub async fn connect(options: PgConnectOptions) -> anyhow::Result<PgPool> {
    let options = options.extra_float_digits(None).options(SETTINGS);
    let db = match PgPool::connect_with(options).await {
        Err(error) if refuses_options(&error) => bail!(POOLER),
        connected => connected.context("the database cannot be reached")?,
    };
    let kept: Option<String> =
        sqlx::query_scalar("select current_setting('punctual.direct', true)").fetch_one(&db).await?;
    ensure!(kept.as_deref() == Some("on"), POOLER);
    Ok(db)
}

/// PgBouncer calls the options a violation of the protocol, RDS Proxy an unsupported feature.
fn refuses_options(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| {
        matches!(error.code().as_deref(), Some("08P01" | "0A000")) && error.message().contains("option")
    })
}
