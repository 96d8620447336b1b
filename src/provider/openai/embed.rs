//! Embeddings from OpenAI.

use crate::config::target::TargetConf;
use crate::error::Result;
use crate::provider::embedding::{Embedder, Embeddings, OpenAiWords, address, openai_dimensions};

pub(super) struct OpenAiEmbedder;

impl Embedder for OpenAiEmbedder {
    fn load(&self, conf: &TargetConf, dimensions: u32) -> Result<Embeddings> {
        let model = conf.model.name.clone();
        let dimensions = openai_dimensions(model.as_deref().unwrap_or_default(), dimensions);
        let address = address(&conf.model.options, "https://api.openai.com", "/v1/embeddings")?;
        Ok(Embeddings::new(address, OpenAiWords { model, dimensions }))
    }
}

#[cfg(test)]
mod tests {
    use crate::provider::embedding::Purpose;
    use crate::provider::embedding::tests::{asked, load, read};
    use serde_json::json;

    #[test]
    fn it_is_asked_for_the_length_where_the_model_leaves_the_choice() {
        let third = load("openai", "text-embedding-3-small", &json!({}), &json!({})).unwrap();
        let (url, body) = asked(&third, Purpose::Asked);
        assert_eq!(url, "api.openai.com/v1/embeddings");
        assert_eq!(
            body,
            json!({"model": "text-embedding-3-small", "input": "a \"text\"", "dimensions": 256})
        );
        let second = load("openai", "text-embedding-ada-002", &json!({}), &json!({})).unwrap();
        assert_eq!(
            asked(&second, Purpose::Stored).1,
            json!({"model": "text-embedding-ada-002", "input": "a \"text\""})
        );
        assert_eq!(read(&third, &json!({"data": [{"embedding": [0.5, -1]}]})), Some(vec![0.5, -1.0]));
        assert_eq!(read(&third, &json!({"error": {"message": "no"}})), None);
    }
}
