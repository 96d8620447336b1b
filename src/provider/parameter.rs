//! Model parameters, for the dialects that write their own request: what is configured wins over
//! what the client asks for. And what functions take for parameters.

use super::Call;
use crate::error::Result;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Number;
use serde_json::value::RawValue;

/// One parameter, as it was written.
#[derive(Clone, Copy, Debug, serde::Serialize)]
#[serde(untagged)]
pub enum Parameter<'a> {
    /// A configured limit.
    Limit(u64),
    /// A configured number.
    Configured(&'a Number),
    /// The client's, untouched: whether it is in range is for the provider to say.
    Client(&'a RawValue),
    /// The client's, as a list of one.
    Listed([&'a RawValue; 1]),
}

impl Parameter<'_> {
    /// Whether it is 1, however that is written.
    pub fn is_one(self) -> bool {
        let value = match self {
            Self::Limit(limit) => return limit == 1,
            Self::Configured(number) => number.as_f64(),
            Self::Client(raw) => raw.get().parse().ok(),
            Self::Listed(_) => None,
        };
        value.is_some_and(|value| (value - 1.0).abs() < f64::EPSILON)
    }
}

/// What a function takes.
#[derive(Debug, serde::Serialize)]
#[serde(untagged)]
pub enum Schema<'a> {
    /// As the client describes it.
    Given(&'a RawValue),
    /// Of a function without parameters: an object, as any arguments are.
    Open {
        /// What it is.
        r#type: &'static str,
    },
}

impl<'a> From<Option<&'a RawValue>> for Schema<'a> {
    fn from(parameters: Option<&'a RawValue>) -> Self {
        parameters.map_or(Self::Open { r#type: "object" }, Self::Given)
    }
}

/// Parameters that are there, under the provider's names, in order.
pub struct Set<V>(Vec<(&'static str, V)>);

impl<V> Default for Set<V> {
    fn default() -> Self {
        Self(Vec::with_capacity(8))
    }
}

impl<V> Set<V> {
    /// Adds one, if it is there.
    pub fn put(&mut self, name: &'static str, value: Option<impl Into<V>>) {
        self.0.extend(value.map(|value| (name, value.into())));
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<V: Serialize> Serialize for Set<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl Call<'_> {
    /// How many tokens the answer may have.
    pub fn max_tokens(&self) -> Result<Option<Parameter<'_>>> {
        Ok(match self.conf.model.options.max_tokens {
            Some(limit) => Some(Parameter::Limit(limit)),
            None => self.asked("max_completion_tokens")?.or(self.asked("max_tokens")?),
        })
    }

    /// `temperature`.
    pub fn temperature(&self) -> Result<Option<Parameter<'_>>> {
        self.number("temperature", self.conf.model.options.temperature.as_ref())
    }

    /// `top_p`.
    pub fn top_p(&self) -> Result<Option<Parameter<'_>>> {
        self.number("top_p", self.conf.model.options.top_p.as_ref())
    }

    /// `top_k`, which OpenAI does not have and clients send all the same.
    pub fn top_k(&self) -> Result<Option<Parameter<'_>>> {
        self.number("top_k", self.conf.model.options.top_k.as_ref())
    }

    /// Where the answer is to stop: a list, although OpenAI also takes one string.
    pub fn stop(&self) -> Result<Option<Parameter<'_>>> {
        let one = |stop: &RawValue| stop.get().starts_with('"');
        Ok(self
            .doc
            .field::<&RawValue>("stop")?
            .map(|stop| if one(stop) { Parameter::Listed([stop]) } else { Parameter::Client(stop) }))
    }

    /// What the client asks for under that key.
    pub fn asked(&self, key: &str) -> Result<Option<Parameter<'_>>> {
        Ok(self.doc.field::<&RawValue>(key)?.map(Parameter::Client))
    }

    fn number<'a>(&'a self, key: &str, configured: Option<&'a Number>) -> Result<Option<Parameter<'a>>> {
        match configured {
            Some(number) => Ok(Some(Parameter::Configured(number))),
            None => self.asked(key),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_one_however_it_is_written() {
        let raw = |json: &str| RawValue::from_string(json.to_owned()).unwrap();
        for (json, one) in [("1", true), ("1.0", true), ("1e0", true), ("0.99", false), (r#""1""#, false)] {
            assert_eq!(Parameter::Client(&raw(json)).is_one(), one, "{json}");
        }
        assert!(Parameter::Configured(&Number::from_f64(1.0).unwrap()).is_one());
        assert!(Parameter::Limit(1).is_one() && !Parameter::Limit(2).is_one());
    }
}
