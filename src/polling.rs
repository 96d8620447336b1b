//! Busy polling: while exchanges are under way, a thread looks for events again and again instead of sleeping.
//!
//! To be woken takes a thread longer than all that it then does for an event. Whoever counts microseconds and
//! has cores to spare can do without; where nothing is under way, threads sleep as ever.

use crate::meter::metrics::SERIES;
use std::cell::Cell;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Notify;
use tokio::task::yield_now;

static ON: AtomicBool = AtomicBool::new(false);
static BEGUN: Notify = Notify::const_new();

/// Switches it on for the life of the process.
pub fn switch_on() {
    ON.store(true, Ordering::Relaxed);
}

/// An exchange has been counted as under way, and this thread serves it.
pub fn begun() {
    if ON.load(Ordering::Relaxed) {
        wake();
    }
}

#[cold]
fn wake() {
    thread_local! {
        static POLLED: Cell<bool> = const { Cell::new(false) };
    }
    if !POLLED.replace(true) {
        tokio::spawn(poll());
    }
    BEGUN.notify_waiters();
}

/// A task that always has something to do lets its thread do nothing but look.
async fn poll() {
    loop {
        while SERIES.in_flight.get() > 0 {
            yield_now().await;
        }
        let mut begun = pin!(BEGUN.notified());
        begun.as_mut().enable();
        if SERIES.in_flight.get() == 0 {
            begun.await;
        }
    }
}
