//! One attempt: a target is asked, its answer judged, and passed on unless another is to be asked.
//!
//! Until the first byte has gone to the client a failure may lead to the next target; the request is
//! then encoded afresh for it, from what the client sent.

use super::collect;
use super::downstream::Downstream;
use super::plan::Plan;
use super::round::{Round, Seat};
use super::{Limits, Outcome, Try, encode, rewritten, stream};
use crate::accept::Client;
use crate::config::target::Operation;
use crate::error::{Criterion, Error, Kind, Result};
use crate::exchange::{self, Exchange, Tried};
use crate::meter::account::Account;
use crate::meter::metrics::{ANSWERED, Ending, outcome};
use crate::respond::head::Latency;
use crate::target::Targets;
use crate::target::cooldown;
use crate::target::failover::Failure;
use crate::target::load::Spent;
use crate::target::policy::Abandoned;
use crate::turns;
use crate::upstream::attempt::{Answer, Connections, Request};
use http::HeaderName;
use std::borrow::Cow;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

/// A client that sends it is told the model.
static DEBUG: HeaderName = HeaderName::from_static("kong-debug");

/// An error page is read to its end for the sake of its connection, up to so much
const DRAINED: usize = 64 * 1024;
/// and for so long.
const DRAINING: Duration = Duration::from_millis(500);

/// An attempt that brought nothing for the client.
struct Failed {
    error: Error,
    /// Some upstream may have got the request.
    sent: bool,
    account: Option<Box<Account>>,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self { error, sent: false, account: None }
    }
}

/// Asks one target. `Some`: it failed, and this one is next.
pub async fn attempt<'a>(
    connections: &Arc<Connections>,
    down: &mut Downstream<'_>,
    x: &mut Exchange,
    round: &mut Round<'a>,
    seat: Seat<'a>,
) -> Result<Option<Seat<'a>>> {
    begin(x, &seat);
    let plan = match Plan::of(&down.client, x, round.targets, seat.target) {
        Ok(plan) => plan,
        Err(error) => return after_error(down, x, round, seat, error.into()),
    };
    let (answer, account) = match send(connections, down, x, &plan, round.targets).await {
        Ok(answered) => answered,
        Err(failed) => return after_error(down, x, round, seat, failed),
    };
    let status = answer.status();
    let failure = Failure::of_status(status);
    if let Some(failure) = failure {
        cool(&plan, &answer);
        if let Some(next) = round.after(failure, &down.client.head().method, true) {
            plan.target.metrics.attempt(outcome(status, Ending::Refused));
            supersede(x, account, Ending::Refused);
            note(x, Cow::Owned(format!("http_{status}")), true);
            drain(answer).await;
            seat.failed(round.targets, failure);
            return Ok(Some(next));
        }
    }
    match deliver(down, (connections, x), &plan, answer, account).await {
        Ok(ending) => {
            plan.target.metrics.attempt(outcome(status, ending));
            judge(x, round, seat, ending, failure);
            Ok(None)
        }
        Err(failed) => {
            plan.target.metrics.attempt(failed.error.kind().label());
            after_error(down, x, round, seat, failed)
        }
    }
}

fn begin(x: &mut Exchange, seat: &Seat<'_>) {
    let now = Instant::now();
    let at = millis(now - x.begun);
    let Some(ai) = x.ai.as_mut() else { return };
    ai.target = seat.index;
    ai.tried.push(Tried {
        target: seat.index,
        address: None,
        status: None,
        begun: now,
        took: None,
        reason: Cow::Borrowed(ANSWERED),
    });
    x.upstream.tries.push(exchange::Try { address: None, at, state: None, code: None });
}

