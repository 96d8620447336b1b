//! AI exchanges: pick a target, encode for it, send, judge, answer, and try the next one.
//!
//! It runs inside Pingora's `request_filter` and drives the upstream itself. On 0.9.1 this is the
//! way in which bodies of any size and framing work, the status may depend on the body, and an
//! exchange is metered to its end although its client has gone.

mod attempt;
pub mod collect;
pub mod downstream;
pub mod encode;
pub mod native;
mod plan;
pub mod relay;
pub mod rewritten;
mod round;
pub mod stream;

use crate::accept::{Client, Patience, form};
use crate::config::target::Operation;
use crate::error::{Error, Result};
use crate::exchange::{AiSide, Exchange};
use crate::phases::{self, Phase};
use crate::plugins::Stop;
use crate::provider::Call;
use crate::provider::native::Place;
use crate::respond::head::{self, Latency};
use crate::target::balance::{Bearing, Seen};
use crate::target::policy::Abandoned;
use crate::target::{Settled, Targets};
use crate::turns;
use crate::upstream::attempt::Connections;
use crate::wire::doc::Doc;
use downstream::Downstream;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use pingora::http::ResponseHeader;
use round::Round;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One try, as its parts see it.
pub struct Try<'a> {
    /// The target, as this request sees it.
    pub settled: &'a Settled,
    /// Its provider's name.
    pub provider: &'static str,
    /// What the dialect is told of the request.
    pub call: Call<'a>,
    /// The client speaks the provider's own API: its bytes pass.
    pub native: bool,
    /// `provider/model`, if the client is to see it.
    pub model_header: Option<HeaderValue>,
    /// Whether the answer's headers are kept for the log.
    pub logged: bool,
    /// What the client is told of time.
    pub latency: Latency,
    /// The exchange's id.
    pub id: &'a str,
    /// How long its stream may take.
    pub limits: Limits,
    /// Headers that plugins add to the answer.
    pub added: Vec<(HeaderName, Option<HeaderValue>)>,
}

/// What bounds a stream.
#[derive(Clone, Copy)]
pub struct Limits {
    /// When the model must have said something.
    pub first_by: Option<Instant>,
    /// Between two reads from then on.
    pub idle: Option<Duration>,
    /// What becomes of a stream whose client has gone.
    pub abandoned: Abandoned,
}

/// What the client got.
pub struct Outcome {
    /// Of the answer.
    pub status: u16,
    /// If the log wants them.
    pub headers: Option<HeaderMap>,
    /// The model that the upstream says it ran.
    pub model: Option<String>,
}

impl Try<'_> {
    /// The head of the client's answer, whose headers say already how its body is framed.
    pub fn head(&self, status: u16, mut headers: HeaderMap) -> pingora::Result<ResponseHeader> {
        if self.settled.operation() != Operation::Preserve {
            // A provider's session cookies belong to the gateway, not to its clients.
            headers.remove(header::SET_COOKIE);
        }
        if let Some(model) = self.model_header.as_ref().filter(|_| (200..300).contains(&status)) {
            headers.insert(head::LLM_MODEL.clone(), model.clone());
        }
        let mut head = head::proxied(status, headers, self.latency, self.id)?;
        head::add(&mut head, &self.added);
        Ok(head)
    }

    /// The headers as they went out, if the log wants them.
    pub fn seen(&self, head: &ResponseHeader) -> Option<HeaderMap> {
        self.logged.then(|| head.headers.clone())
    }

    /// Frames a body of unknown length.
    pub fn chunked(&self, down: &Downstream<'_>, headers: &mut HeaderMap) {
        if down.client.head().version == http::Version::HTTP_11 {
            headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
    }
}

