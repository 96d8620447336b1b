use super::*;
use crate::error::Kind;
use crate::provider::native::{Asked, Place};
use crate::wire::chat::Message;
use crate::wire::doc::{Doc, Side};
use serde_json::json;

fn conf(options: &Value) -> TargetConf {
    let target = json!({"route_type": "llm/v1/chat", "model": {"provider": "gemini", "options": options}});
    serde_json::from_value(target).unwrap()
}

fn sent(options: &Value, model: &str, stream: bool, client: &str) -> Result<(String, Value)> {
    let conf = conf(options);
    let doc = Doc::parse(Bytes::copy_from_slice(client.as_bytes())).unwrap();
    let call = Call { conf: &conf, doc: &doc, model, stream, include_usage: false, now: 7, id: "x" };
    let outbound = Gemini.load(&conf)?.dialect.request(&call)?;
    Ok((outbound.path.unwrap(), serde_json::from_slice(&outbound.body).unwrap()))
}

fn path(options: &Value, model: &str, stream: bool) -> Result<String> {
    Ok(sent(options, model, stream, r#"{"messages":[]}"#)?.0)
}

fn body(client: &Value) -> Result<Value> {
    Ok(sent(&json!({}), "gemini-2.5-pro", false, &client.to_string())?.1)
}

fn refusal(messages: &Value) -> String {
    let error = body(&json!({"messages": messages})).unwrap_err();
    assert_eq!(error.kind(), Kind::BadRequest);
    error.message().to_owned()
}

#[test]
fn the_path_names_model_and_operation() {
    let vertex = json!({"gemini": {"api_endpoint": "e.test", "project_id": "p", "location_id": "us/1"}});
    for (options, model, stream, expected) in [
        (json!({}), "gemini-2.5-pro", false, "/v1beta/models/gemini-2.5-pro:generateContent"),
        (json!({}), "gemini-2.5-pro", true, "/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse"),
        (json!({}), "tunedModels/my own", false, "/v1beta/tunedModels/my%20own:generateContent"),
        (json!({}), "a/b?c:d", false, "/v1beta/models/a%2Fb%3Fc%3Ad:generateContent"),
        (
            vertex.clone(),
            "m@1",
            false,
            "/v1/projects/p/locations/us%2F1/publishers/google/models/m@1:generateContent",
        ),
        (vertex, "endpoints/7", false, "/v1/projects/p/locations/us%2F1/endpoints/7:generateContent"),
        (json!({"upstream_url": "http://u.test/own"}), "m", true, "/own?alt=sse"),
        (json!({"upstream_url": "http://u.test/own?alt=sse"}), "m", true, "/own"),
        (json!({"upstream_url": "http://u.test/m:streamGenerateContent"}), "m", false, "/m:generateContent"),
        (json!({"upstream_url": "http://u.test/own", "upstream_path": "/p"}), "m", false, "/p"),
    ] {
        assert_eq!(path(&options, model, stream).unwrap(), expected);
    }
    for model in ["..", "models/../../x", "models//x", "tunedModels/"] {
        assert!(path(&json!({}), model, false).unwrap_err().message().contains("must not have empty steps"));
    }
}

#[test]
fn what_cannot_be_expressed_is_said_in_kongs_words() {
    let user = |content: Value| json!([{"role": "user", "content": content}]);
    for (messages, message) in [
        (user(json!([{"type": "text"}])), "message part type is 'text' but is missing .text block"),
        (
            user(json!([{"type": "image_url", "image_url": {}}])),
            "message part type is 'image_url' but is missing .image_url.url block",
        ),
        (
            user(json!([{"type": "image_url", "image_url": {"url": "data:x"}}])),
            "image URL is less than 10 bytes, which is not parsable",
        ),
        (user(json!([{"type": "video"}])), "cannot transform part of type 'video' to Gemini format"),
        (user(json!(7)), "message at position 1 does not match expected array format"),
        (
            json!([{"role": "tool", "tool_call_id": "c9", "content": "x"}]),
            "message at position 1 answers tool call 'c9', which no message before it makes",
        ),
        (
            json!([{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "[1]"}}]}]),
            "the arguments of tool call 'f' are not a JSON object",
        ),
    ] {
        assert_eq!(refusal(&messages), message);
    }
    let system = r#"{"messages":[{"role":"system","content":"x"}]}"#;
    let error = sent(&json!({}), "gemini-1.0-pro", false, system).unwrap_err();
    assert_eq!(error.message(), "system prompts aren't supported on gemini-1.0 models");
    let error = sent(&json!({}), "m", true, r#"{"messages":[],"n":2}"#).unwrap_err();
    assert_eq!(error.message(), "'n' must be 1 for streams of Gemini");
}

