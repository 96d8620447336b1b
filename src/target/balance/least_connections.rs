//! The target with most capacity to spare: fewest requests under way for its weight.

use super::least::least;
use super::round_robin::RoundRobin;
use super::{Algorithm, Turn};
use crate::target::state::State;
use std::cmp::Ordering;
use std::sync::Arc;

/// The algorithm. Targets that are equally free, as all are when traffic is thin, take turns by weight.
pub struct LeastConnections {
    targets: Vec<(Arc<State>, u32)>,
    turns: RoundRobin,
}

impl LeastConnections {
    /// Over those targets, each with its weight.
    pub fn new(targets: Vec<(Arc<State>, u32)>) -> Self {
        Self { turns: RoundRobin::new(targets.iter().map(|(_, weight)| *weight)), targets }
    }

    fn use_of(&self, index: usize) -> Use {
        let target = self.targets.get(index);
        target.map_or(Use { in_flight: u32::MAX, weight: 1 }, |(state, weight)| Use {
            in_flight: state.load.in_flight(),
            weight: *weight,
        })
    }
}

impl Algorithm for LeastConnections {
    fn pick(&self, turn: &Turn<'_>) -> Option<usize> {
        least(&self.turns, self.targets.len(), turn, |index| self.use_of(index))
    }
}

/// Requests per weight, compared without a division.
struct Use {
    in_flight: u32,
    weight: u32,
}

impl Use {
    fn cross(&self, other: &Self) -> u64 {
        u64::from(self.in_flight) * u64::from(other.weight)
    }
}

impl PartialEq for Use {
    fn eq(&self, other: &Self) -> bool {
        self.cross(other) == other.cross(self)
    }
}

impl PartialOrd for Use {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cross(other).cmp(&other.cross(self)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::balance::{counts, turn};
    use std::time::Instant;

    fn three() -> LeastConnections {
        LeastConnections::new([6, 3, 1].map(|weight| (Arc::new(State::default()), weight)).into())
    }

    #[test]
    fn requests_that_stay_are_spread_by_weight() {
        let algorithm = three();
        let mut leases = Vec::new();
        let counts = counts(10_000, || {
            let index = algorithm.pick(&turn(&|_| true)).unwrap();
            leases.push(algorithm.targets[index].0.begin(Instant::now()));
            index
        });
        assert_eq!(counts, [6_000, 3_000, 1_000]);
    }

    #[test]
    fn requests_that_come_one_by_one_take_turns_by_weight() {
        let algorithm = three();
        assert_eq!(counts(10_000, || algorithm.pick(&turn(&|_| true)).unwrap()), [6_000, 3_000, 1_000]);
    }

    #[test]
    fn a_target_that_holds_its_requests_gets_no_more() {
        let algorithm = three();
        let _held = [(); 7].map(|()| algorithm.targets[0].0.begin(Instant::now()));
        let mut leases = Vec::new();
        for _ in 0..4 {
            let index = algorithm.pick(&turn(&|_| true)).unwrap();
            leases.push(algorithm.targets[index].0.begin(Instant::now()));
            assert_ne!(index, 0);
        }
        assert_eq!(algorithm.pick(&turn(&|index| index == 0)), Some(0), "unless there is no other");
        assert_eq!(algorithm.pick(&turn(&|_| false)), None);
    }
}
