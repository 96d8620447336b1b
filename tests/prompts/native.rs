//! Clients that speak their provider's own API: the guard reads it, the decorator writes it.

use super::*;

fn plugins(format: &str) -> [Value; 2] {
    let prompts = json!({"prepend": [{"role": "system", "content": "before"}], "append": [{"role": "user", "content": "after"}]});
    [
        plugin("ai-prompt-guard", &json!({"deny_patterns": ["forbidden"], "llm_format": format})),
        plugin("ai-prompt-decorator", &json!({"prompts": prompts, "llm_format": format})),
    ]
}

/// The body that reaches the upstream, and the answer to a prompt that is denied.
async fn exchange(format: &str, proxy: Value, path: &str, body: impl Fn(&str) -> Value) -> (Value, Answer) {
    let upstream = Upstream::always(Reply::json(&json!({}))).await;
    let mut proxy = proxy;
    kong::merge(
        &mut proxy,
        &json!({"name": "ai-proxy", "config": {"route_type": "llm/v1/chat", "llm_format": format,
        "model": {"provider": format, "options": {"upstream_url": upstream.url()}}}}),
    );
    let [guard, decorator] = plugins(format);
    let routes = [kong::route("/r", &[guard, decorator, proxy])];
    let gateway = Gateway::start(&kong::file(&routes)).await;
    post(&gateway, &format!("/r{path}"), body("hi").to_string()).await;
    let denied = post(&gateway, &format!("/r{path}"), body("a forbidden thing").to_string()).await;
    let calls = upstream.calls();
    assert_eq!(calls.len(), 1, "the denied prompt goes no further");
    (calls[0].json(), denied)
}

#[tokio::test(flavor = "multi_thread")]
async fn gemini() {
    let body = |text: &str| json!({"contents": [{"role": "user", "parts": [{"text": text}]}], "generationConfig": {"topK": 3}});
    let auth = json!({"config": {"auth": {"header_name": "x-goog-api-key", "header_value": "k"}}});
    let (sent, denied) = exchange("gemini", auth, "/models/m:generateContent", body).await;
    assert_eq!((denied.status, &*message(&denied)), (400, "bad request"));
    assert_eq!(
        sent,
        json!({
        "contents": [{"role": "user", "parts": [{"text": "hi"}]}, {"role": "user", "parts": [{"text": "after"}]}],
        "generationConfig": {"topK": 3},
        "systemInstruction": {"parts": [{"text": "before"}]}})
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn bedrock() {
    let body = |text: &str| json!({"messages": [{"role": "user", "content": [{"text": text}]}], "inferenceConfig": {"topP": 0.5}});
    let auth = json!({"config": {"auth": {"aws_access_key_id": "a", "aws_secret_access_key": "s"},
        "model": {"options": {"bedrock": {"aws_region": "us-east-1"}}}}});
    let (sent, denied) = exchange("bedrock", auth, "/model/m/converse", body).await;
    assert_eq!((denied.status, &*message(&denied)), (400, "bad request"));
    assert_eq!(sent["system"], json!([{"text": "before"}]));
    assert_eq!(sent["inferenceConfig"], json!({"topP": 0.5}));
    let text = sent["messages"].to_string();
    assert!(text.contains("hi") && text.contains("after") && !text.contains("assistant"), "{text}");
}