#[test]
fn tool_choices_are_modes() {
    let config = |choice: Value| {
        let tools = json!([{"type": "function", "function": {"name": "f"}}]);
        let body = body(&json!({"messages": [], "tools": tools, "tool_choice": choice})).unwrap();
        body.get("toolConfig").map(|config| config["functionCallingConfig"].clone())
    };
    assert_eq!(config(json!("auto")), Some(json!({"mode": "AUTO"})));
    assert_eq!(config(json!("none")), Some(json!({"mode": "NONE"})));
    assert_eq!(config(json!("required")), Some(json!({"mode": "ANY"})));
    let named = json!({"type": "function", "function": {"name": "f"}});
    assert_eq!(config(named), Some(json!({"mode": "ANY", "allowedFunctionNames": ["f"]})));
    assert_eq!(config(Value::Null), None);
    let own = json!({"function_calling_config": {"mode": "auto"}});
    assert_eq!(body(&json!({"messages": [], "tool_config": own})).unwrap()["toolConfig"], own);
}

#[test]
fn geminis_own_tools_and_settings_pass() {
    let body = body(&json!({
        "messages": [], "tools": [{"googleSearch": {}}, {"type": "function", "function": {"name": "f"}}],
        "safety_settings": [{"category": "c"}]
    }));
    let body = body.unwrap();
    assert_eq!(body["tools"], json!([{"functionDeclarations": [{"name": "f"}]}, {"googleSearch": {}}]));
    assert_eq!(body["safetySettings"], json!([{"category": "c"}]));
}

fn ask(path: &str, captures: &[(Arc<str>, String)]) -> Result<Asked> {
    native::GeminiFormat.ask(&Place { path, captures })
}

fn view(native: &Value) -> Value {
    let doc = Doc::parse(Bytes::from(native.to_string())).unwrap();
    serde_json::from_slice(&native::GeminiFormat.view(&doc).unwrap().bytes()).unwrap()
}

#[test]
fn a_native_address_names_model_and_operation() {
    for (path, model, stream) in [
        ("/gem/models/gemini-1.5-flash:generateContent", Some("gemini-1.5-flash"), false),
        ("/v1beta/models/m%3A1:streamGenerateContent", Some("m:1"), true),
        ("/v1beta/tunedModels/own:generateContent", Some("tunedModels/own"), false),
        ("/v1/projects/p/locations/l/publishers/google/models/m:generateContent", Some("m"), false),
        ("/gem", None, false),
    ] {
        assert_eq!(ask(path, &[]).unwrap(), Asked { model: model.map(str::to_owned), stream }, "{path}");
    }
    let captures =
        [(Arc::from("model"), "m2".to_owned()), (Arc::from("operation"), "streamGenerateContent".to_owned())];
    assert_eq!(ask("/x/m2/go", &captures).unwrap(), Asked { model: Some("m2".to_owned()), stream: true });
    assert!(ask("/models/m:countTokens", &[]).unwrap_err().message().ends_with("not 'countTokens'"));
}

