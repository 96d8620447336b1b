//! The command line: every flag also by environment.

use crate::admin::token::Token;
use crate::listen::address::Listen;
use clap::{Args, Parser, Subcommand};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// An AI gateway: Kong's configuration in, metered answers out.
#[derive(Debug, Parser)]
#[command(name = "tollgate", version)]
pub struct Flags {
    /// What is to be done.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve.
    Run(Box<Run>),
    /// Check configuration files: every problem on stderr, exit status 1 if there is one.
    Check {
        /// Kong declarative configuration, or Kubernetes manifests.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Make one clean declarative file of what Kong's tools wrote; the report goes to stderr.
    Convert(crate::convert::Convert),
    /// Write a first configuration: asks for keys and local models.
    Init(Box<crate::init::Init>),
    /// Serve a simulated model in every provider's dialect: no key, no network.
    MockLlm(MockLlm),
}

/// `tollgate run`.
#[derive(Debug, Args)]
pub struct Run {
    /// Kong declarative configuration, or Kubernetes manifests; several files are merged.
    #[arg(
        long,
        required_unless_present_any = ["state", "store", "server"],
        env = "TOLLGATE_CONFIG",
        value_delimiter = ',',
        value_name = "FILE"
    )]
    pub config: Vec<PathBuf>,
    /// Directory that keeps the configuration: the Admin API takes writes; `--config` only begins it.
    #[arg(long, env = "TOLLGATE_STATE", value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Redis or Valkey that keeps the configuration of a fleet: redis://user:password@host:port/database.
    #[arg(long, env = "TOLLGATE_STORE", value_name = "URL", hide_env_values = true)]
    pub store: Option<super::settings::StoreUrl>,
    /// Server settings (conf/tollgate.yaml documents them).
    #[arg(long, env = "TOLLGATE_SERVER", value_name = "FILE")]
    pub server: Option<PathBuf>,
    /// Where clients connect, in Kong's words: `0.0.0.0:8443 ssl http2` [default: 0.0.0.0:8000].
    #[arg(long, env = "TOLLGATE_PROXY_LISTEN", value_delimiter = ',', value_name = "ADDR")]
    pub proxy_listen: Vec<Listen>,
    /// Where the Admin API listens [default: 127.0.0.1:8001].
    #[arg(long, env = "TOLLGATE_ADMIN_LISTEN", value_name = "ADDR")]
    pub admin_listen: Option<SocketAddr>,
    /// Bearer token that the Admin API asks for [default: none].
    #[arg(long, env = "TOLLGATE_ADMIN_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub admin_token: Option<Token>,
    /// The Admin API shows literal keys instead of masking them.
    #[arg(long, env = "TOLLGATE_ADMIN_REVEAL_SECRETS")]
    pub admin_reveal_secrets: bool,
    /// Where readiness and metrics are served [default: 127.0.0.1:8007].
    #[arg(long, env = "TOLLGATE_STATUS_LISTEN", value_name = "ADDR")]
    pub status_listen: Option<SocketAddr>,
    /// Worker threads [default: one a core].
    #[arg(long, env = "TOLLGATE_THREADS", value_name = "N")]
    pub threads: Option<usize>,
    /// Also serve the simulated model at this address.
    #[arg(long, env = "TOLLGATE_MOCK_LLM", value_name = "ADDR")]
    pub mock_llm: Option<SocketAddr>,
    /// Leave the terminal: the command returns as soon as the gateway serves.
    #[arg(long, env = "TOLLGATE_DAEMON")]
    pub daemon: bool,
    /// File that names the process to signal [default: none].
    #[arg(long, env = "TOLLGATE_PID_FILE", value_name = "FILE")]
    pub pid_file: Option<PathBuf>,
    /// File that the log goes to, opened anew on SIGHUP [default: stderr].
    #[arg(long, env = "TOLLGATE_LOG_FILE", value_name = "FILE")]
    pub log_file: Option<PathBuf>,
    /// `text` or `json` [default: text].
    #[arg(long, env = "TOLLGATE_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<super::settings::LogFormat>,
}

/// `tollgate mock-llm`.
#[derive(Debug, Args)]
pub struct MockLlm {
    /// Where to listen.
    #[arg(long, env = "TOLLGATE_MOCK_LLM_LISTEN", default_value = "127.0.0.1:8090", value_name = "ADDR")]
    pub listen: SocketAddr,
    /// Before the first byte of an answer, in milliseconds.
    #[arg(long, default_value_t = 0, value_name = "MS")]
    pub latency: u64,
    /// Content events of a stream [default: one a word].
    #[arg(long, value_name = "N")]
    pub chunks: Option<usize>,
    /// Between two events of a stream, in milliseconds.
    #[arg(long, default_value_t = 0, value_name = "MS")]
    pub chunk_delay: u64,
}

impl MockLlm {
    /// The simulated model's options.
    pub fn options(&self) -> crate::mock::Options {
        crate::mock::Options {
            latency: Duration::from_millis(self.latency),
            chunks: self.chunks,
            chunk_delay: Duration::from_millis(self.chunk_delay),
            ..crate::mock::Options::default()
        }
    }
}
