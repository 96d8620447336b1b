use super::*;
use serde_json::{Value, json};

fn conf(provider: &str, operation: &str, options: &Value) -> TargetConf {
    let target = json!({"route_type": operation, "model": {"provider": provider, "options": options}});
    serde_json::from_value(target).unwrap()
}

fn edited(vendor: Vendor, model: &str, options: &Value, stream: bool, client: &str) -> String {
    let conf = conf("openai", "llm/v1/chat", options);
    let doc = Doc::parse(Bytes::copy_from_slice(client.as_bytes())).unwrap();
    let call =
        Call { conf: &conf, doc: &doc, model, stream, include_usage: false, now: 7, id: "0123456789abcdef" };
    let outbound = OpenAiDialect::new(vendor).request(&call).unwrap();
    assert_eq!(
        outbound.headers,
        [(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"))]
    );
    String::from_utf8(outbound.body.to_vec()).unwrap()
}

fn reply(operation: &str, body: &'static str) -> Result<Decoded> {
    reply_to(operation, false, body)
}

fn reply_to(operation: &str, stream: bool, body: &'static str) -> Result<Decoded> {
    let conf = conf("openai", operation, &json!({}));
    let doc = Doc::empty();
    let call = Call { conf: &conf, doc: &doc, model: "m", stream, include_usage: false, now: 7, id: "01" };
    OpenAiDialect::new(OPENAI).reply(&call, Bytes::from_static(body.as_bytes()))
}

#[test]
fn configured_options_win_and_the_rest_passes_as_it_was_written() {
    let client = r#"{"temperature": 0.10, "max_tokens": 9, "max_completion_tokens": 99, "top_k": 3, "seed": 9007199254740993, "x": 1.0}"#;
    assert_eq!(
        edited(OPENAI, "gpt-4", &json!({"max_tokens": 256, "temperature": 1.0}), false, client),
        r#"{"temperature":1.0,"max_tokens":256,"seed": 9007199254740993,"x": 1.0,"model":"gpt-4","stream":false}"#
    );
    assert_eq!(
        edited(OPENAI, "gpt-4", &json!({}), false, client),
        r#"{"temperature": 0.10,"max_tokens": 9,"max_completion_tokens": 99,"seed": 9007199254740993,"x": 1.0,"model":"gpt-4","stream":false}"#
    );
}

#[test]
fn reasoning_models_get_their_own_limit() {
    let options = json!({"max_tokens": 256});
    assert_eq!(
        edited(OPENAI, "o3-mini", &options, false, r#"{"max_tokens": 9999}"#),
        r#"{"model":"o3-mini","max_completion_tokens":256,"stream":false}"#
    );
    assert_eq!(
        edited(COMPATIBLE, "o3-mini", &options, false, "{}"),
        r#"{"model":"o3-mini","max_tokens":256,"stream":false}"#
    );
}

#[test]
fn reasoning_models_are_known_by_name() {
    for name in
        ["o1", "o3-mini", "o4-mini-2025-04-16", "gpt-5", "gpt-5.1-mini", "ft:o4-mini:org::id", "openai/gpt-5"]
    {
        assert!(is_reasoning(name), "{name}");
    }
    for name in
        ["gpt-4o", "gpt-4.1", "gpt-35-turbo", "gpt-oss-120b", "omni", "o", "", "davinci-002", "gpt-50"]
    {
        assert!(!is_reasoning(name), "{name}");
    }
}

#[test]
fn streams_ask_for_usage_and_keep_other_stream_options() {
    let ask = |client| edited(OPENAI, "m", &json!({}), true, client);
    assert_eq!(ask("{}"), r#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#);
    assert_eq!(ask(r#"{"stream": true, "stream_options": null}"#), {
        r#"{"stream": true,"stream_options":{"include_usage":true},"model":"m"}"#
    });
    assert_eq!(ask(r#"{"stream_options": {"include_obfuscation": false, "include_usage": false}}"#), {
        r#"{"stream_options":{"include_obfuscation": false,"include_usage":true},"model":"m","stream":true}"#
    });
    assert_eq!(ask(r#"{"stream_options": {"include_usage":  true}}"#), {
        r#"{"stream_options": {"include_usage":  true},"model":"m","stream":true}"#
    });
    assert_eq!(ask(r#"{"stream_options": 3}"#), r#"{"stream_options": 3,"model":"m","stream":true}"#);
}

#[test]
fn what_does_not_stream_has_no_stream_options() {
    let client = r#"{"stream": true, "stream_options": {"include_usage": true}}"#;
    assert_eq!(edited(OPENAI, "m", &json!({}), false, client), r#"{"stream":false,"model":"m"}"#);
}

#[test]
fn a_vendor_says_what_it_does_otherwise() {
    let limit = json!({"max_tokens": 5});
    let own = Vendor {
        limit: |_| "max_completion_tokens",
        asks_usage: false,
        reword: |doc| rename(doc, "seed", "own_seed"),
        usage: |_| Usage { prompt: Some(7), ..Usage::default() },
    };
    let client = r#"{"seed": 1, "max_tokens": 9}"#;
    assert_eq!(
        edited(own, "m", &limit, true, client),
        r#"{"model":"m","max_completion_tokens":5,"own_seed":1,"stream":true}"#
    );
    assert_eq!(
        edited(own, "m", &json!({}), false, r#"{"seed": 1, "own_seed": 2}"#),
        r#"{"own_seed": 2,"model":"m","stream":false}"#,
        "a field that has the new name wins"
    );
    assert_eq!((OpenAiDialect::new(own).usage())("{}").prompt, Some(7));
}

#[test]
fn replies_pass_byte_for_byte() {
    let body = "{ \"choices\" : [ ] , \"model\":\"m-1\", \"usage\": {\"prompt_tokens\": 2, \"completion_tokens\": 0}}\n";
    let decoded = reply("llm/v1/chat", body).unwrap();
    assert_eq!(decoded.body, body);
    assert_eq!(decoded.model.as_deref(), Some("m-1"));
    assert_eq!((decoded.usage.prompt, decoded.usage.completion), (Some(2), Some(0)));
}

#[test]
fn what_is_no_reply_is_named() {
    let refused = |operation, body| reply(operation, body).err().unwrap().message().to_owned();
    assert_eq!(refused("llm/v1/chat", ""), "no response body found when transforming response");
    assert_eq!(refused("llm/v1/chat", "<html>"), "failed to decode llm/v1/chat response");
    assert_eq!(refused("llm/v1/completions", "[1]"), "failed to decode llm/v1/completions response");
    assert_eq!(refused("llm/v1/chat", r#"{"choices": null}"#), "'choices' not in llm/v1/chat response");
    assert_eq!(refused("llm/v1/completions", "{}"), "'choices' not in llm/v1/completions response");
    let error = r#"{"error": {"message": "overloaded"}}"#;
    assert_eq!(refused("llm/v1/chat", error), "'choices' not in llm/v1/chat response");
    let instead_of_stream = reply_to("llm/v1/chat", true, error).err().unwrap();
    assert_eq!(instead_of_stream.message(), "overloaded");
}
