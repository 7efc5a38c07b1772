//! Times that were measured, in milliseconds.

use std::time::SystemTime;

use anyhow::Context as _;

/// They are kept in order.
#[derive(Clone, Debug)]
pub(super) struct Sample(Vec<f64>);

impl FromIterator<f64> for Sample {
    fn from_iter<T: IntoIterator<Item = f64>>(times: T) -> Self {
        let mut times: Vec<f64> = times.into_iter().collect();
        times.sort_by(f64::total_cmp);
        Self(times)
    }
}

impl Sample {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The smallest time that at least this share of all does not exceed (nearest rank).
    pub(super) fn quantile(&self, share: f64) -> f64 {
        let rank = (share * self.0.len() as f64).ceil() as usize;
        self.0.get(rank.max(1) - 1).copied().unwrap_or(f64::NAN)
    }

    pub(super) fn max(&self) -> f64 {
        self.quantile(1.0)
    }

    /// How many are below zero: something happened before its time.
    pub(super) fn early(&self) -> usize {
        self.0.iter().filter(|time| **time < 0.0).count()
    }
}

/// From one instant to another, negative if the other is earlier.
pub(super) fn milliseconds(from: SystemTime, to: SystemTime) -> f64 {
    match to.duration_since(from) {
        Ok(later) => later.as_secs_f64() * 1000.0,
        Err(earlier) => -earlier.duration().as_secs_f64() * 1000.0,
    }
}

/// The rows of `psql`, each as numbers.
pub(super) fn numbers<const COLUMNS: usize>(rows: &str) -> anyhow::Result<Vec<[f64; COLUMNS]>> {
    let read = |row: &str| {
        let columns: Vec<f64> = row.split('|').map(str::parse).collect::<Result<_, _>>().ok()?;
        columns.try_into().ok()
    };
    rows.lines().map(|row| read(row).with_context(|| format!("'{row}' is not {COLUMNS} numbers"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn quantiles_are_times_that_were_measured() {
        let sample: Sample = (1..=200).rev().map(f64::from).collect();
        assert_eq!([sample.quantile(0.5), sample.quantile(0.99), sample.max()], [100.0, 198.0, 200.0]);
        let one: Sample = [7.0].into_iter().collect();
        assert_eq!([one.quantile(0.5), one.quantile(0.99), one.max()], [7.0; 3]);
    }

    #[test]
    fn what_happens_before_its_time_is_counted() {
        let now = SystemTime::now();
        let early = milliseconds(now, now - Duration::from_micros(500));
        assert_eq!(early, -0.5);
        assert_eq!([early, 0.0, 1.0].into_iter().collect::<Sample>().early(), 1);
    }

    #[test]
    fn a_row_that_lacks_a_number_is_an_error() {
        assert_eq!(numbers::<2>("1|2.5\n3|4\n").unwrap(), [[1.0, 2.5], [3.0, 4.0]]);
        assert!(numbers::<2>("1|\n").is_err());
        assert!(numbers::<2>("1\n").is_err());
    }
}
