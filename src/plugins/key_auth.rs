//! key-auth: knows consumers by their keys.

use super::consumers::Consumers;
use super::{Conf, Plugin, PluginKind, Step};
use crate::config::entities::Consumer;
use crate::config::formats;
use crate::config::schema::{Field, Kind, Record};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::exchange::Exchange;
use http::header::{HeaderName, HeaderValue, WWW_AUTHENTICATE};
use pingora::http::RequestHeader;
use serde_json::json;
use std::sync::Arc;

/// Its entry in the list of plugins.
pub static KIND: PluginKind = PluginKind {
    name: "key-auth",
    priority: 1250,
    schema,
    rules: Vec::new,
    protocols: super::HTTP,
    consumer_scope: false,
    build,
};

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

struct KeyAuth {
    settings: Settings,
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
    Ok(Arc::new(KeyAuth { settings, challenge, consumers: conf.consumers.clone() }))
}

impl Plugin for KeyAuth {
    fn request(&self, x: &mut Exchange, head: &mut RequestHeader) -> Step {
        if !self.settings.run_on_preflight && head.method == http::Method::OPTIONS {
            return Step::Next;
        }
        let found = self.find(x, head);
        if self.settings.hide_credentials {
            self.hide(x, head);
        }
        let refused = match found.map(|key| self.consumers.by_key(&key)) {
            Ok(Some(consumer)) => return greet(x, head, consumer, false).into(),
            Ok(None) => Error::new(ErrorKind::Unauthorized, "Unauthorized"),
            Err(error) => error,
        };
        match self.settings.anonymous.as_deref().map(|name| self.consumers.by_name(name)) {
            Some(Some(consumer)) => greet(x, head, consumer, true).into(),
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
    fn find(&self, x: &Exchange, head: &RequestHeader) -> Result<String> {
        for name in &self.settings.key_names {
            let mut keys: Vec<String> = Vec::new();
            if self.settings.key_in_header {
                let values = head.headers.get_all(name).iter();
                keys.extend(values.filter_map(|value| value.to_str().ok()).map(str::to_owned));
            }
            if keys.is_empty() && self.settings.key_in_query {
                let query = head.uri.query().unwrap_or_default();
                let pairs = form_urlencoded::parse(query.as_bytes());
                keys.extend(pairs.filter(|(key, _)| key == name).map(|(_, value)| value.into_owned()));
            }
            if keys.is_empty() && self.settings.key_in_body {
                let doc = x.ai.as_ref().map(|ai| &ai.doc);
                keys.extend(doc.and_then(|doc| doc.text(name)).map(std::borrow::Cow::into_owned));
            }
            match keys.len() {
                0 => {}
                1 => return Ok(keys.swap_remove(0)),
                _ => return Err(Error::new(ErrorKind::Unauthorized, "Duplicate API key found")),
            }
        }
        Err(Error::new(ErrorKind::Unauthorized, "No API key found in request"))
    }

    /// Takes the key out of what goes on.
    fn hide(&self, x: &mut Exchange, head: &mut RequestHeader) {
        for name in &self.settings.key_names {
            head.remove_header(name.as_str());
            if let Some(ai) = &mut x.ai
                && self.settings.key_in_body
            {
                ai.doc.remove(name);
            }
        }
        super::drop_query(head, |key| self.settings.key_names.iter().any(|name| name == key));
    }
}

/// Notes who the consumer is, and tells the upstream.
fn greet(
    x: &mut Exchange,
    head: &mut RequestHeader,
    consumer: &Arc<Consumer>,
    anonymous: bool,
) -> Result<()> {
    let fields = [
        ("x-consumer-id", Some(consumer.id.to_string())),
        ("x-consumer-username", consumer.username.clone()),
        ("x-consumer-custom-id", consumer.custom_id.clone()),
        ("x-anonymous-consumer", anonymous.then(|| "true".to_owned())),
    ];
    for (name, value) in fields {
        let name = HeaderName::from_static(name);
        head.remove_header(&name);
        // A name that no header can hold is not told; the consumer is known all the same.
        if let Some(Ok(value)) = value.map(HeaderValue::try_from) {
            head.insert_header(name, value)
                .map_err(|_| Error::new(ErrorKind::Internal, "An unexpected error occurred"))?;
        }
    }
    x.consumer = Some(consumer.clone());
    Ok(())
}
