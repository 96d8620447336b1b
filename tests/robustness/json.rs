//! Bodies that are not what they should be.

use super::{assert_serves, completion, gateway, message, well};
use crate::support::client::Connection;
use crate::support::gateway::Gateway;
use crate::support::upstream::{Reply, Upstream};
use crate::support::{chat, kong};
use serde_json::{Value, json};

#[tokio::test]
async fn what_is_no_chat_request_is_refused_and_the_connection_stays() {
    let upstream = well().await;
    let gateway = gateway(&upstream).await;
    let texts: Vec<Vec<u8>> = [
        "", " ", "{", "}", "[]", "null", "1", "\"x\"", "true", "{}", "nonsense", "{'messages':[]}", "{\"messages\"}",
        "{\"messages\":null}", "{\"messages\":1}", "{\"messages\":\"x\"}", "{\"messages\":{}}", "{\"messages\":[]}",
        "{\"messages\":[1]}", "{\"messages\":[null]}", "{\"messages\":[\"x\"]}", "{\"messages\":[[]]}",
        "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],}", "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]} x",
        "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"prompt\":\"x\"}",
        "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"messages\":[{\"role\":\"user\",\"content\":\"y\"}]}",
        "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"stream\":true,\"str\\u0065am\":false}",
        "{\"prompt\":\"x\"}", "{\"prompt\":1}", "{\"prompt\":\"\"}", "{\"prompt\":[]}",
        "{\"messages\":[{\"role\":\"user\",\"content\":\"\\ud800\"}],\"model\":\"\\ud800\"}",
        "{\"messages\":[{\"role\":\"user\",\"content\":\"a\nb\"}]}",
        "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"n\":01}",
        "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"n\":NaN}",
    ]
    .into_iter()
    .map(|text| text.as_bytes().to_vec())
    .chain([
        b"\0".to_vec(),
        b"{\"messages\":[{\"role\":\"user\",\"content\":\"a\0b\"}]}".to_vec(),
        b"{\"messages\":[{\"role\":\"user\",\"content\":\"\xff\xfe\"}]}".to_vec(),
        b"\xff\xfe{\0}\0".to_vec(),
        "[".repeat(10_000).into_bytes(),
        "{\"a\":".repeat(10_000).into_bytes(),
    ])
    .collect();
    let mut client = Connection::open(gateway.proxy).await;
    for text in &texts {
        let shown = String::from_utf8_lossy(&text[..text.len().min(120)]).into_owned();
        let answer = client
            .request("POST /chat HTTP/1.1\r\ncontent-type: application/json", text)
            .await
            .answer()
            .await;
        assert_eq!(answer.status, 400, "{shown}: {}", answer.text());
        assert_eq!(answer.header("content-type"), Some("application/json; charset=utf-8"), "{shown}");
        assert!(!message(&answer).is_empty());
    }
    // One connection took them all, and takes a good one.
    let answer = client.request("POST /chat HTTP/1.1", chat("hi").to_string()).await.answer().await;
    assert_eq!(answer.status, 200);
    assert_eq!(upstream.calls().len(), 1);
    gateway
        .counts(
            "tollgate_errors_total",
            &["client", "bad_request"],
            f64::from(u32::try_from(texts.len()).unwrap()),
        )
        .await;
}

