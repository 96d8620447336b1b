//! Embeddings from Amazon Bedrock: `InvokeModel`, in the words of the model's own vendor.

use super::{NO_KEYS, SERVICE, Sigv4, region, sigv4};
use crate::config::target::TargetConf;
use crate::error::{Error, Kind, Result};
use crate::provider::embedding::{Embedder, Embeddings, Purpose, Words, address, body};
use crate::wire::address::segment;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

pub(super) struct BedrockEmbedder;

impl Embedder for BedrockEmbedder {
    fn load(&self, conf: &TargetConf, dimensions: u32) -> Result<Embeddings> {
        load(conf, dimensions, |name| std::env::var(name).ok())
    }
}

fn load(
    conf: &TargetConf,
    dimensions: u32,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Embeddings> {
    let model = conf.model.name.as_deref().unwrap_or_default();
    let region = region(conf, &environment)?;
    let base = format!("https://bedrock-runtime.{region}.amazonaws.com");
    let address = address(&conf.model.options, &base, &format!("/model/{}/invoke", segment(model)))?;
    let mut embeddings = if model.contains("cohere.") {
        Embeddings::new(address, Cohere)
    } else {
        // The first Titan knows no length.
        let choice = model.contains("titan-embed-text-v2");
        Embeddings::new(address, Titan { dimensions: choice.then_some(dimensions) })
    };
    match sigv4::keys(&conf.auth, &environment) {
        Some(keys) => embeddings.signer = Some(Box::new(Sigv4::new(keys, region, SERVICE))),
        // A key of Bedrock's own, which goes into `Authorization` as it is.
        None if conf.auth.header_value.is_some() => {}
        None => return Err(Error::new(Kind::Identity, NO_KEYS)),
    }
    Ok(embeddings)
}

/// Amazon's Titan.
struct Titan {
    dimensions: Option<u32>,
}

impl Words for Titan {
    fn request(&self, text: &str, _purpose: Purpose) -> Result<Bytes> {
        match self.dimensions {
            Some(dimensions) => body(&json!({"inputText": text, "dimensions": dimensions})),
            None => body(&json!({"inputText": text})),
        }
    }

    fn vector(&self, answer: &[u8]) -> Option<Vec<f32>> {
        #[derive(Deserialize)]
        struct Answer {
            embedding: Vec<f32>,
        }
        serde_json::from_slice(answer).ok().map(|answer: Answer| answer.embedding)
    }
}

/// Cohere's models.
struct Cohere;

impl Words for Cohere {
    fn request(&self, text: &str, purpose: Purpose) -> Result<Bytes> {
        let kind = match purpose {
            Purpose::Stored => "search_document",
            Purpose::Asked => "search_query",
        };
        body(&json!({"texts": [text], "input_type": kind, "truncate": "END"}))
    }

    fn vector(&self, answer: &[u8]) -> Option<Vec<f32>> {
        let mut answer: Value = serde_json::from_slice(answer).ok()?;
        let embeddings = answer.get_mut("embeddings")?.take();
        // By type, where the model makes several.
        let lists = embeddings.get("float").cloned().unwrap_or(embeddings);
        serde_json::from_value::<Vec<Vec<f32>>>(lists).ok()?.into_iter().next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::auth::Unsigned;
    use crate::provider::embedding::tests::{asked, read};
    use http::Method;

    fn embeddings(model: &str, auth: &Value) -> Result<Embeddings> {
        let conf = json!({
            "route_type": "preserve", "auth": auth,
            "model": {"provider": "bedrock", "name": model,
                      "options": {"bedrock": {"aws_region": "eu-west-1"}}}
        });
        load(&serde_json::from_value(conf).unwrap(), 256, |_| None)
    }

    #[test]
    fn titan_and_cohere_are_asked_in_their_own_words() {
        let auth = json!({"aws_access_key_id": "AK", "aws_secret_access_key": "secret"});
        let titan = embeddings("amazon.titan-embed-text-v2:0", &auth).unwrap();
        let (url, body) = asked(&titan, Purpose::Asked);
        let path = "/model/amazon.titan-embed-text-v2%3A0/invoke";
        assert_eq!(url, format!("bedrock-runtime.eu-west-1.amazonaws.com{path}"));
        assert_eq!(body, json!({"inputText": "a \"text\"", "dimensions": 256}));
        assert_eq!(read(&titan, &json!({"embedding": [0.5], "inputTextTokenCount": 2})), Some(vec![0.5]));
        let first = embeddings("amazon.titan-embed-text-v1", &auth).unwrap();
        assert_eq!(asked(&first, Purpose::Stored).1, json!({"inputText": "a \"text\""}));
        let cohere = embeddings("cohere.embed-english-v3", &auth).unwrap();
        let ask = |kind: &str| json!({"texts": ["a \"text\""], "input_type": kind, "truncate": "END"});
        assert_eq!(asked(&cohere, Purpose::Asked).1, ask("search_query"));
        assert_eq!(asked(&cohere, Purpose::Stored).1, ask("search_document"));
        assert_eq!(read(&cohere, &json!({"embeddings": [[0.5]]})), Some(vec![0.5]));
        assert_eq!(read(&cohere, &json!({"embeddings": {"float": [[0.5]]}})), Some(vec![0.5]));
    }

    #[test]
    fn keys_sign_and_a_key_of_bedrocks_own_does_not() {
        let auth = json!({"aws_access_key_id": "AK", "aws_secret_access_key": "secret"});
        let signer = embeddings("amazon.titan-embed-text-v1", &auth).unwrap().signer.unwrap();
        let unsigned = Unsigned {
            method: &Method::POST,
            host: "h",
            path: "/",
            query: &[],
            headers: &[],
            body: b"{}",
            now: 1_700_000_000,
        };
        let proof = signer.sign(&unsigned).unwrap();
        let value = proof.iter().find(|(name, _)| name == "authorization").unwrap().1.to_str().unwrap();
        assert!(value.contains("Credential=AK/20231114/eu-west-1/bedrock/aws4_request"), "{value}");
        let bearer = json!({"header_name": "Authorization", "header_value": "Bearer k"});
        assert!(embeddings("amazon.titan-embed-text-v1", &bearer).unwrap().signer.is_none());
        let none = embeddings("amazon.titan-embed-text-v1", &json!({})).err().unwrap();
        assert_eq!(none.kind(), Kind::Identity);
    }
}
