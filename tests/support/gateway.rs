//! The gateway as a process.

use super::eventually;
use std::collections::HashMap;
use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A running gateway; killed when dropped.
pub struct Gateway {
    child: Child,
    pub proxy: SocketAddr,
    pub admin: SocketAddr,
    pub status: SocketAddr,
    pub dir: TempDir,
}

/// A port that is free, below those that the system hands out to outgoing connections: one of
/// these could be taken again before the gateway binds it.
pub fn free() -> SocketAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let step = std::process::id().wrapping_mul(7919).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(10_000 + step % 22_000).unwrap();
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
            return listener.local_addr().unwrap();
        }
    }
}

/// Runs the command to its end: its exit status and what it said on stdout and stderr.
pub fn finish(args: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_tollgate")).args(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

impl Gateway {
    /// Starts with this configuration text and waits until it is ready.
    pub async fn start(config: &str) -> Self {
        Self::start_with(config, &[]).await
    }

    /// Starts with extra arguments, in which `{dir}` is the gateway's directory.
    pub async fn start_with(config: &str, extra: &[&str]) -> Self {
        Self::launch(config, extra, &[]).await
    }

    /// Starts with extra variables in its environment.
    pub async fn start_in(config: &str, environment: &[(&str, &str)]) -> Self {
        Self::launch(config, &[], environment).await
    }

    async fn launch(config: &str, extra: &[&str], environment: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("kong.yaml");
        std::fs::write(&file, config.replace("{dir}", dir.path().to_str().unwrap())).unwrap();
        let (proxy, admin, status) = (free(), free(), free());
        // Another build, where time or memory is measured.
        let binary =
            std::env::var("TOLLGATE_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_tollgate").to_owned());
        let child = Command::new(binary)
            .arg("run")
            .arg("--config")
            .arg(&file)
            .args(["--proxy-listen", &proxy.to_string()])
            .args(["--admin-listen", &admin.to_string()])
            .args(["--status-listen", &status.to_string()])
            .args(["--threads", "2"])
            .args(extra.iter().map(|argument| argument.replace("{dir}", dir.path().to_str().unwrap())))
            .envs(environment.iter().copied())
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

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything it logged so far.
    pub fn stderr(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("stderr")).unwrap_or_default()
    }

    /// Replaces the configuration file and asks for a reload.
    pub fn reload(&self, config: &str) {
        let config = config.replace("{dir}", self.dir.path().to_str().unwrap());
        // Renamed into place: a reload that is still under way must not read half a file.
        let new = self.dir.path().join("kong.yaml.new");
        std::fs::write(&new, config).unwrap();
        std::fs::rename(new, self.dir.path().join("kong.yaml")).unwrap();
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

    /// Waits for the process to end, and gives its exit code.
    pub async fn exit_code(&mut self) -> Option<i32> {
        eventually("the gateway ends", async || self.child.try_wait().unwrap().is_some()).await;
        self.child.try_wait().unwrap().and_then(|status| status.code())
    }

    /// All series with their values: `name{labels}` → value.
    pub async fn metrics(&self) -> HashMap<String, f64> {
        let text =
            reqwest::get(format!("http://{}/metrics", self.status)).await.unwrap().text().await.unwrap();
        text.lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.rsplit_once(' '))
            .map(|(series, value)| (series.to_owned(), value.parse().unwrap()))
            .collect()
    }

    /// The sum of all series of a name that have every given label: `name="value"`, or a value alone.
    pub async fn sum(&self, name: &str, parts: &[&str]) -> f64 {
        let metrics = self.metrics().await;
        let fits = |series: &str| {
            series.split('{').next() == Some(name)
                && parts.iter().all(|part| {
                    let label = if part.contains('=') { (*part).to_owned() } else { format!("=\"{part}\"") };
                    series.contains(&label)
                })
        };
        // Not `sum()`: of nothing that is -0.
        metrics.iter().filter(|(series, _)| fits(series)).fold(0.0, |sum, (_, value)| sum + value)
    }

    /// Waits until that sum is what it should be: the end of an exchange is counted after its answer.
    pub async fn counts(&self, name: &str, parts: &[&str], expected: f64) {
        let until = Instant::now() + Duration::from_secs(5);
        loop {
            let sum = self.sum(name, parts).await;
            // Sums of doubles: exact to the last digits.
            if (sum - expected).abs() <= expected.abs() * 1e-12 {
                return;
            }
            assert!(Instant::now() < until, "{name} {parts:?} is {sum}, not {expected}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
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
