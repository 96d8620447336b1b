//! What a configuration may say of providers beyond those that translate: orders, formats and
//! identities that Kong's schema names.

use crate::config::schema::Field;

/// The `llm_format` that every provider is translated to and from.
pub const COMMON_FORMAT: &str = "openai";

/// The values of `llm_format` that are one provider's own.
pub static NATIVE_FORMATS: &[&str] = &["bedrock", "gemini"];

/// Providers that have options of their own for making embeddings, below their name.
pub static EMBEDDING_OPTIONS: &[&str] = &["azure", "bedrock", "gemini", "huggingface"];

/// Providers whose models can make embeddings.
pub static EMBEDDINGS: &[&str] = &["azure", "bedrock", "gemini", "huggingface", "mistral", "openai"];

/// The fields of `auth` by which a cloud knows its callers.
pub fn identity_fields() -> Vec<Field> {
    vec![
        Field::boolean("gcp_use_service_account")
            .default(false)
            .doc("Whether to authenticate as a Google Cloud service account."),
        Field::text("gcp_service_account_json")
            .referenceable()
            .doc("That account's key file; else the environment's `GCP_SERVICE_ACCOUNT`."),
        Field::text("aws_access_key_id").referenceable().shown().doc("AWS key id; else the environment's."),
        Field::text("aws_secret_access_key").referenceable().doc("AWS secret key; else the environment's."),
        Field::boolean("azure_use_managed_identity")
            .default(false)
            .doc("Whether to authenticate as an Azure managed identity."),
        Field::text("azure_client_id").referenceable().shown().doc("Client id of that identity."),
        Field::text("azure_client_secret").referenceable().doc("Client secret of that identity."),
        Field::text("azure_tenant_id").referenceable().shown().doc("Tenant of that identity."),
    ]
}
