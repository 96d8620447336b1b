//! Which failures of one target may be answered by trying another.
//!
//! The criteria are those of nginx's `proxy_next_upstream`, as Kong has them: a failure that is not
//! listed is the client's to see, and a request that an upstream may have got goes out again only if
//! its method is idempotent or `non_idempotent` is listed.

use crate::error::{Criterion, Error};
use http::Method;

/// How an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Without an answer that could be passed on.
    Error(Criterion),
    /// With a status of an error.
    Status(u16),
}

impl Failure {
    /// What the balancer makes of an error; `None` if it is not the target's.
    pub fn of(error: &Error) -> Option<Self> {
        error.kind().failover().map(Self::Error)
    }

    /// What it makes of a status; `None` if it is no failure.
    pub fn of_status(status: u16) -> Option<Self> {
        (status >= 400).then_some(Self::Status(status))
    }
}

/// `retries` and `failover_criteria`.
#[derive(Clone, Debug, Default)]
pub struct Failover {
    /// How many attempts may follow the first.
    pub retries: u32,
    errors: Vec<Criterion>,
    non_idempotent: bool,
    statuses: Vec<u16>,
}

impl Failover {
    /// Reads checked criteria.
    pub fn new<'a>(retries: u32, criteria: impl IntoIterator<Item = &'a str>) -> Self {
        let mut all = Self { retries, ..Self::default() };
        for name in criteria {
            match name {
                "error" => all.errors.push(Criterion::Error),
                "timeout" => all.errors.push(Criterion::Timeout),
                "invalid_header" => all.errors.push(Criterion::Invalid),
                "non_idempotent" => all.non_idempotent = true,
                status => all
                    .statuses
                    .extend(status.strip_prefix("http_").and_then(|code| code.parse::<u16>().ok())),
            }
        }
        all
    }

    /// Whether a failure is listed: such failures also count for `max_fails`.
    pub fn lists(&self, failure: Failure) -> bool {
        match failure {
            // A provider that says 200 and reports an error has failed as with a 500.
            Failure::Error(Criterion::Invalid) if self.statuses.contains(&500) => true,
            Failure::Error(criterion) => self.errors.contains(&criterion),
            Failure::Status(status) => self.statuses.contains(&status),
        }
    }

    /// Whether another target may be tried. `sent`: some upstream may have got the request.
    pub fn allows(&self, failure: Failure, method: &Method, sent: bool) -> bool {
        let repeatable = !sent || self.non_idempotent || !matches!(*method, Method::POST | Method::PATCH);
        self.lists(failure) && repeatable
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    fn of(criteria: &[&'static str]) -> Failover {
        Failover::new(5, criteria.iter().copied())
    }

    #[test]
    fn only_what_is_listed_fails_over() {
        let default = of(&["error", "timeout"]);
        assert!(
            default.lists(Failure::Error(Criterion::Error))
                && default.lists(Failure::Error(Criterion::Timeout))
        );
        assert!(!default.lists(Failure::Error(Criterion::Invalid)) && !default.lists(Failure::Status(500)));
        for status in [403, 404, 429, 500, 502, 503, 504] {
            let one = of(&[&*format!("http_{status}").leak()]);
            assert!(one.lists(Failure::Status(status)), "{status}");
            assert!(!one.lists(Failure::Status(400)) && !one.lists(Failure::Error(Criterion::Error)));
        }
        assert!(of(&["invalid_header"]).lists(Failure::Error(Criterion::Invalid)));
        assert!(of(&["http_500"]).lists(Failure::Error(Criterion::Invalid)));
    }

    #[test]
    fn a_request_that_was_sent_is_repeated_only_if_that_is_harmless_or_allowed() {
        let failure = Failure::Error(Criterion::Error);
        let default = of(&["error"]);
        assert!(default.allows(failure, &Method::POST, false), "nobody has got it");
        assert!(!default.allows(failure, &Method::POST, true));
        assert!(default.allows(failure, &Method::GET, true) && default.allows(failure, &Method::PUT, true));
        assert!(of(&["error", "non_idempotent"]).allows(failure, &Method::POST, true));
    }

    #[test]
    fn errors_of_clients_and_of_the_gateway_are_no_failures() {
        for (kind, expected) in [
            (Kind::BadRequest, None),
            (Kind::ClientGone, None),
            (Kind::Internal, None),
            (Kind::Identity, Some(Failure::Error(Criterion::Error))),
            (Kind::Unreachable, Some(Failure::Error(Criterion::Error))),
            (Kind::Timeout, Some(Failure::Error(Criterion::Timeout))),
            (Kind::BadReply, Some(Failure::Error(Criterion::Invalid))),
        ] {
            assert_eq!(Failure::of(&Error::new(kind, "x")), expected, "{kind:?}");
        }
        assert_eq!(Failure::of_status(204), None);
        assert_eq!(Failure::of_status(304), None);
        assert_eq!(Failure::of_status(429), Some(Failure::Status(429)));
    }
}
