//! AWS's Signature Version 4: keys sign a request's method, path, query, body, and those headers
//! that nothing on the way changes.

use super::{Signer, Unsigned};
use crate::config::target::AuthConf;
use crate::error::{Error, Kind, Result};
use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use http::{HeaderName, HeaderValue, header};
use serde_json::Value;
use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

/// Whatever else the client sends under this name is AWS's to read only if it is signed.
const OWN: &str = "x-amz-";

/// Signs requests to one service in one region.
pub struct Sigv4 {
    keys: Credentials,
    region: String,
    service: &'static str,
}

impl Sigv4 {
    /// A signer with these keys.
    pub fn new(keys: Credentials, region: String, service: &'static str) -> Self {
        Self { keys, region, service }
    }

    fn write(&self, request: &Unsigned<'_>) -> Result<Vec<(HeaderName, HeaderValue)>, Failed> {
        let identity = self.keys.clone().into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(self.service)
            .time(UNIX_EPOCH + Duration::from_secs(request.now))
            .settings(SigningSettings::default())
            .build()?
            .into();
        let mut headers = vec![("host", request.host)];
        for (name, value) in request.headers {
            if *name == header::CONTENT_TYPE || name.as_str().starts_with(OWN) {
                headers.push((name.as_str(), value.to_str()?));
            }
        }
        let uri = uri(request);
        let body = SignableBody::Bytes(request.body);
        let signable = SignableRequest::new(request.method.as_str(), uri, headers.into_iter(), body)?;
        let (instructions, _) = sign(signable, &params)?.into_parts();
        let signed = instructions.headers().map(|(name, value)| {
            let mut value = HeaderValue::from_str(value)?;
            value.set_sensitive(true);
            Ok::<_, Failed>((HeaderName::from_bytes(name.as_bytes())?, value))
        });
        signed.collect()
    }
}

type Failed = Box<dyn std::error::Error>;

impl Signer for Sigv4 {
    fn sign(&self, request: &Unsigned<'_>) -> Result<Vec<(HeaderName, HeaderValue)>> {
        // The reason may quote what was to be signed, keys included: it is not passed on.
        self.write(request).map_err(|_| Error::new(Kind::Identity, "the request to AWS could not be signed"))
    }

    fn withheld(&self) -> Option<&'static str> {
        Some(OWN)
    }
}

impl fmt::Debug for Sigv4 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sigv4")
            .field("region", &self.region)
            .field("service", &self.service)
            .finish_non_exhaustive()
    }
}

fn uri(request: &Unsigned<'_>) -> String {
    let mut uri = format!("https://{}{}", request.host, request.path);
    for (at, piece) in request.query.iter().filter(|piece| !piece.is_empty()).enumerate() {
        uri.push(if at == 0 { '?' } else { '&' });
        uri.push_str(piece);
    }
    uri
}

/// The configured keys, or else those of the environment. `None` if there are none.
pub fn keys(auth: &AuthConf, environment: impl Fn(&str) -> Option<String>) -> Option<Credentials> {
    let filled = |text: &String| !text.is_empty();
    let environment = |name| environment(name).filter(filled);
    let configured = |name| auth.own.get(name).and_then(Value::as_str).map(str::to_owned).filter(filled);
    let own = configured("aws_access_key_id");
    // A session's token belongs to the session's key.
    let session = if own.is_none() { environment("AWS_SESSION_TOKEN") } else { None };
    let id = own.or_else(|| environment("AWS_ACCESS_KEY_ID"))?;
    let secret = configured("aws_secret_access_key").or_else(|| environment("AWS_SECRET_ACCESS_KEY"))?;
    Some(Credentials::new(id, secret, session, None, "tollgate"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Method;
    use serde_json::json;

    fn known(own: &Value, environment: &[(&str, &str)]) -> Option<(String, String, Option<String>)> {
        let auth: AuthConf = serde_json::from_value(own.clone()).unwrap();
        let look = |name: &str| {
            environment.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        keys(&auth, look).map(|keys| {
            let text = |text: &str| text.to_owned();
            (text(keys.access_key_id()), text(keys.secret_access_key()), keys.session_token().map(text))
        })
    }

    #[test]
    fn configured_keys_win_over_the_environments() {
        let environment =
            [("AWS_ACCESS_KEY_ID", "ei"), ("AWS_SECRET_ACCESS_KEY", "es"), ("AWS_SESSION_TOKEN", "et")];
        let triple = |id: &str, secret: &str, token: Option<&str>| {
            Some((id.to_owned(), secret.to_owned(), token.map(str::to_owned)))
        };
        let own = json!({"aws_access_key_id": "ci", "aws_secret_access_key": "cs"});
        assert_eq!(known(&own, &environment), triple("ci", "cs", None));
        assert_eq!(known(&json!({}), &environment), triple("ei", "es", Some("et")));
        assert_eq!(known(&json!({"aws_access_key_id": ""}), &environment[..2]), triple("ei", "es", None));
        assert_eq!(known(&json!({}), &environment[..1]), None);
        assert_eq!(known(&json!({}), &[]), None);
    }

    #[test]
    fn only_what_stays_as_it_is_is_signed() {
        let keys = Credentials::new("id", "s&cret", Some("t0ken".to_owned()), None, "test");
        let signer = Sigv4::new(keys, "eu-central-1".to_owned(), "bedrock");
        let json = HeaderValue::from_static("application/json");
        let headers = [(header::CONTENT_TYPE, json), (header::ACCEPT, HeaderValue::from_static("a/b"))];
        let (method, host) = (&Method::POST, "bedrock.test:8443");
        let request = |query| Unsigned {
            method,
            host,
            path: "/m/a%3A0",
            query,
            headers: &headers,
            body: b"{}",
            now: 0,
        };
        let proof = signer.sign(&request(&["", "b=2", "a=1"])).unwrap();
        let value = |name: &str| proof.iter().find(|(own, _)| own == name).unwrap().1.to_str().unwrap();
        assert_eq!((value("x-amz-date"), value("x-amz-security-token")), ("19700101T000000Z", "t0ken"));
        let authorization = value("authorization");
        assert!(
            authorization
                .starts_with("AWS4-HMAC-SHA256 Credential=id/19700101/eu-central-1/bedrock/aws4_request, ")
        );
        assert!(authorization.contains("SignedHeaders=content-type;host;x-amz-date;x-amz-security-token, "));
        let swapped = signer.sign(&request(&["a=1", "b=2"])).unwrap();
        assert_eq!(proof, swapped, "the order of the query is not signed");
        assert!(!format!("{signer:?} {proof:?}").contains("cret"));
    }
}
