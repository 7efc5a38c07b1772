//! The database of a function: a pool of connections with a deadline on every use, and which errors are outages.
//!
//! A peer can vanish without a word: its host dies, or a NAT or load balancer forgets the connection. TCP may never notice, because
//! something between us and the peer acknowledges the statement. PostgreSQL's timeouts then end the statement there, and nothing here. So:
//!
//! - A statement through [`Db`], `begin` and `commit` fail after [`Deadlines::answer`]. The statements of a transaction end with the deadline of
//!   the request, the event's handler or the step of the relay that runs them.
//! - A connection is closed if its last answer was not awaited to the end, or if it does not answer when it is returned.
//!
//! sqlx's own [`PoolConnection`] waits for that answer without limit, and holds its place in the pool meanwhile: ten silent connections end a pool
//! of ten. That is why [`Conn`] and [`Tx`] exist. Options of the socket would not help: sqlx opens it itself.
//!
//! Nothing needs a session, so a transaction pooler (PgBouncer, Neon's pooled address) may stand in between. On a direct connection the
//! settings are start-up options. A pooler refuses or ignores those, so there every transaction begins with the settings.

use std::{
    io,
    ops::{Deref, DerefMut},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::{
    StreamExt as _, TryStreamExt as _,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, Describe, Either, Execute, Executor, PgConnection, PgPool,
    Postgres, Row as _, SqlSafeStr as _, SqlStr,
    pool::{PoolConnection, PoolOptions},
    postgres::{PgConnectOptions, PgPoolOptions, PgQueryResult, PgRow, PgStatement, PgTransactionManager, PgTypeInfo},
};
use sqlx_core::transaction::TransactionManager as _;
use tokio::time::timeout;

use crate::deadlines::Deadlines;

/// Limit for a connection outside of the pool.
const FRESH: Duration = Duration::from_millis(500);
/// The settings of every statement. Nothing may hang on the server.
const SETTINGS: [(&str, &str); 5] = [
    ("lock_timeout", LOCK_TIMEOUT),
    ("idle_in_transaction_session_timeout", "15s"),
    ("statement_timeout", "30s"),
    // Every statement is written to be served by the same indexes for all its parameters. By default PostgreSQL plans statements with
    // arrays anew each time, which takes several times as long as running them.
    ("plan_cache_mode", "force_generic_plan"),
    // No statement runs long enough to be worth compiling. Where JIT is tried, it takes a third of a second.
    ("jit", "off"),
];
const LOCK_TIMEOUT: &str = "10s";

/// The database of a function. Cheap to clone; connects on first use.
#[derive(Clone, Debug)]
pub struct Db {
    /// The deadlines of this process.
    pub deadlines: Deadlines,
    pool: PgPool,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    /// How to connect without start-up options.
    plain: PgConnectOptions,
    /// Whether connections lack [`SETTINGS`]: a pooler stands in between.
    pooled: AtomicBool,
    /// When acquiring began to fail, unless it has succeeded since.
    failing_since: Mutex<Option<Instant>>,
}

impl Db {
    /// A pool of at most `connections` that connects on first use.
    pub fn lazy(options: PgConnectOptions, connections: u32, deadlines: Deadlines) -> Self {
        // PostgreSQL has shown floats exactly by default since version 12, and poolers refuse the parameter.
        let plain = options.extra_float_digits(None);
        let options = plain.clone().options(SETTINGS);
        // By this the server notices that we have vanished. A pooler has settings of its own.
        let options = options.options([("tcp_user_timeout", "15s")]);
        let state = Arc::new(State { plain, pooled: AtomicBool::new(false), failing_since: Mutex::default() });
        let connected = Arc::clone(&state);
        let pool = PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(deadlines.acquire)
            // Each connection is tested: one that was lost while Lambda had the process frozen looks as if it was used a moment ago.
            // sqlx's own test waits for a silent one until the limit for acquiring has passed.
            .test_before_acquire(false)
            .before_acquire(move |conn, _| {
                Box::pin(async move { within(deadlines.ping, conn.ping()).await.map(|()| true) })
            })
            .after_connect(move |conn, _| {
                let state = Arc::clone(&connected);
                Box::pin(async move {
                    let setting = sqlx::raw_sql("show lock_timeout").fetch_one(conn).await?;
                    state.pooled.store(setting.try_get::<&str, _>(0)? != LOCK_TIMEOUT, Ordering::Relaxed);
                    Ok(())
                })
            })
            .connect_lazy_with(options);
        Self { deadlines, pool, state }
    }

    /// The options of the pool.
    #[must_use]
    pub fn options(&self) -> &PoolOptions<Postgres> {
        self.pool.options()
    }

    /// How to connect outside of the pool.
    #[must_use]
    pub fn connect_options(&self) -> &PgConnectOptions {
        &self.state.plain
    }

    /// Begins a transaction. Dropping it rolls it back.
    ///
    /// # Errors
    /// No connection is free, or the database is away.
    pub async fn begin(&self) -> sqlx::Result<Tx> {
        self.acquire().await?.begin().await
    }

    /// A transaction for a single statement. On a direct connection that is PostgreSQL's implicit one, and `commit` does nothing.
    ///
    /// # Errors
    /// As [`Db::begin`].
    pub async fn begin_single(&self) -> sqlx::Result<Tx> {
        self.acquire().await?.begin_single().await
    }

    /// Acquires a connection. Through a pooler, statements that it runs outside of a transaction lack the settings.
    ///
    /// # Errors
    /// As [`Db::begin`].
    pub async fn acquire(&self) -> sqlx::Result<Conn> {
        let mut acquired = self.pool.acquire().await;
        if acquired.as_ref().is_err_and(refuses_options) {
            self.pool.set_connect_options(self.state.plain.clone());
            acquired = self.pool.acquire().await;
        }
        {
            let mut failing_since = self.state.failing_since.lock().unwrap_or_else(PoisonError::into_inner);
            *failing_since = acquired.as_ref().err().map(|_| failing_since.unwrap_or_else(Instant::now));
        }
        let pooled = self.state.pooled.load(Ordering::Relaxed);
        Ok(Conn { conn: Some(acquired?), awaiting: false, pooled, deadlines: self.deadlines })
    }

    /// Whether the pool has given no connection for [`Deadlines::useless`] although the database takes one. A new process would help then.
    /// While the database is away, it would not.
    pub async fn is_useless(&self) -> bool {
        let failing_since = *self.state.failing_since.lock().unwrap_or_else(PoisonError::into_inner);
        if failing_since.is_none_or(|since| since.elapsed() < self.deadlines.useless) {
            return false;
        }
        let fresh = async { self.pool.connect_options().connect().await?.ping().await };
        // Below the second that Kubernetes waits for a probe's answer: while the database is silent, the process must not be restarted.
        within(FRESH, fresh).await.is_ok()
    }
}

impl From<&PgPool> for Db {
    /// A pool that was made elsewhere, as in tests.
    fn from(pool: &PgPool) -> Self {
        let plain = pool.connect_options().as_ref().clone();
        let state = State { plain, pooled: AtomicBool::new(false), failing_since: Mutex::default() };
        Self { deadlines: Deadlines::default(), pool: pool.clone(), state: Arc::new(state) }
    }
}

/// Whether a server or pooler refused the start-up options: PgBouncer (protocol violation), RDS Proxy (not supported).
fn refuses_options(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| {
        matches!(error.code().as_deref(), Some("08P01" | "0A000")) && error.message().contains("option")
    })
}

