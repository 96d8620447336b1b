//! Whether a target takes requests: a breaker of its own, and the quota that it shares.
//!
//! Both are read without a lock on every pick, by all worker threads. Time is given, not looked at,
//! so that tests need not wait.

use super::fingerprint::Fingerprint;
use once_cell::sync::Lazy;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

/// Points in time are kept as milliseconds since this one; 0 stands for none.
static EPOCH: Lazy<Instant> = Lazy::new(Instant::now);

fn millis(at: Instant) -> u64 {
    u64::try_from(at.saturating_duration_since(*EPOCH).as_millis()).unwrap_or(u64::MAX).saturating_add(1)
}

/// `max_fails` and `fail_timeout`.
#[derive(Clone, Copy, Debug)]
pub struct Tolerance {
    /// So many failures in a row take a target out; 0: none ever does.
    pub fails: u32,
    /// For so long.
    pub out: Duration,
}

impl Default for Tolerance {
    fn default() -> Self {
        Self { fails: 0, out: Duration::from_secs(10) }
    }
}

/// What a target can be; the numbers are those of `tollgate_target_state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It may be asked.
    Healthy = 0,
    /// Its time is over: one request at a time may try it.
    OnTrial = 1,
    /// It has failed too often: out for a while.
    Out = 2,
    /// Its quota is used up.
    Cooling = 3,
}

/// The breaker of one target.
///
/// KONG(ai-proxy-advanced): failures add up there over any time, until a success that is later than
/// `fail_timeout`; one failure in a thousand requests would take a target out. Here only failures in a
/// row count.
#[derive(Debug, Default)]
pub struct Breaker {
    fails: AtomicU32,
    /// Until when the target is out; 0 while it is healthy.
    until: AtomicU64,
    trial: AtomicBool,
}

impl Breaker {
    /// What the target is.
    pub fn condition(&self, now: Instant) -> Condition {
        match self.until.load(Ordering::Acquire) {
            0 => Condition::Healthy,
            until if millis(now) < until => Condition::Out,
            _ => Condition::OnTrial,
        }
    }

    /// Whether a request may be sent to it now.
    pub fn admits(&self, now: Instant) -> bool {
        match self.condition(now) {
            Condition::Healthy => true,
            Condition::Out | Condition::Cooling => false,
            Condition::OnTrial => !self.trial.load(Ordering::Acquire),
        }
    }

    /// When it may be tried again, if it is out.
    pub fn left(&self, now: Instant) -> Option<Duration> {
        remaining(self.until.load(Ordering::Acquire), now)
    }

    /// Sends a request to it: `None` if another took the trial meanwhile.
    pub fn enter(&self, now: Instant) -> Option<Entry<'_>> {
        let trial = match self.condition(now) {
            Condition::Healthy => false,
            Condition::Out | Condition::Cooling => return None,
            Condition::OnTrial => {
                self.trial.compare_exchange(false, true, Ordering::AcqRel, Ordering::Acquire).ok()?;
                true
            }
        };
        Some(Entry { breaker: self, trial, told: false })
    }
}

/// A request under way to a target. Dropped without a word it says nothing of the target's health.
#[derive(Debug)]
pub struct Entry<'a> {
    breaker: &'a Breaker,
    trial: bool,
    told: bool,
}

impl Entry<'_> {
    /// The target did what it should.
    pub fn succeeded(mut self) {
        self.told = true;
        let breaker = self.breaker;
        // Nearly always the case, and then nothing is written that other threads read.
        if breaker.fails.load(Ordering::Relaxed) != 0 || self.trial {
            breaker.fails.store(0, Ordering::Relaxed);
            breaker.until.store(0, Ordering::Release);
            breaker.trial.store(false, Ordering::Release);
        }
    }

    /// It failed.
    pub fn failed(mut self, now: Instant, tolerance: Tolerance) {
        self.told = true;
        let fails = self.breaker.fails.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if tolerance.fails > 0 && (self.trial || fails >= tolerance.fails) {
            self.breaker.until.store(millis(now + tolerance.out), Ordering::Release);
        }
        if self.trial {
            self.breaker.trial.store(false, Ordering::Release);
        }
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        if self.trial && !self.told {
            self.breaker.trial.store(false, Ordering::Release);
        }
    }
}

/// A quota: what a provider grants one account for one model in one region. All targets that draw on
/// it share it, in whichever route they stand.
#[derive(Debug, Default)]
pub struct Quota {
    until: AtomicU64,
}

static QUOTAS: Lazy<Mutex<HashMap<Fingerprint, Weak<Quota>>>> = Lazy::new(Mutex::default);

