//! http-log: sends the records of exchanges to a server, in batches.

use super::file_log::without_lua;
use super::post::{self, Server};
use super::queued::{lua_field, queued};
use super::{Conf, Plugin, PluginKind, queue};
use crate::config::formats;
use crate::config::problems::Problems;
use crate::config::rules::get;
use crate::config::schema::{Field, Kind, Record, Rule};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::log::queue::{Receiver, Settings as QueueSettings};
use crate::upstream::endpoint::Timeouts;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Its entry in the list of plugins.
pub static KIND: PluginKind = PluginKind::new("http-log", 12, schema, build);

/// `config`.
pub fn schema() -> Record {
    let headers = Kind::Map { of: Box::new(Kind::text()), key: Some(post::own_header) };
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
    let step = post::millis(settings.timeout);
    let timeouts = Timeouts { connect: step, read: step, write: step };
    let server = Server::new("http_endpoint", &settings.http_endpoint, &settings.content_type, timeouts);
    let server =
        server.and_then(|server| server.method(&settings.method)?.headers(settings.headers.as_ref()));
    let alone = settings.queue.max_batch_size == 1;
    let server = server.map_err(bad)?;
    Ok(queued(conf, &settings.queue, || Sender { server: server.another(), alone }))
}

/// The server, and whether it takes records one by one.
struct Sender {
    server: Server,
    alone: bool,
}

impl Receiver for Sender {
    fn take(&mut self, batch: &[Vec<u8>]) -> std::result::Result<(), String> {
        let body = match batch {
            [one] if self.alone => one.clone(),
            _ => [b"[".as_slice(), &batch.join(&b','), b"]"].concat(),
        };
        self.server.send(body.into())
    }
}