/// Encodes the request for the target, sends it, and waits for the head of the answer.
async fn send(
    connections: &Arc<Connections>,
    down: &mut Downstream<'_>,
    x: &mut Exchange,
    plan: &Plan<'_>,
    targets: &Targets,
) -> Result<(Answer, Box<Account>), Failed> {
    if let Some(token) = plan.settled.driver.dialect.identity() {
        token.ready().await;
    }
    let (request, path) = encoded(&down.client, x, plan).await?;
    x.upstream.uri = Some(path);
    let account = Account::open(plan.holder(x), plan.doc.clone(), x.begun);
    // Boxed: it is large, and goes from hand to hand.
    let account = Box::new(account);
    let mut timeouts = targets.timeouts;
    if let Some(first) = targets.policy.first_token.filter(|_| plan.ask.stream) {
        timeouts.read = timeouts.read.min(first);
    }
    // Pinned here: it is the largest part of the exchange's future, and moving it is copying it.
    let sent = std::pin::pin!(connections.send(&plan.settled.endpoint, &request, timeouts));
    match answer(down, x, sent, plan.ask.stream).await {
        Ok(answer) => Ok((answer, account)),
        Err(error) => {
            plan.target.metrics.attempt(error.kind().label());
            Err(Failed { error, sent: request.sent.load(Ordering::Relaxed), account: Some(account) })
        }
    }
}

async fn encoded(client: &Client<'_>, x: &Exchange, plan: &Plan<'_>) -> Result<(Request, String)> {
    let size = x.held.size();
    let _desk = turns::desk(size).await;
    turns::aside(size, || encode::encode(client, x, &plan.settled, &plan.call()))
}

/// Waits for the answer's head, watching the client. A stream that nobody waits for any more is given up; an
/// answer in one piece is waited for, because the provider charges it either way.
async fn answer(
    down: &mut Downstream<'_>,
    x: &mut Exchange,
    sent: Pin<&mut impl Future<Output = Result<Answer>>>,
    stream: bool,
) -> Result<Answer> {
    down.waited = Duration::ZERO;
    let answer = if stream {
        let gone = || Err(Error::new(Kind::ClientGone, "the client hung up"));
        down.unless_gone(sent).await.unwrap_or_else(gone)
    } else {
        down.to_the_end(sent).await
    };
    x.upstream.waited += down.waited;
    let answered = answer.as_ref().ok();
    x.upstream.status = answered.map(Answer::status);
    seen(x, answered.and_then(|answer| answer.address));
    answer
}

/// Gives the client what the upstream answered; says how the answer ended.
async fn deliver(
    down: &mut Downstream<'_>,
    (connections, x): (&Arc<Connections>, &mut Exchange),
    plan: &Plan<'_>,
    answer: Answer,
    mut account: Box<Account>,
) -> Result<Ending, Failed> {
    account.head();
    let shown = x.ai.as_ref().is_some_and(|ai| ai.targets.model_header)
        || down.client.head().headers.contains_key(&DEBUG);
    let current = Try {
        settled: &plan.settled,
        provider: plan.target.provider,
        model_header: shown.then(|| plan.shown()).flatten(),
        logged: !x.chain().loggers().is_empty(),
        latency: Latency { upstream: Some(millis(x.upstream.waited)), own: millis(x.own_time()) },
        call: plan.call(),
        native: x.ai.as_ref().is_some_and(|ai| ai.native.is_some()),
        id: plan.id.as_str(),
        limits: limits(x, plan),
        added: x.answer.added.clone(),
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
    match result {
        Ok(outcome) => {
            answered(x, outcome);
            Ok(keep(x, account))
        }
        Err(error) => Err(Failed { error, sent: true, account: Some(account) }),
    }
}

fn limits(x: &Exchange, plan: &Plan<'_>) -> Limits {
    let Some(ai) = &x.ai else { return Limits { first_by: None, idle: None, abandoned: Abandoned::Cancel } };
    let policy = &ai.targets.policy;
    let begun = ai.tried.last().map(|tried| tried.begun);
    Limits {
        first_by: begun.zip(policy.first_token.filter(|_| plan.ask.stream)).map(|(begun, time)| begun + time),
        idle: policy.idle,
        abandoned: policy.abandoned,
    }
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

fn answered(x: &mut Exchange, outcome: Outcome) {
    x.answer.status = Some(outcome.status);
    x.answer.headers = outcome.headers;
    if let Some(ai) = &mut x.ai {
        ai.response_model = outcome.model;
    }
}

/// After an attempt without an answer for the client: the next target, or the error stands.
fn after_error<'a>(
    down: &Downstream<'_>,
    x: &mut Exchange,
    round: &mut Round<'a>,
    seat: Seat<'a>,
    failed: Failed,
) -> Result<Option<Seat<'a>>> {
    let Failed { error, sent, account } = failed;
    let gone = error.kind() == Kind::ClientGone;
    let ending = if gone { Ending::ClientGone } else { Ending::Broken };
    let failure = Failure::of(&error);
    let next = failure
        .filter(|_| !down.begun && !down.gone)
        .and_then(|failure| round.after(failure, &down.client.head().method, sent));
    note(x, Cow::Borrowed(error.kind().label()), next.is_some());
    x.answer.client_gone = gone || down.gone;
    match account {
        // A request that never went out owes nothing.
        Some(account) if !sent => account.cancel(),
        Some(account) if next.is_some() => supersede(x, account, ending),
        Some(mut account) => {
            account.end(ending);
            keep(x, account);
        }
        None => {}
    }
    if let Some(failure) = failure {
        seat.failed(round.targets, failure);
    }
    next.map_or(Err(error), |next| Ok(Some(next)))
}

