//! What the two transformers have in common: a call of their own to a model.
//!
//! They stand before any service. What the model is asked is metered and logged beside the exchange
//! that it is asked for, never as part of it.

use super::pattern::{PATIENCE, Pattern, TooLong};
use super::{Conf, Turn};
use crate::config::formats;
use crate::config::llm;
use crate::config::problems::Problems;
use crate::config::rules::get;
use crate::config::schema::{Field, Kind, Record, Rule};
use crate::config::target::Operation;
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::exchange::{Exchange, PluginCall};
use crate::target::Target;
use crate::target::consult::{Oracle, Question};
use crate::target::template::Source;
use crate::upstream::endpoint::{Hop, Timeouts, Way};
use bytes::Bytes;
use pingora::http::RequestHeader;
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// The fields of both.
pub fn record() -> Record {
    Record::new(vec![
        Field::text("transformation_extract_pattern")
            .doc("What to take of the model's answer: a regular expression."),
        Field::new("http_timeout", Kind::Integer { min: 0, max: i64::MAX, above: Some(-1), one_of: vec![] })
            .required()
            .default(60_000)
            .doc("Milliseconds to wait for the model."),
        Field::flag("https_verify", true).doc("Whether to verify the provider's certificate."),
        llm::body_size(),
        Field::checked("http_proxy_host", formats::host).doc("Proxy for calls by HTTP."),
        Field::port("http_proxy_port").doc("Its port."),
        Field::checked("https_proxy_host", formats::host).doc("Proxy for calls by HTTPS."),
        Field::port("https_proxy_port").doc("Its port."),
        Field::record("llm", llm::target_record()).required().doc("The model to call."),
    ])
}

/// The rules of both.
pub fn rules() -> Vec<Rule> {
    vec![
        Rule::Check(chat_only),
        Rule::Check(pattern_compiles),
        Rule::AllOrNone(&["config.http_proxy_host", "config.http_proxy_port"]),
        Rule::AllOrNone(&["config.https_proxy_host", "config.https_proxy_port"]),
    ]
}

/// What both are configured with.
#[derive(serde::Deserialize)]
pub struct Settings {
    prompt: String,
    #[serde(default)]
    transformation_extract_pattern: Option<String>,
    http_timeout: u64,
    https_verify: bool,
    max_request_body_size: usize,
    #[serde(default)]
    http_proxy_host: Option<String>,
    #[serde(default)]
    http_proxy_port: Option<u16>,
    #[serde(default)]
    https_proxy_host: Option<String>,
    #[serde(default)]
    https_proxy_port: Option<u16>,
    llm: Value,
}

/// The runtime half of both: a body in, what the model makes of it out.
pub struct Transformer {
    plugin: Uuid,
    log_key: &'static str,
    oracle: Oracle,
    prompt: String,
    extract: Option<Pattern>,
    /// Bytes of the client's body at most.
    pub limit: usize,
}

impl Transformer {
    /// Makes one of a checked configuration.
    pub fn new(conf: &Conf<'_>) -> Result<Self> {
        let settings: Settings = conf.read()?;
        // KONG(kong/llm/drivers/shared.lua): bounds connecting only; here the whole call. No time at all
        // would be no call at all: as in Kong, zero leaves it to the defaults.
        let timeout = match settings.http_timeout {
            0 => Timeouts::default().read,
            millis => Duration::from_millis(millis),
        };
        let timeouts = Timeouts { connect: timeout, read: timeout, write: timeout };
        let hop = |host: Option<String>, port: Option<u16>| {
            Some(Hop { host: host?.trim_matches(['[', ']']).into(), port: port? })
        };
        let way = Way {
            verify: settings.https_verify,
            http_proxy: hop(settings.http_proxy_host, settings.http_proxy_port),
            https_proxy: hop(settings.https_proxy_host, settings.https_proxy_port),
        };
        let extract = settings.transformation_extract_pattern.as_deref().map(compile).transpose();
        let extract = extract.map_err(|why| {
            Error::new(ErrorKind::Internal, format!("transformation_extract_pattern: {why}"))
        })?;
        Ok(Self {
            plugin: conf.id,
            log_key: conf.name,
            oracle: Oracle::new(Target::load(&settings.llm, Arc::default(), timeouts)?, way, timeout),
            prompt: settings.prompt,
            extract,
            limit: settings.max_request_body_size,
        })
    }

    /// What the model makes of `body`.
    pub async fn transform(&self, turn: Turn<'_>, body: &Bytes) -> Result<String> {
        let Turn { x, head, connections } = turn;
        let text = std::str::from_utf8(body).map_err(|_| {
            let why = "failed to introspect request with AI service: the body is not UTF-8 text";
            Error::new(ErrorKind::Unconsulted, why)
        })?;
        let began = Instant::now();
        let (call, answer) = self.oracle.ask(connections, &self.question(x, head, text)).await;
        x.consulted.waited += began.elapsed();
        if let Some(call) = call {
            x.consulted.calls.push(PluginCall { log_key: self.log_key, plugin: self.plugin, call });
        }
        self.extract(answer?)
    }

    fn question<'a>(&'a self, x: &'a Exchange, head: &'a RequestHeader, text: &'a str) -> Question<'a> {
        Question {
            prompt: &self.prompt,
            text,
            source: Source {
                headers: &head.headers,
                captures: x.route.as_ref().map(|route| route.captures.as_slice()).unwrap_or_default(),
                query: head.uri.query().unwrap_or_default(),
            },
            id: x.id.as_str(),
            now: x.started_at / 1000,
            kong: x.chain().switches.ai_metrics,
        }
    }

    /// The part of the answer that is asked for.
    fn extract(&self, answer: String) -> Result<String> {
        let Some(pattern) = &self.extract else { return Ok(answer) };
        let why = match pattern.find(&answer, Instant::now() + PATIENCE) {
            Ok(Some(found)) => return Ok(found.to_owned()),
            Ok(None) => "AI response did not match specified regular expression",
            Err(TooLong) => "failed regex matching ai response: the pattern takes too many steps on it",
        };
        Err(Error::new(ErrorKind::Unconsulted, why))
    }
}

/// As Kong runs it: letters of either case, and `^` and `$` at every line.
fn compile(pattern: &str) -> Result<Pattern, fancy_regex::Error> {
    Pattern::new(pattern, true)
}

// KONG(kong/plugins/ai-request-transformer/schema.lua): a bad pattern is found out by the first request.
fn pattern_compiles(plugin: &Value, out: &mut Problems<'_>) {
    let path = "config.transformation_extract_pattern";
    let Some(pattern) = get(plugin, path).and_then(Value::as_str) else { return };
    if let Err(error) = compile(pattern) {
        out.at(path).push(format!("the pattern does not compile: {error}"));
    }
}

fn chat_only(plugin: &Value, out: &mut Problems<'_>) {
    let chat = Operation::Chat.name();
    if llm::text(plugin, "config.llm.route_type").is_some_and(|operation| operation != chat) {
        out.at("config.llm.route_type").push(format!("value must be {chat}"));
        out.push(format!("'config.llm.route_type' must be '{chat}' for AI transformer plugins"));
    }
}
