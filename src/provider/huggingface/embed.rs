//! Embeddings from Hugging Face: the feature-extraction task of its router, or of an endpoint.

use super::Wishes;
use crate::config::target::TargetConf;
use crate::error::Result;
use crate::provider::embedding::{Embedder, Embeddings, Purpose, Words, address, body};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;

pub(super) struct HuggingFaceEmbedder;

impl Embedder for HuggingFaceEmbedder {
    fn load(&self, conf: &TargetConf, _dimensions: u32) -> Result<Embeddings> {
        let model = conf.model.name.as_deref().unwrap_or_default();
        let path = format!("/hf-inference/models/{model}/pipeline/feature-extraction");
        let address = address(&conf.model.options, super::ROUTER, &path)?;
        let headers = Wishes::of(conf).headers().collect();
        Ok(Embeddings { headers, ..Embeddings::new(address, FeatureExtraction) })
    }
}

struct FeatureExtraction;

/// A vector for the text, a list of one such, or vectors of its tokens.
#[derive(Deserialize)]
#[serde(untagged)]
enum Features {
    Vector(Vec<f32>),
    List(Vec<Features>),
}

impl Features {
    /// The vector of the text; that of a text of which only the tokens have one is their mean.
    #[allow(clippy::cast_precision_loss)] // a count of tokens
    fn vector(self) -> Option<Vec<f32>> {
        let list = match self {
            Self::Vector(vector) => return Some(vector),
            Self::List(list) => list,
        };
        let count = list.len() as f32;
        let mut vectors = list.into_iter().filter_map(Self::vector);
        let first = vectors.next()?;
        let sum = vectors.fold(first, |mut sum, vector| {
            sum.iter_mut().zip(vector).for_each(|(sum, value)| *sum += value);
            sum
        });
        Some(sum.into_iter().map(|value| value / count).collect())
    }
}

impl Words for FeatureExtraction {
    fn request(&self, text: &str, _purpose: Purpose) -> Result<Bytes> {
        // What is too long for a sentence model is cut, not refused.
        body(&json!({"inputs": text, "truncate": true}))
    }

    fn vector(&self, answer: &[u8]) -> Option<Vec<f32>> {
        serde_json::from_slice::<Features>(answer).ok()?.vector()
    }
}

#[cfg(test)]
mod tests {
    use crate::provider::embedding::Purpose;
    use crate::provider::embedding::tests::{asked, load, read};
    use serde_json::json;

    #[test]
    fn the_router_and_an_endpoint_are_asked_alike() {
        let model = "sentence-transformers/all-MiniLM-L6-v2";
        let options = json!({"huggingface": {"wait_for_model": true}});
        let router = load("huggingface", model, &options, &json!({})).unwrap();
        let (url, body) = asked(&router, Purpose::Asked);
        assert_eq!(
            url,
            format!("router.huggingface.co/hf-inference/models/{model}/pipeline/feature-extraction")
        );
        assert_eq!(body, json!({"inputs": "a \"text\"", "truncate": true}));
        assert_eq!(router.headers[0].0, "x-wait-for-model");
        let own = load("huggingface", model, &json!({"upstream_url": "http://h/embed"}), &json!({})).unwrap();
        assert_eq!(asked(&own, Purpose::Asked).0, "h/embed");
    }

    #[test]
    fn vectors_are_found_however_deep_they_lie() {
        let endpoint = load("huggingface", "m", &json!({}), &json!({})).unwrap();
        for (answer, vector) in [
            (json!([0.5, 1]), Some(vec![0.5, 1.0])),
            (json!([[0.5, 1]]), Some(vec![0.5, 1.0])),
            (json!([[[0, 1], [1, 2]]]), Some(vec![0.5, 1.5])),
            (json!({"error": "loading"}), None),
        ] {
            assert_eq!(read(&endpoint, &answer), vector, "{answer}");
        }
    }
}
