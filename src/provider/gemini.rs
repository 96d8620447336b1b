//! Gemini: Google's public API, or Vertex in one of its regions.

use super::auth::token::Token;
use super::auth::{gcp, refuse_override};
use super::embedding::Embedder;
use super::native::NativeFormat;
use super::{Call, Decoded, Dialect, Driver, Outbound, Provider, StreamPlan};
use crate::config::problems::Problems;
use crate::config::schema::{Field, Record, Rule};
use crate::config::target::{Operation, OptionsConf, TargetConf};
use crate::error::{Error, Result};
use crate::wire::address::Address;
use crate::wire::frame::Framing;
use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use std::borrow::Cow;
use std::sync::Arc;

mod decode;
mod embed;
mod encode;
mod native;
mod parts;
mod schema;
mod turns;

/// `provider: gemini`.
pub struct Gemini;

const PUBLIC: &str = "https://generativelanguage.googleapis.com";

impl Provider for Gemini {
    fn name(&self) -> &'static str {
        "gemini"
    }

    fn options(&self) -> Vec<Field> {
        let record = Record::new(vec![
            Field::text("api_endpoint").doc("Host of the regional Vertex endpoint."),
            Field::text("project_id").doc("Google Cloud project."),
            Field::text("location_id").doc("Google Cloud location."),
        ])
        .rules(vec![Rule::AllOrNone(&["api_endpoint", "project_id", "location_id"])]);
        vec![Field::record("gemini", record).doc("For Gemini on Vertex.")]
    }

    fn operations(&self) -> &'static [Operation] {
        &[Operation::Chat]
    }

    fn check(&self, conf: &TargetConf, out: &mut Problems<'_>) {
        refuse_override(conf, out);
    }

    fn load(&self, conf: &TargetConf) -> Result<Driver> {
        let options = &conf.model.options;
        let vertex = Vertex::of(options);
        let address = match &vertex {
            Some(vertex) => Cow::Owned(format!("https://{}", vertex.endpoint)),
            None => Cow::Borrowed(PUBLIC),
        };
        let identity = gcp::token(&conf.auth, |name| std::env::var(name).ok());
        let path = match vertex {
            Some(Vertex { project, location, .. }) => {
                Path::Vertex(format!("/v1/projects/{}/locations/{}", escaped(project), escaped(location)))
            }
            None => Path::Public,
        };
        let path = Path::configured(options)?.unwrap_or(path);
        // Every call names its model in the path: see the dialect.
        Ok(Driver::new(address, "/", GeminiDialect { path, identity }))
    }

    fn native(&self) -> Option<&'static dyn NativeFormat> {
        Some(&native::GeminiFormat)
    }

    fn semantic_name(&self) -> &'static str {
        "gcp.gemini"
    }

    fn embeddings(&self) -> Option<&'static dyn Embedder> {
        Some(&embed::GeminiEmbedder)
    }
}

/// The three options that lead to Vertex.
struct Vertex<'a> {
    endpoint: &'a str,
    project: &'a str,
    location: &'a str,
}

impl<'a> Vertex<'a> {
    fn of(options: &'a OptionsConf) -> Option<Self> {
        let record = options.own.get("gemini")?;
        let text = |name: &str| record.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        Some(Self {
            endpoint: text("api_endpoint")?,
            project: text("project_id")?,
            location: text("location_id")?,
        })
    }
}

/// Where requests go below the address.
enum Path {
    Public,
    /// The resource that holds the models.
    Vertex(String),
    /// As configured, and whether that address has a query of its own.
    Fixed(String, bool),
}

const GENERATE: &str = ":generateContent";
const STREAM: &str = ":streamGenerateContent";

impl Path {
    // KONG(llm/drivers/gemini.lua): here, and for bedrock, `upstream_path` counts beside `upstream_url`.
    fn configured(options: &OptionsConf) -> Result<Option<Self>> {
        let address =
            options.upstream_url.as_deref().map(Address::parse).transpose().map_err(Error::bad_request)?;
        let query = address.as_ref().is_some_and(|address| address.query.is_some());
        let path = options.upstream_path.clone().or(address.map(|address| address.path));
        Ok(path.map(|path| Self::Fixed(path, query)))
    }

    /// The path of a call, with the query that it needs. Streams are asked for as events (`sse`); the
    /// other form is one JSON array.
    fn of(&self, call: &Call<'_>, sse: bool) -> Result<String> {
        let operation = if call.stream { STREAM } else { GENERATE };
        let mut path = match self {
            Self::Public => format!("/v1beta/{}{operation}", resource(call.model, "models/")?),
            Self::Vertex(parent) => {
                format!("{parent}/{}{operation}", resource(call.model, "publishers/google/models/")?)
            }
            // KONG(llm/drivers/gemini.lua): an address that names the other operation breaks Kong.
            Self::Fixed(path, _) => match path.strip_suffix(GENERATE).or_else(|| path.strip_suffix(STREAM)) {
                Some(model) => format!("{model}{operation}"),
                None => path.clone(),
            },
        };
        if call.stream && sse && !matches!(self, Self::Fixed(_, true)) {
            path.push_str("?alt=sse");
        }
        Ok(path)
    }
}

/// A model's resource name: `parent` and the name, unless the name is one itself.
fn resource(model: &str, parent: &str) -> Result<String> {
    const WHOLE: [&str; 4] = ["models/", "tunedModels/", "publishers/", "endpoints/"];
    let whole = WHOLE.iter().any(|start| model.starts_with(start));
    let pieces: Vec<_> = if whole { model.split('/').map(escaped).collect() } else { vec![escaped(model)] };
    // A client may have chosen the name: it must not lead anywhere else.
    if pieces.iter().any(|piece| matches!(piece.as_str(), "" | "." | "..")) {
        return Err(Error::bad_request(format!(
            "model name '{model}' must not have empty steps, '.' or '..' in it"
        )));
    }
    Ok(if whole { pieces.join("/") } else { format!("{parent}{}", pieces.concat()) })
}

fn escaped(piece: &str) -> String {
    const KEPT: &AsciiSet =
        &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'@');
    utf8_percent_encode(piece, KEPT).to_string()
}

struct GeminiDialect {
    path: Path,
    identity: Option<Arc<Token>>,
}

impl Dialect for GeminiDialect {
    fn request(&self, call: &Call<'_>) -> Result<Outbound> {
        let body = encode::request(call)?;
        Ok(Outbound { path: Some(self.path.of(call, true)?), ..Outbound::json(body) })
    }

    fn identity(&self) -> Option<&Arc<Token>> {
        self.identity.as_ref()
    }

    fn forward(&self, call: &Call<'_>, body: Bytes) -> Result<Outbound> {
        // How the answer is framed is between the client and Gemini.
        Ok(Outbound { path: Some(self.path.of(call, false)?), ..Outbound::json(body) })
    }

    fn reply(&self, call: &Call<'_>, body: Bytes) -> Result<Decoded> {
        decode::reply(call, &body)
    }

    fn withheld(&self) -> &'static str {
        "transformation generation candidate breached Gemini content safety"
    }

    fn stream(&self, call: &Call<'_>) -> StreamPlan {
        StreamPlan::Translate(Framing::SseOrJson, Box::new(decode::Decoder::new(call)))
    }
}

#[cfg(test)]
mod tests;
