//! ai-prompt-guard: lets prompts pass by what matches them.

mod words;

use super::pattern::{PATIENCE, Pattern, TooLong};
use super::{Conf, Plugin, PluginKind, Step};
use crate::config::llm;
use crate::config::problems::Problems;
use crate::config::rules::get;
use crate::config::schema::{Conditional, Field, Kind, Match, Record, Rule};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::exchange::Exchange;
use crate::meter::metrics::SERIES;
use crate::turns;
use crate::wire::doc::Doc;
use pingora::http::RequestHeader;
use regex_automata::MatchKind;
use regex_automata::meta::{BuildError, Regex};
use regex_automata::nfa::thompson::WhichCaptures;
use serde_json::Value;
use std::cell::OnceCell;
use std::sync::Arc;
use std::time::Instant;

/// Its entry in the list of plugins.
pub static KIND: PluginKind = PluginKind { rules, ..PluginKind::new("ai-prompt-guard", 771, schema, build) };

/// `config`.
pub fn schema() -> Record {
    let patterns = |name| Field::list(name, Kind::sized(1, 500)).sized(0, 10);
    Record::new(vec![
        patterns("allow_patterns").doc("A prompt has to match one of these."),
        patterns("deny_patterns").doc("A prompt must not match any of these."),
        Field::flag("allow_all_conversation_history", false)
            .doc("Whether only the latest message is looked at."),
        Field::flag("match_all_roles", false).doc("Whether messages of other roles than the user's count."),
        llm::body_size(),
        llm::format_field(),
    ])
}

fn rules() -> Vec<Rule> {
    vec![
        Rule::AtLeastOneNonEmpty(&["config.allow_patterns", "config.deny_patterns"]),
        Rule::Conditional(Conditional {
            when: "config.match_all_roles",
            is: Match::Truth(true),
            then: "config.allow_all_conversation_history",
            must: Match::Truth(false),
            message: None,
        }),
        Rule::Check(patterns_compile),
    ]
}

/// Bytes that the automaton of a list may take, as the regex crate has it.
const MOST: usize = 10 * 1024 * 1024;

/// From this length on a prompt is looked at beside the other requests of its thread.
const LONG: usize = 16 * 1024;

#[derive(serde::Deserialize)]
struct Settings {
    #[serde(default)]
    allow_patterns: Option<Vec<String>>,
    #[serde(default)]
    deny_patterns: Option<Vec<String>>,
    allow_all_conversation_history: bool,
    match_all_roles: bool,
    max_request_body_size: usize,
}

/// A list of patterns: those without look-around and back-references in one pass, the rest one by one.
struct Patterns {
    set: Option<Regex>,
    slow: Vec<(String, Pattern)>,
}

/// What a list says of a text.
enum Found {
    Yes,
    No,
    /// The pattern of that name was given up, and no other matched.
    Unknown(String),
}

impl Patterns {
    fn new(list: &str, patterns: &[String]) -> Result<Self> {
        let (fast, other): (Vec<_>, Vec<_>) =
            patterns.iter().enumerate().partition(|(_, pattern)| regex::Regex::new(pattern).is_ok());
        let refused = |place: &str, why: &dyn std::fmt::Display| {
            Error::new(ErrorKind::Internal, format!("{place}: {}", uncompiled(why)))
        };
        let compile = |(index, pattern): (usize, &String)| {
            let place = format!("{list}[{index}]");
            match Pattern::new(pattern, false) {
                Ok(pattern) => Ok((place, pattern)),
                Err(error) => Err(refused(&place, &error)),
            }
        };
        let slow = other.into_iter().map(compile).collect::<Result<_>>()?;
        let fast: Vec<&String> = fast.into_iter().map(|(_, pattern)| pattern).collect();
        let set = (!fast.is_empty()).then(|| together(&fast)).transpose();
        Ok(Self { set: set.map_err(|error| refused(list, &error))?, slow })
    }

    fn is_empty(&self) -> bool {
        self.set.is_none() && self.slow.is_empty()
    }

