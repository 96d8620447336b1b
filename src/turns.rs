//! How large bodies, and many connections that end at once, leave the threads to other requests.
//!
//! A thread serves many requests in turns, and whatever keeps it makes all others wait. What takes long only
//! because it is large or comes in crowds goes one step at a time through here: a step, then all that is
//! ready, then the next one, whoever's it is. Small requests never ask.

use std::future::poll_fn;
use std::sync::Once;
use std::task::{Context, Poll};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::{block_in_place, yield_now};

/// What is larger takes turns. Smaller bodies are through before a turn would have come.
pub const LARGE: usize = 256 * 1024;

/// What is read or written in one step.
pub const STEP: usize = 64 * 1024;

/// One lane for every two threads: however many wait in it, there are threads, and cores, that they do not use. What
/// is computed beside the threads waits in the same lane, because cores are what other requests need.
static LANE: Semaphore = Semaphore::const_new(1);

/// Says how many threads serve requests; the first call counts.
pub fn furnish(threads: usize) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| LANE.add_permits((threads / 2).saturating_sub(1)));
}

/// Waits for its turn, and lets go on what is ready.
pub async fn pass() {
    let _turn = LANE.acquire().await;
    yield_now().await;
}

/// Does one step of reading or writing as soon as it is possible and its turn.
pub async fn step<T>(mut work: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
    loop {
        let turn = LANE.acquire().await;
        if let Poll::Ready(done) = poll_fn(|context| Poll::Ready(work(context))).await {
            // The turn ends when what is ready has had its own.
            yield_now().await;
            return done;
        }
        drop(turn);
        woken().await;
    }
}

/// Waits for its turn to compute, if a body of this length has to. The turn ends when this is dropped; it must not
/// be held over a step.
pub async fn desk(length: usize) -> Option<SemaphorePermit<'static>> {
    if length > LARGE { Box::pin(LANE.acquire()).await.ok() } else { None }
}

/// Computes something of a body of this length; if it is large, other requests get another thread meanwhile.
pub fn aside<T>(length: usize, work: impl FnOnce() -> T) -> T {
    aside_if(length > LARGE, work)
}

/// The same for work that knows by itself whether it takes long.
pub fn aside_if<T>(long: bool, work: impl FnOnce() -> T) -> T {
    if long && can_leave() { block_in_place(work) } else { work() }
}

#[cold]
fn can_leave() -> bool {
    Handle::try_current().is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::MultiThread)
}

/// Pending once: what was asked for before has noted whom to wake.
async fn woken() {
    let mut asked = false;
    poll_fn(|_| if std::mem::replace(&mut asked, true) { Poll::Ready(()) } else { Poll::Pending }).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::pin::pin;
    use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};

    #[tokio::test]
    async fn a_step_waits_for_what_it_needs_without_keeping_others_from_theirs() {
        let (mut near, mut far) = tokio::io::duplex(8);
        let mut buffer = [0; 4];
        let read = step(|context| {
            let mut buffer = ReadBuf::new(&mut buffer);
            pin!(&mut near).poll_read(context, &mut buffer).map(|read| read.map(|()| buffer.filled().len()))
        });
        let write = async {
            step(|_| Poll::Ready(())).await;
            far.write_all(b"abc").await.unwrap();
        };
        let (read, ()) = tokio::join!(read, write);
        assert_eq!((read.unwrap(), &buffer[..3]), (3, &b"abc"[..]));
    }

    #[tokio::test]
    async fn between_two_steps_all_that_is_ready_goes_on() {
        let others = Cell::new(0);
        let steps = Cell::new(0);
        let large = async {
            while steps.get() < 10 {
                step(|_| {
                    steps.set(steps.get() + 1);
                    Poll::Ready(())
                })
                .await;
                assert!(others.get() >= steps.get() - 1, "{} of {}", others.get(), steps.get());
            }
        };
        let small = async {
            while steps.get() < 10 {
                others.set(others.get() + 1);
                yield_now().await;
            }
        };
        tokio::join!(large, small);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn computing_leaves_the_thread_to_others() {
        let (told, hear) = std::sync::mpsc::channel();
        tokio::spawn(async move {
            let _desk = desk(LARGE + 1).await;
            // The only worker is here: nothing would ever be heard on it.
            let other = tokio::spawn(async move { told.send(5) });
            assert_eq!(aside(LARGE + 1, || hear.recv()), Ok(5));
            other.await.unwrap().unwrap();
        })
        .await
        .unwrap();
    }

    #[tokio::test]
    async fn where_there_is_one_thread_only_it_computes() {
        assert_eq!(aside(LARGE + 1, || 7), 7);
    }
}
