//! Bearer tokens that a cloud hands out for a while.
//!
//! They are fetched beside the requests, by a service of the process, and read by them: a request
//! waits only for the first answer to the first fetch. What is asked for a token, and how its
//! answer is read, is the [`Issuer`]'s, and pure; nothing here does I/O.

use crate::error::{Error, Kind, Result};
use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method};
use once_cell::sync::Lazy;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// How long a request waits for the first answer.
const PATIENCE: Duration = Duration::from_secs(15);
/// A fetch that was begun is not begun again for this long.
const LEASE: Duration = Duration::from_mins(1);
/// A token is replaced this long before it expires, or in the last fifth of a short life.
const MARGIN: Duration = Duration::from_mins(5);
/// How long to wait after a failed fetch: doubled with each, up to the second.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Who gives tokens, and for what.
pub trait Issuer: Send + Sync + 'static {
    /// The request for a token. `now` is in seconds since the epoch. An error is for good: nothing
    /// is asked until the configuration changes.
    fn ask(&self, now: u64) -> Result<Ask, String>;

    /// The token in the answer. An error says what is wrong, and holds no secret.
    fn read(&self, status: u16, body: &[u8]) -> Result<Grant, String>;
}

/// A request for a token.
pub struct Ask {
    /// Its method.
    pub method: Method,
    /// Where it goes.
    pub url: String,
    /// Beside those of the body.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// May be empty.
    pub body: Bytes,
}

/// A token, as it was given.
pub struct Grant {
    /// What is sent with requests.
    pub token: String,
    /// How long it is good for.
    pub lifetime: Duration,
}

/// Why there is no token.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Another try may succeed.
    Passing(String),
    /// Only another configuration will.
    Lasting(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Passing(why) | Self::Lasting(why)) = self;
        f.write_str(why)
    }
}

/// One identity's token, whoever uses it.
pub struct Token {
    issuer: Box<dyn Issuer>,
    state: ArcSwap<State>,
    changed: Notify,
    plan: Mutex<Plan>,
}

enum State {
    /// Nothing was answered yet.
    Awaited,
    Held {
        header: HeaderValue,
        until: Instant,
    },
    /// The last fetch failed, and no token is left.
    Refused,
}

/// When to fetch next; `None` is never.
struct Plan {
    due: Option<Instant>,
    failures: u32,
}

impl Token {
    /// A token that is still to be fetched.
    pub fn new(issuer: Box<dyn Issuer>) -> Self {
        Self {
            issuer,
            state: ArcSwap::from_pointee(State::Awaited),
            changed: Notify::new(),
            plan: Mutex::new(Plan { due: Some(Instant::now()), failures: 0 }),
        }
    }

    /// Who gives it.
    pub fn issuer(&self) -> &dyn Issuer {
        &*self.issuer
    }

    /// Waits until the first fetch was answered, well or badly.
    pub async fn ready(&self) {
        if !self.is_awaited() {
            return;
        }
        let answered = async {
            loop {
                let changed = self.changed.notified();
                if !self.is_awaited() {
                    return;
                }
                changed.await;
            }
        };
        // If it takes too long, the request fails for want of a token.
        let _ = tokio::time::timeout(PATIENCE, answered).await;
    }

    /// The value of `Authorization`.
    pub fn header(&self) -> Result<HeaderValue> {
        match &**self.state.load() {
            State::Held { header, until } if Instant::now() < *until => Ok(header.clone()),
            _ => Err(Error::new(Kind::Identity, "LLM request failed before proxying")),
        }
    }

    /// When it is to be fetched next; `None` if never.
    pub fn due(&self) -> Option<Instant> {
        self.plan().due
    }

    /// Says whether a fetch is due, and if so reserves it for the caller.
    pub fn begin(&self, now: Instant) -> bool {
        let mut plan = self.plan();
        let due = plan.due.is_some_and(|due| due <= now);
        if due {
            plan.due = Some(now + LEASE);
        }
        due
    }

    /// Takes what a fetch brought.
    pub fn settle(&self, fetched: Result<Grant, Refusal>, now: Instant) -> Result<(), Refusal> {
        let read = fetched.and_then(|grant| {
            let header = HeaderValue::try_from(format!("Bearer {}", grant.token));
            let mut header = header
                .map_err(|_| Refusal::Passing("the token must not hold control characters".to_owned()))?;
            header.set_sensitive(true);
            Ok((header, grant.lifetime))
        });
        let mut plan = self.plan();
        let result = match read {
            Ok((header, lifetime)) => {
                let early = MARGIN.min(lifetime / 5);
                *plan = Plan { due: Some(now + lifetime.saturating_sub(early)), failures: 0 };
                self.state.store(Arc::new(State::Held { header, until: now + lifetime }));
                Ok(())
            }
            Err(refusal) => {
                let wait = (BACKOFF.0 * 2_u32.saturating_pow(plan.failures.min(16))).min(BACKOFF.1);
                plan.failures += 1;
                plan.due = matches!(refusal, Refusal::Passing(_)).then(|| now + wait);
                if self.header().is_err() {
                    self.state.store(Arc::new(State::Refused));
                }
                Err(refusal)
            }
        };
        drop(plan);
        self.changed.notify_waiters();
        result
    }

