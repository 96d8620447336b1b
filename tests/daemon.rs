//! The process and who looks after it: away from the terminal, named by a file, known to a manager.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy exempts only the test functions themselves"
)]

mod support;

use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use support::gateway::{Gateway, free};
use support::{eventually, kong};

/// A daemon that this test started; killed in the end.
struct Daemon {
    dir: tempfile::TempDir,
    status: SocketAddr,
    arguments: Vec<String>,
}

impl Daemon {
    fn new(config: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("kong.yaml"), config).unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        let status = free();
        let (proxy, admin) = (free().to_string(), free().to_string());
        let arguments = [
            &["run", "--daemon", "--config"][..],
            &[&path("kong.yaml"), "--pid-file", &path("pid"), "--log-file", &path("log")],
            &["--proxy-listen", &proxy, "--admin-listen", &admin, "--status-listen", &status.to_string()],
        ];
        let arguments = arguments.concat().into_iter().map(ToOwned::to_owned).collect();
        Self { dir, status, arguments }
    }

    /// Runs the command to its end: its exit status, and what it said on stderr.
    fn command(&self) -> (i32, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_tollgate")).args(&self.arguments).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn pid(&self) -> Option<u32> {
        std::fs::read_to_string(self.file("pid")).ok()?.trim().parse().ok()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.file("log")).unwrap_or_default()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(process) = self.pid() {
            let _ = Command::new("kill")
                .args(["-s", "KILL", &process.to_string()])
                .stderr(Stdio::null())
                .status();
        }
    }
}

fn signal(process: u32, name: &str) {
    assert!(Command::new("kill").args(["-s", name, &process.to_string()]).status().unwrap().success());
}

fn running(process: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    status.lines().any(|line| line.starts_with("State:") && !line.contains("zombie"))
}

/// The session of a process, from its line in /proc.
fn session(process: u32) -> u32 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    stat.rsplit_once(')').unwrap().1.split_whitespace().nth(3).unwrap().parse().unwrap()
}

async fn ready(status: SocketAddr) -> bool {
    reqwest::get(format!("http://{status}/status/ready")).await.is_ok_and(|reply| reply.status() == 200)
}

#[tokio::test]
async fn a_daemon_serves_when_its_command_returns_and_ends_when_told() {
    let daemon = Daemon::new(&kong::file(&[]));
    // Output is waited for until nobody holds it open: so this also shows that the daemon has let go.
    let (code, stderr) = daemon.command();
    assert_eq!((code, stderr.as_str()), (0, ""));
    let process = daemon.pid().expect("named when the command returns");
    assert!(running(process) && session(process) == process, "it leads a session of its own");
    eventually("it is ready", async || ready(daemon.status).await).await;
    assert!(daemon.log().contains("is listening"), "{}", daemon.log());

    let (code, stderr) = daemon.command();
    assert!(code == 1 && stderr.contains(&process.to_string()) && stderr.contains("pid file"), "{stderr}");
    assert!(running(process) && daemon.pid() == Some(process), "the first one is untouched");

    // The log is moved away, and begun anew.
    std::fs::rename(daemon.file("log"), daemon.file("log.1")).unwrap();
    signal(process, "HUP");
    eventually("the new log is written", async || daemon.log().contains("reloaded")).await;

    signal(process, "USR2");
    eventually("another process is named", async || daemon.pid().is_some_and(|named| named != process)).await;
    let next = daemon.pid().unwrap();
    eventually("it is ready", async || ready(daemon.status).await).await;
    eventually("the old one has ended", async || !running(process)).await;
    signal(next, "TERM");
    eventually("the new one has ended", async || !running(next)).await;
    assert!(!daemon.file("pid").exists());
}

#[tokio::test]
async fn a_daemon_that_cannot_start_says_so_to_whoever_called_it() {
    let daemon = Daemon::new("plugins: [{name: no-such-plugin}]");
    let (code, stderr) = daemon.command();
    assert!(code == 1 && stderr.contains("no-such-plugin"), "{stderr}");
    std::fs::write(daemon.file("kong.yaml"), kong::file(&[])).unwrap();
    // What the failed start has left behind, and what a killed process leaves, is no hindrance.
    std::fs::write(daemon.file("pid"), "999999999\n").unwrap();
    let (code, stderr) = daemon.command();
    assert_eq!((code, stderr.as_str()), (0, ""));
    let process = daemon.pid().unwrap();
    signal(process, "KILL");
    eventually("it has ended", async || !running(process)).await;
    assert_eq!(daemon.pid(), Some(process), "left behind");
    assert_eq!(daemon.command().0, 0);
    assert_ne!(daemon.pid(), Some(process));
}

/// A manager's socket, and what was said on it.
fn told(manager: &UnixDatagram) -> Vec<String> {
    manager.set_nonblocking(true).unwrap();
    let mut said = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(length) = manager.recv(&mut buffer) {
        said.extend(String::from_utf8_lossy(&buffer[..length]).lines().map(ToOwned::to_owned));
    }
    said
}

fn socket(dir: &Path) -> (UnixDatagram, String) {
    let path = dir.join("notify");
    (UnixDatagram::bind(&path).unwrap(), path.to_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_service_manager_is_told_who_serves() {
    let dir = tempfile::tempdir().unwrap();
    let (manager, path) = socket(dir.path());
    let gateway = Gateway::start_in(&kong::file(&[]), &[("NOTIFY_SOCKET", &path)]).await;
    let said = told(&manager);
    let named = said.iter().find_map(|line| line.strip_prefix("MAINPID=")).expect("a process").to_owned();
    assert!(said.contains(&"READY=1".to_owned()), "{said:?}");
    gateway.signal("USR2");
    let mut next = None;
    eventually("the manager has heard of the new one", async || {
        next = told(&manager).iter().find_map(|line| line.strip_prefix("MAINPID=")?.parse::<u32>().ok());
        next.is_some()
    })
    .await;
    let next = next.unwrap();
    assert_ne!(next.to_string(), named);
    signal(next, "TERM");
    eventually("the manager has heard of the end", async || {
        told(&manager).contains(&"STOPPING=1".to_owned())
    })
    .await;
    eventually("it has ended", async || !running(next)).await;
}
