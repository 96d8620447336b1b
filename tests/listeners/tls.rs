//! Certificates by name, swapped on disk, and HTTP/2 by ALPN.

use super::certificates::{Authority, shown};
use super::support::client::Connection;
use super::support::gateway::{self, Gateway};
use super::support::upstream::{Gate, Reply, Upstream};
use super::support::{eventually, kong, streamed};
use super::{GET, Scene};
use bytes::Bytes;
use h2::client::SendRequest;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::rustls::pki_types::CertificateDer;

const SETTINGS: &str = "\
tls:
  reload_seconds: 1
  certificates:
    - {cert: '{dir}/a.pem', key: '{dir}/a.key'}
    - {cert: '{dir}/b.pem', key: '{dir}/b.key'}
";

#[tokio::test]
async fn the_name_that_a_client_asks_for_chooses_the_certificate() {
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let a = authority.write(dir.path(), "a", &["a.test"]);
    let b = authority.write(dir.path(), "b", &["b.test", "*.b.test", "A.test"]);
    let (first, second) = (gateway::free(), gateway::free());
    let listens = [format!("{first} ssl"), format!("{second} ssl http2")];
    let scene = Scene::with(dir, &[], SETTINGS, &[&listens[0], &listens[1]]).await;
    for (name, certificate) in [("a.test", &a), ("b.test", &b), ("B.test", &b), ("x.b.test", &b)] {
        let stream = authority.connect(first, name, &[]).await.unwrap();
        assert!(shown(&stream) == *certificate, "{name}");
        let answer = Connection::over(stream).send(GET).await.answer().await;
        assert_eq!(answer.status, 200, "{name}");
    }
    // Not for that name: the first stands in, and the client refuses it.
    for name in ["c.test", "y.x.b.test", "127.0.0.1"] {
        assert!(authority.connect(first, name, &[]).await.is_err(), "{name}");
    }
    let call = &scene.upstream.calls()[0];
    assert_eq!(
        (call.header("x-forwarded-proto"), call.header("x-forwarded-port")),
        (Some("https"), Some("443"))
    );
    for (to, offered, chosen) in [
        (first, &["h2", "http/1.1"][..], Some("http/1.1")),
        (second, &["h2", "http/1.1"], Some("h2")),
        (second, &["http/1.1"], Some("http/1.1")),
        (second, &[], None),
    ] {
        let stream = authority.connect(to, "a.test", offered).await.unwrap();
        let alpn = stream.get_ref().1.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned());
        assert_eq!(alpn.as_deref(), chosen, "{offered:?}");
    }
}

#[tokio::test]
async fn a_certificate_that_is_swapped_on_disk_is_served_to_the_next_connection() {
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    authority.write(dir.path(), "a", &["a.test"]);
    authority.write(dir.path(), "b", &["b.test"]);
    let address = gateway::free();
    let scene = Scene::with(dir, &[], SETTINGS, &[&format!("{address} ssl")]).await;
    let mut before = Connection::over(authority.connect(address, "a.test", &[]).await.unwrap());
    let new = authority.write(scene.dir.path(), "a", &["a.test", "also.test"]);
    let shows = async |name: &str, certificate: &_| {
        let stream = authority.connect(address, name, &[]).await;
        stream.is_ok_and(|stream| shown(&stream) == *certificate)
    };
    eventually("the new certificate is served", async || shows("a.test", &new).await).await;
    assert!(shows("also.test", &new).await);
    assert_eq!(before.send(GET).await.answer().await.status, 200, "who was connected stays so");

    let key = scene.dir.path().join("a.key");
    let secret = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n";
    std::fs::write(&key, secret).unwrap();
    scene.gateway.signal("HUP");
    let said = format!("{}: holds a private key of a kind", key.display());
    eventually("the broken key is named", async || scene.gateway.stderr().contains(&said)).await;
    assert!(shows("a.test", &new).await, "the old one stays in force");
    std::fs::remove_file(&key).unwrap();
    let said = format!("{}: No such file", key.display());
    eventually("the missing key is named", async || scene.gateway.stderr().contains(&said)).await;
    assert!(!scene.gateway.stderr().contains("c2VjcmV0"));
    let newest = authority.write(scene.dir.path(), "a", &["a.test"]);
    eventually("a mended one is served", async || shows("a.test", &newest).await).await;
}

