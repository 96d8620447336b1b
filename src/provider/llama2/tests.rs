use super::super::tgi::Decoder;
use super::super::{BROKEN_OFF, Call, Decoded, Dialect, End, StreamDecoder};
use super::raw::RawDialect;
use super::*;
use crate::wire::client_stream::ClientStream;
use crate::wire::doc::Doc;
use crate::wire::frame::Frame;
use bytes::Bytes;
use serde_json::{Value, json};

fn conf(operation: &str, options: &Value) -> TargetConf {
    let target = json!({"route_type": operation, "model": {"provider": "llama2", "options": options}});
    serde_json::from_value(target).unwrap()
}

fn with<T>(operation: &str, stream: bool, client: &str, act: impl FnOnce(&Call<'_>) -> T) -> T {
    let conf = conf(operation, &json!({}));
    let doc = Doc::parse(Bytes::copy_from_slice(client.as_bytes())).unwrap();
    let id = "0123456789abcdef";
    act(&Call { conf: &conf, doc: &doc, model: "llama2", stream, include_usage: true, now: 7, id })
}

fn encoded(history: Option<&str>, stream: bool, client: &str) -> Result<Value> {
    let outbound = with("llm/v1/chat", stream, client, |call| RawDialect::new(history).request(call))?;
    Ok(serde_json::from_slice(&outbound.body).unwrap())
}

fn decoded(body: &'static str) -> Result<(Value, Decoded)> {
    let decoded = with("llm/v1/chat", false, "{}", |call| {
        RawDialect::new(None).reply(call, Bytes::from_static(body.as_bytes()))
    })?;
    Ok((serde_json::from_slice(&decoded.body).unwrap(), decoded))
}

fn streamed(events: &[&str], end: End) -> ClientStream {
    with("llm/v1/chat", true, "{}", |call| {
        let mut out = call.client_stream();
        let mut decoder = Decoder::new(true, "failed to decode llama2 response");
        for event in events {
            decoder.frame(Frame { event: None, data: event.as_bytes() }, &mut out).unwrap();
        }
        decoder.finish(end, &mut out).unwrap();
        out
    })
}

const TALK: &str = r#"{"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "U1"},
    {"role": "assistant", "content": "A1"}, {"role": "user", "content": [{"type": "text", "text": "U2"},
    {"type": "text", "text": "U3"}]}]}"#;

#[test]
fn the_assistants_turns_are_kept_on_request() {
    let prompt = |history, client| encoded(history, false, client).unwrap()["inputs"].clone();
    assert_eq!(prompt(None, TALK), "<s>[INST] <<SYS>> S <</SYS>> U1 [/INST] <s>[INST] U2\nU3 [/INST]");
    assert_eq!(prompt(Some("kong"), TALK), prompt(None, TALK));
    assert_eq!(
        prompt(Some("full"), TALK),
        "<s>[INST] <<SYS>> S <</SYS>> U1 [/INST] A1 </s> <s>[INST] U2\nU3 [/INST]"
    );
}

#[test]
fn a_lone_message_is_closed_in_full_only() {
    let lone = r#"{"messages": [{"role": "user", "content": "U </s>"}]}"#;
    let prompt = |history| encoded(history, false, lone).unwrap()["inputs"].clone();
    assert_eq!(prompt(None), "<s>[INST] <<SYS>> U </s> <</SYS>>");
    assert_eq!(prompt(Some("full")), "<s>[INST] U </s> [/INST]");
}

