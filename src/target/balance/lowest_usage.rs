//! The target that was used least for its weight, in tokens or in money.
//!
//! Use is forgotten by half each minute (see [`Load`](crate::target::load::Load)): a target that was
//! added, or that was away, takes more than its share for well under a minute, not until it has caught
//! up with the history of the others. Over any longer time the shares are those of the weights.
//!
//! A request counts as soon as it leaves, as much as the target's requests do on average: its true use
//! is known only at its end, and until then all others would follow it to the same target.

use super::least::least;
use super::round_robin::RoundRobin;
use super::settings::Counted;
use super::{Algorithm, Turn};
use crate::target::load::Used;
use crate::target::state::State;
use std::sync::Arc;

/// The algorithm.
pub struct LowestUsage {
    targets: Vec<Metered>,
    turns: RoundRobin,
}

/// A target, and what its tokens count.
struct Metered {
    state: Arc<State>,
    weight: f64,
    prompt: f64,
    completion: f64,
}

/// What is configured of a target.
pub struct Rated {
    /// What it used of late.
    pub state: Arc<State>,
    /// Its share.
    pub weight: u32,
    /// Of a prompt's token and of a completion's.
    pub price: Option<(f64, f64)>,
}

impl LowestUsage {
    /// Over those targets.
    pub fn new(counted: Counted, targets: Vec<Rated>) -> Self {
        let usual = usual(&targets);
        let turns = RoundRobin::new(targets.iter().map(|target| target.weight));
        let metered = |target: Rated| {
            let (prompt, completion) = match counted {
                Counted::Total => (1.0, 1.0),
                Counted::Prompt => (1.0, 0.0),
                Counted::Completion => (0.0, 1.0),
                // A target without a price costs something, too: taken for free, it would get it all.
                Counted::Cost => target.price.unwrap_or(usual),
            };
            Metered { state: target.state, weight: f64::from(target.weight), prompt, completion }
        };
        Self { targets: targets.into_iter().map(metered).collect(), turns }
    }
}

/// The mean of the prices that are known.
#[allow(clippy::cast_precision_loss)] // a count of targets
fn usual(targets: &[Rated]) -> (f64, f64) {
    let known: Vec<_> = targets.iter().filter_map(|target| target.price).collect();
    if known.is_empty() {
        return (1.0, 1.0);
    }
    let (prompt, completion) = known.iter().fold((0.0, 0.0), |(a, b), (c, d)| (a + c, b + d));
    (prompt / known.len() as f64, completion / known.len() as f64)
}

impl Metered {
    /// Its use, and of how many exchanges.
    fn used(&self, turn: &Turn<'_>) -> (f64, f64) {
        let Used { prompt, completion, exchanges } = self.state.load.used(turn.now);
        (prompt * self.prompt + completion * self.completion, exchanges)
    }

    /// What it will have been when the requests under way have ended. `mean` is what a request takes
    /// where this target has not answered any.
    fn expected(&self, turn: &Turn<'_>, mean: f64) -> f64 {
        let (used, exchanges) = self.used(turn);
        let each = if exchanges > 0.0 { used / exchanges } else { mean };
        (used + each * f64::from(self.state.load.in_flight())) / self.weight
    }
}

