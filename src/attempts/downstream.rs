//! The client's side of an exchange: written to until it hangs up, and watched while we wait.

use crate::accept::Client;
use bytes::Bytes;
use pingora::http::ResponseHeader;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

/// How long an HTTP/2 connection gets to send what was written before a stream of it is reset.
const FLUSH: Duration = Duration::from_millis(20);

/// The client's connection.
pub struct Downstream<'a> {
    /// The connection itself.
    pub client: Client<'a>,
    /// The client has hung up: nothing is written any more.
    pub gone: bool,
    /// The head of an answer has been written: from here on there is no other answer.
    pub begun: bool,
    /// Time spent waiting for others than the client.
    pub waited: Duration,
}

impl<'a> Downstream<'a> {
    /// A client that waits for its answer.
    pub fn new(client: Client<'a>) -> Self {
        Self { client, gone: false, begun: false, waited: Duration::ZERO }
    }

    /// Waits for `work`, and gives it up when the client hangs up first.
    pub async fn unless_gone<F: Future>(&mut self, work: F) -> Option<F::Output> {
        if self.gone {
            return None;
        }
        if self.client.flush().await.is_err() {
            self.gone = true;
            return None;
        }
        let mut from = None;
        let output = {
            let (mut work, mut hung_up) = (pin!(work), pin!(self.client.hung_up()));
            poll_fn(|context| {
                if let Poll::Ready(output) = work.as_mut().poll(context) {
                    return Poll::Ready(Some(output));
                }
                // What is there at once is not waited for, and costs no look at the clock.
                from.get_or_insert_with(Instant::now);
                hung_up.as_mut().poll(context).map(|()| None)
            })
            .await
        };
        self.gone = output.is_none();
        self.waited += from.map_or(Duration::ZERO, |from| from.elapsed());
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
        if !self.gone && self.client.answer(head, false).await.is_err() {
            self.gone = true;
        }
    }

    /// Writes a piece of the body.
    pub async fn body(&mut self, piece: Bytes, end: bool) {
        if !self.gone && self.client.piece(piece, end).await.is_err() {
            self.gone = true;
        }
    }

    /// Ends the answer properly.
    pub async fn end(&mut self) {
        if !self.gone && self.client.end().await.is_err() {
            self.gone = true;
        }
    }

    /// Ends it visibly in the middle: a truncated answer must never look complete.
    pub async fn cut(&mut self) {
        self.client.close_after();
        if self.client.is_h2() {
            // A reset overtakes what is still queued: without a moment the client would not see the
            // error event, at times not even the head.
            tokio::time::sleep(FLUSH).await;
        }
        self.client.shutdown().await;
    }
}
