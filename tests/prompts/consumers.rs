//! Who asks, and what is different for whom.

use super::*;
use support::chat;

fn config(upstream: &Upstream) -> String {
    let decorator = |who: &str, text: &str| {
        json!({"name": "ai-prompt-decorator", "route": "r", who: text,
            "config": {"prompts": {"prepend": [{"role": "system", "content": format!("for {text}")}]}}})
    };
    let mut file: Value = serde_json::from_str(&kong::file(&[kong::route(
        "/r",
        &[
            kong::ai_proxy_with(&upstream.url(), &json!({"logging": {"log_payloads": true}})),
            plugin("key-auth", &json!({"key_names": ["apikey"], "key_in_body": true, "realm": "models"})),
            plugin("acl", &json!({"deny": ["banned"]})),
            plugin("file-log", &json!({"path": "{dir}/log", "reopen": true})),
        ],
    )]))
    .unwrap();
    file["consumer_groups"] = json!([{"name": "gold"}]);
    file["consumers"] = json!([
        {"username": "ann", "keyauth_credentials": [{"key": "ann-secret"}]},
        {"username": "bob", "keyauth_credentials": [{"key": "bob-secret"}], "groups": [{"name": "gold"}]},
        {"username": "eve", "keyauth_credentials": [{"key": "eve-secret"}], "acls": [{"group": "banned"}]},
    ]);
    let list = file["plugins"].as_array_mut().unwrap();
    list.extend([decorator("consumer", "ann"), decorator("consumer_group", "gold")]);
    file.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_consumer_has_its_own_plugins_and_no_key_is_logged() {
    let upstream = Upstream::always(completion()).await;
    let gateway = Gateway::start(&config(&upstream)).await;
    let mut in_body = chat("hi");
    in_body["apikey"] = json!("bob-secret");
    let plain = chat("hi").to_string();
    for (head, body, status) in [
        ("/r\r\napikey: ann-secret", &plain, 200),
        ("/r?apikey=ann-secret", &plain, 200),
        ("/r", &in_body.to_string(), 200),
        ("/r\r\napikey: eve-secret", &plain, 403),
        ("/r\r\napikey: wrong-secret", &plain, 401),
        ("/r", &plain, 401),
    ] {
        let answer = post(&gateway, head, body).await;
        assert_eq!(answer.status, status, "{head}: {}", answer.text());
        if status == 401 {
            assert_eq!(answer.header("www-authenticate"), Some("Key realm=\"models\""));
        }
    }
    let said: Vec<Value> =
        upstream.calls().iter().map(|call| call.json()["messages"][0]["content"].clone()).collect();
    assert_eq!(said, ["for ann", "for ann", "for gold"]);
    support::eventually("six records", async || gateway.records("log").len() == 6).await;
    let records = gateway.records("log");
    // Records of requests on different connections may change places.
    let mut names: Vec<_> =
        records.iter().map(|record| record["consumer"]["username"].as_str().unwrap_or("")).collect();
    names.sort_unstable();
    assert_eq!(names, ["", "", "ann", "ann", "bob", "eve"]);
    let text = serde_json::to_string(&records).unwrap();
    assert!(!text.contains("secret") && text.contains("REDACTED"), "{text}");
    assert!(!gateway.stderr().contains("secret"));
    gateway.counts("kong_http_requests_total", &["consumer=\"ann\"", "code=\"200\""], 2.0).await;
    gateway.counts("kong_http_requests_total", &["consumer=\"bob\"", "code=\"200\""], 1.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_hidden_do_not_reach_the_upstream_and_strangers_may_be_let_in() {
    let upstream = Upstream::always(completion()).await;
    let key_auth =
        plugin("key-auth", &json!({"hide_credentials": true, "anonymous": "guest", "key_in_body": true}));
    let route = kong::route("/r", &[kong::ai_proxy(&upstream.url()), key_auth]);
    let mut file: Value = serde_json::from_str(&kong::file(&[route])).unwrap();
    file["consumers"] =
        json!([{"username": "ann", "keyauth_credentials": [{"key": "ann-secret"}]}, {"username": "guest"}]);
    let gateway = Gateway::start(&file.to_string()).await;
    let mut in_body = chat("hi");
    in_body["apikey"] = json!("ann-secret");
    let plain = chat("hi").to_string();
    for (head, body) in [
        ("/r\r\napikey: ann-secret", &plain),
        ("/r?a=1&apikey=ann-secret", &plain),
        ("/r", &in_body.to_string()),
        ("/r", &plain),
    ] {
        assert_eq!(post(&gateway, head, body).await.status, 200, "{head}");
    }
    let calls = upstream.calls();
    let seen = format!("{calls:?}");
    assert!(!seen.contains("secret") && calls[1].line.contains("a=1"), "{seen}");
    let who: Vec<_> = calls
        .iter()
        .map(|call| (call.header("x-consumer-username"), call.header("x-anonymous-consumer")))
        .collect();
    assert_eq!(who[2..], [(Some("ann"), None), (Some("guest"), Some("true"))]);
}
