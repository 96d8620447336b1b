//! Providers whose configuration is checked in full already, and whose translation is still to come.
//!
//! A gateway that refuses such a file at load would keep the rest of it from running; one that runs
//! it answers requests for these providers with 501. An entry leaves this list for a file of its
//! own; one that is in both counts as translated.

use crate::config::problems::Problems;
use crate::config::schema::{Field, Record};
use crate::config::target::TargetConf;

/// A provider that can be configured and not yet called.
pub struct Planned {
    /// The value of `model.provider`.
    pub name: &'static str,
    /// Its own fields of `model.options`.
    pub options: fn() -> Vec<Field>,
    /// Kong's rules over several fields; the collector is at the record that holds `model`.
    pub check: fn(&TargetConf, &mut Problems<'_>),
}

/// Every one of them.
pub static PLANNED: &[Planned] = &[
    Planned { name: "azure", options: azure_options, check: azure_check },
    Planned { name: "bedrock", options: bedrock_options, check: super::auth::refuse_override },
    Planned { name: "huggingface", options: huggingface_options, check: |_, _| {} },
];

/// All providers in the order of Kong's messages.
pub static ORDER: &[&str] =
    &["openai", "azure", "anthropic", "cohere", "mistral", "llama2", "gemini", "bedrock", "huggingface"];

/// The `llm_format` that every provider is translated to and from.
pub const COMMON_FORMAT: &str = "openai";

/// The values of `llm_format` that are one provider's own.
pub static NATIVE_FORMATS: &[&str] = &["bedrock", "gemini"];

/// Providers that have options of their own for making embeddings, below their name.
pub static EMBEDDING_OPTIONS: &[&str] = &["azure", "bedrock", "gemini", "huggingface"];

/// Providers whose models can make embeddings.
pub static EMBEDDINGS: &[&str] = &["azure", "bedrock", "gemini", "huggingface", "mistral", "openai"];

/// Those that no provider of the same name has replaced.
pub fn active() -> impl Iterator<Item = &'static Planned> {
    PLANNED.iter().filter(|planned| super::find(planned.name).is_none())
}

/// The planned provider of that name.
pub fn find(name: &str) -> Option<&'static Planned> {
    active().find(|planned| planned.name == name)
}

/// The fields of `auth` by which a cloud knows its callers.
pub fn identity_fields() -> Vec<Field> {
    vec![
        Field::boolean("gcp_use_service_account")
            .default(false)
            .doc("Whether to authenticate as a Google Cloud service account."),
        Field::text("gcp_service_account_json")
            .referenceable()
            .doc("That account's key file; else the environment's `GCP_SERVICE_ACCOUNT`."),
        Field::text("aws_access_key_id").referenceable().doc("AWS key id; else the environment's."),
        Field::text("aws_secret_access_key").referenceable().doc("AWS secret key; else the environment's."),
        Field::boolean("azure_use_managed_identity")
            .default(false)
            .doc("Whether to authenticate as an Azure managed identity."),
        Field::text("azure_client_id").referenceable().doc("Client id of that identity."),
        Field::text("azure_client_secret").referenceable().doc("Client secret of that identity."),
        Field::text("azure_tenant_id").referenceable().doc("Tenant of that identity."),
    ]
}

fn azure_options() -> Vec<Field> {
    vec![
        Field::text("azure_instance").doc("Name of the Azure OpenAI resource."),
        Field::text("azure_api_version").default("2023-05-15").doc("Value of `api-version`."),
        Field::text("azure_deployment_id").doc("Name of the deployment."),
    ]
}

fn azure_check(conf: &TargetConf, out: &mut Problems<'_>) {
    for name in ["azure_instance", "azure_api_version", "azure_deployment_id"] {
        must_set(conf, name, "azure", out);
    }
}

fn bedrock_options() -> Vec<Field> {
    let region = Field::text("aws_region").doc("AWS region; else the environment's `AWS_REGION`.");
    vec![Field::record("bedrock", Record::new(vec![region]))]
}

fn huggingface_options() -> Vec<Field> {
    let record = Record::new(vec![
        Field::boolean("use_cache").doc("Whether the inference API may answer from its cache."),
        Field::boolean("wait_for_model").doc("Whether to wait for a model that is not loaded."),
    ]);
    vec![Field::record("huggingface", record)]
}

fn must_set(conf: &TargetConf, name: &str, provider: &str, out: &mut Problems<'_>) {
    if conf.model.options.own_str(name).is_none_or(str::is_empty) {
        out.push(format!("must set 'model.options.{name}' for {provider} provider"));
    }
}
