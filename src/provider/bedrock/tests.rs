//! What the fixtures do not show.

use super::native::BedrockFormat;
use super::*;
use crate::provider::native::{Asked, Place};
use crate::provider::{End, StreamDecoder};
use crate::wire::chat;
use crate::wire::doc::{Doc, Side};
use crate::wire::frame::Frame;
use serde_json::json;
use std::sync::Arc;

fn conf(auth: &Value, options: &Value) -> TargetConf {
    let conf = json!({
        "route_type": "llm/v1/chat", "auth": auth,
        "model": {"provider": "bedrock", "name": "anthropic.claude", "options": options}
    });
    serde_json::from_value(conf).unwrap()
}

fn keyed(options: &Value) -> TargetConf {
    conf(&json!({"aws_access_key_id": "id", "aws_secret_access_key": "s"}), options)
}

fn encoded(body: &Value) -> Result<Value> {
    let conf = keyed(&json!({}));
    let doc = Doc::parse(Bytes::from(body.to_string())).unwrap();
    let (model, id) = ("anthropic.claude", "x");
    let call = Call { conf: &conf, doc: &doc, model, stream: false, include_usage: false, now: 7, id };
    Ok(serde_json::from_slice(&encode::body(&call)?).unwrap())
}

fn doc(value: &Value) -> Doc {
    Doc::parse(Bytes::from(value.to_string())).unwrap()
}

