//! Every provider can be asked, each in its own words and with its own identity.

use super::*;
use support::upstream::Call;

const KEY: &str = include_str!("../fixtures/gemini/service-account/key.pem");

/// A model of that provider that says "made": the call that reached it, when it was asked through the
/// request transformer. `replies` come before the model's.
async fn asked(llm: &Value, environment: &[(&str, &str)], model: &Upstream) -> Call {
    let service = Upstream::always(Reply::body(200, &[], "served")).await;
    let mut plugin = kong::transformer(REQUEST, &model.url(), &json!({}));
    let logging = plugin["config"]["llm"]["logging"].clone();
    plugin["config"]["llm"] = llm.clone();
    plugin["config"]["llm"]["route_type"] = json!("llm/v1/chat");
    plugin["config"]["llm"]["logging"] = logging;
    plugin["config"]["llm"]["model"]["options"]["upstream_url"] = json!(format!("{}/base", model.url()));
    let config = kong::file_with(&json!({"url": service.url()}), &[kong::route("/r", &[plugin])]);
    let gateway = Gateway::start_in(&config, environment).await;
    let answer = post(&gateway, "body").await;
    assert_eq!((answer.status, &*answer.text()), (200, "served"), "{llm}");
    assert_eq!(&*service.calls()[0].body, b"made", "{llm}");
    let provider = llm["model"]["provider"].as_str().unwrap();
    gateway
        .counts("tollgate_tokens_total", &[provider, "provenance=\"provider\"", "class=\"input\""], 3.0)
        .await;
    gateway.counts("tollgate_settlements_total", &[provider, "complete"], 1.0).await;
    model.calls().pop().unwrap()
}

