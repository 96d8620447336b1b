//! key-auth: knows consumers by their keys.

use super::consumers::{Consumers, Known};
use super::{Conf, Plugin, PluginKind, Step};
use crate::config::formats;
use crate::config::schema::{Field, Kind, Record};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::exchange::Exchange;
use http::header::{HeaderName, HeaderValue, WWW_AUTHENTICATE};
use pingora::http::RequestHeader;
use serde_json::json;
use std::borrow::Cow;
use std::sync::Arc;

/// Its entry in the list of plugins.
pub static KIND: PluginKind =
    PluginKind { consumer_scope: false, ..PluginKind::new("key-auth", 1250, schema, build) };

/// `config`.
pub fn schema() -> Record {
    Record::new(vec![
        Field::list("key_names", Kind::checked(formats::header_name))
            .required()
            .default(json!(["apikey"]))
            .doc("Names of the header or parameter that holds the key."),
        Field::flag("hide_credentials", false).doc("Whether the upstream is spared the key."),
        Field::text("anonymous").doc("Consumer that requests without a valid key count as."),
        Field::flag("key_in_header", true).doc("Whether headers are searched."),
        Field::flag("key_in_query", true).doc("Whether the query is searched."),
        Field::flag("key_in_body", false).doc("Whether the body is searched."),
        Field::flag("run_on_preflight", true).doc("Whether `OPTIONS` requests need a key."),
        Field::text("realm").doc("Realm of `WWW-Authenticate`."),
    ])
}

#[derive(serde::Deserialize)]
#[allow(clippy::struct_excessive_bools)] // Kong's own fields
struct Settings {
    key_names: Vec<String>,
    hide_credentials: bool,
    anonymous: Option<String>,
    key_in_header: bool,
    key_in_query: bool,
    key_in_body: bool,
    run_on_preflight: bool,
    realm: Option<String>,
}

/// Headers that tell the upstream who asks. What a client says in them is not passed on.
const TOLD: [&str; 4] = ["x-consumer-id", "x-consumer-username", "x-consumer-custom-id", ANONYMOUS];
const ANONYMOUS: &str = "x-anonymous-consumer";

struct KeyAuth {
    settings: Settings,
    /// The key's names with those of the headers that hold it.
    names: Vec<(String, HeaderName)>,
    challenge: HeaderValue,
    consumers: Arc<Consumers>,
}

fn build(conf: Conf<'_>) -> Result<Arc<dyn Plugin>> {
    let settings: Settings = conf.read()?;
    let challenge = match &settings.realm {
        Some(realm) => HeaderValue::from_str(&format!("Key realm=\"{realm}\"")),
        None => Ok(HeaderValue::from_static("Key")),
    };
    let challenge =
        challenge.map_err(|_| Error::new(ErrorKind::Internal, "realm: must not hold control characters"))?;
    let name = |name: &String| Some((name.clone(), HeaderName::try_from(name).ok()?));
    let names = settings.key_names.iter().filter_map(name).collect();
    Ok(Arc::new(KeyAuth { settings, names, challenge, consumers: conf.consumers.clone() }))
}

impl Plugin for KeyAuth {
    fn request(&self, x: &mut Exchange, head: &mut RequestHeader) -> Step {
        if !self.settings.run_on_preflight && head.method == http::Method::OPTIONS {
            return Step::Next;
        }
        let found = self.find(x, head).map(|key| self.consumers.by_key(&key));
        if self.settings.hide_credentials {
            self.hide(x, head);
        }
        let refused = match found {
            Ok(Some(known)) => return greet(x, head, known, false).into(),
            Ok(None) => Error::new(ErrorKind::Unauthorized, "Unauthorized"),
            Err(error) => error,
        };
        match self.settings.anonymous.as_deref().map(|name| self.consumers.by_name(name)) {
            Some(Some(known)) => greet(x, head, known, true).into(),
            Some(None) => Step::Fail(Error::new(ErrorKind::Internal, "An unexpected error occurred")),
            None => {
                x.answer.add(WWW_AUTHENTICATE, self.challenge.clone());
                Step::Fail(refused)
            }
        }
    }

    // KONG(kong/plugins/log-serializers/basic.lua): Kong's records hold the keys of clients.
    fn credentials(&self) -> &[String] {
        &self.settings.key_names
    }

    fn reads_body(&self) -> Option<usize> {
        const LARGEST: usize = 64 * 1024 * 1024;
        self.settings.key_in_body.then_some(LARGEST)
    }
}

impl KeyAuth {
    /// The key of the request; of several places the first in Kong's order.
    fn find<'a>(&self, x: &'a Exchange, head: &'a RequestHeader) -> Result<Cow<'a, str>> {
        for (name, header) in &self.names {
            let mut found = None;
            if self.settings.key_in_header {
                let values = head.headers.get_all(header).iter();
                found = sole(values.filter_map(|value| value.to_str().ok()).map(Cow::Borrowed))?;
            }
            if found.is_none() && self.settings.key_in_query {
                let query = head.uri.query().unwrap_or_default();
                let pairs = form_urlencoded::parse(query.as_bytes());
                found = sole(pairs.filter(|(key, _)| key == name).map(|(_, value)| value))?;
            }
            if found.is_none() && self.settings.key_in_body {
                found = x.ai.as_ref().and_then(|ai| ai.doc.text(name));
            }
            if let Some(key) = found {
                return Ok(key);
            }
        }
        Err(Error::new(ErrorKind::Unauthorized, "No API key found in request"))
    }

    /// Takes the key out of what goes on.
    fn hide(&self, x: &mut Exchange, head: &mut RequestHeader) {
        for (name, header) in &self.names {
            head.remove_header(header);
            if let Some(ai) = &mut x.ai
                && self.settings.key_in_body
            {
                ai.doc.remove(name);
            }
        }
        super::drop_query(head, |key| self.settings.key_names.iter().any(|name| name == key));
    }
}

/// The only one, if there is any.
fn sole<'a>(mut keys: impl Iterator<Item = Cow<'a, str>>) -> Result<Option<Cow<'a, str>>> {
    let first = keys.next();
    if keys.next().is_some() {
        return Err(Error::new(ErrorKind::Unauthorized, "Duplicate API key found"));
    }
    Ok(first)
}

/// Notes who the consumer is, and tells the upstream.
fn greet(x: &mut Exchange, head: &mut RequestHeader, known: &Known, anonymous: bool) -> Result<()> {
    // Few clients send such a header; looking for each of them takes longer than one look at all.
    if head.headers.keys().any(|name| TOLD.contains(&name.as_str())) {
        for name in TOLD {
            head.remove_header(name);
        }
    }
    let anonymous = anonymous.then(|| (ANONYMOUS, HeaderValue::from_static("true")));
    for (name, value) in known.told.iter().cloned().chain(anonymous) {
        head.insert_header(name, value)
            .map_err(|_| Error::new(ErrorKind::Internal, "An unexpected error occurred"))?;
    }
    x.consumer = Some(known.consumer.clone());
    Ok(())
}