/// Serves an AI exchange.
pub async fn serve(
    connections: &Arc<Connections>,
    patience: Patience,
    client: &mut Client<'_>,
    x: &mut Exchange,
) -> Result<(), Stop> {
    let Some(entry) = x.entry().cloned() else { return Err(collect::internal().into()) };
    let chain = entry.chain_of(x.consumer.as_deref());
    let Some(targets) = chain.targets.clone() else { return Err(collect::internal().into()) };
    let limit = chain.body_limit.unwrap_or(targets.max_body);
    let doc = read(connections, client, x, (&targets, limit), patience).await?;
    let native = match targets.native {
        Some(format) => Some(native::read(format, &place(client, x), doc.clone())?),
        None => None,
    };
    x.ai = Some(AiSide {
        targets: targets.clone(),
        doc: native.as_ref().map_or(doc, |side| side.view.clone()),
        native,
        original: None,
        target: 0,
        tried: Vec::new(),
        model: String::new(),
        response_model: None,
        meta: crate::provider::Meta::default(),
        stream: false,
        account: None,
    });
    if let Err(stop) = phases::run(&entry, Phase::Body, x, client.head_mut()).await {
        let body = x.ai.as_ref().map(|ai| ai.doc.bytes()).unwrap_or_default();
        return Err(stop.with_body(&body));
    }
    attempts(connections, client, x, &targets).await?;
    Ok(())
}

/// Tries targets until one has answered, or no further one may be tried: then the last error stands.
async fn attempts(
    connections: &Arc<Connections>,
    client: &mut Client<'_>,
    x: &mut Exchange,
    targets: &Targets,
) -> Result<()> {
    let bearing = bearing(connections, client, x, targets).await;
    let Some(ai) = &x.ai else { return Err(collect::internal()) };
    let mut round = Round::new(targets, &bearing, &ai.doc);
    let mut seat = round.first().map_err(|(error, left)| refuse(x, error, left))?;
    let mut down = Downstream::new(client.lend());
    while let Some(next) = attempt::attempt(connections, &mut down, x, &mut round, seat).await? {
        seat = next;
    }
    Ok(())
}

/// What the picks for this request rest on. The plugins have edited the prompt by now, or have stopped it.
async fn bearing(
    connections: &Arc<Connections>,
    client: &Client<'_>,
    x: &mut Exchange,
    targets: &Targets,
) -> Bearing {
    let Some(ai) = x.ai.as_ref().filter(|_| targets.list.len() > 1) else { return Bearing::default() };
    let seen = Seen { headers: &client.head().headers, id: x.id.as_str(), doc: &ai.doc };
    let from = Instant::now();
    let bearing = targets.balancer.bearing(connections, &seen).await;
    x.upstream.waited += from.elapsed();
    bearing
}

/// Tells the client when to come again.
fn refuse(x: &mut Exchange, error: Error, left: Duration) -> Error {
    let seconds = left.as_millis().div_ceil(1000).max(1);
    x.answer.add(header::RETRY_AFTER, HeaderValue::from(u64::try_from(seconds).unwrap_or(u64::MAX)));
    error
}

/// Where the request was sent, for clients that speak the provider's own API.
fn place<'a>(client: &'a Client<'_>, x: &'a Exchange) -> Place<'a> {
    let captures = x.route.as_ref().map(|route| route.captures.as_slice()).unwrap_or_default();
    Place { path: client.head().uri.path(), captures }
}

/// The request's body as a document. What cannot be read as JSON is an error, but on routes that
/// forward what they do not understand.
async fn read(
    connections: &Arc<Connections>,
    client: &mut Client<'_>,
    x: &mut Exchange,
    (targets, limit): (&Targets, usize),
    patience: Patience,
) -> Result<Doc> {
    let mut body = x.read_body(client, limit, patience).await?;
    if x.chain().rewrites() {
        body = Box::pin(phases::rewrite_request(connections, client.head(), x, body)).await?;
    }
    let content_type = client.head().headers.get(header::CONTENT_TYPE);
    let format = form::format(content_type.and_then(|value| value.to_str().ok()))?;
    let size = body.len();
    let _desk = turns::desk(size).await;
    let preserve = targets.list.iter().all(|target| target.conf.route_type == Operation::Preserve);
    if preserve {
        let doc = turns::aside(size, || Doc::parse(body.clone()));
        return Ok(doc.unwrap_or_else(|_| Doc::opaque(body)));
    }
    let json = form::to_json(format, body).await?;
    let doc = turns::aside(size, || Doc::parse(json));
    doc.map_err(|error| x.chain().unreadable.map_or(error, Error::bad_request))
}
