//! The target that answers soonest: its latency, as a moving average that jumps to peaks, times the
//! requests it has and this one, by weight.
//!
//! A target of which nothing is known is tried by one request at a time, and one that fails without
//! ever having answered is left alone between such trials.

use super::least::least;
use super::round_robin::RoundRobin;
use super::{Algorithm, Turn};
use crate::target::load::{LatencyOf, MEMORY};
use crate::target::state::State;
use std::sync::Arc;

/// The algorithm.
pub struct LowestLatency {
    by: LatencyOf,
    targets: Vec<(Arc<State>, u32)>,
    turns: RoundRobin,
}

/// What a request would cost at a target; the earlier variant is the cheaper.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
enum Cost {
    /// Unknown: worth a request.
    Trial,
    /// Seconds.
    Known(f64),
    /// Unknown, and a trial is under way or has just failed: requests for its weight.
    Awaited(f64),
}

impl LowestLatency {
    /// Over those targets, each with its weight.
    pub fn new(by: LatencyOf, targets: Vec<(Arc<State>, u32)>) -> Self {
        Self { by, turns: RoundRobin::new(targets.iter().map(|(_, weight)| *weight)), targets }
    }

    fn cost(&self, index: usize, turn: &Turn<'_>) -> Cost {
        let Some((state, weight)) = self.targets.get(index) else { return Cost::Awaited(f64::INFINITY) };
        let load = &state.load;
        let share = (f64::from(load.in_flight()) + 1.0) / f64::from(*weight);
        match load.latency(self.by, turn.now) {
            Some(latency) => Cost::Known(latency * share),
            None if load.unasked_for(turn.now).is_none_or(|time| load.in_flight() == 0 && time > MEMORY) => {
                Cost::Trial
            }
            None => Cost::Awaited(share),
        }
    }
}

impl Algorithm for LowestLatency {
    fn pick(&self, turn: &Turn<'_>) -> Option<usize> {
        least(&self.turns, self.targets.len(), turn, |index| self.cost(index, turn))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::balance::{at, counts, turn};
    use crate::target::load::Spent;
    use std::time::{Duration, Instant};

    fn algorithm(by: LatencyOf, weights: &[u32]) -> LowestLatency {
        LowestLatency::new(by, weights.iter().map(|weight| (Arc::default(), *weight)).collect())
    }

    /// One exchange, if there is a pick: it takes the latency of its target.
    fn exchange(algorithm: &LowestLatency, now: Instant, millis: &[u64]) -> usize {
        let index = algorithm.pick(&at(now, &|_| true)).unwrap();
        let time = Duration::from_millis(millis[index]);
        let spent = Spent { whole: time, per_token: Some(time / 10), ..Spent::default() };
        algorithm.targets[index].0.begin(now).settle(&spent, now);
        index
    }

    #[test]
    fn requests_that_stay_are_spread_by_speed_and_weight() {
        let algorithm = algorithm(LatencyOf::Whole, &[1, 1, 2]);
        let now = Instant::now();
        for (target, millis) in [(0, 100), (1, 300), (2, 300)] {
            let spent = Spent { whole: Duration::from_millis(millis), ..Spent::default() };
            algorithm.targets[target].0.begin(now).settle(&spent, now);
        }
        let mut leases = Vec::new();
        let counts = counts(10_000, || {
            let index = algorithm.pick(&at(now, &|_| true)).unwrap();
            leases.push(algorithm.targets[index].0.begin(now));
            index
        });
        // The shares are as weight / latency: 6 to 2 to 4.
        for (count, theory) in counts.iter().zip([5_000_usize, 1_667, 3_333]) {
            assert!(count.abs_diff(theory) <= 100, "{counts:?}");
        }
    }

    #[test]
    fn all_are_tried_and_the_quickest_is_kept() {
        for by in [LatencyOf::Token, LatencyOf::Whole] {
            let algorithm = algorithm(by, &[1, 1, 1]);
            let start = Instant::now();
            let picks = counts(10_000, || exchange(&algorithm, start, &[900, 300, 600]));
            assert_eq!(picks, [1, 9_998, 1]);
        }
    }

    #[test]
    fn a_target_that_becomes_slow_is_left_within_20_requests_and_tried_again_later() {
        let algorithm = algorithm(LatencyOf::Token, &[1, 1]);
        let (start, step) = (Instant::now(), Duration::from_millis(50));
        let mut now = start;
        let mut next = |millis: &[u64]| {
            now += step;
            exchange(&algorithm, now, millis)
        };
        let quick = (0..200).filter(|_| next(&[100, 150]) == 0).count();
        assert!(quick > 150, "{quick}");
        let until_left = (0..20).take_while(|_| next(&[1_000, 150]) == 0).count();
        assert!(until_left < 20, "the slowed target is still preferred");
        let still = (0..100).filter(|_| next(&[1_000, 150]) == 0).count();
        assert!(still <= 2, "{still} of 100 went to the slow target");
        let back = (0..2_000).filter(|_| next(&[100, 150]) == 0).count();
        assert!(back > 1_000, "only {back} of 2000 went to it when it was quick again");
    }

    #[test]
    fn an_untried_target_gets_one_request_at_a_time() {
        let algorithm = algorithm(LatencyOf::Whole, &[1, 1]);
        let now = Instant::now();
        let spent = Spent { whole: Duration::from_secs(1), ..Spent::default() };
        algorithm.targets[0].0.begin(now).settle(&spent, now);
        assert_eq!(algorithm.pick(&at(now, &|_| true)), Some(1));
        let trial = algorithm.targets[1].0.begin(now);
        assert_eq!(algorithm.pick(&at(now, &|_| true)), Some(0));
        trial.fail(now);
        assert_eq!(algorithm.pick(&at(now + MEMORY / 2, &|_| true)), Some(0), "it has just failed");
        assert_eq!(algorithm.pick(&at(now + MEMORY * 2, &|_| true)), Some(1));
        assert_eq!(algorithm.pick(&turn(&|_| false)), None);
    }

    #[test]
    fn a_target_that_fails_quickly_loses_its_lead() {
        let algorithm = algorithm(LatencyOf::Whole, &[1, 1]);
        let now = Instant::now();
        for (target, millis) in [(0, 100), (1, 300)] {
            let spent = Spent { whole: Duration::from_millis(millis), ..Spent::default() };
            algorithm.targets[target].0.begin(now).settle(&spent, now);
        }
        let failed = (0..20).take_while(|_| {
            let index = algorithm.pick(&at(now, &|_| true)).unwrap();
            algorithm.targets[index].0.begin(now).fail(now);
            index == 0
        });
        assert_eq!(failed.count(), 2);
    }
}
