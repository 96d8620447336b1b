//! The Admin API of a running gateway: Kong's paths, codes, error objects and messages.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy exempts only the test functions themselves"
)]

mod support;
#[path = "admin/whole.rs"]
mod whole;

use serde_json::{Value, json};
use support::gateway::Gateway;
use support::upstream::{Reply, Upstream};
use support::{chat, kong};

const EMPTY: &str = r#"{"_format_version": "3.0", "services": []}"#;

/// A gateway that keeps its state in its directory.
async fn stateful() -> Gateway {
    Gateway::start_with(EMPTY, &["--state", "{dir}/state"]).await
}

/// An answer: status and body.
#[derive(Debug)]
struct Said {
    status: u16,
    body: Value,
}

async fn said(response: reqwest::Response) -> Said {
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    let body = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() };
    Said { status, body }
}

async fn ask(gateway: &Gateway, method: &str, path: &str, body: Option<&Value>) -> Said {
    let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
    let mut request = reqwest::Client::new().request(method, format!("http://{}{path}", gateway.admin));
    if let Some(body) = body {
        request = request.json(body);
    }
    said(request.send().await.unwrap()).await
}

async fn get(gateway: &Gateway, path: &str) -> Said {
    ask(gateway, "GET", path, None).await
}

async fn post(gateway: &Gateway, path: &str, body: &Value) -> Said {
    ask(gateway, "POST", path, Some(body)).await
}

/// The same as a form.
async fn form(gateway: &Gateway, method: &str, path: &str, body: &str) -> Said {
    raw(gateway, method, path, "application/x-www-form-urlencoded", body).await
}

async fn raw(gateway: &Gateway, method: &str, path: &str, content_type: &str, body: &str) -> Said {
    let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
    let request = reqwest::Client::new()
        .request(method, format!("http://{}{path}", gateway.admin))
        .header("content-type", content_type)
        .body(body.to_owned());
    said(request.send().await.unwrap()).await
}

/// A service and its route.
async fn routed(gateway: &Gateway) -> (String, String) {
    let service = form(gateway, "POST", "/services", "name=ai&url=http://localhost:32000").await;
    assert_eq!(service.status, 201, "{service:?}");
    let route = form(gateway, "POST", "/services/ai/routes", "name=chat&paths[]=~/chat$").await;
    assert_eq!(route.status, 201, "{route:?}");
    let id = |said: Said| said.body["id"].as_str().unwrap().to_owned();
    (id(service), id(route))
}

fn openai(upstream: &Upstream) -> Value {
    let mut plugin = kong::ai_proxy(&upstream.url());
    plugin["config"]["auth"] = json!({"header_name": "Authorization", "header_value": "Bearer k1"});
    plugin
}

async fn model() -> Upstream {
    Upstream::always(Reply::json(&json!({"id": "c", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "2"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}})))
    .await
}

