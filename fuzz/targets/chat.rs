//! Looks at OpenAI-shaped requests, replies and chunks that pass through.

use super::{files, read};
use bytes::Bytes;
use serde_json::{Map, Value};
use tollgate::wire::chat;
use tollgate::wire::doc::Doc;
use tollgate::wire::scan;

pub fn run(data: &[u8]) {
    let object = serde_json::from_slice::<Map<String, Value>>(data);
    look(data, object.as_ref().ok());
    if let Ok(doc) = Doc::parse(Bytes::copy_from_slice(data)) {
        request(&doc);
    }
}

fn look(data: &[u8], object: Option<&Map<String, Value>>) {
    let seen = chat::reply_scan(data);
    if let Some(tree) = object {
        assert!(seen.is_some(), "an object that is not seen as one");
        assert!(scan::is_object(data));
        usage(data, tree);
    }
    let (glance, seen) = (chat::reply_glance(data), seen.as_ref());
    if let (Some(glance), Some(seen), true) =
        (&glance, seen, object.is_some_and(|tree| canonical(data, tree)))
    {
        let model = tree_text(object, "model");
        assert_eq!(
            glance.model.as_deref().or(seen.model.as_deref()).is_some(),
            model.is_some() || glance.model.is_some()
        );
        assert_eq!(seen.model.as_deref(), model);
        if object.is_some_and(|tree| tree.contains_key("usage") && tree.contains_key("model")) {
            assert_eq!((glance.usage, glance.model.as_deref()), (seen.usage, seen.model.as_deref()));
        }
    }
    chat::has_output(data);
    chat::reported(data);
    chat::chunk_text(data);
    chat::answer_text(data);
    scan::is_finish(data);
    scan::is_error(data);
    if let Some(found) = scan::usage_object(data) {
        // Of what is no JSON some part may be taken for it.
        assert!(found.starts_with(b"{"));
        if object.is_some() {
            assert!(serde_json::from_slice::<Value>(found).is_ok(), "a part of JSON that is none");
        }
    }
}

fn tree_text<'a>(object: Option<&'a Map<String, Value>>, key: &str) -> Option<&'a str> {
    object?.get(key)?.as_str()
}

/// Whether the text is what a tree writes: no key twice, no needless escape.
fn canonical(data: &[u8], tree: &Map<String, Value>) -> bool {
    serde_json::to_vec(tree).is_ok_and(|text| text == data)
}

fn usage(data: &[u8], tree: &Map<String, Value>) {
    if canonical(data, tree) {
        let found =
            scan::usage_object(data).map(|found| serde_json::from_slice::<Value>(found).expect("JSON"));
        assert_eq!(found.as_ref(), outermost(vec![tree]));
    }
}

/// The object under a key `usage` that is nested least.
fn outermost(level: Vec<&Map<String, Value>>) -> Option<&Value> {
    let mut objects = level;
    let mut lists: Vec<&Vec<Value>> = Vec::new();
    loop {
        let mut usages = objects.iter().filter_map(|map| map.get("usage").filter(|usage| usage.is_object()));
        if let Some(usage) = usages.next() {
            return Some(usage);
        }
        let values: Vec<&Value> = objects
            .iter()
            .flat_map(|map| map.values())
            .chain(lists.iter().flat_map(|list| list.iter()))
            .collect();
        if values.is_empty() {
            return None;
        }
        objects = values.iter().filter_map(|value| value.as_object()).collect();
        lists = values.iter().filter_map(|value| value.as_array()).collect();
    }
}

fn request(doc: &Doc) {
    chat::prompt_text(doc);
    if let Ok(messages) = chat::messages(doc) {
        for message in &messages {
            let _ = message.content();
            for call in message.tool_calls() {
                call.function.arguments();
            }
        }
    }
    let _ = chat::parameters::tools(doc);
    let _ = chat::parameters::stop(doc);
    let _ = chat::parameters::form(doc);
    let _ = chat::parameters::prompt(doc);
    chat::parameters::tool_choice(doc);
}

pub fn seeds() -> Vec<Vec<u8>> {
    let whole = ["request.json", "upstream-reply.json", "client-reply.json"];
    let mut seeds: Vec<Vec<u8>> =
        whole.iter().flat_map(|end| files("tests/fixtures", end)).map(read).collect();
    for stream in files("tests/fixtures/openai", "upstream-stream.txt") {
        let text = String::from_utf8_lossy(&read(stream)).into_owned();
        seeds.extend(text.lines().filter_map(|line| Some(line.strip_prefix("data: ")?.as_bytes().to_vec())));
    }
    seeds
}