#[tokio::test]
async fn certificates_that_cannot_be_served_are_an_error_at_start() {
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    for name in ["a", "b"] {
        authority.write(dir.path(), name, &["a.test"]);
    }
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("none.pem"), "nothing").unwrap();
    for (cert, key, expected) in [
        ("a.pem", "b.key", "b.key: is not the key of the certificate in "),
        ("none.pem", "a.key", "none.pem: holds no certificate"),
        ("a.pem", "a.pem", "a.pem: holds no private key"),
        ("absent.pem", "a.key", "absent.pem: No such file"),
    ] {
        let settings = json!({"proxy_listen": "127.0.0.1:0 ssl", "status_listen": "127.0.0.1:0",
            "admin_listen": "127.0.0.1:0", "tls": {"certificates": [{"cert": path(cert), "key": path(key)}]}});
        std::fs::write(path("server.yaml"), settings.to_string()).unwrap();
        let arguments = ["run", "--config", "conf/kong.yaml", "--server", &path("server.yaml")];
        let (status, _, stderr) = gateway::finish(&arguments);
        assert!(status != 0 && stderr.contains(expected), "{cert} {key}: {stderr}");
    }
}

#[tokio::test]
async fn certificates_of_the_configuration_come_first_and_are_reloaded_with_it() {
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
    let made = |name: &str, names: &[&str]| {
        let own = authority.write(dir.path(), name, names);
        (own, json!({"cert": read(&format!("{name}.pem")), "key": read(&format!("{name}.key"))}))
    };
    let (first, mut one) = made("one", &["a.test", "x.b.test", "c.test", "other.test"]);
    let (second, mut two) = made("two", &["a.test", "other.test"]);
    one["snis"] = json!([{"name": "a.test"}, {"name": "*.b.test"}]);
    one["id"] = json!("b3a1ae33-2f0f-4ac4-9d53-0f2a5e6a5d0e");
    let file = |certificates: &[&Value], snis: &Value| {
        json!({"_format_version": "3.0", "certificates": certificates, "snis": snis}).to_string()
    };
    let name = json!([{"name": "c.*", "certificate": one["id"]}]);
    let address = gateway::free();
    let listen = format!("{address} ssl");
    let gateway = Gateway::start_with(&file(&[&one], &name), &["--proxy-listen", &listen]).await;
    let shows = async |name: &str, expected: &CertificateDer<'_>| {
        let stream = authority.connect(address, name, &[]).await;
        stream.is_ok_and(|stream| shown(&stream) == *expected)
    };
    for name in ["a.test", "x.b.test", "c.test", "other.test"] {
        assert!(shows(name, &first).await, "{name}");
    }
    one["snis"] = json!([{"name": "c.test"}]);
    two["snis"] = json!([{"name": "a.test"}, {"name": "*"}]);
    gateway.reload(&file(&[&one, &two], &json!([])));
    eventually("the other is served", async || shows("a.test", &second).await).await;
    assert!(shows("c.test", &first).await && shows("other.test", &second).await);
    // What is wrong is refused, and shows no key.
    one["key"] = two["key"].clone();
    gateway.reload(&file(&[&one], &json!([])));
    let refused = "certificates[0].key: is not the key of the certificate";
    eventually("it is refused", async || gateway.stderr().contains(refused)).await;
    assert!(shows("a.test", &second).await);
    let body = two["key"].as_str().unwrap().lines().nth(1).unwrap();
    assert!(!gateway.stderr().contains(body));
}

