//! `impl ProxyHttp`: the life of a request on a connection that Pingora holds.
//!
//! AI exchanges are served in `request_filter` by the attempt loop; plain routes go through
//! Pingora's own pipeline. Both end in `logging`. What is done for a request, whoever holds its connection,
//! is in `serving.rs`.

use crate::accept::{Client, Patience};
use crate::edge::Edge;
use crate::error::{Error, Kind};
use crate::exchange::Exchange;
use crate::listen::front;
use crate::plain;
use crate::serving;
use crate::settle;
use crate::snapshot::Snapshot;
use crate::upstream::attempt::Connections;
use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::upstreams::peer::HttpPeer;
use pingora::{ErrorSource, Result};
use pingora_proxy::{FailToProxy, ProxyHttp, Session};
use std::sync::Arc;
use std::time::Duration;

/// The data plane.
#[derive(Clone)]
pub struct Gateway {
    /// What new requests read.
    pub live: Arc<ArcSwap<Snapshot>>,
    /// Those to upstreams.
    pub connections: Arc<Connections>,
    /// With clients that send slowly.
    pub patience: Patience,
    /// What is looked at before anything else.
    pub edge: Edge,
}

#[async_trait]
impl ProxyHttp for Gateway {
    type CTX = Exchange;

    fn new_ctx(&self) -> Exchange {
        front::begun();
        Exchange::new(self.live.load_full())
    }

    async fn early_request_filter(&self, session: &mut Session, _x: &mut Exchange) -> Result<()> {
        // Bytes of a pipelined request must not be taken for a client that hangs up.
        session.downstream_session.set_pipelining_enabled(true);
        Ok(())
    }

    async fn request_filter(&self, session: &mut Session, x: &mut Exchange) -> Result<bool> {
        let mut client = Client::Session(session);
        // Boxed: async_trait moves the future of its filter, and this would be most of it.
        let met = self.edge.meet(&client);
        let found = serving::find(&client, met.ends, &x.snapshot);
        Ok(Box::pin(serving::request(self, &mut client, x, met, found)).await)
    }

    async fn upstream_peer(&self, _session: &mut Session, x: &mut Exchange) -> Result<Box<HttpPeer>> {
        plain::peer(x).await
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        upstream: &mut RequestHeader,
        x: &mut Exchange,
    ) -> Result<()> {
        plain::request(session, upstream, x)
    }

    async fn request_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        x: &mut Exchange,
    ) -> Result<()> {
        // Pingora writes an empty last piece, as h2 clients send it, as an empty chunk. That is the end
        // of a chunked body already, and the end behind it would be taken for the next request.
        if end && body.as_ref().is_some_and(Bytes::is_empty) {
            *body = None;
        }
        plain::body(body.as_ref(), x)
    }

    async fn response_filter(
        &self,
        _session: &mut Session,
        upstream: &mut ResponseHeader,
        x: &mut Exchange,
    ) -> Result<()> {
        plain::response(upstream, x)
    }

    fn response_body_filter(
        &self,
        _session: &mut Session,
        _body: &mut Option<Bytes>,
        _end: bool,
        x: &mut Exchange,
    ) -> Result<Option<Duration>> {
        plain::in_time(x).map(|()| None)
    }

    fn fail_to_connect(
        &self,
        _session: &mut Session,
        _peer: &HttpPeer,
        x: &mut Exchange,
        mut error: Box<pingora::Error>,
    ) -> Box<pingora::Error> {
        let retries = x.entry().and_then(|entry| entry.service.as_ref()).map_or(0, |service| service.retries);
        error.set_retry(x.upstream.tries.len() <= retries as usize);
        error
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &pingora::Error,
        x: &mut Exchange,
    ) -> FailToProxy {
        let ours = match error.esource() {
            ErrorSource::Downstream => Error::new(Kind::ClientGone, "the client hung up"),
            _ => plain::failure(error, x),
        };
        serving::refuse(&mut Client::Session(session), x, ours).await;
        // With `true` a truncated answer would be ended as if it were whole.
        FailToProxy { error_code: x.answer.status.unwrap_or(502), can_reuse_downstream: false }
    }

    fn suppress_error_log(&self, _session: &Session, _x: &Exchange, _error: &pingora::Error) -> bool {
        // The access log and the metrics say it; Pingora's line repeats client input.
        true
    }

    async fn logging(&self, session: &mut Session, _error: Option<&pingora::Error>, x: &mut Exchange) {
        settle::exchange(&Client::Session(session), x);
    }
}
