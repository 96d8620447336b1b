//! A latency as a peak-sensitive moving average: a slow answer counts at once and in full, quick ones
//! bring it down over seconds, and so does time alone. A target that was slow is tried again when the
//! memory of it has faded.

use super::age;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// In that time the weight of an observation falls to 1/e.
pub const MEMORY: Duration = Duration::from_secs(10);

/// Milliseconds of a tick. The stamp has 32 bits: 497 days.
const TICK: u128 = 10;

/// No failure makes a target look slower than that, in seconds.
const SLOWEST: f32 = 3600.0;

/// The average: seconds as `f32` in the upper half, the tick it was true at in the lower; 0 is none.
#[derive(Debug, Default)]
pub struct Latency(AtomicU64);

impl Latency {
    /// Takes an observation.
    pub fn observe(&self, sample: Duration, now: Instant) {
        let sample = sample.as_secs_f32().max(f32::MIN_POSITIVE);
        self.update(now, |average, weight| {
            let Some(average) = average else { return Some(sample) };
            let aged = average * weight;
            Some(if sample > aged { sample } else { aged + sample * (1.0 - weight) })
        });
    }

    /// Doubles it, if there is any; what has faded comes back.
    pub fn double(&self, now: Instant) {
        self.update(now, |average, _| average.map(|average| (average * 2.0).min(SLOWEST)));
    }

    /// The average in seconds, faded; `None` if nothing was observed.
    pub fn get(&self, now: Instant) -> Option<f64> {
        let (average, stamp) = unpack(self.0.load(Ordering::Relaxed))?;
        Some(f64::from(average * weight(stamp, tick(now))))
    }

    fn update(&self, now: Instant, next: impl Fn(Option<f32>, f32) -> Option<f32>) {
        let now = tick(now);
        // If it fails there was nothing to change.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |bits| {
            let known = unpack(bits);
            let weight = known.map_or(0.0, |(_, stamp)| weight(stamp, now));
            // A thread that comes late must not turn the time back.
            let stamp = known.map_or(now, |(_, stamp)| if elapsed(stamp, now) == 0 { stamp } else { now });
            let average = next(known.map(|(average, _)| average), weight)?;
            Some(u64::from(average.to_bits()) << 32 | u64::from(stamp))
        });
    }
}

fn unpack(bits: u64) -> Option<(f32, u32)> {
    let average = u32::try_from(bits >> 32).ok()?;
    let stamp = u32::try_from(bits & u64::from(u32::MAX)).ok()?;
    (bits != 0).then_some((f32::from_bits(average), stamp))
}

#[allow(clippy::cast_possible_truncation)] // wraps after 497 days; see `elapsed`
fn tick(now: Instant) -> u32 {
    (age(now).as_millis() / TICK) as u32
}

/// Ticks between the two; none if the order is reversed.
fn elapsed(stamp: u32, now: u32) -> u32 {
    let between = now.wrapping_sub(stamp);
    if between > u32::MAX / 2 { 0 } else { between }
}

#[allow(clippy::cast_precision_loss)] // past a million ticks the weight is zero
fn weight(stamp: u32, now: u32) -> f32 {
    let memory = MEMORY.as_millis() / TICK;
    (-(elapsed(stamp, now) as f32) / memory as f32).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn near(latency: &Latency, now: Instant, seconds: f64) {
        let got = latency.get(now).unwrap();
        assert!((got / seconds - 1.0).abs() < 0.01, "{got} is not {seconds}");
    }

    #[test]
    fn a_peak_counts_at_once_and_quick_answers_bring_it_down_slowly() {
        let (latency, now) = (Latency::default(), Instant::now());
        assert_eq!(latency.get(now), None);
        latency.observe(SECOND, now);
        near(&latency, now, 1.0);
        latency.observe(SECOND * 5, now);
        near(&latency, now, 5.0);
        latency.observe(SECOND, now);
        near(&latency, now, 5.0);
        let later = now + MEMORY;
        latency.observe(SECOND, later);
        near(&latency, later, 1.0 + 4.0 / std::f64::consts::E);
    }

    #[test]
    fn it_fades_and_a_failure_brings_it_back_doubled() {
        let (latency, now) = (Latency::default(), Instant::now());
        latency.double(now);
        assert_eq!(latency.get(now), None);
        latency.observe(SECOND, now);
        near(&latency, now + MEMORY, 1.0 / std::f64::consts::E);
        latency.double(now + MEMORY);
        near(&latency, now + MEMORY, 2.0);
        (0..100).for_each(|_| latency.double(now + MEMORY));
        near(&latency, now + MEMORY, f64::from(SLOWEST));
    }

    #[test]
    fn a_thread_that_comes_late_does_not_turn_the_time_back() {
        let (latency, now) = (Latency::default(), Instant::now());
        latency.observe(SECOND, now + MEMORY);
        latency.observe(SECOND, now);
        near(&latency, now + MEMORY, 1.0);
    }
}
