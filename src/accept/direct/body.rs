//! Reading the body of a request: into the connection's buffer, and out of it without a copy.

use super::Direct;
use crate::accept::Patience;
use crate::accept::room::Held;
use crate::clock::Elapsed;
use crate::error::Result;
use crate::turns;
use bytes::{BufMut, Bytes, BytesMut};
use std::io;
use std::pin::pin;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::time::Instant;

/// A body larger than this has a buffer to itself, which does not outlive it.
const LARGE: usize = 32 * 1024;

impl Direct {
    /// The request's body, of at most `limit` bytes, in room that it holds then.
    pub async fn body(&mut self, limit: usize, patience: Patience, held: &mut Held) -> Result<Bytes> {
        let Some(length) = usize::try_from(self.left).ok().filter(|length| *length <= limit) else {
            self.keep_alive = false;
            return Err(crate::accept::too_large(limit));
        };
        if let Err(error) = held.wait(length, patience.total).await {
            self.keep_alive = false;
            return Err(error);
        }
        if self.buf.len() < length {
            self.gather(length, patience).await?;
        }
        (self.left, self.received) = (0, length);
        if length <= LARGE {
            return Ok(self.buf.split_to(length).freeze());
        }
        let behind = self.buf.split_off(length);
        Ok(std::mem::replace(&mut self.buf, BytesMut::from(&*behind)).freeze())
    }

    /// Reads until so much is there.
    async fn gather(&mut self, length: usize, patience: Patience) -> Result<()> {
        let until = Instant::now() + patience.total;
        while self.buf.len() < length {
            let limit = until.saturating_duration_since(Instant::now()).min(patience.per_read);
            let room = length - self.buf.len();
            let read = if length > turns::LARGE {
                Box::pin(self.step(room, limit)).await
            } else {
                self.read(room, limit).await
            };
            match read {
                Ok(Ok(1..)) => {}
                Ok(Ok(0) | Err(_)) => {
                    (self.keep_alive, self.closed) = (false, true);
                    return Err(crate::accept::gone());
                }
                Err(Elapsed) => {
                    self.keep_alive = false;
                    // Those who began together are late together.
                    turns::pass().await;
                    return Err(crate::accept::slow());
                }
            }
        }
        Ok(())
    }

    async fn read(&mut self, room: usize, limit: Duration) -> Result<io::Result<usize>, Elapsed> {
        self.buf.reserve(room);
        let Self { stream, buf, clock, .. } = self;
        clock.within(limit, stream.read_buf(buf)).await
    }

    /// Reads a piece of a large body.
    async fn step(&mut self, room: usize, limit: Duration) -> Result<io::Result<usize>, Elapsed> {
        self.buf.reserve(room);
        let Self { stream, buf, clock, .. } = self;
        let read = turns::step(|context| {
            let mut piece = (&mut *buf).limit(turns::STEP);
            pin!(stream.read_buf(&mut piece)).poll(context)
        });
        clock.within(limit, read).await
    }
}
