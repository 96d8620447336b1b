//! A sum that ages: what was added counts half after a minute.
//!
//! It is kept as the logarithm of the sum in units that shrink with time, so that ageing needs no
//! write: an addition is one atomic exchange, a reading one load.

use super::age;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// After that long an addition counts half. Providers ration tokens by the minute.
const HALF_LIFE: Duration = Duration::from_mins(1);

/// The sum.
#[derive(Debug)]
pub struct Level(AtomicU64);

impl Default for Level {
    fn default() -> Self {
        Self(AtomicU64::new(f64::NEG_INFINITY.to_bits()))
    }
}

impl Level {
    /// Adds an amount.
    #[allow(clippy::cast_precision_loss)] // counts of tokens are far below 2^53
    pub fn add(&self, amount: u64, now: Instant) {
        if amount == 0 {
            return;
        }
        let term = (amount as f64).log2() + half_lives(now);
        let added = |bits| Some(sum(f64::from_bits(bits), term).to_bits());
        // It cannot fail: `added` always has a value.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, added);
    }

    /// What is left of the sum.
    pub fn get(&self, now: Instant) -> f64 {
        (f64::from_bits(self.0.load(Ordering::Relaxed)) - half_lives(now)).exp2()
    }
}

fn half_lives(now: Instant) -> f64 {
    age(now).as_secs_f64() / HALF_LIFE.as_secs_f64()
}

/// The logarithm of the sum of two numbers, from theirs.
fn sum(a: f64, b: f64) -> f64 {
    let (large, small) = if a > b { (a, b) } else { (b, a) };
    large + (small - large).exp2().ln_1p() * std::f64::consts::LOG2_E
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_adds_up_and_ages() {
        let (level, now) = (Level::default(), *super::super::EPOCH);
        assert!(level.get(now) < f64::MIN_POSITIVE);
        level.add(0, now);
        assert!(level.get(now) < f64::MIN_POSITIVE);
        (0..10_000).for_each(|_| level.add(100, now));
        assert!((level.get(now) / 1e6 - 1.0).abs() < 1e-6, "{}", level.get(now));
        assert!((level.get(now + HALF_LIFE) / 5e5 - 1.0).abs() < 1e-6);
        level.add(500_000, now + HALF_LIFE);
        assert!((level.get(now + HALF_LIFE * 2) / 5e5 - 1.0).abs() < 1e-6);
    }

    #[test]
    fn years_do_not_overflow_it() {
        let (level, now) = (Level::default(), Instant::now() + Duration::from_hours(24 * 365 * 10));
        (0..1_000).for_each(|_| level.add(1_000, now));
        assert!((level.get(now) / 1e6 - 1.0).abs() < 1e-3, "{}", level.get(now));
    }
}
