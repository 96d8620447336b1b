//! What is fuzzed: each target takes any bytes, and asserts what must hold for all of them.
//!
//! That nothing panics is the least; a splitter's messages must not depend on how the network cut its
//! stream, an edited document must be the edited tree, a client's stream must keep its invariants.

use std::path::PathBuf;

pub mod chat;
pub mod client_stream;
pub mod config;
pub mod cut;
pub mod dialect;
pub mod doc;
pub mod forms;
pub mod h1;
pub mod routes;
pub mod split;
pub mod texts;

/// The gateway's own, for the speed of it.
#[cfg(fuzzing)]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// One of them.
pub struct Target {
    pub name: &'static str,
    pub run: fn(&[u8]),
    /// Inputs to begin with, made of the fixtures and samples of the tests.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

macro_rules! targets {
    ($($name:literal: $run:expr, $seeds:expr;)*) => {
        &[$(Target { name: $name, run: $run, seeds: $seeds }),*]
    };
}

/// All of them. What is cheap comes first.
pub static TARGETS: &[Target] = targets! {
    "sse": split::sse, split::text_seeds;
    "json_lines": split::json_lines, split::text_seeds;
    "json_array": split::json_array, split::text_seeds;
    "sse_or_json": split::sse_or_json, split::text_seeds;
    "event_stream": split::event_stream, split::message_seeds;
    "h1_head": h1::head, h1::heads;
    "h1_body": h1::body, h1::bodies;
    "address": texts::address, texts::addresses;
    "template": texts::template, texts::templates;
    "vault": texts::vault, texts::references;
    "estimate": texts::estimate, texts::samples;
    "route_path": routes::path, routes::paths;
    "client_stream": client_stream::run, client_stream::seeds;
    "doc": doc::run, doc::seeds;
    "chat": chat::run, chat::seeds;
    "admin_form": forms::admin, forms::admin_seeds;
    "request_form": forms::request, forms::request_seeds;
    "embedding": dialect::embedding, dialect::embedding_seeds;
    "native": dialect::native, dialect::native_seeds;
    "request": dialect::request, dialect::request_seeds;
    "reply_openai": |data| dialect::reply("openai", data), || dialect::reply_seeds("openai");
    "reply_anthropic": |data| dialect::reply("anthropic", data), || dialect::reply_seeds("anthropic");
    "reply_cohere": |data| dialect::reply("cohere", data), || dialect::reply_seeds("cohere");
    "reply_mistral": |data| dialect::reply("mistral", data), || dialect::reply_seeds("mistral");
    "reply_llama2": |data| dialect::reply("llama2", data), || dialect::reply_seeds("llama2");
    "reply_gemini": |data| dialect::reply("gemini", data), || dialect::reply_seeds("gemini");
    "reply_bedrock": |data| dialect::reply("bedrock", data), || dialect::reply_seeds("bedrock");
    "reply_huggingface": |data| dialect::reply("huggingface", data), || dialect::reply_seeds("huggingface");
    "stream_openai": |data| dialect::stream("openai", data), || dialect::stream_seeds("openai");
    "stream_anthropic": |data| dialect::stream("anthropic", data), || dialect::stream_seeds("anthropic");
    "stream_cohere": |data| dialect::stream("cohere", data), || dialect::stream_seeds("cohere");
    "stream_mistral": |data| dialect::stream("mistral", data), || dialect::stream_seeds("mistral");
    "stream_llama2": |data| dialect::stream("llama2", data), || dialect::stream_seeds("llama2");
    "stream_gemini": |data| dialect::stream("gemini", data), || dialect::stream_seeds("gemini");
    "stream_bedrock": |data| dialect::stream("bedrock", data), || dialect::stream_seeds("bedrock");
    "stream_huggingface": |data| dialect::stream("huggingface", data), || dialect::stream_seeds("huggingface");
    "route_pattern": routes::pattern, routes::patterns;
    "guard_pattern": texts::guard_pattern, texts::guard_patterns;
    "config": config::run, config::seeds;
};

/// Writes the seeds of a target, and nothing else, where `SEEDS` names a folder for them.
pub fn seed(seeds: fn() -> Vec<Vec<u8>>) {
    let Some(folder) = std::env::var_os("SEEDS").map(PathBuf::from) else { return };
    std::fs::create_dir_all(&folder).expect("the folder of the seeds can be made");
    for (index, seed) in seeds().iter().enumerate() {
        std::fs::write(folder.join(format!("seed-{index}")), seed).expect("a seed can be written");
    }
    std::process::exit(0);
}

/// The root of the repository, from the package of the gateway and from that of the targets.
fn root() -> PathBuf {
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    if own.join("tests/fixtures").is_dir() { own } else { own.join("..") }
}

/// The files below a folder of the repository whose names end so, in order.
fn files(folder: &str, end: &str) -> Vec<PathBuf> {
    let mut folders = vec![root().join(folder)];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(end) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn read(path: PathBuf) -> Vec<u8> {
    std::fs::read(path).unwrap_or_default()
}

/// Splits at the first byte `by`; the second part is empty if there is none.
fn halves(data: &[u8], by: u8) -> (&[u8], &[u8]) {
    match data.iter().position(|byte| *byte == by) {
        Some(at) => (&data[..at], &data[at + 1..]),
        None => (data, b""),
    }
}
