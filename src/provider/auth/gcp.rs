//! Google Cloud identities: a service account's key file, or the account of the machine.
//!
//! A key file signs an assertion (RFC 7523) that its token endpoint exchanges for an access token;
//! without one, the metadata server of the machine gives the token.

use super::token::{Ask, Grant, Issuer, TOKENS, Token};
use crate::config::target::AuthConf;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, header};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// What the token may be used for. Vertex and the public API take it both.
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
const TOKEN_URI: &str = "https://oauth2.googleapis.com/token";
const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// The longest that Google takes.
const ASSERTION_SECONDS: u64 = 3600;
/// The most of a token endpoint's complaint that is repeated, in characters.
const SHOWN: usize = 200;

/// The token of the configured identity; `None` if none is configured. `env` looks up variables.
pub fn token(conf: &AuthConf, env: impl Fn(&str) -> Option<String>) -> Option<Arc<Token>> {
    if conf.own.get("gcp_use_service_account").and_then(Value::as_bool) != Some(true) {
        return None;
    }
    let configured = conf.own.get("gcp_service_account_json").and_then(Value::as_str).map(str::to_owned);
    let given = configured.or_else(|| env("GCP_SERVICE_ACCOUNT")).filter(|json| !json.trim().is_empty());
    if let Some(json) = given {
        let issuer = || -> Box<dyn Issuer> {
            match ServiceAccount::read(&json) {
                Ok(account) => Box::new(account),
                Err(why) => Box::new(Unusable(why)),
            }
        };
        return Some(TOKENS.shared(format!("gcp {json}"), issuer));
    }
    let host = env("GCE_METADATA_HOST").unwrap_or_else(|| "metadata.google.internal".to_owned());
    Some(TOKENS.shared(format!("gcp {host}"), || Box::new(Machine { host })))
}

/// A service account, from its key file.
pub struct ServiceAccount {
    email: String,
    key_id: Option<String>,
    token_uri: String,
    key: RsaKeyPair,
}

impl ServiceAccount {
    /// Reads a key file. The error says what is wrong with it, and repeats nothing of it.
    pub fn read(json: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct KeyFile {
            client_email: String,
            private_key: String,
            private_key_id: Option<String>,
            token_uri: Option<String>,
        }
        let file: KeyFile = serde_json::from_str(json).map_err(|_| {
            "the service account is not a key file with 'client_email' and 'private_key'".to_owned()
        })?;
        let pem = PrivateKeyDer::from_pem_slice(file.private_key.as_bytes())
            .map_err(|_| "the service account's 'private_key' is not a private key in PEM".to_owned())?;
        let key = match &pem {
            PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
            PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
            _ => return Err("the service account's 'private_key' is not an RSA key".to_owned()),
        };
        let key = key.map_err(|why| format!("the service account's 'private_key' cannot be used: {why}"))?;
        let token_uri = file.token_uri.filter(|uri| !uri.is_empty()).unwrap_or_else(|| TOKEN_URI.to_owned());
        Ok(Self { email: file.client_email, key_id: file.private_key_id, token_uri, key })
    }

    /// The signed statement that this account asks for a token.
    pub fn assertion(&self, now: u64) -> Result<String, String> {
        #[derive(Serialize)]
        struct Header<'a> {
            alg: &'static str,
            typ: &'static str,
            #[serde(skip_serializing_if = "Option::is_none")]
            kid: Option<&'a str>,
        }
        #[derive(Serialize)]
        struct Claims<'a> {
            iss: &'a str,
            scope: &'static str,
            aud: &'a str,
            iat: u64,
            exp: u64,
        }
        let header = Header { alg: "RS256", typ: "JWT", kid: self.key_id.as_deref() };
        let exp = now + ASSERTION_SECONDS;
        let claims = Claims { iss: &self.email, scope: SCOPE, aud: &self.token_uri, iat: now, exp };
        let mut text = encoded(&header)?;
        text.push('.');
        text.push_str(&encoded(&claims)?);
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature)
            .map_err(|_| "the service account's key cannot sign".to_owned())?;
        text.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut text);
        Ok(text)
    }
}

impl Issuer for ServiceAccount {
    fn ask(&self, now: u64) -> Result<Ask, String> {
        let body = form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", GRANT_TYPE)
            .append_pair("assertion", &self.assertion(now)?)
            .finish();
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        Ok(Ask {
            method: Method::POST,
            url: self.token_uri.clone(),
            headers: vec![(header::CONTENT_TYPE, form)],
            body: Bytes::from(body),
        })
    }

    fn read(&self, status: u16, body: &[u8]) -> Result<Grant, String> {
        granted(status, body)
    }
}

/// The account of the machine that we run on.
struct Machine {
    host: String,
}

impl Issuer for Machine {
    fn ask(&self, _now: u64) -> Result<Ask, String> {
        let flavor = HeaderName::from_static("metadata-flavor");
        Ok(Ask {
            method: Method::GET,
            url: format!("http://{}/computeMetadata/v1/instance/service-accounts/default/token", self.host),
            headers: vec![(flavor, HeaderValue::from_static("Google"))],
            body: Bytes::new(),
        })
    }

    fn read(&self, status: u16, body: &[u8]) -> Result<Grant, String> {
        granted(status, body)
    }
}

/// An identity that no token can be asked for. Its requests fail, the rest of the file is served.
struct Unusable(String);

impl Issuer for Unusable {
    fn ask(&self, _now: u64) -> Result<Ask, String> {
        Err(self.0.clone())
    }

    fn read(&self, _status: u16, _body: &[u8]) -> Result<Grant, String> {
        Err(self.0.clone())
    }
}

fn encoded(part: &impl Serialize) -> Result<String, String> {
    let json = serde_json::to_vec(part).map_err(|why| format!("the assertion cannot be written: {why}"))?;
    Ok(URL_SAFE_NO_PAD.encode(json))
}

/// The answer of either endpoint.
fn granted(status: u16, body: &[u8]) -> Result<Grant, String> {
    #[derive(Deserialize)]
    struct Answer {
        access_token: String,
        expires_in: u64,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Complaint {
        error: Option<String>,
        error_description: Option<String>,
    }
    if status == 200 {
        let answer: Answer = serde_json::from_slice(body).map_err(|_| {
            "the token endpoint's answer holds no 'access_token' with 'expires_in'".to_owned()
        })?;
        return Ok(Grant { token: answer.access_token, lifetime: Duration::from_secs(answer.expires_in) });
    }
    let said: Complaint = serde_json::from_slice(body).unwrap_or_default();
    let words: Vec<_> = [said.error, said.error_description].into_iter().flatten().collect();
    let words: String = words.join(": ").chars().filter(|c| !c.is_control()).take(SHOWN).collect();
    Err(format!("the token endpoint answered {status} {words}").trim_end().to_owned())
}

#[cfg(test)]
mod tests;
