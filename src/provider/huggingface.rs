//! Hugging Face: chat in OpenAI's dialect, completions as the text-generation task.
//!
//! Without an `upstream_url` requests go to Hugging Face's router; with one to an endpoint, which is
//! a server of Hugging Face's make, and which is asked in every way that Kong knows.
//!
// KONG(llm/drivers/huggingface.lua): Kong's default, api-inference.huggingface.co, is no more.

use super::embedding::Embedder;
use super::openai::{COMPATIBLE, OpenAiDialect};
use super::parameter::Parameter;
use super::{Call, Driver, Provider};
use crate::config::schema::{Field, Record};
use crate::config::target::{Operation, TargetConf};
use crate::error::Result;
use http::{HeaderName, HeaderValue};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

mod chat;
mod embed;
mod text;

/// `provider: huggingface`.
pub struct HuggingFace;

const ROUTER: &str = "https://router.huggingface.co";

impl Provider for HuggingFace {
    fn name(&self) -> &'static str {
        "huggingface"
    }

    fn options(&self) -> Vec<Field> {
        let record = Record::new(vec![
            Field::boolean("use_cache").doc("Whether the inference API may answer from its cache."),
            Field::boolean("wait_for_model").doc("Whether to wait for a model that is not loaded."),
        ]);
        vec![Field::record("huggingface", record)]
    }

    fn operations(&self) -> &'static [Operation] {
        &[Operation::Chat, Operation::Completions]
    }

    fn load(&self, conf: &TargetConf) -> Result<Driver> {
        let wishes = Wishes::of(conf);
        Ok(match conf.route_type {
            Operation::Chat => {
                let dialect = chat::ChatDialect { openai: OpenAiDialect::new(COMPATIBLE), wishes };
                Driver { below: true, ..Driver::new(ROUTER, "/v1/chat/completions", dialect) }
            }
            Operation::Completions => Driver::new(ROUTER, "", text::TextDialect { wishes }),
            Operation::Preserve => Driver::new(ROUTER, "/", text::TextDialect { wishes }),
        })
    }

    fn embeddings(&self) -> Option<&'static dyn Embedder> {
        Some(&embed::HuggingFaceEmbedder)
    }
}

/// `model.options.huggingface`.
#[derive(Clone, Copy, Debug, Default)]
struct Wishes {
    use_cache: Option<bool>,
    wait_for_model: Option<bool>,
}

impl Wishes {
    fn of(conf: &TargetConf) -> Self {
        let record = conf.model.options.own.get("huggingface");
        let wish = |name: &str| record.and_then(|record| record.get(name)).and_then(Value::as_bool);
        Self { use_cache: wish("use_cache"), wait_for_model: wish("wait_for_model") }
    }

    /// The headers in which the router looks for them.
    fn headers(self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        let wishes = [("x-use-cache", self.use_cache), ("x-wait-for-model", self.wait_for_model)];
        wishes.into_iter().filter_map(|(name, wish)| {
            let value = HeaderValue::from_static(if wish? { "true" } else { "false" });
            Some((HeaderName::from_static(name), value))
        })
    }

    /// The member of the body in which endpoints look for them; Kong always sends both.
    fn options(self) -> Options {
        Options {
            use_cache: self.use_cache.unwrap_or(false),
            wait_for_model: self.wait_for_model.unwrap_or(false),
        }
    }
}

#[derive(Serialize)]
struct Options {
    use_cache: bool,
    wait_for_model: bool,
}

/// `parameters` of the text-generation task, which endpoints get for chats too.
#[derive(Default, Serialize)]
struct Parameters<'a>(std::collections::BTreeMap<&'static str, Setting<'a>>);

#[derive(Serialize)]
#[serde(untagged)]
enum Setting<'a> {
    Flag(bool),
    One(Parameter<'a>),
    /// A list of one.
    Listed([Parameter<'a>; 1]),
}

impl<'a> Parameters<'a> {
    /// What the target configures, or else the client wants; `limit` is the name of the most tokens.
    fn of(call: &'a Call<'_>, limit: &'static str) -> Result<Self> {
        let mut own = Self::default();
        own.put(limit, call.max_tokens()?.map(Setting::One));
        own.put("temperature", call.temperature()?.map(Setting::One));
        own.put("top_k", call.top_k()?.map(Setting::One));
        own.put("top_p", call.top_p()?.map(Setting::One));
        Ok(own)
    }

    /// Sets it if there is a value.
    fn put(&mut self, name: &'static str, value: Option<Setting<'a>>) {
        if let Some(value) = value {
            self.0.insert(name, value);
        }
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What an answer of 200 that is no answer says; `text` is JSON.
fn refused(text: &[u8]) -> crate::error::Error {
    #[derive(serde::Deserialize)]
    struct Told<'a> {
        #[serde(borrow)]
        error: Option<&'a RawValue>,
        #[serde(borrow)]
        message: Option<&'a RawValue>,
    }
    let told = serde_json::from_slice::<Told<'_>>(text).ok().and_then(|told| told.error.or(told.message));
    crate::error::Error::bad_reply(match told {
        Some(told) => format!("API error: {}", super::error_text(told)),
        None => "Invalid response format".to_owned(),
    })
}

#[cfg(test)]
mod tests;
