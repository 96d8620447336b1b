//! The gateway as a process.

use super::eventually;
use std::collections::HashMap;
use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// A running gateway; killed when dropped.
pub struct Gateway {
    child: Child,
    pub proxy: SocketAddr,
    pub admin: SocketAddr,
    pub status: SocketAddr,
    pub dir: TempDir,
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

impl Gateway {
    /// Starts with this configuration text and waits until it is ready.
    pub async fn start(config: &str) -> Self {
        Self::start_with(config, &[]).await
    }

    /// Starts with extra arguments.
    pub async fn start_with(config: &str, extra: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("kong.yaml");
        std::fs::write(&file, config.replace("{dir}", dir.path().to_str().unwrap())).unwrap();
        let (proxy, admin, status) = (free(), free(), free());
        let child = Command::new(env!("CARGO_BIN_EXE_tollgate"))
            .arg("run")
            .arg("--config")
            .arg(&file)
            .args(["--proxy-listen", &proxy.to_string()])
            .args(["--admin-listen", &admin.to_string()])
            .args(["--status-listen", &status.to_string()])
            .args(["--threads", "2"])
            .args(extra)
            .stderr(Stdio::from(std::fs::File::create(dir.path().join("stderr")).unwrap()))
            .spawn()
            .unwrap();
        let mut gateway = Self { child, proxy, admin, status, dir };
        eventually("the gateway is ready", async || {
            if let Some(status) = gateway.child.try_wait().unwrap() {
                panic!("the gateway ended with {status}: {}", gateway.stderr());
            }
            let ready = reqwest::get(format!("http://{status}/status/ready")).await;
            ready.is_ok_and(|reply| reply.status() == 200)
        })
        .await;
        gateway
    }

    /// The URL of a path on the proxy listener.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.proxy)
    }

    /// Everything it logged so far.
    pub fn stderr(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("stderr")).unwrap_or_default()
    }

    /// Replaces the configuration file and asks for a reload.
    pub fn reload(&self, config: &str) {
        let config = config.replace("{dir}", self.dir.path().to_str().unwrap());
        std::fs::write(self.dir.path().join("kong.yaml"), config).unwrap();
        self.signal("HUP");
    }

    /// Sends a signal by name.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success(), "kill -s {name}");
    }

    /// Whether the process has ended.
    pub fn ended(&mut self) -> Option<std::process::ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// All series with their values: `name{labels}` → value.
    pub async fn metrics(&self) -> HashMap<String, f64> {
        let text = reqwest::get(format!("http://{}/metrics", self.status)).await.unwrap().text().await.unwrap();
        text.lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.rsplit_once(' '))
            .map(|(series, value)| (series.to_owned(), value.parse().unwrap()))
            .collect()
    }

    /// The sum of all series of a name whose labels contain every given part.
    pub async fn sum(&self, name: &str, parts: &[&str]) -> f64 {
        let metrics = self.metrics().await;
        let fits = |series: &str| {
            series.split('{').next() == Some(name) && parts.iter().all(|part| series.contains(part))
        };
        // Not `sum()`: of nothing that is -0.
        metrics.iter().filter(|(series, _)| fits(series)).fold(0.0, |sum, (_, value)| sum + value)
    }

    /// The records of a file-log file in its directory.
    pub fn records(&self, file: &str) -> Vec<serde_json::Value> {
        let mut text = String::new();
        if let Ok(mut log) = std::fs::File::open(self.dir.path().join(file)) {
            log.read_to_string(&mut text).unwrap();
        }
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // A failing test tells what the gateway said.
        if std::thread::panicking() {
            eprintln!("--- stderr of the gateway ---\n{}", self.stderr());
        }
    }
}

/// The time after which a test gives up on an answer.
pub const PATIENCE: Duration = Duration::from_secs(20);
