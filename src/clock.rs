//! Deadlines that cost next to nothing while they are not reached.
//!
//! A timer for each read would be set and taken down thousands of times a second on a connection whose
//! reads are nearly always there at once. A `Clock` has one timer for the life of its connection, set again
//! only when it fires or is needed sooner; work that is done at once does not touch it.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// The deadlines of one connection.
#[derive(Default)]
pub struct Clock(Option<Pin<Box<Sleep>>>);

/// The time was up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

impl Clock {
    /// Waits for `work`, and for no longer than that from the moment at which it has to be waited for.
    pub async fn within<F: Future>(&mut self, limit: Duration, work: F) -> Result<F::Output, Elapsed> {
        let mut work = pin!(work);
        let mut until = None;
        poll_fn(|context| {
            if let Poll::Ready(output) = work.as_mut().poll(context) {
                return Poll::Ready(Ok(output));
            }
            let until = *until.get_or_insert_with(|| Instant::now() + limit);
            self.reached(until, context).map(|()| Err(Elapsed))
        })
        .await
    }

    /// Ready once that moment has come.
    pub fn reached(&mut self, until: Instant, context: &mut Context<'_>) -> Poll<()> {
        let sleep = self.0.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        if until < sleep.deadline() {
            sleep.as_mut().reset(until);
        }
        while sleep.as_mut().poll(context).is_ready() {
            if Instant::now() >= until {
                return Poll::Ready(());
            }
            // It fired for a deadline that was met long ago.
            sleep.as_mut().reset(until);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, ready};

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn each_deadline_is_kept_whatever_came_before_it() {
        let mut clock = Clock::default();
        for limit in [5, 2, 7, 1] {
            let from = Instant::now();
            assert_eq!(clock.within(SECOND * limit, ready(limit)).await, Ok(limit));
            assert_eq!(from.elapsed(), Duration::ZERO);
            let slow = tokio::time::sleep(SECOND * limit / 2);
            assert_eq!(clock.within(SECOND * limit, slow).await, Ok(()));
            let from = Instant::now();
            assert_eq!(clock.within(SECOND * limit, pending::<()>()).await, Err(Elapsed));
            let late = from.elapsed().saturating_sub(SECOND * limit);
            assert!(late < Duration::from_millis(10), "{limit} s: {late:?} late");
        }
    }
}
