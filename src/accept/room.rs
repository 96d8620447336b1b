//! A budget for the request bodies that are held in memory at a time.
//!
//! Who states a large length waits for its turn before a byte of it is read, so that the client's own
//! buffers hold it meanwhile. A body of unknown length takes room as it grows, and is turned away when
//! there is none: if it waited with a part in hand, all could wait for each other.

use crate::error::{Error, Kind, Result};
use std::sync::OnceLock;
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};

/// Bodies up to this size are not counted: they must not queue behind large ones.
pub const SMALL: usize = 64 * 1024;

/// In KiB: the semaphore counts in 32 bits.
static ROOM: OnceLock<(Semaphore, u32)> = OnceLock::new();

/// Room that a body takes, until this is dropped.
#[derive(Debug, Default)]
pub struct Held {
    permit: Option<SemaphorePermit<'static>>,
    bytes: usize,
}

/// Sets the size of the room, once, before the first request.
pub fn furnish(mib: u32) {
    let kib = mib.saturating_mul(1024).max(1);
    let _ = ROOM.set((Semaphore::new(kib as usize), kib));
}

/// Whether no body takes room.
pub fn is_free() -> bool {
    ROOM.get().is_none_or(|(room, whole)| room.available_permits() == *whole as usize)
}

impl Held {
    /// How large the body is, as far as it takes room.
    pub fn size(&self) -> usize {
        self.bytes
    }

    /// Waits for room for a body of this length.
    pub async fn wait(&mut self, length: usize, patience: Duration) -> Result<()> {
        let Some((room, whole)) = ROOM.get().filter(|_| length > SMALL) else { return Ok(()) };
        // One body that is larger than all of it may have it all.
        let permit = tokio::time::timeout(patience, room.acquire_many(kib(length).min(*whole))).await;
        self.permit = Some(permit.ok().and_then(std::result::Result::ok).ok_or_else(crowded)?);
        self.bytes = length;
        Ok(())
    }

    /// Takes room for a body that has grown to this length.
    pub fn grow(&mut self, length: usize) -> Result<()> {
        let Some((room, _)) = ROOM.get().filter(|_| length > SMALL && length > self.bytes) else {
            return Ok(());
        };
        // In steps, so that not every piece asks.
        let wanted = (self.bytes * 2).max(length);
        let more = room.try_acquire_many(kib(wanted - self.bytes)).map_err(|_| crowded())?;
        match &mut self.permit {
            Some(permit) => permit.merge(more),
            None => self.permit = Some(more),
        }
        self.bytes = wanted;
        Ok(())
    }
}

fn kib(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX)
}

fn crowded() -> Error {
    Error::new(Kind::Crowded, "the gateway holds as many request bodies as it may: try again")
}

#[cfg(test)]
mod tests {
    use super::*;

    // One test: the room is one for the process.
    #[tokio::test(start_paused = true)]
    async fn large_bodies_wait_growing_ones_are_turned_away_and_small_ones_pass() {
        furnish(1);
        let second = Duration::from_secs(1);
        let mut first = Held::default();
        first.wait(1024 * 1024, second).await.unwrap();
        let mut other = Held::default();
        assert_eq!(other.wait(SMALL + 1, second).await.unwrap_err().status(), 503);
        assert_eq!(other.grow(SMALL + 1).unwrap_err().status(), 503);
        other.wait(SMALL, second).await.unwrap();
        other.grow(SMALL).unwrap();
        let (waited, ()) = tokio::join!(other.wait(600 * 1024, second), async {
            tokio::task::yield_now().await;
            assert!(!is_free());
            drop(first);
        });
        waited.unwrap();
        let mut grown = Held::default();
        grown.grow(100 * 1024).unwrap();
        grown.grow(101 * 1024).unwrap();
        assert_eq!(grown.bytes, 200 * 1024);
        assert!(grown.grow(430 * 1024).is_err(), "there are 224 KiB left, and 230 more are wanted");
        drop(other);
        grown.grow(430 * 1024).unwrap();
        // Larger than the room: it gets all of it, alone.
        drop(grown);
        Held::default().wait(5 * 1024 * 1024, second).await.unwrap();
        assert!(is_free());
    }
}
