//! Running the plugins of a request.

use crate::error::Result;
use crate::exchange::Exchange;
use crate::plugins::{Rewrites, Step, Stop, Turn, Whole};
use crate::snapshot::Entry;
use crate::turns;
use crate::upstream::attempt::Connections;
use bytes::Bytes;
use pingora::http::RequestHeader;
use std::sync::Arc;

/// Which of the request plugins run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Those before the first that reads the body.
    Head,
    /// That one and all behind it: who is asked for a key in the body comes before who asks whose it is.
    Body,
}

/// Runs the plugins of one phase in order, until one ends the request.
///
/// One of them may find out who the consumer is: from there on the consumer's own instances run.
pub async fn run(
    entry: &Arc<Entry>,
    phase: Phase,
    x: &mut Exchange,
    head: &mut RequestHeader,
) -> Result<(), Stop> {
    let mut below = i32::MAX;
    loop {
        let chain = entry.chain_of(x.consumer.as_deref());
        let known = x.consumer.is_some();
        let mut switched = false;
        let (before, behind) = chain.steps().split_at_checked(chain.body_from()).unwrap_or_default();
        let steps = if phase == Phase::Head { before } else { behind };
        for step in steps.iter().filter(|step| step.priority < below) {
            let plugin = &step.plugin;
            let size = x.held.size();
            let done = if plugin.waits() {
                plugin.wait(x, head).await
            } else {
                turns::aside(size, || plugin.request(x, head))
            };
            match done {
                Step::Next => {}
                Step::Fail(error) => return Err(Stop::Error(error)),
                Step::Reply(reply) => return Err(Stop::Reply(reply)),
                Step::Echo(echo) => return Err(Stop::Echo(echo)),
            }
            if !known && x.consumer.is_some() {
                (below, switched) = (step.priority, true);
                break;
            }
        }
        if !switched {
            return Ok(());
        }
    }
}

/// Lets the plugins that rewrite requests make another body of the client's, in order.
pub async fn rewrite_request(
    connections: &Arc<Connections>,
    head: &RequestHeader,
    x: &mut Exchange,
    mut body: Bytes,
) -> Result<Bytes> {
    let Some(entry) = x.entry().cloned() else { return Ok(body) };
    for plugin in entry.chain_of(x.consumer.as_deref()).rewriters(Rewrites::Request) {
        body = plugin.rewrite_request(Turn { x, head, connections }, body).await?;
    }
    Ok(body)
}

/// Lets the plugins that rewrite answers make another of the upstream's. One without a body holds
/// nothing to rewrite.
pub async fn rewrite_answer(
    connections: &Arc<Connections>,
    head: &RequestHeader,
    x: &mut Exchange,
    mut whole: Whole,
) -> Result<Whole> {
    let Some(entry) = x.entry().cloned() else { return Ok(whole) };
    for plugin in entry.chain_of(x.consumer.as_deref()).rewriters(Rewrites::Answer) {
        if !whole.body.is_empty() {
            whole = plugin.rewrite_answer(Turn { x, head, connections }, whole).await?;
        }
    }
    Ok(whole)
}