/// What an answer that went to the client says of its target.
fn judge(x: &mut Exchange, round: &Round<'_>, seat: Seat<'_>, ending: Ending, failure: Option<Failure>) {
    match (ending, failure) {
        (_, Some(failure)) => {
            if let Failure::Status(status) = failure {
                note(x, Cow::Owned(format!("http_{status}")), false);
            }
            seat.failed(round.targets, failure);
        }
        (Ending::Broken, None) => {
            note(x, Cow::Borrowed("broken"), false);
            seat.failed(round.targets, Failure::Error(Criterion::Error));
        }
        (Ending::ClientGone, None) => note(x, Cow::Borrowed("client_gone"), false),
        (Ending::Complete | Ending::Refused, None) => {
            note(x, Cow::Borrowed(ANSWERED), false);
            seat.succeeded(spent(x).as_ref());
        }
    }
}

/// What the answer took of its target.
fn spent(x: &mut Exchange) -> Option<Spent> {
    let ai = x.ai.as_mut()?;
    let whole = ai.tried.last()?.took?;
    Spent::of(ai.account.as_mut()?.settle(), whole)
}

/// Keeps the quota's domain from being asked for as long as the provider wants.
fn cool(plan: &Plan<'_>, answer: &Answer) {
    let headers = answer.headers();
    if let Some(time) = cooldown::asked(answer.status(), headers, SystemTime::now()) {
        plan.target.quota.cool(Instant::now(), time);
        plan.target.metrics.cooled();
    }
}

/// Reads the rest of an error, so that its connection can be used again.
async fn drain(mut answer: Answer) {
    let read = async {
        let mut taken = 0;
        while let Ok(Some(piece)) = answer.chunk().await {
            taken += piece.len();
            if taken > DRAINED {
                return None;
            }
        }
        Some(answer)
    };
    if let Ok(Some(answer)) = tokio::time::timeout(DRAINING, read).await {
        answer.done();
    }
}

/// Notes the address that an attempt went to.
fn seen(x: &mut Exchange, address: Option<SocketAddr>) {
    if let Some(last) = x.upstream.tries.last_mut() {
        last.address = address;
    }
    if let Some(last) = x.ai.as_mut().and_then(|ai| ai.tried.last_mut()) {
        last.address = address;
    }
}

/// Notes how an attempt ended.
fn note(x: &mut Exchange, reason: Cow<'static, str>, next: bool) {
    let status = x.upstream.status;
    if let Some(last) = x.upstream.tries.last_mut().filter(|_| reason != ANSWERED) {
        last.state = Some(if next { "next" } else { "failed" });
        last.code = status;
    }
    if let Some(last) = x.ai.as_mut().and_then(|ai| ai.tried.last_mut()) {
        (last.status, last.took, last.reason) = (status, Some(last.begun.elapsed()), reason);
    }
}

/// Settles the account of an attempt that another one follows.
fn supersede(x: &mut Exchange, mut account: Box<Account>, ending: Ending) {
    account.end(ending);
    account.supersede();
    account.settle();
    if let Some(ai) = &mut x.ai {
        ai.account = None;
    }
}

fn keep(x: &mut Exchange, mut account: Box<Account>) -> Ending {
    let ending = account.settle().ending;
    if let Some(ai) = &mut x.ai {
        ai.account = Some(account);
    }
    ending
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
