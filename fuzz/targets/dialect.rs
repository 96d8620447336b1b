//! The providers: their decoders of streams and replies, their encoders of clients' requests, their own
//! APIs as clients write them.
//!
//! The targets (which model, which options) are those of the fixtures; the first byte of an input chooses
//! among them.

use super::client_stream::check;
use super::split::{messages, pieces};
use super::{files, read};
use bytes::Bytes;
use replay::replay;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use tollgate::config::target::TargetConf;
use tollgate::provider::embedding::{Embeddings, Purpose};
use tollgate::provider::native::Place;
use tollgate::provider::{Call, Driver, End, PROVIDERS, Provider, StreamPlan};
use tollgate::wire::chat;
use tollgate::wire::doc::{Doc, Side};
use tollgate::wire::frame::Framing;

#[path = "../../tests/golden/replay.rs"]
mod replay;

/// A target, and a request that goes to it.
struct Scene {
    conf: TargetConf,
    driver: Driver,
    doc: Doc,
}

/// By the target that runs them: a provider without one of its own speaks OpenAI's dialect.
static SCENES: LazyLock<BTreeMap<&'static str, Vec<Scene>>> = LazyLock::new(|| {
    let mut known = BTreeMap::<_, Vec<_>>::new();
    for provider in PROVIDERS {
        known.entry(group(provider.name())).or_default().extend(scenes(*provider));
    }
    known
});

fn group(provider: &'static str) -> &'static str {
    let own = super::TARGETS.iter().any(|target| target.name.strip_prefix("reply_") == Some(provider));
    if own { provider } else { "openai" }
}

/// The recorded files of that name of all providers of a group.
fn recorded(of: &str, name: &str) -> Vec<PathBuf> {
    let providers = PROVIDERS.iter().map(|provider| provider.name()).filter(|name| group(name) == of);
    providers.flat_map(|provider| files(&format!("tests/fixtures/{provider}"), name)).collect()
}

/// Each target of the fixtures once, in order.
fn scenes(provider: &'static dyn Provider) -> Vec<Scene> {
    let mut known = Vec::new();
    let mut scenes = Vec::new();
    for operation in provider.operations() {
        let short = operation.name().trim_start_matches("llm/v1/");
        for case in files(&format!("tests/fixtures/{}/{short}", provider.name()), "case.json") {
            let Ok(Value::Object(said)) = serde_json::from_slice::<Value>(&read(case.clone())) else {
                continue;
            };
            let Some(Value::Object(mut target)) = said.get("target").cloned() else { continue };
            target.insert("route_type".to_owned(), operation.name().into());
            if !known.contains(&target) {
                known.push(target.clone());
                let request = read(case.with_file_name("request.json"));
                scenes.extend(scene(provider, target, request));
            }
        }
    }
    assert!(!scenes.is_empty(), "no fixture for {}", provider.name());
    scenes
}

fn scene(provider: &dyn Provider, target: Map<String, Value>, request: Vec<u8>) -> Option<Scene> {
    let conf: TargetConf = serde_json::from_value(target.into()).ok()?;
    let driver = provider.load(&conf).ok()?;
    Some(Scene { conf, driver, doc: Doc::parse(request.into()).ok()? })
}

impl Scene {
    fn of(group: &str, which: u8) -> &'static Self {
        let scenes = &SCENES[group];
        &scenes[usize::from(which) % scenes.len()]
    }

    fn call<'a>(&'a self, doc: &'a Doc, stream: bool, include_usage: bool) -> Call<'a> {
        let model = self.conf.model.name.as_deref().unwrap_or("m");
        let id = "0123456789abcdef0123456789abcdef";
        Call { conf: &self.conf, doc, model, stream, include_usage, now: 1_700_000_000, id }
    }
}

/// Which target, how it ends and what the client asked for, where it is cut (two bytes), the stream.
pub fn stream(group: &str, data: &[u8]) {
    let Some(([which, flags, how @ ..], text)) = data.split_first_chunk::<4>() else { return };
    let scene = Scene::of(group, *which);
    let call = scene.call(&scene.doc, true, flags & 1 != 0);
    let end = if flags & 2 == 0 { End::Clean } else { End::Cut };
    let dialect = &*scene.driver.dialect;
    let framing = match dialect.stream(&call) {
        StreamPlan::Verbatim => None,
        StreamPlan::Translate(framing, _) => Some(framing),
    };
    let binary;
    let text = if framing == Some(Framing::AwsEventStream) {
        binary = messages(text);
        &binary
    } else {
        text
    };
    let whole = replay(dialect, &call, &[text], end);
    if framing.is_some() {
        check(&whole.client, whole.complete, group != "huggingface");
    }
    let cut = replay(dialect, &call, &pieces(*how, text), end);
    assert_eq!(cut, whole, "the same however it was cut");
}

/// Which target, then the upstream's body.
pub fn reply(group: &str, data: &[u8]) {
    let Some((which, body)) = data.split_first() else { return };
    let scene = Scene::of(group, *which);
    let call = scene.call(&scene.doc, false, false);
    let body = Bytes::copy_from_slice(body);
    match scene.driver.dialect.reply(&call, body.clone()) {
        Ok(decoded) if decoded.body == body => {}
        Ok(decoded) => {
            let told: Value = serde_json::from_slice(&decoded.body).expect("a client is answered in JSON");
            assert!(told["choices"].is_array(), "{told}");
            chat::answer_text(&decoded.body);
        }
        Err(error) => assert!(!error.message().is_empty()),
    }
}

