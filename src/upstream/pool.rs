//! Connections that wait for their next exchange.
//!
//! The one used last is used next: what is too many dies of age. A connection that was closed meanwhile is
//! found out when it is taken, or by the sweep.

use super::connection::Connection;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The idle connections to all upstreams.
pub struct Pool {
    idle: Mutex<Idle>,
    most: usize,
}

#[derive(Default)]
struct Idle {
    by_key: HashMap<u64, Vec<Waiting>, BuildHasherDefault<Hashed>>,
    count: usize,
}

struct Waiting {
    connection: Connection,
    until: Instant,
}

impl Pool {
    /// A pool of at most so many.
    pub fn new(most: usize) -> Self {
        Self { idle: Mutex::default(), most }
    }

    /// A connection that is as good as new.
    pub fn take(&self, key: u64) -> Option<Connection> {
        loop {
            let mut waiting = {
                let mut idle = self.lock();
                let waiting = idle.by_key.get_mut(&key)?.pop()?;
                idle.count -= 1;
                waiting
            };
            if waiting.until > Instant::now() && waiting.connection.is_quiet() {
                return Some(waiting.connection);
            }
        }
    }

    /// Keeps a connection for the next exchange, or closes the one that has waited longest for the same
    /// upstream if there are too many.
    pub fn put(&self, key: u64, mut connection: Connection, keep: Duration) {
        connection.rest();
        let waiting = Waiting { connection, until: Instant::now() + keep };
        let mut idle = self.lock();
        if idle.count >= self.most {
            let Some(same) = idle.by_key.get_mut(&key).filter(|same| !same.is_empty()) else { return };
            same.remove(0);
            idle.count -= 1;
        }
        idle.by_key.entry(key).or_default().push(waiting);
        idle.count += 1;
    }

    /// Closes what has waited too long, and what the other side has closed.
    pub fn sweep(&self) {
        let now = Instant::now();
        let mut idle = self.lock();
        idle.by_key.retain(|_, list| {
            list.retain_mut(|waiting| waiting.until > now && waiting.connection.is_quiet());
            for waiting in list.iter_mut() {
                waiting.connection.rest();
            }
            !list.is_empty()
        });
        idle.count = idle.by_key.values().map(Vec::len).sum();
    }

    fn lock(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keys are hashes already.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |sum, byte| (sum << 8) | u64::from(*byte));
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncWriteExt, DuplexStream};

    const MINUTE: Duration = Duration::from_mins(1);

    /// A connection, and its other end.
    fn connection() -> (Connection, DuplexStream) {
        let (ours, theirs) = tokio::io::duplex(64);
        (Connection::new(Box::new(ours)), theirs)
    }

    #[tokio::test]
    async fn a_connection_comes_back_to_the_upstream_it_belongs_to() {
        let pool = Pool::new(4);
        let (one, mut end) = connection();
        pool.put(7, one, MINUTE);
        assert!(pool.take(8).is_none());
        let mut again = pool.take(7).unwrap();
        assert!(pool.take(7).is_none());
        end.write_all(b"hello").await.unwrap();
        assert_eq!(again.read(0, MINUTE).await.unwrap().unwrap(), 5);
    }

    #[tokio::test]
    async fn what_is_closed_or_has_something_to_say_or_is_old_is_not_used_again() {
        let pool = Pool::new(4);
        let (closed, end) = connection();
        drop(end);
        let (loud, mut talker) = connection();
        talker.write_all(b"HTTP/1.1 408").await.unwrap();
        let (old, _end) = connection();
        pool.put(7, closed, MINUTE);
        pool.put(7, loud, MINUTE);
        pool.put(7, old, Duration::ZERO);
        assert!(pool.take(7).is_none());
        assert_eq!(pool.lock().count, 0);
    }

    #[tokio::test]
    async fn a_sweep_closes_what_nobody_will_use() {
        let pool = Pool::new(4);
        let (closed, end) = connection();
        let (fresh, _kept) = connection();
        let (old, _end) = connection();
        drop(end);
        pool.put(7, closed, MINUTE);
        pool.put(7, fresh, MINUTE);
        pool.put(8, old, Duration::ZERO);
        pool.sweep();
        assert_eq!(pool.lock().count, 1);
        assert!(pool.take(8).is_none());
        assert!(pool.take(7).is_some());
    }

    #[tokio::test]
    async fn a_full_pool_keeps_the_youngest_of_an_upstream() {
        let pool = Pool::new(2);
        let ends: Vec<_> = (0..3)
            .map(|_| {
                let (connection, end) = connection();
                pool.put(7, connection, MINUTE);
                end
            })
            .collect();
        assert_eq!(pool.lock().count, 2);
        let (other, _end) = connection();
        pool.put(8, other, MINUTE);
        assert!(pool.take(8).is_none());
        drop(ends);
    }
}
