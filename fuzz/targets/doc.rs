//! `Doc`: it reads what a JSON parser reads, and its edits are edits of the tree.

use super::{files, halves, read};
use bytes::Bytes;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};
use tollgate::wire::doc::{Doc, Side};

/// JSON, a byte 0, then two bytes for each edit.
pub fn run(data: &[u8]) {
    let (text, edits) = halves(data, 0);
    let source = Bytes::copy_from_slice(text);
    let json = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
    let tree = serde_json::from_slice::<Map<String, Value>>(json);
    let mut doc = match Doc::parse(source.clone()) {
        Ok(doc) => doc,
        Err(error) => {
            assert!(tree.is_err() || error.message().ends_with("twice"), "refused JSON: {error:?}");
            return;
        }
    };
    assert_eq!(doc.bytes(), source, "unedited, it is its source");
    for key in doc.keys() {
        assert!(doc.has(key) && doc.raw(key).is_some());
        doc.text(key);
    }
    // Deep nesting, numbers beyond all bounds and half surrogates pass a document; a tree refuses them.
    let Ok(mut tree) = tree else { return };
    for edit in edits.chunks_exact(2).take(16) {
        apply(&mut doc, &mut tree, edit[0], edit[1]);
    }
    // What no edit changed keeps its byte order mark.
    let bytes = doc.bytes();
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&bytes);
    let written: Map<String, Value> = serde_json::from_slice(bytes).expect("it writes JSON");
    assert_eq!(written, tree);
    assert!(written.keys().eq(tree.keys()) && doc.keys().eq(tree.keys()), "in another order");
}

fn apply(doc: &mut Doc, tree: &mut Map<String, Value>, what: u8, which: u8) {
    let keys: Vec<String> = tree.keys().cloned().collect();
    let fixed = ["model", "messages", "stream", "a\"b\\", "\u{e9}\n", ""];
    let key = match keys.get(usize::from(which) % (keys.len() + fixed.len())) {
        Some(key) => key.clone(),
        None => fixed[usize::from(which) % fixed.len()].to_owned(),
    };
    let value = json!({"n": what, "t": ["\u{1}\"\\", null, 1.5]});
    match what % 5 {
        0 => {
            doc.set(&key, &value).expect("a tree can be written");
            tree.insert(key, value);
        }
        1 => {
            doc.set_raw(&key, &to_raw_value(&value).expect("JSON"));
            tree.insert(key, value);
        }
        2 => assert_eq!(doc.remove(&key), tree.shift_remove(&key).is_some()),
        side => {
            let (at, items) =
                (if side == 3 { Side::Front } else { Side::Back }, vec![value.clone(), Value::Null]);
            let raw: Vec<Box<RawValue>> =
                items.iter().map(|item| to_raw_value(item).expect("JSON")).collect();
            let list = tree.get_mut(&key).and_then(Value::as_array_mut);
            assert_eq!(doc.splice(&key, at, &raw).is_ok(), list.is_some());
            if let Some(list) = list {
                let at = if side == 3 { 0 } else { list.len() };
                list.splice(at..at, items);
            }
        }
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let requests = files("tests/fixtures", "request.json").into_iter().map(read);
    requests.map(|request| [request, vec![0, 0, 1, 3, 2, 4, 1, 2, 0, 1, 9]].concat()).collect()
}
