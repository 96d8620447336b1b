//! The attempt loop of AI exchanges: pick a target, encode for it, send, judge, answer.
//!
//! It runs inside Pingora's `request_filter` and drives the upstream itself. On 0.9.1 this is the
//! way in which bodies of any size and framing work, the status may depend on the body, and an
//! exchange is metered to its end although its client has gone.

pub mod collect;
pub mod downstream;
pub mod encode;
pub mod native;
pub mod relay;
pub mod rewritten;
pub mod stream;

use crate::accept::id::RequestId;
use crate::accept::{self, Patience, form};
use crate::config::target::{Operation, TargetConf};
use crate::error::{Error, Kind, Result};
use crate::exchange::{AiSide, Exchange};
use crate::meter::account::{Account, Holder};
use crate::meter::metrics::{ANSWERED, Ending};
use crate::phases::{self, Phase};
use crate::plugins::Stop;
use crate::provider::Call;
use crate::provider::native::Place;
use crate::respond::head::{self, Latency};
use crate::target::ask::Ask;
use crate::target::template::Source;
use crate::target::{Choice, Settled, Target, Targets};
use crate::upstream::attempt::{Answer, Connections};
use crate::wire::doc::Doc;
use downstream::Downstream;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use pingora::http::ResponseHeader;
use pingora_proxy::Session;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// One try, as its parts see it.
pub struct Try<'a> {
    pub settled: &'a Settled,
    pub provider: &'static str,
    pub call: Call<'a>,
    /// The client speaks the provider's own API: its bytes pass.
    pub native: bool,
    /// `provider/model`, if the client is to see it.
    pub model_header: Option<HeaderValue>,
    /// Whether the answer's headers are kept for the log.
    pub logged: bool,
    pub latency: Latency,
    pub id: &'a str,
    /// Headers that plugins add to the answer.
    pub added: Vec<(HeaderName, HeaderValue)>,
}

/// What the client got.
pub struct Outcome {
    pub status: u16,
    /// If the log wants them.
    pub headers: Option<HeaderMap>,
    /// The model that the upstream says it ran.
    pub model: Option<String>,
}

impl Try<'_> {
    /// The head of the client's answer, without length or coding of its body.
    pub fn head(
        &self,
        status: u16,
        upstream: &HeaderMap,
        rewritten: bool,
    ) -> pingora::Result<ResponseHeader> {
        let mut head = head::proxied(status, upstream, rewritten, self.latency, self.id)?;
        if self.settled.operation() != Operation::Preserve {
            // A provider's session cookies belong to the gateway, not to its clients.
            head.remove_header(&header::SET_COOKIE);
        }
        if let Some(model) = self.model_header.as_ref().filter(|_| (200..300).contains(&status)) {
            head.insert_header(head::LLM_MODEL.clone(), model.clone())?;
        }
        head::add(&mut head, &self.added);
        Ok(head)
    }

    /// The headers as they went out, if the log wants them.
    pub fn seen(&self, head: &ResponseHeader) -> Option<HeaderMap> {
        self.logged.then(|| head.headers.clone())
    }

    /// Frames a body of unknown length.
    pub fn chunked(&self, down: &Downstream<'_>, head: &mut ResponseHeader) -> pingora::Result<()> {
        if down.session.req_header().version == http::Version::HTTP_11 {
            head.insert_header(header::TRANSFER_ENCODING, "chunked")?;
        }
        Ok(())
    }
}

/// Serves an AI exchange.
pub async fn serve(
    connections: &Arc<Connections>,
    patience: Patience,
    session: &mut Session,
    x: &mut Exchange,
) -> Result<(), Stop> {
    let Some(entry) = x.entry().cloned() else { return Err(collect::internal().into()) };
    let chain = entry.chain_of(x.consumer.as_deref());
    let Some(targets) = chain.targets.clone() else { return Err(collect::internal().into()) };
    let limit = chain.body_limit.unwrap_or(targets.max_body);
    let doc = read(connections, session, x, (&targets, limit), patience).await?;
    let native = match targets.native {
        Some(format) => Some(native::read(format, &place(session, x), doc.clone())?),
        None => None,
    };
    let target = targets.balancer.pick().unwrap_or_default();
    x.ai = Some(AiSide {
        targets: targets.clone(),
        doc: native.as_ref().map_or(doc, |side| side.view.clone()),
        native,
        original: None,
        target,
        model: String::new(),
        response_model: None,
        meta: crate::provider::Meta::default(),
        stream: false,
        account: None,
    });
    phases::run(&entry, Phase::Body, x, session.req_header_mut())?;
    attempt(connections, session, x, &targets).await?;
    Ok(())
}

