//! The plugins: one file each, one line in the list, run in the order of Kong's priorities.

use self::consumers::Consumers;
use crate::config::schema::{Record, Rule};
use crate::error::{Error, Kind, Result};
use crate::exchange::Exchange;
use crate::log::record::Record as LogRecord;
use crate::meter::metrics::Switches;
use crate::target::Targets;
use crate::upstream::attempt::Connections;
use crate::upstream::endpoint::Timeouts;
use bytes::Bytes;
use http::HeaderMap;
use pingora::http::RequestHeader;
use serde_json::Value;
use std::pin::Pin;
use std::sync::Arc;
use uuid::Uuid;

pub mod acl;
pub mod ai_prompt_decorator;
pub mod ai_prompt_guard;
pub mod ai_prompt_template;
pub mod ai_proxy;
pub mod ai_proxy_advanced;
pub mod ai_request_transformer;
pub mod ai_response_transformer;
pub mod chain;
pub mod consumers;
pub mod correlation_id;
pub mod cors;
pub mod file_log;
pub mod http_log;
pub mod instructions;
pub mod ip_restriction;
pub mod key_auth;
pub mod opentelemetry;
pub mod pattern;
mod post;
pub mod prometheus;
pub mod queue;
mod queued;
pub mod rate_limiting;
pub mod redis;
pub mod request_size_limiting;
pub mod request_termination;
pub mod request_transformer;
pub mod tcp_log;
pub mod transformer;
pub mod udp_log;

/// An entry of [`KINDS`]: what the configuration may say of a plugin, and what it becomes.
pub struct PluginKind {
    /// What the configuration calls it.
    pub name: &'static str,
    /// Kong's: higher runs earlier.
    pub priority: i32,
    /// The schema of `config`.
    pub schema: fn() -> Record,
    /// The rules over the whole plugin entity, which name fields as `config.x`.
    pub rules: fn() -> Vec<Rule>,
    /// By which protocols requests may come that it runs for; by all of them unless it says which.
    pub protocols: &'static [&'static str],
    /// Whether an instance may be bound to a consumer or a group of them.
    pub consumer_scope: bool,
    /// Makes an instance of a checked `config`.
    pub build: fn(Conf<'_>) -> Result<Arc<dyn Plugin>>,
}

impl PluginKind {
    /// One as most are: without rules, for all protocols, and consumers may have their own.
    pub const fn new(
        name: &'static str,
        priority: i32,
        schema: fn() -> Record,
        build: fn(Conf<'_>) -> Result<Arc<dyn Plugin>>,
    ) -> Self {
        Self { name, priority, schema, rules: Vec::new, protocols: HTTP, consumer_scope: true, build }
    }
}

/// The protocols of most plugins.
pub const HTTP: &[&str] = &["grpc", "grpcs", "http", "https"];

/// Every plugin that a configuration may name.
pub static KINDS: &[&PluginKind] = &[
    &correlation_id::KIND,
    &cors::KIND,
    &key_auth::KIND,
    &ip_restriction::KIND,
    &request_size_limiting::KIND,
    &acl::KIND,
    &rate_limiting::KIND,
    &request_transformer::KIND,
    &ai_request_transformer::KIND,
    &ai_prompt_template::KIND,
    &ai_prompt_decorator::KIND,
    &ai_prompt_guard::KIND,
    &ai_proxy::KIND,
    &ai_proxy_advanced::KIND,
    &ai_response_transformer::KIND,
    &opentelemetry::KIND,
    &prometheus::KIND,
    &http_log::KIND,
    &file_log::KIND,
    &udp_log::KIND,
    &tcp_log::KIND,
    &request_termination::KIND,
];

/// The plugin of that name.
pub fn find(name: &str) -> Option<&'static PluginKind> {
    KINDS.iter().copied().find(|kind| kind.name == name)
}

/// What an instance is made of.
#[derive(Clone, Copy)]
pub struct Conf<'a> {
    /// The instance's.
    pub id: Uuid,
    /// The route and the service that the instance is bound to.
    pub route: Option<Uuid>,
    /// The service that it is bound to.
    pub service: Option<Uuid>,
    /// The plugin's.
    pub name: &'static str,
    /// Checked, with its defaults.
    pub config: &'a Value,
    /// Of the service that the route belongs to.
    pub timeouts: Timeouts,
    /// Who may call, for those that find out who does.
    pub consumers: &'a Arc<Consumers>,
}

impl Conf<'_> {
    /// The configuration as its plugin's type.
    pub fn read<T: serde::de::DeserializeOwned>(&self) -> Result<T> {
        T::deserialize(self.config)
            .map_err(|error| Error::new(Kind::Internal, format!("the configuration cannot be used: {error}")))
    }
}

/// What a plugin wants of the request.
pub enum Step {
    /// Go on.
    Next,
    /// The request ends here.
    Fail(Error),
    /// The request ends here, with an answer of the plugin's own.
    Reply(Box<Reply>),
    /// The request ends here, and the answer shows it.
    /// With the request itself.
    Echo(Box<Echo>),
}

impl From<Result<()>> for Step {
    fn from(result: Result<()>) -> Self {
        result.map_or_else(Self::Fail, |()| Self::Next)
    }
}