fn begin_with_settings() -> SqlStr {
    let settings = SETTINGS.map(|(name, value)| format!("; set local {name} = '{value}'"));
    AssertSqlSafe(format!("begin{}", settings.concat())).into_sql_str()
}

/// Fails with an I/O error, which is an outage, if there is no answer in time.
async fn within<T>(limit: Duration, answer: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
    timeout(limit, answer).await.unwrap_or_else(|_| Err(sqlx::Error::Io(io::ErrorKind::TimedOut.into())))
}

/// A connection of the pool. Dropping it returns it, or closes it if it does not answer.
#[derive(Debug)]
pub struct Conn {
    /// `Some` until it is dropped.
    conn: Option<PoolConnection<Postgres>>,
    /// Whether an answer is awaited. A connection that is dropped then is in an unknown state, for example within a transaction.
    awaiting: bool,
    /// Whether a pooler stands in between.
    pooled: bool,
    deadlines: Deadlines,
}

impl Conn {
    /// Begins a transaction, as [`Db::begin`] does.
    ///
    /// # Errors
    /// The database is away.
    pub async fn begin(self) -> sqlx::Result<Tx> {
        let settings = self.pooled.then(begin_with_settings);
        let mut tx = Tx(self);
        tx.0.answered(async |conn| PgTransactionManager::begin(conn, settings).await).await?;
        Ok(tx)
    }

    /// A transaction for a single statement, as [`Db::begin_single`] makes it.
    ///
    /// # Errors
    /// As [`Conn::begin`].
    pub async fn begin_single(self) -> sqlx::Result<Tx> {
        if self.pooled { self.begin().await } else { Ok(Tx(self)) }
    }

