//! The listeners' application: each connection is served directly as long as what comes on it is plain enough,
//! and given to Pingora otherwise.
//!
//! Pingora's proxy moves futures of many kilobytes for every request, most of which serves what an AI
//! exchange never does. A request that is an AI exchange in HTTP/1.1 with a body of stated length is served
//! here, by the same code on a smaller stage; HTTP/2, plain routes and everything unusual go to `HttpProxy`.

use crate::accept::Client;
use crate::accept::direct::{Direct, Next};
use crate::exchange::Exchange;
use crate::gateway::Gateway;
use crate::serving::{self, Found};
use crate::settle;
use crate::snapshot::Snapshot;
use async_trait::async_trait;
use bytes::BytesMut;
use pingora::apps::{HttpServerApp, ServerApp};
use pingora::protocols::http::ServerSession;
use pingora::protocols::{ALPN, Stream};
use pingora::server::ShutdownWatch;
use pingora_proxy::HttpProxy;
use std::pin::pin;
use std::sync::Arc;

/// What an HTTP/2 client says first, by RFC 9113, 3.4.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The application of the proxy listeners.
pub struct Front {
    gateway: Gateway,
    proxy: Arc<HttpProxy<Gateway>>,
}

impl Front {
    /// Serves through the gateway; `proxy` is Pingora's for the same.
    pub fn new(gateway: Gateway, proxy: HttpProxy<Gateway>) -> Self {
        Self { gateway, proxy: Arc::new(proxy) }
    }

    /// Serves requests as long as they are ours. What remains is a connection for Pingora, with what was
    /// read of it.
    async fn serve(&self, stream: Stream, shutdown: &ShutdownWatch) -> Option<(Stream, BytesMut)> {
        let mut direct = Direct::new(stream);
        let mut watch = shutdown.clone();
        let mut stop = pin!(async move {
            // Without its sender there is no process left to go on for.
            let _ = watch.wait_for(|down| *down).await;
        });
        loop {
            match direct.next(stop.as_mut()).await {
                Next::Request => {}
                Next::Closed => return None,
                Next::Other => return Some(direct.into_parts()),
            }
            let snapshot = self.gateway.live.load_full();
            let Some(found) = found(&mut direct, &snapshot) else { return Some(direct.into_parts()) };
            if *shutdown.borrow() {
                direct.close_after();
            }
            let mut x = Exchange::new(snapshot);
            let mut client = Client::Direct(&mut direct);
            serving::request(&self.gateway, &mut client, &mut x, Some(found)).await;
            settle::exchange(&client, &mut x);
            if !direct.finish().await {
                return None;
            }
        }
    }

    /// Lets Pingora serve the connection to its end.
    async fn hand_over(&self, stream: Stream, read: BytesMut, shutdown: &ShutdownWatch) {
        let mut session = ServerSession::new_http1(stream);
        session.set_keepalive(if *shutdown.borrow() { None } else { Some(60) });
        session.set_pipelining_enabled(true);
        session.set_pipelined_prefix(read);
        let mut next = self.proxy.process_new_http(session, shutdown).await;
        while let Some((stream, settings)) = next.map(pingora::apps::ReusedHttpStream::consume) {
            let mut session = ServerSession::new_http1(stream);
            if let Some(settings) = settings {
                settings.apply_to_session(&mut session);
            }
            next = self.proxy.process_new_http(session, shutdown).await;
        }
    }
}

/// The route of a request that is an AI exchange, whoever the consumer turns out to be.
fn found(direct: &mut Direct, snapshot: &Snapshot) -> Option<Found> {
    let found = serving::find(&Client::Direct(direct), snapshot)?;
    found.matched.entry.is_ai().then_some(found)
}

#[async_trait]
impl ServerApp for Front {
    async fn process_new(self: &Arc<Self>, mut stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        let mut first = [0; PREFACE.len()];
        let h2 = match stream.selected_alpn_proto() {
            Some(ALPN::H1) => false,
            Some(_) => true,
            // Not all streams can be looked into; those that cannot are not in the clear.
            None => stream.try_peek(&mut first).await.ok()? && first == *PREFACE,
        };
        if h2 {
            return self.proxy.process_new(stream, shutdown).await;
        }
        if let Some((stream, read)) = self.serve(stream, shutdown).await {
            self.hand_over(stream, read, shutdown).await;
        }
        None
    }

    async fn cleanup(&self) {
        self.proxy.http_cleanup().await;
    }
}
