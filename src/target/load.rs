//! What a target bears: how many requests are with it, what they used of late, and how long it takes.
//!
//! All of it is atomic, because every worker thread reads it for every pick; and time is given by the
//! caller. The invariant: for each [`Lease`] that was begun the count of requests goes down again
//! exactly once, whatever becomes of the request.

use super::state::State;
use crate::meter::account::Settlement;
use once_cell::sync::Lazy;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

mod latency;
mod level;

use latency::Latency;
pub use latency::MEMORY;
use level::Level;

/// What time is counted from in here.
static EPOCH: Lazy<Instant> = Lazy::new(Instant::now);

/// Time since the epoch.
fn age(now: Instant) -> Duration {
    now.saturating_duration_since(*EPOCH)
}

/// What one target bears.
#[derive(Debug)]
pub struct Load {
    in_flight: AtomicU32,
    prompt: Level,
    completion: Level,
    /// How many exchanges the two above are of.
    exchanges: Level,
    whole: Latency,
    token: Latency,
    /// When it was last asked: milliseconds since the epoch, from 1; 0 is never.
    asked: AtomicU64,
}

/// What a target used of late, each in its own unit and all equally aged.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Used {
    /// Tokens.
    pub prompt: f64,
    /// Tokens.
    pub completion: f64,
    /// How many.
    pub exchanges: f64,
}

/// What one exchange took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spent {
    /// Tokens.
    pub prompt: u64,
    /// Tokens of the answer.
    pub completion: u64,
    /// From the request's leaving to the end of the answer.
    pub whole: Duration,
    /// Of a token of the answer; `None` where it had none.
    pub per_token: Option<Duration>,
}

impl Spent {
    /// What a settled exchange took; `None` where nothing was counted. `whole` is its time from the
    /// request's leaving to the answer's end.
    pub fn of(settlement: &Settlement, whole: Duration) -> Option<Self> {
        let tally = settlement.tally.as_ref()?;
        let completion = tally.completion.tokens;
        // The first token of a stream waited for the prompt to be read; the others are its pace.
        let paced = settlement.times.rest.filter(|_| completion > 1).unwrap_or(whole);
        let tokens = u32::try_from(completion).unwrap_or(u32::MAX);
        Some(Self { prompt: tally.prompt.tokens, completion, whole, per_token: paced.checked_div(tokens) })
    }
}

/// Which of its latencies a target is judged by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
pub enum LatencyOf {
    /// Of one token of the answer: comparable between long and short answers.
    #[default]
    #[serde(rename = "tpot")]
    Token,
    /// Of the whole exchange.
    #[serde(rename = "e2e")]
    Whole,
}

impl Default for Load {
    fn default() -> Self {
        Lazy::force(&EPOCH);
        Self {
            in_flight: AtomicU32::new(0),
            prompt: Level::default(),
            completion: Level::default(),
            exchanges: Level::default(),
            whole: Latency::default(),
            token: Latency::default(),
            asked: AtomicU64::new(0),
        }
    }
}

impl Load {
    /// How many requests are with the target.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// What it used, as much of it as still counts.
    pub fn used(&self, now: Instant) -> Used {
        Used {
            prompt: self.prompt.get(now),
            completion: self.completion.get(now),
            exchanges: self.exchanges.get(now),
        }
    }

    /// Its latency in seconds; `None` before the first exchange.
    pub fn latency(&self, of: LatencyOf, now: Instant) -> Option<f64> {
        self.measured(of).get(now)
    }

    /// How long ago it was last asked; `None` if never.
    pub fn unasked_for(&self, now: Instant) -> Option<Duration> {
        let at = self.asked.load(Ordering::Relaxed).checked_sub(1)?;
        Some(age(now).saturating_sub(Duration::from_millis(at)))
    }

    fn measured(&self, of: LatencyOf) -> &Latency {
        match of {
            LatencyOf::Token => &self.token,
            LatencyOf::Whole => &self.whole,
        }
    }
}

impl State {
    /// A request is about to go to the target.
    pub fn begin(self: &Arc<Self>, now: Instant) -> Lease {
        self.load.in_flight.fetch_add(1, Ordering::Relaxed);
        let at = u64::try_from(age(now).as_millis()).unwrap_or(u64::MAX - 1);
        self.load.asked.store(at + 1, Ordering::Relaxed);
        Lease { state: self.clone() }
    }
}

