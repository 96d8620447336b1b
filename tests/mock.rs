//! The simulated model over a real connection: every dialect, whole and streaming.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "clippy exempts only the test functions themselves"
)]

#[path = "mock/errors.rs"]
mod errors;
#[path = "mock/frames.rs"]
mod frames;
#[path = "mock/native.rs"]
mod native;
#[path = "mock/wishes.rs"]
mod wishes;

use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tollgate::meter::estimate;
use tollgate::mock::{self, Options};

struct Model {
    base: String,
    client: Client,
}

impl Model {
    async fn start(options: Options) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(mock::serve(listener, options, std::future::pending()));
        Self { base, client: Client::new() }
    }

    fn post(&self, path: &str, body: &Value) -> RequestBuilder {
        let request = self.client.post(format!("{}{path}", self.base)).json(body);
        if path.ends_with("/messages") { request.header("anthropic-version", "2023-06-01") } else { request }
    }

    async fn json(&self, path: &str, body: &Value) -> Value {
        let response = self.post(path, body).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        response.json().await.unwrap()
    }

    /// The events of a stream, and whether it ended with `[DONE]`.
    async fn sse(&self, path: &str, body: &Value) -> (Vec<Value>, bool) {
        let (events, done) = self.named(path, body).await;
        assert!(events.iter().all(|(name, _)| name.is_empty()), "these events have no names");
        (events.into_iter().map(|(_, event)| event).collect(), done)
    }

    /// The same, with the events' names.
    async fn named(&self, path: &str, body: &Value) -> (Vec<(String, Value)>, bool) {
        let response = self.post(path, body).send().await.unwrap();
        assert_eq!(content_type(&response), "text/event-stream");
        let text = response.text().await.unwrap();
        assert!(text.ends_with("\n\n"), "an unterminated event: {text}");
        let mut events: Vec<&str> = text.trim_end().split("\n\n").collect();
        let done = events.last() == Some(&"data: [DONE]");
        events.truncate(events.len() - usize::from(done));
        let read = |event: &str| {
            let (name, data) = event.split_once("data: ").unwrap();
            let name = name.strip_prefix("event: ").unwrap_or_default().trim_end().to_owned();
            (name, serde_json::from_str(data).unwrap())
        };
        (events.into_iter().map(read).collect(), done)
    }

    async fn lines(&self, path: &str, body: &Value) -> Vec<Value> {
        let response = self.post(path, body).send().await.unwrap();
        assert_eq!(content_type(&response), "application/x-ndjson");
        response.text().await.unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn content_type(response: &Response) -> &str {
    response.headers()["content-type"].to_str().unwrap()
}

fn question(extra: &Value) -> Value {
    let mut body = json!({"model": "m-1", "messages": [
        {"role": "system", "content": "You are a mathematician"},
        {"role": "user", "content": "What is 1+1?"}
    ]});
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    body
}

fn text_of(events: &[Value], pointer: &str) -> String {
    events.iter().filter_map(|event| event.pointer(pointer)?.as_str()).collect()
}

fn adds_up(usage: &Value) {
    let count = |name: &str| usage[name].as_u64().unwrap();
    assert!(count("prompt_tokens") > 0 && count("completion_tokens") > 0, "{usage}");
    assert_eq!(count("total_tokens"), count("prompt_tokens") + count("completion_tokens"));
}

#[tokio::test]
async fn chat_answers_whole() {
    let model = Model::start(Options::default()).await;
    let reply = model.json("/v1/chat/completions", &question(&json!({}))).await;
    assert_eq!(reply["object"], "chat.completion");
    assert_eq!(reply["model"], "m-1");
    assert!(
        reply["id"].as_str().unwrap().starts_with("chatcmpl-")
            && reply["created"].as_u64().unwrap() > 1_700_000_000
    );
    assert_eq!(reply["choices"][0]["message"], json!({"role": "assistant", "content": "2"}));
    assert_eq!(reply["choices"][0]["finish_reason"], "stop");
    let words = ["system", "You are a mathematician", "user", "What is 1+1?"];
    let prompt = words.map(estimate::tokens).iter().sum::<u64>() + estimate::prompt_overhead(2);
    assert_eq!(
        reply["usage"],
        json!({"prompt_tokens": prompt, "completion_tokens": 1, "total_tokens": prompt + 1})
    );
    let mut unnamed = question(&json!({}));
    unnamed.as_object_mut().unwrap().remove("model");
    for (path, name) in [
        ("/openai/deployments/d-1/chat/completions?api-version=1", "d-1"),
        ("/models/org/m/v1/chat/completions", "org/m"),
    ] {
        let again = model.json(path, &unnamed).await;
        assert_eq!((&again["choices"], again["model"].as_str()), (&reply["choices"], Some(name)));
        assert_ne!(again["id"], reply["id"]);
    }
}

#[tokio::test]
async fn chat_reads_content_parts_and_other_roles() {
    let model = Model::start(Options::default()).await;
    let parts =
        json!([{"type": "text", "text": "3 × 7"}, {"type": "image_url", "image_url": {"url": "data:,"}}]);
    let messages = json!([
        {"role": "user", "content": parts},
        {"role": "assistant", "content": null, "tool_calls": []},
        {"role": "tool", "tool_call_id": "c", "content": "1+1"}
    ]);
    let reply = model.json("/v1/chat/completions", &json!({"model": "m", "messages": messages})).await;
    assert_eq!(reply["choices"][0]["message"]["content"], "21");
}

#[tokio::test]
async fn chat_honours_limits() {
    let model = Model::start(Options::default()).await;
    let long = json!([{"role": "user", "content": "Tell me everything about trains in Japan, please"}]);
    for name in ["max_tokens", "max_completion_tokens"] {
        let reply = model
            .json("/v1/chat/completions", &json!({"model": "m", "messages": long, name: 5, "n": 3}))
            .await;
        let choices = reply["choices"].as_array().unwrap();
        assert_eq!(
            choices.iter().map(|choice| choice["index"].as_u64().unwrap()).collect::<Vec<_>>(),
            [0, 1, 2]
        );
        assert!(choices.iter().all(|choice| choice["finish_reason"] == "length"));
        let each = estimate::tokens(choices[0]["message"]["content"].as_str().unwrap());
        assert!(each <= 5);
        assert_eq!(reply["usage"]["completion_tokens"], each * 3);
        adds_up(&reply["usage"]);
    }
    let reply = model
        .json("/v1/chat/completions", &json!({"model": "m", "messages": long, "stop": [" trains"]}))
        .await;
    assert!(reply["choices"][0]["message"]["content"].as_str().unwrap().ends_with("everything about"));
    assert_eq!(reply["choices"][0]["finish_reason"], "stop");
}

#[tokio::test]
async fn chat_streams() {
    let model = Model::start(Options::default()).await;
    let body = json!({"model": "m-2", "messages": [{"role": "user", "content": "Why is the sky blue?"}]});
    let whole = model.json("/v1/chat/completions", &body).await;
    let mut streamed = body.clone();
    streamed["stream"] = true.into();
    let (events, done) = model.sse("/v1/chat/completions", &streamed).await;
    assert!(done);
    assert_eq!(
        text_of(&events, "/choices/0/delta/content"),
        whole["choices"][0]["message"]["content"].as_str().unwrap()
    );
    assert_eq!(events[0]["choices"][0]["delta"]["role"], "assistant");
    assert_eq!(events.last().unwrap()["choices"][0]["finish_reason"], "stop");
    assert!(
        events
            .iter()
            .all(|event| event["object"] == "chat.completion.chunk" && event["id"] == events[0]["id"])
    );
    assert!(events.iter().all(|event| event.get("usage").is_none()), "nobody asked for usage");

    streamed["stream_options"] = json!({"include_usage": true});
    let (events, done) = model.sse("/v1/chat/completions", &streamed).await;
    let (last, others) = events.split_last().unwrap();
    assert!(done && others.iter().all(|event| event["usage"].is_null()));
    assert_eq!((&last["choices"], &last["usage"]), (&json!([]), &whole["usage"]));
}

#[tokio::test]
async fn streams_have_as_many_content_events_as_asked() {
    let content = |event: &&Value| {
        event.pointer("/choices/0/delta/content").and_then(Value::as_str).is_some_and(|text| !text.is_empty())
    };
    for chunks in [1, 3, 50] {
        let model = Model::start(Options { chunks: Some(chunks), ..Options::default() }).await;
        let (events, done) = model.sse("/v1/chat/completions", &question(&json!({"stream": true}))).await;
        assert_eq!((events.iter().filter(content).count(), done), (chunks, true));
        let lines =
            model.lines("/api/generate", &json!({"model": "m", "prompt": "Why is the sky blue?"})).await;
        assert_eq!(lines.len(), chunks + 1);
    }
}

#[tokio::test]
async fn streams_are_late_and_slow_when_told() {
    let options = Options {
        latency: Duration::from_millis(60),
        chunks: Some(4),
        chunk_delay: Duration::from_millis(30),
        ..Options::default()
    };
    let model = Model::start(options).await;
    let since = Instant::now();
    let mut response =
        model.post("/v1/chat/completions", &question(&json!({"stream": true}))).send().await.unwrap();
    response.chunk().await.unwrap().unwrap();
    assert!(since.elapsed() >= Duration::from_millis(60));
    while response.chunk().await.unwrap().is_some() {}
    assert!(since.elapsed() >= Duration::from_millis(60 + 3 * 30));
}

#[tokio::test]
async fn demanded_tools_are_called() {
    let model = Model::start(Options::default()).await;
    let properties = json!({"city": {"type": "string"}, "days": {"type": "integer"}});
    let parameters = json!({"type": "object", "properties": properties, "required": ["city"]});
    let tools = json!([{"type": "function", "function": {"name": "weather", "parameters": parameters}}]);
    let messages = json!([{"role": "user", "content": "Kyoto"}]);
    let body = json!({"model": "m", "messages": messages, "tools": tools, "tool_choice": "required"});
    let reply = model.json("/v1/chat/completions", &body).await;
    let call = &reply["choices"][0]["message"]["tool_calls"][0];
    assert_eq!(reply["choices"][0]["finish_reason"], "tool_calls");
    assert!(
        reply["choices"][0]["message"]["content"].is_null()
            && call["id"].as_str().unwrap().starts_with("call_")
    );
    assert_eq!(call["function"], json!({"name": "weather", "arguments": "{\"city\":\"Kyoto\"}"}));
    adds_up(&reply["usage"]);

    let mut streamed = body.clone();
    streamed["stream"] = true.into();
    let (events, done) = model.sse("/v1/chat/completions", &streamed).await;
    assert!(done && events[0]["choices"][0]["delta"]["tool_calls"][0]["function"]["name"] == "weather");
    assert_eq!(text_of(&events, "/choices/0/delta/tool_calls/0/function/arguments"), "{\"city\":\"Kyoto\"}");
    assert_eq!(events.last().unwrap()["choices"][0]["finish_reason"], "tool_calls");

    let ollama = model.lines("/api/chat", &body).await;
    assert_eq!(
        ollama[0]["message"]["tool_calls"][0]["function"],
        json!({"name": "weather", "arguments": {"city": "Kyoto"}})
    );
    assert_eq!(ollama[1]["done"], true);
}

#[tokio::test]
async fn completions_answer_whole_and_stream() {
    let model = Model::start(Options::default()).await;
    let reply = model.json("/v1/completions", &json!({"model": "m", "prompt": ["2+2", "3+3"], "n": 2})).await;
    assert_eq!(reply["object"], "text_completion");
    let texts: Vec<_> =
        reply["choices"].as_array().unwrap().iter().map(|choice| choice["text"].as_str().unwrap()).collect();
    assert_eq!(texts, ["4", "4", "6", "6"]);
    assert_eq!(reply["usage"], json!({"prompt_tokens": 6, "completion_tokens": 4, "total_tokens": 10}));

    let mut body = json!({"model": "m", "prompt": "Tell me a story", "stream": true});
    body["stream_options"] = json!({"include_usage": true});
    let (events, done) = model.sse("/v1/completions", &body).await;
    assert!(done && text_of(&events, "/choices/0/text").contains("Tell me a story"));
    assert_eq!(events[events.len() - 2]["choices"][0]["finish_reason"], "stop");
    adds_up(&events.last().unwrap()["usage"]);
}

#[tokio::test]
async fn ollama_answers_whole_and_streams() {
    let model = Model::start(Options::default()).await;
    let whole = model.json("/api/chat", &question(&json!({"stream": false}))).await;
    assert_eq!(whole["message"], json!({"role": "assistant", "content": "2"}));
    assert_eq!(
        (&whole["done"], &whole["done_reason"], &whole["model"]),
        (&json!(true), &json!("stop"), &json!("m-1"))
    );
    assert!(whole["created_at"].as_str().unwrap().ends_with('Z'));
    let openai = model.json("/v1/chat/completions", &question(&json!({}))).await;
    assert_eq!(whole["prompt_eval_count"], openai["usage"]["prompt_tokens"]);
    assert_eq!(whole["eval_count"], openai["usage"]["completion_tokens"]);

    let body = json!({"model": "m", "prompt": "Tell me a long story", "options": {"num_predict": 6}});
    let lines = model.lines("/api/generate", &body).await;
    let (last, others) = lines.split_last().unwrap();
    assert!(others.iter().all(|line| line["done"] == false && line.get("eval_count").is_none()));
    assert_eq!((&last["done"], &last["done_reason"]), (&json!(true), &json!("length")));
    assert_eq!(last["eval_count"], estimate::tokens(&text_of(&lines, "/response")));
}

#[tokio::test]
async fn hugging_face_answers_whole_and_streams() {
    let model = Model::start(Options::default()).await;
    for path in ["/", "/generate", "/models/some/model"] {
        let reply =
            model.json(path, &json!({"inputs": "What is 1+1?", "parameters": {"max_new_tokens": 9}})).await;
        assert_eq!(reply, json!([{"generated_text": "2"}]), "{path}");
    }
    let inputs = "<s>[INST] <<SYS>> You are a mathematician <</SYS>> What is 1+1? [/INST]";
    let reply = model.json("/raw", &json!({"inputs": inputs, "parameters": {"stream": false}})).await;
    assert_eq!(reply, json!({"data": [{"generated_text": format!("{inputs}\n\n2")}]}));

    let body = json!({"inputs": "Tell me a story", "stream": true, "parameters": {"max_new_tokens": 4}});
    let (events, done) = model.sse("/", &body).await;
    let (last, others) = events.split_last().unwrap();
    assert!(!done && others.iter().all(|event| event["generated_text"].is_null()));
    assert_eq!(text_of(others, "/token/text"), last["generated_text"].as_str().unwrap());
    assert_eq!(last["details"]["finish_reason"], "length");
}

#[tokio::test]
async fn models_and_health_are_there() {
    let model = Model::start(Options::default()).await;
    let get = async |path: &str| model.client.get(format!("{}{path}", model.base)).send().await.unwrap();
    let models: Value = get("/v1/models").await.json().await.unwrap();
    assert_eq!(models["object"], "list");
    assert!(models["data"].as_array().unwrap().iter().any(|one| one["id"] == "mistral-tiny"));
    assert_eq!(get("/health").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn serving_ends_when_told() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(mock::serve(listener, Options::default(), async {
        let _ = stopped.await;
    }));
    assert!(reqwest::get(format!("http://{address}/health")).await.is_ok());
    stop.send(()).unwrap();
    serving.await.unwrap().unwrap();
    assert!(reqwest::get(format!("http://{address}/health")).await.is_err());
}
