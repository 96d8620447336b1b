//! The end of every exchange: its metrics and its log record.

use crate::accept::Client;
use crate::exchange::Exchange;
use crate::journal;
use crate::meter::metrics::{RouteSample, SERIES};

/// Counts and logs an exchange whose answer is out.
pub fn exchange(client: &Client<'_>, x: &mut Exchange) {
    let status = x.answer.status.or_else(|| client.status()).unwrap_or(499);
    x.answer.status = Some(if x.answer.client_gone { 499 } else { status });
    if let Some(error) = &x.answer.error {
        SERIES.error(error.kind());
    }
    count(client, x, status);
    let loggers = x.chain().loggers().to_vec();
    if !loggers.is_empty() {
        journal::write(client, x, &loggers);
    }
}

fn count(client: &Client<'_>, x: &Exchange, status: u16) {
    let own = x.own_time();
    if x.ai.is_some() && x.answer.error.is_none() {
        SERIES.overhead(own);
    }
    let Some(entry) = x.entry() else { return };
    let upstream = x.upstream.status.map(|_| x.upstream.waited);
    let consumer = x.consumer.as_ref().and_then(|consumer| consumer.username.as_deref());
    entry.metrics.count(
        x.chain().switches,
        &RouteSample {
            status,
            source: match (&x.answer.error, upstream) {
                (_, Some(_)) => "service",
                (Some(error), None) if error.kind().origin() == crate::error::Origin::Upstream => "error",
                _ => "exit",
            },
            consumer: consumer.unwrap_or_default(),
            own,
            upstream,
            total: x.begun.elapsed(),
            ingress: client.received() as u64,
            egress: client.sent() as u64,
        },
    );
}
