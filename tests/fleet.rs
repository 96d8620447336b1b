//! Several gateways on one store: nothing is lost, everybody converges, and a store that is away
//! takes no request with it.

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
use std::time::{Duration, Instant};
use support::eventually;
use support::gateway::Gateway;
use support::redis::Redis;
use support::upstream::{Reply, Upstream};

const EMPTY: &str = r#"{"_format_version": "3.0"}"#;

async fn server() -> Option<Redis> {
    let redis = Redis::start().await;
    if redis.is_none() {
        eprintln!("skipped: there is no Redis or Valkey and none could be installed");
    }
    redis
}

/// The number of services that a gateway knows.
async fn count(gateway: &Gateway) -> usize {
    let (mut count, mut next) = (0, Some("/services?size=1000".to_owned()));
    while let Some(path) = next {
        let page: Value =
            reqwest::get(format!("http://{}{path}", gateway.admin)).await.unwrap().json().await.unwrap();
        count += page["data"].as_array().unwrap().len();
        next = page["next"].as_str().map(ToOwned::to_owned);
    }
    count
}

async fn status(gateway: &Gateway) -> Value {
    reqwest::get(format!("http://{}/status", gateway.admin)).await.unwrap().json().await.unwrap()
}

async fn write(client: &reqwest::Client, gateway: &Gateway, name: &str) -> u16 {
    let url = format!("http://{}/services", gateway.admin);
    let service = json!({"name": name, "host": "h"});
    client.post(url).json(&service).send().await.unwrap().status().as_u16()
}

/// Writes until it is done: what failed may have happened, and then the name is taken.
async fn insist(client: &reqwest::Client, gateway: &Gateway, name: &str) {
    let until = Instant::now() + Duration::from_mins(1);
    loop {
        match write(client, gateway, name).await {
            201 | 409 => return,
            500 => assert!(Instant::now() < until, "{name} was never written"),
            other => panic!("{name}: {other}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_through_two_gateways_are_all_kept() {
    let Some(mut redis) = server().await else { return };
    let url = redis.url();
    let one = Gateway::start_with(EMPTY, &["--store", &url]).await;
    let two = Gateway::start_with(EMPTY, &["--store", &url]).await;
    let client = reqwest::Client::new();
    assert_eq!(write(&client, &two, "at-once").await, 201);
    eventually("the first sees it", async || count(&one).await == 1).await;
    for gateway in [&one, &two] {
        assert!(!gateway.stderr().contains("away"), "{}", gateway.stderr());
    }
    let writer = async |first: usize| {
        for number in (first..500).step_by(10) {
            let gateway = if number % 2 == 0 { &one } else { &two };
            insist(&client, gateway, &format!("s{number}")).await;
        }
    };
    let writers = async {
        tokio::join!(
            writer(0),
            writer(1),
            writer(2),
            writer(3),
            writer(4),
            writer(5),
            writer(6),
            writer(7),
            writer(8),
            writer(9),
        );
    };
    let interruption = async {
        eventually("half a hundred are written", async || count(&one).await >= 50).await;
        redis.kill();
        eventually("both say so", async || {
            let away = json!(false);
            status(&one).await["database"]["reachable"] == away
                && status(&two).await["database"]["reachable"] == away
        })
        .await;
        redis.restart().await;
    };
    tokio::join!(writers, interruption);
    eventually("both know all", async || count(&one).await == 501 && count(&two).await == 501).await;
    let (first, second) = (status(&one).await, status(&two).await);
    assert_eq!(first["configuration_hash"], second["configuration_hash"]);
    assert_eq!(first["database"], json!({"reachable": true, "store": "redis"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_takes_no_request_with_it() {
    let Some(mut redis) = server().await else { return };
    let url = redis.url();
    let upstream = Upstream::always(Reply::json(&json!({"plain": true}))).await;
    let config = json!({"_format_version": "3.0", "services": [{"name": "s", "url": upstream.url(),
        "routes": [{"name": "r", "paths": ["/r"]}]}]});
    let place = tempfile::tempdir().unwrap();
    let copy = place.path().join("copy").to_str().unwrap().to_owned();
    let one = Gateway::start_with(&config.to_string(), &["--store", &url, "--state", &copy]).await;
    let two = Gateway::start_with(EMPTY, &["--store", &url]).await;
    let client = reqwest::Client::new();
    let serves = async |gateway: &Gateway, path: &str| {
        client.get(gateway.url(path)).send().await.unwrap().status().as_u16()
    };
    assert_eq!(serves(&two, "/r").await, 200, "what one began the other knows");
    let route = json!({"name": "new", "paths": ["/new"], "service": {"name": "s"}});
    let made = client.post(format!("http://{}/routes", two.admin)).json(&route).send().await.unwrap();
    assert_eq!(made.status(), 201);
    let told = Instant::now();
    eventually("the other gateway serves it", async || serves(&one, "/new").await == 200).await;
    assert!(told.elapsed() < Duration::from_secs(1), "{:?}", told.elapsed());
    redis.kill();
    one.counts("kong_datastore_reachable", &[], 0.0).await;
    assert_eq!((serves(&one, "/new").await, serves(&two, "/new").await), (200, 200));
    assert_eq!(write(&client, &one, "late").await, 500);
    // A start without the server takes the copy.
    drop(one);
    let one = Gateway::start_with(EMPTY, &["--store", &url, "--state", &copy]).await;
    assert_eq!(serves(&one, "/new").await, 200);
    redis.restart().await;
    one.counts("kong_datastore_reachable", &[], 1.0).await;
    insist(&client, &one, "after").await;
    eventually("the other knows", async || count(&two).await == 2).await;
}