    fn is_awaited(&self) -> bool {
        matches!(**self.state.load(), State::Awaited)
    }

    fn plan(&self) -> std::sync::MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("held", &self.header().is_ok()).finish_non_exhaustive()
    }
}

/// All tokens that a configuration in force uses.
pub static TOKENS: Lazy<Tokens> = Lazy::new(Tokens::default);

/// Tokens by identity. One that no target uses any more is forgotten.
#[derive(Default)]
pub struct Tokens {
    all: Mutex<HashMap<String, Weak<Token>>>,
    added: Notify,
}

impl Tokens {
    /// The token of the identity that `key` stands for; made if nobody uses it yet. It survives a
    /// reload that keeps the identity.
    pub fn shared(&self, key: String, issuer: impl FnOnce() -> Box<dyn Issuer>) -> Arc<Token> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.get(&key).and_then(Weak::upgrade) {
            return known;
        }
        all.retain(|_, token| token.strong_count() > 0);
        let token = Arc::new(Token::new(issuer()));
        all.insert(key, Arc::downgrade(&token));
        drop(all);
        self.added.notify_one();
        token
    }

    /// Those in use.
    pub fn live(&self) -> Vec<Arc<Token>> {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.values().filter_map(Weak::upgrade).collect()
    }

    /// Waits until there is a new one.
    pub async fn added(&self) {
        self.added.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Never;

    impl Issuer for Never {
        fn ask(&self, _now: u64) -> Result<Ask, String> {
            Err("no key".to_owned())
        }

        fn read(&self, _status: u16, _body: &[u8]) -> Result<Grant, String> {
            Err("no token".to_owned())
        }
    }

    fn grant(seconds: u64) -> Grant {
        Grant { token: "t1".to_owned(), lifetime: Duration::from_secs(seconds) }
    }

    fn token() -> Token {
        Token::new(Box::new(Never))
    }

    #[test]
    fn a_token_is_replaced_before_it_expires() {
        let (token, now) = (token(), Instant::now());
        assert_eq!(token.header().unwrap_err().kind(), Kind::Identity);
        token.settle(Ok(grant(3600)), now).unwrap();
        assert_eq!(token.header().unwrap(), "Bearer t1");
        assert_eq!(token.due(), Some(now + Duration::from_mins(55)));
        token.settle(Ok(grant(100)), now).unwrap();
        assert_eq!(token.due(), Some(now + Duration::from_secs(80)));
    }

    #[test]
    fn a_failed_refresh_keeps_the_token_and_an_expired_one_is_not_sent() {
        let (token, now) = (token(), Instant::now());
        token.settle(Ok(grant(3600)), now).unwrap();
        token.settle(Err(Refusal::Passing("503".to_owned())), now).unwrap_err();
        assert!(token.header().is_ok());
        let before = now.checked_sub(Duration::from_secs(100)).unwrap();
        token.settle(Ok(grant(60)), before).unwrap();
        let error = token.header().unwrap_err();
        assert_eq!((error.kind(), error.message()), (Kind::Identity, "LLM request failed before proxying"));
    }

    #[test]
    fn failures_wait_longer_each_time_and_lasting_ones_for_ever() {
        let (token, now) = (token(), Instant::now());
        for seconds in [1, 2, 4, 8, 16, 30, 30] {
            token.settle(Err(Refusal::Passing(String::new())), now).unwrap_err();
            assert_eq!(token.due(), Some(now + Duration::from_secs(seconds)));
        }
        token.settle(Err(Refusal::Lasting(String::new())), now).unwrap_err();
        assert_eq!(token.due(), None);
    }

    #[test]
    fn a_fetch_is_begun_once() {
        let token = token();
        let now = Instant::now();
        assert!(token.begin(now));
        assert!(!token.begin(now));
        assert!(token.begin(now + LEASE), "a fetch that got lost does not block the next");
    }

    #[test]
    fn a_token_that_no_header_takes_is_a_failure() {
        let token = token();
        let broken = Grant { token: "a\nb".to_owned(), lifetime: Duration::from_mins(1) };
        token.settle(Ok(broken), Instant::now()).unwrap_err();
        assert!(token.header().is_err() && !format!("{token:?}").contains("a\nb"));
    }

    #[tokio::test]
    async fn the_first_request_waits_for_the_first_answer() {
        let token = Arc::new(token());
        let waiting = {
            let token = token.clone();
            tokio::spawn(async move {
                token.ready().await;
                token.header()
            })
        };
        tokio::task::yield_now().await;
        token.settle(Ok(grant(60)), Instant::now()).unwrap();
        assert_eq!(waiting.await.unwrap().unwrap(), "Bearer t1");
        let refused = Token::new(Box::new(Never));
        refused.settle(Err(Refusal::Lasting("no key".to_owned())), Instant::now()).unwrap_err();
        refused.ready().await;
        assert!(refused.header().is_err());
    }

    #[tokio::test]
    async fn an_identity_has_one_token_while_it_is_used() {
        let tokens = Tokens::default();
        let one = tokens.shared("a".to_owned(), || Box::new(Never));
        tokens.added().await;
        let two = tokens.shared("a".to_owned(), || Box::new(Never));
        assert!(Arc::ptr_eq(&one, &two) && tokens.live().len() == 1);
        drop((one, two));
        assert!(tokens.live().is_empty());
    }
}
