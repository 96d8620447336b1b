//! http-log: sends the records of exchanges to a server, in batches.

use super::file_log::without_lua;
use super::queued::{lua_field, queued};
use super::{Conf, Plugin, PluginKind, queue};
use crate::config::formats;
use crate::config::problems::Problems;
use crate::config::rules::get;
use crate::config::schema::{Field, Kind, Record, Rule};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::log::queue::{Receiver, Settings as QueueSettings};
use crate::upstream::attempt::Connections;
use crate::upstream::endpoint::Timeouts;
use crate::upstream::fetch::{Call, Limits, fetch, reason};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Method};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// Its entry in the list of plugins.
pub static KIND: PluginKind = PluginKind {
    name: "http-log",
    priority: 12,
    schema,
    rules: Vec::new,
    protocols: super::HTTP,
    consumer_scope: true,
    build,
};

/// `config`.
pub fn schema() -> Record {
    let headers = Kind::Map { of: Box::new(Kind::text()), key: Some(own_header) };
    Record::new(vec![
        Field::checked("http_endpoint", formats::http_url)
            .required()
            .referenceable()
            .doc("URL of the server."),
        Field::one_of("method", &["POST", "PUT", "PATCH"]).default("POST").doc("Method of the request."),
        Field::one_of("content_type", &["application/json", "application/json; charset=utf-8"])
            .default("application/json")
            .doc("Content type of the request."),
        Field::above("timeout", 0.0).default(10_000).doc("Milliseconds to wait."),
        Field::above("keepalive", 0.0).default(60_000).doc("Accepted; idle connections are kept."),
        Field::new("retry_count", Kind::integer()).doc("Deprecated; use `queue.max_retry_time`."),
        Field::new("queue_size", Kind::integer()).doc("Deprecated; use `queue.max_batch_size`."),
        Field::number("flush_timeout", f64::MIN, f64::MAX)
            .doc("Deprecated; use `queue.max_coalescing_delay`."),
        Field::new("headers", headers).secret().doc("Headers of the request."),
        Field::record("queue", queue::record()).required().doc("How records wait."),
        lua_field(),
    ])
    .rules(vec![Rule::Check(without_lua), Rule::Check(one_authorization)])
}

fn own_header(name: &str) -> std::result::Result<(), String> {
    for taken in ["Host", "Content-Length", "Content-Type"] {
        if name.eq_ignore_ascii_case(taken) {
            return Err(format!("cannot contain '{taken}' header"));
        }
    }
    formats::header_name(name)
}

fn one_authorization(config: &Value, out: &mut Problems<'_>) {
    let url =
        get(config, "http_endpoint").and_then(Value::as_str).and_then(|text| url::Url::parse(text).ok());
    let named = url.is_some_and(|url| !url.username().is_empty() || url.password().is_some());
    let headers = get(config, "headers").and_then(Value::as_object);
    if named && headers.is_some_and(|all| all.keys().any(|name| name.eq_ignore_ascii_case("authorization"))) {
        out.push("specifying both an 'Authorization' header and user info in 'http_endpoint' is not allowed");
    }
}

#[derive(serde::Deserialize)]
struct Settings {
    http_endpoint: String,
    method: String,
    content_type: String,
    timeout: f64,
    headers: Option<BTreeMap<String, String>>,
    queue: QueueSettings,
    queue_size: Option<i64>,
    flush_timeout: Option<f64>,
}

fn build(conf: Conf<'_>) -> Result<Arc<dyn Plugin>> {
    let mut settings: Settings = conf.read()?;
    // KONG(kong/tools/queue.lua): the old names count where they differ from their old defaults.
    if let Some(size) =
        settings.queue_size.and_then(|size| usize::try_from(size).ok()).filter(|size| *size > 1)
    {
        settings.queue.max_batch_size = size;
    }
    if let Some(delay) = settings.flush_timeout.filter(|delay| (delay - 2.0).abs() > f64::EPSILON) {
        settings.queue.max_coalescing_delay = delay;
    }
    let bad = |why: String| Error::new(ErrorKind::Internal, why);
    let server = Server::new(&settings).map_err(bad)?;
    Ok(queued(conf, &settings.queue, server))
}

/// The server, with a small runtime of its own: the thread of the queue drives it.
struct Server {
    call: Call,
    /// For messages: without user info.
    shown: String,
    alone: bool,
    limits: Limits,
    running: Option<(Runtime, Arc<Connections>)>,
}

impl Server {
    fn new(settings: &Settings) -> std::result::Result<Self, String> {
        let mut url =
            url::Url::parse(&settings.http_endpoint).map_err(|why| format!("http_endpoint: {why}"))?;
        let content_type = HeaderValue::try_from(&settings.content_type).map_err(|why| why.to_string())?;
        let mut headers = vec![(CONTENT_TYPE, content_type)];
        if !url.username().is_empty() || url.password().is_some() {
            let decoded = |text| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
            let user = format!("{}:{}", decoded(url.username()), decoded(url.password().unwrap_or_default()));
            let basic = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(user)));
            headers.push((AUTHORIZATION, basic.map_err(|why| why.to_string())?));
        }
        let bare = url.set_username("").and_then(|()| url.set_password(None));
        bare.map_err(|()| "http_endpoint: cannot be used".to_owned())?;
        for (name, value) in settings.headers.iter().flatten() {
            let name = HeaderName::try_from(name).map_err(|_| format!("headers: '{name}' is not a name"))?;
            let value = HeaderValue::try_from(value)
                .map_err(|_| format!("headers.{name}: must not hold control characters"))?;
            headers.push((name, value));
        }
        let step = Duration::from_secs_f64(settings.timeout.clamp(1.0, 1e9) / 1e3);
        let method = Method::from_bytes(settings.method.as_bytes()).map_err(|why| why.to_string())?;
        Ok(Self {
            shown: format!(
                "{}:{}",
                url.host_str().unwrap_or_default(),
                url.port_or_known_default().unwrap_or(80)
            ),
            call: Call { method, url: url.into(), headers, body: bytes::Bytes::new() },
            alone: settings.queue.max_batch_size == 1,
            limits: Limits {
                timeouts: Timeouts { connect: step, read: step, write: step },
                whole: step.saturating_mul(3),
                body: 1024 * 1024,
            },
            running: None,
        })
    }
}

impl Receiver for Server {
    fn take(&mut self, batch: &[Vec<u8>]) -> std::result::Result<(), String> {
        let body = match batch {
            [one] if self.alone => one.clone(),
            _ => [b"[".as_slice(), &batch.join(&b','), b"]"].concat(),
        };
        let (runtime, connections) = match &mut self.running {
            Some(running) => running,
            none => {
                let runtime = Builder::new_current_thread().enable_all().build();
                let runtime = runtime.map_err(|why| format!("no runtime: {why}"))?;
                none.insert((runtime, Arc::new(Connections::new(1))))
            }
        };
        let Call { method, url, headers, .. } = &self.call;
        let (method, url, headers) = (method.clone(), url.clone(), headers.clone());
        let call = Call { method, url, headers, body: body.into() };
        // KONG(plugins/http-log/handler.lua): does not look at the server's certificate; it is verified here.
        match runtime.block_on(fetch(connections, call, self.limits)) {
            Ok(fetched) if fetched.status < 300 => Ok(()),
            Ok(fetched) => Err(format!("request to {} returned status code {}", self.shown, fetched.status)),
            Err(error) => Err(format!("failed request to {}: {}", self.shown, reason(&error))),
        }
    }
}
