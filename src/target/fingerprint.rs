//! What a piece of configuration is known by: a hash that is the same for the same content, in every
//! process and whatever the order in which its fields were written. It is one-way, so that a key in
//! the configuration cannot be had back from it.

use ring::digest::{Context, SHA256};
use serde_json::Value;

/// The hash of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Of a configuration. Null and absent are the same.
    pub fn of(value: &Value) -> Self {
        let mut context = Context::new(&SHA256);
        feed(&mut context, value);
        Self::finished(context)
    }

    /// Of bytes.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        let mut context = Context::new(&SHA256);
        context.update(bytes);
        Self::finished(context)
    }

    /// The first part of it, as a number.
    pub fn number(self) -> u64 {
        self.0.first_chunk::<8>().map_or(0, |first| u64::from_be_bytes(*first))
    }

    fn finished(context: Context) -> Self {
        let mut own = [0; 32];
        own.copy_from_slice(context.finish().as_ref());
        Self(own)
    }
}

fn feed(context: &mut Context, value: &Value) {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().filter(|(_, value)| !value.is_null()).collect();
            fields.sort_unstable_by_key(|(name, _)| *name);
            context.update(b"{");
            for (name, value) in fields {
                text(context, name);
                feed(context, value);
            }
            context.update(b"}");
        }
        Value::Array(items) => {
            context.update(b"[");
            for item in items {
                feed(context, item);
            }
            context.update(b"]");
        }
        Value::String(own) => text(context, own),
        other => {
            context.update(b"=");
            text(context, &other.to_string());
        }
    }
}

/// The length goes before the text, so that no text can look like two.
fn text(context: &mut Context, text: &str) {
    context.update(&(text.len() as u64).to_be_bytes());
    context.update(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_order_of_fields_does_not_count_and_their_content_does() {
        let one = Fingerprint::of(&json!({"a": 1, "b": {"c": "x", "d": null}}));
        assert_eq!(one, Fingerprint::of(&json!({"b": {"c": "x"}, "a": 1})));
        for other in [
            json!({"a": 1, "b": {"c": "y"}}),
            json!({"a": "1", "b": {"c": "x"}}),
            json!({"a": 1, "b": ["c", "x"]}),
            json!({"a": 1, "b": {}, "c": "x"}),
        ] {
            assert_ne!(one, Fingerprint::of(&other), "{other}");
        }
    }

    #[test]
    fn it_is_the_same_in_every_process() {
        assert_eq!(Fingerprint::of_bytes(b"abc").number(), 0xba78_16bf_8f01_cfea);
    }
}