/// A plugin's own answer.
pub struct Reply {
    /// The answer's.
    pub status: u16,
    /// `None`: there is no body to speak of.
    pub content_type: Option<String>,
    /// The answer's; may be empty.
    pub body: Bytes,
}

/// An answer that shows the request.
pub struct Echo {
    /// The answer's.
    pub status: u16,
    /// What it says beside the request.
    pub message: Option<String>,
    /// The request's body, if it was read already.
    pub body: Option<Bytes>,
}

/// Why a request ends before its upstream was asked.
pub enum Stop {
    /// With the gateway's words for it.
    Error(Error),
    /// With the plugin's.
    Reply(Box<Reply>),
    /// With the request itself.
    Echo(Box<Echo>),
}

impl Stop {
    /// The same, of a request whose body was read.
    #[must_use]
    pub fn with_body(mut self, body: &Bytes) -> Self {
        if let Self::Echo(echo) = &mut self {
            echo.body = Some(body.clone());
        }
        self
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// What a plugin waits for. Boxed: only requests that meet such a plugin pay for it.
pub type Wait<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// A step that is waited for.
pub type Steps<'a> = Pin<Box<dyn Future<Output = Step> + Send + 'a>>;

/// What a plugin that waits works with.
pub struct Turn<'a> {
    /// The exchange.
    pub x: &'a mut Exchange,
    /// The client's request.
    pub head: &'a RequestHeader,
    /// Those to upstreams.
    pub connections: &'a Arc<Connections>,
}

/// Which side of an exchange a plugin rewrites as a whole, and by waiting for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rewrites {
    /// The request's body, before anything else reads it.
    Request,
    /// The answer: it is collected, also where it was to stream.
    Answer,
}

/// A collected answer, on its way to the client.
#[derive(Debug)]
pub struct Whole {
    /// The answer's.
    pub status: u16,
    /// Without what speaks of the length or the coding of the body.
    pub headers: HeaderMap,
    /// The whole of it, in the client's words.
    pub body: Bytes,
}

/// A plugin instance. Every hook is optional.
pub trait Plugin: Send + Sync + 'static {
    /// Before the upstream is chosen, in order of priority.
    fn request(&self, _x: &mut Exchange, _head: &mut RequestHeader) -> Step {
        Step::Next
    }

    /// Whether `wait` is called instead of `request`.
    fn waits(&self) -> bool {
        false
    }

    /// The same as `request` for plugins that ask others.
    fn wait<'a>(&'a self, x: &'a mut Exchange, head: &'a mut RequestHeader) -> Steps<'a> {
        Box::pin(std::future::ready(self.request(x, head)))
    }

    /// The largest body it reads, if `request` reads it: then it is called when the body is there.
    fn reads_body(&self) -> Option<usize> {
        None
    }

    /// What it answers to a body that cannot be read.
    fn unreadable(&self) -> Option<&'static str> {
        None
    }

    /// Which side of the exchange it rewrites.
    fn rewrites(&self) -> Option<Rewrites> {
        None
    }

    /// Gives the body that takes the place of the client's.
    fn rewrite_request<'a>(&'a self, _turn: Turn<'a>, body: Bytes) -> Wait<'a, Bytes> {
        Box::pin(std::future::ready(Ok(body)))
    }

    /// Gives the answer that takes the place of the upstream's.
    fn rewrite_answer<'a>(&'a self, _turn: Turn<'a>, answer: Whole) -> Wait<'a, Whole> {
        Box::pin(std::future::ready(Ok(answer)))
    }

    /// Names of headers, query arguments and fields of the body that hold its consumers' credentials: no
    /// log shows what stands there.
    fn credentials(&self) -> &[String] {
        &[]
    }

    /// The targets that it sends requests to: it makes its route an AI route.
    fn targets(&self) -> Option<&Arc<Targets>> {
        None
    }

    /// Which of Kong's metrics it switches on.
    fn switches(&self) -> Option<Switches> {
        None
    }

    /// Whether `log` wants to be called.
    fn logs(&self) -> bool {
        false
    }

    /// After the exchange.
    fn log(&self, _record: &LogRecord<'_>) {}

    /// The same for plugins that want more of it than its record.
    fn ended(&self, _x: &Exchange, record: &LogRecord<'_>) {
        self.log(record);
    }
}

/// Takes the pairs out of a request's query whose name `dropped` tells.
pub fn drop_query(head: &mut RequestHeader, dropped: impl Fn(&str) -> bool) {
    let Some(query) = head.uri.query() else { return };
    let name_of = |pair: &str| {
        let pair = form_urlencoded::parse(pair.as_bytes()).next();
        pair.map(|(name, _)| name.into_owned()).unwrap_or_default()
    };
    if !query.split('&').any(|pair| dropped(&name_of(pair))) {
        return;
    }
    let kept: Vec<&str> = query.split('&').filter(|pair| !dropped(&name_of(pair))).collect();
    let path = head.uri.path();
    let target = if kept.is_empty() { path.to_owned() } else { format!("{path}?{}", kept.join("&")) };
    // A part of a valid target is a valid target.
    if let Ok(uri) = target.parse() {
        head.set_uri(uri);
    }
}
