//! What one attempt at a target rests on.

use super::collect;
use crate::accept::Client;
use crate::accept::id::RequestId;
use crate::config::target::{Operation, TargetConf};
use crate::error::Result;
use crate::exchange::{AiSide, Exchange};
use crate::meter::account::Holder;
use crate::provider::Call;
use crate::target::ask::Ask;
use crate::target::template::Source;
use crate::target::{Choice, Target, Targets};
use crate::wire::doc::Doc;
use http::HeaderValue;

/// A target, settled for the request that it is to serve.
pub struct Plan<'a> {
    /// As it is configured.
    pub target: &'a Target,
    /// With its templates resolved.
    pub settled: Choice<'a>,
    /// What the request asks of it.
    pub ask: Ask,
    /// The request, after all plugins.
    pub doc: Doc,
    /// The exchange's.
    pub id: RequestId,
    now: u64,
}

impl<'a> Plan<'a> {
    /// Settles the target for this request, and checks that it serves it.
    pub fn of(
        client: &Client<'_>,
        x: &mut Exchange,
        targets: &'a Targets,
        target: &'a Target,
    ) -> Result<Self> {
        let collects = x.chain().rewrites_answer();
        let Some(ai) = x.ai.as_mut() else { return Err(collect::internal()) };
        let head = client.head();
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
    pub fn shown(&self) -> Option<HeaderValue> {
        let named = || HeaderValue::try_from(format!("{}/{}", self.target.provider, self.ask.model)).ok();
        self.target.shown.clone().or_else(named)
    }

    /// What the provider's dialect is told.
    pub fn call(&self) -> Call<'_> {
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

    /// Who the account of the attempt belongs to.
    pub fn holder(&self, x: &Exchange) -> Holder {
        let logging = self.settled.conf.logging;
        Holder {
            metrics: self.target.metrics.clone(),
            price: self.target.price,
            kong: x.chain().switches.ai_metrics && logging.log_statistics,
            payloads: logging.log_statistics && logging.log_payloads,
            estimate: self.settled.operation() != Operation::Preserve,
        }
    }
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
