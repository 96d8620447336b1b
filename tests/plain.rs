//! Plain services: any HTTP service of a Kong file, streamed both ways.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy exempts only the test functions themselves"
)]

#[path = "plain/echo.rs"]
mod echo;
#[path = "plain/failures.rs"]
mod failures;
mod support;

use bytes::Bytes;
use serde_json::{Value, json};
use std::time::Duration;
use support::client::{Answer, Connection};
use support::gateway::{Gateway, PATIENCE, free};
use support::upstream::{Gate, Reply, Step, Upstream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

fn kong(services: &[Value]) -> String {
    json!({"_format_version": "3.0", "services": services}).to_string()
}

fn service(name: &str, url: &str, routes: &[Value]) -> Value {
    json!({"name": name, "url": url, "routes": routes})
}

async fn gateway(url: &str, routes: &[Value]) -> Gateway {
    Gateway::start(&kong(&[service("s", url, routes)])).await
}

async fn get(gateway: &Gateway, head: &str) -> Answer {
    let mut client = Connection::open(gateway.proxy).await;
    client.send(format!("GET {head}\r\n\r\n")).await.answer().await
}

fn text() -> Reply {
    Reply::body(
        200,
        &[("content-type", "text/plain"), ("x-own", "1"), ("set-cookie", "a=1"), ("set-cookie", "b=2")],
        "hello",
    )
}

#[tokio::test]
async fn paths_are_joined_as_kong_joins_them() {
    let upstream = Upstream::always(text()).await;
    let plain =
        |name: &str, path: &str, strip: bool| json!({"name": name, "paths": [path], "strip_path": strip});
    let below = service(
        "below",
        &format!("{}/base", upstream.url()),
        &[
            plain("b1", "/below-strip", true),
            plain("b2", "/below-keep", false),
            plain("b3", "~/below-regex/\\d+", true),
        ],
    );
    let root = service(
        "root",
        &upstream.url(),
        &[
            plain("r1", "/strip", true),
            plain("r2", "/keep", false),
            plain("r3", "/slash/", true),
            plain("r4", "~/regex/(?<id>\\d+)", true),
        ],
    );
    let gateway = Gateway::start(&kong(&[below, root])).await;
    for (asked, expected) in [
        ("/strip", "/"),
        ("/strip/", "/"),
        ("/strip/a/b", "/a/b"),
        ("/stripped", "/ped"),
        ("/strip?x=1&y=%20&x=2", "/?x=1&y=%20&x=2"),
        ("/strip/a%2Fb?q=%2F", "/a%2Fb?q=%2F"),
        ("/keep", "/keep"),
        ("/keep/a?x", "/keep/a?x"),
        ("/slash/a", "/a"),
        ("/regex/42/a", "/a"),
        ("/below-strip", "/base"),
        ("/below-strip/a", "/base/a"),
        ("/below-keep/a", "/base/below-keep/a"),
        ("/below-regex/7/a?b=c", "/base/a?b=c"),
    ] {
        let answer = get(&gateway, &format!("{asked} HTTP/1.1\r\nhost: x")).await;
        assert_eq!(answer.status, 200, "{asked}: {}", answer.text());
        let line = upstream.calls().pop().unwrap().line;
        assert_eq!(line, format!("GET {expected} HTTP/1.1"), "{asked}");
    }
}

#[tokio::test]
async fn the_service_learns_who_asked_and_how() {
    let upstream = Upstream::always(text()).await;
    let routes = [
        json!({"name": "own", "paths": ["/own"]}),
        json!({"name": "kept", "paths": ["/kept"], "preserve_host": true, "strip_path": false}),
    ];
    let gateway = gateway(&upstream.url(), &routes).await;
    let forged = "x-forwarded-for: 6.6.6.6\r\nx-real-ip: 6.6.6.6\r\nx-forwarded-host: evil\r\nx-forwarded-prefix: /evil";
    get(&gateway, &format!("/own/a?q=1 HTTP/1.1\r\nhost: api.test:8080\r\n{forged}\r\nx-mine: kept")).await;
    let call = upstream.calls().remove(0);
    let expected = [
        ("host", upstream.address.to_string()),
        ("x-real-ip", "127.0.0.1".to_owned()),
        ("x-forwarded-for", "6.6.6.6, 127.0.0.1".to_owned()),
        ("x-forwarded-proto", "http".to_owned()),
        ("x-forwarded-host", "api.test".to_owned()),
        ("x-forwarded-port", "8080".to_owned()),
        ("x-forwarded-path", "/own/a".to_owned()),
        ("x-forwarded-prefix", "/own".to_owned()),
        ("via", "1.1 kong/3.10.0".to_owned()),
        ("x-mine", "kept".to_owned()),
    ];
    for (name, value) in &expected {
        let found = call.header(name).unwrap_or_default();
        // Kong gives the host without its port; a port beside it is no lie.
        let fits = found == value || (*name == "x-forwarded-host" && found == "api.test:8080");
        assert!(fits, "{name} is {found:?}, not {value:?}");
        assert_eq!(
            call.headers.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name)).count(),
            1,
            "{name}"
        );
    }
    get(&gateway, "/kept/a HTTP/1.1\r\nhost: api.test:8080\r\nx-forwarded-prefix: /evil").await;
    let call = upstream.calls().remove(1);
    assert_eq!(call.header("host"), Some("api.test:8080"));
    assert_eq!(
        call.header("x-forwarded-prefix"),
        None,
        "nothing was taken off the path, whatever the client says"
    );
}

