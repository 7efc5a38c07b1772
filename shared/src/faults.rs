//! Faults for tests: points at which a process can be made to die, and variants of the product that break a promise. Without the
//! feature `faults`, which nothing that is deployed has, both are nothing at all.
//!
//! - `CRASH_POINTS` names a folder. Whoever passes a [`crash`] point while a file of that name is in it removes the file and dies
//!   at once, without unwinding or saying goodbye, as from `kill -9`.
//! - `BROKEN` names one of [`BROKEN`]: from then on the product breaks that promise, so that a test of it can be tested.

use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::sidecar::{Publication, Sidecar};

/// The points, each named once in the code.
pub const POINTS: &[&str] = &[
    "command-before-commit",
    "command-committed",
    "event-before-claim",
    "event-claimed",
    "event-committed",
    "outbox-before-publish",
    "outbox-published",
    "outbox-marked",
    "job-armed",
    "job-disarmed",
    "reminder-before-commit",
    "reminder-fired",
    "delivery-begun",
    "delivery-at-the-dot",
    "delivery-accepted",
    "delivery-recorded",
    "successor-made",
    "repair-midway",
    "letter-before-commit",
    "letter-stored",
];

/// The broken variants, and what each does.
pub const BROKEN: &[(&str, &str)] = &[
    ("no-claim", "an event that was handled before is handled again"),
    ("claim-in-another-transaction", "the claim is committed before what it claims"),
    ("ack-before-commit", "an event is acknowledged, and handled then"),
    ("publish-before-commit", "an event is published before the change it tells of is committed"),
    ("relay-after-the-last", "the relay looks for events after the last it saw, not for unpublished ones"),
    ("job-without-version", "all versions of a reminder share a job"),
    ("arm-after-the-commit", "jobs are armed when the event is claimed already"),
    ("mark-before-the-ack", "an event counts as published before the broker has it"),
    ("default-failure-policy", "a job that fails is called three times more, a second apart, and forgotten"),
    ("no-second-look", "a reminder is fired and sent as its job says, whatever became of it"),
    ("no-user-filter", "a task is read by its id alone, past row-level security"),
    ("no-idempotency-key", "an attempt at a message does not carry the key of its delivery"),
    ("job-answers-404", "the job's route answers 404 when it fails"),
];

/// Dies here where a test has armed this point.
#[cfg(feature = "faults")]
pub fn crash(point: &'static str) {
    static FOLDER: std::sync::LazyLock<Option<std::path::PathBuf>> =
        std::sync::LazyLock::new(|| std::env::var_os("CRASH_POINTS").map(Into::into));
    debug_assert!(POINTS.contains(&point), "{point} is not listed");
    // Of several processes at the same point, one removes the file.
    if FOLDER.as_ref().is_some_and(|folder| std::fs::remove_file(folder.join(point)).is_ok()) {
        std::process::abort();
    }
}

/// Dies here where a test has armed this point: without the feature `faults`, nothing.
#[cfg(not(feature = "faults"))]
pub const fn crash(_: &'static str) {}

/// Whether this promise is to be broken.
///
/// # Panics
/// When the environment names a variant that does not exist.
#[cfg(feature = "faults")]
#[must_use]
pub fn broken(variant: &'static str) -> bool {
    static CHOSEN: std::sync::LazyLock<Option<String>> = std::sync::LazyLock::new(|| {
        let chosen = std::env::var("BROKEN").ok()?;
        assert!(BROKEN.iter().any(|(name, _)| *name == chosen), "there is no variant {chosen}");
        Some(chosen)
    });
    debug_assert!(BROKEN.iter().any(|(name, _)| *name == variant), "{variant} is not listed");
    CHOSEN.as_deref() == Some(variant)
}

/// Whether this promise is to be broken: without the feature `faults`, never.
#[cfg(not(feature = "faults"))]
#[must_use]
pub const fn broken(_: &'static str) -> bool {
    false
}

/// `relay-after-the-last`: what was committed after an event with a later id was seen, this process never sees.
///
/// # Errors
/// When the database is away.
pub async fn forget_what_came_late(db: &PgPool) -> sqlx::Result<()> {
    static LAST: std::sync::Mutex<Option<Uuid>> = std::sync::Mutex::new(None);
    let newest = sqlx::query_scalar("select id from task_events order by id desc limit 1").fetch_optional(db).await?;
    let last = std::mem::replace(&mut *LAST.lock().unwrap_or_else(std::sync::PoisonError::into_inner), newest);
    sqlx::query("update task_events set published_at = now() where published_at is null and id < $1")
        .bind(last)
        .execute(db)
        .await?;
    Ok(())
}

/// `mark-before-the-ack`.
///
/// # Errors
/// When the database is away.
pub async fn mark_published(conn: &mut PgConnection, ids: Vec<Uuid>) -> anyhow::Result<()> {
    let mark = "update task_events set published_at = now() where id = any($1)";
    sqlx::query(mark).bind(&ids).execute(&mut *conn).await?;
    // Committed at once: the relay's transaction ends whatever comes of the call.
    sqlx::query("commit").execute(&mut *conn).await?;
    sqlx::query("begin").execute(conn).await?;
    Ok(())
}

/// `publish-before-commit`: the events of the transaction that is open.
pub async fn publish_uncommitted(sidecar: &Sidecar, conn: &mut PgConnection) {
    let own = "select id, task_id, jsonb_build_object(
            'specversion', '1.0', 'id', id, 'source', $1, 'type', type, 'subject', task_id, 'time', occurred_at,
            'datacontenttype', 'application/json', 'data', data)
        from task_events where published_at is null and xmin = pg_current_xact_id()::xid";
    let rows: Vec<(Uuid, Uuid, serde_json::Value)> =
        sqlx::query_as(own).bind(crate::event::SOURCE).fetch_all(conn).await.unwrap_or_default();
    for (id, task, event) in rows {
        let event = Publication { id, key: task.to_string(), event: event.to_string().into_bytes() };
        let _ = sidecar.publish("task-events", vec![event]).await;
    }
}

/// `no-user-filter`: whose task it is, whoever asks.
///
/// # Errors
/// When the database is away.
pub async fn owner(db: &PgPool, task: Uuid) -> sqlx::Result<Option<Uuid>> {
    sqlx::query_scalar("select user_id from tasks where id = $1").bind(task).fetch_optional(db).await
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    /// The arguments of `word("…")` in the sources below a folder.
    fn named(word: &str, folder: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                named(word, &path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a source");
                let call = format!("{word}(\"");
                let calls = text.split(call.as_str()).skip(1);
                found.extend(calls.filter_map(|rest| rest.split('"').next()).map(str::to_owned));
            }
        }
    }

    #[test]
    fn every_point_and_every_variant_is_listed_and_is_in_the_code() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
        for (word, listed) in
            [("crash", super::POINTS.to_vec()), ("broken", super::BROKEN.iter().map(|(name, _)| *name).collect())]
        {
            let mut found = BTreeSet::new();
            for folder in ["shared/src", "functions"] {
                named(word, &root.join(folder), &mut found);
            }
            assert_eq!(found, listed.into_iter().map(str::to_owned).collect(), "{word}");
        }
    }
}
