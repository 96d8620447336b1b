//! The token that the Admin API asks for.

use crate::config::secret::Secret;
use crate::state::hash;
use axum::http::{HeaderMap, header};
use serde::Deserialize;
use std::fmt;
use std::str::FromStr;

/// A token; it is never shown, and never empty.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Token(Secret);

impl Token {
    /// Whether a request brings it: as a bearer, or in the header that Kong's tools use.
    pub fn admits(&self, headers: &HeaderMap) -> bool {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let bearer = text(header::AUTHORIZATION.as_str()).and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
        });
        // Digests are compared: how long that takes says nothing of the token.
        let own = hash(&self.0);
        [bearer, text("kong-admin-token")].into_iter().flatten().any(|given| hash(given) == own)
    }
}

impl TryFrom<String> for Token {
    type Error = &'static str;

    /// A variable that was meant to hold a token and is empty must not open the door.
    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.trim().is_empty() {
            Err("the token is empty: name one, or do not set it")
        } else {
            Ok(Self(text.into()))
        }
    }
}

impl FromStr for Token {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::try_from(text.to_owned())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn only_the_token_itself_is_let_in() {
        let token: Token = "s3cret".parse().unwrap();
        let with = |name: &'static str, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static(value));
            token.admits(&headers)
        };
        assert!(with("authorization", "Bearer s3cret") && with("authorization", "bearer  s3cret"));
        assert!(with("kong-admin-token", "s3cret"));
        assert!(!with("authorization", "s3cret") && !with("authorization", "Basic s3cret"));
        assert!(!with("authorization", "Bearer s3cre") && !with("kong-admin-token", ""));
        assert!(!token.admits(&HeaderMap::new()));
        assert!("".parse::<Token>().is_err() && " ".parse::<Token>().is_err());
        assert!(!format!("{token:?}").contains("s3cret"));
    }
}