/// Where the request was sent, for clients that speak the provider's own API.
fn place<'a>(session: &'a Session, x: &'a Exchange) -> Place<'a> {
    let captures = x.route.as_ref().map(|route| route.captures.as_slice()).unwrap_or_default();
    Place { path: session.req_header().uri.path(), captures }
}

/// The request's body as a document. What cannot be read as JSON is an error, but on routes that
/// forward what they do not understand.
async fn read(
    connections: &Arc<Connections>,
    session: &mut Session,
    x: &mut Exchange,
    (targets, limit): (&Targets, usize),
    patience: Patience,
) -> Result<Doc> {
    let from = Instant::now();
    let body = accept::body(&mut session.downstream_session, limit, patience).await;
    x.answer.waited += from.elapsed();
    let mut body = body?;
    if x.chain().rewrites() {
        body = Box::pin(phases::rewrite_request(connections, session.req_header(), x, body)).await?;
    }
    let content_type = session.req_header().headers.get(header::CONTENT_TYPE);
    let format = form::format(content_type.and_then(|value| value.to_str().ok()))?;
    let preserve = targets.list.iter().all(|target| target.conf.route_type == Operation::Preserve);
    if preserve {
        return Ok(Doc::parse(body.clone()).unwrap_or_else(|_| Doc::opaque(body)));
    }
    let doc = Doc::parse(form::to_json(format, body).await?);
    doc.map_err(|error| x.chain().unreadable.map_or(error, Error::bad_request))
}

/// What one try of a target rests on.
struct Plan<'a> {
    target: &'a Target,
    settled: Choice<'a>,
    ask: Ask,
    doc: Doc,
    id: RequestId,
    now: u64,
}

impl<'a> Plan<'a> {
    /// Settles the target for this request, and checks that it serves it.
    fn of(session: &Session, x: &mut Exchange, targets: &'a Targets) -> Result<Self> {
        let collects = x.chain().rewrites_answer();
        let Some(ai) = x.ai.as_mut() else { return Err(collect::internal()) };
        let Some(target) = targets.list.get(ai.target) else { return Err(collect::internal()) };
        let head = session.req_header();
        let source = Source {
            headers: &head.headers,
            captures: x.route.as_ref().map(|route| route.captures.as_slice()).unwrap_or_default(),
            query: head.uri.query().unwrap_or_default(),
        };
        let settled = target.settle(&source, targets.timeouts)?;
        let mut ask = asked(ai, &settled.conf)?;
        ask.stream &= !collects;
        ai.model.clone_from(&ask.model);
        (ai.stream, ai.meta) = (ask.stream, settled.driver.meta.clone());
        Ok(Self { target, settled, ask, doc: ai.doc.clone(), id: x.id, now: x.started_at / 1000 })
    }

    /// What `X-Kong-LLM-Model` says; a model that the client named may hold what no header can.
    fn shown(&self) -> Option<HeaderValue> {
        let named = || HeaderValue::try_from(format!("{}/{}", self.target.provider, self.ask.model)).ok();
        self.target.shown.clone().or_else(named)
    }

    fn call(&self) -> Call<'_> {
        Call {
            conf: &self.settled.conf,
            doc: &self.doc,
            model: &self.ask.model,
            stream: self.ask.stream,
            include_usage: self.ask.include_usage,
            now: self.now,
            id: self.id.as_str(),
        }
    }
}

async fn attempt(
    connections: &Arc<Connections>,
    session: &mut Session,
    x: &mut Exchange,
    targets: &Targets,
) -> Result<()> {
    let plan = Plan::of(session, x, targets)?;
    if let Some(token) = plan.settled.driver.dialect.identity() {
        token.ready().await;
    }
    let (request, path) = encode::encode(session, x, &plan.settled, &plan.call())?;
    x.upstream.uri = Some(path);
    let account = Account::open(holder(x, &plan), plan.doc.clone(), x.begun);
    let mut down = Downstream::new(session);
    // Pinned here: it is the largest part of the exchange's future, and moving it is copying it.
    let sent = std::pin::pin!(connections.send(&plan.settled.endpoint, &request, targets.timeouts));
    match answer(&mut down, x, sent, plan.ask.stream).await {
        Ok(answer) => deliver(&mut down, (connections, x), &plan, answer, account).await,
        Err(error) => {
            let sent = request.sent.load(Ordering::Relaxed);
            Err(unanswered(x, &plan, sent, account, error))
        }
    }
}

