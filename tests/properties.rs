//! What must hold for any input: edits of a `Doc` are edits of a tree, an unedited one is its own
//! source, and no splitter cares where the network cut its stream.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::format_push_string,
    reason = "all of it is test code, and clippy exempts only the test functions themselves"
)]

#[path = "../fuzz/targets/cut.rs"]
mod cut;

use bytes::Bytes;
use cut::{Seen, events};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};
use tollgate::wire::doc::{Doc, Side};
use tollgate::wire::frame::Framing;
use tollgate::wire::scan::usage_object;

/// Values whose text `serde_json` reads and writes unchanged.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1000..1000_i32).prop_map(|n| Value::from(f64::from(n) / 8.0)),
        "\\PC{0,8}".prop_map(Value::from),
        "[\\\\\"{}\\[\\],:a\n\r\t]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((key(), inner), 0..4).prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

/// Few keys, so that edits meet what is there; some need escapes.
fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-d]",
        Just("model".to_owned()),
        Just("usage".to_owned()),
        Just("a\"b\\".to_owned()),
        Just("\u{e9}\n".to_owned()),
        Just(String::new()),
    ]
}

fn object() -> impl Strategy<Value = Map<String, Value>> {
    vec((key(), value()), 0..8).prop_map(|pairs| pairs.into_iter().collect())
}

/// The object as text, with some space and with keys that are escaped more than they need to be.
fn text(object: &Map<String, Value>, space: &str, escape: bool) -> String {
    let literal = |key: &str| {
        if escape {
            let units: String =
                key.encode_utf16().fold(String::new(), |text, unit| text + &format!("\\u{unit:04x}"));
            format!("\"{units}\"")
        } else {
            Value::from(key).to_string()
        }
    };
    let fields: Vec<String> = object
        .iter()
        .map(|(key, value)| format!("{space}{}{space}:{space}{value}{space}", literal(key)))
        .collect();
    format!("{space}{{{space}{}}}{space}", fields.join(","))
}

#[derive(Clone, Debug)]
enum Edit {
    Set(String, Value),
    SetRaw(String, Value),
    Remove(String),
    Splice(String, bool, Vec<Value>),
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        3 => (key(), value()).prop_map(|(key, value)| Edit::Set(key, value)),
        1 => (key(), value()).prop_map(|(key, value)| Edit::SetRaw(key, value)),
        1 => (key(), vec(value(), 0..4)).prop_map(|(key, list)| Edit::Set(key, Value::from(list))),
        2 => key().prop_map(Edit::Remove),
        3 => (key(), any::<bool>(), vec(value(), 0..4)).prop_map(|(key, front, items)| Edit::Splice(key, front, items)),
    ]
}

fn edit_tree(tree: &mut Map<String, Value>, edit: &Edit) {
    match edit {
        Edit::Set(key, value) | Edit::SetRaw(key, value) => {
            tree.insert(key.clone(), value.clone());
        }
        Edit::Remove(key) => {
            tree.shift_remove(key);
        }
        Edit::Splice(key, front, items) => {
            if let Some(Value::Array(list)) = tree.get_mut(key) {
                let at = if *front { 0 } else { list.len() };
                list.splice(at..at, items.iter().cloned());
            }
        }
    }
}

fn edit_doc(doc: &mut Doc, edit: &Edit) {
    match edit {
        Edit::Set(key, value) => doc.set(key, value).unwrap(),
        Edit::SetRaw(key, value) => doc.set_raw(key, &to_raw_value(value).unwrap()),
        Edit::Remove(key) => {
            let there = doc.has(key);
            assert_eq!(doc.remove(key), there);
        }
        Edit::Splice(key, front, items) => {
            let side = if *front { Side::Front } else { Side::Back };
            let items: Vec<Box<RawValue>> = items.iter().map(|item| to_raw_value(item).unwrap()).collect();
            let array = doc.raw(key).is_some_and(|text| text.starts_with('['));
            assert_eq!(doc.splice(key, side, &items).is_ok(), array);
        }
    }
}