#[tokio::test]
async fn what_is_odd_but_right_passes_unchanged() {
    let upstream = well().await;
    let gateway = gateway(&upstream).await;
    let mut client = Connection::open(gateway.proxy).await;
    let deep = format!(r#""deep":{}{}"#, "[".repeat(10_000), "]".repeat(10_000));
    let deeper = format!(r#""deeper":{}1{}"#, r#"{"a":"#.repeat(10_000), "}".repeat(10_000));
    for field in [
        &deep,
        &deeper,
        r#""big":123456789012345678901234567890.5e-7"#,
        r#""float":1.0,"exponent":1E400"#,
        r#""unicode":"\u0000\ud83d\ude42 \u00e9""#,
        r#""nested":{"messages":[],"stream":"x","model":1,"a":{"a":{"a":[[[{}]]]}}}"#,
        r#""":0,"" :{}"#.split_once(',').unwrap().0,
        r#""user":null,"stop":["a","b"],"max_completion_tokens":9007199254740993"#,
    ] {
        let body =
            format!("\u{feff} {{\"messages\":[{{\"role\":\"user\",\"content\":\"a\\u0000b\"}}],{field}}} ");
        let answer = client.request("POST /chat HTTP/1.1", &body).await.answer().await;
        assert_eq!(answer.status, 200, "{body}: {}", answer.text());
        let sent = upstream.calls().pop().unwrap().body;
        let sent = String::from_utf8(sent.to_vec()).unwrap();
        assert!(sent.contains(field) && sent.contains("a\\u0000b"), "{field} became {sent}");
    }
}

fn ollama_reply() -> Value {
    json!({"model": "llama2", "created_at": "2024-01-01T00:00:00Z", "message": {"role": "assistant", "content": "ok"},
        "done": true, "done_reason": "stop", "prompt_eval_count": 1, "eval_count": 1})
}

/// Each dialect with its upstream.
async fn dialects() -> (Gateway, Vec<Upstream>) {
    let replies =
        [completion(), completion(), ollama_reply(), json!({"data": [{"generated_text": "[/INST] ok"}]})];
    let mut upstreams = Vec::new();
    for reply in &replies {
        upstreams.push(Upstream::always(Reply::json(reply)).await);
    }
    let mut mistral = kong::ai_proxy(&upstreams[1].url());
    mistral["config"]["model"] = json!({"provider": "mistral", "name": "m",
        "options": {"mistral_format": "openai", "upstream_url": upstreams[1].url()}});
    let mut raw = kong::ollama(&upstreams[3].url());
    raw["config"]["model"]["options"]["llama2_format"] = "raw".into();
    let routes = [
        kong::route("/openai", &[kong::ai_proxy(&upstreams[0].url())]),
        kong::route("/mistral", &[mistral]),
        kong::route("/ollama", &[kong::ollama(&upstreams[2].url())]),
        kong::route("/raw-llama2", &[raw]),
        kong::route("/chat", &[kong::ai_proxy(&upstreams[0].url())]),
    ];
    (Gateway::start(&kong::file(&routes)).await, upstreams)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_field_of_a_wrong_type_is_the_gateways_failure() {
    let (gateway, _upstreams) = dialects().await;
    let values = [
        json!(null),
        json!(true),
        json!(0),
        json!(-1.5),
        json!(1e300),
        json!(u64::MAX),
        json!(""),
        json!("x"),
        json!([]),
        json!({}),
        json!([[]]),
        json!([null]),
        json!([1, "x", {}]),
        json!({"a": {"b": [1]}}),
        json!({"type": 1, "function": 2}),
    ];
    let fields = [
        "/messages",
        "/messages/0",
        "/messages/0/role",
        "/messages/0/content",
        "/messages/0/name",
        "/messages/0/tool_calls",
        "/messages/0/tool_call_id",
        "/messages/0/content/0",
        "/messages/0/content/0/type",
        "/messages/0/content/0/text",
        "/messages/0/content/0/image_url",
        "/messages/0/tool_calls/0",
        "/messages/0/tool_calls/0/function",
        "/messages/0/tool_calls/0/function/arguments",
        "/model",
        "/stream_options",
        "/max_tokens",
        "/temperature",
        "/top_p",
        "/top_k",
        "/n",
        "/stop",
        "/tools",
        "/tools/0",
        "/tools/0/function",
        "/tool_choice",
        "/response_format",
        "/seed",
        "/user",
        "/metadata",
        "/logit_bias",
        "/functions",
        "/presence_penalty",
        "/prompt",
    ];
    let mut sets = tokio::task::JoinSet::new();
    for path in ["/openai", "/mistral", "/ollama", "/raw-llama2"] {
        let (values, proxy) = (values.clone(), gateway.proxy);
        sets.spawn(async move {
            let mut client = Connection::open(proxy).await;
            let mut served = [0, 0];
            for case in 0..fields.len() * values.len() {
                let mut body = chat("hi");
                put(&mut body, fields[case / values.len()], &values[case % values.len()]);
                let answer =
                    client.request(&format!("POST {path} HTTP/1.1"), body.to_string()).await.answer().await;
                let case = format!("{path} {body}: {} {}", answer.status, answer.text());
                assert!(matches!(answer.status, 200 | 400), "{case}");
                if answer.status == 400 {
                    assert!(!message(&answer).is_empty(), "{case}");
                }
                served[usize::from(answer.status == 400)] += 1;
            }
            assert!(served[0] > 0 && served[1] > 0, "{path} served and refused {served:?}");
        });
    }
    sets.join_all().await;
    assert_serves(&gateway).await;
}

/// Sets what a JSON pointer names, making what is missing on the way.
fn put(body: &mut Value, pointer: &str, value: &Value) {
    let mut place = body;
    for key in pointer.split('/').skip(1) {
        place = if key.parse::<usize>().is_ok() {
            if !place.is_array() {
                *place = json!([null]);
            }
            &mut place[0]
        } else {
            if !place.is_object() {
                *place = json!({"type": "function"});
            }
            place.as_object_mut().unwrap().entry(key).or_insert(Value::Null)
        };
    }
    *place = value.clone();
}

#[tokio::test]
async fn wrong_content_types_do_not_crash() {
    let upstream = well().await;
    let gateway = gateway(&upstream).await;
    for (kind, body, expected) in [
        ("application/x-www-form-urlencoded", "messages=%5B1%5D", 400),
        (
            "application/x-www-form-urlencoded",
            "%ff=%zz&messages=[{\"role\":\"user\",\"content\":\"x\"}]",
            200,
        ),
        ("multipart/form-data", "x", 400),
        ("multipart/form-data; boundary=b", "--b\r\nno end", 400),
        ("multipart/form-data; boundary=b", "", 400),
        ("multipart/form-data; boundary=\"", "x", 400),
        ("\u{e9}; charset=\u{ff}", "{}", 400),
        ("text/plain", "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}", 200),
    ] {
        let mut client = Connection::open(gateway.proxy).await;
        let head = format!("POST /chat HTTP/1.1\r\ncontent-type: {kind}");
        let answer = client.request(&head, body).await.answer().await;
        assert_eq!(answer.status, expected, "{kind} {body}: {}", answer.text());
    }
    assert_serves(&gateway).await;
}
