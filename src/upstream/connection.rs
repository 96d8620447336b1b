//! A connection to an upstream: its stream, what has been read of it, and its deadlines.

use crate::clock::{Clock, Elapsed};
use crate::turns;
use bytes::BytesMut;
use pingora::protocols::Stream;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// What is read at once at first,
const FIRST: usize = 4 * 1024;
/// and at most.
const MOST: usize = 64 * 1024;

/// One connection.
pub struct Connection {
    stream: Stream,
    /// Read, and not yet looked at.
    pub buf: BytesMut,
    clock: Clock,
    /// How much the next read makes room for.
    room: usize,
}

impl Connection {
    /// A connection that has just been made.
    pub fn new(stream: Stream) -> Self {
        Self { stream, buf: BytesMut::new(), clock: Clock::default(), room: FIRST }
    }

    /// Writes both parts, in one call of the system if it takes them.
    pub async fn write(
        &mut self,
        head: &[u8],
        body: &[u8],
        limit: Duration,
    ) -> Result<io::Result<()>, Elapsed> {
        if body.len() > turns::LARGE {
            return Box::pin(self.write_in_steps(head, body, limit)).await;
        }
        let Self { stream, clock, .. } = self;
        clock.within(limit, write(stream, head, body)).await
    }

    /// The time is that of each step: others have their turns between them.
    async fn write_in_steps(
        &mut self,
        head: &[u8],
        body: &[u8],
        limit: Duration,
    ) -> Result<io::Result<()>, Elapsed> {
        let Self { stream, clock, .. } = self;
        let first = clock.within(limit, write(stream, head, b"")).await?;
        if first.is_err() {
            return Ok(first);
        }
        let mut body = body;
        while !body.is_empty() {
            let piece = body.get(..turns::STEP).unwrap_or(body);
            let step = turns::step(|context| Pin::new(&mut *stream).poll_write(context, piece));
            match clock.within(limit, step).await? {
                Ok(0) => return Ok(Err(io::ErrorKind::WriteZero.into())),
                Ok(written) => body = body.get(written..).unwrap_or_default(),
                Err(error) => return Ok(Err(error)),
            }
        }
        clock.within(limit, stream.flush()).await
    }

    /// Reads what is there, and waits for it for so long. `Ok(0)`: it was closed.
    pub async fn read(&mut self, expected: usize, limit: Duration) -> Result<io::Result<usize>, Elapsed> {
        self.make_room(expected);
        let Self { stream, clock, buf, .. } = self;
        let read = clock.within(limit, stream.read_buf(buf)).await;
        self.learn(read.as_ref().ok());
        read
    }

    /// Reads what is there already. None: nothing is.
    pub fn read_now(&mut self, expected: usize) -> Option<io::Result<usize>> {
        self.make_room(expected);
        let polled = {
            let read = pin!(self.stream.read_buf(&mut self.buf));
            read.poll(&mut Context::from_waker(Waker::noop()))
        };
        match polled {
            Poll::Ready(read) => {
                self.learn(Some(&read));
                Some(read)
            }
            Poll::Pending => None,
        }
    }

    /// Whether it can carry another exchange: nobody has closed it or sent what was not asked for.
    pub fn is_quiet(&mut self) -> bool {
        self.buf.is_empty() && self.read_now(0).is_none()
    }

    /// Gives up a large buffer while nothing is expected.
    pub fn rest(&mut self) {
        if self.room > FIRST {
            (self.buf, self.room) = (BytesMut::new(), FIRST);
        }
    }

    fn make_room(&mut self, expected: usize) {
        if self.buf.capacity() - self.buf.len() < FIRST / 2 || expected > self.room {
            self.buf.reserve(expected.max(self.room));
        }
    }

    /// A read that fills its room is followed by larger ones.
    fn learn(&mut self, read: Option<&io::Result<usize>>) {
        if self.buf.len() == self.buf.capacity() && matches!(read, Some(Ok(1..))) {
            self.room = (self.room * 2).min(MOST);
        }
    }
}

async fn write(stream: &mut Stream, mut head: &[u8], mut body: &[u8]) -> io::Result<()> {
    while !head.is_empty() {
        let written = stream.write_vectored(&[IoSlice::new(head), IoSlice::new(body)]).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        let of_head = written.min(head.len());
        head = head.get(of_head..).unwrap_or_default();
        body = body.get(written - of_head..).unwrap_or_default();
    }
    stream.write_all(body).await?;
    stream.flush().await
}
