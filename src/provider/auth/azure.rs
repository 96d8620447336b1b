//! Azure's identities: the one of the machine, or one of an application with a secret.

use super::token::{Ask, Grant, Issuer, TOKENS, Token};
use crate::config::target::AuthConf;
use crate::wire::address::segment;
use bytes::Bytes;
use form_urlencoded::Serializer;
use http::{HeaderName, HeaderValue, Method, header};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};
use std::sync::Arc;
use std::time::Duration;

/// What the tokens are for.
const RESOURCE: &str = "https://cognitiveservices.azure.com";

/// The metadata service, which every virtual machine has.
const METADATA: &str = "http://169.254.169.254/metadata/identity/oauth2/token";

/// Who knows applications.
const AUTHORITY: &str = "https://login.microsoftonline.com";

/// Whether a target is known by an identity.
pub fn is_wanted(auth: &AuthConf) -> bool {
    auth.own.get("azure_use_managed_identity") == Some(&Value::Bool(true))
}

/// The token of the identity that is configured, in part or whole by the environment.
pub fn token(auth: &AuthConf, environment: impl Fn(&str) -> Option<String>) -> Arc<Token> {
    let identity = Identity::of(auth, environment);
    TOKENS.shared(format!("azure {identity:?}"), || Box::new(identity))
}

/// Who asks for a token. What it shows of itself tells identities apart, and is not for logs.
#[derive(Debug, PartialEq, Eq)]
enum Identity {
    /// Of the machine; `client` says which, if it has several.
    Machine { client: Option<String> },
    /// Of the platform that runs the gateway (App Service and its kin), which says where to ask.
    Platform { endpoint: String, secret: String, client: Option<String> },
    /// Of an application.
    Application { authority: String, tenant: String, client: String, secret: String },
}

impl Identity {
    fn of(auth: &AuthConf, environment: impl Fn(&str) -> Option<String>) -> Self {
        let filled = |text: &String| !text.is_empty();
        let configured =
            |name: &str| auth.own.get(name).and_then(Value::as_str).map(str::to_owned).filter(filled);
        let environment = |name: &str| environment(name).filter(filled);
        let either = |name: &str, variable: &str| configured(name).or_else(|| environment(variable));
        let client = either("azure_client_id", "AZURE_CLIENT_ID");
        let secret = either("azure_client_secret", "AZURE_CLIENT_SECRET");
        let tenant = either("azure_tenant_id", "AZURE_TENANT_ID");
        if let (Some(client), Some(secret), Some(tenant)) = (&client, secret, tenant) {
            let authority = environment("AZURE_AUTHORITY_HOST").unwrap_or_else(|| AUTHORITY.to_owned());
            let authority = authority.trim_end_matches('/').to_owned();
            return Self::Application { authority, tenant, client: client.clone(), secret };
        }
        match (environment("IDENTITY_ENDPOINT"), environment("IDENTITY_HEADER")) {
            (Some(endpoint), Some(secret)) => Self::Platform { endpoint, secret, client },
            _ => Self::Machine { client },
        }
    }
}

impl Issuer for Identity {
    fn ask(&self, _now: u64) -> Result<Ask, String> {
        Ok(match self {
            Self::Machine { client } => {
                let metadata = (HeaderName::from_static("metadata"), HeaderValue::from_static("true"));
                lookup(METADATA, "2018-02-01", client.as_deref(), metadata)
            }
            Self::Platform { endpoint, secret, client } => {
                let mut secret = HeaderValue::from_str(secret)
                    .map_err(|_| "IDENTITY_HEADER must not hold control characters")?;
                secret.set_sensitive(true);
                let proof = (HeaderName::from_static("x-identity-header"), secret);
                lookup(endpoint, "2019-08-01", client.as_deref(), proof)
            }
            Self::Application { authority, tenant, client, secret } => {
                let mut form = Serializer::new(String::new());
                form.append_pair("grant_type", "client_credentials").append_pair("client_id", client);
                form.append_pair("client_secret", secret)
                    .append_pair("scope", &format!("{RESOURCE}/.default"));
                let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
                Ask {
                    method: Method::POST,
                    url: format!("{authority}/{}/oauth2/v2.0/token", segment(tenant)),
                    headers: vec![(header::CONTENT_TYPE, kind)],
                    body: Bytes::from(form.finish()),
                }
            }
        })
    }

