use super::super::{BROKEN_OFF, End, StreamDecoder};
use super::*;
use crate::wire::client_stream::ClientStream;
use crate::wire::doc::Doc;
use crate::wire::frame::Frame;
use serde_json::{Value, json};

fn conf(operation: &str, options: &Value) -> TargetConf {
    let mut options = options.clone();
    options["anthropic_version"] = "2023-06-01".into();
    let target = json!({"route_type": operation, "model": {"provider": "anthropic", "options": options}});
    serde_json::from_value(target).unwrap()
}

fn with<T>(conf: &TargetConf, client: &str, act: impl FnOnce(&Driver, &Call<'_>) -> T) -> T {
    let driver = Anthropic.load(conf).unwrap();
    let doc = Doc::parse(Bytes::copy_from_slice(client.as_bytes())).unwrap();
    let (model, id) = ("claude", "0123456789abcdef");
    let call = Call { conf, doc: &doc, model, stream: false, include_usage: false, now: 7, id };
    act(&driver, &call)
}

fn encoded(operation: &str, options: &Value, client: &str) -> Result<Value> {
    let conf = conf(operation, options);
    let outbound = with(&conf, client, |driver, call| driver.dialect.request(call))?;
    Ok(serde_json::from_slice(&outbound.body).unwrap())
}

fn chat(client: &str) -> Result<Value> {
    encoded("llm/v1/chat", &json!({}), client)
}

fn decoded(operation: &str, body: &'static str) -> Result<(Value, Decoded)> {
    let conf = conf(operation, &json!({}));
    let body = Bytes::from_static(body.as_bytes());
    let decoded = with(&conf, "{}", |driver, call| driver.dialect.reply(call, body))?;
    Ok((serde_json::from_slice(&decoded.body).unwrap(), decoded))
}

fn streamed(events: &[&str], end: End) -> ClientStream {
    let conf = conf("llm/v1/chat", &json!({}));
    with(&conf, "{}", |_, call| {
        let mut out = call.client_stream();
        let mut decoder = stream::Decoder::new(call.id);
        for event in events {
            decoder.frame(Frame { event: None, data: event.as_bytes() }, &mut out).unwrap();
        }
        decoder.finish(end, &mut out).unwrap();
        out
    })
}

#[test]
fn the_address_says_how_completions_are_asked_for() {
    for (options, legacy) in [
        (json!({}), false),
        (json!({"upstream_url": "http://models.test/upstream"}), true),
        (json!({"upstream_url": "http://models.test/v1/complete"}), true),
        (json!({"upstream_url": "http://models.test/proxy/v1/messages?beta=true"}), false),
        (json!({"upstream_path": "/v1/complete"}), true),
    ] {
        let body = encoded("llm/v1/completions", &options, r#"{"prompt": "a"}"#).unwrap();
        assert_eq!(body.get("max_tokens_to_sample").is_some(), legacy, "{options}");
        assert_eq!(body.get("messages").is_none(), legacy, "{options}");
        assert!(chat(r#"{"messages": []}"#).unwrap().get("messages").is_some());
    }
}

#[test]
fn every_request_names_the_version() {
    let conf = conf("preserve", &json!({}));
    let headers = Anthropic.load(&conf).unwrap().dialect.headers().to_vec();
    let sent = with(&conf, r#"{"messages": []}"#, |driver, call| driver.dialect.request(call)).unwrap();
    assert_eq!(headers[0].0, "anthropic-version");
    assert_eq!(headers[0].1, "2023-06-01");
    assert!(sent.headers.contains(&headers[0]));
}

#[test]
fn max_tokens_is_configured_asked_for_or_the_default() {
    let limit =
        |options: Value, client| encoded("llm/v1/chat", &options, client).unwrap()["max_tokens"].clone();
    let client = r#"{"messages": [], "max_tokens": 9, "max_completion_tokens": 8}"#;
    assert_eq!(limit(json!({"max_tokens": 7}), client), 7);
    assert_eq!(limit(json!({}), client), 8);
    assert_eq!(limit(json!({}), r#"{"messages": [], "max_tokens": 9}"#), 9);
    assert_eq!(limit(json!({}), r#"{"messages": [], "max_tokens": null}"#), 4096);
}

#[test]
fn the_user_is_known_by_three_names() {
    let user = |client: &str| chat(client).unwrap().get("metadata").cloned();
    let known = |id: &str| Some(json!({"user_id": id}));
    assert_eq!(user(r#"{"user": "a", "safety_identifier": "b"}"#), known("a"));
    assert_eq!(user(r#"{"safety_identifier": "b", "metadata": {"user_id": "c"}}"#), known("b"));
    assert_eq!(user(r#"{"metadata": {"user_id": "c", "job": "d"}}"#), known("c"));
    for none in ["{}", r#"{"user": 7}"#, r#"{"metadata": {"user_id": null}}"#, r#"{"metadata": []}"#] {
        assert_eq!(user(none), None, "{none}");
    }
}

#[test]
fn tool_choices_are_anthropics() {
    let choice = |rest: &str| {
        let client = format!(r#"{{"tools": [{{"function": {{"name": "f"}}}}], {rest}}}"#);
        chat(&client).unwrap().get("tool_choice").cloned()
    };
    let one = json!({"type": "auto", "disable_parallel_tool_use": true});
    assert_eq!(choice(r#""parallel_tool_calls": false"#), Some(one));
    assert_eq!(choice(r#""parallel_tool_calls": true"#), None);
    assert_eq!(
        choice(r#""tool_choice": "required", "parallel_tool_calls": true"#),
        Some(json!({"type": "any"}))
    );
    assert_eq!(
        choice(r#""tool_choice": "none", "parallel_tool_calls": false"#),
        Some(json!({"type": "none"}))
    );
    let named = r#""tool_choice": {"type": "function", "function": {"name": "f"}}"#;
    assert_eq!(choice(named), Some(json!({"type": "tool", "name": "f"})));
    assert_eq!(choice(r#""tool_choice": "perhaps""#), None);
    assert_eq!(chat(r#"{"parallel_tool_calls": false}"#).unwrap().get("tool_choice"), None);
}

#[test]
fn what_cannot_be_said_to_anthropic_is_refused() {
    let part = |part: &str| format!(r#"{{"messages": [{{"role": "user", "content": [{part}]}}]}}"#);
    let refused = |client: &str| chat(client).unwrap_err().message().to_owned();
    for (client, said) in [
        (
            part(r#"{"type": "input_audio"}"#),
            "cannot transform part of type 'input_audio' to anthropic format",
        ),
        (part(r#"{"type": "text"}"#), "missing .text block"),
        (part(r#"{"type": "image_url"}"#), "missing .image_url.url block"),
        (part(r#"{"type": "file", "file": {"filename": "a"}}"#), "missing .file.file_data block"),
        (part(r#"{"type": "file", "file": {"file_data": "JVBERi0="}}"#), "must be a data URL"),
        (r#"{"messages": [{"role": "tool", "content": "a"}]}"#.to_owned(), "must have a 'tool_call_id'"),
    ] {
        assert!(refused(&client).contains(said), "{client}: {}", refused(&client));
    }
    let call = |call: &str| format!(r#"{{"messages": [{{"role": "assistant", "tool_calls": [{call}]}}]}}"#);
    let arguments = call(r#"{"id": "1", "function": {"name": "f", "arguments": "[1]"}}"#);
    assert_eq!(refused(&arguments), "the arguments of tool call 'f' are not a JSON object");
    assert_eq!(refused(&call(r#"{"function": {"name": "f"}}"#)), "tool call 'f' must have an 'id'");
}

#[test]
fn a_result_without_words_has_no_content() {
    let body = chat(r#"{"messages": [{"role": "tool", "tool_call_id": "1", "content": null}]}"#).unwrap();
    assert_eq!(body["messages"][0]["content"], json!([{"type": "tool_result", "tool_use_id": "1"}]));
}

#[test]
fn finish_reasons_are_openais() {
    let reason = |stop: &str| {
        let body = format!(r#"{{"content": [], "stop_reason": {stop}}}"#);
        decoded("llm/v1/chat", body.leak()).unwrap().0["choices"][0]["finish_reason"].clone()
    };
    for (stop, finish) in [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("pause_turn", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "content_filter"),
        ("tool_use", "tool_calls"),
        ("something_new", "stop"),
    ] {
        assert_eq!(reason(&format!(r#""{stop}""#)), finish, "{stop}");
    }
    assert_eq!(reason("null"), "stop");
}

#[test]
fn odd_usage_is_no_usage() {
    let usage = |usage: &str| {
        let body = format!(r#"{{"content": [], "usage": {usage}}}"#);
        decoded("llm/v1/chat", body.leak()).unwrap().1.usage
    };
    for odd in ["null", "3", r#""no usage""#, "{}", r#"{"foo": 0}"#, r#"{"input_tokens": "3"}"#] {
        assert!(usage(odd).is_empty(), "{odd}");
    }
    let zero = usage(r#"{"input_tokens": 0, "output_tokens": 0, "cache_read_input_tokens": null}"#);
    assert_eq!((zero.prompt, zero.completion, zero.cached), (Some(0), Some(0), None));
    let cached = usage(
        r#"{"input_tokens": 1, "output_tokens": 2, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 8}"#,
    );
    assert_eq!((cached.prompt, cached.cached, cached.cache_write), (Some(13), Some(4), Some(8)));
}

#[test]
fn replies_that_are_none_say_so() {
    let refused = |operation, body| decoded(operation, body).err().unwrap().message().to_owned();
    let missing = "'content' not in anthropic://llm/v1/chat response";
    assert_eq!(refused("llm/v1/chat", "{}"), missing);
    assert_eq!(refused("llm/v1/chat", r#"{"completion": "a"}"#), missing);
    let missing = "'completion' not in anthropic://llm/v1/chat response";
    assert_eq!(refused("llm/v1/completions", r#"{"content": null}"#), missing);
    assert_eq!(refused("llm/v1/chat", ""), "no response body found when transforming response");
    for body in ["<html>", r#"{"content": "a"}"#] {
        assert_eq!(refused("llm/v1/chat", body), "failed to decode anthropic response", "{body}");
    }
}

#[test]
fn a_stream_is_complete_only_with_message_stop() {
    let text = r#"{"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "a"}}"#;
    let reason = r#"{"type": "message_delta", "delta": {"stop_reason": "end_turn"}}"#;
    for end in [End::Clean, End::Cut] {
        let mut out = streamed(&[text, reason], end);
        assert!(out.is_failed() && !out.is_done());
        assert!(String::from_utf8(out.take().to_vec()).unwrap().contains(BROKEN_OFF));
    }
    let whole = streamed(&[text, reason, r#"{"type": "message_stop"}"#, text], End::Cut);
    assert!(whole.is_done() && !whole.is_failed());
    assert_eq!(whole.text_seen(), "a", "nothing counts after the end");
}

#[test]
fn arguments_may_come_at_once() {
    let block = r#"{"type": "content_block_start", "index": 1,
        "content_block": {"type": "tool_use", "name": "f", "input": {"a":1}}}"#;
    let mut out = streamed(&[block, r#"{"type": "content_block_stop", "index": 1}"#], End::Cut);
    let text = String::from_utf8(out.take().to_vec()).unwrap();
    assert!(text.contains(r#""id":"call_0123456789abcdef_0""#), "{text}");
    assert!(text.contains(r#""arguments":"{\"a\":1}""#), "{text}");
}