#[tokio::test]
async fn certificates_are_changed_by_the_admin_api() {
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let own = authority.write(dir.path(), "a", &["a.test"]);
    let other = authority.write(dir.path(), "b", &["b.test"]);
    let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
    let address = gateway::free();
    let (listen, settings) = (format!("{address} ssl"), dir.path().join("server.yaml"));
    let pair = json!({"cert": dir.path().join("a.pem"), "key": dir.path().join("a.key")});
    std::fs::write(&settings, json!({"tls": {"certificates": [pair]}}).to_string()).unwrap();
    let arguments =
        ["--server", settings.to_str().unwrap(), "--proxy-listen", &listen, "--state", "{dir}/state"];
    let gateway = Gateway::start_with("_format_version: '3.0'", &arguments).await;
    let client = reqwest::Client::new();
    let url = |path: &str| format!("http://{}{path}", gateway.admin);
    let post = async |path: &str, body: Value| {
        let answer = client.post(url(path)).json(&body).send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    let shows = async |expected: &CertificateDer<'_>| {
        let stream = authority.connect(address, "b.test", &[]).await;
        stream.is_ok_and(|stream| shown(&stream) == *expected)
    };
    assert!(!shows(&own).await, "it is for another name");
    let (status, made) = post("/certificates", json!({"cert": read("b.pem"), "key": read("b.key")})).await;
    assert_eq!((status, &made["key"], &made["cert"]), (201, &json!("(masked)"), &json!(read("b.pem"))));
    let path = format!("/certificates/{}", made["id"].as_str().unwrap());
    let (status, sni) = post(&format!("{path}/snis"), json!({"name": "b.test"})).await;
    assert_eq!((status, &sni["certificate"]["id"]), (201, &made["id"]));
    assert!(shows(&other).await);
    let (status, _) = post("/snis", json!({"name": "b.test", "certificate": {"id": made["id"]}})).await;
    assert_eq!(status, 409);
    let (status, bad) = post("/certificates", json!({"cert": read("b.pem"), "key": read("a.key")})).await;
    assert_eq!((status, &bad["fields"]["key"]), (400, &json!("is not the key of the certificate")));
    let list: Value = client.get(url("/snis/b.test")).send().await.unwrap().json().await.unwrap();
    assert_eq!(list["name"], "b.test");
    let gone = client.delete(url("/snis/b.test")).send().await.unwrap();
    assert_eq!(gone.status(), 204);
    assert!(!shows(&other).await);
}

/// A gateway with an AI route behind TLS.
struct Encrypted {
    gateway: Gateway,
    authority: Authority,
    address: SocketAddr,
    _dir: TempDir,
}

async fn encrypted(upstream: &str) -> Encrypted {
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    for name in ["a", "b"] {
        authority.write(dir.path(), name, &[&format!("{name}.test")]);
    }
    let config = kong::file(&[kong::route("/chat", &[kong::ai_proxy(upstream)])]);
    let file = dir.path().join("server.yaml");
    std::fs::write(&file, SETTINGS.replace("{dir}", dir.path().to_str().unwrap())).unwrap();
    let address = gateway::free();
    let listen = format!("{address} ssl http2");
    let arguments = ["--server", file.to_str().unwrap(), "--proxy-listen", &listen];
    let gateway = Gateway::start_with(&config, &arguments).await;
    Encrypted { gateway, authority, address, _dir: dir }
}

/// Opens a hundred streams on one connection; `read` takes each.
async fn hundred<T, R>(to: &Encrypted, read: fn(h2::RecvStream) -> R) -> Hundred<T>
where
    R: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    let stream = to.authority.connect(to.address, "a.test", &["h2"]).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    let mut answers = JoinSet::new();
    let driven = tokio::spawn(async move { drop(connection.await) });
    let mut client = client.ready().await.unwrap();
    for _ in 0..100 {
        let request = http::Request::post("https://a.test/chat").header("content-type", "application/json");
        client = client.ready().await.unwrap();
        let (answer, mut body) = client.send_request(request.body(()).unwrap(), false).unwrap();
        body.send_data(Bytes::from(streamed("hi").to_string()), true).unwrap();
        answers.spawn(async move {
            let answer = answer.await.unwrap();
            assert_eq!(answer.status(), 200);
            read(answer.into_body()).await
        });
    }
    Hundred { answers, driven, client }
}

