//! Groups by weight: the heaviest serves, the next only when no target of it is usable. Within a
//! group targets take turns.

use super::round_robin::RoundRobin;
use super::{Algorithm, Turn};

/// The algorithm.
pub struct Priority {
    weights: Vec<u32>,
    turns: RoundRobin,
}

impl Priority {
    /// One weight a target.
    pub fn new(weights: Vec<u32>) -> Self {
        Self { turns: RoundRobin::new(weights.iter().copied()), weights }
    }
}

impl Algorithm for Priority {
    fn pick(&self, turn: &Turn<'_>) -> Option<usize> {
        let weighed = || self.weights.iter().enumerate();
        let top = weighed().filter(|(index, _)| (turn.usable)(*index)).map(|(_, weight)| *weight).max()?;
        self.turns.next(|index| self.weights.get(index) == Some(&top) && (turn.usable)(index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::balance::{counts, turn};

    #[test]
    fn the_next_group_serves_only_when_the_first_is_away() {
        let algorithm = Priority::new(vec![10, 70, 70, 10]);
        let run = |usable: &dyn Fn(usize) -> bool| counts(10_000, || algorithm.pick(&turn(usable)).unwrap());
        assert_eq!(run(&|_| true), [0, 5_000, 5_000]);
        assert_eq!(run(&|index| index != 1), [0, 0, 10_000]);
        assert_eq!(run(&|index| index == 0 || index == 3), [5_000, 0, 0, 5_000]);
        assert_eq!(algorithm.pick(&turn(&|_| false)), None);
    }
}
