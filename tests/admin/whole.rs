//! The whole configuration at once.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_configuration_is_read_and_replaced() {
    let upstream = model().await;
    let route = |path: &str| kong::route(path, &[openai(&upstream)]);
    let gateway = Gateway::start(&kong::file(&[route("/before")])).await;
    let read = get(&gateway, "/config").await;
    let text = read.body["config"].as_str().unwrap().to_owned();
    assert!(text.contains("(masked)") && !text.contains("Bearer k1"), "{text}");
    // What was read can be posted: masks of known entities stand for their keys.
    let posted = raw(&gateway, "POST", "/config", "text/yaml", &text).await;
    assert_eq!(posted.status, 201, "{posted:?}");
    assert_eq!(asks_model(&gateway, "/before").await, 200);
    assert_eq!(upstream.calls().pop().unwrap().header("authorization"), Some("Bearer k1"));
    let after = kong::file(&[route("/after")]);
    let posted = post(&gateway, "/config?check_hash=1", &json!({"config": after})).await;
    let routes = posted.body["routes"].as_object().unwrap();
    assert_eq!((posted.status, routes.len()), (201, 1));
    assert_eq!((asks_model(&gateway, "/before").await, asks_model(&gateway, "/after").await), (404, 200));
    let hash = get(&gateway, "/status").await.body["configuration_hash"].as_str().unwrap().to_owned();
    assert_eq!(hash.len(), 32);
    assert_eq!(post(&gateway, "/config?check_hash=1", &json!({"config": after})).await.status, 304);
    assert_eq!(post(&gateway, "/config", &json!({"config": after})).await.status, 201);
    let body = form_urlencoded::Serializer::new(String::new()).append_pair("config", &after).finish();
    assert_eq!(form(&gateway, "POST", "/config", &body).await.status, 201);
    assert_eq!(raw(&gateway, "POST", "/config", "application/json", &after).await.status, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_configuration_changes_nothing_and_says_what_is_wrong() {
    let upstream = model().await;
    let gateway = Gateway::start(&kong::file(&[kong::route("/chat", &[openai(&upstream)])])).await;
    let bad = json!({"_format_version": "3.0", "services": [{"name": "s", "port": "x", "tags": ["k8s"], "routes":
        [{"name": "r", "paths": ["y"]}]}], "plugins": [{"name": "ai-proxy", "config":
        {"route_type": "llm/v1/chat", "auth": {"header_value": "Bearer secret"}, "model": {"provider": "openai"}}}]});
    let said = post(&gateway, "/config", &bad).await;
    assert_eq!((said.status, &said.body["code"]), (400, &json!(14)));
    assert_eq!(said.body["name"], "invalid declarative configuration");
    assert_eq!(said.body["fields"]["services"][0]["port"], "expected an integer");
    let message = said.body["message"].as_str().unwrap();
    assert!(message.starts_with("declarative config is invalid: {"), "{message}");
    let flat = post(&gateway, "/config?flatten_errors=1", &bad).await;
    let errors = flat.body["flattened_errors"].as_array().unwrap();
    let types: Vec<&str> = errors.iter().map(|one| one["entity_type"].as_str().unwrap()).collect();
    assert_eq!(types, ["service", "route", "plugin"]);
    assert_eq!((&errors[0]["entity_name"], &errors[0]["entity_tags"]), (&json!("s"), &json!(["k8s"])));
    assert!(!flat.body.to_string().contains("Bearer secret"));
    for (content_type, body) in [
        ("application/json", "{}"),
        ("application/json", r#"{"config": ""}"#),
        ("application/x-www-form-urlencoded", "other=1"),
        ("text/yaml", " "),
    ] {
        let said = raw(&gateway, "POST", "/config", content_type, body).await;
        let expected = json!({"message": "expected a declarative configuration"});
        assert_eq!((said.status, said.body), (400, expected), "{body}");
    }
    let broken = raw(&gateway, "POST", "/config", "text/yaml", "services: [").await;
    assert_eq!(broken.body["code"], 14);
    assert!(broken.body["fields"]["error"].as_str().unwrap().contains("failed parsing"), "{broken:?}");
    assert_eq!(asks_model(&gateway, "/chat").await, 200, "the old one stays in force");
    let stateful = stateful().await;
    let said = post(&stateful, "/config", &bad).await;
    let message = "this endpoint is only available when Kong is configured to not use a database";
    assert_eq!((said.status, &said.body["message"]), (400, &json!(message)));
}
