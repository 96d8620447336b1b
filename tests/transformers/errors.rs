//! Every error, in Kong's words.

use super::*;
use support::gateway::free;
use support::upstream::Step;

/// What a client reads when the model behind the request transformer answers so.
async fn refused(reply: Reply, changes: &Value) -> (u16, String) {
    let model = Upstream::always(reply).await;
    let service = Upstream::always(Reply::body(200, &[], "served")).await;
    let gateway = gateway(&service, &[kong::transformer(REQUEST, &model.url(), changes)]).await;
    let answer = post(&gateway, "{\"n\": 1}").await;
    assert!(service.calls().is_empty(), "{}", answer.text());
    (answer.status, message(&answer))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_model_answers_wrongly() {
    let json = |body: &Value| Reply::json(body);
    let filtered =
        json!({"choices": [{"index": 0, "finish_reason": "content_filter", "message": {"content": null}}]});
    let prefix = "failed to introspect request with AI service: ";
    let unreadable = "failed to convert AI response to Kong format: ";
    for (reply, expected) in [
        (Reply::body(400, &[], "{}"), format!("{prefix}status code 400")),
        (Reply::body(429, &[], "{}"), format!("{prefix}status code 429")),
        (Reply::body(503, &[], "busy"), format!("{prefix}status code 503")),
        (
            Reply::raw("").then(Step::Close),
            format!("{prefix}request to ai service failed: connection refused or closed"),
        ),
        (Reply::body(200, &[], "<html>"), format!("{unreadable}failed to decode llm/v1/chat response")),
        (json(&json!({"a": 1})), format!("{unreadable}'choices' not in llm/v1/chat response")),
        (json(&json!({"choices": []})), "no 'choices' in upstream AI service response".to_owned()),
        (json(&filtered), format!("{unreadable}the provider's content filter kept the answer back")),
    ] {
        assert_eq!(refused(reply, &json!({})).await, (400, expected));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_pattern_does_not_find() {
    let changes = json!({"transformation_extract_pattern": "\\{.*\\}"});
    let expected = "AI response did not match specified regular expression".to_owned();
    assert_eq!(refused(Reply::json(&completion("no")), &changes).await, (400, expected));
    let changes = json!({"transformation_extract_pattern": "(a+)+\\1$"});
    let (status, text) = refused(Reply::json(&completion(&format!("{}b", "a".repeat(5000)))), &changes).await;
    assert_eq!(status, 400);
    assert!(text.starts_with("failed regex matching ai response: "), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_is_too_slow_or_not_there() {
    let reply = Reply::raw("").then(Step::Hang);
    let prefix = "failed to introspect request with AI service: request to ai service failed: ";
    let timeout = (400, format!("{prefix}timeout"));
    assert_eq!(refused(reply, &json!({"http_timeout": 50})).await, timeout);
    // Kong bounds connecting only: a model that begins and does not end is stopped here, too.
    let dripping = Reply::raw("HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{").then(Step::Hang);
    assert_eq!(refused(dripping, &json!({"http_timeout": 50})).await, timeout);
    for (url, why) in [
        (format!("http://{}", free()), "connection refused or closed"),
        ("http://no-such-host.invalid".to_owned(), "name resolution failed"),
    ] {
        let changes = json!({"llm": {"model": {"options": {"upstream_url": url}}}});
        assert_eq!(refused(Reply::raw(""), &changes).await, (400, format!("{prefix}{why}")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_the_upstreams_and_settled() {
    let model = Upstream::scripted(vec![Reply::body(500, &[], "{}"), Reply::raw("").then(Step::Close)]).await;
    let gateway = gateway(&model, &[kong::transformer(REQUEST, &model.url(), &json!({}))]).await;
    for _ in 0..2 {
        assert_eq!(post(&gateway, "{}").await.status, 400);
    }
    gateway.counts("tollgate_settlements_total", &["refused"], 1.0).await;
    gateway.counts("tollgate_settlements_total", &["broken"], 1.0).await;
    gateway.counts("tollgate_attempts_total", &["http_5xx"], 1.0).await;
    gateway.counts("tollgate_errors_total", &["upstream", "unconsulted"], 2.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_never_went_out_is_not_settled() {
    let service = Upstream::always(Reply::body(200, &[], "served")).await;
    let nobody = format!("http://{}", free());
    let gateway = gateway(&service, &[kong::transformer(REQUEST, &nobody, &json!({}))]).await;
    assert_eq!(post(&gateway, "{}").await.status, 400);
    gateway.counts("tollgate_attempts_total", &["unreachable"], 1.0).await;
    gateway.counts("tollgate_settlements_total", &[], 0.0).await;
    assert!(record(&gateway).await.get("ai").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_cannot_be_asked_about() {
    let model = model("x").await;
    let service = Upstream::always(Reply::body(200, &[], [0xff, 0xfe])).await;
    let limit = json!({"max_request_body_size": 10});
    let plugins =
        [kong::transformer(REQUEST, &model.url(), &limit), kong::transformer(RESPONSE, &model.url(), &limit)];
    let gateway = gateway(&service, &plugins).await;
    let answer = post(&gateway, "12345678901").await;
    assert_eq!(answer.status, 413);
    assert!(message(&answer).contains("raise max_request_body_size"), "{}", answer.text());
    let not_text = "failed to introspect request with AI service: the body is not UTF-8 text";
    let answer = ask(&gateway, "POST /r", [0xff]).await;
    assert_eq!((answer.status, &*message(&answer)), (400, not_text));
    let answer = post(&gateway, "{}").await;
    assert_eq!((answer.status, &*message(&answer), service.calls().len()), (400, not_text, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_fails_behind_the_response_transformer() {
    let model = model("x").await;
    let service = Upstream::scripted(vec![
        Reply::raw("").then(Step::Close),
        Reply::raw("HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{").then(Step::Close),
    ])
    .await;
    let transformer = kong::transformer(RESPONSE, &model.url(), &json!({}));
    let gateway = gateway(&service, std::slice::from_ref(&transformer)).await;
    for _ in 0..2 {
        let answer = post(&gateway, "{}").await;
        let expected = "subrequest failed: connection refused or closed";
        assert_eq!((answer.status, &*message(&answer)), (500, expected));
    }
    let nowhere = json!({"url": format!("http://{}", free()), "retries": 1});
    let gateway = Gateway::start(&kong::file_with(&nowhere, &[kong::route("/r", &[transformer])])).await;
    let answer = post(&gateway, "{}").await;
    let expected = "failed to connect to upstream: connection refused or closed";
    assert_eq!((answer.status, &*message(&answer)), (500, expected));
    gateway.counts("tollgate_errors_total", &["upstream", "subrequest"], 1.0).await;
    assert!(model.calls().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_fails_behind_the_request_transformer_alone_is_a_bad_gateway() {
    let model = model("x").await;
    let service = Upstream::scripted(vec![
        Reply::raw("").then(Step::Close),
        Reply::stream("text/plain").chunk("begun").then(Step::Close),
    ])
    .await;
    let gateway = gateway(&service, &[kong::transformer(REQUEST, &model.url(), &json!({}))]).await;
    assert_eq!(post(&gateway, "{}").await.status, 502);
    let answer = post(&gateway, "{}").await;
    assert_eq!((answer.status, &*answer.text(), answer.whole), (200, "begun", false), "visibly cut");
}

#[tokio::test(flavor = "multi_thread")]
async fn instructions_that_cannot_be_followed() {
    let model = model("Sure! {}").await;
    let service = Upstream::always(Reply::body(200, &[], "served")).await;
    let told = json!({"parse_llm_response_json_instructions": true});
    let gateway = gateway(&service, &[kong::transformer(RESPONSE, &model.url(), &told)]).await;
    let answer = post(&gateway, "{}").await;
    let expected = "failed to parse JSON response instructions from AI backend: \
                    Expected value but found invalid token at character 1";
    assert_eq!((answer.status, &*message(&answer)), (500, expected));
}
