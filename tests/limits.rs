//! rate-limiting over a Redis server: gateways share their limits, and what happens when it is away.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::indexing_slicing,
    reason = "clippy exempts only the test functions themselves"
)]

mod support;

use serde_json::{Value, json};
use support::gateway::Gateway;
use support::network::{AUTHORITY, tls};
use support::redis::Redis;
use support::upstream::{Reply, Upstream};
use support::{eventually, kong};

async fn server() -> Option<Redis> {
    let redis = Redis::start().await;
    if redis.is_none() {
        eprintln!("skipped: there is no Redis or Valkey and none could be installed");
    }
    redis
}

fn limiting(redis: &Redis, changes: &Value) -> Value {
    let mut plugin = json!({"name": "rate-limiting", "config": {"year": 3, "policy": "redis",
        "redis": {"host": "127.0.0.1", "port": redis.address.port(), "timeout": 1000}}});
    kong::merge(&mut plugin["config"], changes);
    plugin
}

/// A plain route `/plain` with the plugin and an upstream that always answers.
async fn gateway(plugin: &Value) -> (Gateway, Upstream) {
    let upstream = Upstream::always(Reply::json(&json!({"plain": true}))).await;
    let routes = [kong::route("/plain", std::slice::from_ref(plugin))];
    let gateway = Gateway::start(&kong::file_with(&json!({"url": upstream.url()}), &routes)).await;
    (gateway, upstream)
}

async fn get(gateway: &Gateway) -> reqwest::Response {
    reqwest::get(gateway.url("/plain")).await.unwrap()
}

