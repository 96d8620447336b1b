//! From an exchange to its log record.

use crate::attempts::encode::{client_ip, host};
use crate::exchange::{AiSide, Exchange, PluginCall};
use crate::log::ai::{Ai, CompletionDetails, Exchange as AiExchange, Meta, Payload, PromptDetails, Usage};
use crate::log::record::{Latencies, Record, Request, Response, Try};
use crate::meter::account::Settlement;
use crate::meter::cost::Amount;
use crate::plugins::Plugin;
use crate::wire::doc::Doc;
use bytes::Bytes;
use http::HeaderMap;
use http::uri::PathAndQuery;
use pingora_proxy::Session;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Hands the record of an exchange to every logging plugin.
pub fn write(session: &Session, x: &mut Exchange, loggers: &[Arc<dyn Plugin>]) {
    let settlement = x.ai.as_mut().and_then(|ai| Some(ai.account.as_mut()?.settle().clone()));
    let plugin = x.ai.as_ref().map(|ai| ai.targets.plugin.to_string()).unwrap_or_default();
    let entry = x.entry().cloned();
    let chain = entry.as_ref().map(|entry| entry.chain_of(x.consumer.as_deref()));
    let hidden: Vec<&str> = chain.map(|chain| chain.credentials().collect()).unwrap_or_default();
    let request_text = x.ai.as_ref().map(|ai| shown(&ai.doc, &hidden)).unwrap_or_default();
    let request_text = String::from_utf8_lossy(&request_text);
    let part = x.ai.as_ref().zip(settlement.as_ref()).and_then(|(ai, settled)| {
        let target = ai.targets.list.get(ai.target)?;
        target.conf.logging.log_statistics.then(|| ai_part(ai, settled, &plugin, &request_text))
    });
    let key = x.ai.as_ref().map_or("", |ai| ai.targets.log_key);
    let mut ai: Vec<(&str, Ai<'_>)> = part.iter().map(|part| (key, Ai::Exchange(part))).collect();
    let original = x.ai.as_ref().and_then(|ai| ai.original.clone()).map(|original| {
        let original = Doc::parse(original.clone()).map_or(original, |doc| shown(&doc, &hidden));
        String::from_utf8_lossy(&original).into_owned()
    });
    let calls: Vec<Called> = std::mem::take(&mut x.consulted.calls).into_iter().map(Called::new).collect();
    let parts: Vec<_> = calls.iter().filter_map(Called::part).collect();
    ai.extend(parts.iter().map(|(key, part)| (*key, Ai::Exchange(part))));
    ai.extend(original.as_deref().map(|original_request| ("payload", Ai::Original { original_request })));
    let tries = tries(x);
    let none = HeaderMap::new();
    let route = x.entry();
    let record = Record {
        request: request(session, x, &hidden),
        upstream_uri: x.upstream.uri.as_deref().unwrap_or_default(),
        upstream_status: x.upstream.status.as_slice(),
        response: response(session, x, &none),
        latencies: latencies(x),
        tries: &tries,
        route: route.map(|entry| &entry.route),
        service: route.and_then(|entry| entry.service.as_deref()),
        consumer: x.consumer.as_deref(),
        client_ip: client_ip(session),
        started_at: x.started_at,
        proxied: x.upstream.status.is_some() && x.answer.error.is_none(),
        ai: &ai,
    };
    for logger in loggers {
        logger.log(&record);
    }
}

/// A body as the log may show it: without the keys of clients.
fn shown(doc: &Doc, hidden: &[&str]) -> Bytes {
    if !hidden.iter().any(|name| doc.has(name)) {
        return doc.bytes();
    }
    let mut doc = doc.clone();
    for name in hidden {
        doc.remove(name);
    }
    doc.bytes()
}

fn request<'a>(session: &'a Session, x: &'a Exchange, hidden: &'a [&'a str]) -> Request<'a> {
    let head = session.req_header();
    let port = session.server_addr().and_then(|address| address.as_inet()).map_or(80, SocketAddr::port);
    Request {
        id: x.id.as_str(),
        method: head.method.as_str(),
        scheme: "http",
        host: host(session).split(':').next().unwrap_or_default(),
        port,
        uri: head.uri.path_and_query().map_or("/", PathAndQuery::as_str),
        headers: &head.headers,
        size: (head_size(&head.headers) + session.body_bytes_read()) as u64,
        hidden,
    }
}

fn response<'a>(session: &Session, x: &'a Exchange, none: &'a HeaderMap) -> Response<'a> {
    let headers = x.answer.headers.as_ref().unwrap_or(none);
    Response {
        status: x.answer.status.unwrap_or(499),
        headers,
        size: (head_size(headers) + session.body_bytes_sent()) as u64,
    }
}

/// What a head takes on the wire, but for its first line.
fn head_size(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum()
}

fn latencies(x: &Exchange) -> Latencies {
    let whole = x.begun.elapsed();
    let upstream = x.upstream.status.map(|_| x.upstream.waited);
    Latencies {
        kong: millis(x.own_time()),
        proxy: upstream.map_or(-1, |waited| i64::try_from(waited.as_millis()).unwrap_or(i64::MAX)),
        request: millis(whole),
        receive: millis(x.upstream.received),
    }
}

fn tries(x: &Exchange) -> Vec<Try> {
    let one = |attempt: &crate::exchange::Try| {
        attempt.address.map(|address| Try {
            ip: address.ip(),
            port: address.port(),
            balancer_start: x.started_at + attempt.at,
            balancer_latency: 0,
            state: None,
            code: None,
        })
    };
    x.upstream.tries.iter().filter_map(one).collect()
}

fn ai_part<'a>(ai: &'a AiSide, settled: &'a Settlement, plugin: &'a str, request: &'a str) -> AiExchange<'a> {
    let target = ai.targets.list.get(ai.target);
    let payloads = target.is_some_and(|target| target.conf.logging.log_payloads);
    AiExchange {
        meta: Meta {
            plugin_id: plugin,
            provider_name: target.map_or("", |target| target.provider),
            request_model: &ai.model,
            response_model: ai.response_model.as_deref().or(Some(&ai.model)),
            llm_latency: Some(millis(settled.times.provider)),
            request_mode: Some(if settled.streamed { "stream" } else { "oneshot" }),
            own: &ai.meta,
        },
        usage: usage(settled),
        payload: payloads.then_some(Payload { request: Some(request), response: settled.text.as_deref() }),
    }
}

/// A plugin's call to a model, closed.
struct Called {
    of: PluginCall,
    settled: Settlement,
    plugin: String,
    request: String,
}

impl Called {
    fn new(mut of: PluginCall) -> Self {
        let settled = of.call.account.settle().clone();
        let request = String::from_utf8_lossy(&of.call.request.bytes()).into_owned();
        Self { plugin: of.plugin.to_string(), settled, request, of }
    }

    /// Its part of the record and the part's key, if it is to be logged.
    ///
    // KONG(kong/llm/drivers/shared.lua): writes the payload of such a call also without log_statistics,
    // which keeps it from the log for every other plugin.
    fn part(&self) -> Option<(&'static str, AiExchange<'_>)> {
        let call = &self.of.call;
        let response = self.settled.text.as_deref();
        let part = AiExchange {
            meta: Meta {
                plugin_id: &self.plugin,
                provider_name: call.provider,
                request_model: &call.model,
                response_model: call.response_model.as_deref().or(Some(&call.model)),
                llm_latency: Some(millis(self.settled.times.provider)),
                request_mode: Some("oneshot"),
                own: &call.meta,
            },
            usage: usage(&self.settled),
            payload: call.logging.log_payloads.then_some(Payload { request: Some(&self.request), response }),
        };
        call.logging.log_statistics.then_some((self.of.log_key, part))
    }
}

#[allow(clippy::cast_precision_loss)] // token counts are far below 2^52
fn usage(settled: &Settlement) -> Usage {
    let Some(tally) = &settled.tally else { return Usage::default() };
    let tokens = tally.completion.tokens;
    Usage {
        prompt_tokens: Some(tally.prompt.tokens),
        completion_tokens: Some(tokens),
        total_tokens: Some(tally.total()),
        cost: tally.cost.map(Amount::as_f64),
        time_per_token: (tokens > 0).then_some(settled.times.provider.as_secs_f64() * 1e3 / tokens as f64),
        time_to_first_token: settled.times.first_token.map(millis),
        prompt_tokens_details: (tally.cached.is_some() || tally.cache_write.is_some())
            .then_some(PromptDetails { cached_tokens: tally.cached, cache_write_tokens: tally.cache_write }),
        completion_tokens_details: tally
            .reasoning
            .map(|reasoning_tokens| CompletionDetails { reasoning_tokens }),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
