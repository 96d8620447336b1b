//! The cheapest of the usable targets, where equally cheap ones take turns by weight.

use super::Turn;
use super::round_robin::RoundRobin;

/// Picks it. `cost` may change under our hands: other threads send requests too.
pub fn least<C: PartialOrd>(
    turns: &RoundRobin,
    count: usize,
    turn: &Turn<'_>,
    cost: impl Fn(usize) -> C,
) -> Option<usize> {
    let mut best: Option<(usize, C)> = None;
    let mut alone = true;
    for index in (0..count).filter(|index| (turn.usable)(*index)) {
        let own = cost(index);
        match &best {
            Some((_, least)) if own > *least => {}
            Some((_, least)) if own == *least => alone = false,
            _ => {
                best = Some((index, own));
                alone = true;
            }
        }
    }
    let (first, least) = best?;
    if alone {
        return Some(first);
    }
    turns.next(|index| (turn.usable)(index) && cost(index) == least).or(Some(first))
}
