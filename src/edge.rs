//! What holds for every request before anything of it is looked at: who asks, how large its head may
//! be, and how long it may take in all.

use crate::accept::Client;
use crate::accept::head::Bounds;
use crate::accept::real_ip::RealIp;
use crate::error::{Error, Kind, Result};
use crate::exchange::Ends;
use crate::listen::connection::Connection;
use std::net::IpAddr;
use std::pin::Pin;
use std::time::Duration;

/// The rules of the edge.
#[derive(Clone, Debug)]
pub struct Edge {
    /// Of heads.
    pub bounds: Bounds,
    /// Who a request is from.
    pub real_ip: RealIp,
    /// From a request's head to the end of its answer.
    pub whole: Option<Duration>,
}

/// What is known of a request before anything else is looked at.
pub struct Met {
    /// Who asks: the other end of the connection, or whom a trusted proxy there names.
    pub client: Option<IpAddr>,
    /// The connection's.
    pub ends: Ends,
    /// Whether its head is within the bounds.
    pub bounded: Result<()>,
}

impl Edge {
    /// Finds out who asks, and whether the head is one to be served.
    pub fn meet(&self, client: &Client<'_>) -> Met {
        let (server, other) = (client.server_addr(), client.client_addr());
        let connection = Connection::of(client.digest());
        let request = client.head();
        let end = other.map(|other| other.ip());
        let stated = connection.and_then(Connection::stated).map(|stated| stated.source.ip());
        let tls = connection.is_some_and(Connection::is_tls);
        Met {
            client: self.real_ip.client(end, stated, &request.headers),
            ends: Ends { server, client: other, tls, trusted: self.real_ip.trusted.holds(end) },
            bounded: self.bounds.check(&request.uri, &request.headers),
        }
    }

    /// Lets something run for as long as a request may take. It comes pinned: by value it would stand in this
    /// future twice.
    pub async fn within<T, E: From<Error>>(
        &self,
        served: Pin<&mut impl Future<Output = Result<T, E>>>,
    ) -> Result<T, E> {
        let Some(whole) = self.whole else { return served.await };
        tokio::time::timeout(whole, served).await.unwrap_or_else(|_| Err(overdue().into()))
    }
}

/// The error of a request that took too long in all.
pub fn overdue() -> Error {
    Error::new(Kind::Overdue, "the request took longer than it may (request_seconds)")
}
