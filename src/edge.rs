//! What holds for every request before anything of it is looked at: who asks, how large its head may
//! be, and how long it may take in all.

use crate::accept::client::RealIp;
use crate::accept::head::Bounds;
use crate::error::{Error, Kind, Result};
use crate::exchange::{Ends, Exchange};
use crate::listen::connection::Connection;
use pingora::protocols::l4::socket::SocketAddr;
use pingora_proxy::Session;
use std::time::Duration;

/// The rules of the edge.
#[derive(Clone, Debug)]
pub struct Edge {
    pub bounds: Bounds,
    pub real_ip: RealIp,
    /// From a request's head to the end of its answer.
    pub whole: Option<Duration>,
}

impl Edge {
    /// Notes who asks, and turns away what is beyond the bounds.
    pub fn greet(&self, session: &Session, x: &mut Exchange) -> Result<()> {
        let inet = |address: Option<&SocketAddr>| address?.as_inet().copied();
        let (server, client) = (inet(session.server_addr()), inet(session.client_addr()));
        let connection = Connection::of(&session.downstream_session);
        let request = session.req_header();
        let end = client.map(|client| client.ip());
        let stated = connection.and_then(Connection::stated).map(|stated| stated.source.ip());
        x.client = self.real_ip.client(end, stated, &request.headers);
        x.until = self.whole.map(|whole| x.begun + whole);
        let tls = connection.is_some_and(Connection::is_tls);
        x.ends = Ends { server, client, tls, trusted: self.real_ip.trusted.holds(end) };
        self.bounds.check(&request.uri, &request.headers)
    }

    /// Lets something run for as long as a request may take.
    pub async fn within<T, E: From<Error>>(
        &self,
        served: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let Some(whole) = self.whole else { return served.await };
        tokio::time::timeout(whole, served).await.unwrap_or_else(|_| Err(overdue().into()))
    }
}

/// The error of a request that took too long in all.
pub fn overdue() -> Error {
    Error::new(Kind::Overdue, "the request took longer than it may (request_seconds)")
}
