//! Counting here first, and telling the Redis server every so often: `sync_rate`.
//!
//! What a window has seen is what the server said of it last, and what has passed here since. The server is
//! asked for a window that is not known; from then on nobody waits for it. What could not be told stays here
//! and is told later. Windows shorter than the time between two tellings are each gateway's own.

use crate::plugins::redis::Link;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Adds what has passed here, and says what all gateways have counted.
const ADD: &str = "
local seen = {}
for i, key in ipairs(KEYS) do
  seen[i] = redis.call('INCRBY', key, ARGV[i])
  if seen[i] == tonumber(ARGV[i]) then redis.call('EXPIRE', key, ARGV[#KEYS + i]) end
end
return seen";

/// One window of one caller.
pub struct Window {
    /// What the server knows it by.
    pub key: String,
    /// How much it takes.
    pub limit: u64,
    /// In seconds since the epoch.
    pub ends: i64,
    /// The most seconds that it may have.
    pub longest: u32,
}

/// The counters of all instances that use one server at one rate.
pub struct Synced {
    link: Arc<Link>,
    rate: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    counts: HashMap<String, Count>,
    /// Whether somebody will tell the server.
    due: bool,
}

struct Count {
    /// What the server said.
    known: u64,
    /// What passed here since.
    untold: u64,
    ends: i64,
    longest: u32,
}

/// By server and rate. Whoever is in it holds its link, so that no other has the same address.
type Known = HashMap<(usize, Duration), Weak<Synced>>;

/// All that are in use: a reload does not lose what is untold.
static ALL: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);

impl Synced {
    /// Those of a server at a rate.
    pub fn open(link: &Arc<Link>, rate: Duration) -> Arc<Self> {
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, known| known.strong_count() > 0);
        let place = (Arc::as_ptr(link).addr(), rate);
        if let Some(known) = all.get(&place).and_then(Weak::upgrade) {
            return known;
        }
        let new = Arc::new(Self { link: Arc::clone(link), rate, state: Mutex::default() });
        all.insert(place, Arc::downgrade(&new));
        new
    }

    /// Counts a request in all windows, unless one of them is used up: whether it passes, and what each has
    /// seen. `Err`: the server does not say what it knows.
    pub async fn count(self: &Arc<Self>, windows: &[Window]) -> Result<(bool, Vec<u64>), ()> {
        loop {
            if let Some(counted) = self.count_known(windows) {
                return Ok(counted);
            }
            // Between here and there a telling may forget them again; then they are asked for once more.
            self.learn(windows).await?;
        }
    }

    /// The same, if all windows are known.
    fn count_known(self: &Arc<Self>, windows: &[Window]) -> Option<(bool, Vec<u64>)> {
        let mut state = self.lock();
        let seen: Option<Vec<u64>> = windows
            .iter()
            .map(|window| state.counts.get(&window.key).map(|count| count.known + count.untold))
            .collect();
        let mut seen = seen?;
        let passes = windows.iter().zip(&seen).all(|(window, seen)| *seen < window.limit);
        if passes {
            for seen in &mut seen {
                *seen += 1;
            }
            for window in windows {
                if let Some(count) = state.counts.get_mut(&window.key) {
                    count.untold += 1;
                }
            }
            if !std::mem::replace(&mut state.due, true) {
                tokio::spawn(Arc::clone(self).tell_on());
            }
        }
        Some((passes, seen))
    }

    async fn learn(&self, windows: &[Window]) -> Result<(), ()> {
        let mut command = ::redis::cmd("MGET");
        for window in windows {
            command.arg(&window.key);
        }
        let known: Vec<Option<u64>> = self.link.ask(&command).await?;
        let mut state = self.lock();
        for (window, known) in windows.iter().zip(known) {
            let Window { key, ends, longest, .. } = window;
            let new = Count { known: known.unwrap_or(0), untold: 0, ends: *ends, longest: *longest };
            state.counts.entry(key.clone()).or_insert(new);
        }
        Ok(())
    }

    /// Tells the server as long as there is something to tell.
    async fn tell_on(self: Arc<Self>) {
        loop {
            tokio::time::sleep(self.rate).await;
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let now = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
            let Some(untold) = self.untold(now) else { return };
            self.tell(untold).await;
        }
    }

    /// Forgets what need not be told: who needs it asks what the server knows by then. Gives the rest, or
    /// `None` if there is none, and nobody is due to tell it.
    fn untold(&self, now: i64) -> Option<Vec<(String, u64, u32)>> {
        let mut state = self.lock();
        state.counts.retain(|_, count| count.untold > 0 && count.ends > now);
        state.due = !state.counts.is_empty();
        let untold = state.counts.iter().map(|(key, count)| (key.clone(), count.untold, count.longest));
        state.due.then(|| untold.collect())
    }

    async fn tell(&self, untold: Vec<(String, u64, u32)>) {
        let mut command = ::redis::cmd("EVAL");
        command.arg(ADD).arg(untold.len());
        for (key, ..) in &untold {
            command.arg(key);
        }
        for (_, count, _) in &untold {
            command.arg(*count);
        }
        for (.., longest) in &untold {
            command.arg(*longest);
        }
        // KONG(plugins/rate-limiting/policies/init.lua): forgets what it could not tell; here it is told when
        // the server is back.
        let Ok(seen) = self.link.ask::<Vec<u64>>(&command).await else { return };
        let mut state = self.lock();
        for ((key, told, _), seen) in untold.iter().zip(seen) {
            if let Some(count) = state.counts.get_mut(key) {
                (count.known, count.untold) = (seen, count.untold.saturating_sub(*told));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
