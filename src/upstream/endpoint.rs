//! Endpoints: name resolution with a memory, and the peers that Pingora's connection pool knows.

use super::tunnel::Tunnel;
use crate::error::{Error, Kind, Result};
use crate::wire::address::{Address, authority};
use arc_swap::ArcSwapOption;
use once_cell::sync::Lazy;
use pingora::upstreams::peer::{HttpPeer, Peer};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

/// How long a resolved name is used before it is looked up again.
const FRESH: Duration = Duration::from_secs(30);

/// Pooled connections are given up before the usual 60 s to 75 s after which providers drop them:
/// a request on a connection that just died costs a retry.
pub(super) const IDLE: Duration = Duration::from_secs(50);

/// The limits of one try, from the service or from the balancer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Timeouts {
    /// Until there is a connection.
    pub connect: Duration,
    /// Between two reads.
    pub read: Duration,
    /// Between two writes.
    pub write: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let minute = Duration::from_mins(1);
        Self { connect: minute, read: minute, write: minute }
    }
}

/// How an address is reached where it is not simply connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// Whether a certificate has to be one that we trust, for the name that we asked for.
    pub verify: bool,
    /// The proxy for `http`: it is sent the whole URL.
    pub http_proxy: Option<Hop>,
    /// The proxy for `https`: it is asked for a tunnel.
    pub https_proxy: Option<Hop>,
}

/// A proxy's host and port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Hop {
    /// A name or an address.
    pub host: Arc<str>,
    /// Of the host.
    pub port: u16,
}

impl Default for Way {
    fn default() -> Self {
        Self { verify: true, http_proxy: None, https_proxy: None }
    }
}

impl Way {
    /// The proxy on the way to that address.
    pub fn hop(&self, tls: bool) -> Option<&Hop> {
        if tls { self.https_proxy.as_ref() } else { self.http_proxy.as_ref() }
    }
}

/// One host and port, resolved when needed. All targets at the same address share it.
pub struct Endpoint {
    host: Arc<str>,
    port: u16,
    tls: bool,
    connect: Duration,
    verify: bool,
    hop: Option<Hop>,
    peers: ArcSwapOption<Resolved>,
    turn: AtomicUsize,
}

/// An address of an endpoint, with what the pool knows it by.
#[derive(Clone)]
pub struct Known {
    /// What Pingora connects to.
    pub peer: HttpPeer,
    /// That of its connections in the pool.
    pub key: u64,
    /// None where it is a socket's path.
    pub address: Option<SocketAddr>,
}

struct Resolved {
    peers: Vec<Arc<Known>>,
    until: Option<Instant>,
}

type Key = (Arc<str>, u16, bool, Duration, bool, Option<Hop>);

static ENDPOINTS: Lazy<Mutex<HashMap<Key, Weak<Endpoint>>>> = Lazy::new(Mutex::default);

impl Endpoint {
    /// The endpoint of that address.
    pub fn shared(address: &Address, timeouts: Timeouts) -> Arc<Self> {
        Self::by(address, timeouts, &Way::default())
    }

    /// The endpoint of that address, reached in that way.
    pub fn by(address: &Address, timeouts: Timeouts, way: &Way) -> Arc<Self> {
        let hop = way.hop(address.tls).cloned();
        // Without TLS there is nothing to verify: such endpoints are the same.
        let verify = way.verify || !address.tls;
        let key = (address.host.clone(), address.port, address.tls, timeouts.connect, verify, hop.clone());
        let mut all = ENDPOINTS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.get(&key).and_then(Weak::upgrade) {
            return known;
        }
        all.retain(|_, endpoint| endpoint.strong_count() > 0);
        let endpoint = Arc::new(Self {
            host: address.host.clone(),
            port: address.port,
            tls: address.tls,
            connect: timeouts.connect,
            verify,
            hop,
            peers: ArcSwapOption::empty(),
            turn: AtomicUsize::new(0),
        });
        if let Ok(ip) = endpoint.dialled().0.parse::<IpAddr>() {
            endpoint.peers.store(Some(Arc::new(Resolved { peers: vec![endpoint.peer_at(ip)], until: None })));
        }
        all.insert(key, Arc::downgrade(&endpoint));
        endpoint
    }

