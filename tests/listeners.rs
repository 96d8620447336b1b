//! The way in: several listeners, Unix sockets, TLS, the PROXY protocol, bounds on heads.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "clippy exempts only the test functions themselves"
)]

mod support;

#[path = "listeners/bounds.rs"]
mod bounds;
#[path = "listeners/certificates.rs"]
mod certificates;
#[path = "listeners/polling.rs"]
mod polling;
#[path = "listeners/proxies.rs"]
mod proxies;
#[path = "listeners/settings.rs"]
mod settings;
#[path = "listeners/tls.rs"]
mod tls;

use serde_json::{Value, json};
use support::client::Connection;
use support::gateway::{self, Gateway};
use support::kong;
use support::upstream::{Reply, Upstream};
use tempfile::TempDir;
use tokio::net::UnixStream;

/// A gateway with these plugins on a plain route, `/plain`, started with settings and further listeners.
struct Scene {
    gateway: Gateway,
    upstream: Upstream,
    dir: TempDir,
}

impl Scene {
    /// `{dir}` in settings and listeners is a directory of the scene's own.
    async fn with(dir: TempDir, plugins: &[Value], settings: &str, listens: &[&str]) -> Self {
        let upstream = Upstream::always(Reply::json(&json!({"hello": "there"}))).await;
        let config = kong::file_with(&json!({"url": upstream.url()}), &[kong::route("/plain", plugins)]);
        let here = dir.path().to_str().unwrap().to_owned();
        let file = dir.path().join("server.yaml");
        std::fs::write(&file, settings.replace("{dir}", &here)).unwrap();
        let mut arguments = vec!["--server".to_owned(), file.to_str().unwrap().to_owned()];
        for listen in listens {
            arguments.extend(["--proxy-listen".to_owned(), listen.replace("{dir}", &here)]);
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        Self { gateway: Gateway::start_with(&config, &arguments).await, upstream, dir }
    }

    async fn new(plugins: &[Value], settings: &str, listens: &[&str]) -> Self {
        Self::with(tempfile::tempdir().unwrap(), plugins, settings, listens).await
    }
}

const GET: &str = "GET /plain HTTP/1.1\r\nhost: a.test\r\n\r\n";

#[tokio::test]
async fn one_gateway_serves_several_listeners_and_a_unix_socket() {
    let other = gateway::free();
    let scene = Scene::new(&[], "", &[&format!("{other} http2, unix:{{dir}}/gateway.sock")]).await;
    let unix = UnixStream::connect(scene.dir.path().join("gateway.sock")).await.unwrap();
    let connections =
        [Connection::open(scene.gateway.proxy).await, Connection::open(other).await, Connection::over(unix)];
    for mut connection in connections {
        for _ in 0..2 {
            assert_eq!(connection.send(GET).await.answer().await.status, 200);
        }
    }
    assert_eq!(scene.upstream.calls().len(), 6);
    // Who comes by a Unix socket has no address to tell of.
    assert_eq!(scene.upstream.calls()[5].header("x-real-ip"), None);
}

#[tokio::test]
async fn what_cannot_be_listened_on_is_said_at_start() {
    for (listen, expected) in [
        ("127.0.0.1:8000 quic", "'quic' is not known"),
        ("127.0.0.1:8000 ssl", "127.0.0.1:8000 ssl needs a certificate: set tls.certificates"),
        ("127.0.0.1:8000,127.0.0.1:8000", "names 127.0.0.1:8000 twice"),
    ] {
        let free = [gateway::free().to_string(), gateway::free().to_string()];
        let arguments = ["run", "--config", "conf/kong.yaml", "--proxy-listen", listen, "--admin-listen"];
        let arguments = [&arguments[..], &[&free[0], "--status-listen", &free[1]]].concat();
        let (status, _, stderr) = gateway::finish(&arguments);
        assert!(status != 0 && stderr.contains(expected), "{listen}: {status} {stderr}");
    }
}
