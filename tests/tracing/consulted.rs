//! The spans of calls that transformers make to a model.

use super::*;

const REQUEST: &str = "ai-request-transformer";
const ANSWER_TOO: &str = "ai-response-transformer";

/// A gateway with a route on which both ask a model, and one on which the model is out of reach.
async fn transformed(upstream: &Upstream, model: &Upstream) -> (Gateway, Upstream) {
    let collector = Upstream::always(Reply::body(200, &[], "")).await;
    let own = json!({"llm": {"model": {"name": "own", "options": {"temperature": 0.25}}}});
    let dead = json!({"llm": {"model": {"options": {"upstream_url": "http://127.0.0.1:9/"}}}});
    let plugin = |name: &str, changes: &Value| kong::transformer(name, &model.url(), changes);
    let traced = || opentelemetry(&collector, &json!({}));
    let routes = [
        kong::route("/both", &[plugin(REQUEST, &own), plugin(ANSWER_TOO, &own), traced()]),
        kong::route("/dead", &[plugin(REQUEST, &dead), traced()]),
    ];
    (Gateway::start(&kong::file_with(&json!({"url": upstream.url()}), &routes)).await, collector)
}

async fn post(gateway: &Gateway, path: &str) -> u16 {
    let sent = reqwest::Client::new().post(gateway.url(path)).body(SECRET).send().await;
    sent.unwrap().status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_call_has_a_span_below_the_exchange() {
    let (upstream, model) = (Upstream::always(reply()).await, Upstream::always(reply()).await);
    let (gateway, collector) = transformed(&upstream, &model).await;
    assert_eq!(post(&gateway, "/both").await, 200);
    let all = spans(&collector, 4).await;
    let server = all.iter().find(|span| span.kind == SpanKind::Server as i32).unwrap();
    let port = model.address.port().to_string();
    for plugin in [REQUEST, ANSWER_TOO] {
        let own = |span: &&Span| attribute(span, "kong.plugin.name").map(shown).as_deref() == Some(plugin);
        let span = all.iter().find(own).expect(plugin);
        assert_eq!((span.kind, span.name.as_str()), (SpanKind::Client as i32, "chat own"));
        assert_eq!((&span.trace_id, &span.parent_span_id), (&server.trace_id, &server.span_id));
        let expected = [
            ("gen_ai.operation.name", "chat"),
            ("gen_ai.provider.name", "openai"),
            ("gen_ai.request.model", "own"),
            ("gen_ai.request.temperature", "0.25"),
            ("gen_ai.response.model", "gpt-4o-mini-2024"),
            ("gen_ai.response.finish_reasons", "length"),
            ("gen_ai.usage.input_tokens", "11"),
            ("gen_ai.usage.output_tokens", "7"),
            ("http.response.status_code", "200"),
            ("server.port", &port),
        ];
        assert_attributes(span, &expected);
        assert!(server.start_time_unix_nano <= span.start_time_unix_nano);
        assert!(span.start_time_unix_nano < span.end_time_unix_nano);
        assert!(span.end_time_unix_nano <= server.end_time_unix_nano);
    }
    let ids: std::collections::HashSet<_> = all.iter().map(|span| &span.span_id).collect();
    assert_eq!(ids.len(), 4, "two spans of one id");
    let text = format!("{all:?}");
    assert!(!text.contains(SECRET) && !text.contains(ANSWER));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_out_of_reach_leaves_a_span_with_its_error() {
    let upstream = Upstream::always(reply()).await;
    let (gateway, collector) = transformed(&upstream, &upstream).await;
    assert_eq!(post(&gateway, "/dead").await, 400);
    let all = spans(&collector, 2).await;
    let failed = all.iter().find(|span| span.kind == SpanKind::Client as i32).unwrap();
    assert_eq!(failed.status.as_ref().unwrap().code, StatusCode::Error as i32);
    assert_attributes(failed, &[("gen_ai.request.model", "gpt-4o-mini"), ("server.port", "9")]);
    assert!(attribute(failed, "error.type").is_some());
}
