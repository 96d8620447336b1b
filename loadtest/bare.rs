//! The smallest proxy that Pingora allows: every request goes to one upstream, nothing is looked at. What tollgate
//! adds to this is its own; measured beside it by `make loadtest`, built with the same profile and allocator.
//!
//!     bare LISTEN UPSTREAM

use async_trait::async_trait;
use pingora::server::Server;
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::HttpPeer;
use pingora_proxy::{ProxyHttp, Session};
use std::net::SocketAddr;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct Bare {
    upstream: SocketAddr,
}

#[async_trait]
impl ProxyHttp for Bare {
    type CTX = ();

    fn new_ctx(&self) -> Self::CTX {}

    async fn upstream_peer(&self, _: &mut Session, (): &mut Self::CTX) -> pingora::Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.upstream, false, String::new())))
    }
}

fn main() -> Result<(), String> {
    let addresses: Vec<String> = std::env::args().skip(1).collect();
    let [listen, upstream] = addresses.as_slice() else {
        return Err("bare LISTEN UPSTREAM".to_owned());
    };
    let upstream = upstream.parse().map_err(|error| format!("{upstream}: {error}"))?;
    let conf = ServerConf {
        threads: 1,
        // It ends when it is told to, and not after five minutes.
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(0),
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    let mut proxy = pingora_proxy::http_proxy_service(&server.configuration, Bare { upstream });
    proxy.add_tcp(listen);
    server.add_service(proxy);
    server.run_forever();
}
