//! Embeddings: a text in, a vector out. Which provider makes them, and in which words it is asked, is
//! said here; the call itself is made elsewhere.

use super::auth::Signer;
use super::auth::token::Token;
use crate::config::target::{OptionsConf, TargetConf};
use crate::error::{Error, Kind, Result};
use crate::wire::address::Address;
use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;

/// A provider that makes embeddings.
pub trait Embedder: Send + Sync {
    /// Settles what does not depend on the text. `dimensions` is how long a vector should be, where the
    /// model leaves the choice.
    fn load(&self, conf: &TargetConf, dimensions: u32) -> Result<Embeddings>;
}

/// How to ask one model for embeddings.
pub struct Embeddings {
    /// Where it is asked.
    pub address: Address,
    /// In which words.
    pub words: Box<dyn Words>,
    /// What the model needs beside the body.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The token to send, where a cloud identity authenticates us.
    pub identity: Option<Arc<Token>>,
    /// Proves who we are where a key that is always the same does not.
    pub signer: Option<Box<dyn Signer>>,
}

impl Embeddings {
    /// Embeddings from that address, with nothing out of the ordinary.
    pub fn new(address: Address, words: impl Words + 'static) -> Self {
        Self { address, words: Box::new(words), headers: Vec::new(), identity: None, signer: None }
    }
}

/// What a text is embedded for. Some models make different vectors of questions and of what they are
/// compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To be kept and compared with.
    Stored,
    /// To be looked up.
    Asked,
}

/// The words in which a model is asked.
pub trait Words: Send + Sync {
    /// The body of a request.
    fn request(&self, text: &str, purpose: Purpose) -> Result<Bytes>;

    /// The vector in an answer; `None` if it holds none.
    fn vector(&self, answer: &[u8]) -> Option<Vec<f32>>;
}

/// Where calls go: `upstream_url` whole, or with the provider's path if it names only a host; else the
/// provider's own address.
pub(super) fn address(options: &OptionsConf, base: &str, path: &str) -> Result<Address> {
    let own = |base: &str| Address::parse(&format!("{base}{path}")).map_err(Error::bad_request);
    let Some(url) = &options.upstream_url else { return own(base) };
    let given = Address::parse(url).map_err(Error::bad_request)?;
    if given.path == "/" && given.query.is_none() { own(url.trim_end_matches('/')) } else { Ok(given) }
}

/// A text below `options.<record>`.
pub(super) fn option<'a>(conf: &'a TargetConf, record: &str, name: &str) -> Option<&'a str> {
    let text = conf.model.options.own.get(record)?.get(name).and_then(Value::as_str);
    text.filter(|text| !text.is_empty())
}

pub(super) fn body(body: &impl Serialize) -> Result<Bytes> {
    let text = serde_json::to_vec(body);
    text.map(Bytes::from).map_err(|why| Error::new(Kind::Internal, format!("no JSON can be written: {why}")))
}

/// OpenAI's words, which Azure and Mistral speak, too.
pub(super) struct OpenAiWords {
    /// Where the address does not name it.
    pub model: Option<String>,
    /// Where the model leaves the choice.
    pub dimensions: Option<u32>,
}

impl Words for OpenAiWords {
    fn request(&self, text: &str, _purpose: Purpose) -> Result<Bytes> {
        #[derive(Serialize)]
        struct Ask<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            model: Option<&'a str>,
            input: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            dimensions: Option<u32>,
        }
        body(&Ask { model: self.model.as_deref(), input: text, dimensions: self.dimensions })
    }

    fn vector(&self, answer: &[u8]) -> Option<Vec<f32>> {
        #[derive(Deserialize)]
        struct Answer {
            data: Vec<Item>,
        }
        #[derive(Deserialize)]
        struct Item {
            embedding: Vec<f32>,
        }
        let answer: Answer = serde_json::from_slice(answer).ok()?;
        answer.data.into_iter().next().map(|item| item.embedding)
    }
}

/// The length to ask a model of OpenAI's for: those before the third generation have but one.
pub(super) fn openai_dimensions(model: &str, dimensions: u32) -> Option<u32> {
    model.contains("text-embedding-3").then_some(dimensions)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use serde_json::json;

    /// The embeddings of that provider.
    pub fn load(provider: &str, model: &str, options: &Value, auth: &Value) -> Result<Embeddings> {
        let conf = json!({
            "route_type": "preserve", "auth": auth,
            "model": {"provider": provider, "name": model, "options": options}
        });
        let embedder = super::super::find(provider).and_then(super::super::Provider::embeddings).unwrap();
        embedder.load(&serde_json::from_value(conf).unwrap(), 256)
    }

    /// Address and body of a call.
    pub fn asked(embeddings: &Embeddings, purpose: Purpose) -> (String, Value) {
        let address = &embeddings.address;
        let query = address.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
        let body = embeddings.words.request("a \"text\"", purpose).unwrap();
        (format!("{}{}{query}", address.authority, address.path), serde_json::from_slice(&body).unwrap())
    }

    /// The vector in an answer.
    pub fn read(embeddings: &Embeddings, answer: &Value) -> Option<Vec<f32>> {
        embeddings.words.vector(answer.to_string().as_bytes())
    }

    #[test]
    fn whoever_may_be_configured_makes_embeddings() {
        let able = super::super::PROVIDERS.iter().filter(|provider| provider.embeddings().is_some());
        let mut able: Vec<_> = able.map(|provider| provider.name()).collect();
        able.sort_unstable();
        assert_eq!(able, super::super::vocabulary::EMBEDDINGS);
    }

    #[test]
    fn an_address_that_names_only_a_host_gets_the_providers_path() {
        let at = |url: &str| {
            let options = json!({"upstream_url": url});
            let conf: OptionsConf = serde_json::from_value(options).unwrap();
            let address = address(&conf, "https://own.test", "/v1/embeddings").unwrap();
            format!("{}{}", address.authority, address.path)
        };
        assert_eq!(at("http://host.test:81/"), "host.test:81/v1/embeddings");
        assert_eq!(at("http://host.test"), "host.test/v1/embeddings");
        assert_eq!(at("http://host.test/embed"), "host.test/embed");
    }
}
