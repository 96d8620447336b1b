//! Small languages: addresses, `$(…)` templates, vault references, guard patterns; and the count of
//! tokens, which takes any text.

use super::{files, halves, read};
use http::{HeaderMap, HeaderValue};
use std::borrow::Cow;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};
use tollgate::config::vault;
use tollgate::meter::estimate::{Tally, tokens};
use tollgate::plugins::pattern::{PATIENCE, Pattern};
use tollgate::target::template::{Source, expand};
use tollgate::wire::address::{Address, segment};

/// What was taken apart is put together again as the same.
pub fn address(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    assert!(segment(&text).bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte)));
    let Ok(address) = Address::parse(&text) else { return };
    assert!(address.path.starts_with('/') && !address.host.is_empty());
    let Address { path, authority, .. } = &address;
    assert!(!authority.contains(['/', '?', '#', '@', ' ']), "{authority}");
    let scheme = if address.tls { "https" } else { "http" };
    let query = address.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
    assert_eq!(Address::parse(&format!("{scheme}://{authority}{path}{query}")), Ok(address.clone()));
}

pub fn addresses() -> Vec<Vec<u8>> {
    let known =
        ["http://[::1]:8080/v1?x=1", "https://user:pw@models.test:443/a%20b/../c#f", "http://127.1/\u{e9}"];
    known.iter().map(|text| text.as_bytes().to_vec()).collect()
}

static HEADERS: LazyLock<HeaderMap> = LazyLock::new(|| {
    HeaderMap::from_iter([(http::HeaderName::from_static("x-model"), HeaderValue::from_static("gpt-4o"))])
});

/// A template, a byte 0, a query.
pub fn template(data: &[u8]) {
    let (text, query) = halves(data, 0);
    let (text, query) = (String::from_utf8_lossy(text), String::from_utf8_lossy(query));
    let captures = [(Arc::from("tenant"), "acme".to_owned())];
    match expand(&text, &Source { headers: &HEADERS, captures: &captures, query: &query }) {
        Ok(Cow::Borrowed(same)) => assert!(same == text && !text.contains("$(")),
        Ok(Cow::Owned(out)) => {
            assert!(text.contains("$("));
            let controls = |text: &str| text.chars().filter(|c| c.is_control()).count();
            assert!(controls(&out) <= controls(&text), "a client's control character went in");
        }
        Err(error) => assert!(text.contains("$(") && error.kind().status() == 400),
    }
}

pub fn templates() -> Vec<Vec<u8>> {
    let known = [
        "http://x/$(uri_captures.tenant)/$(headers.x-model)?s=$(query_params.size)\0size=b%20ig&evil=a%0d%0ab",
    ];
    known.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// A reference; what it is written for is never a value that was not read.
pub fn vault(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match vault::parse(&text) {
        Ok(reference) => {
            assert!(
                vault::is_reference(&text) && !reference.vault.is_empty() && !reference.resource.is_empty()
            );
        }
        Err(error) => assert!(!error.is_empty()),
    }
}

pub fn references() -> Vec<Vec<u8>> {
    let known = [
        "{vault://env/openai-key}",
        "{vault://env/a/b/c?prefix=X_#2}",
        "{vault://aws/x/}",
        "{vault://env/%41%ff}",
    ];
    known.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// The count does not depend on how the text came, and no token is shorter than a byte.
pub fn estimate(data: &[u8]) {
    let Some((size, data)) = data.split_first() else { return };
    let text = String::from_utf8_lossy(data);
    let whole = tokens(&text);
    assert!(whole <= text.len() as u64, "{whole} tokens in {} bytes", text.len());
    assert_eq!(whole == 0, text.is_empty());
    let mut tally = Tally::default();
    let mut fragment = String::new();
    for c in text.chars() {
        fragment.push(c);
        if fragment.len() >= usize::from(*size) {
            tally.push(&fragment);
            fragment.clear();
        }
    }
    tally.push(&fragment);
    assert_eq!(tally.total(), whole);
}

pub fn samples() -> Vec<Vec<u8>> {
    let texts = files("tests/samples", "").into_iter().map(read);
    texts.map(|text| [&[5], &text[..text.len().min(600)]].concat()).collect()
}

/// A pattern, a byte 0, a prompt: compiled or refused, and never long at work.
pub fn guard_pattern(data: &[u8]) {
    let (pattern, text) = halves(data, 0);
    let (Ok(pattern), text) = (std::str::from_utf8(pattern), String::from_utf8_lossy(text)) else { return };
    if pattern.len() > 500 {
        return; // as the schema has it
    }
    let began = Instant::now();
    if let Ok(compiled) = Pattern::new(pattern, text.len() % 2 == 1) {
        let until = Instant::now() + PATIENCE;
        let found = compiled.find(&text, until);
        let matched = compiled.is_match(&text, until);
        if let (Ok(found), Ok(matched)) = (&found, &matched) {
            assert_eq!(found.is_some(), *matched, "{pattern:?} on {text:?}");
        }
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{pattern:?} on {text:?}");
}

pub fn guard_patterns() -> Vec<Vec<u8>> {
    let known: [&[u8]; 6] = [
        b"(?<=^JSON: )\\{.*\\}$\0JSON: {1}",
        b"\\b(\\w+) \\1\\b\0say it it",
        b"(?!x)y\0abc",
        b"(a+)+\\1$\0aaaaaaaaaaaaaaaaaaaaaaab",
        b".*(p|P)assword.*\0my Password is",
        b"(?i)\\p{Greek}{2,}[^\\d]\0\xce\xb1\xce\xb2x",
    ];
    known.map(<[u8]>::to_vec).into()
}
