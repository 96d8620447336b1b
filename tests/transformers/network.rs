//! Through proxies, and to servers whose certificate nobody trusts.

use super::*;
use std::net::SocketAddr;
use support::network::{AUTHORITY, Proxy, tls};

fn through(scheme: &str, proxy: SocketAddr) -> Value {
    let field = |part: &str| format!("{scheme}_proxy_{part}");
    json!({field("host"): proxy.ip().to_string(), field("port"): proxy.port()})
}

async fn served() -> Upstream {
    Upstream::always(Reply::body(200, &[], "served")).await
}

async fn transformed(url: &str, changes: &Value) -> (u16, String) {
    let service = served().await;
    let gateway = gateway(&service, &[kong::transformer(REQUEST, url, changes)]).await;
    let answer = post(&gateway, "{}").await;
    if answer.status == 200 { (200, answer.text()) } else { (answer.status, message(&answer)) }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_untrusted_certificate_fails_clearly_unless_it_is_not_verified() {
    let model = model("{}").await;
    let url = format!("https://{}/v1", tls(model.address).await);
    let expected = "failed to introspect request with AI service: request to ai service failed: \
                    the upstream's certificate is not trusted";
    assert_eq!(transformed(&url, &json!({})).await, (400, expected.to_owned()));
    assert!(model.calls().is_empty());
    assert_eq!(transformed(&url, &json!({"https_verify": false})).await.0, 200);
    assert_eq!(model.calls()[0].line, "POST /v1 HTTP/1.1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_was_not_verified_serves_nobody_who_wants_it_to_be() {
    let model = model("{}").await;
    let url = format!("https://{}/v1", tls(model.address).await);
    let service = served().await;
    let careless = kong::transformer(REQUEST, &url, &json!({"https_verify": false}));
    let careful = kong::transformer(REQUEST, &url, &json!({}));
    let routes = [kong::route("/careless", &[careless]), kong::route("/careful", &[careful])];
    let gateway = Gateway::start(&kong::file_with(&json!({"url": service.url()}), &routes)).await;
    assert_eq!(ask(&gateway, "POST /careless", "{}").await.status, 200);
    assert_eq!(ask(&gateway, "POST /careful", "{}").await.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn https_goes_through_a_tunnel() {
    let model = model("{}").await;
    let server = tls(model.address).await;
    let proxy = Proxy::start(None).await;
    let mut changes = through("https", proxy.address);
    changes["https_verify"] = json!(false);
    let service = served().await;
    let url = format!("https://{server}/v1");
    let gateway = gateway(&service, &[kong::transformer(REQUEST, &url, &changes)]).await;
    for _ in 0..2 {
        assert_eq!(post(&gateway, "{}").await.status, 200);
    }
    let connect = format!("CONNECT {server} HTTP/1.1\r\nhost: {server}\r\n\r\n");
    assert_eq!(proxy.asked(), [connect], "one tunnel for both: it is kept");
    let calls = model.calls();
    assert_eq!((calls.len(), &*calls[0].line), (2, "POST /v1 HTTP/1.1"));
    assert_eq!(calls[0].header("host"), Some(&*server.to_string()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_certificate_behind_a_tunnel_is_verified() {
    let model = model("{}").await;
    let url = format!("https://{}/v1", tls(model.address).await);
    let proxy = Proxy::start(None).await;
    let (status, text) = transformed(&url, &through("https", proxy.address)).await;
    assert_eq!(status, 400);
    assert!(text.ends_with("the upstream's certificate is not trusted"), "{text}");
    assert_eq!(proxy.asked().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_refuses_is_named() {
    let prefix = "failed to introspect request with AI service: request to ai service failed: ";
    for (refusal, why) in [
        ("HTTP/1.1 407 Authenticate\r\n\r\n", "the proxy answered CONNECT with status 407"),
        ("SSH-2.0-x\r\n\r\n", "the proxy answered CONNECT with no HTTP"),
        ("", "connection refused or closed"),
    ] {
        let proxy = Proxy::start(Some(refusal)).await;
        let answer = transformed("https://model.invalid/v1", &through("https", proxy.address)).await;
        assert_eq!(answer, (400, format!("{prefix}{why}")));
        assert!(proxy.asked()[0].starts_with("CONNECT model.invalid:443 "), "the proxy resolves the name");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn http_goes_to_its_proxy_with_the_whole_url() {
    let proxy = model("{}").await;
    let answer = transformed("http://model.invalid:81/v1?a=b", &through("http", proxy.address)).await;
    assert_eq!(answer, (200, "served".to_owned()));
    let calls = proxy.calls();
    assert_eq!(calls[0].line, "POST http://model.invalid:81/v1?a=b HTTP/1.1");
    assert_eq!(calls[0].header("host"), Some("model.invalid:81"));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_proxy_is_for_its_own_scheme() {
    let model = model("{}").await;
    let proxy = Proxy::start(Some("HTTP/1.1 500 No\r\n\r\n")).await;
    assert_eq!(transformed(&model.url(), &through("https", proxy.address)).await.0, 200);
    let mut changes = through("http", proxy.address);
    changes["https_verify"] = json!(false);
    let url = format!("https://{}", tls(model.address).await);
    assert_eq!(transformed(&url, &changes).await.0, 200);
    assert!(proxy.asked().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_of_ones_own_can_be_trusted() {
    let model = model("{}").await;
    let url = format!("https://{}/v1", tls(model.address).await);
    let config = kong::file_with(
        &json!({"url": served().await.url()}),
        &[kong::route("/r", &[kong::transformer(REQUEST, &url, &json!({}))])],
    );
    let gateway = Gateway::start_in(&config, &[("SSL_CERT_FILE", AUTHORITY)]).await;
    assert_eq!(post(&gateway, "{}").await.status, 200);
}

/// tinyproxy, told by its log what it does; stopped when dropped.
struct Tinyproxy {
    child: std::process::Child,
    address: SocketAddr,
    folder: tempfile::TempDir,
}

impl Tinyproxy {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = support::gateway::free();
        let path = folder.path().display();
        let config = format!(
            "Port {}\nListen 127.0.0.1\nAllow 127.0.0.1\nMaxClients 10\nLogLevel Info\n\
             LogFile \"{path}/log\"\nPidFile \"{path}/pid\"\n",
            address.port()
        );
        std::fs::write(folder.path().join("conf"), config).unwrap();
        let conf = folder.path().join("conf");
        let child = std::process::Command::new("tinyproxy").args(["-d", "-c"]).arg(conf).spawn();
        let child = child.expect("tinyproxy is installed: `make genuine-proxy` does that");
        let listens = async || tokio::net::TcpStream::connect(address).await.is_ok();
        support::eventually("tinyproxy listens", listens).await;
        Self { child, address, folder }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Tinyproxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs tinyproxy: make genuine-proxy"]
async fn a_genuine_proxy_carries_both_schemes() {
    let proxy = Tinyproxy::start().await;
    let model = model("{}").await;
    let server = tls(model.address).await;
    let mut changes = through("https", proxy.address);
    let (status, text) = transformed(&format!("https://{server}/v1"), &changes).await;
    assert_eq!(status, 400);
    assert!(text.ends_with("the upstream's certificate is not trusted"), "{text}");
    assert!(model.calls().is_empty());
    changes["https_verify"] = json!(false);
    assert_eq!(transformed(&format!("https://{server}/v1"), &changes).await.0, 200);
    assert_eq!(model.calls()[0].line, "POST /v1 HTTP/1.1");
    assert!(proxy.log().contains(&format!("CONNECT {server}")), "{}", proxy.log());
    let url = format!("{}/v2", model.url());
    assert_eq!(transformed(&url, &through("http", proxy.address)).await.0, 200);
    let call = &model.calls()[1];
    assert_eq!(call.line, "POST /v2 HTTP/1.1", "the proxy has taken the host off");
    assert!(call.header("via").is_some_and(|via| via.contains("tinyproxy")), "{call:?}");
    assert!(proxy.log().contains(&format!("POST {url}")), "{}", proxy.log());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs tinyproxy: make genuine-proxy"]
async fn a_genuine_proxy_that_finds_nobody_is_named() {
    let proxy = Tinyproxy::start().await;
    let nobody = format!("https://{}/v1", support::gateway::free());
    let (status, text) = transformed(&nobody, &through("https", proxy.address)).await;
    assert_eq!(status, 400);
    assert!(text.contains("the proxy answered CONNECT with status 5"), "{text}");
}
