//! What becomes of operators' requests while another process takes over.
//!
//! The invariant: no request is lost, and none is answered by a process that the answer would be out of
//! date for. Those under way are answered first; those that come meanwhile wait; once there is another
//! process, those that still reach this one, on connections that were kept open, are passed on to it.

use super::reply::message;
use axum::body::Body;
use axum::extract::{Request, State as Shared};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::watch;

/// Where the operators' listeners are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Requests are served.
    #[default]
    Open,
    /// They wait.
    Resting,
    /// Another process serves them.
    Replaced,
}

/// The phase of all operators' listeners, and how many of their requests are under way.
#[derive(Default)]
pub struct Rest(watch::Sender<(Phase, usize)>);

impl Rest {
    /// Begins, and waits for requests under way; after `patience` they are left to themselves.
    pub async fn begin(&self, patience: Duration) {
        self.0.send_modify(|(phase, _)| *phase = Phase::Resting);
        let mut state = self.0.subscribe();
        if tokio::time::timeout(patience, state.wait_for(|(_, under_way)| *under_way == 0)).await.is_err() {
            tracing::warn!("a request to the operators' listeners does not come to its end");
        }
    }

    /// Ends: this process serves again.
    pub fn end(&self) {
        self.0.send_modify(|(phase, _)| *phase = Phase::Open);
    }

    /// Leaves everything to another process.
    pub fn leave(&self) {
        self.0.send_modify(|(phase, _)| *phase = Phase::Replaced);
    }

    /// Waits for a phase.
    pub async fn until(&self, is: impl Fn(Phase) -> bool) {
        let _ = self.0.subscribe().wait_for(|(phase, _)| is(*phase)).await;
    }

    /// Begins a request, if it may be served here.
    fn enter(&self) -> Option<UnderWay<'_>> {
        let entered = self.0.send_if_modified(|(phase, under_way)| {
            let open = *phase == Phase::Open;
            *under_way += usize::from(open);
            open
        });
        entered.then_some(UnderWay(self))
    }
}

/// A request that is served here, until it is dropped.
struct UnderWay<'a>(&'a Rest);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.0.send_modify(|(_, under_way)| *under_way = under_way.saturating_sub(1));
    }
}

/// What a listener's requests need to know.
#[derive(Clone)]
pub struct Turn {
    /// Holds them back while the process is replaced.
    pub rest: Arc<Rest>,
    /// The listener's own address, at which the next process listens as well.
    pub address: SocketAddr,
}

/// Serves a request here, or has the next process serve it.
pub async fn take_turn(Shared(turn): Shared<Turn>, request: Request, next: Next) -> Response {
    loop {
        if let Some(_under_way) = turn.rest.enter() {
            return next.run(request).await;
        }
        turn.rest.until(|phase| phase != Phase::Resting).await;
        if turn.rest.0.borrow().0 == Phase::Replaced {
            return pass_on(turn.address, request).await;
        }
    }
}

async fn pass_on(address: SocketAddr, request: Request) -> Response {
    let mut answer = ask(address, request).await.unwrap_or_else(|error| {
        tracing::error!(%error, "an operator's request cannot be passed on to the new process");
        message(StatusCode::BAD_GATEWAY, "the process that took over does not answer")
    });
    // The client's next request is to come to the new process by itself.
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}

async fn ask(
    address: SocketAddr,
    mut request: Request,
) -> Result<Response, Box<dyn std::error::Error + Send + Sync>> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake::<_, Body>(TokioIo::new(stream)).await?;
    request.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    let exchange = async {
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = axum::body::to_bytes(Body::new(body), usize::MAX).await?;
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>((head, body).into_response())
    };
    let (answer, _) = tokio::join!(exchange, connection);
    answer
}

#[cfg(test)]
mod tests {
    use super::super::listener::Listener;
    use super::*;
    use axum::Router;
    use axum::routing::get;
    use pingora::services::background::BackgroundService;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::Notify;

    /// A listener on that socket which answers with a word, on `/slow` only once it is let.
    fn listen(socket: &std::net::TcpListener, word: &'static str) -> (Arc<Rest>, Arc<Notify>, Arc<Notify>) {
        let (rest, asked, leave) =
            (Arc::new(Rest::default()), Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (tell, wait) = (asked.clone(), leave.clone());
        let slow = get(async move || {
            tell.notify_one();
            wait.notified().await;
            word
        });
        let router = Router::new().route("/slow", slow).route("/", get(async move || word));
        let listener = Listener { socket: socket.try_clone().unwrap(), router, rest: rest.clone() };
        tokio::spawn(async move { listener.start(watch::channel(false).1).await });
        (rest, asked, leave)
    }

    async fn send(client: &mut TcpStream, path: &str) {
        client.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.unwrap();
    }

    /// Reads until the text has come, or the end.
    async fn until(client: &mut TcpStream, text: &str) -> String {
        let mut seen = Vec::new();
        while !String::from_utf8_lossy(&seen).contains(text) && client.read_buf(&mut seen).await.unwrap() > 0
        {
        }
        String::from_utf8(seen).unwrap()
    }

    async fn silent(client: &mut TcpStream) -> bool {
        tokio::time::timeout(Duration::from_millis(100), client.read(&mut [0])).await.is_err()
    }

    #[tokio::test]
    async fn requests_are_ended_then_wait_then_go_to_the_next_process() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let address = socket.local_addr().unwrap();
        let (rest, asked, leave) = listen(&socket, "old");
        let (mut slow, mut kept) =
            (TcpStream::connect(address).await.unwrap(), TcpStream::connect(address).await.unwrap());
        send(&mut kept, "/").await;
        assert!(until(&mut kept, "old").await.ends_with("old"));
        send(&mut slow, "/slow").await;
        asked.notified().await;
        let resting = rest.clone();
        let resting = tokio::spawn(async move { resting.begin(Duration::from_secs(10)).await });
        rest.until(|phase| phase == Phase::Resting).await;
        assert!(!resting.is_finished(), "a request is under way");
        leave.notify_one();
        assert!(until(&mut slow, "old").await.ends_with("old"));
        resting.await.unwrap();

        let mut fresh = TcpStream::connect(address).await.unwrap();
        send(&mut fresh, "/").await;
        send(&mut kept, "/").await;
        assert!(silent(&mut fresh).await && silent(&mut kept).await, "they wait");
        listen(&socket, "new");
        assert!(until(&mut fresh, "new").await.ends_with("new"));
        assert!(silent(&mut kept).await, "it is not decided yet");
        rest.leave();
        let passed_on = until(&mut kept, "no such text").await;
        assert!(passed_on.contains("connection: close") && passed_on.ends_with("new"), "{passed_on}");
        // Also a connection that had its first request served here.
        send(&mut slow, "/").await;
        assert!(until(&mut slow, "no such text").await.ends_with("new"));
    }

    #[tokio::test]
    async fn if_nobody_takes_over_those_that_waited_are_served() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let (rest, _, _) = listen(&socket, "old");
        rest.begin(Duration::from_secs(10)).await;
        let mut client = TcpStream::connect(socket.local_addr().unwrap()).await.unwrap();
        send(&mut client, "/").await;
        assert!(silent(&mut client).await);
        rest.end();
        assert!(until(&mut client, "old").await.ends_with("old"));
    }
}
