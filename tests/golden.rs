//! Every provider's translation, both ways, against files: `fixtures/<provider>/<operation>/<case>/`.
//!
//! A case gives the target and source (`case.json`), the client's request (`request.json`) and the
//! upstream's answer (`upstream-reply.json` or `upstream-stream.txt`); the rest of its files is what
//! must come out, to the byte. `BLESS=1 cargo test --test golden` rewrites those; the diff is the
//! review. Every stream is replayed whole, byte by byte and cut at every offset.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use bytes::Bytes;
use replay::Answered;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use tollgate::config::problems::Problems;
use tollgate::config::schema::Kind;
use tollgate::config::target::{Operation, TargetConf};
use tollgate::error::{Error, Result};
use tollgate::provider::auth::{Auth, Unsigned};
use tollgate::provider::{Call, Driver, End, PROVIDERS, Provider, StreamPlan};
use tollgate::wire::chat;
use tollgate::wire::doc::Doc;
use tollgate::wire::frame::Framing;

#[path = "golden/events.rs"]
mod events;
#[path = "golden/files.rs"]
mod files;
#[path = "golden/replay.rs"]
mod replay;

const NOW: u64 = 1_700_000_000;
const ID: &str = "0123456789abcdef0123456789abcdef";

/// What a case's files may be called if they are not written by hand.
const EXPECTED: [&str; 5] =
    ["upstream-request.json", "client-reply.json", "client-stream.txt", "meter.json", "error.json"];

/// `case.json`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    about: String,
    /// The page that documents the form of the upstream's answer.
    source: String,
    /// When the case was written from it.
    date: String,
    /// A target without its `route_type`.
    target: Map<String, Value>,
    /// Whether the connection breaks after the stream.
    #[serde(default)]
    cut: bool,
}

/// A loaded case.
struct Scene {
    conf: TargetConf,
    driver: Driver,
    doc: Doc,
    end: End,
}

type Outputs = BTreeMap<&'static str, Vec<u8>>;