impl Quota {
    /// The quota of that key.
    pub fn shared(key: Fingerprint) -> Arc<Self> {
        let mut all = QUOTAS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.get(&key).and_then(Weak::upgrade) {
            return known;
        }
        all.retain(|_, quota| quota.strong_count() > 0);
        let quota = Arc::new(Self::default());
        all.insert(key, Arc::downgrade(&quota));
        quota
    }

    /// It is used up, for so long from now on. A shorter time than is known already changes nothing.
    pub fn cool(&self, now: Instant, time: Duration) {
        self.until.fetch_max(millis(now + time), Ordering::AcqRel);
    }

    /// How long it is still used up.
    pub fn left(&self, now: Instant) -> Option<Duration> {
        remaining(self.until.load(Ordering::Acquire), now)
    }
}

fn remaining(until: u64, now: Instant) -> Option<Duration> {
    until.checked_sub(millis(now)).filter(|left| *left > 0).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const TWO_FAILS: Tolerance = Tolerance { fails: 2, out: SECOND };

    fn fail(breaker: &Breaker, now: Instant) {
        breaker.enter(now).unwrap().failed(now, TWO_FAILS);
    }

    #[test]
    fn failures_in_a_row_open_it_and_one_trial_closes_it() {
        let (breaker, now) = (Breaker::default(), *EPOCH);
        fail(&breaker, now);
        assert!(breaker.admits(now));
        fail(&breaker, now);
        assert_eq!(breaker.condition(now), Condition::Out);
        assert!(!breaker.admits(now) && breaker.enter(now).is_none());
        assert_eq!(breaker.left(now), Some(SECOND));
        let later = now + SECOND;
        assert_eq!((breaker.condition(later), breaker.left(later)), (Condition::OnTrial, None));
        let trial = breaker.enter(later).unwrap();
        assert!(!breaker.admits(later) && breaker.enter(later).is_none(), "one at a time");
        trial.succeeded();
        assert_eq!(breaker.condition(later), Condition::Healthy);
        fail(&breaker, later);
        assert!(breaker.admits(later), "the count begins anew");
    }

    #[test]
    fn a_failed_trial_opens_it_again_at_once() {
        let (breaker, now) = (Breaker::default(), *EPOCH);
        fail(&breaker, now);
        fail(&breaker, now);
        let later = now + SECOND;
        fail(&breaker, later);
        assert_eq!((breaker.condition(later), breaker.left(later)), (Condition::Out, Some(SECOND)));
        assert!(breaker.enter(later + SECOND).is_some());
    }

    #[test]
    fn a_trial_that_is_given_up_leaves_room_for_another() {
        let (breaker, now) = (Breaker::default(), *EPOCH);
        fail(&breaker, now);
        fail(&breaker, now);
        let later = now + SECOND;
        drop(breaker.enter(later).unwrap());
        assert!(breaker.admits(later));
        assert_eq!(breaker.condition(later), Condition::OnTrial);
    }

    #[test]
    fn a_success_between_them_keeps_failures_apart_and_no_tolerance_is_no_breaker() {
        let (breaker, now) = (Breaker::default(), *EPOCH);
        for _ in 0..10 {
            fail(&breaker, now);
            breaker.enter(now).unwrap().succeeded();
        }
        assert!(breaker.admits(now));
        for _ in 0..100 {
            breaker.enter(now).unwrap().failed(now, Tolerance::default());
        }
        assert!(breaker.admits(now));
    }

    #[test]
    fn a_quota_is_shared_and_the_longest_word_counts() {
        let (one, other) =
            (Quota::shared(Fingerprint::of_bytes(b"one")), Quota::shared(Fingerprint::of_bytes(b"one")));
        let now = *EPOCH;
        one.cool(now, SECOND * 3);
        other.cool(now, SECOND);
        assert_eq!(other.left(now), Some(SECOND * 3));
        assert_eq!(other.left(now + SECOND * 3), None);
        assert_eq!(Quota::shared(Fingerprint::of_bytes(b"other")).left(now), None);
    }

    #[test]
    fn a_quota_is_forgotten_with_its_last_target_and_not_before() {
        let [held, left, next] = [&b"held"[..], b"left", b"next"].map(Fingerprint::of_bytes);
        let keeper = Quota::shared(held);
        drop(Quota::shared(left));
        let _next = Quota::shared(next);
        assert!(!QUOTAS.lock().unwrap().contains_key(&left), "nobody asks for it");
        assert!(Arc::ptr_eq(&keeper, &Quota::shared(held)));
    }
}
