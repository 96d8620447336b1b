//! Writes that wait for their neighbours.
//!
//! Whoever sleeps at the other end of a connection is woken by what is written to it, and waking costs more
//! than writing. A busy thread that writes after each read wakes its peers again and again: each of them has
//! dealt with one message before the next one is there. So where several exchanges are ready at once, all are
//! read and worked on first, and then all are written: the first write wakes, the others find their peer
//! awake. Nobody waits for anything that is not here already, and who is alone does not wait at all.

use std::cell::Cell;

/// Writes that meet in fewer than so many save nothing.
const FEW: u32 = 3;
/// So many go out at once before the next is tried together with others.
const ALONE: u32 = 64;

#[derive(Default)]
struct Turn {
    /// How many wait for their turn.
    met: Cell<u32>,
    /// How many go out without.
    alone: Cell<u32>,
}

thread_local! {
    static TURN: Turn = const { Turn { met: Cell::new(0), alone: Cell::new(0) } };
}

/// Lets what else is ready on this thread be read before the caller writes.
pub async fn others() {
    if TURN.with(Turn::joins) {
        tokio::task::yield_now().await;
        TURN.with(Turn::goes_on);
    }
}

impl Turn {
    fn joins(&self) -> bool {
        if let Some(left) = self.alone.get().checked_sub(1) {
            self.alone.set(left);
            return false;
        }
        self.met.set(self.met.get() + 1);
        true
    }

    /// The first that goes on sees how many they were.
    fn goes_on(&self) {
        if (1..FEW).contains(&self.met.replace(0)) {
            self.alone.set(ALONE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Waker};

    /// How many of `count` tasks had come as far as writing when the first one wrote, each time.
    async fn waves(count: usize, times: usize) -> Vec<usize> {
        let (come, begun) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(usize::MAX)));
        let mut seen = Vec::new();
        for _ in 0..times {
            let tasks: Vec<_> = (0..count)
                .map(|_| {
                    let (come, begun) = (come.clone(), begun.clone());
                    tokio::spawn(async move {
                        come.fetch_add(1, Ordering::Relaxed);
                        others().await;
                        begun.fetch_min(come.load(Ordering::Relaxed), Ordering::Relaxed);
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
            seen.push(begun.swap(usize::MAX, Ordering::Relaxed));
            come.store(0, Ordering::Relaxed);
        }
        seen
    }

    #[tokio::test]
    async fn many_are_read_before_any_is_written() {
        assert_eq!(waves(20, 3).await, [20, 20, 20]);
    }

    #[tokio::test]
    async fn one_alone_does_not_wait() {
        let mut yields = 0;
        for _ in 0..ALONE * 3 {
            let first = pin!(others()).poll(&mut Context::from_waker(Waker::noop()));
            yields += u32::from(first.is_pending());
            TURN.with(Turn::goes_on);
        }
        assert_eq!(yields, 3, "it tries now and then whether others have come");
    }
}
