//! The one call of mimalloc that the `mimalloc` crate does not offer, as a safe function.
//!
//! The gateway's own code forbids `unsafe`; this is all that is needed of it. The declaration is that of
//! `libmimalloc-sys`, which would bring another crate along to offer it.

// It builds and links mimalloc.
use libmimalloc_sys as _;

unsafe extern "C" {
    fn mi_collect(force: bool);
}

/// Gives what the calling thread's heap has free back to the system, and with it what other threads have freed of
/// the thread's own blocks. Takes some microseconds where there is nothing to give back.
pub fn collect() {
    // SAFETY: it may be called at any time from any thread, whichever allocator is in use; it only looks at
    // memory that is free.
    unsafe { mi_collect(true) }
}