#[tokio::test]
async fn answers_pass_with_kongs_headers() {
    let upstream = Upstream::scripted(vec![
        text(),
        Reply::body(404, &[("server", "theirs"), ("content-type", "text/html")], "<p>gone</p>"),
        Reply::raw("HTTP/1.1 204 No Content\r\n\r\n"),
    ])
    .await;
    let gateway = gateway(&upstream.url(), &[json!({"name": "r", "paths": ["/"]})]).await;
    let answer = get(&gateway, "/ HTTP/1.1\r\nhost: x").await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
    assert_eq!(answer.header("x-own"), Some("1"));
    let cookies: Vec<_> = answer
        .headers
        .iter()
        .filter(|(name, _)| name == "set-cookie")
        .map(|(_, value)| value.as_str())
        .collect();
    assert_eq!(cookies, ["a=1", "b=2"], "a plain service's cookies are its clients'");
    assert_eq!(
        (answer.header("server"), answer.header("via")),
        (Some("kong/3.10.0"), Some("1.1 kong/3.10.0"))
    );
    for name in ["x-kong-upstream-latency", "x-kong-proxy-latency"] {
        let value = answer.header(name).unwrap_or_default();
        assert!(value.parse::<u64>().is_ok_and(|ms| ms < 10_000), "{name}: {value}");
    }
    let id = answer.header("x-kong-request-id").unwrap();
    assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    assert_eq!(upstream.calls()[0].header("x-kong-request-id"), Some(id));
    assert_eq!(answer.header("x-kong-response-latency"), None);
    let answer = get(&gateway, "/ HTTP/1.1\r\nhost: x").await;
    assert_eq!(
        (answer.status, answer.header("server"), answer.text().as_str()),
        (404, Some("theirs"), "<p>gone</p>")
    );
    assert_eq!(get(&gateway, "/ HTTP/1.1\r\nhost: x").await.status, 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_pass_both_ways() {
    let body: Bytes =
        (0..10 * 1024 * 1024_u32).map(|at| at.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    let upstream = Upstream::always(Reply::body(200, &[], &body)).await;
    let gateway = gateway(&upstream.url(), &[json!({"name": "r", "paths": ["/"]})]).await;
    let h2c = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    for (version, client) in [("HTTP/1.1", reqwest::Client::new()), ("h2c", h2c)] {
        for chunked in [false, true] {
            let mut pieces: Vec<_> = body.chunks(10_007).map(Bytes::copy_from_slice).collect();
            pieces.insert(5, Bytes::new());
            let pieces = pieces.into_iter().map(Ok::<_, std::io::Error>);
            let framed = if chunked {
                reqwest::Body::wrap_stream(tokio_stream::iter(pieces.collect::<Vec<_>>()))
            } else {
                body.clone().into()
            };
            let reply = client.put(gateway.url("/")).body(framed).send().await.unwrap();
            assert_eq!(reply.status(), 200, "{version} {chunked}");
            let answer = reply.bytes().await.unwrap();
            assert!(answer == body, "{version} {chunked}: {} bytes came back", answer.len());
            let call = upstream.calls().pop().unwrap();
            assert!(
                call.body == body,
                "{version} {chunked}: {} bytes arrived, {:?}",
                call.body.len(),
                call.headers
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_streamed_not_held() {
    // The service answers the first half of the request before it has seen the second.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut seen = Vec::new();
        while !seen.ends_with(b"first") {
            assert!(stream.read_buf(&mut seen).await.unwrap() > 0);
        }
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nheard\r\n")
            .await
            .unwrap();
        while !seen.ends_with(b"second") {
            assert!(stream.read_buf(&mut seen).await.unwrap() > 0);
        }
        stream.write_all(b"5\r\n both\r\n0\r\n\r\n").await.unwrap();
    });
    let gateway = gateway(&url, &[json!({"name": "r", "paths": ["/"]})]).await;
    let mut client = Connection::open(gateway.proxy).await;
    client.send("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 11\r\n\r\nfirst").await;
    assert!(client.until("heard").await.contains("heard"));
    let answer = client.send("second").await.answer().await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "heard both"));
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_streamed_and_a_broken_one_is_visible() {
    let gate = Gate::default();
    let reply = Reply::stream("text/plain").chunk("one").gate(&gate).chunk("two");
    let upstream = Upstream::scripted(vec![reply.clone().end(), reply.then(Step::Close)]).await;
    let gateway = gateway(&upstream.url(), &[json!({"name": "r", "paths": ["/"]})]).await;
    for whole in [true, false] {
        let mut client = Connection::open(gateway.proxy).await;
        client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert!(client.until("one").await.contains("one"));
        gate.open();
        let answer = client.answer().await;
        assert!(answer.text().starts_with("one") && answer.whole == whole, "{answer:?}");
    }
}

/// The services that fail, each behind a route of its name.
async fn failing() -> Gateway {
    let silent = Upstream::always(Reply(vec![Step::Hang])).await;
    let closing = Upstream::always(Reply(vec![Step::Close])).await;
    let garbage = Upstream::always(Reply::raw("garbage\r\n\r\n").then(Step::Close)).await;
    let one = |name: &str, url: &str| {
        let mut service = service(name, url, &[json!({"name": name, "paths": [format!("/{name}")]})]);
        service["read_timeout"] = json!(300);
        service["retries"] = json!(1);
        service
    };
    let mut config = json!({"_format_version": "3.0", "services": [
        one("silent", &silent.url()), one("closing", &closing.url()), one("garbage", &garbage.url()),
        one("refused", &format!("http://{}", free())), one("unknown", "http://no-such-host.invalid"),
    ]});
    config["routes"] = json!([{"name": "null", "paths": ["/null"]}]);
    Gateway::start(&config.to_string()).await
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_services_work() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let service = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut seen = Vec::new();
        // To the end: the gateway hangs up.
        let _ = stream.read_to_end(&mut seen).await;
    });
    let gateway = gateway(&url, &[json!({"name": "r", "paths": ["/"]})]).await;
    let mut client = Connection::open(gateway.proxy).await;
    client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    gateway.counts("tollgate_exchanges_in_flight", &[], 1.0).await;
    drop(client);
    tokio::time::timeout(PATIENCE, service).await.expect("the gateway hangs up").unwrap();
    gateway.counts("tollgate_exchanges_in_flight", &[], 0.0).await;
}

#[tokio::test]
async fn an_https_route_says_so_over_http() {
    let upstream = Upstream::always(text()).await;
    let https = |name: &str, status: u16| json!({"name": name, "paths": [format!("/{name}")], "protocols": ["https"], "https_redirect_status_code": status});
    let routes = [
        https("upgrade", 426),
        https("moved", 301),
        https("found", 302),
        https("temporary", 307),
        https("permanent", 308),
    ];
    let gateway = gateway(&upstream.url(), &routes).await;
    let answer = get(&gateway, "/upgrade HTTP/1.1\r\nhost: x").await;
    assert_eq!(answer.status, 426);
    assert!(answer.text().contains("Please use HTTPS protocol"), "{}", answer.text());
    assert_eq!(answer.header("upgrade"), Some("TLS/1.2, HTTP/1.1"));
    for (path, status) in [("/moved", 301), ("/found", 302), ("/temporary", 307), ("/permanent", 308)] {
        let answer = get(&gateway, &format!("{path}/a?b=c%20d HTTP/1.1\r\nhost: api.test")).await;
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(
            answer.header("location"),
            Some(format!("https://api.test{path}/a?b=c%20d").as_str()),
            "{path}"
        );
    }
    assert!(upstream.calls().is_empty());
}

/// Pingora may still be laying a connection aside when the next request comes, which then opens another: so this
/// is tried until one was used again.
#[tokio::test]
async fn a_dead_connection_is_replaced_and_a_live_one_used_again() {
    for _ in 0..10 {
        let upstream = Upstream::scripted(vec![text(), text(), Reply(vec![Step::Close]), text()]).await;
        let gateway = gateway(&upstream.url(), &[json!({"name": "r", "paths": ["/"]})]).await;
        let mut statuses = Vec::new();
        for _ in 0..3 {
            statuses.push(get(&gateway, "/ HTTP/1.1\r\nhost: x").await.status);
            gateway.counts("tollgate_exchanges_in_flight", &[], 0.0).await;
        }
        let connections: Vec<_> = upstream.calls().iter().map(|call| call.connection).collect();
        if connections.starts_with(&[0, 0, 0]) {
            assert_eq!((statuses, connections), (vec![200; 3], vec![0, 0, 0, 1]));
            return;
        }
    }
    panic!("no connection was ever used again");
}

#[tokio::test]
async fn an_expectation_reaches_the_client() {
    let upstream = Upstream::always(text()).await;
    let gateway = gateway(&upstream.url(), &[json!({"name": "r", "paths": ["/"]})]).await;
    let mut client = Connection::open(gateway.proxy).await;
    client.send("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello").await;
    assert_eq!(client.answer().await.status, 200);
    assert!(client.idle(Duration::from_millis(30)).await, "the connection stays open");
}
