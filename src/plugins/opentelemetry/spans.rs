//! From an exchange to its spans: one for the exchange, and below it one for each attempt, and one for each
//! call that a plugin made to a model of its own.
//!
//! Names and attributes are those of OpenTelemetry's semantic conventions for HTTP and for generative AI.
//! Queries, headers, prompts and answers stay out: no attribute holds what a client or a model wrote.

use crate::config::target::{Operation, OptionsConf};
use crate::exchange::{AiSide, Exchange, PluginCall, Tried};
use crate::log::record::Record;
use crate::log::trace::Trace;
use crate::meter::account::Settlement;
use crate::meter::metrics::ANSWERED;
use crate::provider;
use crate::target::Target;
use crate::wire::doc::Doc;
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status};
use opentelemetry::{Array, InstrumentationScope, KeyValue, StringValue, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use opentelemetry_semantic_conventions::attribute as name;
use std::borrow::Cow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The conventions for generative AI moved to a repository of their own, of which there is no crate; these
/// are those of its names that are used here.
mod gen_ai {
    /// `chat`, `text_completion`.
    pub const OPERATION_NAME: &str = "gen_ai.operation.name";
    /// Whose model it is.
    pub const PROVIDER: &str = "gen_ai.provider.name";
    /// Older than the provider's name, and what most backends still look for.
    pub const SYSTEM: &str = "gen_ai.system";
    /// The model that was asked for.
    pub const REQUEST_MODEL: &str = "gen_ai.request.model";
    /// As it was configured or asked for.
    pub const REQUEST_TEMPERATURE: &str = "gen_ai.request.temperature";
    /// As it was configured or asked for.
    pub const REQUEST_TOP_P: &str = "gen_ai.request.top_p";
    /// As it was configured or asked for.
    pub const REQUEST_MAX_TOKENS: &str = "gen_ai.request.max_tokens";
    /// The model that answered.
    pub const RESPONSE_MODEL: &str = "gen_ai.response.model";
    /// Why the answers ended.
    pub const RESPONSE_FINISH_REASONS: &str = "gen_ai.response.finish_reasons";
    /// Of the prompt, with what a cache held.
    pub const USAGE_INPUT_TOKENS: &str = "gen_ai.usage.input_tokens";
    /// Of the answer, with the reasoning.
    pub const USAGE_OUTPUT_TOKENS: &str = "gen_ai.usage.output_tokens";
    /// What a cache held.
    pub const USAGE_CACHE_READ_INPUT_TOKENS: &str = "gen_ai.usage.cache_read.input_tokens";
    /// What the model thought.
    pub const USAGE_REASONING_OUTPUT_TOKENS: &str = "gen_ai.usage.reasoning.output_tokens";
}

/// The spans of an exchange that is over.
pub fn of(x: &Exchange, record: &Record<'_>, trace: &Trace) -> Vec<SpanData> {
    let begun = UNIX_EPOCH + Duration::from_millis(x.started_at);
    let clock = Clock { x, begun, over: begun + x.begun.elapsed() };
    let mut spans = vec![exchange(record, trace, &clock)];
    match &x.ai {
        Some(ai) => spans.extend(ai.tried.iter().enumerate().map(|(number, tried)| {
            let last = number + 1 == ai.tried.len();
            below(trace, number, asked(ai, tried, last.then_some(trace), &clock))
        })),
        None => spans.extend(
            (0..x.upstream.tries.len())
                .filter_map(|number| Some(below(trace, number, forwarded(record, number, &clock)?))),
        ),
    }
    // Behind all attempts, so that no two have one id.
    let behind = x.upstream.tries.len().max(x.ai.as_ref().map_or(0, |ai| ai.tried.len()));
    let calls = x.consulted.calls.iter().enumerate();
    spans.extend(calls.map(|(number, call)| below(trace, behind + number, consulted(call, &clock))));
    spans
}

/// When things happened.
struct Clock<'a> {
    x: &'a Exchange,
    begun: SystemTime,
    over: SystemTime,
}

/// What a span says.
struct Said {
    name: Cow<'static, str>,
    from: SystemTime,
    until: SystemTime,
    attributes: Vec<KeyValue>,
    error: bool,
}

fn span(context: SpanContext, (parent, remote): (SpanId, bool), kind: SpanKind, said: Said) -> SpanData {
    SpanData {
        span_context: context,
        parent_span_id: parent,
        parent_span_is_remote: remote,
        span_kind: kind,
        name: said.name,
        start_time: said.from,
        end_time: said.until.max(said.from),
        attributes: said.attributes,
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: if said.error { Status::error("") } else { Status::Unset },
        instrumentation_scope: InstrumentationScope::default(),
    }
}

fn below(trace: &Trace, number: usize, said: Said) -> SpanData {
    span(trace.attempt(number), (trace.own().span_id(), false), SpanKind::Client, said)
}

