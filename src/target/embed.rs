//! Asks a model for embeddings.
//!
//! A prompt waits for the answer, so a call is bounded, answers are remembered, and a model that does
//! not answer is left alone for a moment instead of holding up one request after the other.

use super::fingerprint::Fingerprint;
use crate::config::target::TargetConf;
use crate::error::{Error, Kind, Result};
use crate::provider::auth::{Auth, Unsigned};
use crate::provider::embedding::{Embeddings, Purpose};
use crate::provider::{self, Provider};
use crate::upstream::attempt::Connections;
use crate::upstream::endpoint::Timeouts;
use crate::upstream::fetch::{Call, Fetched, Limits, fetch};
use crate::upstream::head::escaped;
use crate::wire::doc::Doc;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use lru::LruCache;
use serde_json::Value;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How many prompts are remembered: a few megabytes of vectors.
const REMEMBERED: usize = 512;

/// How long a prompt waits for its vector, and a text that nobody waits for.
const PATIENCE: (Duration, Duration) = (Duration::from_secs(3), Duration::from_secs(30));

/// How long a model that did not answer is not asked for prompts.
const PAUSE: Duration = Duration::from_secs(2);

/// Bytes of an answer.
const ANSWER: usize = 4 * 1024 * 1024;

/// A model that makes embeddings.
pub struct Model {
    /// Or why it cannot be asked: what the provider would know us by is not there.
    service: Result<Service>,
    memory: Mutex<LruCache<Fingerprint, Arc<[f32]>>>,
    paused: Mutex<Option<Instant>>,
}

struct Service {
    embeddings: Embeddings,
    auth: Auth,
}

impl Model {
    /// Reads `embeddings`, checked.
    pub fn load(conf: &Value, dimensions: u32) -> Result<Self> {
        let service = match Service::load(conf, dimensions) {
            Err(error) if error.kind() != Kind::Identity => return Err(error),
            other => other,
        };
        let size = NonZeroUsize::new(REMEMBERED).unwrap_or(NonZeroUsize::MIN);
        Ok(Self { service, memory: Mutex::new(LruCache::new(size)), paused: Mutex::default() })
    }

    /// The vector of a prompt.
    pub async fn prompt(&self, connections: &Arc<Connections>, text: &str) -> Result<Arc<[f32]>> {
        let print = Fingerprint::of_bytes(text.as_bytes());
        if let Some(known) = lock(&self.memory).get(&print) {
            return Ok(known.clone());
        }
        if lock(&self.paused).is_some_and(|until| Instant::now() < until) {
            return Err(Error::new(Kind::Unreachable, "the embeddings model has just failed"));
        }
        let asked = self.service()?.ask(connections, text, Purpose::Asked).await;
        if let Err(Failed { error, lasting: false }) = &asked {
            *lock(&self.paused) = Some(Instant::now() + PAUSE);
            return Err(error.clone());
        }
        let vector: Arc<[f32]> = asked.map_err(|failed| failed.error)?.into();
        lock(&self.memory).put(print, vector.clone());
        Ok(vector)
    }

    /// The vector of a text that is kept.
    pub async fn stored(&self, connections: &Arc<Connections>, text: &str) -> Result<Vec<f32>> {
        self.service()?.ask(connections, text, Purpose::Stored).await.map_err(|failed| failed.error)
    }

    fn service(&self) -> Result<&Service> {
        self.service.as_ref().map_err(Clone::clone)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why a text has no vector.
struct Failed {
    error: Error,
    /// It is this text that the model refuses; others may pass.
    lasting: bool,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self { error, lasting: false }
    }
}

impl Service {
    fn load(conf: &Value, dimensions: u32) -> Result<Self> {
        let conf = typed(conf)?;
        let name = conf.model.provider.as_str();
        let embedder = provider::find(name)
            .and_then(Provider::embeddings)
            .ok_or_else(|| Error::new(Kind::Internal, format!("provider '{name}' makes no embeddings")))?;
        Ok(Self { embeddings: embedder.load(&conf, dimensions)?, auth: Auth::load(&conf.auth)? })
    }

    async fn ask(
        &self,
        connections: &Arc<Connections>,
        text: &str,
        purpose: Purpose,
    ) -> Result<Vec<f32>, Failed> {
        let whole = if purpose == Purpose::Asked { PATIENCE.0 } else { PATIENCE.1 };
        if let Some(token) = &self.embeddings.identity {
            // If it takes too long, the call fails for want of a token.
            let _ = tokio::time::timeout(whole, token.ready()).await;
        }
        let timeouts = Timeouts { connect: whole, read: whole, write: whole };
        let call = self.call(text, purpose)?;
        let answer = fetch(connections, call, Limits { timeouts, whole, body: ANSWER }).await;
        let answer = answer.map_err(|error| {
            let why = format!("the embeddings model was not reached: {}", error.message());
            Error::new(error.kind(), why)
        })?;
        self.vector(&answer)
    }

