//! Fetches the tokens of clouds, before they are needed and again before they expire.

use crate::provider::auth::token::{Ask, Grant, Refusal, TOKENS, Token};
use crate::upstream::attempt::Connections;
use crate::upstream::endpoint::Timeouts;
use crate::upstream::fetch::{Call, Limits, fetch};
use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::task::JoinSet;

const SECONDS: Duration = Duration::from_secs(5);

/// A token is a few kilobytes at most.
const LIMITS: Limits = Limits {
    timeouts: Timeouts { connect: SECONDS, read: SECONDS, write: SECONDS },
    whole: Duration::from_secs(10),
    body: 256 * 1024,
};

/// How often the tokens are looked over although none is due.
const LOOK: Duration = Duration::from_mins(1);

/// The service.
pub struct TokenKeeper {
    connections: Arc<Connections>,
}

impl Default for TokenKeeper {
    fn default() -> Self {
        // Its own few connections: they belong to its own runtime.
        Self { connections: Arc::new(Connections::new(4)) }
    }
}

#[async_trait]
impl BackgroundService for TokenKeeper {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let mut under_way = JoinSet::new();
        loop {
            let now = Instant::now();
            let live = TOKENS.live();
            for token in live.iter().filter(|token| token.begin(now)) {
                under_way.spawn(renew(self.connections.clone(), token.clone()));
            }
            let due = live.iter().filter_map(|token| token.due()).min().unwrap_or(now + LOOK).min(now + LOOK);
            // A token that nobody uses any more must not be held by who looks after it.
            drop(live);
            tokio::select! {
                () = tokio::time::sleep_until(due.into()) => {}
                () = TOKENS.added() => {}
                Some(_) = under_way.join_next() => {}
                _ = shutdown.changed() => return,
            }
        }
    }
}

async fn renew(connections: Arc<Connections>, token: Arc<Token>) {
    let fetched = ask(&connections, &token).await;
    if let Err(refusal) = token.settle(fetched, Instant::now()) {
        let lasting = matches!(refusal, Refusal::Lasting(_));
        tracing::error!(lasting, "no token of a cloud identity: {refusal}");
    }
}

async fn ask(connections: &Arc<Connections>, token: &Token) -> Result<Grant, Refusal> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let Ask { method, url, headers, body } = token.issuer().ask(now).map_err(Refusal::Lasting)?;
    let fetched = fetch(connections, Call { method, url, headers, body }, LIMITS).await;
    let fetched = fetched.map_err(|error| Refusal::Passing(error.message().to_owned()))?;
    token.issuer().read(fetched.status, &fetched.body).map_err(Refusal::Passing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::auth::token::Issuer;
    use bytes::Bytes;
    use http::Method;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// Asks an endpoint whose answer is the token itself.
    struct Plain(String);

    impl Issuer for Plain {
        fn ask(&self, _now: u64) -> Result<Ask, String> {
            Ok(Ask { method: Method::GET, url: self.0.clone(), headers: Vec::new(), body: Bytes::new() })
        }

        fn read(&self, status: u16, body: &[u8]) -> Result<Grant, String> {
            let token = String::from_utf8_lossy(body).into_owned();
            if status == 200 { Ok(Grant { token, lifetime: Duration::from_secs(1) }) } else { Err(token) }
        }
    }

    async fn answer(listener: &TcpListener, answer: &str) {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut asked = Vec::new();
        while !asked.ends_with(b"\r\n\r\n") {
            assert_ne!(socket.read_buf(&mut asked).await.unwrap(), 0);
        }
        socket.write_all(answer.as_bytes()).await.unwrap();
    }

    #[tokio::test]
    async fn tokens_are_fetched_retried_and_renewed() {
        let (stop, shutdown) = tokio::sync::watch::channel(false);
        let keeper = tokio::spawn(async move { TokenKeeper::default().start(shutdown).await });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let token = TOKENS.shared(format!("test {url}"), || Box::new(Plain(url)));
        answer(&listener, "HTTP/1.1 503 Busy\r\nconnection: close\r\ncontent-length: 4\r\n\r\nbusy").await;
        token.ready().await;
        assert!(token.header().is_err(), "the first answer was no token");
        answer(&listener, "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nt1").await;
        answer(&listener, "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nt2").await;
        let renewed = async {
            while !token.header().is_ok_and(|header| header == "Bearer t2") {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(5), renewed).await.unwrap();
        stop.send(true).unwrap();
        keeper.await.unwrap();
    }
}
