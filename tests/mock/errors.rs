//! Refusals and failures, in the shapes of the providers.

use super::{Model, question};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tollgate::mock::Options;

#[tokio::test]
async fn errors_are_shaped_as_openais() {
    let model = Model::start(Options { key: Some("k-1".to_owned()), ..Options::default() }).await;
    let good = question(&json!({}));
    let chat = "/v1/chat/completions";
    let image = |url: &Value| json!([{"role": "user", "content": [{"type": "image_url", "image_url": url}]}]);
    let bad = |field: &str, value: Value| question(&json!({field: value}));
    for (path, body, status, param) in [
        (chat, json!({"model": "m"}), 400, Some("messages")),
        (chat, bad("messages", json!([])), 400, Some("messages")),
        (chat, bad("messages", json!([{"role": "king", "content": ""}])), 400, Some("messages")),
        (chat, bad("messages", json!([{"role": "user", "content": 3}])), 400, Some("messages")),
        (chat, bad("model", Value::Null), 400, Some("model")),
        (chat, bad("n", json!(0)), 400, Some("n")),
        (chat, bad("max_tokens", json!(0)), 400, Some("max_tokens")),
        (chat, bad("stop", json!(5)), 400, Some("stop")),
        (chat, bad("tool_choice", json!("required")), 400, Some("tool_choice")),
        (chat, json!("text"), 400, None),
        ("/v1/completions", json!({"model": "m"}), 400, Some("prompt")),
        (
            chat,
            bad("messages", json!([{"role": "user", "content": [{"type": "sound"}]}])),
            400,
            Some("messages"),
        ),
        (chat, bad("messages", image(&json!({"url": "ftp://x"}))), 400, Some("messages")),
        (chat, bad("response_format", json!({"type": "xml"})), 400, Some("response_format")),
        (
            chat,
            bad("response_format", json!({"type": "json_schema", "json_schema": {"schema": {}}})),
            400,
            Some("response_format"),
        ),
        ("/v1/nothing", good.clone(), 404, None),
    ] {
        let response = model.post(path, &body).bearer_auth("k-1").send().await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{path} {body}");
        let error = response.json::<Value>().await.unwrap()["error"].take();
        assert_eq!(error["param"].as_str(), param, "{path} {body}");
        assert!(!error["message"].as_str().unwrap().is_empty() && error["type"] == "invalid_request_error");
    }
    for request in [model.post(chat, &good), model.post(chat, &good).bearer_auth("k-2")] {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(response.json::<Value>().await.unwrap()["error"]["code"], "invalid_api_key");
    }
}

#[tokio::test]
async fn failures_come_on_demand() {
    let model = Model::start(Options::default()).await;
    let chat = |stream: bool| model.post("/v1/chat/completions", &question(&json!({"stream": stream})));
    let response = chat(true).header("x-mock-status", "429").send().await.unwrap();
    assert_eq!((response.status().as_u16(), response.headers()["retry-after"].to_str().unwrap()), (429, "1"));
    assert_eq!(response.json::<Value>().await.unwrap()["error"]["code"], "rate_limit_exceeded");
    assert_eq!(
        chat(false).header("x-mock-status", "200").send().await.unwrap().status(),
        StatusCode::BAD_REQUEST
    );

    let mut response = model
        .post("/v1/completions", &json!({"model": "m", "stream": true, "prompt": "Tell me a story"}))
        .header("x-mock-cut-after", "3")
        .send()
        .await
        .unwrap();
    let mut text = String::new();
    let end = loop {
        match response.chunk().await {
            Ok(Some(bytes)) => text.push_str(std::str::from_utf8(&bytes).unwrap()),
            other => break other,
        }
    };
    assert!(end.is_err(), "a cut stream must not end properly");
    assert_eq!(text.matches("\n\n").count(), 3, "three fragments");
    let half = chat(false).header("x-mock-cut-after", "1").send().await.unwrap();
    assert!(half.bytes().await.is_err());
}