proptest! {
    #[test]
    fn edits_of_a_doc_are_edits_of_a_tree(
        object in object(), edits in vec(edit(), 0..8), space in "[ \t\r\n]{0,2}", escape: bool
    ) {
        let mut tree = object;
        let mut doc = Doc::parse(Bytes::from(text(&tree, &space, escape))).unwrap();
        for edit in &edits {
            edit_tree(&mut tree, edit);
            edit_doc(&mut doc, edit);
            let written: Map<String, Value> = serde_json::from_slice(&doc.bytes()).unwrap();
            prop_assert_eq!(&written, &tree);
            // Maps compare without order, so the order is compared too.
            prop_assert!(written.keys().eq(tree.keys()));
            prop_assert!(doc.keys().eq(tree.keys()));
            let again = Doc::parse(doc.bytes()).unwrap();
            for (key, value) in &tree {
                prop_assert_eq!(&doc.field::<Value>(key).unwrap().unwrap_or_default(), value);
                let read = doc.text(key);
                prop_assert_eq!(read.as_deref(), value.as_str());
                prop_assert_eq!(again.raw(key), doc.raw(key));
            }
        }
    }

    #[test]
    fn an_unedited_doc_is_its_source(
        object in object(), space in "[ \t\r\n]{0,2}", escape: bool, mark: bool
    ) {
        let source = format!("{}{}", if mark { "\u{feff}" } else { "" }, text(&object, &space, escape));
        let mut doc = Doc::parse(Bytes::from(source.clone())).unwrap();
        prop_assert_eq!(&doc.bytes(), source.as_bytes());
        for (key, value) in &object {
            doc.set(key, value).unwrap();
        }
        prop_assert!(!doc.is_edited());
        prop_assert_eq!(&doc.bytes(), source.as_bytes());
    }

    #[test]
    fn any_text_is_a_doc_exactly_if_it_is_an_object(text in "[{}\\[\\]\",:a1 \\\\u\u{feff}]{0,12}") {
        let json = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let object = serde_json::from_str::<Map<String, Value>>(json).is_ok();
        let doc = Doc::parse(Bytes::from(text.clone()));
        // A tree lets the second of two equal keys win.
        prop_assert!(doc.is_ok() == object || doc.is_err_and(|error| error.message().ends_with("twice")));
    }
}

/// All messages of a stream that no splitter gives up.
fn split(framing: Framing, reads: &[&[u8]]) -> Vec<Seen> {
    let (messages, refused) = cut::split(framing, reads);
    assert!(!refused, "a stream of small messages was given up");
    messages
}

/// Cuts `text` at the given places.
fn pieces<'a>(text: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
    ends.push(text.len());
    ends.sort_unstable();
    let starts = std::iter::once(0).chain(ends.iter().copied());
    starts.zip(&ends).map(|(start, end)| &text[start..*end]).collect()
}

/// The frames of `text`, which must be the same whole, cut once anywhere, in bytes, and in `cuts`.
fn invariant(framing: Framing, text: &[u8], cuts: &[prop::sample::Index]) -> Vec<Seen> {
    let whole = split(framing, &[text]);
    for at in 0..=text.len() {
        assert_eq!(split(framing, &[&text[..at], &text[at..]]), whole, "cut at {at}");
    }
    assert_eq!(split(framing, &text.chunks(1).collect::<Vec<_>>()), whole);
    assert_eq!(split(framing, &pieces(text, cuts)), whole);
    whole
}

fn cuts() -> impl Strategy<Value = Vec<prop::sample::Index>> {
    vec(any::<prop::sample::Index>(), 0..6)
}