/// Gives the client what the upstream answered.
async fn deliver(
    down: &mut Downstream<'_>,
    (connections, x): (&Arc<Connections>, &mut Exchange),
    plan: &Plan<'_>,
    answer: Answer,
    mut account: Account,
) -> Result<()> {
    account.head();
    plan.target.metrics.attempt(outcome_label(answer.status()));
    let shown = x.ai.as_ref().is_some_and(|ai| ai.targets.model_header)
        || down.session.req_header().headers.contains_key("kong-debug");
    let current = Try {
        settled: &plan.settled,
        provider: plan.target.provider,
        model_header: shown.then(|| plan.shown()).flatten(),
        logged: !x.chain().loggers().is_empty(),
        latency: Latency { upstream: Some(millis(x.upstream.waited)), own: millis(x.own_time()) },
        call: plan.call(),
        native: x.ai.as_ref().is_some_and(|ai| ai.native.is_some()),
        id: plan.id.as_str(),
        added: std::mem::take(&mut x.answer.added),
    };
    down.waited = Duration::ZERO;
    let result = if x.chain().rewrites_answer() {
        Box::pin(rewritten::respond(down, &current, answer, &mut account, (connections, x))).await
    } else {
        respond(down, &current, answer, &mut account).await
    };
    x.upstream.waited += down.waited;
    x.upstream.received = down.waited;
    x.answer.client_gone = down.gone;
    keep(x, account);
    settle_answer(x, result)
}

/// Closes the account of a request that was not answered: one that never went out owes nothing.
fn unanswered(x: &mut Exchange, plan: &Plan<'_>, sent: bool, mut account: Account, error: Error) -> Error {
    plan.target.metrics.attempt(error.kind().label());
    let gone = error.kind() == Kind::ClientGone;
    x.answer.client_gone = gone;
    if sent {
        account.end(if gone { Ending::ClientGone } else { Ending::Broken });
        keep(x, account);
    } else {
        account.cancel();
    }
    error
}

/// What the request asks of that target.
fn asked(ai: &AiSide, conf: &TargetConf) -> Result<Ask> {
    let mut ask = Ask::read(&ai.doc, conf, ai.targets.streaming)?;
    if let Some(side) = &ai.native {
        // A client that did not ask for a stream in its own dialect cannot be given one.
        ask.stream = side.stream;
    }
    Ok(ask)
}

/// Reads the answer in the way it needs.
async fn respond(
    down: &mut Downstream<'_>,
    current: &Try<'_>,
    answer: Answer,
    account: &mut Account,
) -> Result<Outcome> {
    let success = (200..300).contains(&answer.status());
    if !success {
        account.end(Ending::Refused);
        return collect::pass(down, current, answer, account).await;
    }
    if answer.is_bodiless() {
        return collect::pass(down, current, answer, account).await;
    }
    if stream::is_stream(&answer, current) {
        return stream::relay(down, current, answer, account).await;
    }
    if current.native || current.settled.operation() == Operation::Preserve {
        return collect::pass(down, current, answer, account).await;
    }
    collect::reply(down, current, answer, account).await
}

fn settle_answer(x: &mut Exchange, result: Result<Outcome>) -> Result<()> {
    let outcome = result?;
    x.answer.status = Some(outcome.status);
    x.answer.headers = outcome.headers;
    if let Some(ai) = &mut x.ai {
        ai.response_model = outcome.model;
    }
    Ok(())
}

/// Waits for the answer's head, watching the client. A stream that nobody waits for any more is given up; an
/// answer in one piece is waited for, because the provider charges it either way.
async fn answer(
    down: &mut Downstream<'_>,
    x: &mut Exchange,
    sent: Pin<&mut impl Future<Output = Result<Answer>>>,
    stream: bool,
) -> Result<Answer> {
    let answer = if stream {
        let gone = || Err(Error::new(Kind::ClientGone, "the client hung up"));
        down.unless_gone(sent).await.unwrap_or_else(gone)
    } else {
        down.to_the_end(sent).await
    };
    x.upstream.waited += down.waited;
    let address = answer.as_ref().ok().and_then(|answer| answer.address);
    x.upstream.tries.push(crate::exchange::Try { address, at: x.age_ms() });
    x.upstream.status = answer.as_ref().ok().map(Answer::status);
    answer
}

fn holder(x: &Exchange, plan: &Plan<'_>) -> Holder {
    let logging = plan.settled.conf.logging;
    Holder {
        metrics: plan.target.metrics.clone(),
        price: plan.target.price,
        kong: x.chain().switches.ai_metrics && logging.log_statistics,
        payloads: logging.log_statistics && logging.log_payloads,
        estimate: plan.settled.operation() != Operation::Preserve,
    }
}

fn keep(x: &mut Exchange, mut account: Account) {
    account.settle();
    if let Some(ai) = &mut x.ai {
        ai.account = Some(account);
    }
}

fn outcome_label(status: u16) -> &'static str {
    match status {
        200..=299 => ANSWERED,
        429 => "http_429",
        400..=499 => "http_4xx",
        _ => "http_5xx",
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