/// A request that is with a target, until it is dropped.
///
/// [`Lease::settle`] says what an answered request took, [`Lease::fail`] that the target failed it. One
/// that is only dropped says nothing of the target: its client has gone, or was at fault.
#[derive(Debug)]
#[must_use = "dropping it says that the request is no longer with the target"]
pub struct Lease {
    state: Arc<State>,
}

impl Lease {
    /// The target answered.
    pub fn settle(self, spent: &Spent, now: Instant) {
        let load = &self.state.load;
        load.prompt.add(spent.prompt, now);
        load.completion.add(spent.completion, now);
        load.exchanges.add(1, now);
        load.whole.observe(spent.whole, now);
        if let Some(per_token) = spent.per_token {
            load.token.observe(per_token, now);
        }
    }

    /// The target failed. A quick failure must not pass for a quick answer, so it counts as an answer
    /// that took twice as long as the target's.
    pub fn fail(self, now: Instant) {
        self.state.load.whole.double(now);
        self.state.load.token.double(now);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.state.load.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_until_their_end_whatever_it_is() {
        let (state, now) = (Arc::new(State::default()), Instant::now());
        assert_eq!(state.load.unasked_for(now), None);
        let leases = [0; 3].map(|_| state.begin(now));
        assert_eq!(state.load.in_flight(), 3);
        let [answered, failed, dropped] = leases;
        answered.settle(&Spent { prompt: 3, ..Spent::default() }, now);
        failed.fail(now);
        drop(dropped);
        assert_eq!(state.load.in_flight(), 0);
        assert!(state.load.unasked_for(now + Duration::from_secs(3)).unwrap() >= Duration::from_secs(3));
        let panicked = std::thread::spawn({
            let state = state.clone();
            move || {
                let _lease = state.begin(now);
                panic!("in the middle of a request");
            }
        });
        assert!(panicked.join().is_err() && state.load.in_flight() == 0);
    }

    #[test]
    fn the_pace_of_a_stream_is_that_of_its_tokens() {
        use crate::meter::metrics::{Ending, Times};
        use crate::meter::tally::Tally;
        use crate::wire::usage::Usage;
        let second = Duration::from_secs(1);
        let spent = |completion: Option<u64>, rest: Option<Duration>| {
            let usage = Usage { prompt: Some(9), completion, ..Usage::default() };
            let tally = completion.map(|_| Tally::settle(&usage, false, None, || 0, || 0));
            let times = Times { rest, ..Times::default() };
            let ending = Ending::Complete;
            Spent::of(&Settlement { ending, tally, times, streamed: rest.is_some(), text: None }, second * 9)
        };
        let stream = spent(Some(4), Some(second * 2)).unwrap();
        assert_eq!((stream.prompt, stream.completion, stream.whole), (9, 4, second * 9));
        assert_eq!(stream.per_token, Some(second / 2));
        assert_eq!(spent(Some(3), None).unwrap().per_token, Some(second * 3));
        assert_eq!(spent(Some(1), Some(second / 9)).unwrap().per_token, Some(second * 9));
        assert_eq!(spent(Some(0), None).unwrap().per_token, None);
        assert!(spent(None, None).is_none());
    }

    #[test]
    fn what_was_used_adds_up_across_threads() {
        let (state, now) = (Arc::new(State::default()), Instant::now());
        let spent = Spent { prompt: 3, completion: 7, ..Spent::default() };
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1000).for_each(|_| state.begin(now).settle(&spent, now)));
            }
        });
        let used = state.load.used(now);
        for (sum, exact) in [(used.prompt, 12e3), (used.completion, 28e3), (used.exchanges, 4e3)] {
            assert!((sum / exact - 1.0).abs() < 1e-6, "{sum} is not {exact}");
        }
        assert_eq!(state.load.latency(LatencyOf::Token, now), None, "no answer had tokens that were timed");
        assert!(state.load.latency(LatencyOf::Whole, now).is_some());
    }

    #[test]
    fn a_failure_is_no_quick_answer() {
        let (state, now) = (Arc::new(State::default()), Instant::now());
        state.begin(now).fail(now);
        assert_eq!(state.load.latency(LatencyOf::Whole, now), None, "there is nothing yet to double");
        let spent = Spent { whole: Duration::from_secs(1), ..Spent::default() };
        state.begin(now).settle(&spent, now);
        state.begin(now).fail(now);
        let doubled = state.load.latency(LatencyOf::Whole, now).unwrap();
        assert!((doubled - 2.0).abs() < 1e-3, "{doubled}");
    }
}
