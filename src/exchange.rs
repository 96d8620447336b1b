//! What one request owns on its way through the gateway, grouped by stage.

use crate::accept::id::RequestId;
use crate::accept::room::Held;
use crate::accept::{Client, Patience};
use crate::config::entities::Consumer;
use crate::error::{Error, Kind};
use crate::log::trace::Trace;
use crate::meter::account::Account;
use crate::meter::metrics::SERIES;
use crate::plugins::chain::Chain;
use crate::polling;
use crate::provider::native::NativeFormat;
use crate::snapshot::{Entry, Snapshot};
use crate::target::{Targets, consult};
use crate::wire::doc::Doc;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use uuid::Uuid;

/// One request, from its head to its log line.
pub struct Exchange {
    /// What it is called in logs and answers.
    pub id: RequestId,
    /// When its head was there.
    pub begun: Instant,
    /// Milliseconds since the epoch.
    pub started_at: u64,
    /// The configuration in force when the request came; it stays for the whole request.
    pub snapshot: Arc<Snapshot>,
    /// When it is over, whatever becomes of it.
    pub until: Option<Instant>,
    /// Who asks: the other end of the connection, or whom a trusted proxy there names.
    pub client: Option<IpAddr>,
    /// The two ends of its connection.
    pub ends: Ends,
    /// What its own caller knows it by, or a plugin made for it.
    pub correlation_id: Option<String>,
    /// How much more body than its head says may come, if a plugin bounds it.
    pub bound: Option<Bound>,
    /// The room that its body takes.
    pub held: Held,
    /// Once one has matched.
    pub route: Option<Matched>,
    /// Once a plugin has found out who asks.
    pub consumer: Option<Arc<Consumer>>,
    /// On AI routes, once the body has been read.
    pub ai: Option<AiSide>,
    /// Towards upstreams.
    pub upstream: UpstreamSide,
    /// Towards the client.
    pub answer: AnswerSide,
    /// What plugins asked models on its behalf.
    pub consulted: Consulted,
    /// Its place in a distributed trace, if a plugin traces it.
    pub trace: Option<Box<Trace>>,
    _in_flight: InFlight,
}

/// The two ends of the client's connection, as the gateway's host sees them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ends {
    /// Ours.
    pub server: Option<SocketAddr>,
    /// The other.
    pub client: Option<SocketAddr>,
    /// Whether it is encrypted.
    pub tls: bool,
    /// Whether the other end is a proxy that is believed what it says of the client.
    pub trusted: bool,
}

impl Ends {
    /// `http` or `https`, as it was spoken to us.
    pub fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }
}

/// The bound of a body whose length is not stated, and what to answer to one beyond.
pub struct Bound {
    /// Most bytes.
    pub limit: usize,
    /// Those that came so far.
    pub taken: usize,
    /// The answer to more.
    pub error: Error,
}

/// The matched route.
pub struct Matched {
    /// The route with its plugins and its service.
    pub entry: Arc<Entry>,
    /// What the named groups of its pattern matched.
    pub captures: Vec<(Arc<str>, String)>,
    /// The path for the upstream of a plain route.
    pub path: String,
    /// What `strip_path` took off.
    pub prefix: Option<String>,
}

/// What only AI exchanges have.
pub struct AiSide {
    /// Those that it may go to.
    pub targets: Arc<Targets>,
    /// The request, parsed and edited by plugins.
    pub doc: Doc,
    /// The request before a template replaced it, if it is to be logged.
    pub original: Option<Bytes>,
    /// Where the client speaks the provider's own API: what it sent. `doc` is a view of it then.
    pub native: Option<NativeSide>,
    /// The target that was chosen last.
    pub target: usize,
    /// The attempts so far, in order.
    pub tried: Vec<Tried>,
    /// The model that was asked for.
    pub model: String,
    /// The model that the upstream says it ran.
    pub response_model: Option<String>,
    /// What the provider adds to the log.
    pub meta: crate::provider::Meta,
    /// Whether the client's answer is a stream.
    pub stream: bool,
    /// Open from the first attempt on; the last one's in the end.
    pub account: Option<Box<Account>>,
}

/// A request in the provider's own words.
pub struct NativeSide {
    /// Whose words.
    pub format: &'static dyn NativeFormat,
    /// As the client wrote it.
    pub body: Doc,
    /// The view of it before plugins edited it.
    pub view: Doc,
    /// Whether it asks for a stream.
    pub stream: bool,
}

/// What happened towards upstreams.
#[derive(Default)]
pub struct UpstreamSide {
    /// Time spent waiting for upstreams.
    pub waited: Duration,
    /// The part of it after the head of the answer had come.
    pub received: Duration,
    /// The last answer's.
    pub status: Option<u16>,
    /// The last path and query that was asked for.
    pub uri: Option<String>,
    /// In order.
    pub tries: Vec<Try>,
}

/// One try of one upstream.
pub struct Try {
    /// None if nobody was reached.
    pub address: Option<SocketAddr>,
    /// From the request's arrival, in milliseconds.
    pub at: u64,
    /// Why it was not the last, or why the last was no success: `next` or `failed`.
    pub state: Option<&'static str>,
    /// The status with which it failed.
    pub code: Option<u16>,
}

