//! Embeddings from Gemini: Google's public API, or Vertex in one of its regions.

use super::{PUBLIC, Vertex, escaped, gcp, resource};
use crate::config::target::TargetConf;
use crate::error::Result;
use crate::provider::embedding::{Embedder, Embeddings, Purpose, Words, address, body};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;

pub(super) struct GeminiEmbedder;

impl Embedder for GeminiEmbedder {
    fn load(&self, conf: &TargetConf, dimensions: u32) -> Result<Embeddings> {
        let (options, model) = (&conf.model.options, conf.model.name.as_deref().unwrap_or_default());
        let mut embeddings = if let Some(Vertex { endpoint, project, location }) = Vertex::of(options) {
            let model = resource(model, "publishers/google/models/")?;
            let (project, location) = (escaped(project), escaped(location));
            let path = format!("/v1/projects/{project}/locations/{location}/{model}:predict");
            let address = address(options, &format!("https://{endpoint}"), &path)?;
            Embeddings::new(address, Predict { dimensions })
        } else {
            let path = format!("/v1beta/{}:embedContent", resource(model, "models/")?);
            Embeddings::new(address(options, PUBLIC, &path)?, EmbedContent { dimensions })
        };
        embeddings.identity = gcp::token(&conf.auth, |name| std::env::var(name).ok());
        Ok(embeddings)
    }
}

fn task(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Stored => "RETRIEVAL_DOCUMENT",
        Purpose::Asked => "RETRIEVAL_QUERY",
    }
}

#[derive(Deserialize)]
struct Values {
    values: Vec<f32>,
}

/// The public API's words.
struct EmbedContent {
    dimensions: u32,
}

impl Words for EmbedContent {
    fn request(&self, text: &str, purpose: Purpose) -> Result<Bytes> {
        body(&json!({
            "content": {"parts": [{"text": text}]},
            "taskType": task(purpose),
            "outputDimensionality": self.dimensions,
        }))
    }

    fn vector(&self, answer: &[u8]) -> Option<Vec<f32>> {
        #[derive(Deserialize)]
        struct Answer {
            embedding: Values,
        }
        serde_json::from_slice(answer).ok().map(|answer: Answer| answer.embedding.values)
    }
}

/// Vertex's words.
struct Predict {
    dimensions: u32,
}

impl Words for Predict {
    fn request(&self, text: &str, purpose: Purpose) -> Result<Bytes> {
        body(&json!({
            "instances": [{"content": text, "task_type": task(purpose)}],
            "parameters": {"outputDimensionality": self.dimensions},
        }))
    }

    fn vector(&self, answer: &[u8]) -> Option<Vec<f32>> {
        #[derive(Deserialize)]
        struct Answer {
            predictions: Vec<Prediction>,
        }
        #[derive(Deserialize)]
        struct Prediction {
            embeddings: Values,
        }
        let answer: Answer = serde_json::from_slice(answer).ok()?;
        answer.predictions.into_iter().next().map(|prediction| prediction.embeddings.values)
    }
}

#[cfg(test)]
mod tests {
    use crate::provider::embedding::Purpose;
    use crate::provider::embedding::tests::{asked, load, read};
    use serde_json::json;

    #[test]
    fn the_public_api_embeds_content() {
        let embeddings = load("gemini", "text-embedding-004", &json!({}), &json!({})).unwrap();
        let (url, body) = asked(&embeddings, Purpose::Asked);
        assert_eq!(url, "generativelanguage.googleapis.com/v1beta/models/text-embedding-004:embedContent");
        assert_eq!(
            body,
            json!({"content": {"parts": [{"text": "a \"text\""}]}, "taskType": "RETRIEVAL_QUERY",
                   "outputDimensionality": 256})
        );
        assert_eq!(read(&embeddings, &json!({"embedding": {"values": [0.5]}})), Some(vec![0.5]));
    }

    #[test]
    fn vertex_predicts() {
        let options = json!({"gemini": {
            "api_endpoint": "eu-aiplatform.googleapis.com", "project_id": "p", "location_id": "eu"
        }});
        let embeddings = load("gemini", "gemini-embedding-001", &options, &json!({})).unwrap();
        let (url, body) = asked(&embeddings, Purpose::Stored);
        assert_eq!(
            url,
            "eu-aiplatform.googleapis.com/v1/projects/p/locations/eu/publishers/google/models/\
             gemini-embedding-001:predict"
        );
        assert_eq!(
            body,
            json!({"instances": [{"content": "a \"text\"", "task_type": "RETRIEVAL_DOCUMENT"}],
                   "parameters": {"outputDimensionality": 256}})
        );
        let answer = json!({"predictions": [{"embeddings": {"values": [0.5], "statistics": {}}}]});
        assert_eq!(read(&embeddings, &answer), Some(vec![0.5]));
    }
}
