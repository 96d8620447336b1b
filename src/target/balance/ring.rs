//! Consistent hashing: the same key goes to the same target, on every node of a fleet and after every
//! restart.
//!
//! A key falls on one of the ring's slots, and each slot ranks the targets by a draw that depends on
//! nothing but the slot and the target (weighted rendezvous). So the shares follow the weights, with
//! 10,000 slots to about half a per cent of all requests. A target that is away loses its slots to those
//! that come next there, and no other slot moves: neither when it leaves nor when it comes back, is
//! added, or gets another weight.

use super::{Algorithm, Turn};
use crate::config::target::TargetConf;
use crate::target::fingerprint::Fingerprint;
use serde_json::{Value, json};

/// What the ring knows a target by: where its requests go. Its key may change, and its parameters,
/// without moving anyone's session.
pub fn identity(conf: &TargetConf) -> Value {
    let (model, options) = (&conf.model, &conf.model.options);
    json!({
        "provider": model.provider, "model": model.name, "own": options.own,
        "url": options.upstream_url, "path": options.upstream_path,
    })
}

/// The ring.
pub struct Ring {
    places: Vec<Place>,
    /// The first target of each slot.
    first: Vec<u16>,
}

/// A target, as the ring knows it.
struct Place {
    seed: u64,
    weight: f64,
}

impl Ring {
    /// A ring of that many slots over targets of those identities and weights.
    pub fn new(slots: usize, targets: impl IntoIterator<Item = (Value, u32)>) -> Self {
        let mut places: Vec<Place> = Vec::new();
        let mut seen: Vec<u64> = Vec::new();
        for (identity, weight) in targets {
            let own = Fingerprint::of(&identity).number();
            // Twins must not share their draws, or the second would never win a slot.
            let twins = seen.iter().filter(|other| **other == own).count() as u64;
            seen.push(own);
            places.push(Place { seed: mixed(own ^ mixed(twins)), weight: f64::from(weight) });
        }
        let mut ring = Self { places, first: Vec::new() };
        let first = |slot| ring.owner(slot, &|_| true).and_then(|index| u16::try_from(index).ok());
        ring.first = (0..slots.max(1) as u64).filter_map(first).collect();
        ring
    }

    /// The usable target that ranks first at a slot.
    fn owner(&self, slot: u64, usable: &dyn Fn(usize) -> bool) -> Option<usize> {
        let mut best: Option<(usize, f64)> = None;
        for (index, place) in self.places.iter().enumerate().filter(|(index, _)| usable(*index)) {
            // The earliest of arrivals whose rates are the weights: each wins by its share.
            let arrival = -draw(place.seed, slot).ln() / place.weight;
            if best.is_none_or(|(_, earliest)| arrival < earliest) {
                best = Some((index, arrival));
            }
        }
        best.map(|(index, _)| index)
    }
}

impl Algorithm for Ring {
    fn pick(&self, turn: &Turn<'_>) -> Option<usize> {
        let key = Fingerprint::of_bytes(turn.key.unwrap_or_default()).number();
        let slot = key % self.first.len().max(1) as u64;
        let first = usize::try_from(slot).ok().and_then(|slot| self.first.get(slot));
        match first.map(|index| usize::from(*index)).filter(|index| (turn.usable)(*index)) {
            Some(first) => Some(first),
            None => self.owner(slot, turn.usable),
        }
    }
}

/// A number between 0 and 1, neither included.
#[allow(clippy::cast_precision_loss)] // 53 bits fit
fn draw(seed: u64, slot: u64) -> f64 {
    const STEP: f64 = 1.0 / (1_u64 << 53) as f64;
    ((mixed(seed ^ mixed(slot)) >> 11) as f64 + 0.5) * STEP
}

