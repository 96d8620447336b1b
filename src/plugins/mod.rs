//! The plugins: one file each, one line in the list, run in the order of Kong's priorities.

use self::consumers::Consumers;
use crate::config::schema::{Record, Rule};
use crate::error::{Error, Kind, Result};
use crate::exchange::Exchange;
use crate::log::record::Record as LogRecord;
use crate::meter::metrics::Switches;
use crate::target::Targets;
use crate::upstream::endpoint::Timeouts;
use bytes::Bytes;
use pingora::http::RequestHeader;
use serde_json::Value;
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
pub mod file_log;
pub mod key_auth;
pub mod prometheus;
pub mod rate_limiting;
pub mod redis;
pub mod request_termination;
pub mod transformer;

/// An entry of [`KINDS`]: what the configuration may say of a plugin, and what it becomes.
pub struct PluginKind {
    pub name: &'static str,
    /// Kong's: higher runs earlier.
    pub priority: i32,
    /// The schema of `config`.
    pub schema: fn() -> Record,
    /// The rules over the whole plugin entity, which name fields as `config.x`.
    pub rules: fn() -> Vec<Rule>,
    /// Whether an instance may be bound to a consumer or a group of them.
    pub consumer_scope: bool,
    /// Makes an instance of a checked `config`.
    pub build: fn(Conf<'_>) -> Result<Arc<dyn Plugin>>,
}

/// Every plugin that a configuration may name.
pub static KINDS: &[&PluginKind] = &[
    &key_auth::KIND,
    &acl::KIND,
    &rate_limiting::KIND,
    &ai_request_transformer::KIND,
    &ai_prompt_template::KIND,
    &ai_prompt_decorator::KIND,
    &ai_prompt_guard::KIND,
    &ai_proxy::KIND,
    &ai_proxy_advanced::KIND,
    &ai_response_transformer::KIND,
    &prometheus::KIND,
    &file_log::KIND,
    &request_termination::KIND,
];

/// The plugin of that name.
pub fn find(name: &str) -> Option<&'static PluginKind> {
    KINDS.iter().copied().find(|kind| kind.name == name)
}

/// What an instance is made of.
#[derive(Clone, Copy)]
pub struct Conf<'a> {
    pub id: Uuid,
    pub name: &'static str,
    pub config: &'a Value,
    /// Of the service that the route belongs to.
    pub timeouts: Timeouts,
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
}

impl From<Result<()>> for Step {
    fn from(result: Result<()>) -> Self {
        result.map_or_else(Self::Fail, |()| Self::Next)
    }
}

/// A plugin's own answer.
pub struct Reply {
    pub status: u16,
    pub content_type: String,
    pub body: Bytes,
}

/// Why a request ends before its upstream was asked.
pub enum Stop {
    Error(Error),
    Reply(Box<Reply>),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// A plugin instance. Every hook is optional.
pub trait Plugin: Send + Sync + 'static {
    /// Before the upstream is chosen, in order of priority.
    fn request(&self, _x: &mut Exchange, _head: &mut RequestHeader) -> Step {
        Step::Next
    }

    /// The largest body it reads, if `request` reads it: then it is called when the body is there.
    fn reads_body(&self) -> Option<usize> {
        None
    }

    /// What it answers to a body that cannot be read.
    fn unreadable(&self) -> Option<&'static str> {
        None
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

    /// What this release does not do although the configuration asks for it.
    fn unserved(&self) -> Option<String> {
        None
    }
}

/// A plugin that can be configured and is not run by this release. Its routes are closed: to pass
/// a request that a guard or a key should have stopped would be worse than to refuse it.
struct Unserved(&'static str);

impl Plugin for Unserved {
    fn request(&self, _x: &mut Exchange, _head: &mut RequestHeader) -> Step {
        let name = self.0;
        Step::Fail(Error::new(
            Kind::Unsupported,
            format!("plugin '{name}' is not served by this release of tollgate"),
        ))
    }

    fn unserved(&self) -> Option<String> {
        Some(format!("plugin '{}'", self.0))
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

/// Builds the stand-in of a plugin that this release does not run.
pub fn unserved(conf: Conf<'_>) -> Result<Arc<dyn Plugin>> {
    Ok(Arc::new(Unserved(conf.name)))
}
