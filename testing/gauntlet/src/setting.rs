//! The setting of a run, which the seed decides at its start: how far the clocks differ, and whether a pooler is in front of the database.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use fastrand::Rng;
use lab::{clocks::Clocks, topology::Topology};
use shared::catalogue::FUNCTIONS;
use sqlx::PgPool;

use crate::{Arguments, clock};

/// How far a clock may seem off when it is read.
const READING: TimeDelta = TimeDelta::seconds(3);

/// The setting of a run.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) clocks: Clocks,
    pub(crate) pooler: bool,
}

impl Setting {
    pub(crate) fn draw(seed: u64, arguments: &Arguments) -> Self {
        let mut rng = Rng::with_seed(seed);
        let clocks = clocks(&mut rng);
        let pooler = rng.bool();
        Self {
            clocks: if arguments.same_clock { Clocks::default() } else { clocks },
            pooler: arguments.pooler.unwrap_or(pooler),
        }
    }

    /// How far the scheduler's clock is behind the database's.
    pub(crate) fn lag(&self) -> Duration {
        Duration::from_secs(u64::try_from(self.clocks.database - self.clocks.scheduler).unwrap_or_default())
    }

    pub(crate) fn describe(&self) -> String {
        let Clocks { database, scheduler, processes } = &self.clocks;
        let ahead = processes.values().filter(|ahead| **ahead > 0).count();
        let behind = processes.values().filter(|ahead| **ahead < 0).count();
        let pooler = if self.pooler { "PgBouncer before PostgreSQL" } else { "no pooler" };
        format!(
            "clocks: PostgreSQL {database:+} s, scheduler {scheduler:+} s, {ahead} processes ahead, {behind} behind; {pooler}"
        )
    }

    /// Checks that every clock is where the setting puts it: a program that is linked statically keeps this machine's.
    pub(crate) async fn verify(
        &self,
        db: &PgPool,
        topology: &Topology,
        seconds: &BTreeMap<String, String>,
    ) -> anyhow::Result<()> {
        let found: DateTime<Utc> = sqlx::query_scalar("select clock_timestamp()").fetch_one(db).await?;
        ensure!((found - clock::now()).abs() < READING, "the clock of PostgreSQL says {found}");
        let http = reqwest::Client::builder().no_proxy().build()?;
        let firsts = topology.functions.iter().map(|one| (one.name.clone(), format!("http://127.0.0.1:{}", one.port)));
        let seconds = seconds.iter().map(|(name, url)| (format!("{name}-2"), url.clone()));
        for (name, url) in firsts.chain(seconds) {
            let answer = http.get(format!("{url}/healthz")).send().await?;
            let date = answer.headers().get("date").context("no date in an answer")?.to_str()?;
            let found = DateTime::parse_from_rfc2822(date)?.to_utc();
            let wanted = Utc::now() + TimeDelta::seconds(self.clocks.process(&name));
            ensure!((found - wanted).abs() < READING, "the clock of {name} says {found}, not {wanted}");
        }
        Ok(())
    }
}

/// One of the two processes of each function, repair, PostgreSQL and the scheduler have clocks of their own.
fn clocks(rng: &mut Rng) -> Clocks {
    let mut processes = BTreeMap::from([("repair".to_owned(), minutes(rng))]);
    for function in FUNCTIONS {
        let name = if rng.bool() { function.name.to_owned() } else { format!("{}-2", function.name) };
        processes.insert(name, minutes(rng));
    }
    let database = minutes(rng);
    // Behind by less: each job is that much later.
    let apart = if rng.bool() { rng.i64(60..240) } else { -rng.i64(60..120) };
    Clocks { database, scheduler: database + apart, processes }
}

/// One to four minutes ahead or behind.
fn minutes(rng: &mut Rng) -> i64 {
    let apart = rng.i64(60..240);
    if rng.bool() { apart } else { -apart }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn the_seed_decides_the_clocks_and_the_pooler_unless_an_option_does() {
        let draw = |seed, options: &[&str]| {
            let given = [&["gauntlet", "--bin-dir", "unused"], options].concat();
            Setting::draw(seed, &Arguments::parse_from(given)).describe()
        };
        assert_eq!(draw(1, &[]), draw(1, &[]));
        assert_ne!(draw(1, &[]), draw(2, &[]));
        let both = ["PgBouncer", "no pooler"].map(|pooler| (0..20).any(|seed| draw(seed, &[]).contains(pooler)));
        assert_eq!(both, [true, true]);
        let plain = "clocks: PostgreSQL +0 s, scheduler +0 s, 0 processes ahead, 0 behind; no pooler";
        assert_eq!(draw(1, &["--same-clock", "--pooler", "false"]), plain);
    }

    #[test]
    fn every_clock_differs_and_only_a_slow_scheduler_clock_causes_lag() {
        for seed in 0..100 {
            let clocks = clocks(&mut Rng::with_seed(seed));
            let apart = clocks.scheduler - clocks.database;
            assert!([clocks.database, apart].iter().chain(clocks.processes.values()).all(|ahead| ahead.abs() >= 60));
            assert_eq!(clocks.processes.len(), FUNCTIONS.len() + 1);
            let lag = Setting { clocks, pooler: false }.lag();
            assert_eq!(lag.as_secs(), u64::try_from(-apart).unwrap_or_default());
        }
    }
}
