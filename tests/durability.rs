//! What the Admin API has acknowledged is there after `kill -9`, and nothing else.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy exempts only the test functions themselves"
)]

mod support;

use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use support::gateway::Gateway;
use support::upstream::{Reply, Upstream};

const EMPTY: &str = r#"{"_format_version": "3.0"}"#;

/// The names of all routes.
async fn names(gateway: &Gateway) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut next = Some("/routes?size=1000".to_owned());
    while let Some(path) = next {
        let page: Value =
            reqwest::get(format!("http://{}{path}", gateway.admin)).await.unwrap().json().await.unwrap();
        for route in page["data"].as_array().unwrap() {
            found.insert(route["name"].as_str().unwrap().to_owned());
        }
        next = page["next"].as_str().map(ToOwned::to_owned);
    }
    found
}

async fn write(gateway: &Gateway, name: &str) -> bool {
    let route = json!({"name": name, "paths": [format!("/{name}")]});
    let url = format!("http://{}/routes", gateway.admin);
    let sent = reqwest::Client::new().post(url).json(&route).send().await;
    sent.is_ok_and(|reply| reply.status() == 201)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_leaves_what_was_acknowledged() {
    let place = tempfile::tempdir().unwrap();
    let state = place.path().join("state").to_str().unwrap().to_owned();
    let mut acknowledged = BTreeSet::new();
    let mut tried = 0;
    for round in 0..20 {
        let gateway = Gateway::start_with(EMPTY, &["--state", &state]).await;
        let kept = names(&gateway).await;
        let lost: Vec<_> = acknowledged.difference(&kept).collect();
        assert!(lost.is_empty(), "round {round}: acknowledged and lost: {lost:?}");
        // Of writes that were never answered, at most the one that was under way may have happened.
        assert!(kept.len() <= acknowledged.len() + 1, "round {round}: {} too many", kept.len());
        acknowledged = kept;
        // The kill falls into another moment of another write each time.
        let done = AtomicUsize::new(0);
        let killer = async {
            while done.load(Ordering::Relaxed) <= round % 7 + 7 {
                tokio::time::sleep(Duration::from_micros(200)).await;
            }
            tokio::time::sleep(Duration::from_micros(311 * u64::try_from(round).unwrap())).await;
            gateway.signal("KILL");
        };
        let writer = async {
            for _ in 0..1000 {
                tried += 1;
                let name = format!("r{tried}");
                if !write(&gateway, &name).await {
                    break;
                }
                acknowledged.insert(name);
                done.fetch_add(1, Ordering::Relaxed);
            }
        };
        tokio::join!(killer, writer);
    }
    let gateway = Gateway::start_with(EMPTY, &["--state", &state]).await;
    let kept = names(&gateway).await;
    assert!(acknowledged.is_subset(&kept) && kept.len() <= acknowledged.len() + 1);
    assert!(kept.len() >= 200, "{} writes came through", kept.len());
    // A quiet gateway loses and gains nothing.
    for step in 0..3 {
        assert!(write(&gateway, &format!("quiet{step}")).await);
    }
    let before = names(&gateway).await;
    gateway.signal("KILL");
    drop(gateway);
    let gateway = Gateway::start_with(EMPTY, &["--state", &state]).await;
    assert_eq!(names(&gateway).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_files_begin_a_state_and_never_overwrite_it() {
    let place = tempfile::tempdir().unwrap();
    let state = place.path().join("state").to_str().unwrap().to_owned();
    let config = |name: &str| json!({"_format_version": "3.0", "routes": [{"name": name, "paths": ["/x"]}]});
    let gateway = Gateway::start_with(&config("first").to_string(), &["--state", &state]).await;
    assert!(write(&gateway, "second").await);
    drop(gateway);
    let gateway = Gateway::start_with(&config("third").to_string(), &["--state", &state]).await;
    assert_eq!(names(&gateway).await, BTreeSet::from(["first".to_owned(), "second".to_owned()]));
    let (status, _, stderr) = support::gateway::finish(&["run", "--state", &state]);
    assert_eq!(status, 1);
    assert!(stderr.contains("in use by another process"), "{stderr}");
    let (status, ..) = support::gateway::finish(&["check", &format!("{state}/state.json")]);
    assert_eq!(status, 0, "what is kept is a declarative file");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_changes_fail_no_request() {
    let upstream = Upstream::always(Reply::json(&json!({"plain": true}))).await;
    let config = json!({"_format_version": "3.0", "services": [{"name": "s", "url": upstream.url(),
        "routes": [{"name": "fixed", "paths": ["/fixed"]}]}]});
    let gateway = Gateway::start_with(&config.to_string(), &["--state", "{dir}/state"]).await;
    let done = AtomicBool::new(false);
    let client = reqwest::Client::new();
    let load = async {
        let mut served = 0;
        while !done.load(Ordering::Relaxed) {
            let reply = client.get(gateway.url("/fixed")).send().await.unwrap();
            assert_eq!(reply.status(), 200, "after {served}");
            served += 1;
        }
        served
    };
    let changes = async {
        let admin = reqwest::Client::new();
        let url = format!("http://{}/routes/other", gateway.admin);
        for step in 0..1000 {
            let route = json!({"paths": [format!("/other{step}")], "service": {"name": "s"}});
            assert_eq!(admin.put(&url).json(&route).send().await.unwrap().status(), 200, "{step}");
        }
        done.store(true, Ordering::Relaxed);
    };
    let (first, second, ()) = tokio::join!(load, load_twice(&gateway, &done), changes);
    assert!(first > 100 && second > 100, "{first} and {second} requests met 1,000 changes");
    let last = reqwest::get(gateway.url("/other999")).await.unwrap();
    assert_eq!(last.status(), 200);
}

/// A second client, with connections of its own.
async fn load_twice(gateway: &Gateway, done: &AtomicBool) -> usize {
    let mut served = 0;
    while !done.load(Ordering::Relaxed) {
        assert_eq!(reqwest::get(gateway.url("/fixed")).await.unwrap().status(), 200);
        served += 1;
    }
    served
}