/// One attempt at one target.
pub struct Tried {
    /// Its place among the route's targets.
    pub target: usize,
    /// None if nobody was reached.
    pub address: Option<SocketAddr>,
    /// Of the answer; none if there was none.
    pub status: Option<u16>,
    /// When it began.
    pub begun: Instant,
    /// How long it took; none if it is under way.
    pub took: Option<Duration>,
    /// `ok`, or what went wrong.
    pub reason: Cow<'static, str>,
}

/// Calls that plugins made.
#[derive(Default)]
pub struct Consulted {
    /// In order.
    pub calls: Vec<PluginCall>,
    /// Time spent waiting for them.
    pub waited: Duration,
}

/// A call that a plugin made to a model of its own.
pub struct PluginCall {
    /// Under which key of `ai` the log has it.
    pub log_key: &'static str,
    /// The instance.
    pub plugin: Uuid,
    /// The call.
    pub call: consult::Consulted,
}

/// What happened towards the client.
#[derive(Default)]
pub struct AnswerSide {
    /// Time spent waiting for the client's body.
    pub waited: Duration,
    /// The answer's, once there is one.
    pub status: Option<u16>,
    /// The answer's, if the log wants them.
    pub headers: Option<HeaderMap>,
    /// Why the gateway answered by itself.
    pub error: Option<Error>,
    /// It hung up before the end.
    pub client_gone: bool,
    /// Headers that plugins add to the answer, whoever gives it, or take away (`None`).
    pub added: Vec<(HeaderName, Option<HeaderValue>)>,
    /// Where a request is sent that must come by HTTPS: status, and location if it is a redirection.
    pub redirect: Option<(u16, Option<String>)>,
}

impl AnswerSide {
    /// Has a header in the answer, whoever gives it.
    pub fn add(&mut self, name: HeaderName, value: HeaderValue) {
        self.added.push((name, Some(value)));
    }
}

impl Exchange {
    /// A request that has just come.
    pub fn new(snapshot: Arc<Snapshot>) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            id: RequestId::random(),
            begun: Instant::now(),
            started_at: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            snapshot,
            until: None,
            client: None,
            ends: Ends::default(),
            correlation_id: None,
            bound: None,
            held: Held::default(),
            route: None,
            consumer: None,
            ai: None,
            upstream: UpstreamSide::default(),
            answer: AnswerSide::default(),
            consulted: Consulted::default(),
            trace: None,
            _in_flight: InFlight::begin(),
        }
    }

    /// The route's entry, once a route has matched.
    pub fn entry(&self) -> Option<&Arc<Entry>> {
        self.route.as_ref().map(|route| &route.entry)
    }

    /// The plugins of the request.
    pub fn chain(&self) -> &Chain {
        let consumer = self.consumer.as_deref();
        self.route.as_ref().map_or(&self.snapshot.unrouted, |route| route.entry.chain_of(consumer))
    }

    /// What the upstream of the attempt under way is told of the trace.
    pub fn trace_headers(&self) -> Vec<(HeaderName, HeaderValue)> {
        let number = self.upstream.tries.len().saturating_sub(1);
        self.trace.as_ref().map(|trace| trace.headers(number)).unwrap_or_default()
    }

    /// Milliseconds since the request came.
    pub fn age_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Reads the client's body, of at most `limit` bytes, or fewer if a plugin bounds it.
    pub async fn read_body(
        &mut self,
        client: &mut Client<'_>,
        limit: usize,
        patience: Patience,
    ) -> Result<Bytes, Error> {
        let from = Instant::now();
        let most = self.bound.as_ref().map_or(limit, |bound| bound.limit.min(limit));
        let body = client.body(most, patience, &mut self.held).await;
        self.answer.waited += from.elapsed();
        body.map_err(|error| self.over_bound(error, limit))
    }

    /// The error for a body that could not be read within a bound, where `own` is the reader's.
    fn over_bound(&self, error: Error, own: usize) -> Error {
        let bound = self.bound.as_ref().filter(|bound| bound.limit < own && error.kind() == Kind::TooLarge);
        bound.map_or(error, |bound| bound.error.clone())
    }

    /// Counts a piece of a body that is passed on. An error: it is beyond its bound.
    pub fn take_body(&mut self, length: usize) -> Result<(), Error> {
        let Some(bound) = &mut self.bound else { return Ok(()) };
        bound.taken = bound.taken.saturating_add(length);
        if bound.taken > bound.limit { Err(bound.error.clone()) } else { Ok(()) }
    }

    /// How long it may still take, of a wait that would be this long on its own.
    pub fn remaining(&self, own: Duration) -> Duration {
        self.until.map_or(own, |until| until.saturating_duration_since(Instant::now()).min(own))
    }

    /// Whether its time is over.
    pub fn is_overdue(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
    }

    /// The gateway's own part of the time so far.
    pub fn own_time(&self) -> Duration {
        let waited = self.upstream.waited + self.answer.waited + self.consulted.waited;
        self.begun.elapsed().saturating_sub(waited)
    }
}

/// Counts the exchange as under way, until it is dropped: also after a panic.
struct InFlight;

impl InFlight {
    fn begin() -> Self {
        SERIES.in_flight.inc();
        polling::begun();
        SERIES.begun.inc();
        Self
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        SERIES.in_flight.dec();
    }
}
