//! request-termination: an answer that shows the request.

use super::support::gateway::Gateway;
use super::support::{client::Connection, kong};
use serde_json::{Value, json};

async fn gateway() -> Gateway {
    let end = |changes: &Value| {
        let mut plugin = json!({"name": "request-termination", "config": {"echo": true}});
        kong::merge(&mut plugin["config"], changes);
        plugin
    };
    let triggered = end(&json!({"trigger": "x-show", "status_code": 418, "message": "shown"}));
    let plain = |status: u16| json!({"name": "request-termination", "config": {"status_code": status}});
    let key = json!({"name": "key-auth", "config": {"anonymous": "nobody"}});
    let decorated = json!({"name": "ai-prompt-decorator", "config": {
        "prompts": {"prepend": [{"role": "system", "content": "be brief"}]}}});
    let routes = [
        kong::route("~/echo/(?<id>\\d+)$", &[end(&json!({})), key]),
        kong::route("/ai", &[kong::ai_proxy("http://127.0.0.1:9"), triggered]),
        kong::route("/decorated", &[kong::ai_proxy("http://127.0.0.1:9"), decorated, end(&json!({}))]),
        kong::route("/usual", &[plain(503)]),
        kong::route("/silent", &[plain(418)]),
    ];
    let mut file: Value = serde_json::from_str(&kong::file(&routes)).unwrap();
    file["consumers"] = json!([{"username": "nobody"}]);
    Gateway::start(&file.to_string()).await
}

async fn ask(gateway: &Gateway, head: &str, body: impl AsRef<[u8]>) -> (u16, Value) {
    let answer = Connection::open(gateway.proxy).await.request(head, body).await.answer().await;
    (answer.status, serde_json::from_slice(&answer.body).unwrap_or_default())
}

#[tokio::test]
async fn a_request_is_shown_as_it_came() {
    let gateway = gateway().await;
    let head = "POST /echo/7?a=1&a=2&flag&apikey=secret HTTP/1.1\r\nx-two: 1\r\nx-two: 2\r\n\
        authorization: Bearer secret\r\ncontent-type: application/json";
    let (status, shown) = ask(&gateway, head, r#"{"b": [1]}"#).await;
    assert_eq!((status, &shown["message"]), (503, &json!("Service unavailable")));
    let request = &shown["request"];
    assert_eq!(request["query"], json!({"a": ["1", "2"], "flag": true, "apikey": "REDACTED"}));
    assert_eq!(request["headers"]["x-two"], json!(["1", "2"]));
    assert_eq!(request["headers"]["authorization"], "REDACTED");
    assert_eq!((&request["method"], &request["path"]), (&json!("POST"), &json!("/echo/7")));
    assert_eq!((&request["scheme"], &request["host"]), (&json!("http"), &json!("gateway.test")));
    assert_eq!(request["port"], gateway.proxy.port());
    assert_eq!((&request["body"], &request["raw_body"]), (&json!({"b": [1]}), &json!(r#"{"b": [1]}"#)));
    assert_eq!(request["uri_captures"], json!({"named": {"id": "7"}, "unnamed": {}}));
    assert_eq!(shown["matched_route"]["name"], "echoidd");
    assert_eq!(shown["matched_service"]["name"], "service");
    assert_eq!(shown["kong"]["worker_pid"], gateway.pid());
    let node = gateway.metrics().await.into_keys().find(|series| series.starts_with("kong_node_info"));
    assert!(node.unwrap().contains(shown["kong"]["node_id"].as_str().unwrap()), "the same everywhere");
    assert!(!shown["kong"]["hostname"].as_str().unwrap().is_empty());
}

#[tokio::test]
async fn bodies_are_shown_as_what_they_are() {
    let gateway = gateway().await;
    let multipart = "--x\r\nContent-Disposition: form-data; name=\"p\"\r\n\r\n1\r\n\
        --x\r\nContent-Disposition: form-data; name=\"p\"\r\n\r\n2\r\n--x--\r\n";
    for (content_type, body, shown) in [
        ("application/x-www-form-urlencoded", "a=1&b&a=2", json!({"a": ["1", "2"], "b": true})),
        ("multipart/form-data; boundary=x", multipart, json!({"p": ["1", "2"]})),
        ("application/json", "no JSON", Value::Null),
        ("text/plain", "{}", Value::Null),
    ] {
        let head = format!("POST /echo/1 HTTP/1.1\r\ncontent-type: {content_type}");
        let (_, answer) = ask(&gateway, &head, body).await;
        assert_eq!(answer["request"]["body"], shown, "{content_type}");
        assert_eq!(answer["request"]["raw_body"], body);
    }
    let (status, _) = ask(&gateway, "POST /echo/1 HTTP/1.1", vec![b'a'; 1024 * 1024 + 1]).await;
    assert_eq!(status, 413);
}

#[tokio::test]
async fn ai_routes_show_requests_too_and_only_where_it_is_asked_for() {
    let gateway = gateway().await;
    let body = r#"{"messages":[{"role":"user","content":"hi"}]}"#;
    let head =
        |path: &str, more: &str| format!("POST {path} HTTP/1.1\r\ncontent-type: application/json{more}");
    let (status, shown) = ask(&gateway, &head("/ai", "\r\nx-show: 1"), body).await;
    assert_eq!(
        (status, &shown["message"], &shown["request"]["raw_body"]),
        (418, &json!("shown"), &json!(body))
    );
    let (status, shown) = ask(&gateway, &head("/ai", ""), body).await;
    assert_eq!((status, &shown["request"]), (502, &Value::Null), "it went on to the upstream");
    // Whoever edited the body before is seen.
    let (_, shown) = ask(&gateway, &head("/decorated", ""), body).await;
    assert_eq!(shown["request"]["body"]["messages"][0]["content"], "be brief");
}

#[tokio::test]
async fn without_a_message_the_usual_one_is_sent_or_none() {
    let gateway = gateway().await;
    let (status, body) = ask(&gateway, "GET /usual HTTP/1.1", "").await;
    assert_eq!((status, body), (503, json!({"message": "Service unavailable"})));
    let (status, body) = ask(&gateway, "GET /silent HTTP/1.1", "").await;
    assert_eq!((status, body), (418, Value::Null));
}
