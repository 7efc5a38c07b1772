//! The clock of the gauntlet: the database's, which decides when a reminder is due. The users act by it, and the checker
//! compares only instants of it.

use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};

/// How many seconds the database's clock is ahead of this machine's.
static AHEAD: AtomicI64 = AtomicI64::new(0);

/// Follows a database whose clock is this many seconds ahead of this machine's.
pub(crate) fn follow(ahead: i64) {
    AHEAD.store(ahead, Ordering::Relaxed);
}

/// The time by the database's clock.
pub(crate) fn now() -> DateTime<Utc> {
    by_database(Utc::now())
}

/// An instant of this machine's clock by the database's clock.
pub(crate) fn by_database(at: DateTime<Utc>) -> DateTime<Utc> {
    at + TimeDelta::seconds(AHEAD.load(Ordering::Relaxed))
}
