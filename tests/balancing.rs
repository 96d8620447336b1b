//! Several targets behind one route: who gets which request, as clients see it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy exempts only the test functions themselves"
)]

mod support;

use serde_json::{Value, json};
use support::client::{Answer, Connection};
use support::gateway::Gateway;
use support::upstream::{Reply, Upstream};
use support::{chat, eventually, kong};

/// A target towards an OpenAI-shaped upstream, with changes.
fn target(upstream: &Upstream, name: &str, changes: &Value) -> Value {
    let mut target = json!({"route_type": "llm/v1/chat", "model": {
        "provider": "openai", "name": name, "options": {"upstream_url": upstream.url()}}});
    for (field, value) in changes.as_object().unwrap() {
        if field == "model_alias" {
            target["model"][field] = value.clone();
        } else {
            target[field] = value.clone();
        }
    }
    target
}

fn advanced(config: &Value) -> Value {
    json!({"name": "ai-proxy-advanced", "config": config})
}

/// An upstream that says its name.
async fn named(name: &str) -> Upstream {
    Upstream::always(Reply::json(&json!({
        "id": "c", "object": "chat.completion", "created": 1, "model": name,
        "usage": {"prompt_tokens": 10, "completion_tokens": 10, "total_tokens": 20},
        "choices": [{"index": 0, "message": {"role": "assistant", "content": name}, "finish_reason": "stop"}]
    })))
    .await
}

async fn ask(gateway: &Gateway, headers: &str, body: &Value) -> Answer {
    let mut client = Connection::open(gateway.proxy).await;
    client.request(&format!("POST /chat HTTP/1.1{headers}"), body.to_string()).await.answer().await
}

/// Which model `X-Kong-LLM-Model` says it was.
async fn model(gateway: &Gateway, headers: &str, body: &Value) -> String {
    let answer = ask(gateway, headers, body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.header("x-kong-llm-model").unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_stays_where_it_is_also_over_a_reload() {
    let (one, two, three) = (named("a").await, named("b").await, named("c").await);
    let config = |targets: &[Value]| {
        let balancer = json!({"algorithm": "consistent-hashing", "hash_on_header": "X-Session"});
        let plugin = advanced(&json!({"balancer": balancer, "targets": targets}));
        kong::file(&[kong::route("/chat", &[plugin])])
    };
    let none = json!({});
    let two_targets = [target(&one, "a", &none), target(&two, "b", &none)];
    let gateway = Gateway::start(&config(&two_targets)).await;
    let home =
        async |session: usize| model(&gateway, &format!("\r\nx-session: s{session}"), &chat("hi")).await;
    let mut homes = Vec::new();
    for session in 0..40 {
        homes.push(home(session).await);
        assert_eq!(home(session).await, homes[session]);
    }
    assert!(homes.iter().any(|home| home == "openai/a") && homes.iter().any(|home| home == "openai/b"));
    let [first, second] = two_targets;
    gateway.reload(&config(&[second, target(&three, "c", &none), first]));
    gateway.counts("tollgate_config_reloads_total", &["ok"], 1.0).await;
    let mut moved = 0;
    for (session, before) in homes.iter().enumerate() {
        let now = home(session).await;
        assert!(now == *before || now == "openai/c", "{before} became {now}");
        moved += usize::from(now != *before);
    }
    assert!((1..30).contains(&moved), "{moved} of 40 moved to the third of three");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_may_ask_by_an_alias() {
    let (one, two) = (named("a").await, named("b").await);
    let targets = [
        target(&one, "a", &json!({"model_alias": "quick"})),
        target(&two, "b", &json!({"model_alias": "good"})),
    ];
    let plugin = advanced(&json!({"targets": targets}));
    let gateway = Gateway::start(&kong::file(&[kong::route("/chat", &[plugin])])).await;
    let mut body = chat("hi");
    for (asked, expected) in [("good", "openai/b"), ("quick", "openai/a")] {
        body["model"] = asked.into();
        for _ in 0..4 {
            assert_eq!(model(&gateway, "", &body).await, expected);
        }
    }
    assert_eq!(one.calls()[0].json()["model"], "a", "the upstream gets the model's own name");
    body["model"] = "unknown".into();
    assert_eq!(ask(&gateway, "", &body).await.status, 400);
}

/// What a model of embeddings answers.
fn embedding(vector: [f32; 2]) -> Reply {
    Reply::json(
        &json!({"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": vector}]}),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn prompts_go_to_the_target_that_is_described_for_them() {
    let (code, poems, rest) = (named("code").await, named("poems").await, named("rest").await);
    // The first tries at the descriptions fail: until they succeed, everything goes to the rest.
    let embeddings = Upstream::scripted(vec![Reply::body(503, &[], "busy")]).await;
    let targets = [
        target(&code, "code", &json!({"description": "programs"})),
        target(&poems, "poems", &json!({"description": "poems"})),
        target(&rest, "rest", &json!({"description": "CATCHALL"})),
    ];
    let plugin = advanced(&json!({
        "balancer": {"algorithm": "semantic"},
        "embeddings": {
            "auth": {"header_name": "authorization", "header_value": "Bearer key"},
            "model": {"provider": "openai", "name": "text-embedding-3-small",
                      "options": {"upstream_url": embeddings.url()}}
        },
        "vectordb": {"strategy": "redis", "dimensions": 2, "distance_metric": "cosine", "threshold": 0.5},
        "targets": targets
    }));
    let guard = json!({"name": "ai-prompt-guard", "config": {"deny_patterns": ["secret"]}});
    let gateway = Gateway::start(&kong::file(&[kong::route("/chat", &[plugin, guard])])).await;
    eventually("the first try has failed", async || {
        gateway.stderr().contains("the embeddings model answered 503")
    })
    .await;
    assert_eq!(model(&gateway, "", &chat("a program")).await, "openai/rest");
    embeddings.push(embedding([1.0, 0.0]));
    embeddings.push(embedding([0.0, 1.0]));
    // A second after the failure it is tried again.
    eventually("the descriptions are embedded", async || embeddings.calls().len() == 3).await;
    embeddings.push(embedding([0.9, 0.1]));
    eventually("a program goes to its target", async || {
        model(&gateway, "", &chat("a program")).await == "openai/code"
    })
    .await;
    for (prompt, vector, expected) in [
        ("a sonnet", [0.2, 0.9], "openai/poems"),
        ("the weather", [-1.0, -1.0], "openai/rest"),
        ("a bug", [1.0, 0.0], "openai/code"),
    ] {
        embeddings.push(embedding(vector));
        assert_eq!(model(&gateway, "", &chat(prompt)).await, expected);
    }
    let calls = embeddings.calls();
    let texts: Vec<_> =
        calls[1..].iter().map(|call| call.json()["input"].as_str().unwrap().to_owned()).collect();
    assert_eq!(texts, ["programs", "poems", "a program", "a sonnet", "the weather", "a bug"]);
    assert!(calls.iter().all(|call| call.line == "POST /v1/embeddings HTTP/1.1"));
    assert!(calls.iter().all(|call| call.header("authorization") == Some("Bearer key")));
    assert_eq!(ask(&gateway, "", &chat("a secret")).await.status, 400);
    assert_eq!(model(&gateway, "", &chat("a bug")).await, "openai/code");
    assert_eq!(embeddings.calls().len(), 7, "neither a stopped prompt nor a known one is embedded");
    // Without the model: the rest, at once or after one failed call.
    assert_eq!(model(&gateway, "", &chat("another program")).await, "openai/rest");
    assert!(gateway.stderr().contains("a prompt is routed without its embedding"), "{}", gateway.stderr());
}
