//! In front of an ordinary service.

use super::*;
use flate2::write::GzEncoder;
use std::io::Write;

#[tokio::test(flavor = "multi_thread")]
async fn the_service_gets_what_the_model_makes_of_the_request() {
    let model = model("{\"n\": 2}").await;
    let service = Upstream::always(Reply::body(201, &[("x-svc", "1")], "made")).await;
    let gateway = gateway(&service, &[kong::transformer(REQUEST, &model.url(), &json!({}))]).await;
    let answer = ask(&gateway, "PUT /r/x?a=1\r\nx-client: c\r\naccept-encoding: gzip", "{\"n\": 1}").await;
    assert_eq!((answer.status, answer.text(), answer.header("x-svc")), (201, "made".to_owned(), Some("1")));
    let asked = &model.calls()[0];
    assert_eq!((&*asked.line, asked.header("authorization")), ("POST / HTTP/1.1", Some("Bearer own-key")));
    assert!(asked.header("x-client").is_none() && asked.header("x-forwarded-for").is_none());
    let expected = json!({"model": "gpt-4o-mini", "stream": false, "messages": [
        {"role": "system", "content": "You are the model of ai-request-transformer."},
        {"role": "user", "content": "{\"n\": 1}"}]});
    assert_eq!(asked.json(), expected);
    let served = &service.calls()[0];
    assert_eq!((&*served.line, &*served.body), ("PUT /svc/x?a=1 HTTP/1.1", &b"{\"n\": 2}"[..]));
    assert_eq!((served.header("x-client"), served.header("content-length")), (Some("c"), Some("8")));
    assert_eq!(served.header("x-forwarded-path"), Some("/r/x"));
    assert!(answer.header("x-kong-upstream-latency").is_some() && answer.header("via").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_gets_what_the_model_makes_of_the_answer() {
    let model = model("<n>2</n>").await;
    let mut packed = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(b"{\"n\": 1}").unwrap();
    let headers = [("content-encoding", "gzip"), ("content-type", "application/json"), ("etag", "\"1\"")];
    let service = Upstream::always(Reply::body(404, &headers, packed.finish().unwrap())).await;
    let gateway = gateway(&service, &[kong::transformer(RESPONSE, &model.url(), &json!({}))]).await;
    let answer = ask(&gateway, "GET /r\r\naccept-encoding: gzip", "").await;
    assert_eq!((answer.status, &*answer.text()), (404, "<n>2</n>"));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert!(answer.header("content-encoding").is_none() && answer.header("etag").is_none());
    assert_eq!(model.calls()[0].json()["messages"][1]["content"], "{\"n\": 1}", "inflated");
    let record = record(&gateway).await;
    assert_eq!(record["ai"][RESPONSE]["usage"]["total_tokens"], 37);
    assert_eq!((&record["upstream_status"], &record["upstream_uri"]), (&json!("404"), &json!("/svc")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_a_body_costs_no_call() {
    let model = model("x").await;
    let service = Upstream::always(Reply::raw("HTTP/1.1 204 No\r\nx-svc: 1\r\n\r\n")).await;
    let gateway = gateway(&service, &[kong::transformer(RESPONSE, &model.url(), &json!({}))]).await;
    let answer = post(&gateway, "{}").await;
    assert_eq!((answer.status, answer.header("x-svc"), answer.body.len()), (204, Some("1"), 0));
    assert!(model.calls().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_costs_no_call_and_tells_no_length() {
    let model = model("x").await;
    let service =
        Upstream::always(Reply::raw("HTTP/1.1 200 OK\r\nx-svc: 1\r\ncontent-length: 9\r\n\r\n")).await;
    let gateway = gateway(&service, &[kong::transformer(RESPONSE, &model.url(), &json!({}))]).await;
    let mut client = Connection::open(gateway.proxy).await;
    for _ in 0..2 {
        client.send("HEAD /r HTTP/1.1\r\nhost: x\r\n\r\n").await;
        let answer = client.head_answer().await;
        assert_eq!((answer.status, answer.header("x-svc")), (200, Some("1")));
        assert_eq!(answer.header("content-length"), None);
    }
    assert!(model.calls().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_are_rewritten_and_each_call_is_metered_as_its_own() {
    let (before, after) = (model("asked").await, model("answered").await);
    let service = Upstream::always(Reply::body(200, &[], "served")).await;
    let priced = json!({"llm": {"model": {"name": "other", "options": {"output_cost": 20}}}});
    let plugins = [
        kong::transformer(REQUEST, &before.url(), &json!({})),
        kong::transformer(RESPONSE, &after.url(), &priced),
    ];
    let gateway = gateway(&service, &plugins).await;
    assert_eq!(post(&gateway, "hello").await.text(), "answered");
    assert_eq!(
        (&*service.calls()[0].body, &after.calls()[0].json()["messages"][1]["content"]),
        (&b"asked"[..], &json!("served"))
    );
    for (model, cost) in [("gpt-4o-mini", 0.00037), ("other", 0.00049)] {
        gateway.counts("tollgate_settlements_total", &[model, "complete"], 1.0).await;
        gateway.counts("kong_ai_llm_requests_total", &[model, "openai"], 1.0).await;
        gateway.counts("kong_ai_llm_tokens_total", &[model, "total_tokens"], 37.0).await;
        gateway.counts("kong_ai_llm_cost_total", &[model], cost).await;
        gateway.counts("tollgate_attempts_total", &[model, "outcome=\"ok\""], 1.0).await;
    }
    let record = record(&gateway).await;
    let keys: Vec<_> = record["ai"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(keys, [REQUEST, RESPONSE]);
    let meta = &record["ai"][REQUEST]["meta"];
    assert_eq!((&meta["provider_name"], &meta["request_model"]), (&json!("openai"), &json!("gpt-4o-mini")));
    assert_eq!(meta["response_model"], "gpt-4o-mini-2024");
    assert!(meta["llm_latency"].is_u64() && meta["plugin_id"].is_string());
    assert_eq!(record["ai"][RESPONSE]["usage"]["cost"], 0.00049);
    assert!(record["ai"][RESPONSE].get("payload").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn payloads_are_logged_only_if_that_is_asked_for_and_nothing_is_without_statistics() {
    let model = model("made").await;
    let service = Upstream::always(Reply::body(200, &[], "served")).await;
    let payloads = json!({"llm": {"logging": {"log_payloads": true}}});
    let gateway = gateway(
        &service,
        &[
            kong::transformer(REQUEST, &model.url(), &json!({"llm": {"logging": {"log_statistics": false}}})),
            kong::transformer(RESPONSE, &model.url(), &payloads),
        ],
    )
    .await;
    post(&gateway, "secret").await;
    let record = record(&gateway).await;
    assert!(record["ai"].get(REQUEST).is_none());
    let payload = &record["ai"][RESPONSE]["payload"];
    let request: Value = serde_json::from_str(payload["request"].as_str().unwrap()).unwrap();
    assert_eq!(request["messages"][1]["content"], "served");
    assert!(payload["response"].as_str().unwrap().contains("made"));
    // Kong's series want statistics, the gateway's own do not.
    gateway.counts("kong_ai_llm_requests_total", &[], 1.0).await;
    gateway.counts("tollgate_settlements_total", &[], 2.0).await;
    assert!(!gateway.stderr().contains("secret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn instructions_make_the_whole_answer() {
    let text =
        "{\"status\": 209, \"headers\": {\"content-type\": \"application/xml\"}, \"body\": \"<a>\n</a>\"}";
    let model = model(text).await;
    let service = Upstream::always(Reply::body(200, &[("x-svc", "1")], "served")).await;
    let told = json!({"parse_llm_response_json_instructions": true});
    let gateway = gateway(&service, &[kong::transformer(RESPONSE, &model.url(), &told)]).await;
    let answer = post(&gateway, "{}").await;
    assert_eq!((answer.status, &*answer.text()), (209, "<a>\n</a>"));
    assert_eq!((answer.header("content-type"), answer.header("x-svc")), (Some("application/xml"), Some("1")));
    assert_eq!(answer.header("content-length"), Some("8"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_match_of_the_pattern_is_taken_from_any_line_in_either_case() {
    let model = model("Sure!\njson: {\"N\": 2}\nBye").await;
    let service = Upstream::always(Reply::body(200, &[], "served")).await;
    let pattern = json!({"transformation_extract_pattern": "(?<=^JSON: )\\{(.*)\\}$"});
    let gateway = gateway(&service, &[kong::transformer(REQUEST, &model.url(), &pattern)]).await;
    assert_eq!(post(&gateway, "{}").await.status, 200);
    assert_eq!(&*service.calls()[0].body, b"{\"N\": 2}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_no_plugin_rewrites_streams() {
    use support::upstream::Gate;
    let model = model("asked").await;
    let gate = Gate::default();
    let service = Reply::stream("text/plain").chunk("first ").gate(&gate).chunk("second").end();
    let service = Upstream::always(service).await;
    let gateway = gateway(&service, &[kong::transformer(REQUEST, &model.url(), &json!({}))]).await;
    let mut client = Connection::open(gateway.proxy).await;
    client.request("POST /r HTTP/1.1", "{}").await;
    assert!(client.until("first ").await.contains("first "), "before the service has ended");
    gate.open();
    assert_eq!(client.answer().await.text(), "first second");
}

#[tokio::test(flavor = "multi_thread")]
async fn options_of_the_model_may_come_from_the_request() {
    let model = model("asked").await;
    let service = Upstream::always(Reply::body(200, &[], "served")).await;
    let named = json!({"llm": {"model": {"name": "$(headers.x-model)"}}});
    let gateway = gateway(&service, &[kong::transformer(REQUEST, &model.url(), &named)]).await;
    assert_eq!(ask(&gateway, "POST /r\r\nx-model: chosen", "{}").await.status, 200);
    assert_eq!(model.calls()[0].json()["model"], "chosen");
    let answer = post(&gateway, "{}").await;
    assert_eq!((answer.status, &*message(&answer)), (400, "headers key x-model was not provided"));
    gateway.counts("tollgate_settlements_total", &["UNSPECIFIED"], 1.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plugins_behind_the_transformer_see_the_request_after_it() {
    let model = model("asked").await;
    let service = Upstream::always(Reply::body(200, &[], "served")).await;
    let end = json!({"name": "request-termination", "config": {"status_code": 418, "body": "ended"}});
    let gateway = gateway(&service, &[kong::transformer(REQUEST, &model.url(), &json!({})), end]).await;
    let answer = post(&gateway, "{}").await;
    assert_eq!((answer.status, &*answer.text()), (418, "ended"));
    assert_eq!((model.calls().len(), service.calls().len()), (1, 0));
    assert_eq!(record(&gateway).await["ai"][REQUEST]["usage"]["total_tokens"], 37);
}
