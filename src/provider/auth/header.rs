//! Static keys: in a header, in the query, or in the JSON body.
//!
//! The invariant: unless `allow_override` is set, what the client sent under the key's name never
//! reaches the upstream.

use crate::config::secret::Secret;
use crate::config::target::{AuthConf, ParamLocation};
use crate::error::{Error, Kind, Result};
use crate::wire::doc::Doc;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// `auth` of a target, validated.
#[derive(Default)]
pub struct Auth {
    header: Option<(HeaderName, HeaderValue)>,
    query: Option<(String, Secret)>,
    body: Option<(String, Secret)>,
    allow_override: bool,
}

impl Auth {
    /// Validates the configured keys.
    pub fn load(conf: &AuthConf) -> Result<Self> {
        let header = match (&conf.header_name, &conf.header_value) {
            (Some(name), Some(value)) => Some(header(name, value)?),
            _ => None,
        };
        let param = conf.param_name.clone().zip(conf.param_value.clone());
        let (query, body) = match conf.param_location {
            Some(ParamLocation::Query) => (param, None),
            Some(ParamLocation::Body) => (None, param),
            None => (None, None),
        };
        Ok(Self { header, query, body, allow_override: conf.allow_override })
    }

    /// The header to set, over any that the client sent; `None` if the client's stays.
    pub fn header(&self, client: &HeaderMap) -> Option<(&HeaderName, &HeaderValue)> {
        let (name, value) = self.header.as_ref()?;
        let kept = self.allow_override && client.contains_key(name);
        (!kept).then_some((name, value))
    }

    /// The pair to set, over any that the client's query has; `None` if the client's stays.
    pub fn query_pair(&self, client: &str) -> Option<(&str, &str)> {
        let (name, value) = self.query.as_ref()?;
        let kept =
            self.allow_override && form_urlencoded::parse(client.as_bytes()).any(|(key, _)| key == *name);
        (!kept).then_some((name, value))
    }

    /// The query for the upstream, from the client's. Its other pairs stay as they were written.
    pub fn query<'a>(&self, client: &'a str) -> Cow<'a, str> {
        let Some((name, value)) = self.query_pair(client) else { return Cow::Borrowed(client) };
        let named = |pair: &str| form_urlencoded::parse(pair.as_bytes()).any(|(key, _)| key == name);
        let kept = client.split('&').filter(|pair| !pair.is_empty() && !named(pair));
        let own = form_urlencoded::Serializer::new(String::new()).append_pair(name, value).finish();
        Cow::Owned(kept.chain([own.as_str()]).collect::<Vec<_>>().join("&"))
    }

    /// The encoded request with the key in it. `client` is the request as the client sent it: a
    /// provider's translation drops fields that it does not know.
    ///
    // KONG(llm/drivers/*.lua): outside OpenAI's format Kong loses the key of the body.
    pub fn body(&self, client: &Doc, encoded: Bytes) -> Result<Bytes> {
        let Some((name, value)) = &self.body else { return Ok(encoded) };
        let mut doc = Doc::parse(encoded)?;
        match client.field::<&RawValue>(name)?.filter(|_| self.allow_override) {
            Some(given) => doc.set_raw(name, given),
            None => doc.set(name, &**value)?,
        }
        Ok(doc.bytes())
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth")
            .field("header", &self.header.as_ref().map(|(name, _)| name))
            .field("query", &self.query.as_ref().map(|(name, _)| name))
            .field("body", &self.body.as_ref().map(|(name, _)| name))
            .field("allow_override", &self.allow_override)
            .finish_non_exhaustive()
    }
}

fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue)> {
    let wrong = |message: &'static str| Error::new(Kind::Internal, message);
    let name = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| wrong("'auth.header_name' is not the name of a header"))?;
    let mut value = HeaderValue::from_bytes(value.as_bytes())
        .map_err(|_| wrong("'auth.header_value' must not hold control characters"))?;
    value.set_sensitive(true);
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auth(location: Option<ParamLocation>, allow_override: bool) -> Auth {
        let text = |text: &str| Some(text.to_owned());
        let mut conf = AuthConf { allow_override, param_location: location, ..AuthConf::default() };
        if location.is_some() {
            (conf.param_name, conf.param_value) = (text("apikey"), Some("s&cret".into()));
        } else {
            (conf.header_name, conf.header_value) = (text("Authorization"), Some("Bearer s&cret".into()));
        }
        Auth::load(&conf).unwrap()
    }

    fn doc(json: &'static str) -> Doc {
        Doc::parse(Bytes::from_static(json.as_bytes())).unwrap()
    }

    #[test]
    fn the_header_is_set_unless_the_client_may_override_it() {
        let mut client = HeaderMap::new();
        assert!(auth(None, false).header(&client).is_some_and(|(_, value)| value == "Bearer s&cret"));
        assert!(auth(None, true).header(&client).is_some());
        client.insert("authorization", HeaderValue::from_static("Bearer own"));
        assert!(auth(None, false).header(&client).is_some_and(|(name, _)| name == "authorization"));
        assert!(auth(None, true).header(&client).is_none());
        assert!(Auth::default().header(&client).is_none());
    }

    #[test]
    fn the_query_is_set_and_other_pairs_stay() {
        let strict = auth(Some(ParamLocation::Query), false);
        assert_eq!(strict.query(""), "apikey=s%26cret");
        assert_eq!(strict.query("a=%20b&apikey=own&c"), "a=%20b&c&apikey=s%26cret");
        assert_eq!(strict.query("%61pikey=own"), "apikey=s%26cret", "escaped names are the same names");
        let open = auth(Some(ParamLocation::Query), true);
        assert_eq!(open.query("a=1&apikey=own"), "a=1&apikey=own");
        assert_eq!(open.query_pair("a=1"), Some(("apikey", "s&cret")));
        assert_eq!(auth(None, false).query("apikey=own"), "apikey=own");
    }

    #[test]
    fn the_body_gets_the_key_whatever_the_encoding_kept() {
        let encoded = || Bytes::from_static(br#"{"prompt": "x", "n": 1.0}"#);
        let strict = auth(Some(ParamLocation::Body), false);
        let own = doc(r#"{"prompt": "x", "apikey": "own"}"#);
        assert_eq!(strict.body(&own, encoded()).unwrap(), r#"{"prompt": "x","n": 1.0,"apikey":"s&cret"}"#);
        let open = auth(Some(ParamLocation::Body), true);
        assert_eq!(open.body(&own, encoded()).unwrap(), r#"{"prompt": "x","n": 1.0,"apikey":"own"}"#);
        let none = doc(r#"{"prompt": "x"}"#);
        assert_eq!(open.body(&none, encoded()).unwrap(), r#"{"prompt": "x","n": 1.0,"apikey":"s&cret"}"#);
        assert_eq!(auth(None, false).body(&own, encoded()).unwrap(), encoded());
    }

    #[test]
    fn secrets_are_not_shown() {
        for location in [None, Some(ParamLocation::Query), Some(ParamLocation::Body)] {
            let shown = format!("{:?}", auth(location, false));
            assert!(!shown.contains("cret"), "{shown}");
        }
        let conf = AuthConf {
            header_name: Some("authorization".to_owned()),
            header_value: Some("s&cret\n".into()),
            ..AuthConf::default()
        };
        let error = Auth::load(&conf).unwrap_err();
        assert_eq!(error.message(), "'auth.header_value' must not hold control characters");
    }
}
