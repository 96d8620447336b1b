//! `impl ProxyHttp`: the life of a request, stage by stage.
//!
//! AI exchanges are served in `request_filter` by the attempt loop; plain routes go through
//! Pingora's own pipeline. Both end in `logging`.

use crate::accept::Patience;
use crate::attempts;
use crate::edge::Edge;
use crate::error::{Error, Kind, Result as Served};
use crate::exchange::{Exchange, Matched};
use crate::listen::connection::Connection;
use crate::listen::front;
use crate::phases::{self, Phase};
use crate::plain;
use crate::plugins::Stop;
use crate::respond::{head, local};
use crate::route::{Match, Outcome, Query};
use crate::settle;
use crate::snapshot::{Entry, Snapshot};
use crate::upstream::attempt::Connections;
use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use http::header;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::upstreams::peer::HttpPeer;
use pingora::{ErrorSource, Result};
use pingora_proxy::{FailToProxy, ProxyHttp, Session};
use std::sync::Arc;
use std::time::Duration;

/// The data plane.
pub struct Gateway {
    live: Arc<ArcSwap<Snapshot>>,
    connections: Arc<Connections>,
    patience: Patience,
    edge: Edge,
}

impl Gateway {
    /// A gateway over the snapshot that `live` holds at any time.
    pub fn new(
        live: Arc<ArcSwap<Snapshot>>,
        connections: Arc<Connections>,
        patience: Patience,
        edge: Edge,
    ) -> Self {
        Self { live, connections, patience, edge }
    }

    /// Finds the route, runs the plugins of plain routes, or serves an AI exchange whole.
    /// `true`: the answer has been given.
    async fn serve(&self, session: &mut Session, x: &mut Exchange) -> Result<bool, Stop> {
        self.edge.greet(session, x)?;
        route(session, x)?;
        let Some(entry) = x.entry().cloned() else { return Ok(false) };
        phases::run(&entry, Phase::Head, x, session.req_header_mut()).await?;
        let chain = entry.chain_of(x.consumer.as_deref());
        if chain.rewrites() && chain.reads_before_rewriting() {
            let why = "a plugin of this route looks for a key in the body, which another one rewrites: \
                       take the key from a header or the query";
            return Err(Error::new(Kind::Unsupported, why).into());
        }
        if chain.targets.is_some() {
            // Boxed here: async_trait moves the future of its filter, and this would be most of it.
            Box::pin(attempts::serve(&self.connections, self.patience, session, x)).await?;
            return Ok(true);
        }
        if chain.reads_prompts() {
            // KONG(kong/llm/plugin): such a plugin edits any request there; here it needs an AI route.
            return Err(Error::new(
                Kind::Unsupported,
                "a plugin of this route edits prompts, but no plugin sends them to a model",
            )
            .into());
        }
        if entry.upstream.is_none() {
            return Err(Error::new(Kind::NoService, "no Service found with those values").into());
        }
        if chain.rewrites() {
            Box::pin(plain::rewritten::serve(&self.connections, self.patience, session, x)).await?;
            return Ok(true);
        }
        Ok(false)
    }
}

/// Matches the request to a route.
fn route(session: &Session, x: &mut Exchange) -> Served<()> {
    let snapshot = x.snapshot.clone();
    let request = session.req_header();
    let target = request.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let query = Query {
        method: request.method.as_str(),
        host: attempts::encode::host(session),
        target,
        headers: &request.headers,
        scheme: attempts::encode::scheme(session, x),
        sni: Connection::of(&session.downstream_session).and_then(Connection::sni),
        port: x.ends.server.map_or(80, |address| address.port()),
    };
    let Some(found) = snapshot.router().find(&query) else {
        return Err(Error::new(Kind::NoRoute, "no Route matched with those values"));
    };
    let Some(entry) = snapshot.entry(found.index).cloned() else { return Err(attempts::collect::internal()) };
    // Only a plain route's request goes on under its own path.
    let path = if entry.chain.targets.is_some() { String::new() } else { service_path(&entry, &found) };
    let prefix = (entry.route.strip_path && found.prefix_len > 1).then(|| found.prefix().to_owned());
    x.route = Some(Matched { entry, captures: found.captures, path, prefix });
    match found.outcome {
        Outcome::Serve => Ok(()),
        Outcome::NeedsHttps { status, location } => {
            x.answer.redirect = Some((status, location));
            Err(Error::new(Kind::NeedsHttps, "Please use HTTPS protocol"))
        }
    }
}

/// The path to ask the service for.
fn service_path(entry: &Entry, found: &Match<'_>) -> String {
    let service = entry.service.as_ref().and_then(|service| service.path.as_deref());
    found.upstream_path(service, entry.route.strip_path, entry.route.path_handling).into_owned()
}

/// Answers with an error, unless the client has gone or has had part of an answer.
async fn refuse(session: &mut Session, x: &mut Exchange, error: Error) {
    let status = error.status();
    // A 100 was an answer to the expectation, not to the request.
    let begun = session.response_written().is_some_and(|head| !head.status.is_informational());
    if begun || error.kind() == Kind::ClientGone {
        session.set_keepalive(None);
        if begun {
            // What has gone out must not look complete.
            session.downstream_session.shutdown().await;
        }
        x.answer.status.get_or_insert(status);
        x.answer.error = Some(error);
        return;
    }
    let accept = session.req_header().headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let page = local::render(&error, x.id.as_str(), accept);
    x.answer.error = Some(error);
    answer(session, x, status, Some(page.content_type), page.body).await;
}

/// Gives an answer of the gateway's own.
async fn answer(
    session: &mut Session,
    x: &mut Exchange,
    status: u16,
    content_type: Option<&str>,
    body: Bytes,
) {
    let own = x.age_ms();
    let Ok(mut head) = head::local(status, content_type, &body, own, x.id.as_str()) else { return };
    plain::redirect(&mut head, x.answer.redirect.as_ref());
    head::add(&mut head, &x.answer.added);
    x.answer.status = Some(head.status.as_u16());
    x.answer.headers = Some(head.headers.clone());
    let body = (session.req_header().method != http::Method::HEAD).then_some(body);
    let written = session.write_response_header(Box::new(head), body.is_none()).await;
    if let (Ok(()), Some(body)) = (written, body) {
        // A client that hangs up during such an answer is nothing to act on.
        let _ = session.write_response_body(Some(body), true).await;
    }
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
        match self.edge.within(self.serve(session, x)).await {
            Ok(answered) => Ok(answered),
            Err(Stop::Error(error)) => {
                refuse(session, x, error).await;
                Ok(true)
            }
            Err(Stop::Reply(reply)) => {
                answer(session, x, reply.status, reply.content_type.as_deref(), reply.body).await;
                Ok(true)
            }
        }
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
        refuse(session, x, ours).await;
        // With `true` a truncated answer would be ended as if it were whole.
        FailToProxy { error_code: x.answer.status.unwrap_or(502), can_reuse_downstream: false }
    }

    fn suppress_error_log(&self, _session: &Session, _x: &Exchange, _error: &pingora::Error) -> bool {
        // The access log and the metrics say it; Pingora's line repeats client input.
        true
    }

    async fn logging(&self, session: &mut Session, _error: Option<&pingora::Error>, x: &mut Exchange) {
        settle::exchange(session, x);
    }
}
