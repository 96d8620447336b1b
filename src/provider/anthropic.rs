//! Anthropic: its Messages API, and the older Text Completions where a URL asks for them.

use super::{Call, Decoded, Dialect, Driver, Outbound, Provider, StreamPlan};
use crate::config::problems::Problems;
use crate::config::schema::Field;
use crate::config::target::{Operation, TargetConf};
use crate::error::{Error, Result};
use crate::wire::frame::Framing;
use bytes::Bytes;
use http::{HeaderName, HeaderValue};

mod content;
mod decode;
mod encode;
mod stream;
mod turns;

/// `provider: anthropic`.
pub struct Anthropic;

impl Provider for Anthropic {
    fn name(&self) -> &'static str {
        "anthropic"
    }

    fn options(&self) -> Vec<Field> {
        vec![Field::text("anthropic_version").doc("Value of the header `anthropic-version`.")]
    }

    fn operations(&self) -> &'static [Operation] {
        &[Operation::Chat, Operation::Completions]
    }

    fn check(&self, conf: &TargetConf, out: &mut Problems<'_>) {
        if conf.model.options.own_str("anthropic_version").is_none_or(str::is_empty) {
            out.push("must set 'model.options.anthropic_version' for anthropic provider");
        }
        if conf.logging.log_statistics && conf.route_type == Operation::Completions {
            out.push(format!(
                "anthropic does not support statistics when route_type is {}",
                conf.route_type.name()
            ));
        }
    }

    fn load(&self, conf: &TargetConf) -> Result<Driver> {
        // KONG(llm/drivers/anthropic.lua): Kong asks for completions at `/v1/complete`, which
        // serves none of the models that are left. Messages serve them as well.
        let path = match conf.route_type {
            Operation::Chat | Operation::Completions => "/v1/messages",
            Operation::Preserve => "/",
        };
        Ok(Driver::new("https://api.anthropic.com", path, AnthropicDialect::new(conf)?))
    }
}

/// The language of Anthropic's API.
struct AnthropicDialect {
    version: [(HeaderName, HeaderValue); 1],
    /// Whether completions are asked for in the words of Text Completions.
    legacy: bool,
}

impl AnthropicDialect {
    fn new(conf: &TargetConf) -> Result<Self> {
        let version = conf.model.options.own_str("anthropic_version").unwrap_or_default();
        let version = HeaderValue::from_str(version).map_err(|_| {
            Error::bad_request("'model.options.anthropic_version' must not hold control characters")
        })?;
        let legacy = conf.route_type == Operation::Completions && !asks_for_messages(conf);
        Ok(Self { version: [(HeaderName::from_static("anthropic-version"), version)], legacy })
    }
}

/// Whether completions go to the Messages API: by default, and where the configured address ends
/// as that API's does. Any other address was written for what Kong sends there.
fn asks_for_messages(conf: &TargetConf) -> bool {
    let options = &conf.model.options;
    let ends = |path: &str| path.trim_end_matches('/').ends_with("/messages");
    match (&options.upstream_url, &options.upstream_path) {
        (Some(url), _) => url::Url::parse(url).is_ok_and(|url| ends(url.path())),
        (None, Some(path)) => ends(path),
        (None, None) => true,
    }
}

impl Dialect for AnthropicDialect {
    fn request(&self, call: &Call<'_>) -> Result<Outbound> {
        let mut outbound = encode::request(call, self.legacy)?;
        outbound.headers.extend_from_slice(&self.version);
        Ok(outbound)
    }

    fn reply(&self, call: &Call<'_>, body: Bytes) -> Result<Decoded> {
        decode::reply(call, &body)
    }

    fn stream(&self, call: &Call<'_>) -> StreamPlan {
        StreamPlan::Translate(Framing::SseOrJson, Box::new(stream::Decoder::new(call.id)))
    }

    fn headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.version
    }
}

#[cfg(test)]
mod tests;
