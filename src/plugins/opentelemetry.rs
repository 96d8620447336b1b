//! opentelemetry: takes part in distributed traces, and sends a span for each exchange and each attempt to
//! a collector, by OTLP over HTTP.
//!
//! A request only notes its place in the trace. Spans are made when its answer is out, and wait in a queue
//! like any log record. What was asked and answered is in none of them.

mod export;
mod schema;
mod spans;

use super::post::{self, Server};
use super::{Conf, Plugin, PluginKind, Step};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::exchange::Exchange;
use crate::log::queue::{Queue, Settings as QueueSettings};
use crate::log::record::Record as LogRecord;
use crate::log::trace::{self, Trace};
use crate::upstream::endpoint::Timeouts;
use export::Collector;
use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::trace::{SpanContext, SpanKind, TraceId};
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, ShouldSample};
use pingora::http::RequestHeader;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Its entry in the list of plugins.
pub static KIND: PluginKind =
    PluginKind { rules: schema::rules, ..PluginKind::new("opentelemetry", 14, schema::schema, build) };

#[derive(serde::Deserialize)]
struct Settings {
    traces_endpoint: Option<String>,
    headers: Option<BTreeMap<String, String>>,
    resource_attributes: Option<BTreeMap<String, String>>,
    queue: QueueSettings,
    batch_span_count: Option<usize>,
    batch_flush_delay: Option<f64>,
    connect_timeout: f64,
    send_timeout: f64,
    read_timeout: f64,
    http_response_header_for_traceid: Option<String>,
    header_type: String,
    sampling_rate: Option<f64>,
    sampling_strategy: Strategy,
    propagation: Propagation,
}

/// How the caller's own decision counts.
#[derive(Clone, Copy, PartialEq, Eq, serde::Deserialize)]
enum Strategy {
    /// What it leaves out is left out; of the rest so many.
    #[serde(rename = "parent_drop_probability_fallback")]
    Drop,
    /// It decides; of requests without a caller so many.
    #[serde(rename = "parent_probability_fallback")]
    Follow,
}

#[derive(serde::Deserialize)]
struct Propagation {
    extract: Option<Vec<String>>,
    clear: Option<Vec<String>>,
    inject: Option<Vec<String>>,
}

struct Tracer {
    /// `None`: contexts are propagated, and no span is sent.
    queue: Option<Arc<Queue>>,
    sampler: Sampler,
    strategy: Strategy,
    extract: bool,
    inject: bool,
    clear: Vec<HeaderName>,
    /// The header by which clients are told the trace.
    told: Option<HeaderName>,
}

fn build(conf: Conf<'_>) -> Result<Arc<dyn Plugin>> {
    let settings: Settings = conf.read()?;
    let bad = |why: String| Error::new(ErrorKind::Internal, why);
    let name = |text: &String| {
        HeaderName::try_from(text).map_err(|_| bad(format!("'{text}' is not the name of a header")))
    };
    let w3c = |list: &Option<Vec<String>>, other: bool| {
        list.as_ref().map_or(other, |list| list.iter().any(|one| one == "w3c" || one == "preserve"))
    };
    let preserve = settings.header_type != "ignore";
    let Propagation { extract, clear, inject } = &settings.propagation;
    Ok(Arc::new(Tracer {
        // KONG(observability/tracing): the rate that counts where none is set stands in kong.conf (0.01).
        // There is no such file here, and who configures a collector wants to see spans.
        sampler: Sampler::TraceIdRatioBased(settings.sampling_rate.unwrap_or(1.0)),
        strategy: settings.sampling_strategy,
        extract: w3c(extract, preserve),
        inject: w3c(inject, preserve),
        clear: clear.iter().flatten().map(name).collect::<Result<_>>()?,
        told: settings.http_response_header_for_traceid.as_ref().map(name).transpose()?,
        queue: queue(conf, &settings).map_err(bad)?,
    }))
}

/// The way to the collector, if one is configured.
fn queue(conf: Conf<'_>, settings: &Settings) -> std::result::Result<Option<Arc<Queue>>, String> {
    let Some(url) = &settings.traces_endpoint else { return Ok(None) };
    let timeouts = Timeouts {
        connect: post::millis(settings.connect_timeout),
        write: post::millis(settings.send_timeout),
        read: post::millis(settings.read_timeout),
    };
    let server = Server::new("traces_endpoint", url, "application/x-protobuf", timeouts)?;
    let server = server.headers(settings.headers.as_ref())?;
    let mut queue = settings.queue.clone();
    queue.max_batch_size = settings.batch_span_count.unwrap_or(queue.max_batch_size);
    queue.max_coalescing_delay = settings.batch_flush_delay.unwrap_or(queue.max_coalescing_delay);
    let own = settings.resource_attributes.as_ref();
    let key = format!("{} {}", conf.name, conf.config);
    Ok(Some(Queue::open(key, &queue, || Collector::new(server.another(), own))))
}

impl Tracer {
    /// The place of a request in its caller's trace, or in one that begins here.
    fn begin(&self, headers: &HeaderMap) -> Trace {
        let caller = if self.extract { trace::caller(headers) } else { None };
        let id = caller.as_ref().map_or_else(trace::new_id, SpanContext::trace_id);
        Trace::new(id, caller.as_ref(), self.samples(id, caller.as_ref()), self.inject)
    }

    fn samples(&self, id: TraceId, caller: Option<&SpanContext>) -> bool {
        match caller.map(SpanContext::is_sampled) {
            Some(false) => false,
            Some(true) if self.strategy == Strategy::Follow => true,
            _ => {
                let asked = self.sampler.should_sample(None, id, "", &SpanKind::Server, &[], &[]);
                asked.decision == SamplingDecision::RecordAndSample
            }
        }
    }
}

impl Plugin for Tracer {
    fn request(&self, x: &mut Exchange, head: &mut RequestHeader) -> Step {
        let trace = self.begin(&head.headers);
        for name in &self.clear {
            head.remove_header(name);
        }
        // A state that could not be read, or that belongs to no trace, is nobody's.
        if self.inject && trace.own().trace_state().header().is_empty() {
            head.remove_header("tracestate");
        }
        if let (Some(name), Ok(id)) = (&self.told, HeaderValue::try_from(trace.own().trace_id().to_string()))
        {
            x.answer.add(name.clone(), id);
        }
        x.trace = Some(Box::new(trace));
        Step::Next
    }

    fn logs(&self) -> bool {
        self.queue.is_some()
    }

    fn ended(&self, x: &Exchange, record: &LogRecord<'_>) {
        let Some(queue) = &self.queue else { return };
        // Who was turned away by a plugin before this one has a span all the same.
        let late = x.trace.is_none().then(|| self.begin(record.request.headers));
        if let Some(trace) = x.trace.as_deref().or(late.as_ref()).filter(|trace| trace.is_sampled()) {
            queue.add(export::encode(spans::of(x, record, trace)));
        }
    }
}
