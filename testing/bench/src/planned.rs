//! Instants at which something is due, from the database's clock, as every side needs them.

use std::time::{Duration, SystemTime};

use anyhow::Context as _;

use lab::postgres::Postgres;

/// An instant, to the millisecond.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    pub(super) at: SystemTime,
    /// RFC 3339.
    pub(super) text: String,
}

impl Planned {
    /// `count` instants from `lead` ahead, one each `every`.
    pub(super) fn spread(
        postgres: &Postgres,
        count: usize,
        lead: Duration,
        every: Duration,
    ) -> anyhow::Result<Vec<Self>> {
        let statement = format!(
            "select to_char(at at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'), (extract(epoch from at) * 1000)::bigint
             from (select date_trunc('milliseconds', now()) + {} * interval '1 ms' + n * {} * interval '1 ms' as at
                   from generate_series(0, {}) as n) as planned",
            lead.as_millis(),
            every.as_millis(),
            count.saturating_sub(1),
        );
        let read = |line: &str| {
            let (text, milliseconds) = line.split_once('|')?;
            let at = SystemTime::UNIX_EPOCH + Duration::from_millis(milliseconds.parse().ok()?);
            Some(Self { at, text: text.to_owned() })
        };
        postgres.sql("punctual", &statement)?.lines().map(read).collect::<Option<_>>().context("no instants")
    }

    /// `count` times the same instant, `lead` ahead.
    pub(super) fn at_once(postgres: &Postgres, count: usize, lead: Duration) -> anyhow::Result<Vec<Self>> {
        let one = Self::spread(postgres, 1, lead, Duration::ZERO)?;
        Ok(one.into_iter().cycle().take(count).collect())
    }

    /// How far ahead it is.
    pub(super) fn ahead(&self) -> Duration {
        self.at.duration_since(SystemTime::now()).unwrap_or_default()
    }
}