#[test]
fn the_region_is_looked_for_where_aws_looks() {
    let region_of = |options: &Value, environment: &[(&str, &str)]| {
        let look = |name: &str| {
            environment.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        load(&keyed(options), look).map(|driver| driver.address.unwrap().into_owned())
    };
    let own = json!({"bedrock": {"aws_region": "eu-west-1"}});
    let both = [("AWS_DEFAULT_REGION", "us-west-2"), ("AWS_REGION", "us-east-2")];
    let host = |region: &str| format!("https://bedrock-runtime.{region}.amazonaws.com");
    assert_eq!(region_of(&own, &both).unwrap(), host("eu-west-1"));
    assert_eq!(region_of(&json!({}), &both).unwrap(), host("us-east-2"));
    assert_eq!(region_of(&json!({"bedrock": {"aws_region": ""}}), &both[..1]).unwrap(), host("us-west-2"));
    let error = region_of(&json!({}), &[]).unwrap_err();
    assert_eq!((error.message(), error.kind()), ("AWS region not specified anywhere", Kind::Identity));
    let error = region_of(&json!({"bedrock": {"aws_region": "evil.test/"}}), &[]).unwrap_err();
    assert_eq!(error.kind(), Kind::BadRequest);
}

#[test]
fn without_keys_there_is_no_signature() {
    let options = json!({"bedrock": {"aws_region": "us-east-1"}});
    assert!(load(&keyed(&options), |_| None).unwrap().signer.is_some());
    let error = load(&conf(&json!({}), &options), |_| None).err().unwrap();
    assert_eq!((error.message(), error.kind()), (NO_KEYS, Kind::Identity));
    let bearer = json!({"header_name": "Authorization", "header_value": "Bearer bedrock-api-key"});
    assert!(load(&conf(&bearer, &options), |_| None).unwrap().signer.is_none());
}

#[test]
fn what_cannot_be_said_in_converse_is_refused() {
    let part = |part: &Value| json!({"messages": [{"role": "user", "content": [part]}]});
    let call = |arguments: &str| {
        let call = json!({"id": "c", "function": {"name": "f", "arguments": arguments}});
        json!({"messages": [{"role": "assistant", "tool_calls": [call]}]})
    };
    let not_json = "failed to decode function response arguments, not JSON format";
    for (body, message) in [
        (
            part(&json!({"type": "input_audio"})),
            "cannot transform part of type 'input_audio' to Bedrock format",
        ),
        (part(&json!({"type": "text"})), "message part type is 'text' but is missing .text block"),
        (
            part(&json!({"type": "image_url"})),
            "message part type is 'image_url' but is missing .image_url.url block",
        ),
        (
            part(&json!({"type": "image_url", "image_url": {"url": "data:image/tiff;base64,AA=="}})),
            "Bedrock takes images only as png, jpeg, gif or webp",
        ),
        (
            part(&json!({"type": "file", "file": {"filename": "a.exe", "file_data": "data:;base64,AA=="}})),
            "Bedrock takes files only as pdf, csv, doc, docx, xls, xlsx, html, md or txt",
        ),
        (call("[1]"), not_json),
        (call("{nope"), not_json),
        (
            json!({"messages": [{"role": "tool", "content": "a"}]}),
            "a message of role 'tool' must have a 'tool_call_id'",
        ),
        (
            json!({"messages": [{"role": "user", "content": "a"}], "tools": [{"type": "web_search"}]}),
            "cannot transform tool of type 'web_search' to Bedrock format",
        ),
        (
            json!({"messages": [{"role": "user", "content": "a"}], "tools": [], "tool_choice": "perhaps"}),
            "'tool_choice' must be 'auto', 'none', 'required' or name a function",
        ),
    ] {
        let error = encoded(&body).unwrap_err();
        assert_eq!((error.message(), error.kind().status()), (message, 400), "{body}");
    }
}

#[test]
fn forbidden_tools_are_not_named_unless_they_were_used() {
    let tools = json!([{"type": "function", "function": {"name": "f", "description": ""}}]);
    let user = json!({"role": "user", "content": "a"});
    let fresh = encoded(&json!({"messages": [user], "tools": tools, "tool_choice": "none"})).unwrap();
    assert!(fresh.get("toolConfig").is_none(), "{fresh}");
    let result = json!({"role": "tool", "tool_call_id": "c", "content": "[1]"});
    let told = encoded(&json!({"messages": [user, result], "tools": tools, "tool_choice": "none"})).unwrap();
    let spec = json!({"name": "f", "inputSchema": {"json": {"type": "object", "properties": {}}}});
    assert_eq!(told["toolConfig"], json!({"tools": [{"toolSpec": spec}]}));
    assert_eq!(told["messages"][0]["content"][1]["toolResult"]["content"], json!([{"text": "[1]"}]));
    for (choice, said) in [("auto", "auto"), ("required", "any")] {
        let body = encoded(&json!({"messages": [user], "tools": tools, "tool_choice": choice})).unwrap();
        assert_eq!(body["toolConfig"]["toolChoice"], json!({said: {}}));
    }
}

#[test]
fn counts_are_added_up_only_where_there_are_any() {
    let usage = |json: &str| serde_json::from_str::<decode::Counts>(json).unwrap().usage();
    let cached =
        usage(r#"{"inputTokens": 5, "outputTokens": 2, "totalTokens": 7, "cacheReadInputTokens": 90}"#);
    assert_eq!(
        (cached.prompt, cached.cached, cached.cache_write, cached.sum()),
        (Some(95), Some(90), None, Some(97))
    );
    assert_eq!(usage(r#"{"cacheReadInputTokens": 9}"#).prompt, None);
    assert_eq!(usage(r#"{"inputTokens": 0, "outputTokens": 0, "totalTokens": 0}"#).sum(), Some(0));
}

#[test]
fn a_stream_may_end_without_its_counts_but_not_without_its_stop() {
    for (events, done) in [
        (&["messageStart {}", "messageStop {\"stopReason\":\"end_turn\"}"][..], true),
        (&["messageStart {}", "metadata {\"usage\":{\"inputTokens\":1}}"][..], false),
        (&[][..], false),
    ] {
        let conf = keyed(&json!({}));
        let doc = Doc::empty();
        let call =
            Call { conf: &conf, doc: &doc, model: "m", stream: true, include_usage: false, now: 7, id: "x" };
        let (mut out, mut decoder) = (call.client_stream(), stream::Decoder::default());
        for event in events {
            let (name, data) = event.split_once(' ').unwrap();
            decoder.frame(Frame { event: Some(name), data: data.as_bytes() }, &mut out).unwrap();
        }
        decoder.finish(End::Clean, &mut out).unwrap();
        assert_eq!((out.is_done(), out.is_failed()), (done, !done), "{events:?}");
    }
}

#[test]
fn an_address_says_model_and_operation() {
    let ask = |path: &str, captures: &[(&str, &str)]| {
        let captures: Vec<_> =
            captures.iter().map(|(name, value)| (Arc::from(*name), (*value).to_owned())).collect();
        BedrockFormat.ask(&Place { path, captures: &captures })
    };
    let asked = |model: &str, stream| Asked { model: Some(model.to_owned()), stream };
    assert_eq!(ask("/bed/model/a.b-v1%3A0/converse", &[]).unwrap(), asked("a.b-v1:0", false));
    assert_eq!(ask("/model/m/converse-stream", &[]).unwrap(), asked("m", true));
    let captures = [("model", "n"), ("operation", "converse-stream")];
    assert_eq!(ask("/own/way", &captures).unwrap(), asked("n", true));
    assert_eq!(ask("/own/way", &captures[1..]).unwrap(), Asked { model: None, stream: true });
    for path in ["/model/m/invoke", "/converse", "/models/m/converse", "/"] {
        let error = ask(path, &[]).unwrap_err();
        assert!(error.message().ends_with("/model/{model}/converse-stream"), "{path}");
    }
}

#[test]
fn a_native_request_is_seen_as_openais() {
    let native = doc(&json!({
        "system": [{"text": "Be brief."}, {"cachePoint": {"type": "default"}}],
        "messages": [
            {"role": "user", "content": [{"text": "What?"}, {"image": {"format": "png", "source": {"bytes": "AA=="}}}]},
            {"role": "assistant", "content": [{"text": "Hm."}, {"toolUse": {"toolUseId": "t", "name": "f", "input": {"a": 1}}}]},
            {"role": "user", "content": [
                {"toolResult": {"toolUseId": "t", "content": [{"json": {"b": 2}}, {"text": "x"}]}}, {"text": "And?"}
            ]}
        ],
        "inferenceConfig": {"maxTokens": 9, "topP": 0.5, "stopSequences": ["\n"]},
        "toolConfig": {"tools": [{"toolSpec": {"name": "f", "inputSchema": {"json": {"type": "object"}}}}, {"cachePoint": {}}]}
    }));
    let view: Value = serde_json::from_slice(&BedrockFormat.view(&native).unwrap().bytes()).unwrap();
    assert_eq!(
        view,
        json!({
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": [
                    {"type": "text", "text": "What?"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
                ]},
                {"role": "assistant", "content": "Hm.", "tool_calls": [
                    {"id": "t", "type": "function", "function": {"name": "f", "arguments": r#"{"a":1}"#}}
                ]},
                {"role": "tool", "content": "{\"b\":2}\nx", "tool_call_id": "t"},
                {"role": "user", "content": "And?"}
            ],
            "max_tokens": 9, "top_p": 0.5, "stop": ["\n"],
            "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
        })
    );
    let odd = doc(&json!({"messages": 7, "system": "x", "toolConfig": []}));
    assert_eq!(BedrockFormat.view(&odd).unwrap().bytes(), r#"{"messages":[]}"#);
}

#[test]
fn added_messages_join_the_turns_they_meet() {
    let own = json!({"messages": [{"role": "user", "content": [{"text": "a"}]}], "x": 1.0});
    let added = |at, messages: Value| {
        let (mut native, added) = (doc(&own), doc(&json!({"messages": messages})));
        BedrockFormat.add(&mut native, &chat::messages(&added).unwrap(), at).unwrap();
        serde_json::from_slice::<Value>(&native.bytes()).unwrap()
    };
    let (user, assistant) =
        (json!({"role": "user", "content": "u"}), json!({"role": "assistant", "content": "v"}));
    let system = json!({"role": "system", "content": "s"});
    let front = added(Side::Front, json!([system, assistant, user]));
    assert_eq!(
        front["messages"],
        json!([
            {"role": "assistant", "content": [{"text": "v"}]},
            {"role": "user", "content": [{"text": "u"}, {"text": "a"}]}
        ])
    );
    assert_eq!((&front["system"], &front["x"]), (&json!([{"text": "s"}]), &json!(1.0)));
    let back = added(Side::Back, json!([user, assistant]));
    assert_eq!(
        back["messages"],
        json!([
            {"role": "user", "content": [{"text": "a"}, {"text": "u"}]},
            {"role": "assistant", "content": [{"text": "v"}]}
        ])
    );
    let apart = added(Side::Back, json!([assistant]));
    assert_eq!(apart["messages"][1], json!({"role": "assistant", "content": [{"text": "v"}]}));
    assert_eq!(added(Side::Front, json!([system]))["messages"], own["messages"]);
}
