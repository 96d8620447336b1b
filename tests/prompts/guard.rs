//! The guard under load.

use super::*;
use std::time::{Duration, Instant};
use support::chat;

#[tokio::test(flavor = "multi_thread")]
async fn a_pathological_pattern_on_a_mebibyte_is_stopped_and_others_are_served() {
    let upstream = Upstream::always(completion()).await;
    let guard = plugin(
        "ai-prompt-guard",
        &json!({"deny_patterns": ["fine", "(?=a*c)x"], "max_request_body_size": 2_000_000}),
    );
    let routes = [
        kong::route("/guarded", &[guard, kong::ai_proxy(&upstream.url())]),
        kong::route("/free", &[kong::ai_proxy(&upstream.url())]),
    ];
    let gateway = Gateway::start(&kong::file(&routes)).await;
    let long = chat(&"a".repeat(1024 * 1024)).to_string();
    let refused = async {
        let mut best = Duration::MAX;
        for _ in 0..5 {
            let began = Instant::now();
            let answer = post(&gateway, "/guarded", &long).await;
            best = best.min(began.elapsed());
            let expected = "the prompt could not be checked: deny_patterns[1] takes too many steps on it; \
                            send a shorter prompt, or have the pattern simplified";
            assert_eq!((answer.status, &*message(&answer)), (400, expected));
        }
        best
    };
    let served = async {
        for _ in 0..50 {
            assert_eq!(post(&gateway, "/free", chat("hi").to_string()).await.status, 200);
            assert_eq!(post(&gateway, "/guarded", chat("hi").to_string()).await.status, 200);
        }
    };
    let (best, ()) = tokio::join!(refused, served);
    // The pattern's own time is bounded where it is measured alone; here are also a mebibyte sent, read and
    // parsed by a build for tests.
    assert!(best < Duration::from_secs(1), "{best:?}");
    gateway.counts("tollgate_blocked_total", &["ai-prompt-guard"], 5.0).await;
    assert_eq!(upstream.calls().len(), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_blocked_is_counted_and_not_logged() {
    let upstream = Upstream::always(completion()).await;
    let guard = plugin("ai-prompt-guard", &json!({"deny_patterns": ["forbidden"]}));
    let log = plugin("file-log", &json!({"path": "{dir}/log", "reopen": true}));
    let route = kong::route("/r", &[guard, log, kong::ai_proxy(&upstream.url())]);
    let gateway = Gateway::start(&kong::file(&[route])).await;
    let answer = post(&gateway, "/r", chat("forbidden words").to_string()).await;
    assert_eq!((answer.status, &*message(&answer)), (400, "bad request"));
    gateway.counts("tollgate_blocked_total", &["ai-prompt-guard"], 1.0).await;
    support::eventually("a record", async || gateway.records("log").len() == 1).await;
    assert!(!gateway.records("log")[0].to_string().contains("forbidden words"));
    assert!(!gateway.stderr().contains("forbidden words") && upstream.calls().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pattern_that_does_not_compile_is_refused_with_its_place() {
    let guard = plugin(
        "ai-prompt-guard",
        &json!({"allow_patterns": ["fine"], "deny_patterns": ["fine", "(", "(?<=a"]}),
    );
    let transformer = kong::transformer(
        "ai-request-transformer",
        "http://127.0.0.1:9",
        &json!({
        "transformation_extract_pattern": "["}),
    );
    let config = kong::file(&[kong::route("/r", &[guard, transformer])]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kong.yaml");
    std::fs::write(&file, config).unwrap();
    let (code, _, said) = support::gateway::finish(&["check", file.to_str().unwrap()]);
    assert_eq!(code, 1);
    for place in [
        "[0].config.deny_patterns[1]: ",
        "[0].config.deny_patterns[2]: ",
        "[1].config.transformation_extract_pattern: ",
    ] {
        assert!(said.contains(&format!("{place}the pattern does not compile: ")), "{place}: {said}");
    }
}
