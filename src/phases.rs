//! Running the plugins of a request.

use crate::error::Result;
use crate::exchange::Exchange;
use crate::plugins::{Rewrites, Step, Stop, Turn, Whole};
use crate::snapshot::Entry;
use crate::upstream::attempt::Connections;
use bytes::Bytes;
use pingora::http::RequestHeader;
use std::sync::Arc;

/// Which of the request plugins run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Those that need only the head.
    Head,
    /// Those that read the body.
    Body,
}

/// Runs the plugins of one phase in order, until one ends the request.
///
/// One of them may find out who the consumer is: from there on the consumer's own instances run.
pub fn run(entry: &Arc<Entry>, phase: Phase, x: &mut Exchange, head: &mut RequestHeader) -> Result<(), Stop> {
    let mut below = i32::MAX;
    loop {
        let chain = entry.chain_of(x.consumer.as_deref());
        let known = x.consumer.is_some();
        let mut switched = false;
        for step in chain.steps().iter().filter(|step| step.priority < below) {
            let reads = step.plugin.reads_body().is_some();
            if reads != (phase == Phase::Body) {
                continue;
            }
            match step.plugin.request(x, head) {
                Step::Next => {}
                Step::Fail(error) => return Err(Stop::Error(error)),
                Step::Reply(reply) => return Err(Stop::Reply(reply)),
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