    /// A peer to connect to; resolved addresses take turns.
    pub async fn peer(&self) -> Result<Arc<Known>> {
        if let Some(known) = &*self.peers.load()
            && known.until.is_none_or(|until| Instant::now() < until)
        {
            return self.next(known);
        }
        let lookup = tokio::net::lookup_host(self.dialled());
        let found = tokio::time::timeout(self.connect, lookup).await;
        let mut peers: Vec<_> = match found {
            Ok(Ok(found)) => found.map(|address| self.peer_at(address.ip())).collect(),
            _ => Vec::new(),
        };
        if peers.is_empty() {
            // A name server that is away must not take down what worked a moment ago.
            match &*self.peers.load() {
                Some(old) => peers.clone_from(&old.peers),
                None => {
                    return Err(Error::new(Kind::Unresolved, "name resolution failed"));
                }
            }
        }
        let resolved = Arc::new(Resolved { peers, until: Some(Instant::now() + FRESH) });
        self.peers.store(Some(resolved.clone()));
        self.next(&resolved)
    }

    /// Whether requests go to a proxy that needs to be told whom they are for.
    pub fn wants_whole_url(&self) -> bool {
        self.hop.is_some() && !self.tls
    }

    /// Who is connected to: the proxy, where there is one.
    fn dialled(&self) -> (&str, u16) {
        self.hop.as_ref().map_or((&self.host, self.port), |hop| (&hop.host, hop.port))
    }

    fn next(&self, resolved: &Resolved) -> Result<Arc<Known>> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let count = resolved.peers.len().max(1);
        let peer = resolved.peers.get(turn % count).cloned();
        peer.ok_or_else(|| Error::new(Kind::Unresolved, "name resolution failed"))
    }

    fn peer_at(&self, ip: IpAddr) -> Arc<Known> {
        // With rustls an empty server name is a handshake error; for an IP literal its own text serves.
        let address = SocketAddr::new(ip, self.dialled().1);
        let mut peer = HttpPeer::new(address, self.tls, self.host.to_string());
        peer.options.verify_cert = self.verify;
        peer.options.verify_hostname = self.verify;
        if self.hop.is_some() && self.tls {
            let through = authority(&self.host, self.port, 0);
            // A tunnel leads to one server: its connections are nobody else's.
            let mut hasher = DefaultHasher::new();
            through.hash(&mut hasher);
            peer.group_key = hasher.finish();
            peer.options.custom_l4 = Some(Arc::new(Tunnel::new(through)));
        }
        peer.options.connection_timeout = Some(self.connect);
        peer.options.total_connection_timeout = Some(self.connect);
        peer.options.idle_timeout = Some(IDLE);
        Arc::new(Known { key: peer.reuse_hash(), address: peer._address.as_inet().copied(), peer })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_endpoint_per_address_and_no_lookup_for_an_ip() {
        let address = Address::parse("http://127.0.0.1:9/x").unwrap();
        let one = Endpoint::shared(&address, Timeouts::default());
        let two = Endpoint::shared(&Address::parse("http://127.0.0.1:9/y").unwrap(), Timeouts::default());
        assert!(Arc::ptr_eq(&one, &two));
        assert_eq!(one.peer().await.unwrap().address.unwrap().to_string(), "127.0.0.1:9");
    }

    #[tokio::test]
    async fn a_name_that_does_not_resolve_is_a_503() {
        let address = Address::parse("http://no-such-host.invalid/").unwrap();
        let error = Endpoint::shared(&address, Timeouts::default()).peer().await.err().unwrap();
        assert_eq!(error.kind(), Kind::Unresolved);
    }
}
