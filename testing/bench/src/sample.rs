//! Measured times in milliseconds.

use chrono::{DateTime, Utc};

/// Measurements in ascending order.
#[derive(Clone, Debug)]
pub(super) struct Sample(Vec<f64>);

impl FromIterator<f64> for Sample {
    fn from_iter<T: IntoIterator<Item = f64>>(values: T) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        Self(values)
    }
}

impl Sample {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The smallest value that at least this share of all values does not exceed (nearest rank).
    pub(super) fn quantile(&self, share: f64) -> f64 {
        let rank = (share * self.0.len() as f64).ceil() as usize;
        self.0.get(rank.max(1) - 1).copied().unwrap_or(f64::NAN)
    }

    pub(super) fn min(&self) -> f64 {
        self.quantile(0.0)
    }

    pub(super) fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    pub(super) fn max(&self) -> f64 {
        self.quantile(1.0)
    }

    /// Counts the values below zero: events that happened before their planned time.
    pub(super) fn early(&self) -> usize {
        self.0.iter().filter(|value| **value < 0.0).count()
    }
}

/// From one instant to another; negative if the other is earlier.
pub(super) fn milliseconds(from: DateTime<Utc>, to: DateTime<Utc>) -> f64 {
    (to - from).num_nanoseconds().expect("less than 292 years") as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

    #[test]
    fn quantiles_are_measured_values() {
        let sample: Sample = (1..=200).rev().map(f64::from).collect();
        assert_eq!([sample.min(), sample.median(), sample.quantile(0.99), sample.max()], [1.0, 100.0, 198.0, 200.0]);
        let one: Sample = [7.0].into_iter().collect();
        assert_eq!([one.min(), one.median(), one.quantile(0.99), one.max()], [7.0; 4]);
    }

    #[test]
    fn early_events_are_counted() {
        let now = Utc::now();
        let early = milliseconds(now, now - TimeDelta::microseconds(500));
        assert_eq!(early, -0.5);
        assert_eq!([early, 0.0, 1.0].into_iter().collect::<Sample>().early(), 1);
    }
}
