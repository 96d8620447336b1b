//! Counting requests in fixed windows, as Kong's `local` policy does.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use once_cell::sync::Lazy;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use uuid::Uuid;

/// A length of time that a limit is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    /// On the clock.
    Second,
    /// On the clock.
    Minute,
    /// On the clock.
    Hour,
    /// Of UTC.
    Day,
    /// Of UTC.
    Month,
    /// Of UTC.
    Year,
}

/// All, shortest first.
pub const PERIODS: [Period; 6] =
    [Period::Second, Period::Minute, Period::Hour, Period::Day, Period::Month, Period::Year];

impl Period {
    /// As it stands in headers: `X-RateLimit-Limit-Hour`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Second => "second",
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Month => "month",
            Self::Year => "year",
        }
    }

    /// The most seconds that a window of it has.
    pub fn longest(self) -> u32 {
        match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3600,
            Self::Day => 86_400,
            Self::Month => 31 * 86_400,
            Self::Year => 366 * 86_400,
        }
    }

    /// When the window around `now` began and ends, in seconds since the epoch (UTC).
    pub fn window(self, now: i64) -> (i64, i64) {
        let fixed = |length: i64| (now - now.rem_euclid(length), now - now.rem_euclid(length) + length);
        match self {
            Self::Second => fixed(1),
            Self::Minute => fixed(60),
            Self::Hour => fixed(3600),
            Self::Day => fixed(86400),
            Self::Month => calendar(now, DateTime::first_of_month, 1.month()).unwrap_or(fixed(2_592_000)),
            Self::Year => calendar(now, DateTime::first_of_year, 1.year()).unwrap_or(fixed(31_536_000)),
        }
    }
}

fn calendar(now: i64, first: fn(DateTime) -> DateTime, length: jiff::Span) -> Option<(i64, i64)> {
    let today = TimeZone::UTC.to_datetime(Timestamp::from_second(now).ok()?).date().at(0, 0, 0, 0);
    let begin = first(today);
    let end = begin.checked_add(length).ok()?;
    let seconds = |at: DateTime| Some(at.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second());
    Some((seconds(begin)?, seconds(end)?))
}

/// What a limit leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Over which it counts.
    pub period: Period,
    /// Most requests in it.
    pub limit: u64,
    /// Those that are left.
    pub remaining: u64,
    /// Seconds until the window ends.
    pub reset: u64,
}

/// Whose requests, of which plugin instance.
type Key = (Uuid, String);

/// For each period: when its window ends, and how many requests it has seen.
type Windows = [(i64, u64); 6];

/// Counts outlive a reload of the configuration, as Kong's do.
static COUNTS: Lazy<Mutex<HashMap<Key, Windows>>> = Lazy::new(Mutex::default);

/// Beyond this many callers, those whose windows have all ended are forgotten.
const CALLERS: usize = 100_000;

/// Counts one request against the limits, unless one of them is used up. Says where each stands, and
/// whether the request may pass.
pub fn count(plugin: Uuid, caller: String, limits: &[(Period, u64)], now: i64) -> (bool, Vec<Standing>) {
    let mut all = COUNTS.lock().unwrap_or_else(PoisonError::into_inner);
    if all.len() > CALLERS {
        all.retain(|_, windows| windows.iter().any(|(end, _)| *end > now));
    }
    let windows = all.entry((plugin, caller)).or_default();
    for (window, period) in windows.iter_mut().zip(PERIODS) {
        if window.0 <= now {
            *window = (period.window(now).1, 0);
        }
    }
    let at = |period: Period| PERIODS.iter().position(|known| *known == period).unwrap_or(0);
    let used = |windows: &Windows, period| windows.get(at(period)).map_or((now, 0), |window| *window);
    let passes = limits.iter().all(|(period, limit)| used(windows, *period).1 < *limit);
    if passes {
        for window in windows.iter_mut() {
            window.1 += 1;
        }
    }
    let standing = |&(period, limit): &(Period, u64)| {
        let (end, seen) = used(windows, period);
        let reset = u64::try_from(end - now).unwrap_or(1).max(1);
        Standing { period, limit, remaining: limit.saturating_sub(seen), reset }
    };
    (passes, limits.iter().map(standing).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: i64 = 1_795_262_400; // 2026-11-21 12:00:00 UTC

    #[test]
    fn windows_follow_the_clock_and_the_calendar() {
        assert_eq!(Period::Minute.window(NOON + 61), (NOON + 60, NOON + 120));
        assert_eq!(Period::Month.window(NOON), (1_793_491_200, 1_796_083_200));
        assert_eq!(Period::Year.window(NOON), (1_767_225_600, 1_798_761_600));
    }

    #[test]
    fn a_limit_holds_for_its_window() {
        let plugin = Uuid::new_v4();
        let ask = |now| count(plugin, "a".to_owned(), &[(Period::Hour, 2)], now);
        assert_eq!(ask(NOON).1, [Standing { period: Period::Hour, limit: 2, remaining: 1, reset: 3600 }]);
        assert!(ask(NOON + 1).0);
        let (passes, standing) = ask(NOON + 2);
        assert!(!passes && standing[0].remaining == 0 && standing[0].reset == 3598);
        assert!(ask(NOON + 3600).0, "a new window");
        assert!(count(plugin, "b".to_owned(), &[(Period::Hour, 2)], NOON).0, "another caller");
    }
}
