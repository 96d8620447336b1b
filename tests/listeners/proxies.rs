//! Proxies in front: what they say of the client is believed if they are trusted.

use super::certificates::Authority;
use super::support::client::{Connection, Raw};
use super::support::{eventually, gateway};
use super::{GET, Scene};
use serde_json::json;

const FIRST: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n";

/// The same in version 2.
fn second() -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    header.extend([192, 0, 2, 7, 198, 51, 100, 1, 0x12, 0x67, 0x01, 0xbb]);
    header
}

const TRUSTED: &str = "trusted_ips: [127.0.0.0/8]\nreal_ip_header: proxy_protocol\n";

#[tokio::test]
async fn a_proxy_header_names_the_client_everywhere() {
    let log = json!({"name": "file-log", "config": {"path": "{dir}/log"}});
    let address = gateway::free();
    let listen = format!("{address} proxy_protocol");
    let scene = Scene::new(&[log], TRUSTED, &[&listen]).await;
    for header in [FIRST.to_vec(), second()] {
        // In one piece with the request, and byte by byte.
        let mut client = Connection::open(address).await;
        client.send([&header, GET.as_bytes()].concat()).await;
        assert_eq!(client.answer().await.status, 200);
        let mut client = Connection::open(address).await;
        for byte in &header {
            client.send([*byte]).await;
        }
        assert_eq!(client.send(GET).await.answer().await.status, 200);
        // The header is the connection's, so it holds for the next request, too.
        assert_eq!(client.send(GET).await.answer().await.status, 200);
    }
    assert_eq!(scene.upstream.calls().len(), 6);
    for call in scene.upstream.calls() {
        assert_eq!(call.header("x-real-ip"), Some("192.0.2.7"));
        assert_eq!(call.header("x-forwarded-for"), Some("192.0.2.7"));
    }
    eventually("all are logged", async || scene.gateway.records("log").len() == 6).await;
    assert!(scene.gateway.records("log").iter().all(|record| record["client_ip"] == "192.0.2.7"));
    // The other listener asks for none.
    let answer = Connection::open(scene.gateway.proxy).await.send(GET).await.answer().await;
    assert_eq!(answer.status, 200);
    assert_eq!(scene.upstream.calls()[6].header("x-real-ip"), Some("127.0.0.1"));
}

#[tokio::test]
async fn who_brings_no_proxy_header_is_not_served() {
    let address = gateway::free();
    let settings = format!("{TRUSTED}header_seconds: 1\n");
    let scene = Scene::new(&[], &settings, &[&format!("{address} proxy_protocol")]).await;
    let local = [&b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"[..], GET.as_bytes()].concat();
    for (sent, expected) in [(GET.as_bytes(), false), (b"PROXY TCP4 1.2.3.4", false), (&local, true)] {
        let mut client = Raw::connect(address).await;
        client.send(sent).await;
        let answer = if expected { client.until("hello").await } else { client.to_end().await };
        assert_eq!(answer.starts_with("HTTP/1.1 200"), expected, "{answer}");
    }
    scene.gateway.counts("tollgate_connections_refused_total", &["slow"], 1.0).await;
    assert_eq!(scene.upstream.calls()[0].header("x-real-ip"), Some("127.0.0.1"), "the proxy itself");
}

#[tokio::test]
async fn tls_begins_behind_the_proxy_header() {
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    authority.write(dir.path(), "a", &["a.test"]);
    let address = gateway::free();
    let settings =
        format!("{TRUSTED}tls: {{certificates: [{{cert: '{{dir}}/a.pem', key: '{{dir}}/a.key'}}]}}\n");
    let scene = Scene::with(dir, &[], &settings, &[&format!("{address} ssl proxy_protocol")]).await;
    for header in [FIRST.to_vec(), second()] {
        let mut stream = Raw::connect(address).await;
        stream.send(header).await;
        let stream = authority.over(stream.0, "a.test", &[]).await.unwrap();
        assert_eq!(Connection::over(stream).send(GET).await.answer().await.status, 200);
    }
    for call in scene.upstream.calls() {
        assert_eq!(call.header("x-real-ip"), Some("192.0.2.7"));
        assert_eq!(call.header("x-forwarded-proto"), Some("https"));
    }
}

#[tokio::test]
async fn forwarded_headers_count_where_they_come_from_a_trusted_proxy() {
    let restriction = json!({"name": "ip-restriction", "config": {"deny": ["203.0.113.0/24"]}});
    let limit = json!({"name": "rate-limiting", "config": {"year": 2, "policy": "local", "limit_by": "ip"}});
    let settings =
        "real_ip_header: X-Forwarded-For\nreal_ip_recursive: true\ntrusted_ips: [127.0.0.1, 10.0.0.0/8]\n";
    let scene = Scene::new(&[restriction, limit], settings, &[]).await;
    let ask = async |chain: &str| {
        let head = format!(
            "GET /plain HTTP/1.1\r\nhost: a.test\r\nx-forwarded-for: {chain}\r\n\
            x-forwarded-proto: https\r\nx-forwarded-host: public.test\r\nx-forwarded-port: 8443\r\n\r\n"
        );
        Connection::open(scene.gateway.proxy).await.send(head).await.answer().await.status
    };
    assert_eq!(ask("203.0.113.5, 10.0.0.9").await, 403);
    // Each client has its own count, whatever it claims to have come by.
    for (chain, expected) in
        [("192.0.2.1", 200), ("9.9.9.9, 192.0.2.1, 10.1.1.1", 200), ("192.0.2.1", 429), ("192.0.2.2", 200)]
    {
        assert_eq!(ask(chain).await, expected, "{chain}");
    }
    let calls = scene.upstream.calls();
    assert_eq!(calls[1].header("x-real-ip"), Some("192.0.2.1"));
    assert_eq!(calls[1].header("x-forwarded-for"), Some("9.9.9.9, 192.0.2.1, 10.1.1.1, 127.0.0.1"));
    for (name, value) in [("proto", "https"), ("host", "public.test"), ("port", "8443")] {
        assert_eq!(calls[1].header(&format!("x-forwarded-{name}")), Some(value));
    }
}

#[tokio::test]
async fn nobody_else_is_believed() {
    let scene = Scene::new(&[], "", &[]).await;
    let head = "GET /plain HTTP/1.1\r\nhost: a.test\r\nx-real-ip: 192.0.2.1\r\nx-forwarded-for: 192.0.2.1\r\n\
        x-forwarded-proto: https\r\nx-forwarded-prefix: /theirs\r\n\r\n";
    assert_eq!(Connection::open(scene.gateway.proxy).await.send(head).await.answer().await.status, 200);
    let call = &scene.upstream.calls()[0];
    assert_eq!(call.header("x-real-ip"), Some("127.0.0.1"));
    assert_eq!(call.header("x-forwarded-for"), Some("192.0.2.1, 127.0.0.1"));
    assert_eq!(call.header("x-forwarded-proto"), Some("http"));
    assert_ne!(call.header("x-forwarded-prefix"), Some("/theirs"));
}
