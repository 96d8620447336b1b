//! From an exchange to its log record.

use crate::accept::Client;
use crate::exchange::{AiSide, Exchange, PluginCall};
use crate::log::ai::{
    Ai, CompletionDetails, Exchange as AiExchange, Meta, Payload, PromptDetails, TriedTarget, Usage,
};
use crate::log::record::{Latencies, Record, Request, Response, Try};
use crate::meter::account::Settlement;
use crate::meter::cost::Amount;
use crate::plugins::Plugin;
use crate::wire::doc::Doc;
use bytes::Bytes;
use http::HeaderMap;
use http::uri::PathAndQuery;
use std::sync::Arc;
use std::time::Duration;

/// Hands the record of an exchange to every logging plugin.
pub fn write(client: &Client<'_>, x: &mut Exchange, loggers: &[Arc<dyn Plugin>]) {
    if let (Some(trace), Some(account)) = (&mut x.trace, x.ai.as_ref().and_then(|ai| ai.account.as_ref())) {
        trace.reasons = account.finish_reasons();
    }
    let settlement = x.ai.as_mut().and_then(|ai| Some(ai.account.as_mut()?.settle().clone()));
    let plugin = x.ai.as_ref().map(|ai| ai.targets.plugin.to_string()).unwrap_or_default();
    let entry = x.entry().cloned();
    let chain = entry.as_ref().map(|entry| entry.chain_of(x.consumer.as_deref()));
    let hidden: Vec<&str> = chain.map(|chain| chain.credentials().collect()).unwrap_or_default();
    let request_text = x.ai.as_ref().map(|ai| shown(&ai.doc, &hidden)).unwrap_or_default();
    let request_text = String::from_utf8_lossy(&request_text);
    let attempts = x.ai.as_ref().map(tried_targets).unwrap_or_default();
    let part = x.ai.as_ref().and_then(|ai| {
        let target = ai.targets.list.get(ai.target)?;
        let told = settlement.is_some() || !attempts.is_empty();
        (told && target.conf.logging.log_statistics).then(|| Exchanged {
            ai,
            settled: settlement.as_ref(),
            plugin: &plugin,
            request: &request_text,
            attempts: &attempts,
        })
    });
    let part = part.map(|exchanged| exchanged.part());
    let key = x.ai.as_ref().map_or("", |ai| ai.targets.log_key);
    let mut ai: Vec<(&str, Ai<'_>)> = part.iter().map(|part| (key, Ai::Exchange(part))).collect();
    let original = x.ai.as_ref().and_then(|ai| ai.original.clone()).map(|original| {
        let original = Doc::parse(original.clone()).map_or(original, |doc| shown(&doc, &hidden));
        String::from_utf8_lossy(&original).into_owned()
    });
    let calls: Vec<Called<'_>> = x.consulted.calls.iter().filter_map(Called::new).collect();
    let parts: Vec<_> = calls.iter().filter_map(Called::part).collect();
    ai.extend(parts.iter().map(|(key, part)| (*key, Ai::Exchange(part))));
    ai.extend(original.as_deref().map(|original_request| ("payload", Ai::Original { original_request })));
    let tries = tries(x);
    let none = HeaderMap::new();
    let statuses = statuses(x);
    let route = x.entry();
    let record = Record {
        request: request(client, x, &hidden),
        upstream_uri: x.upstream.uri.as_deref().unwrap_or_default(),
        upstream_status: &statuses,
        response: response(client, x, &none),
        latencies: latencies(x),
        tries: &tries,
        route: route.map(|entry| &entry.route),
        service: route.and_then(|entry| entry.service.as_deref()),
        correlation_id: x.correlation_id.as_deref(),
        consumer: x.consumer.as_deref(),
        client_ip: x.client,
        started_at: x.started_at,
        proxied: x.upstream.status.is_some() && x.answer.error.is_none(),
        ai: &ai,
    };
    for logger in loggers {
        logger.ended(x, &record);
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

/// What the client asked.
pub fn request<'a>(client: &'a Client<'_>, x: &'a Exchange, hidden: &'a [&'a str]) -> Request<'a> {
    let head = client.head();
    let port = x.ends.server.map_or(80, |address| address.port());
    Request {
        id: x.id.as_str(),
        method: head.method.as_str(),
        scheme: x.ends.scheme(),
        host: client.host().split(':').next().unwrap_or_default(),
        port,
        uri: head.uri.path_and_query().map_or("/", PathAndQuery::as_str),
        headers: &head.headers,
        size: (head_size(&head.headers) + client.received()) as u64,
        hidden,
    }
}

