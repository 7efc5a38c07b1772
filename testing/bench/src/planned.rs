//! Instants at which jobs and reminders are due.

use std::time::Duration;

use anyhow::Context as _;
use chrono::{DateTime, SubsecRound as _, Utc};

/// `count` instants, to the millisecond: the first `lead` ahead, then one per `every`.
pub(super) fn spread(count: usize, lead: Duration, every: Duration) -> anyhow::Result<Vec<DateTime<Utc>>> {
    let first = Utc::now() + lead;
    (0..count).map(|index| Ok((first + every * u32::try_from(index)?).trunc_subsecs(3))).collect()
}

/// The instants at which requests or reminders are planned.
type Plan = Vec<DateTime<Utc>>;

/// Two series of `count` instants. Those of the second lie halfway between those of the first.
pub(super) fn interleaved(count: usize, lead: Duration, every: Duration) -> anyhow::Result<(Plan, Plan)> {
    let both = spread(count * 2, lead, every / 2)?;
    Ok((both.iter().copied().step_by(2).collect(), both.into_iter().skip(1).step_by(2).collect()))
}

/// How far ahead an instant is; zero once it has passed.
pub(super) fn ahead(instant: DateTime<Utc>) -> Duration {
    (instant - Utc::now()).to_std().unwrap_or_default()
}

/// How far ahead the first instant is.
pub(super) fn until_first(planned: &[DateTime<Utc>]) -> anyhow::Result<Duration> {
    planned.first().copied().map(ahead).context("nothing is planned")
}

/// How far ahead the last instant is.
pub(super) fn until_last(planned: &[DateTime<Utc>]) -> anyhow::Result<Duration> {
    planned.last().copied().map(ahead).context("nothing is planned")
}
