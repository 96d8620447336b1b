//! On a route with an AI proxy: each plugin sees what the one before made.

use super::*;
use support::{chat, streamed};

fn decorator() -> Value {
    json!({"name": "ai-prompt-decorator", "config": {"prompts": {
        "prepend": [{"role": "system", "content": "decorated"}]}}})
}

fn guard() -> Value {
    json!({"name": "ai-prompt-guard", "config": {"deny_patterns": ["forbidden"], "match_all_roles": true}})
}

fn template() -> Value {
    json!({"name": "ai-prompt-template", "config": {"templates": [{"name": "t",
        "template": "{\"messages\":[{\"role\":\"user\",\"content\":\"About {{topic}}\"}]}"}]}})
}

#[tokio::test(flavor = "multi_thread")]
async fn transformer_template_decorator_guard_proxy_transformer() {
    let asked = json!({"messages": "{template://t}", "properties": {"topic": "cheese"}}).to_string();
    let (before, after) = (model(&asked).await, model("answered").await);
    let provider = model("provided").await;
    let service = Upstream::scripted(Vec::new()).await;
    let gateway = gateway(
        &service,
        &[
            kong::ai_proxy(&provider.url()),
            kong::transformer(RESPONSE, &after.url(), &json!({})),
            guard(),
            decorator(),
            template(),
            kong::transformer(REQUEST, &before.url(), &json!({})),
        ],
    )
    .await;
    let answer = post(&gateway, "whatever it is").await;
    assert_eq!((answer.status, &*answer.text()), (200, "answered"));
    assert_eq!(before.calls()[0].json()["messages"][1]["content"], "whatever it is");
    let messages =
        json!([{"role": "system", "content": "decorated"}, {"role": "user", "content": "About cheese"}]);
    assert_eq!(provider.calls()[0].json()["messages"], messages);
    let seen = after.calls()[0].json()["messages"][1]["content"].as_str().unwrap().to_owned();
    assert_eq!(serde_json::from_str::<Value>(&seen).unwrap(), completion("provided"));
    let record = record(&gateway).await;
    let keys: Vec<_> = record["ai"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(keys, ["proxy", REQUEST, RESPONSE]);
    gateway.counts("tollgate_settlements_total", &["complete"], 3.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guard_sees_what_the_transformer_made() {
    let before = model(&chat("forbidden thing").to_string()).await;
    let provider = model("provided").await;
    let gateway = gateway(
        &provider,
        &[kong::ai_proxy(&provider.url()), guard(), kong::transformer(REQUEST, &before.url(), &json!({}))],
    )
    .await;
    let answer = post(&gateway, &chat("innocent").to_string()).await;
    assert_eq!((answer.status, &*message(&answer)), (400, "bad request"));
    assert!(provider.calls().is_empty());
    // The call was made, and is charged, although the prompt went no further.
    gateway.counts("tollgate_settlements_total", &["complete"], 1.0).await;
    assert_eq!(record(&gateway).await["ai"][REQUEST]["usage"]["total_tokens"], 37);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_asked_for_in_one_piece() {
    let (provider, after) = (model("provided").await, model("answered").await);
    let transformer = kong::transformer(RESPONSE, &after.url(), &json!({}));
    let gateway = gateway(&provider, &[kong::ai_proxy(&provider.url()), transformer]).await;
    let mut body = streamed("hi");
    body["stream_options"] = json!({"include_usage": true});
    let answer = post(&gateway, &body.to_string()).await;
    assert_eq!((&*answer.text(), answer.header("content-type")), ("answered", Some("application/json")));
    let asked = provider.calls()[0].json();
    assert_eq!((&asked["stream"], asked.get("stream_options")), (&json!(false), None));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_in_another_dialect_is_translated_before_it_is_rewritten() {
    let ollama = json!({"model": "llama2", "created_at": "2024-01-01T00:00:00Z", "done": true, "done_reason": "stop",
        "message": {"role": "assistant", "content": "said"}, "prompt_eval_count": 3, "eval_count": 4});
    let (provider, after) = (Upstream::always(Reply::json(&ollama)).await, model("answered").await);
    let transformer = kong::transformer(RESPONSE, &after.url(), &json!({}));
    let gateway = gateway(&provider, &[kong::ollama(&provider.url()), transformer]).await;
    assert_eq!(post(&gateway, &chat("hi").to_string()).await.text(), "answered");
    let seen = after.calls()[0].json()["messages"][1]["content"].as_str().unwrap().to_owned();
    let seen: Value = serde_json::from_str(&seen).unwrap();
    assert_eq!(seen["choices"][0]["message"]["content"], "said");
    assert_eq!(record(&gateway).await["ai"]["proxy"]["usage"]["total_tokens"], 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_native_answer_is_rewritten_as_it_came_and_still_metered() {
    let reply = json!({"candidates": [{"content": {"role": "model", "parts": [{"text": "said"}]},
        "finishReason": "STOP"}], "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 4, "totalTokenCount": 7}});
    let (provider, after) = (Upstream::always(Reply::json(&reply)).await, model("answered").await);
    let proxy = json!({"name": "ai-proxy", "config": {"route_type": "llm/v1/chat", "llm_format": "gemini",
        "model": {"provider": "gemini", "name": "m", "options": {"upstream_url": provider.url()}},
        "auth": {"header_name": "x-goog-api-key", "header_value": "k"}, "logging": {"log_statistics": true}}});
    let transformer = kong::transformer(RESPONSE, &after.url(), &json!({}));
    let gateway = gateway(&provider, &[proxy, transformer]).await;
    let body = json!({"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}).to_string();
    assert_eq!(ask(&gateway, "POST /r/models/m:generateContent", &body).await.text(), "answered");
    assert_eq!(&*provider.calls()[0].body, body.as_bytes());
    assert_eq!(after.calls()[0].json()["messages"][1]["content"], reply.to_string());
    assert_eq!(record(&gateway).await["ai"]["proxy"]["usage"]["total_tokens"], 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_plugin_without_a_model_closes_its_route() {
    let model = model("x").await;
    let gateway = gateway(&model, &[guard(), kong::transformer(REQUEST, &model.url(), &json!({}))]).await;
    assert_eq!(post(&gateway, &chat("hi").to_string()).await.status, 501);
    assert!(model.calls().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_asked_before_a_key_in_the_body_is_known() {
    let model = model("{}").await;
    let key_auth = json!({"name": "key-auth", "config": {"key_in_body": true}});
    let transformer = kong::transformer(REQUEST, &model.url(), &json!({}));
    let gateway = gateway(&model, &[kong::ai_proxy(&model.url()), key_auth, transformer]).await;
    let answer = post(&gateway, &chat("hi").to_string()).await;
    assert_eq!(answer.status, 501);
    assert!(message(&answer).contains("take the key from a header or the query"), "{}", answer.text());
    assert!(model.calls().is_empty());
}