fn openai() -> Value {
    json!({"id": "c", "object": "chat.completion", "created": 1, "model": "m",
        "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "made"}, "finish_reason": "stop"}]})
}

fn gemini() -> Value {
    json!({"candidates": [{"content": {"role": "model", "parts": [{"text": "made"}]}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 1, "totalTokenCount": 4}})
}

fn converse() -> Value {
    json!({"output": {"message": {"role": "assistant", "content": [{"text": "made"}]}}, "stopReason": "end_turn",
        "usage": {"inputTokens": 3, "outputTokens": 1, "totalTokens": 4}})
}

/// The system prompt and the text, wherever they stand in the request.
fn holds_both(call: &Call) {
    let body = String::from_utf8_lossy(&call.body);
    assert!(
        body.contains("You are the model of ai-request-transformer.") && body.contains("\"body\""),
        "{body}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_in_headers() {
    let anthropic = json!({"id": "m", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn",
        "content": [{"type": "text", "text": "made"}], "usage": {"input_tokens": 3, "output_tokens": 1}});
    let ollama = json!({"model": "m", "created_at": "2024-01-01T00:00:00Z", "done": true, "done_reason": "stop",
        "message": {"role": "assistant", "content": "made"}, "prompt_eval_count": 3, "eval_count": 1});
    let cohere = json!({"generation_id": "g", "text": "made", "finish_reason": "COMPLETE",
        "meta": {"billed_units": {"input_tokens": 3, "output_tokens": 1}}});
    for (provider, options, header, reply) in [
        ("openai", json!({}), "authorization", openai()),
        ("azure", json!({"azure_instance": "i", "azure_deployment_id": "d"}), "api-key", openai()),
        ("anthropic", json!({"anthropic_version": "2023-06-01"}), "x-api-key", anthropic),
        ("cohere", json!({}), "authorization", cohere),
        ("mistral", json!({"mistral_format": "openai"}), "authorization", openai()),
        ("llama2", json!({"llama2_format": "ollama"}), "authorization", ollama),
        ("gemini", json!({}), "x-goog-api-key", gemini()),
        ("huggingface", json!({}), "authorization", openai()),
    ] {
        let model = Upstream::always(Reply::json(&reply)).await;
        let llm = json!({"auth": {"header_name": header, "header_value": "the-key"},
            "model": {"provider": provider, "name": "m", "options": options}});
        let call = asked(&llm, &[], &model).await;
        assert!(call.line.starts_with("POST /base"), "{}", call.line);
        assert_eq!(call.header(header), Some("the-key"), "{provider}");
        holds_both(&call);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_in_the_query_and_in_the_body() {
    let auth = |location: &str| {
        json!({"auth": {"param_name": "key", "param_value": "k&1", "param_location": location},
            "model": {"provider": "openai", "name": "m", "options": {}}})
    };
    let model = Upstream::always(Reply::json(&openai())).await;
    assert_eq!(asked(&auth("query"), &[], &model).await.line, "POST /base?key=k%261 HTTP/1.1");
    assert_eq!(asked(&auth("body"), &[], &model).await.json()["key"], "k&1");
}

#[tokio::test(flavor = "multi_thread")]
async fn bedrock_is_signed_and_told_without_a_system_prompt_where_it_knows_none() {
    let model = Upstream::always(Reply::json(&converse())).await;
    let llm = |name: &str| {
        json!({"auth": {"aws_access_key_id": "AKID", "aws_secret_access_key": "secret"},
            "model": {"provider": "bedrock", "name": name, "options": {"bedrock": {"aws_region": "us-east-1"}}}})
    };
    let call = asked(&llm("anthropic.claude-3-haiku"), &[], &model).await;
    let proof = call.header("authorization").unwrap();
    assert!(
        proof.starts_with("AWS4-HMAC-SHA256 Credential=AKID/") && proof.contains("/us-east-1/bedrock/"),
        "{proof}"
    );
    assert_eq!(call.json()["system"][0]["text"], "You are the model of ai-request-transformer.");
    let call = asked(&llm("amazon.titan-text-express-v1"), &[], &model).await.json();
    assert!(call.get("system").is_none());
    let texts: Vec<_> =
        call["messages"].as_array().unwrap().iter().map(|turn| &turn["content"][0]["text"]).collect();
    assert_eq!(texts, ["You are the model of ai-request-transformer.", "What is the message?", "body"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn clouds_give_a_token_first() {
    let token = json!({"access_token": "cloud-token", "expires_in": 3600, "token_type": "Bearer"});
    let model = Upstream::scripted(vec![Reply::json(&token), Reply::json(&gemini())]).await;
    let account = json!({"type": "service_account", "private_key_id": "k1", "private_key": KEY,
        "client_email": "svc@p.iam.gserviceaccount.com", "token_uri": format!("{}/token", model.url())});
    let llm = json!({"auth": {"gcp_use_service_account": true, "gcp_service_account_json": account.to_string()},
        "model": {"provider": "gemini", "name": "m", "options": {}}});
    let call = asked(&llm, &[], &model).await;
    assert_eq!(call.header("authorization"), Some("Bearer cloud-token"));

    let model = Upstream::scripted(vec![Reply::json(&token), Reply::json(&openai())]).await;
    let llm = json!({"auth": {"azure_use_managed_identity": true, "azure_client_id": "c", "azure_client_secret": "s",
        "azure_tenant_id": "t"}, "model": {"provider": "azure", "name": "m",
        "options": {"azure_instance": "i", "azure_deployment_id": "d"}}});
    let call = asked(&llm, &[("AZURE_AUTHORITY_HOST", &model.url())], &model).await;
    assert_eq!(call.header("authorization"), Some("Bearer cloud-token"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_that_is_not_there_is_a_500() {
    let service = Upstream::always(Reply::body(200, &[], "served")).await;
    let mut plugin = kong::transformer(REQUEST, "http://127.0.0.1:9", &json!({}));
    plugin["config"]["llm"] = json!({"route_type": "llm/v1/chat", "model": {"provider": "bedrock", "name": "m",
        "options": {"bedrock": {"aws_region": "us-east-1"}}}});
    let gateway = gateway(&service, &[plugin]).await;
    let answer = post(&gateway, "body").await;
    assert_eq!(answer.status, 500);
    assert!(message(&answer).starts_with("AWS credentials not specified anywhere"), "{}", answer.text());
}
