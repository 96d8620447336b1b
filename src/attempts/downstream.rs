//! The client's side of an exchange: written to until it hangs up, and watched while we wait.

use bytes::Bytes;
use pingora::http::ResponseHeader;
use pingora_proxy::Session;
use std::future::Future;
use std::time::{Duration, Instant};

/// How long an HTTP/2 connection gets to send what was written before a stream of it is reset.
const FLUSH: Duration = Duration::from_millis(20);

/// The client's connection.
pub struct Downstream<'a> {
    pub session: &'a mut Session,
    /// The client has hung up: nothing is written any more.
    pub gone: bool,
    /// The head of an answer has been written: from here on there is no other answer.
    pub begun: bool,
    /// Time spent waiting for others than the client.
    pub waited: Duration,
}

impl<'a> Downstream<'a> {
    /// Wraps a session.
    pub fn new(session: &'a mut Session) -> Self {
        Self { session, gone: false, begun: false, waited: Duration::ZERO }
    }

    /// Waits for `work`, and gives it up when the client hangs up first.
    pub async fn unless_gone<F: Future>(&mut self, work: F) -> Option<F::Output> {
        if self.gone {
            return None;
        }
        let from = Instant::now();
        let output = tokio::select! {
            biased;
            output = work => Some(output),
            _ = self.session.downstream_session.read_body_or_idle(true) => None,
        };
        self.gone = output.is_none();
        self.waited += from.elapsed();
        output
    }

    /// Waits for `work` to its end, and notes if the client hangs up meanwhile: what an upstream
    /// serves is metered also when nobody takes it.
    pub async fn to_the_end<F: Future + Unpin>(&mut self, mut work: F) -> F::Output {
        if let Some(output) = self.unless_gone(&mut work).await {
            return output;
        }
        let from = Instant::now();
        let output = work.await;
        self.waited += from.elapsed();
        output
    }

    /// Writes the head.
    pub async fn head(&mut self, head: ResponseHeader) {
        self.begun = true;
        if !self.gone && self.session.write_response_header(Box::new(head), false).await.is_err() {
            self.gone = true;
        }
    }

    /// Writes a piece of the body.
    pub async fn body(&mut self, piece: Bytes, end: bool) {
        if !self.gone && self.session.write_response_body(Some(piece), end).await.is_err() {
            self.gone = true;
        }
    }

    /// Ends the answer properly.
    pub async fn end(&mut self) {
        if !self.gone && self.session.write_response_body(None, true).await.is_err() {
            self.gone = true;
        }
    }

    /// Ends it visibly in the middle: a truncated answer must never look complete.
    pub async fn cut(&mut self) {
        self.session.set_keepalive(None);
        if self.session.req_header().version == http::Version::HTTP_2 {
            // A reset overtakes what is still queued: without a moment the client would not see the
            // error event, at times not even the head.
            tokio::time::sleep(FLUSH).await;
        }
        self.session.downstream_session.shutdown().await;
    }
}
