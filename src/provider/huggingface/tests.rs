//! What the fixtures do not show.

use super::*;
use crate::provider::{Dialect, End, StreamPlan};
use crate::wire::doc::Doc;
use bytes::Bytes;
use serde_json::json;

fn conf(operation: &str, options: &Value) -> TargetConf {
    let conf = json!({
        "route_type": operation,
        "model": {"provider": "huggingface", "name": "owner/model", "options": options}
    });
    serde_json::from_value(conf).unwrap()
}

fn with<T>(conf: &TargetConf, body: &Value, run: impl FnOnce(&dyn Dialect, &Call<'_>) -> T) -> T {
    let doc = Doc::parse(Bytes::from(body.to_string())).unwrap();
    let driver = HuggingFace.load(conf).unwrap();
    let call = Call {
        conf,
        doc: &doc,
        model: conf.model.name.as_deref().unwrap(),
        stream: body["stream"] == true,
        include_usage: false,
        now: 7,
        id: "x",
    };
    run(&*driver.dialect, &call)
}

fn replied(operation: &str, body: &'static str) -> Result<Value> {
    let request = json!({"messages": [{"role": "user", "content": "a"}], "prompt": "a"});
    with(&conf(operation, &json!({})), &request, |dialect, call| {
        let decoded = dialect.reply(call, Bytes::from_static(body.as_bytes()))?;
        Ok(serde_json::from_slice(&decoded.body).unwrap())
    })
}

#[test]
fn an_address_is_a_base() {
    for (url, path) in [
        ("http://e.test", "/v1/chat/completions"),
        ("http://e.test/", "/v1/chat/completions"),
        ("http://e.test/m/", "/m/v1/chat/completions"),
        ("http://e.test/m/v1/chat/completions", "/m/v1/chat/completions"),
    ] {
        let conf = conf("llm/v1/chat", &json!({"upstream_url": url}));
        let driver = HuggingFace.load(&conf).unwrap();
        assert_eq!(driver.address(&conf.model.options).unwrap().path, path, "{url}");
    }
    let conf = conf("llm/v1/completions", &json!({"upstream_url": "http://e.test/generate"}));
    assert_eq!(HuggingFace.load(&conf).unwrap().address(&conf.model.options).unwrap().path, "/generate");
}

#[test]
fn a_models_name_cannot_lead_elsewhere() {
    assert_eq!(text::path("owner/m:free?").unwrap(), "/hf-inference/models/owner/m%3Afree%3F");
    for model in ["", "../../api", "a//b", "a/.", "/a"] {
        assert!(text::path(model).is_err(), "{model}");
    }
}

#[test]
fn a_reply_that_is_openais_keeps_its_bytes() {
    let body = Bytes::from_static(
        br#"{"id": "c-1", "choices": [{"index": 0, "message": {"content": "a"}, "finish_reason": "stop"}]}"#,
    );
    let request = json!({"messages": [{"role": "user", "content": "a"}]});
    with(&conf("llm/v1/chat", &json!({})), &request, |dialect, call| {
        let decoded = dialect.reply(call, body.clone()).unwrap();
        assert_eq!(decoded.body.as_ptr(), body.as_ptr());
    });
}

#[test]
fn the_words_of_older_servers_become_openais() {
    let body = r#"{"id": "", "choices": [{"finish_reason": "eos_token"}, {"finish_reason": "length"},
        {"finish_reason": "eos_token", "message": {"tool_calls": [{}]}}, {"finish_reason": null}]}"#;
    let reply = replied("llm/v1/chat", body).unwrap();
    assert_eq!(reply["id"], "chatcmpl-x");
    let reasons: Vec<_> = (0..4).map(|at| &reply["choices"][at]["finish_reason"]).collect();
    assert_eq!(json!(reasons), json!(["stop", "length", "tool_calls", null]));
}

#[test]
fn answers_that_are_none_are_errors() {
    for operation in ["llm/v1/chat", "llm/v1/completions"] {
        for (body, message) in [
            (
                r#"{"error": "Model x is currently loading", "estimated_time": 3.5}"#,
                "API error: Model x is currently loading",
            ),
            (r#"{"error": {"message": "no"}}"#, "API error: no"),
            (r#"{"message": "Not allowed"}"#, "API error: Not allowed"),
            ("{}", "Invalid response format"),
            ("[]", "Invalid response format"),
            ("<html>", "Invalid response format"),
            ("", "Invalid response format"),
        ] {
            assert_eq!(replied(operation, body).unwrap_err().message(), message, "{operation}: {body}");
        }
    }
}

#[test]
fn one_text_needs_no_list() {
    let reply = replied(
        "llm/v1/completions",
        r#"{"generated_text": " b", "details": {"finish_reason": "length", "generated_tokens": 1}}"#,
    );
    let choice = &reply.unwrap()["choices"][0];
    assert_eq!((&choice["text"], &choice["finish_reason"]), (&json!(" b"), &json!("length")));
}

#[test]
fn several_prompts_are_refused() {
    for prompt in [json!(["a", "b"]), json!([1, 2]), json!(null)] {
        let error =
            with(&conf("llm/v1/completions", &json!({})), &json!({"prompt": prompt}), |dialect, call| {
                dialect.request(call).err().unwrap()
            });
        assert_eq!(error.message(), "'prompt' must be a single string for huggingface");
    }
}

#[test]
fn a_stream_without_its_end_is_ended_if_the_answer_is_whole() {
    let request = json!({"messages": [{"role": "user", "content": "a"}], "stream": true});
    for (reason, end, done) in
        [("\"eos_token\"", End::Clean, true), ("null", End::Clean, false), ("\"stop\"", End::Cut, false)]
    {
        with(&conf("llm/v1/chat", &json!({})), &request, |dialect, call| {
            let StreamPlan::Translate(_, mut decoder) = dialect.stream(call) else { panic!("translated") };
            let mut out = call.client_stream();
            let chunk =
                format!(r#"{{"id":"","choices":[{{"delta":{{"content":"a"}},"finish_reason":{reason}}}]}}"#);
            let frame = crate::wire::frame::Frame { event: None, data: chunk.as_bytes() };
            decoder.frame(frame, &mut out).unwrap();
            decoder.finish(end, &mut out).unwrap();
            assert_eq!((out.is_done(), out.is_failed()), (done, !done), "{reason}");
            let text = String::from_utf8(out.take().to_vec()).unwrap();
            assert!(text.starts_with(r#"data: {"id":"chatcmpl-x","#), "{text}");
            assert!(!text.contains("eos_token") && out.text_seen() == "a", "{text}");
        });
    }
}
