//! The place of an exchange in a distributed trace: what its caller said in W3C's headers, and what goes on
//! to upstreams.
//!
//! Every attempt has a span id of its own, which follows from the exchange's and the attempt's number: so
//! the header that an upstream reads names the very span that is written for it later.

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};

/// An odd number far from small ones: steps of it never meet within a trace.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// The context of one exchange.
#[derive(Clone, Debug)]
pub struct Trace {
    /// Of the exchange's own span.
    own: SpanContext,
    /// The caller's span.
    parent: Option<SpanId>,
    /// Whether the caller's context goes on to upstreams as ours.
    propagate: bool,
    /// Why the answer ended, in OpenAI's words.
    pub reasons: Vec<String>,
}

/// What a client's headers say of its trace, if they say something that is valid.
pub fn caller(headers: &HeaderMap) -> Option<SpanContext> {
    let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &Carrier(headers));
    let caller = context.span().span_context().clone();
    caller.is_valid().then_some(caller)
}

/// A fresh id for a trace that begins here.
pub fn new_id() -> TraceId {
    RandomIdGenerator::default().new_trace_id()
}

impl Trace {
    /// A span of `id`, below the caller's if there is one.
    pub fn new(id: TraceId, caller: Option<&SpanContext>, sampled: bool, propagate: bool) -> Self {
        let flags = if sampled { TraceFlags::SAMPLED } else { TraceFlags::default() };
        let state = caller.map(|caller| caller.trace_state().clone()).unwrap_or_default();
        let span = RandomIdGenerator::default().new_span_id();
        Self {
            own: SpanContext::new(id, span, flags, false, state),
            parent: caller.map(SpanContext::span_id),
            propagate,
            reasons: Vec::new(),
        }
    }

    /// The exchange's own span.
    pub fn own(&self) -> &SpanContext {
        &self.own
    }

    /// The caller's span.
    pub fn parent(&self) -> Option<SpanId> {
        self.parent
    }

    /// Whether the spans are to be written.
    pub fn is_sampled(&self) -> bool {
        self.own.is_sampled()
    }

    /// The span of the attempt of that number, from 0.
    pub fn attempt(&self, number: usize) -> SpanContext {
        let own = u64::from_be_bytes(self.own.span_id().to_bytes());
        let steps = STEP.wrapping_mul(number as u64 + 1);
        // 0 is no id; there is one number in 2^64 that would lead to it.
        let id = match own.wrapping_add(steps) {
            0 => STEP,
            id => id,
        };
        let (flags, state) = (self.own.trace_flags(), self.own.trace_state().clone());
        SpanContext::new(self.own.trace_id(), SpanId::from(id), flags, false, state)
    }

    /// What the upstream of that attempt is told.
    pub fn headers(&self, number: usize) -> Vec<(HeaderName, HeaderValue)> {
        let mut out = Headers(Vec::with_capacity(2));
        if self.propagate {
            let context = Context::new().with_remote_span_context(self.attempt(number));
            TraceContextPropagator::new().inject_context(&context, &mut out);
        }
        out.0
    }
}

struct Carrier<'a>(&'a HeaderMap);

impl Extractor for Carrier<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

struct Headers(Vec<(HeaderName, HeaderValue)>);

impl Injector for Headers {
    fn set(&mut self, key: &str, value: String) {
        let pair = (HeaderName::try_from(key), HeaderValue::try_from(&value));
        if let ((Ok(name), Ok(held)), false) = (pair, value.is_empty()) {
            self.0.push((name, held));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_callers_trace_goes_on_with_a_span_for_each_attempt() {
        let caller = caller(&headers(&[("traceparent", PARENT), ("tracestate", "a=1,b=2")])).unwrap();
        let trace = Trace::new(caller.trace_id(), Some(&caller), true, true);
        assert_eq!(trace.parent().unwrap().to_string(), "b7ad6b7169203331");
        let mut ids = vec![trace.own().span_id()];
        for number in 0..4 {
            let sent = trace.headers(number);
            let id = trace.attempt(number).span_id();
            let expected = format!("00-0af7651916cd43dd8448eb211c80319c-{id}-01");
            assert_eq!(
                sent[0],
                (HeaderName::from_static("traceparent"), HeaderValue::try_from(expected).unwrap())
            );
            assert_eq!(sent[1], (HeaderName::from_static("tracestate"), HeaderValue::from_static("a=1,b=2")));
            assert!(!ids.contains(&id));
            ids.push(id);
        }
    }

    #[test]
    fn what_is_not_sampled_says_so_and_what_is_not_valid_is_no_caller() {
        let trace = Trace::new(new_id(), None, false, true);
        assert!(!trace.is_sampled() && trace.parent().is_none());
        let sent = trace.headers(0);
        assert!(sent.len() == 1 && sent[0].1.to_str().unwrap().ends_with("-00"), "{sent:?}");
        for bad in ["", "00-0-0-01", "00-00000000000000000000000000000000-b7ad6b7169203331-01", "zz"] {
            assert!(caller(&headers(&[("traceparent", bad)])).is_none(), "{bad}");
        }
        assert!(Trace::new(new_id(), None, true, false).headers(0).is_empty(), "kept to ourselves");
    }
}
