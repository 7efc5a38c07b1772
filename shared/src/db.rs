//! How errors of the database are classified, for HTTP and for event handlers alike.

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