#[test]
fn parameters_stream_where_text_generation_inference_looks() {
    let client = r#"{"messages": [], "max_tokens": 9, "stop": "END", "seed": 3}"#;
    let plain = encoded(None, false, client).unwrap();
    assert_eq!(
        plain,
        json!({"inputs": "", "parameters": {"max_new_tokens": 9, "seed": 3, "stop": ["END"], "stream": false}})
    );
    let stream = encoded(None, true, r#"{"messages": []}"#).unwrap();
    assert_eq!(
        stream,
        json!({"inputs": "", "parameters": {"stream": true, "details": true}, "stream": true})
    );
}

#[test]
fn images_are_refused() {
    let client =
        r#"{"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}"#;
    let error = encoded(None, false, client).unwrap_err();
    assert_eq!(error.message(), "cannot transform part of type 'image_url' to llama2 raw format");
}

#[test]
fn answers_are_found_in_three_forms() {
    let text = |body| decoded(body).unwrap().0["choices"][0]["message"]["content"].clone();
    assert_eq!(text(r#"{"data": [{"generated_text": "[INST] a [/INST] b [/INST]\n c "}]}"#), "c");
    assert_eq!(text(r#"[{"generated_text": " c\n"}]"#), "c");
    assert_eq!(text(r#"{"generated_text": "[INST] a [/INST]c"}"#), "c");
    assert_eq!(text(r#"{"data": [{"generated_text": "a [/INST]"}]}"#), "", "an empty answer is one");
}

#[test]
fn details_and_usage_are_read() {
    let (json, decoded) = decoded(
        r#"{"generated_text": "c", "details": {"finish_reason": "length", "generated_tokens": 0, "seed": null}}"#,
    )
    .unwrap();
    assert_eq!(json["choices"][0]["finish_reason"], "length");
    assert_eq!((decoded.usage.prompt, decoded.usage.completion), (None, Some(0)));
    let (json, _) = self::decoded(
        r#"{"data": [{"generated_text": "[/INST]c"}], "usage": {"prompt_tokens": 1, "completion_tokens": 2}}"#,
    )
    .unwrap();
    assert_eq!(json["usage"], json!({"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}));
    assert_eq!((&json["id"], &json["model"]), (&json!("chatcmpl-0123456789abcdef"), &json!("llama2")));
}

#[test]
fn what_is_no_answer_is_named() {
    let refused = |body| decoded(body).err().unwrap().message().to_owned();
    assert_eq!(refused(""), "failed to decode llama2 response");
    for body in [r#"{"nothing": 1}"#, "7", "[1]", r#"{"data": 3}"#, r#"{"error": "no"}"#] {
        assert_eq!(refused(body), "cannot parse response from llama2 endpoint", "{body}");
    }
    assert_eq!(refused(r#"{"data": []}"#), "response data is empty from llama2 endpoint");
    assert_eq!(refused("[]"), "response data is empty from llama2 endpoint");
    assert_eq!(refused(r#"{"data": [{"generated_text": "a"}]}"#), "response did not contain a system reply");
    assert_eq!(refused(r#"[{"text": "a"}]"#), "response did not contain a system reply");
}

#[test]
fn a_stream_of_tokens_becomes_chunks() {
    let mut out = streamed(
        &[
            r#"{"index": 1, "token": {"id": 1, "text": " ", "logprob": -0.1, "special": false}, "generated_text": null, "details": null}"#,
            r#"{"index": 2, "token": {"id": 2, "text": " The", "special": false}}"#,
            r#"{"index": 3, "token": {"id": 3, "text": " end", "special": false}}"#,
            r#"{"index": 4, "token": {"id": 4, "text": "</s>", "special": true}, "generated_text": "  The end",
                "details": {"finish_reason": "eos_token", "generated_tokens": 4, "input_length": 11}}"#,
        ],
        End::Clean,
    );
    assert!(out.is_done());
    assert_eq!(out.take_text(), "The end");
    let usage = out.seen_usage().unwrap();
    assert_eq!((usage.prompt, usage.completion), (Some(11), Some(4)));
    let text = String::from_utf8(out.take().to_vec()).unwrap();
    assert!(text.contains(r#""finish_reason":"stop""#) && text.ends_with("data: [DONE]\n\n"), "{text}");
}

#[test]
fn a_stream_that_ends_early_is_broken() {
    for events in [&[][..], &[r#"{"token": {"text": "a", "special": false}}"#, "[DONE]"]] {
        let mut out = streamed(events, End::Clean);
        let text = String::from_utf8(out.take().to_vec()).unwrap();
        assert!(text.contains(BROKEN_OFF) && !out.is_done(), "{text}");
    }
    let mut out = streamed(&[r#"{"error": "Model is overloaded", "error_type": "overloaded"}"#], End::Clean);
    assert_eq!(out.take(), "data: {\"error\":{\"message\":\"Model is overloaded\"}}\n\n");
}

#[test]
fn what_kong_demands_of_a_target_is_demanded() {
    let problems = |options: Value| {
        let mut list = Vec::new();
        Llama2.check(&conf("llm/v1/chat", &options), &mut Problems::new(&mut list));
        list.into_iter().map(|problem| problem.message).collect::<Vec<_>>()
    };
    assert_eq!(
        problems(json!({})),
        [
            "must set 'model.options.llama2_format' for llama2 provider",
            "must set 'model.options.upstream_url' for self-hosted providers/models"
        ]
    );
    assert_eq!(problems(json!({"llama2_format": "raw", "upstream_url": "http://h/"})), [""; 0]);
}