    /// `until`: set when the first pattern is tried that needs to be held within a time.
    fn find(&self, text: &str, until: &OnceCell<Instant>) -> Found {
        if self.set.as_ref().is_some_and(|set| set.is_match(text)) {
            return Found::Yes;
        }
        let mut found = Found::No;
        for (place, pattern) in &self.slow {
            let until = until.get_or_init(|| Instant::now() + PATIENCE);
            match pattern.is_match(text, *until) {
                Ok(true) => return Found::Yes,
                Ok(false) => {}
                Err(TooLong) => found = Found::Unknown(place.clone()),
            }
        }
        found
    }
}

/// One automaton of all patterns. It searches for no literals first: where nearly every text has some
/// of them, looking for the next one costs more than it skips.
fn together(patterns: &[&String]) -> std::result::Result<Regex, Box<BuildError>> {
    let config = Regex::config()
        .match_kind(MatchKind::All)
        .which_captures(WhichCaptures::None)
        .nfa_size_limit(Some(MOST))
        .auto_prefilter(false);
    Regex::builder().configure(config).build_many(patterns).map_err(Box::new)
}

fn uncompiled(why: &dyn std::fmt::Display) -> String {
    format!("the pattern does not compile: {why}")
}

// KONG(kong/plugins/ai-prompt-guard/filters/guard-prompt.lua): a bad pattern is found out by the first
// request, and answered with 500.
fn patterns_compile(plugin: &Value, out: &mut Problems<'_>) {
    for list in ["config.allow_patterns", "config.deny_patterns"] {
        let patterns = get(plugin, list).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        for (index, pattern) in patterns.iter().enumerate() {
            if let Some(Err(error)) = pattern.as_str().map(|pattern| Pattern::new(pattern, false)) {
                out.at(list).item(index).push(uncompiled(&error));
            }
        }
    }
}

struct Guard {
    allow: Patterns,
    deny: Patterns,
    latest_only: bool,
    all_roles: bool,
    limit: usize,
}

fn build(conf: Conf<'_>) -> Result<Arc<dyn Plugin>> {
    let settings: Settings = conf.read()?;
    Ok(Arc::new(Guard::new(&settings)?))
}

impl Guard {
    fn new(settings: &Settings) -> Result<Self> {
        let list = |patterns: &Option<Vec<String>>| patterns.clone().unwrap_or_default();
        Ok(Self {
            allow: Patterns::new("allow_patterns", &list(&settings.allow_patterns))?,
            deny: Patterns::new("deny_patterns", &list(&settings.deny_patterns))?,
            latest_only: settings.allow_all_conversation_history,
            all_roles: settings.match_all_roles,
            limit: settings.max_request_body_size,
        })
    }

    /// Lets the prompt pass, or says why not.
    fn check(&self, doc: &Doc) -> Result<()> {
        let Some(text) = self.text(doc) else { return Err(blocked()) };
        turns::aside_if(text.len() >= LONG, || self.judge(&text))
    }

    fn judge(&self, text: &str) -> Result<()> {
        let until = OnceCell::new();
        match self.deny.find(text, &until) {
            Found::Yes => return Err(blocked()),
            Found::Unknown(place) => return Err(unknown(&place)),
            Found::No => {}
        }
        if self.allow.is_empty() {
            return Ok(());
        }
        match self.allow.find(text, &until) {
            Found::Yes => Ok(()),
            Found::No => Err(blocked()),
            Found::Unknown(place) => Err(unknown(&place)),
        }
    }

    /// What is looked at: of a chat the chosen messages, newest first, each with a space behind it.
    ///
    // KONG(kong/plugins/ai-prompt-guard/filters/guard-prompt.lua): content in parts was refused; here
    // its texts are looked at.
    fn text(&self, doc: &Doc) -> Option<String> {
        let Some(raw) = doc.raw("messages").filter(|raw| *raw != "null") else { return prompt(doc) };
        let messages = words::said(raw)?;
        let mut text = String::with_capacity(raw.len());
        let chosen = messages.iter().rev().filter(|message| self.all_roles || &*message.role == "user");
        for message in chosen.take(if self.latest_only { 1 } else { usize::MAX }) {
            message.content.push_to(&mut text)?;
            text.push(' ');
        }
        Some(text)
    }
}

fn blocked() -> Error {
    Error::bad_request("bad request")
}

fn unknown(place: &str) -> Error {
    Error::bad_request(format!(
        "the prompt could not be checked: {place} takes too many steps on it; send a shorter prompt, or \
         have the pattern simplified"
    ))
}