struct Hundred<T> {
    answers: JoinSet<T>,
    driven: JoinHandle<()>,
    client: SendRequest<Bytes>,
}

fn event(text: &str) -> serde_json::Value {
    json!({"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m",
           "choices": [{"index": 0, "delta": {"content": text}}]})
}

async fn text(mut body: h2::RecvStream) -> String {
    let mut text = String::new();
    while let Some(piece) = body.data().await {
        let piece = piece.unwrap();
        body.flow_control().release_capacity(piece.len()).unwrap();
        text.push_str(std::str::from_utf8(&piece).unwrap());
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_streams_go_over_one_connection() {
    let gate = Gate::default();
    let mut reply = Reply::stream("text/event-stream");
    for step in 0..3 {
        reply = reply.event(&event(&format!("word{step}"))).gate(&gate);
    }
    let upstream = Upstream::always(reply.done()).await;
    let to = encrypted(&upstream.url()).await;
    let Hundred { answers, driven, client } = hundred(&to, text).await;
    eventually("all are with the upstream", async || upstream.calls().len() == 100).await;
    to.gateway.counts("tollgate_exchanges_in_flight", &[], 100.0).await;
    for _ in 0..300 {
        gate.open();
    }
    let texts = answers.join_all().await;
    for text in texts {
        let words: Vec<_> = text.matches("word").collect();
        assert!(words.len() == 3 && text.ends_with("data: [DONE]\n\n"), "{text}");
    }
    to.gateway.counts("tollgate_exchanges_in_flight", &[], 0.0).await;
    drop(client);
    driven.abort();
}

/// Nanoseconds since the first call, on one clock for both ends.
fn now() -> u64 {
    static FROM: OnceLock<Instant> = OnceLock::new();
    u64::try_from(FROM.get_or_init(Instant::now).elapsed().as_nanos()).unwrap()
}

/// A model whose events say when they were written: one every 50 ms on each stream.
async fn clock() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for turn in 0.. {
            let Ok((mut stream, _)) = listener.accept().await else { return };
            stream.set_nodelay(true).unwrap();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"}") {
                    stream.read_buf(&mut head).await.unwrap();
                }
                let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
                stream.write_all(head.as_bytes()).await.unwrap();
                // Not in step with each other.
                tokio::time::sleep(Duration::from_millis(turn * 7 % 50)).await;
                for _ in 0..100 {
                    let event = event(&format!("at {} ", now()));
                    stream.write_all(format!("data: {event}\n\n").as_bytes()).await.unwrap();
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                stream.write_all(b"data: [DONE]\n\n").await.unwrap();
            });
        }
    });
    address
}

/// How long each event was under way.
async fn lags(mut body: h2::RecvStream) -> Vec<u64> {
    let mut lags = Vec::new();
    while let Some(piece) = body.data().await {
        let (piece, at) = (piece.unwrap(), now());
        body.flow_control().release_capacity(piece.len()).unwrap();
        let text = String::from_utf8_lossy(&piece).into_owned();
        let stamps =
            text.split("\"at ").skip(1).filter_map(|rest| rest.split(' ').next()?.parse::<u64>().ok());
        lags.extend(stamps.map(|stamp| at - stamp));
    }
    lags
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures time: on a quiet machine, with the release build (`make floods`)"]
async fn each_event_is_passed_on_within_a_millisecond() {
    let to = encrypted(&format!("http://{}", clock().await)).await;
    let Hundred { answers, driven, client } = hundred(&to, lags).await;
    let mut lags = answers.join_all().await.concat();
    drop(client);
    driven.abort();
    lags.sort_unstable();
    assert!(lags.len() > 9_900, "{} events", lags.len());
    let at = |part: usize| lags[lags.len() * part / 100] / 1000;
    println!("{} events on 100 streams: {} us in the middle, {} at p99", lags.len(), at(50), at(99));
    assert!(at(50) < 1000, "{} us", at(50));
}