/// The finalizer of splitmix64: every bit of the input changes half of the output's.
fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::balance::turn;

    const SLOTS: usize = 10_000;

    fn ring(targets: &[(&str, u32)]) -> Ring {
        Ring::new(SLOTS, targets.iter().map(|(name, weight)| (json!(name), *weight)))
    }

    /// Where 10,000 keys go, by name.
    fn homes<'a>(targets: &[(&'a str, u32)], usable: &dyn Fn(usize) -> bool) -> Vec<&'a str> {
        let ring = ring(targets);
        let home = |key: usize| ring.pick(&Turn { key: Some(key.to_string().as_bytes()), ..turn(usable) });
        (0..10_000).map(|key| targets[home(key).unwrap()].0).collect()
    }

    const THREE: [(&str, u32); 3] = [("a", 100), ("b", 200), ("c", 100)];

    #[test]
    fn shares_follow_the_weights() {
        // One ring is a draw of its slots, and its keys are a draw, too: a fleet may be off by a per cent
        // or so. Over several fleets the draws even out, and a bias would show.
        let fleets = 40;
        let mut sums = [0; 3];
        for fleet in 0..fleets {
            let names = ["a", "b", "c"].map(|name| format!("{name}{fleet}"));
            let targets = [(&*names[0], 100), (&*names[1], 200), (&*names[2], 100)];
            let homes = homes(&targets, &|_| true);
            for ((sum, name), theory) in sums.iter_mut().zip(&names).zip([2_500, 5_000, 2_500]) {
                let count = homes.iter().filter(|home| *home == name).count();
                assert!(count.abs_diff(theory) <= 250, "{name} has {count}");
                *sum += count;
            }
        }
        for (sum, theory) in sums.iter().zip([2_500, 5_000, 2_500]) {
            assert!((sum / fleets).abs_diff(theory) <= theory / 100, "{sums:?} of {fleets} fleets");
        }
    }

    /// A fleet of gateways, of which some are older, sends a session to one target.
    #[test]
    fn every_build_draws_the_same() {
        // The first numbers of splitmix64 from seed 0, as its author publishes them.
        assert_eq!(mixed(0), 0xe220_a839_7b1d_cdaf);
        assert_eq!(mixed(0x9e37_79b9_7f4a_7c15), 0x6e78_9e6a_a1b9_65f4);
        let homes = homes(&THREE, &|_| true);
        assert_eq!(homes[..16].concat(), "abbacbaacbcbaaab", "where the first keys go");
    }

    #[test]
    fn a_target_that_leaves_or_fails_moves_only_its_own_share() {
        let whole = homes(&THREE, &|_| true);
        let failed = homes(&THREE, &|index| index != 0);
        let removed = homes(&THREE[1..], &|_| true);
        assert_eq!(failed, removed, "away for a while or for good: the same");
        for (before, after) in whole.iter().zip(&removed) {
            assert!(before == after || *before == "a", "{before} became {after}");
        }
        let heirs =
            |name| whole.iter().zip(&removed).filter(|(was, is)| **was == "a" && **is == name).count();
        assert!(heirs("b") > heirs("c") && heirs("c") > 500, "its share is shared out by weight");
    }

    #[test]
    fn a_target_that_comes_or_grows_takes_only_its_own_share() {
        let before = homes(&THREE, &|_| true);
        let with_four = homes(&[THREE[2], ("d", 100), THREE[0], THREE[1]], &|_| true);
        assert!(before.iter().zip(&with_four).all(|(was, is)| was == is || *is == "d"), "order is nothing");
        let heavier = homes(&[("a", 150), THREE[1], THREE[2]], &|_| true);
        assert!(before.iter().zip(&heavier).all(|(was, is)| was == is || *is == "a"));
    }

    #[test]
    fn a_session_survives_another_key_and_other_parameters() {
        let of = |target: Value| identity(&serde_json::from_value(target).unwrap());
        let target = |options: Value, key: &str| {
            json!({
                "route_type": "llm/v1/chat", "auth": {"header_name": "authorization", "header_value": key},
                "model": {"provider": "p", "name": "m", "options": options}
            })
        };
        let before = of(target(json!({"temperature": 1, "upstream_url": "http://a/"}), "k1"));
        assert_eq!(before, of(target(json!({"upstream_url": "http://a/", "max_tokens": 5}), "k2")));
        assert_ne!(before, of(target(json!({"upstream_url": "http://b/"}), "k1")));
        assert_ne!(before, of(target(json!({"upstream_url": "http://a/", "region": "eu"}), "k1")));
    }

    #[test]
    fn twins_share_evenly() {
        let homes = homes(&[("a", 1), ("a", 1)], &|index| index == 1);
        assert_eq!(homes.len(), 10_000);
        let ring = ring(&[("a", 1), ("a", 1)]);
        let second = ring.first.iter().filter(|index| **index == 1).count();
        assert!(second.abs_diff(SLOTS / 2) <= 100, "{second}");
    }

    #[test]
    fn nobody_usable_is_nobody() {
        assert_eq!(ring(&THREE).pick(&turn(&|_| false)), None);
    }
}
