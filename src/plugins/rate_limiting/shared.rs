//! Counting on a Redis server, in Kong's own keys: gateways of both kinds can share their limits.

use super::counter::{Period, Standing};
use super::synced::{Synced, Window};
use crate::plugins::redis::Link;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// Counts a request in all windows, unless one of them is used up, in one step that nobody comes between.
///
// KONG(plugins/rate-limiting/policies/init.lua): counts refused requests too, so that those beyond the
// limit of a second use up that of an hour; its local policy does not.
const COUNT: &str = "
local seen, passes = {}, 1
for i, key in ipairs(KEYS) do
  seen[i] = tonumber(redis.call('GET', key) or '0')
  if seen[i] >= tonumber(ARGV[i]) then passes = 0 end
end
if passes == 1 then
  for i, key in ipairs(KEYS) do
    seen[i] = redis.call('INCR', key)
    if seen[i] == 1 then redis.call('EXPIRE', key, ARGV[#KEYS + i]) end
  end
end
table.insert(seen, 1, passes)
return seen";

/// The counters of one plugin instance.
pub struct Counters {
    link: Arc<Link>,
    /// What its keys begin with.
    prefix: String,
    /// Where requests are counted first, if the server is not to be asked for each.
    synced: Option<Arc<Synced>>,
}

impl Counters {
    /// Those of an instance that is bound to a route, a service, or neither. `rate`: `None`, or how often
    /// the server is told.
    pub fn new(link: Arc<Link>, route: Option<Uuid>, service: Option<Uuid>, rate: Option<Duration>) -> Self {
        let (route, service) = (route.unwrap_or_default(), service.unwrap_or_default());
        let synced = rate.map(|rate| Synced::open(&link, rate));
        Self { link, prefix: format!("ratelimit:{route}:{service}"), synced }
    }

    /// Counts one request at `now`. `Err`: the server is out of reach.
    pub async fn count(
        &self,
        caller: &str,
        limits: &[(Period, u64)],
        now: i64,
    ) -> Result<(bool, Vec<Standing>), ()> {
        let window = |&(period, limit): &(Period, u64)| {
            let (begun, ends) = period.window(now);
            let key = format!("{}:{caller}:{}:{}", self.prefix, begun * 1000, period.name());
            Window { key, limit, ends, longest: period.longest() }
        };
        let windows: Vec<Window> = limits.iter().map(window).collect();
        let (passes, seen) = match &self.synced {
            Some(synced) => synced.count(&windows).await?,
            None => self.count_at_once(&windows).await?,
        };
        let standing = |((&(period, limit), window), seen): ((&(Period, u64), &Window), &u64)| {
            let reset = u64::try_from(window.ends - now).unwrap_or(1).max(1);
            Standing { period, limit, remaining: limit.saturating_sub(*seen), reset }
        };
        Ok((passes, limits.iter().zip(&windows).zip(&seen).map(standing).collect()))
    }

    async fn count_at_once(&self, windows: &[Window]) -> Result<(bool, Vec<u64>), ()> {
        let mut command = ::redis::cmd("EVAL");
        command.arg(COUNT).arg(windows.len());
        for window in windows {
            command.arg(&window.key);
        }
        for window in windows {
            command.arg(window.limit);
        }
        for window in windows {
            command.arg(window.longest);
        }
        let mut answer: Vec<u64> = self.link.ask(&command).await?;
        if answer.is_empty() {
            return Err(());
        }
        let passes = answer.remove(0) == 1;
        Ok((passes, answer))
    }
}
