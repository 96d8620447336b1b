//! Which target takes a request: smooth weighted round-robin.

use std::sync::{Mutex, PoisonError};

/// A balancer over targets of given weights. Shared by all worker threads.
pub struct RoundRobin {
    weights: Vec<i64>,
    current: Mutex<Vec<i64>>,
}

impl RoundRobin {
    /// One weight a target.
    pub fn new(weights: impl IntoIterator<Item = u32>) -> Self {
        let weights: Vec<i64> = weights.into_iter().map(i64::from).collect();
        Self { current: Mutex::new(vec![0; weights.len()]), weights }
    }

    /// The next target: over any stretch each gets its share, and no target gets its share in one
    /// run. `None` if there is no target.
    pub fn pick(&self, usable: &dyn Fn(usize) -> bool) -> Option<usize> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let mut best: Option<(usize, i64)> = None;
        let mut total = 0;
        let turns = current.iter_mut().zip(&self.weights).enumerate().filter(|(index, _)| usable(*index));
        for (index, (value, weight)) in turns {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_follow_the_weights_without_runs() {
        let balancer = RoundRobin::new([5, 1, 1]);
        let picks: Vec<usize> = (0..7).filter_map(|_| balancer.pick(&|_| true)).collect();
        assert_eq!(picks, [0, 0, 1, 0, 2, 0, 0]);
        let mut counts = [0; 3];
        for _ in 0..7_000 {
            counts[balancer.pick(&|_| true).unwrap()] += 1;
        }
        assert_eq!(counts, [5_000, 1_000, 1_000]);
    }

    #[test]
    fn one_target_needs_no_lock_and_none_is_none() {
        assert_eq!(RoundRobin::new([7]).pick(&|_| true), Some(0));
        assert_eq!(RoundRobin::new([]).pick(&|_| true), None);
    }
}
