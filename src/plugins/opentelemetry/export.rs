//! Spans on their way to a collector, as OTLP's protobuf messages.
//!
//! A record of the queue is a message `ScopeSpans` that holds only spans. Fields of one message may stand
//! one after the other in any number, so a batch is put together of records as they are: what all have in
//! common, resource and scope, is written once around them.

use super::super::post::Server;
use crate::log::queue::Receiver;
use bytes::Bytes;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ScopeSpans, Span};
use opentelemetry_sdk::trace::SpanData;
use opentelemetry_semantic_conventions::attribute::{SERVICE_INSTANCE_ID, SERVICE_NAME, SERVICE_VERSION};
use prost::Message;
use std::collections::BTreeMap;
use std::sync::LazyLock;
use uuid::Uuid;

/// The numbers of the fields around the spans: `ExportTraceServiceRequest.resource_spans`,
/// `ResourceSpans.resource` and `.scope_spans`, `ScopeSpans.scope`.
const RESOURCE_SPANS: u32 = 1;
const RESOURCE: u32 = 1;
const SCOPE_SPANS: u32 = 2;
const SCOPE: u32 = 1;

/// This process among others of its name.
static INSTANCE: LazyLock<Uuid> = LazyLock::new(Uuid::new_v4);

/// The spans of one exchange, as a record of the queue.
pub fn encode(spans: Vec<SpanData>) -> Vec<u8> {
    let spans: Vec<Span> = spans.into_iter().map(Span::from).collect();
    ScopeSpans { scope: None, spans, schema_url: String::new() }.encode_to_vec()
}

/// The collector.
pub struct Collector {
    server: Server,
    /// What stands before the spans: the scope, and the resource.
    scope: Vec<u8>,
    resource: Vec<u8>,
}

impl Collector {
    /// The collector behind a server; `own` is what the configuration says of this gateway.
    pub fn new(server: Server, own: Option<&BTreeMap<String, String>>) -> Self {
        let name = env!("CARGO_PKG_NAME").to_owned();
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let mut all = BTreeMap::from([
            (SERVICE_NAME.to_owned(), name.clone()),
            (SERVICE_VERSION.to_owned(), version.clone()),
            (SERVICE_INSTANCE_ID.to_owned(), INSTANCE.to_string()),
        ]);
        all.extend(own.into_iter().flatten().map(|(name, value)| (name.clone(), value.clone())));
        let attributes = all.into_iter().map(|(key, value)| text(key, value)).collect();
        let resource = Resource { attributes, ..Resource::default() };
        let scope = InstrumentationScope { name, version, ..InstrumentationScope::default() };
        let mut collector = Self { server, scope: Vec::new(), resource: Vec::new() };
        put(SCOPE, &scope.encode_to_vec(), &mut collector.scope);
        put(RESOURCE, &resource.encode_to_vec(), &mut collector.resource);
        collector
    }

    /// The whole request for a batch of records.
    fn request(&self, batch: &[Vec<u8>]) -> Vec<u8> {
        let mut inner = self.scope.clone();
        for spans in batch {
            inner.extend_from_slice(spans);
        }
        let mut middle = self.resource.clone();
        put(SCOPE_SPANS, &inner, &mut middle);
        let mut out = Vec::with_capacity(middle.len() + 16);
        put(RESOURCE_SPANS, &middle, &mut out);
        out
    }
}

impl Receiver for Collector {
    fn take(&mut self, batch: &[Vec<u8>]) -> Result<(), String> {
        let body = Bytes::from(self.request(batch));
        self.server.send(body)
    }
}

fn text(key: String, value: String) -> KeyValue {
    KeyValue { key, value: Some(AnyValue { value: Some(Value::StringValue(value)) }), ..KeyValue::default() }
}

/// A field that holds a message.
fn put(field: u32, message: &[u8], out: &mut Vec<u8>) {
    prost::encoding::encode_key(field, prost::encoding::WireType::LengthDelimited, out);
    prost::encoding::encode_varint(message.len() as u64, out);
    out.extend_from_slice(message);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::endpoint::Timeouts;
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use std::time::Duration;

    #[test]
    fn a_batch_of_records_is_one_message() {
        let step = Duration::from_secs(1);
        let timeouts = Timeouts { connect: step, read: step, write: step };
        let server =
            Server::new("traces_endpoint", "http://collector.test:4318/v1/traces", "x/y", timeouts).unwrap();
        let own = BTreeMap::from([
            ("service.name".to_owned(), "edge".to_owned()),
            ("a".to_owned(), "b".to_owned()),
        ]);
        let collector = Collector::new(server, Some(&own));
        let span = |name: &str| Span { name: name.to_owned(), ..Span::default() };
        let record = |names: &[&str]| {
            let spans = names.iter().map(|name| span(name)).collect();
            ScopeSpans { spans, ..ScopeSpans::default() }.encode_to_vec()
        };
        let body = collector.request(&[record(&["1", "2"]), record(&["3"])]);
        let request = ExportTraceServiceRequest::decode(body.as_slice()).unwrap();
        let [of] = request.resource_spans.as_slice() else { panic!("{request:?}") };
        let [scope] = of.scope_spans.as_slice() else { panic!("{of:?}") };
        let names: Vec<&str> = scope.spans.iter().map(|span| span.name.as_str()).collect();
        assert_eq!(names, ["1", "2", "3"]);
        assert_eq!(scope.scope.as_ref().unwrap().name, "tollgate");
        let attributes = &of.resource.as_ref().unwrap().attributes;
        assert!(attributes.contains(&text("service.name".to_owned(), "edge".to_owned())), "{attributes:?}");
        assert_eq!(attributes.len(), 4);
    }
}
