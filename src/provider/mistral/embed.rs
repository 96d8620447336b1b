//! Embeddings from Mistral, or from any server that speaks as it does.

use crate::config::target::TargetConf;
use crate::error::Result;
use crate::provider::embedding::{Embedder, Embeddings, OpenAiWords, address};

pub(super) struct MistralEmbedder;

impl Embedder for MistralEmbedder {
    fn load(&self, conf: &TargetConf, _dimensions: u32) -> Result<Embeddings> {
        let address = address(&conf.model.options, super::CLOUD, "/v1/embeddings")?;
        // Mistral's cloud refuses fields that it does not know, a length among them.
        Ok(Embeddings::new(address, OpenAiWords { model: conf.model.name.clone(), dimensions: None }))
    }
}

#[cfg(test)]
mod tests {
    use crate::provider::embedding::Purpose;
    use crate::provider::embedding::tests::{asked, load, read};
    use serde_json::json;

    #[test]
    fn it_is_asked_as_openai_is() {
        let embeddings = load("mistral", "mistral-embed", &json!({}), &json!({})).unwrap();
        let (url, body) = asked(&embeddings, Purpose::Asked);
        assert_eq!(url, "api.mistral.ai/v1/embeddings");
        assert_eq!(body, json!({"model": "mistral-embed", "input": "a \"text\""}));
        assert_eq!(read(&embeddings, &json!({"data": [{"embedding": [1]}]})), Some(vec![1.0]));
    }
}