    /// Awaits the answer to `work`.
    async fn answered<T>(&mut self, work: impl AsyncFnOnce(&mut PgConnection) -> sqlx::Result<T>) -> sqlx::Result<T> {
        self.awaiting = true;
        let answer = timeout(self.deadlines.answer, work(self)).await;
        let answer = answer.map_err(|_| sqlx::Error::Io(io::ErrorKind::TimedOut.into()))?;
        self.awaiting = false;
        answer
    }

    /// Closes it without a word to the server.
    pub fn close(mut self) {
        self.awaiting = true;
    }
}

impl Deref for Conn {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        self.conn.as_deref().expect("it is there until it is dropped")
    }
}

impl DerefMut for Conn {
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.conn.as_deref_mut().expect("it is there until it is dropped")
    }
}

impl AsMut<PgConnection> for Conn {
    fn as_mut(&mut self) -> &mut PgConnection {
        self
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        let Some(mut conn) = self.conn.take() else { return };
        if self.awaiting {
            drop(conn.detach());
        } else {
            // Rolls back the transaction that was not committed, if there is one. Goes out with the ping of the return.
            PgTransactionManager::start_rollback(&mut conn);
            // The future owns the connection and its place in the pool: both end with it.
            tokio::spawn(timeout(self.deadlines.ping, conn.return_to_pool()));
        }
    }
}

/// A transaction. Dropping it rolls it back.
#[derive(Debug)]
pub struct Tx(Conn);

impl Tx {
    /// Commits.
    ///
    /// # Errors
    /// It may be committed or not.
    pub async fn commit(self) -> sqlx::Result<()> {
        self.commit_and_keep().await.map(drop)
    }

    /// Commits, and returns the connection for another transaction.
    ///
    /// # Errors
    /// As [`Tx::commit`].
    pub async fn commit_and_keep(self) -> sqlx::Result<Conn> {
        let Self(mut conn) = self;
        conn.answered(async |conn| PgTransactionManager::commit(conn).await).await?;
        Ok(conn)
    }
}

impl Deref for Tx {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.0
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.0
    }
}

/// Runs a statement as a transaction of its own.
impl<'p> Executor<'p> for &'p Db {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, sqlx::Result<Either<PgQueryResult, PgRow>>>
    where
        E: 'q + Execute<'q, Postgres>,
    {
        let db = self.clone();
        let rows = async move {
            let mut tx = db.begin_single().await?;
            let rows: Vec<_> = tx.0.answered(async |conn| conn.fetch_many(query).try_collect().await).await?;
            tx.commit().await?;
            Ok::<_, sqlx::Error>(stream::iter(rows.into_iter().map(Ok)))
        };
        stream::once(rows).try_flatten().boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, sqlx::Result<Option<PgRow>>>
    where
        E: 'q + Execute<'q, Postgres>,
    {
        let db = self.clone();
        Box::pin(async move {
            let mut tx = db.begin_single().await?;
            let row = tx.0.answered(async |conn| conn.fetch_optional(query).await).await?;
            tx.commit().await?;
            Ok(row)
        })
    }

    fn prepare_with<'e>(self, sql: SqlStr, parameters: &'e [PgTypeInfo]) -> BoxFuture<'e, sqlx::Result<PgStatement>>
    where
        'p: 'e,
    {
        let db = self.clone();
        Box::pin(
            async move { db.acquire().await?.answered(async |conn| conn.prepare_with(sql, parameters).await).await },
        )
    }

    #[doc(hidden)]
    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, sqlx::Result<Describe<Postgres>>> {
        let db = self.clone();
        Box::pin(async move { db.acquire().await?.answered(async |conn| conn.describe(sql).await).await })
    }
}

/// Whether the database is unavailable, overloaded or not set up, as opposed to a statement being wrong.
///
/// A request is then answered 503, and an event is delivered again without limit.
///
/// The classes are those of PostgreSQL's appendix A. A server that is being restored, or whose secret is being renewed, answers new
/// connections with class 28 (wrong password, missing role), 3D (missing database) or 55 (not accepting connections). Class 42
/// counts too: statements are checked when compiled, so a missing column means that the migration has not run yet.
#[must_use]
pub fn is_outage(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(error) => error.code().is_none_or(|code| {
            matches!(code.get(..2), Some("08" | "25" | "28" | "3D" | "40" | "42" | "53" | "55" | "57" | "58" | "XX"))
        }),
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        _ => false,
    }
}