/// A path of each dialect, and a request that it answers.
fn good() -> Vec<(&'static str, Value)> {
    let said = json!([{"role": "user", "content": "Hello"}]);
    let chat = json!({"model": "m", "messages": said, "max_tokens": 9});
    let contents = json!({"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]});
    let converse = json!({"messages": [{"role": "user", "content": [{"text": "Hello"}]}]});
    vec![
        ("/v1/chat/completions", chat.clone()),
        ("/openai/deployments/d/chat/completions?api-version=1", chat.clone()),
        ("/v1/messages", chat.clone()),
        ("/v2/chat", chat.clone()),
        ("/v1/chat", json!({"message": "Hello"})),
        ("/v1/generate", json!({"prompt": "Hello"})),
        ("/v1beta/models/m:generateContent", contents.clone()),
        ("/v1/projects/p/locations/l/publishers/google/models/m:streamGenerateContent", contents),
        ("/model/m/converse", converse.clone()),
        ("/model/m/converse-stream", converse),
        ("/models/m/v1/chat/completions", chat.clone()),
        ("/generate", json!({"inputs": "Hello"})),
        ("/api/chat", chat),
    ]
}

#[tokio::test]
async fn each_provider_fails_in_its_own_words() {
    let model = Model::start(Options::default()).await;
    let message = "failed as the request asked";
    for (path, body) in good() {
        assert_eq!(model.post(path, &body).send().await.unwrap().status(), StatusCode::OK, "{path}");
        let response = model.post(path, &body).header("x-mock-status", "429").send().await.unwrap();
        assert_eq!(
            (response.status().as_u16(), &response.headers()["retry-after"]),
            (429, &"1".parse().unwrap())
        );
        let kind = response.headers().get("x-amzn-errortype").cloned();
        assert_eq!(kind.is_some(), path.starts_with("/model/"), "{path}");
        assert!(kind.is_none_or(|kind| kind == "ThrottlingException"));
        let mut error: Value = response.json().await.unwrap();
        if let Some(fields) = error.as_object_mut() {
            fields.remove("request_id");
            fields.remove("id");
        }
        let gemini = json!({"error": {"code": 429, "message": message, "status": "RESOURCE_EXHAUSTED"}});
        let expected = match path {
            "/v1/chat/completions" => json!({"error": {
                "message": message, "type": "rate_limit_error", "param": null, "code": "rate_limit_exceeded"
            }}),
            "/v1/messages" => {
                json!({"type": "error", "error": {"type": "rate_limit_error", "message": message}})
            }
            path if path.starts_with("/openai/") => json!({"error": {"code": "429", "message": message}}),
            path if path.ends_with(":generateContent") => gemini,
            path if path.ends_with(":streamGenerateContent") => json!([gemini]),
            path if path.starts_with("/models/") || path == "/generate" => {
                json!({"error": message, "error_type": "overloaded"})
            }
            "/api/chat" => json!({"error": message}),
            _ => json!({"message": message}),
        };
        assert_eq!(error, expected, "{path}");
    }
}

#[tokio::test]
async fn each_provider_wants_the_key_in_its_own_place() {
    let model = Model::start(Options { key: Some("k-1".to_owned()), ..Options::default() }).await;
    for (path, body) in good() {
        let place = match path {
            path if path.starts_with("/openai/") => ("api-key", "k-1"),
            "/v1/messages" => ("x-api-key", "k-1"),
            path if path.contains("ontent") => ("x-goog-api-key", "k-1"),
            path if path.starts_with("/model/") => {
                ("authorization", "AWS4-HMAC-SHA256 Credential=k-1/20250131/us-east-1/bedrock/aws4_request")
            }
            _ => ("authorization", "Bearer k-1"),
        };
        let response = model.post(path, &body).header(place.0, place.1).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        let wrong = place.1.replace("k-1", "k-2");
        let response = model.post(path, &body).header(place.0, wrong).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{path}");
    }
}

#[tokio::test]
async fn what_a_provider_refuses_is_refused() {
    let model = Model::start(Options::default()).await;
    let turns = |turns: Value| json!({"model": "m", "max_tokens": 9, "messages": turns});
    let call = json!({"type": "tool_use", "id": "c-1", "name": "now", "input": {}});
    let result = json!({"type": "tool_result", "tool_use_id": "c-2", "content": "noon"});
    let hello = json!({"role": "user", "content": "Hello"});
    let text = json!([{"text": "Hello"}]);
    let user = json!({"role": "user", "content": text});
    let stray = json!([{"toolResult": {"toolUseId": "c", "content": []}}]);
    let part = |part: Value| json!({"contents": [{"role": "user", "parts": [part]}]});
    for (path, body) in [
        ("/v1/messages", json!({"model": "m", "messages": [hello]})),
        ("/v1/messages", turns(json!([{"role": "assistant", "content": "Hello"}]))),
        ("/v1/messages", turns(json!([{"role": "system", "content": "Hello"}]))),
        ("/v1/messages", turns(json!([hello, {"role": "assistant", "content": [call]}, hello]))),
        (
            "/v1/messages",
            turns(
                json!([hello, {"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]),
            ),
        ),
        ("/v1/messages", turns(json!([{"role": "user", "content": [{"type": "image_url"}]}]))),
        ("/model/m/converse", json!({"messages": [user, user]})),
        ("/model/m/converse", json!({"messages": [{"role": "assistant", "content": text}]})),
        ("/model/m/converse", json!({"messages": [{"role": "user", "content": [{"type": "text"}]}]})),
        ("/model/m/converse", json!({"messages": [{"role": "user", "content": stray}]})),
        ("/v1beta/models/m:generateContent", json!({"contents": []})),
        ("/v1beta/models/m:generateContent", part(json!({"type": "text"}))),
        ("/v1beta/models/m:generateContent", part(json!({"inlineData": {"data": ""}}))),
        ("/v2/chat", json!({"model": "m", "messages": [hello], "tool_choice": "required"})),
        ("/v2/chat", json!({"messages": [hello]})),
        ("/v1/chat", json!({"messages": [hello]})),
        ("/api/generate", json!({"model": "m"})),
        ("/generate", json!({})),
    ] {
        let response = model.post(path, &body).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{path} {body}");
    }
    let post = |path: &str| model.client.post(format!("{}{path}", model.base));
    let unversioned = post("/v1/messages").json(&turns(json!([hello]))).send().await.unwrap();
    assert_eq!(unversioned.status(), StatusCode::BAD_REQUEST);
    let unversioned =
        post("/openai/deployments/d/completions").json(&json!({"prompt": "Hello"})).send().await.unwrap();
    assert_eq!(unversioned.status(), StatusCode::NOT_FOUND);
}
