//! Taking turns: smooth weighted round-robin, as nginx does it.
//!
//! Over any stretch each target gets its share of the requests that it was eligible for, and no target
//! gets its share in one run.

use super::{Algorithm, Turn};
use std::sync::{Mutex, PoisonError};

/// Whose turn it is. Shared by all worker threads.
pub struct RoundRobin {
    weights: Vec<i64>,
    /// How far each is behind its share; together they are never behind.
    current: Mutex<Vec<i64>>,
}

impl RoundRobin {
    /// One weight a target.
    pub fn new(weights: impl IntoIterator<Item = u32>) -> Self {
        let weights: Vec<i64> = weights.into_iter().map(i64::from).collect();
        Self { current: Mutex::new(vec![0; weights.len()]), weights }
    }

    /// The next of the eligible targets; `None` if no target is. `eligible` must not come back here.
    pub fn next(&self, eligible: impl Fn(usize) -> bool) -> Option<usize> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let mut best: Option<(usize, i64)> = None;
        let mut total = 0;
        for (index, (value, weight)) in current.iter_mut().zip(&self.weights).enumerate() {
            if !eligible(index) {
                continue;
            }
            *value += weight;
            total += weight;
            if best.is_none_or(|(_, most)| *value > most) {
                best = Some((index, *value));
            }
        }
        let (index, _) = best?;
        if let Some(value) = current.get_mut(index) {
            *value -= total;
        }
        Some(index)
    }
}

impl Algorithm for RoundRobin {
    fn pick(&self, turn: &Turn<'_>) -> Option<usize> {
        self.next(turn.usable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_follow_the_weights_without_runs() {
        let turns = RoundRobin::new([5, 1, 1]);
        let picks: Vec<usize> = (0..7).filter_map(|_| turns.next(|_| true)).collect();
        assert_eq!(picks, [0, 0, 1, 0, 2, 0, 0]);
        let mut counts = [0; 3];
        for _ in 0..7_000 {
            counts[turns.next(|_| true).unwrap()] += 1;
        }
        assert_eq!(counts, [5_000, 1_000, 1_000]);
    }

    #[test]
    fn a_target_that_was_away_does_not_catch_up() {
        let turns = RoundRobin::new([1, 1, 2]);
        let mut counts = [0; 3];
        for round in 0..3_000 {
            counts[turns.next(|index| index != 2 || round >= 1_000).unwrap()] += 1;
        }
        assert_eq!(counts, [1_000, 1_000, 1_000]);
        assert_eq!(turns.next(|_| false), None);
        assert_eq!(RoundRobin::new([]).next(|_| true), None);
    }
}