#[test]
fn a_native_request_is_seen_in_openais_words() {
    let seen = view(&json!({
        "system_instruction": {"parts": {"text": "Be brief."}},
        "contents": [
            {"role": "user", "parts": {"text": "Lights on."}},
            {"role": "assistant", "parts": [{"text": "Sure."}, {"functionCall": {"name": "on", "args": {"a": 1.0}}}]},
            {"role": "function", "parts": {"function_response": {"name": "on", "response": {"ok": true}}}},
            {"parts": [{"text": "See"}, {"inline_data": {"mime_type": "image/png", "data": "AA=="}},
                {"fileData": {"fileUri": "gs://b/x"}}]}
        ],
        "generationConfig": {"maxOutputTokens": 5, "temperature": 0.5, "topP": 0.9, "topK": 3, "stopSequences": ["x"]},
        "tools": [{"function_declarations": [{"name": "on"}]}]
    }));
    assert_eq!(
        seen["messages"],
        json!([
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Lights on."},
            {"role": "assistant", "content": "Sure.",
                "tool_calls": [{"id": "call_1_on", "type": "function", "function": {"name": "on", "arguments": "{\"a\":1.0}"}}]},
            {"role": "tool", "name": "on", "content": "{\"ok\":true}", "tool_call_id": "call_2_on"},
            {"role": "user", "content": [{"type": "text", "text": "See"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
                {"type": "image_url", "image_url": {"url": "gs://b/x"}}]}
        ])
    );
    assert_eq!((&seen["max_tokens"], &seen["stop"]), (&json!(5), &json!(["x"])));
    assert_eq!(seen["tools"], json!([{"type": "function", "function": {"name": "on"}}]));
}

#[test]
fn added_messages_find_their_place_and_the_rest_keeps_its_bytes() {
    let added = |native: &'static str, at| {
        let mut doc = Doc::parse(Bytes::from_static(native.as_bytes())).unwrap();
        let messages: Vec<Message<'_>> =
            serde_json::from_str(r#"[{"role": "system", "content": "S"}, {"role": "user", "content": "U"}]"#)
                .unwrap();
        native::GeminiFormat.add(&mut doc, &messages, at).unwrap();
        String::from_utf8(doc.bytes().to_vec()).unwrap()
    };
    assert_eq!(
        added(
            r#"{"contents": [{"parts": [1.0]}], "system_instruction": {"parts": {"text" : "old"}}}"#,
            Side::Back
        ),
        r#"{"contents":[{"parts": [1.0]},{"role":"user","parts":[{"text":"U"}]}],"system_instruction":{"parts":[{"text" : "old"},{"text":"S"}]}}"#
    );
    assert_eq!(
        added(r#"{"contents": {"parts": {}}}"#, Side::Front),
        r#"{"contents":[{"role":"user","parts":[{"text":"U"}]},{"parts": {}}],"systemInstruction":{"parts":[{"text":"S"}]}}"#
    );
}

#[test]
fn indented_arguments_are_compact_text() {
    let reply = "{\"candidates\": [{\"content\": {\"parts\": [{\"functionCall\": {\"name\": \"f\", \"args\": {\n  \
        \"a\": \"x \\\" y\\\\\",\n  \"b\": [1.0, 2]\n}}}]}}]}";
    let conf = conf(&json!({}));
    let doc = Doc::empty();
    let call =
        Call { conf: &conf, doc: &doc, model: "m", stream: false, include_usage: false, now: 7, id: "x" };
    let decoded =
        Gemini.load(&conf).unwrap().dialect.reply(&call, Bytes::from_static(reply.as_bytes())).unwrap();
    let reply: Value = serde_json::from_slice(&decoded.body).unwrap();
    let message = &reply["choices"][0]["message"];
    assert_eq!(message["tool_calls"][0]["function"]["arguments"], r#"{"a":"x \" y\\","b":[1.0,2]}"#);
}
