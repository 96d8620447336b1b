use super::super::{BROKEN_OFF, End, StreamDecoder};
use super::*;
use crate::config::target::TargetConf;
use crate::wire::client_stream::ClientStream;
use crate::wire::doc::Doc;
use crate::wire::frame::Frame;
use serde_json::{Value, json};

fn conf(operation: &str, options: &Value) -> TargetConf {
    let target = json!({"route_type": operation, "model": {"provider": "llama2", "options": options}});
    serde_json::from_value(target).unwrap()
}

fn with<T>(operation: &str, options: &Value, client: &str, act: impl FnOnce(&Call<'_>) -> T) -> T {
    let conf = conf(operation, options);
    let doc = Doc::parse(Bytes::copy_from_slice(client.as_bytes())).unwrap();
    let (model, id) = ("llama3", "0123456789abcdef");
    act(&Call { conf: &conf, doc: &doc, model, stream: false, include_usage: false, now: 7, id })
}

fn encoded(options: &Value, client: &str) -> Result<Value> {
    let outbound = with("llm/v1/chat", options, client, |call| OllamaDialect.request(call))?;
    Ok(serde_json::from_slice(&outbound.body).unwrap())
}

fn decoded(body: &'static str) -> Result<(Value, Decoded)> {
    let decoded = with("llm/v1/chat", &json!({"max_tokens": 9}), "{}", |call| {
        OllamaDialect.reply(call, Bytes::from_static(body.as_bytes()))
    })?;
    Ok((serde_json::from_slice(&decoded.body).unwrap(), decoded))
}

fn streamed(lines: &[&str], end: End) -> ClientStream {
    with("llm/v1/chat", &json!({}), "{}", |call| {
        let mut out = call.client_stream();
        let mut decoder = decode::Decoder::new(call);
        for line in lines {
            decoder.frame(Frame { event: None, data: line.as_bytes() }, &mut out).unwrap();
        }
        decoder.finish(end, &mut out).unwrap();
        out
    })
}

#[test]
fn the_clients_parameters_fill_what_is_not_configured() {
    let client = r#"{"messages": [], "max_tokens": 9, "temperature": 0.10, "top_p": null, "seed": 9007199254740993,
        "stop": "END", "frequency_penalty": 0.5}"#;
    let body = encoded(&json!({"temperature": 1.0, "top_k": 40}), client).unwrap();
    assert_eq!(
        body["options"],
        json!({"num_predict": 9, "temperature": 1.0, "top_k": 40, "seed": 9_007_199_254_740_993_u64,
            "frequency_penalty": 0.5, "stop": ["END"]})
    );
    assert!(encoded(&json!({}), r#"{"messages": []}"#).unwrap().get("options").is_none());
}

#[test]
fn response_formats_are_formats() {
    let format = |client| encoded(&json!({}), client).unwrap().get("format").cloned();
    assert_eq!(format(r#"{"response_format": {"type": "json_object"}}"#), Some(json!("json")));
    assert_eq!(format(r#"{"response_format": {"type": "text"}}"#), None);
    let schema = r#"{"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}}"#;
    assert_eq!(format(schema), Some(json!({"type": "object"})));
}

#[test]
fn tool_results_carry_the_name_of_their_tool() {
    let client = r#"{"messages": [
        {"role": "assistant", "content": null, "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{\"a\": 9007199254740993}"}},
            {"id": "c2", "type": "function", "function": {"name": "now", "arguments": ""}}]},
        {"role": "tool", "tool_call_id": "c1", "content": "3"},
        {"role": "tool", "tool_call_id": "c9", "name": "given", "content": [{"type": "text", "text": "4"}]}]}"#;
    let outbound = with("llm/v1/chat", &json!({}), client, |call| OllamaDialect.request(call)).unwrap();
    let text = std::str::from_utf8(&outbound.body).unwrap();
    assert!(text.contains(r#""arguments":{"a": 9007199254740993}"#), "{text}");
    let body: Value = serde_json::from_str(text).unwrap();
    let messages = body["messages"].as_array().unwrap();
    assert_eq!(messages[0]["content"], "");
    assert_eq!(
        messages[0]["tool_calls"][1],
        json!({"id": "c2", "function": {"name": "now", "arguments": {}}})
    );
    assert_eq!(
        messages[1],
        json!({"role": "tool", "content": "3", "tool_name": "add", "tool_call_id": "c1"})
    );
    assert_eq!(messages[2]["tool_name"], "given");
    assert_eq!(messages[2]["content"], "4");
}

#[test]
fn what_cannot_be_said_in_ollama_is_refused() {
    let refused = |client: &str| encoded(&json!({}), client).unwrap_err().message().to_owned();
    let part = |part: &str| format!(r#"{{"messages": [{{"role": "user", "content": [{part}]}}]}}"#);
    assert!(
        refused(&part(r#"{"type": "image_url", "image_url": {"url": "https://i.test/a.png"}}"#))
            .contains("data URLs")
    );
    assert!(refused(&part(r#"{"type": "image_url"}"#)).contains("missing .image_url.url"));
    assert_eq!(
        refused(&part(r#"{"type": "input_audio"}"#)),
        "cannot transform part of type 'input_audio' to ollama format"
    );
    let call = r#"{"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "[1]"}}]}]}"#;
    assert_eq!(refused(call), "the arguments of tool call 'f' are not a JSON object");
    let prompts =
        with("llm/v1/completions", &json!({}), r#"{"prompt": ["a", "b"]}"#, |c| OllamaDialect.request(c));
    assert_eq!(prompts.err().unwrap().message(), "'prompt' must be a single string for the ollama format");
}

#[test]
fn finish_reasons_are_openais() {
    let reason = |body| decoded(body).unwrap().0["choices"][0]["finish_reason"].clone();
    assert_eq!(reason(r#"{"message": {"content": "a"}, "done": true, "done_reason": "length"}"#), "length");
    assert_eq!(reason(r#"{"message": {"content": "a"}, "done": true, "done_reason": "load"}"#), "stop");
    assert_eq!(reason(r#"{"message": {"content": "a"}, "done": true, "eval_count": 9}"#), "length");
    assert_eq!(
        reason(r#"{"message": {"content": "a"}, "done": true, "done_reason": "stop", "eval_count": 9}"#),
        "stop"
    );
    let tools = r#"{"message": {"tool_calls": [{"function": {"name": "f"}}]}, "done_reason": "stop"}"#;
    assert_eq!(reason(tools), "tool_calls");
}

#[test]
fn created_is_a_number_and_counts_are_kept() {
    let body = r#"{"model": "real", "created_at": "2024-01-15T09:13:38.876196+01:00", "message": {"content": "a"},
        "prompt_eval_count": 0, "eval_count": 3}"#;
    let (json, decoded) = decoded(body).unwrap();
    assert_eq!((&json["created"], &json["model"]), (&json!(1_705_306_418), &json!("real")));
    assert_eq!(json["usage"], json!({"prompt_tokens": 0, "completion_tokens": 3, "total_tokens": 3}));
    assert_eq!((decoded.usage.prompt, decoded.model.as_deref()), (Some(0), Some("real")));
    let (json, decoded) =
        self::decoded(r#"{"message": {"content": "a"}, "created_at": "yesterday"}"#).unwrap();
    assert_eq!((&json["created"], &json["model"]), (&json!(7), &json!("llama3")));
    assert!(decoded.usage.is_empty() && json.get("usage").is_none());
}

#[test]
fn errors_in_a_reply_are_errors() {
    let refused = |body| decoded(body).err().unwrap().message().to_owned();
    assert_eq!(refused(r#"{"error": "model 'x' not found"}"#), "model 'x' not found");
    for body in ["", "<html>", "{}", "[]"] {
        assert_eq!(refused(body), "failed to decode ollama response", "{body}");
    }
}

#[test]
fn a_stream_is_complete_only_with_done() {
    let line = r#"{"message": {"role": "assistant", "content": "a"}, "done": false}"#;
    for end in [End::Clean, End::Cut] {
        let mut out = streamed(&[line], end);
        assert!(out.is_failed() && !out.is_done());
        let text = String::from_utf8(out.take().to_vec()).unwrap();
        assert!(
            text.ends_with(&format!("data: {{\"error\":{{\"message\":\"{BROKEN_OFF}\"}}}}\n\n")),
            "{text}"
        );
        assert_eq!(out.text_seen(), "a");
    }
    let whole = streamed(&[line, r#"{"message": {"content": ""}, "done": true}"#, line], End::Cut);
    assert!(whole.is_done() && !whole.is_failed());
    assert_eq!(whole.text_seen(), "a", "nothing counts after the end");
}

#[test]
fn an_error_line_ends_the_stream() {
    let mut out = streamed(&[r#"{"error": "out of memory"}"#, r#"{"done": true}"#], End::Clean);
    assert_eq!(out.take(), "data: {\"error\":{\"message\":\"out of memory\"}}\n\n");
    assert!(out.is_failed());
}