async fn asks_model(gateway: &Gateway, path: &str) -> u16 {
    let sent = reqwest::Client::new().post(gateway.url(path)).json(&chat("What is 1+1?")).send().await;
    sent.unwrap().status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_in_makes_a_route_that_works_at_once() {
    let upstream = model().await;
    let gateway = stateful().await;
    let (_, route) = routed(&gateway).await;
    assert_eq!(
        asks_model(&gateway, "/chat").await,
        502,
        "no plugin yet, and nobody at the service's address"
    );
    let made = post(&gateway, "/routes/chat/plugins", &openai(&upstream)).await;
    assert_eq!((made.status, &made.body["route"]["id"]), (201, &json!(route)), "{made:?}");
    assert_eq!(asks_model(&gateway, "/chat").await, 200, "live before the reply");
    let plugin = made.body["id"].as_str().unwrap();
    assert_eq!(ask(&gateway, "DELETE", &format!("/plugins/{plugin}"), None).await.status, 204);
    assert_eq!(asks_model(&gateway, "/chat").await, 502);
    let konnect = format!("/v2/control-planes/9524ec7d/core-entities/routes/{route}/plugins");
    assert_eq!(post(&gateway, &konnect, &openai(&upstream)).await.status, 201);
    assert_eq!(asks_model(&gateway, "/chat").await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_and_json_give_the_same_entity() {
    let gateway = stateful().await;
    routed(&gateway).await;
    let by_form = form(
        &gateway,
        "PUT",
        "/plugins/0b1f1f9c-8f0c-4c52-9a1f-000000000001",
        "name=ai-proxy-advanced&route.name=chat&config.targets[1].route_type=llm/v1/chat\
         &config.targets%5B1%5D.model.provider=llama2&config.targets[1].model.name=llama2\
         &config.targets[1].model.options.llama2_format=ollama&config.targets[1].weight=5\
         &config.targets[1].model.options.upstream_url=http://localhost:1/api&config.balancer.retries=3\
         &config.targets[1].logging.log_statistics=true&tags[]=a&tags[]=b",
    )
    .await;
    let by_json = ask(
        &gateway,
        "PUT",
        "/plugins/0b1f1f9c-8f0c-4c52-9a1f-000000000001",
        Some(&json!({"name": "ai-proxy-advanced", "route": {"name": "chat"}, "tags": ["a", "b"], "config": {
            "balancer": {"retries": 3},
            "targets": [{"route_type": "llm/v1/chat", "weight": 5, "logging": {"log_statistics": true},
                "model": {"provider": "llama2", "name": "llama2", "options": {"llama2_format": "ollama",
                    "upstream_url": "http://localhost:1/api"}}}]}})),
    )
    .await;
    assert_eq!((by_form.status, by_json.status), (200, 200), "{by_form:?}");
    let without_time = |mut said: Said| {
        said.body["updated_at"] = Value::Null;
        said.body
    };
    assert_eq!(without_time(by_form), without_time(by_json));
    let global = form(&gateway, "PATCH", "/plugins/0b1f1f9c-8f0c-4c52-9a1f-000000000001", "route.id=").await;
    assert_eq!((global.status, &global.body["route"]), (200, &Value::Null), "an empty value is null");
    let multipart = "--b\r\nContent-Disposition: form-data; name=\"name\"\r\n\r\nparts\r\n\
                     --b\r\nContent-Disposition: form-data; name=\"paths[]\"\r\n\r\n/parts\r\n--b--\r\n";
    let made =
        raw(&gateway, "POST", "/services/ai/routes", "multipart/form-data; boundary=b", multipart).await;
    assert_eq!((made.status, &made.body["paths"]), (201, &json!(["/parts"])), "{made:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn patch_merges_and_put_replaces() {
    let upstream = model().await;
    let gateway = stateful().await;
    routed(&gateway).await;
    let made = post(&gateway, "/routes/chat/plugins", &openai(&upstream)).await;
    let path = format!("/plugins/{}", made.body["id"].as_str().unwrap());
    let changes =
        json!({"config": {"model": {"options": {"temperature": 0.5}}, "max_request_body_size": null}});
    let patched = ask(&gateway, "PATCH", &path, Some(&changes)).await;
    assert_eq!(patched.status, 200, "{patched:?}");
    let options = &patched.body["config"]["model"]["options"];
    assert_eq!((&options["temperature"], &options["input_cost"]), (&json!(0.5), &json!(0.15)));
    assert_eq!(patched.body["config"]["max_request_body_size"], 8192, "null sets back to the default");
    assert_eq!(patched.body["created_at"], made.body["created_at"]);
    // What was masked in the reply comes back and stands for the key.
    let mut whole = patched.body.clone();
    whole["config"]["model"]["options"]["temperature"] = json!(1.5);
    assert_eq!(ask(&gateway, "PUT", &path, Some(&whole)).await.status, 200);
    assert_eq!(asks_model(&gateway, "/chat").await, 200);
    let call = upstream.calls().pop().unwrap();
    assert_eq!(call.header("authorization"), Some("Bearer k1"), "the key behind the mask is still there");
    // PUT without the route makes it global, and without the option there is none.
    let mut global = kong::ai_proxy(&upstream.url());
    global["config"]["auth"] = Value::Null;
    let replaced = ask(&gateway, "PUT", &path, Some(&global)).await;
    assert_eq!((replaced.status, &replaced.body["route"]), (200, &Value::Null), "{replaced:?}");
    assert_eq!(replaced.body["config"]["model"]["options"]["temperature"], Value::Null);
    let masked = json!({"config": {"auth": {"header_name": "Authorization", "header_value": "(masked)"}}});
    let refused = ask(&gateway, "PATCH", &path, Some(&masked)).await;
    let message = refused.body["fields"]["config"]["auth"]["header_value"].as_str().unwrap_or_default();
    assert!(refused.status == 400 && message.contains("send the key itself"), "{refused:?}");
    let put = form(&gateway, "PUT", "/services/by-name", "url=http://h/p").await;
    assert_eq!((put.status, &put.body["name"], &put.body["path"]), (200, &json!("by-name"), &json!("/p")));
    let again = form(&gateway, "PUT", "/services/by-name", "host=other").await;
    assert_eq!((&again.body["id"], &again.body["path"]), (&put.body["id"], &Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_error_has_kongs_code_and_words() {
    let gateway = stateful().await;
    let (service, route) = routed(&gateway).await;
    let nobody = "0dc6f45b-8f8d-40d2-a504-473544ee190b";
    let table = include_str!("admin/errors.json").replace("NOBODY", nobody).replace("SERVICE", &service);
    let rows: Vec<(String, String, Value, u16, Value)> = serde_json::from_str(&table).unwrap();
    for (method, path, body, status, expected) in rows {
        let said = ask(&gateway, &method, &path, Some(&body)).await;
        assert_eq!((said.status, said.body), (status, expected), "{method} {path} {body}");
    }
    let plugin = json!({"name": "key-auth", "route": {"id": route}});
    assert_eq!(post(&gateway, "/plugins", &plugin).await.status, 201);
    let twice = post(&gateway, "/plugins", &plugin).await;
    assert_eq!(twice.status, 409);
    assert_eq!(
        twice.body["message"],
        format!(
            "UNIQUE violation detected on '{{consumer=null,name=\"key-auth\",route={{id=\"{route}\"}},service=null}}'"
        )
    );
    assert_eq!(
        raw(&gateway, "POST", "/services", "application/json", "{").await.body["message"],
        "Cannot parse JSON body"
    );
    let unsupported = raw(&gateway, "POST", "/services", "text/plain", "x").await;
    assert_eq!((unsupported.status, unsupported.body), (415, Value::Null));
    assert_eq!(ask(&gateway, "DELETE", "/services/none", None).await.status, 204, "gone is gone");
    for (path, code) in [("/routes?size=0", 9), ("/routes?offset=x", 7), ("/routes?tags=a,b/c", 11)] {
        let said = get(&gateway, path).await;
        assert_eq!((said.status, &said.body["code"]), (400, &json!(code)), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_store_writes_are_judged_and_then_refused() {
    let config = r#"{"_format_version": "3.0", "services": [{"name": "ai", "url": "http://h:1",
        "routes": [{"name": "chat", "paths": ["/chat"]}]}], "consumers": [{"username": "bob"}]}"#;
    let gateway = Gateway::start(config).await;
    let id = get(&gateway, "/services/ai").await.body["id"].as_str().unwrap().to_owned();
    let by_id = format!("/services/{id}");
    for (method, path, body, message) in [
        (
            "POST",
            "/services",
            json!({"host": "h"}),
            "cannot create 'services' entities when not using a database",
        ),
        (
            "PATCH",
            "/services/ai",
            json!({"host": "h"}),
            "cannot update 'services' entities by 'name' when not using a database",
        ),
        (
            "PATCH",
            &by_id,
            json!({"host": "h"}),
            "cannot update 'services' entities when not using a database",
        ),
        (
            "PUT",
            "/services/new",
            json!({"host": "h"}),
            "cannot create or update 'services' entities by 'name' when not using a database",
        ),
        (
            "DELETE",
            "/routes/chat",
            json!({}),
            "cannot remove 'routes' entities by 'name' when not using a database",
        ),
        (
            "DELETE",
            "/consumers/bob",
            json!({}),
            "cannot remove 'consumers' entities by 'username' when not using a database",
        ),
    ] {
        let said = ask(&gateway, method, path, Some(&body)).await;
        let expected = json!({"code": 12, "name": "operation unsupported", "message": message});
        assert_eq!((said.status, said.body), (405, expected), "{method} {path}");
    }
    assert_eq!(post(&gateway, "/services", &json!({"host": 5})).await.body["code"], 2, "judged first");
    assert_eq!(ask(&gateway, "DELETE", "/services/none", None).await.status, 204);
    assert_eq!(get(&gateway, "/services").await.body["data"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_groups_and_nested_paths() {
    let upstream = model().await;
    let gateway = stateful().await;
    routed(&gateway).await;
    assert_eq!(post(&gateway, "/routes/chat/plugins", &openai(&upstream)).await.status, 201);
    assert_eq!(post(&gateway, "/plugins", &json!({"name": "key-auth"})).await.status, 201);
    assert_eq!(form(&gateway, "POST", "/consumers", "username=bob&custom_id=7").await.status, 201);
    let made = ask(&gateway, "POST", "/consumers/bob/key-auth", None).await;
    let key = made.body["key"].as_str().unwrap().to_owned();
    assert!(made.status == 201 && key.len() == 64, "a key that was made up is shown once: {made:?}");
    assert_eq!(get(&gateway, "/consumers/bob/key-auth").await.body["data"][0]["key"], "(masked)");
    let with_key = |key: String| {
        let request = reqwest::Client::new().post(gateway.url("/chat")).header("apikey", key);
        async move { request.json(&chat("hi")).send().await.unwrap().status().as_u16() }
    };
    assert_eq!((with_key(key).await, with_key("wrong".to_owned()).await), (200, 401));
    let acl = form(&gateway, "POST", "/consumers/bob/acls", "group=gold").await;
    assert_eq!((acl.status, &acl.body["group"]), (201, &json!("gold")));
    assert_eq!(form(&gateway, "POST", "/consumers/bob/acls", "group=gold").await.status, 409);
    assert_eq!(get(&gateway, "/consumers/bob/acls/gold").await.status, 200);
    assert_eq!(form(&gateway, "POST", "/consumer_groups", "name=vip").await.status, 201);
    assert_eq!(form(&gateway, "POST", "/consumer_groups/vip/consumers", "consumer=bob").await.status, 201);
    assert_eq!(get(&gateway, "/consumers/bob/consumer_groups").await.body["data"][0]["name"], "vip");
    assert_eq!(form(&gateway, "PATCH", "/consumers/bob", "tags=x").await.status, 200);
    assert_eq!(get(&gateway, "/consumer_groups/vip/consumers").await.body["data"][0]["username"], "bob");
    assert_eq!(get(&gateway, "/consumers?custom_id=7").await.body["data"].as_array().unwrap().len(), 1);
    assert_eq!(get(&gateway, "/consumers?custom_id=8").await.body["data"].as_array().unwrap().len(), 0);
    assert_eq!(get(&gateway, "/routes/chat/service").await.body["name"], "ai");
    assert_eq!(get(&gateway, "/services/ai/routes/chat").await.status, 200);
    assert_eq!(get(&gateway, "/services/ai/plugins").await.body["data"], json!([]));
    assert_eq!(get(&gateway, "/tags/x").await.body["data"][0]["entity_name"], "consumers");
    // A consumer takes what is his with him.
    assert_eq!(ask(&gateway, "DELETE", "/consumers/bob", None).await.status, 204);
    for path in ["/key-auths", "/acls", "/consumer_groups/vip/consumers"] {
        assert_eq!(get(&gateway, path).await.body["data"], json!([]), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_is_asked_for_everywhere() {
    let gateway = Gateway::start_with(EMPTY, &["--state", "{dir}/state", "--admin-token", "s3cret"]).await;
    for path in ["/", "/services", "/config", "/schemas/routes"] {
        let said = get(&gateway, path).await;
        assert_eq!((said.status, said.body), (401, json!({"message": "Unauthorized"})), "{path}");
    }
    let konnect = "/v2/control-planes/x/core-entities/services";
    let said = get(&gateway, konnect).await;
    assert_eq!((said.status, &said.body["title"]), (401, &json!("Unauthorized")));
    for (name, value) in [("authorization", "Bearer s3cret"), ("kong-admin-token", "s3cret")] {
        let url = format!("http://{}{konnect}", gateway.admin);
        let sent = reqwest::Client::new().get(url).header(name, value).send().await.unwrap();
        assert_eq!(sent.status(), 200, "{name}");
    }
    assert!(!gateway.stderr().contains("s3cret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_gateway_says_of_itself() {
    let gateway = stateful().await;
    let root = get(&gateway, "/").await.body;
    assert_eq!((&root["tagline"], &root["version"]), (&json!("Welcome to kong"), &json!("3.10.0")));
    assert_eq!(root["plugins"]["available_on_server"]["ai-proxy"]["priority"], 770);
    let enabled = get(&gateway, "/plugins/enabled").await.body;
    assert!(enabled["enabled_plugins"].as_array().unwrap().contains(&json!("ai-proxy")));
    let schema = get(&gateway, "/schemas/plugins/ai-proxy").await.body;
    let config = schema["fields"].as_array().unwrap().iter().find_map(|field| field.get("config")).unwrap();
    let route_type =
        config["fields"].as_array().unwrap().iter().find_map(|field| field.get("route_type")).unwrap();
    assert_eq!(route_type["type"], "string");
    assert!(route_type["one_of"].as_array().unwrap().contains(&json!("llm/v1/chat")));
    assert_eq!(get(&gateway, "/schemas/plugins/none").await.status, 404);
    assert_eq!(get(&gateway, "/schemas/nothing").await.body["message"], "No entity named 'nothing'");
    assert!(get(&gateway, "/endpoints").await.body["data"].as_array().unwrap().contains(&json!("/services")));
    let client = reqwest::Client::new();
    let url = format!("http://{}/services", gateway.admin);
    let options = client.request(reqwest::Method::OPTIONS, url).send().await.unwrap();
    let header =
        |name: &str| options.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    assert_eq!((options.status().as_u16(), header("server")), (204, "kong/3.10.0"));
    assert_eq!(header("access-control-allow-origin"), "*");
    assert!(!header("x-kong-admin-latency").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_settings_name_the_state_the_token_and_what_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let settings = dir.path().join("tollgate.yaml");
    let state = dir.path().join("state");
    let text = format!("state: {}\nadmin: {{token: t0ken, reveal_secrets: true}}\n", state.display());
    std::fs::write(&settings, text).unwrap();
    let gateway = Gateway::start_with(EMPTY, &["--server", settings.to_str().unwrap()]).await;
    let consumers = format!("http://{}/consumers", gateway.admin);
    assert_eq!(get(&gateway, "/consumers").await.status, 401);
    let client = reqwest::Client::new();
    let send = async |request: reqwest::RequestBuilder| {
        said(request.bearer_auth("t0ken").send().await.unwrap()).await
    };
    assert_eq!(send(client.post(&consumers).json(&json!({"username": "bob"}))).await.status, 201);
    let keys = format!("{consumers}/bob/key-auth");
    let made = send(client.post(&keys).json(&json!({"key": "as it is"}))).await;
    assert_eq!((made.status, &made.body["key"]), (201, &json!("as it is")));
    assert_eq!(send(client.get(&keys)).await.body["data"][0]["key"], "as it is");
    assert!(state.join("state.json").exists());
    let (status, _, stderr) = support::gateway::finish(&["run", "--state", "x", "--admin-token", ""]);
    assert!(status != 0 && stderr.contains("the token is empty"), "{stderr}");
    let (status, _, stderr) = support::gateway::finish(&["run"]);
    assert!(status != 0 && stderr.contains("--config"), "{stderr}");
}