/// The exchange as the client sees it.
fn exchange(record: &Record<'_>, trace: &Trace, clock: &Clock<'_>) -> SpanData {
    let (request, x) = (&record.request, clock.x);
    let route = record.route.and_then(|route| match route.paths.as_slice() {
        [path] => Some(path),
        _ => route.name.as_ref(),
    });
    let status = record.response.status;
    let mut all = vec![
        KeyValue::new(name::HTTP_REQUEST_METHOD, request.method.to_owned()),
        KeyValue::new(name::URL_PATH, request.uri.split('?').next().unwrap_or_default().to_owned()),
        KeyValue::new(name::URL_SCHEME, request.scheme.to_owned()),
        KeyValue::new(name::SERVER_ADDRESS, request.host.to_owned()),
        KeyValue::new(name::SERVER_PORT, i64::from(request.port)),
        KeyValue::new(name::HTTP_RESPONSE_STATUS_CODE, i64::from(status)),
        KeyValue::new("kong.request.id", request.id.to_owned()),
    ];
    let agent = request.headers.get(http::header::USER_AGENT).and_then(|value| value.to_str().ok());
    let texts = [
        (name::HTTP_ROUTE, route.cloned()),
        (name::CLIENT_ADDRESS, record.client_ip.map(|ip| ip.to_string())),
        (name::USER_AGENT_ORIGINAL, agent.map(str::to_owned)),
        ("kong.route.name", record.route.and_then(|route| route.name.clone())),
        ("kong.service.name", record.service.and_then(|service| service.name.clone())),
        ("kong.consumer.username", record.consumer.and_then(|consumer| consumer.username.clone())),
    ];
    all.extend(texts.into_iter().filter_map(|(name, text)| Some(KeyValue::new(name, text?))));
    let error = x.answer.error.as_ref().map(|error| error.kind().label().to_owned());
    let error = error.or_else(|| (status >= 500).then(|| status.to_string()));
    all.extend(error.map(|error| KeyValue::new(name::ERROR_TYPE, error)));
    let (method, route) = (request.method, route.map(String::as_str).unwrap_or_default());
    let said = Said {
        name: format!("{method} {route}").trim_end().to_owned().into(),
        from: clock.begun,
        until: clock.over,
        attributes: all,
        error: status >= 500,
    };
    let parent = trace.parent().map_or((SpanId::INVALID, false), |parent| (parent, true));
    span(trace.own().clone(), parent, SpanKind::Server, said)
}

/// An attempt at a model; `last` of them is the one whose answer counts.
fn asked(ai: &AiSide, tried: &Tried, last: Option<&Trace>, clock: &Clock<'_>) -> Said {
    let target = ai.targets.list.get(tried.target);
    let operation = target.and_then(|target| match target.conf.route_type {
        Operation::Chat => Some("chat"),
        Operation::Completions => Some("text_completion"),
        Operation::Preserve => None,
    });
    let configured = target.and_then(|target| target.conf.model.name.clone());
    let model = configured.unwrap_or_else(|| ai.model.clone());
    let mut all = model_of(target.map_or("", |target| target.provider), &model);
    all.extend(operation.map(|operation| KeyValue::new(gen_ai::OPERATION_NAME, operation)));
    all.extend(target.map(|target| parameters(&target.conf.model.options, &ai.doc)).unwrap_or_default());
    let address = tried.address;
    let host = target.and_then(Target::host).map(str::to_owned);
    let host = host.or_else(|| address.map(|address| address.ip().to_string()));
    all.extend(host.map(|host| KeyValue::new(name::SERVER_ADDRESS, host)));
    all.extend(address.map(|address| KeyValue::new(name::SERVER_PORT, i64::from(address.port()))));
    all.extend(ended(tried.status, &tried.reason));
    if let Some(trace) = last {
        let settled = ai.account.as_ref().and_then(|account| account.settled());
        all.extend(answered(ai.response_model.as_ref(), &trace.reasons, settled));
    }
    let from = clock.begun + tried.begun.saturating_duration_since(clock.x.begun);
    Said {
        name: format!("{} {model}", operation.unwrap_or("preserve")).into(),
        from,
        until: tried.took.map_or(clock.over, |took| from + took),
        attributes: all,
        error: tried.reason != ANSWERED,
    }
}

/// A plugin's own call to a model.
fn consulted(of: &PluginCall, clock: &Clock<'_>) -> Said {
    let call = &of.call;
    let mut all = model_of(call.provider, &call.model);
    all.push(KeyValue::new(gen_ai::OPERATION_NAME, "chat"));
    all.extend(parameters(&call.options, &call.request));
    all.push(KeyValue::new(name::SERVER_ADDRESS, call.host.clone()));
    all.push(KeyValue::new(name::SERVER_PORT, i64::from(call.port)));
    all.extend(ended(call.status, call.outcome));
    if let Some(account) = &call.account {
        all.extend(answered(call.response_model.as_ref(), &account.finish_reasons(), account.settled()));
    }
    all.push(KeyValue::new("kong.plugin.name", of.log_key));
    let from = clock.begun + call.began.saturating_duration_since(clock.x.begun);
    Said {
        name: format!("chat {}", call.model).into(),
        from,
        until: from + call.took,
        attributes: all,
        error: call.outcome != ANSWERED,
    }
}

