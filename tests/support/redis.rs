//! A Redis or Valkey server of the system's packages, installed if it is missing.

use super::gateway::free;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use tempfile::TempDir;

/// A running server; killed when dropped.
pub struct Redis {
    program: &'static Path,
    child: Child,
    pub address: SocketAddr,
    dir: TempDir,
}

impl Redis {
    /// Starts one that has every write on disk before it answers. `None` where there is none to be had.
    pub async fn start() -> Option<Self> {
        let program = program()?;
        let (address, dir) = (free(), tempfile::tempdir().unwrap());
        let child = spawn(program, address, dir.path());
        let redis = Self { program, child, address, dir };
        redis.answers().await;
        Some(redis)
    }

    /// The URL of the server.
    pub fn url(&self) -> String {
        format!("redis://{}/0", self.address)
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again on what it had written.
    pub async fn restart(&mut self) {
        self.child = spawn(self.program, self.address, self.dir.path());
        self.answers().await;
    }

    async fn answers(&self) {
        super::eventually("the store listens", async || {
            tokio::net::TcpStream::connect(self.address).await.is_ok()
        })
        .await;
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(program: &Path, address: SocketAddr, dir: &Path) -> Child {
    Command::new(program)
        .args(["--bind", "127.0.0.1", "--port", &address.port().to_string()])
        .args(["--appendonly", "yes", "--appendfsync", "always", "--save", ""])
        .arg("--dir")
        .arg(dir)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// Where the server's program is.
fn program() -> Option<&'static Path> {
    static PROGRAM: OnceLock<Option<PathBuf>> = OnceLock::new();
    PROGRAM
        .get_or_init(|| {
            find().or_else(|| {
                let install = ["install", "-y", "--no-install-recommends", "redis-server"];
                let _ = Command::new("apt-get").args(install).stdout(Stdio::null()).status();
                find()
            })
        })
        .as_deref()
}

fn find() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let places: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let names = ["valkey-server", "redis-server"];
    names.iter().flat_map(|name| places.iter().map(move |place| place.join(name))).find(|file| file.is_file())
}
