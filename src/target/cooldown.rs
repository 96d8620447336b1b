//! How long a provider wants to be left alone: what its refusal says of that.

use http::HeaderMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Where a provider says that the quota is used up, and not for how long.
const UNSTATED: Duration = Duration::from_secs(5);

/// No statement is believed for longer.
const LONGEST: Duration = Duration::from_hours(24);

/// What the two quotas of OpenAI-shaped providers say of themselves: what is left, and until when.
const QUOTAS: [(&str, &str); 2] = [
    ("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
    ("x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
];

/// How long no further request should go there; `None` if the answer is no refusal of that kind.
/// 429 always is one. Another error is one if it says when to come again.
pub fn asked(status: u16, headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    if status < 400 {
        return None;
    }
    let said = retry_after(headers, now);
    let time = match status {
        429 => said.or_else(|| reset(headers, now)).unwrap_or(UNSTATED),
        _ => said?,
    };
    Some(time.min(LONGEST)).filter(|time| !time.is_zero())
}

/// `retry-after-ms` (OpenAI, Azure), or `Retry-After` in seconds or as a date (RFC 9110, 10.2.3).
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: &str| text(headers, name);
    let exact = text("retry-after-ms").and_then(|value| value.parse().ok()).and_then(milliseconds);
    let stated = || {
        let value = text("retry-after")?;
        let date = || httpdate::parse_http_date(value).ok()?.duration_since(now).ok();
        value.parse().ok().and_then(seconds).or_else(date)
    };
    exact.or_else(stated)
}

/// The reset of the quota that is used up; where none says so, the sooner one.
fn reset(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let stated = || {
        let quota = |(left, until): (&str, &str)| {
            Some((text(headers, left) == Some("0"), span(text(headers, until)?, now)?))
        };
        QUOTAS.into_iter().filter_map(quota)
    };
    let spent = stated().filter(|(spent, _)| *spent).map(|(_, time)| time).max();
    let any = || span(text(headers, "x-ratelimit-reset")?, now);
    spent.or_else(|| stated().map(|(_, time)| time).min()).or_else(any)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim)
}

/// `1h2m3.5s`, `20ms`, plain seconds, or seconds since the epoch.
fn span(text: &str, now: SystemTime) -> Option<Duration> {
    if let Ok(number) = text.parse::<f64>() {
        let since_epoch = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let time = seconds(number)?;
        // No quota is measured over decades.
        return Some(if time > Duration::from_secs(1_000_000_000) {
            time.saturating_sub(since_epoch)
        } else {
            time
        });
    }
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| c != '.' && !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at(digits);
        let unit = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit);
        let number: f64 = number.parse().ok()?;
        total += match unit {
            "d" => seconds(number * 86_400.0)?,
            "h" => seconds(number * 3_600.0)?,
            "m" => seconds(number * 60.0)?,
            "s" => seconds(number)?,
            "ms" => milliseconds(number)?,
            _ => return None,
        };
        rest = tail;
    }
    (!text.is_empty()).then_some(total)
}

fn seconds(number: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(number).ok()
}

fn milliseconds(number: f64) -> Option<Duration> {
    seconds(number / 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, headers: &[(&'static str, &'static str)]) -> Option<Duration> {
        let map = headers
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()))
            .collect();
        asked(status, &map, UNIX_EPOCH + Duration::from_hours(500_000))
    }

    #[allow(clippy::unnecessary_wraps)] // what it is compared with is one
    fn ms(milliseconds: u64) -> Option<Duration> {
        Some(Duration::from_millis(milliseconds))
    }

    #[test]
    fn retry_after_comes_first_in_each_of_its_forms() {
        let reset = ("x-ratelimit-reset-requests", "1m");
        assert_eq!(of(429, &[("retry-after", "7"), reset]), ms(7_000));
        assert_eq!(of(429, &[("retry-after", "Fri, 15 Jan 2027 08:00:30 GMT"), reset]), ms(30_000));
        assert_eq!(of(429, &[("retry-after-ms", "250"), ("retry-after", "1")]), ms(250));
        assert_eq!(of(503, &[("retry-after", "2")]), ms(2_000));
        assert_eq!(of(400, &[("retry-after", "2")]), ms(2_000));
        assert_eq!(of(429, &[("retry-after", "9999999")]), Some(LONGEST));
    }

    #[test]
    fn the_quota_that_is_spent_says_when_it_is_filled_again() {
        let requests = ("x-ratelimit-reset-requests", "20ms");
        let tokens = ("x-ratelimit-reset-tokens", "6m0s");
        let (r0, t0) = (("x-ratelimit-remaining-requests", "0"), ("x-ratelimit-remaining-tokens", "0"));
        assert_eq!(of(429, &[requests, tokens, t0]), ms(360_000));
        assert_eq!(of(429, &[requests, tokens, r0]), ms(20));
        assert_eq!(of(429, &[requests, tokens, r0, t0]), ms(360_000));
        assert_eq!(of(429, &[requests, tokens]), ms(20));
        assert_eq!(of(429, &[("x-ratelimit-reset", "1800000009")]), ms(9_000));
        assert_eq!(of(429, &[("x-ratelimit-reset-requests", "1h1m1.5s")]), ms(3_661_500));
        assert_eq!(of(429, &[("x-ratelimit-reset-requests", "0.5d1ms")]), ms(43_200_001));
    }

    #[test]
    fn a_429_that_says_nothing_cools_down_all_the_same_and_other_answers_do_not() {
        assert_eq!(of(429, &[]), Some(UNSTATED));
        assert_eq!(
            of(429, &[("retry-after", "soon"), ("x-ratelimit-reset-tokens", "7 apples")]),
            Some(UNSTATED)
        );
        assert_eq!(of(500, &[]), None);
        assert_eq!(of(200, &[("retry-after", "7")]), None);
        assert_eq!(of(429, &[("retry-after", "0")]), None);
        assert_eq!(of(429, &[("retry-after", "-1")]), Some(UNSTATED));
    }
}
