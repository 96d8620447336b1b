//! Embeddings from Azure OpenAI: the deployment stands in the path, the version in the query.

use super::{azure, host};
use crate::config::target::TargetConf;
use crate::error::{Error, Result};
use crate::provider::embedding::{Embedder, Embeddings, OpenAiWords, address, openai_dimensions, option};
use crate::wire::address::segment;

pub(super) struct AzureEmbedder;

/// The version of the API that is asked for unless another is configured, as for targets.
const VERSION: &str = "2023-05-15";

impl Embedder for AzureEmbedder {
    fn load(&self, conf: &TargetConf, dimensions: u32) -> Result<Embeddings> {
        let of = |name| option(conf, "azure", name);
        let model = conf.model.name.as_deref().unwrap_or_default();
        let version = segment(of("api_version").unwrap_or(VERSION));
        let deployment = segment(of("deployment_id").unwrap_or(model));
        let path = format!("/openai/deployments/{deployment}/embeddings?api-version={version}");
        let base = match (of("instance"), &conf.model.options.upstream_url) {
            (Some(instance), _) => host(instance)?,
            (None, Some(_)) => String::new(),
            (None, None) => {
                return Err(Error::bad_request(
                    "must set 'model.options.azure.instance' or 'model.options.upstream_url' for azure provider",
                ));
            }
        };
        let mut address = address(&conf.model.options, &base, &path)?;
        address.query.get_or_insert_with(|| format!("api-version={version}"));
        let words = OpenAiWords { model: None, dimensions: openai_dimensions(model, dimensions) };
        let mut embeddings = Embeddings::new(address, words);
        if azure::is_wanted(&conf.auth) {
            embeddings.identity = Some(azure::token(&conf.auth, |name| std::env::var(name).ok()));
        }
        Ok(embeddings)
    }
}

#[cfg(test)]
mod tests {
    use crate::provider::embedding::Purpose;
    use crate::provider::embedding::tests::{asked, load, read};
    use serde_json::json;

    const MODEL: &str = "text-embedding-3-large";

    #[test]
    fn deployment_and_version_stand_in_the_address() {
        let options =
            json!({"azure": {"instance": "i", "deployment_id": "d/e", "api_version": "2024-10-21"}});
        let embeddings =
            load("azure", MODEL, &options, &json!({"azure_use_managed_identity": true})).unwrap();
        let (url, body) = asked(&embeddings, Purpose::Asked);
        assert_eq!(url, "i.openai.azure.com/openai/deployments/d%2Fe/embeddings?api-version=2024-10-21");
        assert_eq!(body, json!({"input": "a \"text\"", "dimensions": 256}));
        assert!(embeddings.identity.is_some());
        assert_eq!(read(&embeddings, &json!({"data": [{"embedding": [1]}]})), Some(vec![1.0]));
    }

    #[test]
    fn an_address_of_ones_own_gets_the_version_if_it_has_none() {
        let url = |options| asked(&load("azure", MODEL, &options, &json!({})).unwrap(), Purpose::Asked).0;
        assert_eq!(url(json!({"upstream_url": "http://h/x"})), "h/x?api-version=2023-05-15");
        assert_eq!(url(json!({"upstream_url": "http://h/x?api-version=1"})), "h/x?api-version=1");
        assert_eq!(
            url(json!({"upstream_url": "http://h"})),
            "h/openai/deployments/text-embedding-3-large/embeddings?api-version=2023-05-15"
        );
        let error = load("azure", MODEL, &json!({}), &json!({})).err().unwrap();
        assert!(error.message().contains("set 'model.options.azure.instance'"), "{error}");
    }
}