impl Algorithm for LowestUsage {
    fn pick(&self, turn: &Turn<'_>) -> Option<usize> {
        let all = self.targets.iter().map(|target| target.used(turn));
        let (used, exchanges) = all.fold((0.0, 0.0), |(a, b), (c, d)| (a + c, b + d));
        let mean = if exchanges > 0.0 && used > 0.0 { used / exchanges } else { 1.0 };
        least(&self.turns, self.targets.len(), turn, |index| {
            self.targets.get(index).map_or(f64::INFINITY, |target| target.expected(turn, mean))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::balance::{at, counts, turn};
    use crate::target::load::Spent;
    use std::time::{Duration, Instant};

    fn algorithm(counted: Counted, targets: &[(u32, Option<(f64, f64)>)]) -> LowestUsage {
        let rated =
            |(weight, price): &(u32, _)| Rated { state: Arc::default(), weight: *weight, price: *price };
        LowestUsage::new(counted, targets.iter().map(rated).collect())
    }

    /// Picks and settles `rounds` exchanges, in which each target spends its own kind of tokens.
    fn run(algorithm: &LowestUsage, rounds: usize, spent: &[(u64, u64)]) -> Vec<usize> {
        let now = Instant::now();
        counts(rounds, || {
            let index = algorithm.pick(&turn(&|_| true)).unwrap();
            let (prompt, completion) = spent[index];
            let spent = Spent { prompt, completion, ..Spent::default() };
            algorithm.targets[index].state.begin(now).settle(&spent, now);
            index
        })
    }

    fn assert_near(counts: &[usize], theory: &[usize]) {
        let close = |(count, theory): (&usize, &usize)| count.abs_diff(*theory) <= 100;
        assert!(counts.iter().zip(theory).all(close), "{counts:?} is not {theory:?}");
    }

    #[test]
    fn what_counts_is_spread_by_weight() {
        // Prompts of a and b are as 1 to 3, their completions as 2 to 1.
        let spent = [(100, 600), (300, 300)];
        for (counted, theory) in [
            (Counted::Prompt, [7_500, 2_500]),
            (Counted::Completion, [3_333, 6_667]),
            (Counted::Total, [4_615, 5_385]),
        ] {
            let even = algorithm(counted, &[(1, None), (1, None)]);
            assert_near(&run(&even, 10_000, &spent), &theory);
        }
        let heavy = algorithm(Counted::Total, &[(300, None), (100, None)]);
        assert_near(&run(&heavy, 10_000, &[(50, 50), (50, 50)]), &[7_500, 2_500]);
    }

    #[test]
    fn money_is_spread_by_weight() {
        // Each token of b costs four times as much.
        let priced = algorithm(Counted::Cost, &[(1, Some((1.0, 2.0))), (1, Some((4.0, 8.0)))]);
        assert_near(&run(&priced, 10_000, &[(100, 100), (100, 100)]), &[8_000, 2_000]);
        let unpriced = algorithm(Counted::Cost, &[(1, Some((1.0, 3.0))), (1, None)]);
        assert_near(&run(&unpriced, 10_000, &[(100, 100), (100, 100)]), &[5_000, 5_000]);
        // The third costs what the others do in the mean: 6, where they cost 4 and 8.
        let mean = algorithm(Counted::Cost, &[(1, Some((1.0, 3.0))), (1, Some((3.0, 5.0))), (1, None)]);
        assert_near(&run(&mean, 10_000, &[(100, 100); 3]), &[4_615, 2_308, 3_077]);
        let mean = algorithm(Counted::Cost, &[(1, Some((1.0, 3.0))), (1, Some((3.0, 5.0))), (1, None)]);
        assert_near(&run(&mean, 10_000, &[(200, 0); 3]), &[5_455, 1_818, 2_727]);
    }

    #[test]
    fn a_target_without_answers_is_taken_to_need_what_requests_need() {
        let algorithm = algorithm(Counted::Total, &[(1, None), (1, None)]);
        let now = Instant::now();
        for _ in 0..10 {
            let spent = Spent { prompt: 70, completion: 30, ..Spent::default() };
            algorithm.targets[0].state.begin(now).settle(&spent, now);
        }
        let mut leases = Vec::new();
        let counts = counts(30, || {
            let index = algorithm.pick(&at(now, &|_| true)).unwrap();
            leases.push(algorithm.targets[index].state.begin(now));
            index
        });
        assert_eq!(counts, [10, 20], "ten of its own weigh as much as the ten that were answered");
    }

    #[test]
    fn a_request_under_way_weighs_what_those_of_its_target_did() {
        let algorithm = algorithm(Counted::Total, &[(1, None), (1, None)]);
        let now = Instant::now();
        // The same use, the one by few large requests, the other by many small ones.
        for (index, requests, prompt) in [(0, 10, 300), (1, 30, 100)] {
            for _ in 0..requests {
                let spent = Spent { prompt, ..Spent::default() };
                algorithm.targets[index].state.begin(now).settle(&spent, now);
            }
        }
        let mut leases = Vec::new();
        let counts = counts(40, || {
            let index = algorithm.pick(&at(now, &|_| true)).unwrap();
            leases.push(algorithm.targets[index].state.begin(now));
            index
        });
        assert_eq!(counts, [10, 30]);
    }

    #[test]
    fn requests_under_way_count_before_their_use_is_known() {
        let algorithm = algorithm(Counted::Total, &[(1, None), (1, None)]);
        run(&algorithm, 10, &[(100, 100), (100, 100)]);
        let mut leases = Vec::new();
        let counts = counts(100, || {
            let index = algorithm.pick(&turn(&|_| true)).unwrap();
            leases.push(algorithm.targets[index].state.begin(Instant::now()));
            index
        });
        assert_eq!(counts, [50, 50]);
    }

    #[test]
    fn a_target_that_was_away_has_caught_up_within_a_minute() {
        let algorithm = algorithm(Counted::Total, &[(1, None), (1, None), (1, None)]);
        let start = Instant::now();
        let second = |number: u64| {
            let now = start + Duration::from_secs(number);
            // The third is away for an hour.
            let usable = |index: usize| index != 2 || number >= 3_600;
            let index = algorithm.pick(&at(now, &usable)).unwrap();
            let spent = Spent { prompt: 100, ..Spent::default() };
            algorithm.targets[index].state.begin(now).settle(&spent, now);
            index
        };
        (0..3_600).for_each(|number| assert_ne!(second(number), 2));
        let alone = (3_600..7_200).take_while(|number| second(*number) == 2).count();
        assert!((5..60).contains(&alone), "it was alone for {alone} seconds");
        let later = (7_200..10_200).filter(|number| second(*number) == 2).count();
        assert!(later.abs_diff(1_000) <= 10, "{later}");
    }
}