fn response<'a>(client: &Client<'_>, x: &'a Exchange, none: &'a HeaderMap) -> Response<'a> {
    let headers = x.answer.headers.as_ref().unwrap_or(none);
    Response {
        status: x.answer.status.unwrap_or(499),
        headers,
        size: (head_size(headers) + client.sent()) as u64,
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

/// Of all upstream answers, in order.
fn statuses(x: &Exchange) -> Vec<u16> {
    match &x.ai {
        Some(ai) => ai.tried.iter().filter_map(|tried| tried.status).collect(),
        None => x.upstream.status.into_iter().collect(),
    }
}

fn tries(x: &Exchange) -> Vec<Try> {
    let one = |attempt: &crate::exchange::Try| {
        attempt.address.map(|address| Try {
            ip: address.ip(),
            port: address.port(),
            balancer_start: x.started_at + attempt.at,
            balancer_latency: 0,
            state: attempt.state,
            code: attempt.code,
        })
    };
    x.upstream.tries.iter().filter_map(one).collect()
}

/// The attempts, where there are several targets.
fn tried_targets(ai: &AiSide) -> Vec<TriedTarget<'_>> {
    if ai.targets.list.len() < 2 {
        return Vec::new();
    }
    ai.tried
        .iter()
        .filter_map(|tried| {
            let target = ai.targets.list.get(tried.target)?;
            Some(TriedTarget {
                provider: target.provider,
                model: target.conf.model.name.as_deref(),
                host: target.host(),
                ip: tried.address.map(|address| address.ip()),
                port: tried.address.map(|address| address.port()),
                route_type: target.conf.route_type.name(),
                status: tried.status,
                duration: millis(tried.took.unwrap_or_default()),
                reason: &tried.reason,
            })
        })
        .collect()
}

/// What the log says of an exchange with a provider.
struct Exchanged<'a> {
    ai: &'a AiSide,
    settled: Option<&'a Settlement>,
    plugin: &'a str,
    request: &'a str,
    attempts: &'a [TriedTarget<'a>],
}

impl<'a> Exchanged<'a> {
    fn part(&self) -> AiExchange<'a> {
        let ai = self.ai;
        let target = ai.targets.list.get(ai.target);
        let payloads = target.is_some_and(|target| target.conf.logging.log_payloads);
        let mode = |settled: &Settlement| if settled.streamed { "stream" } else { "oneshot" };
        let response = self.settled.and_then(|settled| settled.text.as_deref());
        AiExchange {
            meta: Meta {
                plugin_id: self.plugin,
                provider_name: target.map_or("", |target| target.provider),
                request_model: &ai.model,
                response_model: ai.response_model.as_deref().or(Some(&ai.model)),
                llm_latency: self.settled.map(|settled| millis(settled.times.provider)),
                request_mode: self.settled.map(mode),
                own: &ai.meta,
            },
            usage: self.settled.map(usage).unwrap_or_default(),
            payload: payloads.then_some(Payload { request: Some(self.request), response }),
            tried_targets: self.attempts,
        }
    }
}

/// A plugin's call to a model that went out, closed.
struct Called<'a> {
    of: &'a PluginCall,
    settled: &'a Settlement,
    plugin: String,
    request: String,
}

impl<'a> Called<'a> {
    fn new(of: &'a PluginCall) -> Option<Self> {
        let settled = of.call.account.as_ref()?.settled()?;
        let request = String::from_utf8_lossy(&of.call.request.bytes()).into_owned();
        Some(Self { plugin: of.plugin.to_string(), settled, request, of })
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
            usage: usage(self.settled),
            payload: call.logging.log_payloads.then_some(Payload { request: Some(&self.request), response }),
            tried_targets: &[],
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