    fn read(&self, status: u16, body: &[u8]) -> Result<Grant, String> {
        #[derive(Deserialize)]
        struct Answer<'a> {
            access_token: Option<String>,
            /// Seconds; the metadata service writes them as a string.
            #[serde(borrow)]
            expires_in: Option<&'a RawValue>,
            error: Option<String>,
            error_description: Option<String>,
        }
        let answer: Answer<'_> = serde_json::from_slice(body)
            .map_err(|_| format!("Azure answered the request for a token with {status} and no JSON"))?;
        let Some(token) = answer.access_token.filter(|token| status == 200 && !token.is_empty()) else {
            let why = answer.error_description.or(answer.error).unwrap_or_default();
            return Err(format!("Azure refused a token ({status}): {why}"));
        };
        let seconds = answer.expires_in.and_then(|raw| raw.get().trim_matches('"').parse().ok());
        // A platform that says only when it expires renews in its own time.
        Ok(Grant { token, lifetime: Duration::from_secs(seconds.unwrap_or(300)) })
    }
}

fn lookup(at: &str, version: &str, client: Option<&str>, proof: (HeaderName, HeaderValue)) -> Ask {
    let mut query = Serializer::new(String::new());
    query.append_pair("api-version", version).append_pair("resource", RESOURCE);
    if let Some(client) = client {
        query.append_pair("client_id", client);
    }
    let url = format!("{at}?{}", query.finish());
    Ask { method: Method::GET, url, headers: vec![proof], body: Bytes::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn identity(own: &Value, environment: &[(&str, &str)]) -> Identity {
        let auth: AuthConf = serde_json::from_value(own.clone()).unwrap();
        Identity::of(&auth, |name| {
            environment.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn a_machine_asks_its_metadata_service() {
        let own = json!({"azure_client_id": "c-1", "azure_client_secret": ""});
        let ask = identity(&own, &[]).ask(0).unwrap();
        assert_eq!((ask.method, ask.body.len()), (Method::GET, 0));
        assert_eq!(
            ask.url,
            "http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01\
             &resource=https%3A%2F%2Fcognitiveservices.azure.com&client_id=c-1"
        );
        assert_eq!(ask.headers[0].0, "metadata");
        let platform = [("IDENTITY_ENDPOINT", "http://127.0.0.1:41/msi/token"), ("IDENTITY_HEADER", "h-1")];
        let ask = identity(&json!({}), &platform).ask(0).unwrap();
        assert!(
            ask.url.starts_with("http://127.0.0.1:41/msi/token?api-version=2019-08-01&resource="),
            "{}",
            ask.url
        );
        assert_eq!(
            (ask.headers[0].0.as_str(), &ask.headers[0].1),
            ("x-identity-header", &HeaderValue::from_static("h-1"))
        );
    }

    #[test]
    fn an_application_shows_its_secret_to_the_authority_alone() {
        let own = json!({"azure_client_id": "c", "azure_client_secret": "s&1", "azure_tenant_id": "t/1"});
        let ask =
            identity(&own, &[("IDENTITY_ENDPOINT", "http://x"), ("IDENTITY_HEADER", "h")]).ask(0).unwrap();
        assert_eq!(ask.url, "https://login.microsoftonline.com/t%2F1/oauth2/v2.0/token");
        assert_eq!(
            ask.body,
            "grant_type=client_credentials&client_id=c&client_secret=s%261\
             &scope=https%3A%2F%2Fcognitiveservices.azure.com%2F.default"
        );
        let environment = [
            ("AZURE_CLIENT_ID", "e"),
            ("AZURE_CLIENT_SECRET", "s"),
            ("AZURE_TENANT_ID", "t"),
            ("AZURE_AUTHORITY_HOST", "https://login.microsoftonline.us/"),
        ];
        let ask = identity(&json!({}), &environment).ask(0).unwrap();
        assert_eq!(ask.url, "https://login.microsoftonline.us/t/oauth2/v2.0/token");
    }

    #[test]
    fn answers_are_read_and_refusals_told() {
        let machine = identity(&json!({}), &[]);
        let read = |status, body: &str| machine.read(status, body.as_bytes());
        for (body, seconds) in [
            (r#"{"access_token": "t", "expires_in": "86399"}"#, 86399),
            (r#"{"access_token": "t", "expires_in": 3599}"#, 3599),
            (r#"{"access_token": "t"}"#, 300),
        ] {
            let grant = read(200, body).unwrap();
            assert_eq!((grant.token.as_str(), grant.lifetime.as_secs()), ("t", seconds));
        }
        let refused = r#"{"error": "invalid_client", "error_description": "AADSTS7000215: Invalid secret"}"#;
        assert_eq!(
            read(401, refused).err().unwrap(),
            "Azure refused a token (401): AADSTS7000215: Invalid secret"
        );
        assert!(read(502, "<html>").err().unwrap().contains("502 and no JSON"));
        assert!(read(400, r#"{"access_token": "t"}"#).is_err() && read(200, "{}").is_err());
    }
}
