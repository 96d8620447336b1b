//! What is known of a target beyond its configuration: shared by all worker threads, and kept over a
//! reload of the configuration for every target that it did not change.

use super::fingerprint::Fingerprint;
use super::health::Breaker;
use super::load::Load;
use once_cell::sync::Lazy;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use uuid::Uuid;

/// What was measured of one target.
#[derive(Debug, Default)]
pub struct State {
    /// How much it does.
    pub load: Load,
    /// Whether it may be asked.
    pub health: Breaker,
}

/// Which target of which plugin instance. Its weight is not part of it: a share may change, and what
/// was measured still holds.
type Key = (Uuid, Fingerprint, usize);

static STATES: Lazy<Mutex<HashMap<Key, Weak<State>>>> = Lazy::new(Mutex::default);

impl State {
    /// The states of a plugin instance's targets, given their checked configurations. Targets that are
    /// configured alike have one each.
    pub fn shared(plugin: Uuid, targets: &[&Value]) -> Vec<Arc<Self>> {
        let prints: Vec<_> = targets.iter().map(|target| print(target)).collect();
        let mut all = STATES.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, state| state.strong_count() > 0);
        let state = |(index, own): (usize, &Fingerprint)| {
            let twins = prints.iter().take(index).filter(|other| *other == own).count();
            let slot = all.entry((plugin, *own, twins)).or_default();
            slot.upgrade().unwrap_or_else(|| {
                let state = Arc::new(Self::default());
                *slot = Arc::downgrade(&state);
                state
            })
        };
        prints.iter().enumerate().map(state).collect()
    }
}

fn print(target: &Value) -> Fingerprint {
    let mut target = target.clone();
    if let Value::Object(fields) = &mut target {
        fields.shift_remove("weight");
    }
    Fingerprint::of(&target)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::time::Instant;

    #[test]
    fn what_was_measured_survives_a_reload_of_unchanged_targets() {
        let plugin = Uuid::from_u128(1);
        let (a, b) = (json!({"model": {"name": "a"}, "weight": 1}), json!({"model": {"name": "b"}}));
        let before = State::shared(plugin, &[&a, &b]);
        let lease = before[0].begin(Instant::now());
        // The new configuration is loaded before the old one is let go.
        let (heavier, changed) =
            (json!({"weight": 9, "model": {"name": "a"}}), json!({"model": {"name": "c"}}));
        let after = State::shared(plugin, &[&changed, &heavier]);
        assert!(Arc::ptr_eq(&before[0], &after[1]) && after[1].load.in_flight() == 1);
        assert!(!Arc::ptr_eq(&before[1], &after[0]) && after[0].load.in_flight() == 0);
        drop((before, lease));
        assert_eq!(after[1].load.in_flight(), 0);
        let other = State::shared(Uuid::from_u128(2), &[&a]);
        assert!(!Arc::ptr_eq(&other[0], &after[1]), "another instance measures for itself");
    }

    #[test]
    fn twins_are_two_and_what_nobody_uses_is_forgotten() {
        let plugin = Uuid::from_u128(3);
        let target = json!({"model": {"name": "twin"}});
        let twins = State::shared(plugin, &[&target, &target]);
        assert!(!Arc::ptr_eq(&twins[0], &twins[1]));
        let again = State::shared(plugin, &[&target, &target]);
        assert!(Arc::ptr_eq(&twins[0], &again[0]) && Arc::ptr_eq(&twins[1], &again[1]));
        let _lease = twins[0].begin(Instant::now());
        drop((twins, again));
        let later = State::shared(plugin, &[&target, &target]);
        assert_eq!(later[0].load.in_flight(), 1, "a lease keeps what it belongs to");
        assert_eq!(later[1].load.in_flight(), 0);
    }
}
