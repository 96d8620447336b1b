//! Counting on a Redis server, in Kong's own keys: gateways of both kinds can share their limits.

use super::counter::{Period, Standing};
use crate::plugins::redis::Link;
use std::sync::Arc;
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
}

impl Counters {
    /// Those of an instance that is bound to a route, a service, or neither.
    pub fn new(link: Arc<Link>, route: Option<Uuid>, service: Option<Uuid>) -> Self {
        let (route, service) = (route.unwrap_or_default(), service.unwrap_or_default());
        Self { link, prefix: format!("ratelimit:{route}:{service}") }
    }

    /// Counts one request at `now`. `Err`: the server is out of reach.
    pub async fn count(
        &self,
        caller: &str,
        limits: &[(Period, u64)],
        now: i64,
    ) -> Result<(bool, Vec<Standing>), ()> {
        let mut command = ::redis::cmd("EVAL");
        command.arg(COUNT).arg(limits.len());
        for (period, _) in limits {
            command.arg(self.key(caller, *period, now));
        }
        for (_, limit) in limits {
            command.arg(*limit);
        }
        for (period, _) in limits {
            command.arg(period.longest());
        }
        let answer: Vec<u64> = self.link.ask(&command).await?;
        let (passes, seen) = answer.split_first().ok_or(())?;
        let standing = |(&(period, limit), seen): (&(Period, u64), &u64)| {
            let reset = u64::try_from(period.window(now).1 - now).unwrap_or(1).max(1);
            Standing { period, limit, remaining: limit.saturating_sub(*seen), reset }
        };
        Ok((*passes == 1, limits.iter().zip(seen).map(standing).collect()))
    }

    fn key(&self, caller: &str, period: Period, now: i64) -> String {
        let begun = period.window(now).0 * 1000;
        format!("{}:{caller}:{begun}:{}", self.prefix, period.name())
    }
}