/// Which model was asked.
fn model_of(provider: &str, model: &str) -> Vec<KeyValue> {
    let provider = provider::find(provider).map_or("", provider::Provider::semantic_name);
    vec![
        KeyValue::new(gen_ai::PROVIDER, provider),
        KeyValue::new(gen_ai::SYSTEM, provider),
        KeyValue::new(gen_ai::REQUEST_MODEL, model.to_owned()),
    ]
}

/// How an attempt ended.
fn ended(status: Option<u16>, outcome: &str) -> impl Iterator<Item = KeyValue> + use<> {
    let status = status.map(|status| KeyValue::new(name::HTTP_RESPONSE_STATUS_CODE, i64::from(status)));
    let error = (outcome != ANSWERED).then(|| KeyValue::new(name::ERROR_TYPE, outcome.to_owned()));
    status.into_iter().chain(error)
}

/// What was asked for beside the prompt: what is configured, or else the client's own.
fn parameters(options: &OptionsConf, doc: &Doc) -> Vec<KeyValue> {
    let asked = |key: &str| doc.field::<f64>(key).ok().flatten();
    let configured =
        |number: &Option<serde_json::Number>| number.as_ref().and_then(serde_json::Number::as_f64);
    let tokens = options.max_tokens.and_then(|most| i64::try_from(most).ok());
    let client = || doc.field::<i64>("max_tokens").ok().flatten();
    let later = || doc.field::<i64>("max_completion_tokens").ok().flatten();
    let numbers = [
        (gen_ai::REQUEST_TEMPERATURE, configured(&options.temperature).or_else(|| asked("temperature"))),
        (gen_ai::REQUEST_TOP_P, configured(&options.top_p).or_else(|| asked("top_p"))),
    ];
    let mut all: Vec<KeyValue> =
        numbers.into_iter().filter_map(|(name, number)| Some(KeyValue::new(name, number?))).collect();
    let tokens = tokens.or_else(client).or_else(later);
    all.extend(tokens.map(|most| KeyValue::new(gen_ai::REQUEST_MAX_TOKENS, most)));
    all
}

/// What came of it.
fn answered(model: Option<&String>, reasons: &[String], settled: Option<&Settlement>) -> Vec<KeyValue> {
    let mut all = Vec::new();
    all.extend(model.map(|model| KeyValue::new(gen_ai::RESPONSE_MODEL, model.clone())));
    if !reasons.is_empty() {
        let reasons = reasons.iter().cloned().map(StringValue::from).collect();
        all.push(KeyValue::new(gen_ai::RESPONSE_FINISH_REASONS, Value::Array(Array::String(reasons))));
    }
    let counts = settled
        .and_then(tally)
        .into_iter()
        .flatten()
        .filter_map(|(name, count)| Some(KeyValue::new(name, i64::try_from(count?).unwrap_or(i64::MAX))));
    all.extend(counts);
    all
}

type Counts = [(&'static str, Option<u64>); 4];

fn tally(settled: &Settlement) -> Option<Counts> {
    let tally = settled.tally?;
    Some([
        (gen_ai::USAGE_INPUT_TOKENS, Some(tally.prompt.tokens)),
        (gen_ai::USAGE_OUTPUT_TOKENS, Some(tally.completion.tokens)),
        (gen_ai::USAGE_CACHE_READ_INPUT_TOKENS, tally.cached),
        (gen_ai::USAGE_REASONING_OUTPUT_TOKENS, tally.reasoning),
    ])
}

/// An attempt at the service of a plain route.
fn forwarded(record: &Record<'_>, number: usize, clock: &Clock<'_>) -> Option<Said> {
    let attempts = &clock.x.upstream.tries;
    let attempt = attempts.get(number)?;
    let next = attempts.get(number + 1);
    let mut all = vec![KeyValue::new(name::HTTP_REQUEST_METHOD, record.request.method.to_owned())];
    let host = record.service.map(|service| service.host.clone());
    let host = host.or_else(|| attempt.address.map(|address| address.ip().to_string()));
    all.extend(host.map(|host| KeyValue::new(name::SERVER_ADDRESS, host)));
    all.extend(attempt.address.map(|address| KeyValue::new(name::SERVER_PORT, i64::from(address.port()))));
    let status = clock.x.upstream.status.filter(|_| next.is_none());
    all.extend(status.map(|status| KeyValue::new(name::HTTP_RESPONSE_STATUS_CODE, i64::from(status))));
    let error = match status {
        None => Some("unreachable".to_owned()),
        Some(status) => (status >= 400).then(|| status.to_string()),
    };
    let failed = error.is_some();
    all.extend(error.map(|error| KeyValue::new(name::ERROR_TYPE, error)));
    Some(Said {
        name: record.request.method.to_owned().into(),
        from: clock.begun + Duration::from_millis(attempt.at),
        until: next.map_or(clock.over, |next| clock.begun + Duration::from_millis(next.at)),
        attributes: all,
        error: failed,
    })
}
