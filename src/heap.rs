//! Gives memory back that a flood has left behind.
//!
//! mimalloc keeps a heap for each thread, and a block that another thread frees stays with the heap that it came
//! from until the thread of that heap looks at it, which it does after thousands of slow allocations: when a
//! flood is over, that may be never. So now and then every thread that serves is due to look.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};

/// How often threads were due so far.
static DUE: AtomicU32 = AtomicU32::new(0);

thread_local! {
    /// How often this one was.
    static DONE: Cell<u32> = const { Cell::new(0) };
}

/// From now on every thread is due once.
pub fn due() {
    DUE.fetch_add(1, Ordering::Relaxed);
}

/// Gives back what the heap of this thread has free, if it is due. It is for moments at which nobody waits for the
/// thread, if there are such.
pub fn tidy() {
    let due = DUE.load(Ordering::Relaxed);
    if DONE.get() != due {
        DONE.set(due);
        mimalloc_collect::collect();
    }
}