#[test]
fn cases() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for (provider, operation, folder) in folders() {
        count += 1;
        let outputs = run(provider, operation, &folder);
        if std::env::var_os("BLESS").is_some() {
            files::bless(&folder, &outputs);
        } else {
            wrong.extend(files::compare(&folder, &outputs));
        }
    }
    assert!(count > 0, "no case was found below {}", root().display());
    assert!(wrong.is_empty(), "{} of {count} cases differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// A provider without the fixtures that its operations and formats call for is not finished.
#[test]
fn every_provider_has_its_fixtures() {
    let mut missing = Vec::new();
    for provider in PROVIDERS {
        for operation in provider.operations() {
            let kinds: &[&str] = match operation {
                Operation::Chat => &["plain", "stream", "tools", "image", "error"],
                Operation::Completions => &["plain", "stream", "error"],
                Operation::Preserve => &[],
            };
            for format in formats(*provider) {
                let cases = kinds.iter().map(|kind| format!("{format}{kind}"));
                let folders =
                    cases.map(|case| root().join(provider.name()).join(short(*operation)).join(case));
                missing.extend(folders.filter(|folder| !folder.join("case.json").is_file()));
            }
        }
    }
    let list: Vec<_> = missing.iter().map(|folder| folder.display().to_string()).collect();
    assert!(
        list.is_empty(),
        "create these folders, each with case.json and request.json:\n{}",
        list.join("\n")
    );
}

/// The formats that a provider can be told to speak, as prefixes of its cases.
fn formats(provider: &dyn Provider) -> Vec<String> {
    let format = provider.options().into_iter().find(|field| field.name.ends_with("_format"));
    match format.map(|field| field.kind) {
        Some(Kind::Text { one_of, .. }) => one_of.iter().map(|word| format!("{word}-")).collect(),
        _ => vec![String::new()],
    }
}

fn short(operation: Operation) -> &'static str {
    match operation {
        Operation::Chat => "chat",
        Operation::Completions => "completions",
        Operation::Preserve => "preserve",
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// All cases of all providers.
fn folders() -> Vec<(&'static dyn Provider, Operation, PathBuf)> {
    let mut folders = Vec::new();
    for provider in PROVIDERS {
        for operation in provider.operations() {
            let parent = root().join(provider.name()).join(short(*operation));
            let entries = fs::read_dir(&parent).into_iter().flatten().map(|entry| entry.unwrap().path());
            let mut cases: Vec<_> = entries.filter(|path| path.join("case.json").is_file()).collect();
            cases.sort();
            folders.extend(cases.into_iter().map(|case| (*provider, *operation, case)));
        }
    }
    folders
}

fn run(provider: &'static dyn Provider, operation: Operation, folder: &Path) -> Outputs {
    let scene = load(provider, operation, folder);
    let conf = &scene.conf;
    let flag = |key: &str| scene.doc.field::<bool>(key).unwrap().unwrap_or(false);
    let model = conf.model.name.clone().or_else(|| Some(scene.doc.text("model")?.into_owned())).unwrap();
    let options: Option<Value> = scene.doc.field("stream_options").unwrap();
    let call = Call {
        conf,
        doc: &scene.doc,
        model: &model,
        stream: flag("stream"),
        include_usage: options.is_some_and(|options| options["include_usage"] == true),
        now: NOW,
        id: ID,
    };
    let mut outputs = Outputs::new();
    match request(&scene, &call) {
        Ok(text) => outputs.insert("upstream-request.json", text),
        Err(error) => return Outputs::from([("error.json", refusal(&error))]),
    };
    if call.stream {
        let mut stream = fs::read(folder.join("upstream-stream.txt")).expect("upstream-stream.txt");
        if matches!(scene.driver.dialect.stream(&call), StreamPlan::Translate(Framing::AwsEventStream, _)) {
            stream = events::encode(&stream);
        }
        let streamed = replay_all(&scene, &call, &stream, folder);
        outputs.insert("meter.json", meter(&streamed));
        outputs.insert("client-stream.txt", streamed.client);
    } else {
        let body = fs::read(folder.join("upstream-reply.json")).expect("upstream-reply.json");
        reply(&scene, &call, body, &mut outputs);
    }
    outputs
}

fn reply(scene: &Scene, call: &Call<'_>, body: Vec<u8>, outputs: &mut Outputs) {
    match scene.driver.dialect.reply(call, Bytes::from(body)) {
        Ok(decoded) => {
            let text = chat::answer_text(&decoded.body);
            let (client, usage, model) = (decoded.body.to_vec(), decoded.usage, decoded.model);
            let whole = Answered { client, usage, model, text, complete: true };
            outputs.insert("meter.json", meter(&whole));
            outputs.insert("client-reply.json", whole.client);
        }
        Err(error) => {
            outputs.insert("error.json", refusal(&error));
        }
    }
}

fn load(provider: &'static dyn Provider, operation: Operation, folder: &Path) -> Scene {
    let place = folder.display();
    let text = fs::read_to_string(folder.join("case.json")).unwrap();
    let case: Case = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{place}/case.json: {error}"));
    for said in [&case.about, &case.source, &case.date] {
        assert!(!said.is_empty(), "{place}/case.json must say what it is about, its source and date");
    }
    let mut target = case.target;
    target.insert("route_type".to_owned(), operation.name().into());
    let conf: TargetConf = serde_json::from_value(target.into()).unwrap();
    assert_eq!(conf.model.provider, provider.name(), "{place}");
    let mut list = Vec::new();
    provider.check(&conf, &mut Problems::new(&mut list));
    assert!(list.is_empty(), "{place}: {list:?}");
    let driver = provider.load(&conf).unwrap();
    let doc = Doc::parse(fs::read(folder.join("request.json")).unwrap().into()).unwrap();
    Scene { conf, driver, doc, end: if case.cut { End::Cut } else { End::Clean } }
}

/// The request as the upstream gets it: address, headers, and the body to the byte.
fn request(scene: &Scene, call: &Call<'_>) -> Result<Vec<u8>> {
    #[derive(Serialize)]
    struct Sent<'a> {
        url: String,
        headers: BTreeMap<String, String>,
        body: &'a RawValue,
    }
    let outbound = scene.driver.dialect.request(call)?;
    let auth = Auth::load(&scene.conf.auth)?;
    let body = auth.body(call.doc, outbound.body)?;
    let mut headers = outbound.headers;
    if let Some((name, value)) = auth.header(&http::HeaderMap::new()) {
        headers.retain(|(other, _)| other != name);
        headers.push((name.clone(), value.clone()));
    }
    let (driver, options) = (&scene.driver, &scene.conf.model.options);
    let address = driver.address(options)?;
    let path = outbound.path.as_deref().unwrap_or(&address.path);
    let (own, keyed) = (address.query.as_deref().unwrap_or_default(), auth.query(""));
    let query = [own, &*keyed, driver.own_pair(&[own, &*keyed])];
    if let Some(signer) = &driver.signer {
        let (method, host, now) = (&http::Method::POST, address.authority.as_str(), call.now);
        let proof = signer.sign(&Unsigned {
            method,
            host,
            path,
            query: &query,
            headers: &headers,
            body: &body,
            now,
        })?;
        headers.extend(proof);
    }
    let query = query.into_iter().filter(|piece| !piece.is_empty()).collect::<Vec<_>>().join("&");
    let (scheme, mark) = (
        if address.tls { "https" } else { "http" },
        if query.is_empty() {
            ""
        } else if path.contains('?') {
            "&"
        } else {
            "?"
        },
    );
    let url = format!("{scheme}://{}{path}{mark}{query}", address.authority);
    let headers =
        headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
    let sent = Sent { url, headers, body: serde_json::from_slice(&body).unwrap() };
    Ok(line(serde_json::to_vec_pretty(&sent).unwrap()))
}

/// Replays a stream in every cut and expects the same of each.
fn replay_all(scene: &Scene, call: &Call<'_>, stream: &[u8], folder: &Path) -> Answered {
    let whole = replay(scene, call, &[stream]);
    let place = folder.display();
    let bytes: Vec<&[u8]> = stream.chunks(1).collect();
    assert_eq!(replay(scene, call, &bytes), whole, "{place}: byte by byte");
    for at in 1..stream.len() {
        let (head, tail) = stream.split_at(at);
        assert_eq!(replay(scene, call, &[head, tail]), whole, "{place}: cut at {at}");
    }
    whole
}

fn replay(scene: &Scene, call: &Call<'_>, pieces: &[&[u8]]) -> Answered {
    replay::replay(&*scene.driver.dialect, call, pieces, scene.end)
}

fn meter(streamed: &Answered) -> Vec<u8> {
    let usage = streamed.usage;
    pretty(&json!({
        "prompt": usage.prompt,
        "completion": usage.completion,
        "cached": usage.cached,
        "cache_write": usage.cache_write,
        "reasoning": usage.reasoning,
        "total": usage.total,
        "model": streamed.model,
        "text": streamed.text,
        "complete": streamed.complete,
    }))
}

fn refusal(error: &Error) -> Vec<u8> {
    pretty(&json!({"status": error.kind().status(), "message": error.message()}))
}

fn pretty(value: &Value) -> Vec<u8> {
    line(serde_json::to_vec_pretty(value).unwrap())
}

fn line(mut text: Vec<u8>) -> Vec<u8> {
    text.push(b'\n');
    text
}