/// The prompt of a completions request, or its prompts.
fn prompt(doc: &Doc) -> Option<String> {
    match doc.text("prompt") {
        Some(prompt) => Some(prompt.into_owned()),
        None => doc.field::<Vec<String>>("prompt").ok()?.map(|prompts| prompts.join(" ")),
    }
}

impl Plugin for Guard {
    fn request(&self, x: &mut Exchange, _head: &mut RequestHeader) -> Step {
        let Some(ai) = &x.ai else { return Step::Next };
        self.check(&ai.doc).inspect_err(|_| SERIES.blocked.with_label_values(&[KIND.name]).inc()).into()
    }

    fn reads_body(&self) -> Option<usize> {
        Some(self.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn guard(settings: &serde_json::Value) -> Guard {
        let mut whole = serde_json::json!({
            "allow_all_conversation_history": false, "match_all_roles": false, "max_request_body_size": 1
        });
        whole.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        Guard::new(&serde_json::from_value(whole).unwrap()).unwrap()
    }

    fn passes(guard: &Guard, body: &serde_json::Value) -> bool {
        said(guard, body).is_none()
    }

    fn said(guard: &Guard, body: &Value) -> Option<String> {
        let checked = guard.check(&Doc::parse(Bytes::from(body.to_string())).unwrap());
        checked.err().map(|error| error.message().to_owned())
    }

    #[test]
    fn deny_goes_before_allow_and_only_users_are_looked_at() {
        let guard = guard(&serde_json::json!({"allow_patterns": ["cheddar"], "deny_patterns": ["edam"]}));
        let chat =
            |role: &str, text: &str| serde_json::json!({"messages": [{"role": role, "content": text}]});
        assert!(passes(&guard, &chat("user", "cheddar please")));
        assert!(!passes(&guard, &chat("user", "cheddar and edam")));
        assert!(!passes(&guard, &chat("user", "brie")));
        assert!(!passes(&guard, &chat("assistant", "cheddar")), "nothing of the user's is allowed");
        assert!(passes(&guard, &serde_json::json!({"prompt": "cheddar"})));
    }

    #[test]
    fn parts_are_looked_at() {
        let guard = guard(&serde_json::json!({"deny_patterns": ["edam"]}));
        let parts = serde_json::json!([{"type": "text", "text": "some edam"}]);
        assert!(!passes(&guard, &serde_json::json!({"messages": [{"role": "user", "content": parts}]})));
    }

    #[test]
    fn look_around_is_understood_and_bounded() {
        let guard = guard(&serde_json::json!({"deny_patterns": ["(?<!not )forbidden", "(a+)+\\1$"]}));
        let chat = |text: &str| serde_json::json!({"messages": [{"role": "user", "content": text}]});
        assert!(passes(&guard, &chat("not forbidden")));
        assert!(!passes(&guard, &chat("is forbidden")));
        let long = chat(&format!("{}b", "a".repeat(5000)));
        let unknown = "the prompt could not be checked: deny_patterns[1] takes too many steps on it; \
                       send a shorter prompt, or have the pattern simplified";
        assert_eq!(said(&guard, &long).as_deref(), Some(unknown), "no answer in time is no pass");
    }

    #[test]
    fn another_pattern_decides_where_one_is_given_up() {
        let long = format!("cheddar {}b", "a".repeat(5000));
        let chat = serde_json::json!({"messages": [{"role": "user", "content": long}]});
        let allowing = |other: &str| guard(&serde_json::json!({"allow_patterns": ["(a+)+\\1$", other]}));
        assert_eq!(said(&allowing("cheddar"), &chat), None);
        assert_eq!(said(&allowing("(?<=ched)dar"), &chat), None);
        assert!(said(&allowing("edam"), &chat).unwrap().contains("allow_patterns[0]"));
        let denying = guard(&serde_json::json!({"deny_patterns": ["(a+)+\\1$", "(?<=ched)dar"]}));
        assert_eq!(said(&denying, &chat).as_deref(), Some("bad request"));
    }

    #[test]
    fn a_pattern_that_does_not_compile_is_refused_by_its_place() {
        let error = Patterns::new("deny_patterns", &["fine".into(), "[".into()]).err().unwrap();
        assert!(error.message().starts_with("deny_patterns[1]: the pattern does not compile"));
    }
}