proptest! {
    #[test]
    fn sse_gives_back_what_was_sent(
        sent in vec((prop::option::of("[a-z.]{1,6}"), vec("[^\r\n]{0,10}", 1..4), any::<bool>()), 0..6),
        end in prop::sample::select(vec!["\n", "\r\n", "\r"]), mark: bool, open: bool, cuts in cuts()
    ) {
        let mut text = String::from(if mark { "\u{feff}" } else { "" });
        for (event, lines, comment) in &sent {
            text += &if *comment { format!(": ping{end}{end}") } else { String::new() };
            text += &event.as_ref().map_or(String::new(), |name| format!("event: {name}{end}"));
            for line in lines {
                text += &format!("data: {line}{end}");
            }
            text += end;
        }
        if open && !sent.is_empty() {
            text.truncate(text.len() - end.len());
        }
        let expected: Vec<Seen> =
            sent.into_iter().map(|(event, lines, _)| (event, lines.join("\n").into_bytes())).collect();
        prop_assert_eq!(invariant(Framing::Sse, text.as_bytes(), &cuts), expected);
    }

    #[test]
    fn raw_events_join_to_the_stream(
        text in vec(prop::sample::select(&b"\n\n\r\r: adt\xef\xbb\xbf"[..]), 0..40), cuts in cuts()
    ) {
        let whole = events(&[&text]);
        prop_assert_eq!(&events(&text.chunks(1).collect::<Vec<_>>()).0, &whole.0);
        for reads in [vec![&text[..]], text.chunks(1).collect(), pieces(&text, &cuts)] {
            let (single, forwarded, refused) = events(&reads);
            prop_assert!(!refused);
            prop_assert_eq!(&single, &whole.0);
            prop_assert_eq!(&forwarded, &text);
            let joined: Vec<u8> = single.iter().flat_map(|(raw, _)| raw.to_vec()).collect();
            prop_assert_eq!(&joined, &text);
        }
        let frames: Vec<Seen> = whole.0.into_iter().filter_map(|(_, frame)| frame).collect();
        prop_assert_eq!(invariant(Framing::Sse, &text, &cuts), frames);
    }

    #[test]
    fn json_lines_give_back_what_was_sent(
        sent in vec((value(), "[ \t]{0,2}(\r?\n){1,2}"), 0..6), open: bool, cuts in cuts()
    ) {
        let mut text: String = sent.iter().map(|(value, end)| value.to_string() + end).collect();
        if open {
            text.truncate(text.trim_end().len());
        }
        let expected: Vec<Seen> =
            sent.into_iter().map(|(value, _)| (None, value.to_string().into_bytes())).collect();
        prop_assert_eq!(invariant(Framing::JsonLines, text.as_bytes(), &cuts), expected);
    }

    #[test]
    fn json_arrays_give_back_what_was_sent(
        sent in vec(value(), 0..6), space in "[ \t\r\n]{0,2}", pretty: bool, cuts in cuts()
    ) {
        let write = |value: &Value| if pretty { format!("{value:#}") } else { value.to_string() };
        let written: Vec<String> = sent.iter().map(write).collect();
        let text = format!("{space}[{space}{}{space}]{space}", written.join(&format!("{space},{space}")));
        let expected: Vec<Seen> = written.into_iter().map(|value| (None, value.into_bytes())).collect();
        prop_assert_eq!(invariant(Framing::JsonArray, text.as_bytes(), &cuts), expected);
    }

    #[test]
    fn objects_without_an_array_are_taken_too(sent in vec(object(), 0..6), cuts in cuts()) {
        let written: Vec<String> = sent.into_iter().map(|object| Value::Object(object).to_string()).collect();
        let text = written.join("\n");
        let expected: Vec<Seen> = written.into_iter().map(|value| (None, value.into_bytes())).collect();
        prop_assert_eq!(invariant(Framing::JsonArray, text.as_bytes(), &cuts), expected);
    }

    #[test]
    fn no_bytes_upset_a_splitter(text in vec(prop::sample::select(&b"[]{}\",:\\ \n\ra1\xef\xbb\xbf"[..]), 0..30), cuts in cuts()) {
        for framing in [Framing::Sse, Framing::JsonLines, Framing::JsonArray] {
            invariant(framing, &text, &cuts);
        }
    }

    #[test]
    fn usage_is_found_as_in_a_tree(object in object()) {
        let tree = Value::Object(object);
        let text = tree.to_string();
        let found = usage_object(text.as_bytes()).map(|found| serde_json::from_slice::<Value>(found).unwrap());
        prop_assert_eq!(found.as_ref(), outermost(&[&tree]));
    }
}

/// The object under a key `usage` that is nested least.
fn outermost<'a>(level: &[&'a Value]) -> Option<&'a Value> {
    let usages = level.iter().filter_map(|value| value.get("usage").filter(|usage| usage.is_object()));
    if let Some(usage) = usages.into_iter().next() {
        return Some(usage);
    }
    let mut below: Vec<&Value> = Vec::new();
    for value in level {
        match value {
            Value::Array(list) => below.extend(list),
            Value::Object(map) => below.extend(map.values()),
            _ => {}
        }
    }
    if below.is_empty() { None } else { outermost(&below) }
}