    fn vector(&self, answer: &Fetched) -> Result<Vec<f32>, Failed> {
        let status = answer.status;
        let refused =
            |hint: &str| Error::new(Kind::BadReply, format!("the embeddings model answered {status}{hint}"));
        match status {
            200 => {}
            401 | 403 => return Err(refused(": see embeddings.auth").into()),
            404 => return Err(refused(": see embeddings.model").into()),
            400 | 413 | 422 => return Err(Failed { error: refused(""), lasting: true }),
            _ => return Err(refused("").into()),
        }
        let vector = self.embeddings.words.vector(&answer.body).filter(|vector| !vector.is_empty());
        Ok(vector.ok_or_else(|| refused(" and no embedding"))?)
    }

    fn call(&self, text: &str, purpose: Purpose) -> Result<Call> {
        let Embeddings { address, words, headers, identity, signer } = &self.embeddings;
        let body = self.auth.body(&Doc::empty(), words.request(text, purpose)?)?;
        let mut headers = headers.clone();
        headers.push((header::CONTENT_TYPE, HeaderValue::from_static("application/json")));
        if let Some((name, value)) = self.auth.header(&HeaderMap::new()) {
            headers.push((name.clone(), value.clone()));
        }
        if let Some(token) = identity {
            replace(&mut headers, vec![(header::AUTHORIZATION, token.header()?)]);
        }
        let query = self.auth.query(address.query.as_deref().unwrap_or_default()).into_owned();
        let (path, query) = (escaped(&address.path), escaped(&query));
        if let Some(signer) = signer {
            let proof = signer.sign(&Unsigned {
                method: &Method::POST,
                host: &address.authority,
                path: &path,
                query: &[&query],
                headers: &headers,
                body: &body,
                now: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
            })?;
            replace(&mut headers, proof);
        }
        let scheme = if address.tls { "https" } else { "http" };
        let joint = if query.is_empty() { "" } else { "?" };
        let url = format!("{scheme}://{}{path}{joint}{query}", address.authority);
        Ok(Call { method: Method::POST, url, headers, body })
    }
}

/// Sets headers in the place of others of their names.
fn replace(headers: &mut Vec<(HeaderName, HeaderValue)>, with: Vec<(HeaderName, HeaderValue)>) {
    headers.retain(|(name, _)| !with.iter().any(|(other, _)| other == name));
    headers.extend(with);
}

/// `embeddings` is a target but for what it serves.
fn typed(conf: &Value) -> Result<TargetConf> {
    let mut conf = conf.clone();
    if let Value::Object(fields) = &mut conf {
        let serves = crate::config::target::Operation::Preserve.name();
        fields.insert("route_type".to_owned(), serves.into());
        fields.retain(|_, value| !value.is_null());
    }
    serde_json::from_value(conf).map_err(|why| {
        Error::new(Kind::Internal, format!("the options of embeddings do not fit together: {why}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use serde_json::json;

    #[test]
    fn a_refusal_says_where_to_look_and_whether_it_is_of_this_text() {
        let conf = json!({"model": {"provider": "openai", "name": "m"}, "auth": {}});
        let service = Service::load(&conf, 2).unwrap();
        let answer = |status, body: &'static str| {
            let body = Bytes::from_static(body.as_bytes());
            service.vector(&Fetched { status, headers: HeaderMap::new(), body })
        };
        assert_eq!(answer(200, r#"{"data":[{"embedding":[1,2]}]}"#).ok(), Some(vec![1.0, 2.0]));
        for (status, lasting, why) in [
            (200, false, "the embeddings model answered 200 and no embedding"),
            (401, false, "the embeddings model answered 401: see embeddings.auth"),
            (403, false, "the embeddings model answered 403: see embeddings.auth"),
            (404, false, "the embeddings model answered 404: see embeddings.model"),
            (400, true, "the embeddings model answered 400"),
            (413, true, "the embeddings model answered 413"),
            (422, true, "the embeddings model answered 422"),
            (500, false, "the embeddings model answered 500"),
        ] {
            let failed = answer(status, "{}").err().unwrap();
            assert_eq!((failed.error.message(), failed.lasting), (why, lasting));
        }
    }

    #[test]
    fn a_header_is_replaced_and_others_stay() {
        let header = |name, value| (HeaderName::from_static(name), HeaderValue::from_static(value));
        let mut headers = vec![header("a", "1"), header("b", "2")];
        replace(&mut headers, vec![header("a", "3"), header("c", "4")]);
        assert_eq!(headers, [header("b", "2"), header("a", "3"), header("c", "4")]);
    }
}
