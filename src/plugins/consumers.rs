//! The consumers of a configuration, found by their keys and names.

use crate::config::entities::Consumer;
use crate::config::secret::Secret;
use http::HeaderValue;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

/// A consumer, and what the upstream is told of it.
pub struct Known {
    /// Who it is.
    pub consumer: Arc<Consumer>,
    /// Headers that are the same in each of its requests, and so are made once.
    pub told: Vec<(&'static str, HeaderValue)>,
}

impl Known {
    fn new(consumer: &Consumer) -> Self {
        let told = [
            ("x-consumer-id", Some(consumer.id.to_string())),
            ("x-consumer-username", consumer.username.clone()),
            ("x-consumer-custom-id", consumer.custom_id.clone()),
        ];
        // A name that no header can hold is not told; the consumer is known all the same.
        let header = |(name, value): (_, Option<String>)| Some((name, HeaderValue::try_from(value?).ok()?));
        Self { consumer: Arc::new(consumer.clone()), told: told.into_iter().filter_map(header).collect() }
    }
}

/// All consumers.
#[derive(Default)]
pub struct Consumers {
    all: Vec<Known>,
    /// By the keyed hash of a key: a key is never compared byte by byte with a stranger's guess until
    /// its hash, which nobody outside can predict, has matched.
    keys: HashMap<u64, Vec<(usize, Secret)>>,
    hasher: RandomState,
}

impl Consumers {
    /// Indexes the consumers of a configuration.
    pub fn new(consumers: &[Consumer]) -> Self {
        let mut known = Self { all: consumers.iter().map(Known::new).collect(), ..Self::default() };
        for (index, consumer) in consumers.iter().enumerate() {
            for key in &consumer.keys {
                known.keys.entry(known.hasher.hash_one(key)).or_default().push((index, key.clone()));
            }
        }
        known
    }

    /// Whose key this is.
    pub fn by_key(&self, key: &str) -> Option<&Known> {
        let candidates = self.keys.get(&self.hasher.hash_one(key))?;
        let (index, _) = candidates.iter().find(|(_, own)| same(own, key))?;
        self.all.get(*index)
    }

    /// The consumer of that id or username.
    pub fn by_name(&self, name: &str) -> Option<&Known> {
        let named = |one: &Consumer| one.username.as_deref() == Some(name) || one.id.to_string() == name;
        self.all.iter().find(|known| named(&known.consumer))
    }
}

/// Compares in a time that does not tell where two keys differ.
fn same(a: &str, b: &str) -> bool {
    let differences = a.bytes().zip(b.bytes()).fold(0, |seen, (a, b)| seen | (a ^ b));
    a.len() == b.len() && std::hint::black_box(differences) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alice() -> Consumer {
        serde_json::from_value(serde_json::json!({
            "id": "5c0e7f5e-0000-4000-8000-000000000001", "username": "alice", "keys": ["alice-key", "second"]
        }))
        .unwrap()
    }

    #[test]
    fn consumers_are_found_by_key_and_name() {
        let known = Consumers::new(&[alice()]);
        assert_eq!(known.by_key("second").unwrap().consumer.username.as_deref(), Some("alice"));
        assert!(known.by_key("alice-ke").is_none() && known.by_key("").is_none());
        assert!(known.by_name("alice").is_some() && known.by_name("bob").is_none());
        assert!(known.by_name("5c0e7f5e-0000-4000-8000-000000000001").is_some());
    }
}
