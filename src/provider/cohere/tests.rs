use super::super::{BROKEN_OFF, End, StreamDecoder};
use super::*;
use crate::wire::client_stream::ClientStream;
use crate::wire::doc::Doc;
use crate::wire::frame::Frame;
use serde_json::{Value, json};

fn conf(operation: &str, options: &Value) -> TargetConf {
    let target = json!({"route_type": operation, "model": {"provider": "cohere", "options": options}});
    serde_json::from_value(target).unwrap()
}

fn with<T>(conf: &TargetConf, client: &str, act: impl FnOnce(&Driver, &Call<'_>) -> T) -> T {
    let driver = Cohere.load(conf).unwrap();
    let doc = Doc::parse(Bytes::copy_from_slice(client.as_bytes())).unwrap();
    let (model, id) = ("command", "0123456789abcdef");
    let call = Call { conf, doc: &doc, model, stream: false, include_usage: false, now: 7, id };
    act(&driver, &call)
}

fn encoded(operation: &str, url: &str, client: &str) -> Result<Value> {
    let conf = conf(operation, &json!({"upstream_url": url}));
    let outbound = with(&conf, client, |driver, call| driver.dialect.request(call))?;
    Ok(serde_json::from_slice(&outbound.body).unwrap())
}

fn decoded(body: &'static str) -> Result<(Value, Decoded)> {
    let conf = conf("llm/v1/chat", &json!({}));
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

const V2: &str = "https://api.cohere.com/v2/chat";
const V1: &str = "https://api.cohere.com/v1/chat";
const UNNAMED: &str = "http://models.test/upstream";

#[test]
fn the_address_says_which_api_is_spoken() {
    let api = |operation, options| Api::of(&conf(operation, &options));
    let (chat, completions) = ("llm/v1/chat", "llm/v1/completions");
    for (url, chats, completes) in [
        (V2, Api::V2, Api::V2),
        (V1, Api::V1Chat, Api::V1Chat),
        ("http://models.test/v1/generate", Api::V1Chat, Api::V1Generate),
        (UNNAMED, Api::Unnamed, Api::Unnamed),
        ("http://v1.test/chat", Api::Unnamed, Api::Unnamed),
    ] {
        assert_eq!(api(chat, json!({"upstream_url": url})), chats, "{url}");
        assert_eq!(api(completions, json!({"upstream_url": url})), completes, "{url}");
    }
    assert_eq!(api(chat, json!({})), Api::V2);
    assert_eq!(api(chat, json!({"upstream_path": "/v1/chat"})), Api::V1Chat);
}

#[test]
fn instructions_have_a_role_where_v1_is_named() {
    let client = r#"{"messages": [{"role": "developer", "content": "a"}, {"role": "tool", "content": "b"}]}"#;
    assert!(encoded("llm/v1/chat", V1, client).unwrap_err().message().contains("v2 API"));
    let client = client.replace("tool", "user");
    let history = |url| encoded("llm/v1/chat", url, &client).unwrap()["chat_history"].clone();
    assert_eq!(history(V1), json!([{"role": "SYSTEM", "message": "a"}]));
    assert_eq!(history(UNNAMED), json!([{"role": "USER", "message": "a"}]));
}

#[test]
fn tools_turn_an_unnamed_address_into_v2() {
    for client in [
        r#"{"messages": [{"role": "user", "content": "a"}], "tools": [{"function": {"name": "f"}}]}"#,
        r#"{"messages": [{"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "f"}}]}]}"#,
        r#"{"messages": [{"role": "tool", "tool_call_id": "1", "content": "a"}]}"#,
    ] {
        assert!(encoded("llm/v1/chat", UNNAMED, client).unwrap()["messages"].is_array(), "{client}");
    }
    let client = r#"{"messages": [{"role": "user", "content": "a"}], "tools": []}"#;
    assert_eq!(encoded("llm/v1/chat", UNNAMED, client).unwrap()["message"], "a");
}

#[test]
fn tool_choices_are_coheres() {
    let tools = r#""tools": [{"function": {"name": "f"}}, {"function": {"name": "g"}}]"#;
    let body = |choice: &str| {
        encoded("llm/v1/chat", V2, &format!(r#"{{{tools}, "tool_choice": {choice}}}"#)).unwrap()
    };
    assert_eq!(body(r#""required""#)["tool_choice"], "REQUIRED");
    assert_eq!(body(r#""none""#)["tool_choice"], "NONE");
    assert!(body(r#""auto""#).get("tool_choice").is_none());
    let named = body(r#"{"type": "function", "function": {"name": "g"}}"#);
    assert_eq!(named["tool_choice"], "REQUIRED");
    let only = json!([{"type": "function", "function": {"name": "g", "parameters": {"type": "object"}}}]);
    assert_eq!(named["tools"], only);
}

#[test]
fn what_an_assistant_says_beside_calls_is_its_plan() {
    let turn = |content: &str| {
        let call = r#"{"id": "1", "function": {"name": "f", "arguments": "{}"}}"#;
        let client = format!(
            r#"{{"messages": [{{"role": "assistant", "content": {content}, "tool_calls": [{call}]}}]}}"#
        );
        encoded("llm/v1/chat", V2, &client).unwrap()["messages"][0].clone()
    };
    assert_eq!(turn(r#""a""#)["tool_plan"], "a");
    assert_eq!(
        turn(r#"[{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]"#)["tool_plan"],
        "a\nb"
    );
    for silent in ["null", r#""""#, "[]"] {
        assert!(turn(silent).get("tool_plan").is_none() && turn(silent).get("content").is_none(), "{silent}");
    }
}

#[test]
fn what_cannot_be_said_to_cohere_is_refused() {
    let client = |part: &str| format!(r#"{{"messages": [{{"role": "user", "content": [{part}]}}]}}"#);
    let refused = |url, part| encoded("llm/v1/chat", url, &client(part)).unwrap_err().message().to_owned();
    let audio = "cannot transform part of type 'input_audio' to cohere format";
    assert_eq!(refused(V2, r#"{"type": "input_audio"}"#), audio);
    assert_eq!(refused(UNNAMED, r#"{"type": "input_audio"}"#), audio);
    assert!(refused(V2, r#"{"type": "image_url"}"#).contains("missing .image_url.url block"));
    assert!(refused(V2, r#"{"type": "text"}"#).contains("missing .text block"));
    let none = encoded("llm/v1/chat", V1, r#"{"messages": []}"#).unwrap_err();
    assert_eq!(none.message(), "'messages' must not be empty");
}

#[test]
fn the_schema_has_two_names() {
    let client = r#"{"messages": [{"role": "user", "content": "a"}], "response_format":
        {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}}"#;
    let form = |url| encoded("llm/v1/chat", url, client).unwrap()["response_format"].clone();
    let schema = json!({"type": "object"});
    assert_eq!(form(V2), json!({"type": "json_object", "json_schema": schema}));
    assert_eq!(form(V1), json!({"type": "json_object", "schema": schema}));
}

#[test]
fn finish_reasons_are_openais() {
    let reason = |word: &str| {
        let body = format!(r#"{{"text": "a", "finish_reason": "{word}"}}"#);
        decoded(body.leak()).map(|(json, _)| json["choices"][0]["finish_reason"].as_str().unwrap().to_owned())
    };
    for (word, finish) in [
        ("COMPLETE", "stop"),
        ("STOP_SEQUENCE", "stop"),
        ("MAX_TOKENS", "length"),
        ("max_tokens", "length"),
        ("ERROR_LIMIT", "length"),
        ("ERROR_TOXIC", "content_filter"),
        ("TOOL_CALL", "tool_calls"),
    ] {
        assert_eq!(reason(word).unwrap(), finish, "{word}");
    }
    for failed in ["ERROR", "TIMEOUT", "USER_CANCEL"] {
        assert_eq!(reason(failed).unwrap_err().message(), format!("cohere ended its answer with {failed}"));
    }
}

#[test]
fn billed_units_come_first() {
    let counts = |rest: &str| {
        let usage = decoded(format!(r#"{{"text": "a", {rest}}}"#).leak()).unwrap().1.usage;
        (usage.prompt, usage.completion)
    };
    let old = r#""token_count": {"prompt_tokens": 5, "response_tokens": 6}"#;
    let both = r#""meta": {"billed_units": {"input_tokens": 1.0, "output_tokens": 0}, "tokens": {"input_tokens": 9}}"#;
    assert_eq!(counts(&format!("{both}, {old}")), (Some(1), Some(0)));
    let counted =
        r#""meta": {"billed_units": {"search_units": 1}, "tokens": {"input_tokens": 3, "output_tokens": 4}}"#;
    assert_eq!(counts(&format!("{counted}, {old}")), (Some(3), Some(4)));
    assert_eq!(counts(&format!(r#""meta": null, {old}"#)), (Some(5), Some(6)));
    assert_eq!(counts(r#""meta": "none""#), (None, None));
}

#[test]
fn replies_that_are_none_say_so() {
    let refused = |body| decoded(body).err().unwrap().message().to_owned();
    assert_eq!(refused("{}"), "'text' or 'generations' missing from cohere response body");
    assert_eq!(refused(r#"{"message": "invalid api token"}"#), "invalid api token");
    assert_eq!(refused(""), "no response body found when transforming response");
    for body in ["<html>", "7", r#"{"message": 7}"#] {
        assert_eq!(refused(body), "failed to decode cohere response", "{body}");
    }
}

#[test]
fn a_message_may_be_plain_text() {
    let (json, _) =
        decoded(r#"{"id": "i", "message": {"content": "a"}, "finish_reason": "COMPLETE"}"#).unwrap();
    assert_eq!(json["choices"][0]["message"]["content"], "a");
    assert_eq!((&json["id"], &json["model"], &json["created"]), (&json!("i"), &json!("command"), &json!(7)));
}

#[test]
fn a_stream_is_complete_only_with_its_last_event() {
    let text = r#"{"event_type": "text-generation", "text": "a"}"#;
    for end in [End::Clean, End::Cut] {
        let mut out = streamed(&[text], end);
        assert!(out.is_failed() && !out.is_done());
        assert!(String::from_utf8(out.take().to_vec()).unwrap().contains(BROKEN_OFF));
    }
    let whole =
        streamed(&[text, r#"{"event_type": "stream-end", "finish_reason": "COMPLETE"}"#, text], End::Cut);
    assert!(whole.is_done() && !whole.is_failed());
    assert_eq!(whole.text_seen(), "a", "nothing counts after the end");
}

#[test]
fn an_error_in_place_of_an_event_ends_the_stream() {
    let mut out = streamed(&[r#"{"message": "too many requests"}"#], End::Clean);
    assert_eq!(out.take(), "data: {\"error\":{\"message\":\"too many requests\"}}\n\n");
    assert!(out.is_failed());
}