fn header(answer: &reqwest::Response, name: &str) -> String {
    answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn gateways_share_a_limit_in_kongs_own_keys() {
    let Some(redis) = server().await else { return };
    let plugin = limiting(&redis, &json!({"month": 3, "limit_by": "ip"}));
    let ((one, _a), (two, _b)) = (gateway(&plugin).await, gateway(&plugin).await);
    for (gateway, left) in [(&one, "2"), (&two, "1"), (&one, "0")] {
        let answer = get(gateway).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(header(&answer, "x-ratelimit-limit-year"), "3");
        assert_eq!(header(&answer, "x-ratelimit-remaining-year"), left);
        assert_eq!(header(&answer, "ratelimit-remaining"), left);
    }
    for gateway in [&one, &two] {
        let answer = get(gateway).await;
        assert_eq!(answer.status(), 429);
        assert!(header(&answer, "retry-after").parse::<u64>().unwrap() > 0);
        let body: Value = answer.json().await.unwrap();
        assert_eq!(body["message"], "API rate limit exceeded");
    }
    let client = redis::Client::open(redis.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut connection).await.unwrap();
    assert_eq!(keys.len(), 2, "{keys:?}");
    for key in keys {
        let parts: Vec<&str> = key.split(':').collect();
        let &[name, route, service, caller, begun, period] = &parts[..] else { panic!("{key}") };
        assert_eq!(
            (name, service, caller),
            ("ratelimit", "00000000-0000-0000-0000-000000000000", "127.0.0.1")
        );
        assert!(route.len() == 36 && route != service, "{key}");
        assert!(
            begun.parse::<u64>().unwrap() % 86_400_000 == 0 && ["month", "year"].contains(&period),
            "{key}"
        );
        let seen: u64 = redis::cmd("GET").arg(&key).query_async(&mut connection).await.unwrap();
        let left: i64 = redis::cmd("TTL").arg(&key).query_async(&mut connection).await.unwrap();
        assert_eq!(seen, 3, "refusals are not counted");
        assert!(left > 86_400, "{left}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_at_once_do_not_pass_the_limit() {
    let Some(redis) = server().await else { return };
    let (gateway, upstream) = gateway(&limiting(&redis, &json!({"year": 20}))).await;
    let asked: Vec<_> = (0..50).map(|_| tokio::spawn(reqwest::get(gateway.url("/plain")))).collect();
    let mut passed = 0;
    for answer in asked {
        passed += usize::from(answer.await.unwrap().unwrap().status() == 200);
    }
    assert_eq!((passed, upstream.calls().len()), (20, 20));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_away_stops_requests_only_where_it_should() {
    let Some(mut redis) = server().await else { return };
    let (tolerant, _a) = gateway(&limiting(&redis, &json!({"fault_tolerant": true}))).await;
    let (strict, _b) = gateway(&limiting(&redis, &json!({"fault_tolerant": false}))).await;
    for gateway in [&tolerant, &strict] {
        assert_eq!(get(gateway).await.status(), 200);
    }
    redis.kill();
    for _ in 0..5 {
        let answer = get(&tolerant).await;
        assert_eq!((answer.status().as_u16(), header(&answer, "ratelimit-limit")), (200, String::new()));
        let answer = get(&strict).await;
        assert_eq!(answer.status(), 500);
        let body: Value = answer.json().await.unwrap();
        assert_eq!(body["message"], "An unexpected error occurred");
    }
    assert!(tolerant.stderr().contains("the Redis of a plugin failed"), "{}", tolerant.stderr());
    redis.restart().await;
    for gateway in [&tolerant, &strict] {
        eventually("the limit holds again", async || header(&get(gateway).await, "ratelimit-limit") == "3")
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ai_routes_are_limited_too() {
    let Some(redis) = server().await else { return };
    let upstream = Upstream::always(Reply::json(&json!({"model": "m", "choices": [],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}})))
    .await;
    let plugins = [limiting(&redis, &json!({"year": 1})), kong::ai_proxy(&upstream.url())];
    let gateway = Gateway::start(&kong::file(&[kong::route("/ai", &plugins)])).await;
    let client = reqwest::Client::new();
    for status in [200, 429] {
        let answer = client.post(gateway.url("/ai")).json(&support::chat("hi")).send().await.unwrap();
        assert_eq!(answer.status(), status);
        assert_eq!(header(&answer, "x-ratelimit-remaining-year"), "0");
    }
    assert_eq!(upstream.calls().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_counted_over_tls_with_a_server_that_is_trusted() {
    let Some(redis) = server().await else { return };
    let port = tls(redis.address).await.port();
    for (verify, trusted, status) in [(true, true, 200), (true, false, 500), (false, false, 200)] {
        let changes = json!({"fault_tolerant": false, "year": 100,
            "redis": {"port": port, "ssl": true, "ssl_verify": verify, "timeout": 20_000}});
        let upstream = Upstream::always(Reply::json(&json!({"plain": true}))).await;
        let routes = [kong::route("/plain", &[limiting(&redis, &changes)])];
        let file = kong::file_with(&json!({"url": upstream.url()}), &routes);
        let environment: &[(&str, &str)] = if trusted { &[("SSL_CERT_FILE", AUTHORITY)] } else { &[] };
        let gateway = Gateway::start_in(&file, environment).await;
        assert_eq!(get(&gateway).await.status(), status, "verify {verify}, trusted {trusted}");
    }
}

/// What a server has in its only key.
async fn counted(redis: &Redis) -> u64 {
    let client = redis::Client::open(redis.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut connection).await.unwrap();
    match keys.as_slice() {
        [] => 0,
        [key] => redis::cmd("GET").arg(key).query_async(&mut connection).await.unwrap(),
        several => panic!("{several:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn between_two_exchanges_with_the_server_requests_are_counted_here() {
    let Some(mut redis) = server().await else { return };
    let plugin = limiting(&redis, &json!({"sync_rate": 3600, "fault_tolerant": false}));
    let (gateway, _upstream) = gateway(&plugin).await;
    assert_eq!(get(&gateway).await.status(), 200);
    assert_eq!(counted(&redis).await, 0, "nothing was told yet");
    redis.kill();
    for (status, left) in [(200, "1"), (200, "0"), (429, "0")] {
        let answer = get(&gateway).await;
        assert_eq!(
            (answer.status().as_u16(), &*header(&answer, "x-ratelimit-remaining-year")),
            (status, left)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn gateways_that_count_for_themselves_meet_at_the_server() {
    let Some(redis) = server().await else { return };
    let plugin = limiting(&redis, &json!({"year": 5, "sync_rate": 0.05}));
    let ((one, _a), (two, _b)) = (gateway(&plugin).await, gateway(&plugin).await);
    for _ in 0..3 {
        assert_eq!(get(&one).await.status(), 200);
    }
    eventually("the first told the server", async || counted(&redis).await == 3).await;
    for (status, left) in [(200, "1"), (200, "0"), (429, "0")] {
        let answer = get(&two).await;
        assert_eq!(
            (answer.status().as_u16(), &*header(&answer, "x-ratelimit-remaining-year")),
            (status, left)
        );
    }
    eventually("the second told it too", async || counted(&redis).await == 5).await;
    eventually("the first learned of it", async || get(&one).await.status() == 429).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_told_is_told_later() {
    let Some(mut redis) = server().await else { return };
    let (gateway, _upstream) = gateway(&limiting(&redis, &json!({"sync_rate": 1}))).await;
    for _ in 0..2 {
        assert_eq!(get(&gateway).await.status(), 200);
    }
    redis.kill();
    eventually("it was missed", async || gateway.stderr().contains("the Redis of a plugin failed")).await;
    redis.restart().await;
    eventually("it was told", async || counted(&redis).await == 2).await;
}
