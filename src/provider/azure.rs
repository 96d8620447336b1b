//! Azure OpenAI: OpenAI's dialect, a deployment in the path, and a version of the API in the query.

use super::auth::azure;
use super::auth::token::Token;
use super::embedding::Embedder;
use super::openai::{OPENAI, OpenAiDialect, Vendor};
use super::{Call, Decoded, Dialect, Driver, Outbound, Pair, Provider, StreamPlan};
use crate::config::problems::Problems;
use crate::config::schema::Field;
use crate::config::target::{Operation, TargetConf};
use crate::error::{Error, Result};
use crate::wire::address::segment;
use bytes::Bytes;
use std::sync::Arc;

mod embed;

/// `provider: azure`.
pub struct Azure;

/// The first version of the API that takes `stream_options`.
const USAGE_IN_STREAMS: &str = "2024-09-01";

/// The longest name that DNS has room for.
const LABEL: usize = 63;

impl Provider for Azure {
    fn name(&self) -> &'static str {
        "azure"
    }

    fn options(&self) -> Vec<Field> {
        vec![
            Field::text("azure_instance").doc("Name of the Azure OpenAI resource."),
            Field::text("azure_api_version").default("2023-05-15").doc("Value of `api-version`."),
            Field::text("azure_deployment_id").doc("Name of the deployment."),
        ]
    }

    fn operations(&self) -> &'static [Operation] {
        &[Operation::Chat, Operation::Completions]
    }

    fn check(&self, conf: &TargetConf, out: &mut Problems<'_>) {
        for name in ["azure_instance", "azure_api_version", "azure_deployment_id"] {
            if option(conf, name).is_empty() {
                out.push(format!("must set 'model.options.{name}' for azure provider"));
            }
        }
    }

    fn load(&self, conf: &TargetConf) -> Result<Driver> {
        let (instance, deployment) = (option(conf, "azure_instance"), option(conf, "azure_deployment_id"));
        let version = option(conf, "azure_api_version");
        let vendor = Vendor { asks_usage: takes_stream_options(version), ..OPENAI };
        let identity =
            azure::is_wanted(&conf.auth).then(|| azure::token(&conf.auth, |name| std::env::var(name).ok()));
        let dialect = AzureDialect { openai: OpenAiDialect::new(vendor), identity };
        let driver = Driver::new(host(instance)?, path(conf.route_type, deployment), dialect);
        let meta = [
            ("azure_instance_id", instance),
            ("azure_deployment_id", deployment),
            ("azure_api_version", version),
        ];
        Ok(Driver {
            pair: Some(Pair::new("api-version", version)),
            meta: meta.map(|(name, value)| (name, value.to_owned())).into(),
            ..driver
        })
    }

    fn semantic_name(&self) -> &'static str {
        "azure.ai.openai"
    }

    fn embeddings(&self) -> Option<&'static dyn Embedder> {
        Some(&embed::AzureEmbedder)
    }
}

/// OpenAI's dialect, where a token may take the place of a key.
struct AzureDialect {
    openai: OpenAiDialect,
    identity: Option<Arc<Token>>,
}

impl Dialect for AzureDialect {
    fn request(&self, call: &Call<'_>) -> Result<Outbound> {
        self.openai.request(call)
    }

    fn identity(&self) -> Option<&Arc<Token>> {
        self.identity.as_ref()
    }

    fn reply(&self, call: &Call<'_>, body: Bytes) -> Result<Decoded> {
        self.openai.reply(call, body)
    }

    fn stream(&self, call: &Call<'_>) -> StreamPlan {
        self.openai.stream(call)
    }
}

fn option<'a>(conf: &'a TargetConf, name: &str) -> &'a str {
    conf.model.options.own_str(name).unwrap_or_default()
}

/// The resource's address. A name that came out of a request must not lead, key and all, to another host.
fn host(instance: &str) -> Result<String> {
    let plain = instance.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if !plain || instance.is_empty() || instance.len() > LABEL {
        return Err(Error::bad_request(
            "'model.options.azure_instance' must be the name of an Azure resource",
        ));
    }
    Ok(format!("https://{instance}.openai.azure.com"))
}

fn path(operation: Operation, deployment: &str) -> String {
    let call = match operation {
        Operation::Chat => "chat/completions",
        Operation::Completions => "completions",
        Operation::Preserve => return "/".to_owned(),
    };
    format!("/openai/deployments/{}/{call}", segment(deployment))
}

/// Versions are dates (`2024-10-21`, `2024-09-01-preview`); words stand for newer ones (`latest`).
fn takes_stream_options(version: &str) -> bool {
    version.get(..USAGE_IN_STREAMS.len()).unwrap_or(version) >= USAGE_IN_STREAMS
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn conf(options: &Value, auth: &Value) -> TargetConf {
        let conf = json!({
            "route_type": "llm/v1/chat", "auth": auth,
            "model": {"provider": "azure", "name": "gpt-4o", "options": options}
        });
        serde_json::from_value(conf).unwrap()
    }

    #[test]
    fn usage_in_streams_is_asked_for_where_it_is_known() {
        for (version, known) in [
            ("2023-05-15", false),
            ("2024-06-01", false),
            ("2024-09-01-preview", true),
            ("2024-10-21", true),
            ("latest", true),
            ("", false),
        ] {
            assert_eq!(takes_stream_options(version), known, "{version}");
        }
    }

    #[test]
    fn an_instance_cannot_lead_elsewhere() {
        assert_eq!(host("001-kong-t").unwrap(), "https://001-kong-t.openai.azure.com");
        for instance in ["", "evil.test/", "a.b", "x@y", "a:1", "é", &"a".repeat(64)] {
            assert!(host(instance).is_err(), "{instance}");
        }
    }

    #[test]
    fn the_clients_version_and_the_addresss_win() {
        let options =
            json!({"azure_instance": "i", "azure_deployment_id": "d/e", "azure_api_version": "2024-10-21"});
        let driver = Azure.load(&conf(&options, &json!({}))).unwrap();
        assert_eq!(driver.path, "/openai/deployments/d%2Fe/chat/completions");
        assert_eq!(driver.own_pair(&["", "a=1"]), "api-version=2024-10-21");
        assert_eq!(driver.own_pair(&["", "a=1&api-version=2025-01-01"]), "");
        assert_eq!(driver.own_pair(&["api-version=x", ""]), "");
        assert_eq!(driver.meta.len(), 3);
        assert_eq!(driver.meta[1], ("azure_deployment_id", "d/e".to_owned()));
    }

    #[test]
    fn a_managed_identity_takes_the_place_of_a_key() {
        let options = json!({"azure_instance": "i", "azure_deployment_id": "d"});
        for (auth, known) in [
            (json!({"azure_use_managed_identity": true, "azure_client_id": "c"}), true),
            (json!({"azure_use_managed_identity": false}), false),
            (json!({}), false),
        ] {
            let driver = Azure.load(&conf(&options, &auth)).unwrap();
            assert_eq!(driver.dialect.identity().is_some(), known, "{auth}");
        }
    }
}
