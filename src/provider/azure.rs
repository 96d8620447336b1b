//! Azure OpenAI: OpenAI's dialect, a deployment in the path, and a version of the API in the query.

use super::openai::{OpenAiDialect, Vendor};
use super::{Driver, Pair, Provider};
use crate::config::problems::Problems;
use crate::config::schema::Field;
use crate::config::target::{Operation, TargetConf};
use crate::error::{Error, Kind, Result};
use crate::wire::address::segment;
use serde_json::Value;

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
        if conf.auth.own.get("azure_use_managed_identity").is_some_and(|flag| *flag == Value::Bool(true)) {
            return Err(Error::new(
                Kind::Identity,
                "managed identities are not served by this release of tollgate: give the key of the resource \
                 as auth.header_name 'api-key'",
            ));
        }
        let (instance, deployment) = (option(conf, "azure_instance"), option(conf, "azure_deployment_id"));
        let version = option(conf, "azure_api_version");
        let vendor = if takes_stream_options(version) { Vendor::OpenAi } else { Vendor::EarlyAzure };
        let driver =
            Driver::new(host(instance)?, path(conf.route_type, deployment), OpenAiDialect::new(vendor));
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
    use serde_json::json;

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
        assert_eq!(driver.own_pair(["", "a=1"]), "api-version=2024-10-21");
        assert_eq!(driver.own_pair(["", "a=1&api-version=2025-01-01"]), "");
        assert_eq!(driver.own_pair(["api-version=x", ""]), "");
        assert_eq!(driver.meta.len(), 3);
        assert_eq!(driver.meta[1], ("azure_deployment_id", "d/e".to_owned()));
    }

    #[test]
    fn a_managed_identity_is_refused_by_name() {
        let options = json!({"azure_instance": "i", "azure_deployment_id": "d"});
        let error = Azure.load(&conf(&options, &json!({"azure_use_managed_identity": true}))).err().unwrap();
        assert_eq!((error.kind(), error.kind().status()), (Kind::Identity, 500));
        assert!(Azure.load(&conf(&options, &json!({"azure_use_managed_identity": false}))).is_ok());
    }
}