/// Which provider, which of its targets, then a client's request.
pub fn request(data: &[u8]) {
    let Some(([provider, which], body)) = data.split_first_chunk::<2>() else { return };
    let provider = PROVIDERS[usize::from(*provider) % PROVIDERS.len()].name();
    let Ok(doc) = Doc::parse(Bytes::copy_from_slice(body)) else { return };
    let scene = Scene::of(group(provider), *which);
    let call = scene.call(&doc, which & 0x80 != 0, false);
    match scene.driver.dialect.request(&call) {
        Ok(outbound) => {
            let object =
                serde_json::from_slice::<BTreeMap<String, Box<serde_json::value::RawValue>>>(&outbound.body);
            assert!(object.is_ok(), "{provider} is asked in no JSON");
        }
        Err(error) => assert!(!error.message().is_empty()),
    }
}

/// A request in a provider's own words, and its address after a byte 0.
pub fn native(data: &[u8]) {
    let Some((which, rest)) = data.split_first() else { return };
    let formats: Vec<_> = PROVIDERS.iter().filter_map(|provider| provider.native()).collect();
    let format = formats[usize::from(*which) % formats.len()];
    let (body, path) = super::halves(rest, 0);
    let captures = [(Arc::from("model"), String::new())];
    let _ = format.ask(&Place { path: &String::from_utf8_lossy(path), captures: &captures });
    let Ok(mut doc) = Doc::parse(Bytes::copy_from_slice(body)) else { return };
    let Ok(view) = format.view(&doc) else { return };
    let view = Doc::parse(view.bytes()).expect("a view is a document");
    let Ok(messages) = chat::messages(&view) else { return };
    let side = if which & 0x80 == 0 { Side::Front } else { Side::Back };
    if format.add(&mut doc, &messages, side).is_ok() {
        Doc::parse(doc.bytes()).expect("with what was added it is a document still");
    }
}

static EMBEDDINGS: LazyLock<Vec<Embeddings>> = LazyLock::new(|| {
    let scenes =
        PROVIDERS.iter().map(|provider| (provider.embeddings(), Scene::of(group(provider.name()), 0)));
    scenes.filter_map(|(embedder, scene)| embedder?.load(&scene.conf, 256).ok()).collect()
});

/// The answers of models that make vectors.
pub fn embedding(data: &[u8]) {
    let Some((which, answer)) = data.split_first() else { return };
    let words = &EMBEDDINGS[usize::from(*which) % EMBEDDINGS.len()].words;
    words.vector(answer);
    let asked =
        words.request(&String::from_utf8_lossy(answer), Purpose::Asked).expect("a text can be asked about");
    assert!(serde_json::from_slice::<Value>(&asked).is_ok());
}

/// The recorded streams of a group, for each of its targets in turn.
pub fn stream_seeds(group: &str) -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for which in 0..SCENES[group].len() as u8 {
        for stream in recorded(group, "upstream-stream.txt") {
            let how = [which, seeds.len() as u8 & 3, (seeds.len() % 3) as u8, 7];
            seeds.push([&how[..], &read(stream)].concat());
        }
    }
    seeds
}

pub fn reply_seeds(group: &str) -> Vec<Vec<u8>> {
    let replies = || recorded(group, "upstream-reply.json").into_iter().map(read);
    let scenes = 0..SCENES[group].len() as u8;
    scenes.flat_map(|which| replies().map(move |reply| [vec![which], reply].concat())).collect()
}

pub fn request_seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (index, provider) in (0..).zip(PROVIDERS) {
        for (which, request) in
            (0..).zip(files(&format!("tests/fixtures/{}", provider.name()), "request.json"))
        {
            seeds.push([vec![index, which], read(request)].concat());
        }
    }
    seeds
}

pub fn native_seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (which, provider) in [(0, "gemini"), (1, "bedrock")] {
        for request in files(&format!("tests/fixtures/{provider}"), "upstream-request.json") {
            let sent: Value = serde_json::from_slice(&read(request)).unwrap_or_default();
            let path = sent["url"].as_str().unwrap_or_default().as_bytes();
            seeds.push([&[which], sent["body"].to_string().as_bytes(), b"\0", path].concat());
        }
    }
    seeds
}

pub fn embedding_seeds() -> Vec<Vec<u8>> {
    let answers: [&[u8]; 4] = [
        br#"{"data":[{"embedding":[0.1,-2e-3,3]}],"model":"m"}"#,
        br#"{"embedding":{"values":[0.1,2]}}"#,
        br#"{"predictions":[{"embeddings":{"values":[0.1,2]}}]}"#,
        br#"{"embedding":[1,2],"embeddings":{"float":[[0.5,1]]}}"#,
    ];
    (0..EMBEDDINGS.len() as u8).flat_map(|which| answers.map(|answer| [&[which], answer].concat())).collect()
}
