//! Cohere: its v2 chat, and v1 where a URL asks for it.

use super::{Call, Decoded, Dialect, Driver, Outbound, Provider, StreamPlan};
use crate::config::target::{Operation, TargetConf};
use crate::error::Result;
use crate::wire::frame::Framing;
use bytes::Bytes;

mod body;
mod chat;
mod decode;
mod older;
mod stream;

/// `provider: cohere`.
pub struct Cohere;

impl Provider for Cohere {
    fn name(&self) -> &'static str {
        "cohere"
    }

    fn operations(&self) -> &'static [Operation] {
        &[Operation::Chat, Operation::Completions]
    }

    fn load(&self, conf: &TargetConf) -> Result<Driver> {
        // KONG(llm/drivers/cohere.lua): Kong's defaults are v1, which is not developed any
        // more, and its `/v1/generate`, which is gone: chat serves completions as well.
        let path = match conf.route_type {
            Operation::Chat | Operation::Completions => "/v2/chat",
            Operation::Preserve => "/",
        };
        Ok(Driver::new("https://api.cohere.com", path, CohereDialect { api: Api::of(conf) }))
    }
}

/// Which of Cohere's APIs an address serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Api {
    /// `/v2/chat`.
    V2,
    /// `/v1/chat`.
    V1Chat,
    /// `/v1/generate`.
    V1Generate,
    /// An address that names no version: it gets what Kong sends, in the form of v1 but for
    /// requests with tools.
    Unnamed,
}

impl Api {
    fn of(conf: &TargetConf) -> Self {
        let options = &conf.model.options;
        let path = match (&options.upstream_url, &options.upstream_path) {
            (Some(url), _) => url::Url::parse(url).map(|url| url.path().to_owned()).unwrap_or_default(),
            (None, Some(path)) => path.clone(),
            (None, None) => return Self::V2,
        };
        let names = |version| path.split('/').any(|segment| segment == version);
        let chat = conf.route_type == Operation::Chat || path.trim_end_matches('/').ends_with("/chat");
        match (names("v2"), names("v1")) {
            (true, _) => Self::V2,
            (false, true) if chat => Self::V1Chat,
            (false, true) => Self::V1Generate,
            (false, false) => Self::Unnamed,
        }
    }
}

/// The language of Cohere's APIs.
struct CohereDialect {
    api: Api,
}

impl Dialect for CohereDialect {
    fn request(&self, call: &Call<'_>) -> Result<Outbound> {
        let completions = call.conf.route_type == Operation::Completions;
        let body = match self.api {
            Api::V2 => chat::request(call)?,
            Api::V1Chat => older::chat(call, older::System::Named)?,
            Api::V1Generate => older::generate(call)?,
            Api::Unnamed if completions => older::generate(call)?,
            // KONG(llm/drivers/cohere.lua): here Kong forwards OpenAI's own body, which is v2's but
            // for the names of parameters.
            Api::Unnamed if chat::has_tools(call.doc)? => chat::request(call)?,
            Api::Unnamed => older::chat(call, older::System::AsUser)?,
        };
        Ok(Outbound::json(call.write(&body)?))
    }

    fn reply(&self, call: &Call<'_>, body: Bytes) -> Result<Decoded> {
        decode::reply(call, &body)
    }

    fn stream(&self, call: &Call<'_>) -> StreamPlan {
        // v1 streams lines unless it is asked for events; the decoder reads either as lines.
        let framing = if self.api == Api::V2 { Framing::SseOrJson } else { Framing::JsonLines };
        StreamPlan::Translate(framing, Box::new(stream::Decoder::new(call.id)))
    }
}

#[cfg(test)]
mod tests;
