//! Server settings: what is not Kong's. A flag beats the environment, which beats the file, which
//! beats the default.

use super::flags::Run;
use crate::accept::Patience;
use crate::accept::direct::Heads;
use crate::accept::head::Bounds;
use crate::accept::real_ip::{RealIp, Source, Trusted};
use crate::admin::token::Token;
use crate::config::secret::Secret;
use crate::config::server::{Form, Key};
use crate::edge::Edge;
use crate::listen::Limits;
use crate::listen::address::Listens;
use crate::listen::certificates::Pair;
use serde::Deserialize;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Every setting as the file has it; its variable is `TOLLGATE_` and its path in capitals, with `_`
/// between its parts.
pub const KEYS: &[Key] = &[
    Key("proxy_listen", Form::Text),
    Key("admin_listen", Form::Text),
    Key("status_listen", Form::Text),
    Key("admin.token", Form::Text),
    Key("admin.reveal_secrets", Form::Value),
    Key("state", Form::Text),
    Key("store", Form::Text),
    Key("tls.certificates", Form::Value),
    Key("tls.reload_seconds", Form::Value),
    Key("trusted_ips", Form::List),
    Key("real_ip_header", Form::Text),
    Key("real_ip_recursive", Form::Value),
    Key("threads", Form::Value),
    Key("busy_polling", Form::Value),
    Key("log_format", Form::Text),
    Key("log_file", Form::Text),
    Key("daemon", Form::Value),
    Key("pid_file", Form::Text),
    Key("max_connections", Form::Value),
    Key("max_header_bytes", Form::Value),
    Key("max_headers", Form::Value),
    Key("max_uri_bytes", Form::Value),
    Key("header_seconds", Form::Value),
    Key("idle_seconds", Form::Value),
    Key("request_seconds", Form::Value),
    Key("body_seconds", Form::Value),
    Key("body_read_seconds", Form::Value),
    Key("body_memory_mib", Form::Value),
    Key("grace_seconds", Form::Value),
    Key("upgrade_seconds", Form::Value),
    Key("keepalive_pool", Form::Value),
];

/// The form of the log on stderr.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One object a line.
    Json,
}

/// Everything the process needs to know beside its configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where clients come.
    pub proxy_listen: Listens,
    /// Where operators come.
    pub admin_listen: SocketAddr,
    /// Where `/metrics` is.
    pub status_listen: SocketAddr,
    /// Who may come to the Admin API.
    pub admin: Admin,
    /// Directory that keeps the configuration; of a `store`, its copy.
    pub state: Option<PathBuf>,
    /// Server that keeps the configuration of a fleet: `redis://…`, or `rediss://…` by TLS.
    pub store: Option<StoreUrl>,
    /// Certificates, and who is asked for one.
    pub tls: Tls,
    /// Proxies that are believed what they say of the client.
    pub trusted_ips: Trusted,
    /// Where they say it.
    pub real_ip_header: Source,
    /// Whether trusted proxies in what they say are skipped.
    pub real_ip_recursive: bool,
    /// Worker threads; 0 is one a core.
    pub threads: usize,
    /// Whether threads stay awake while exchanges are under way.
    pub busy_polling: bool,
    /// How the process writes its own log.
    pub log_format: LogFormat,
    /// File that the log goes to instead of stderr.
    pub log_file: Option<PathBuf>,
    /// Leave the terminal.
    pub daemon: bool,
    /// File that names the process to signal.
    pub pid_file: Option<PathBuf>,
    /// How long a process that has been replaced goes on with its exchanges.
    pub upgrade_seconds: u64,
    /// Clients' connections at a time; 0 is no limit.
    pub max_connections: usize,
    /// Of the head of a request: its bytes, its headers, and the bytes of its path and query.
    pub max_header_bytes: usize,
    /// Most headers of a request.
    pub max_headers: usize,
    /// Most bytes of a request's target.
    pub max_uri_bytes: usize,
    /// How long a head may take, or what comes before HTTP on a connection.
    pub header_seconds: u64,
    /// How long a connection may be quiet between requests.
    pub idle_seconds: u64,
    /// How long a request may take in all; 0 is no limit.
    pub request_seconds: u64,
    /// How long a whole request body may take.
    pub body_seconds: u64,
    /// How long the next piece of it may take.
    pub body_read_seconds: u64,
    /// How much of request bodies is held at a time.
    pub body_memory_mib: u32,
    /// How long SIGTERM waits for exchanges under way.
    pub grace_seconds: u64,
    /// Idle upstream connections kept for reuse.
    pub keepalive_pool: usize,
}

/// Who may use the Admin API, and what it shows.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// Asked for as `Authorization: Bearer …`; without one, whoever reaches the listener may write.
    pub token: Option<Token>,
    /// Literal keys are shown as they are.
    pub reveal_secrets: bool,
}

/// What listeners with `ssl` serve.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// Chosen by the name that a client asks for; the first is for those that match none.
    pub certificates: Vec<Pair>,
    /// How often the files are looked at.
    pub reload_seconds: u64,
}

impl Default for Tls {
    fn default() -> Self {
        Self { certificates: Vec::new(), reload_seconds: 5 }
    }
}

/// The address of a store, which may hold a password.
#[derive(Clone, Deserialize)]
pub struct StoreUrl(Secret);

impl std::str::FromStr for StoreUrl {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.into()))
    }
}

impl Deref for StoreUrl {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreUrl(…)")
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            proxy_listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8000)).into(),
            admin_listen: (Ipv4Addr::LOCALHOST, 8001).into(),
            status_listen: (Ipv4Addr::LOCALHOST, 8007).into(),
            admin: Admin::default(),
            state: None,
            store: None,
            tls: Tls::default(),
            trusted_ips: Trusted::default(),
            real_ip_header: Source::default(),
            real_ip_recursive: false,
            threads: 0,
            busy_polling: false,
            log_format: LogFormat::Text,
            log_file: None,
            daemon: false,
            pid_file: None,
            upgrade_seconds: 600,
            max_connections: 0,
            max_header_bytes: 64 * 1024,
            max_headers: 200,
            max_uri_bytes: 16 * 1024,
            header_seconds: 30,
            idle_seconds: 60,
            request_seconds: 0,
            body_seconds: 60,
            body_read_seconds: 30,
            body_memory_mib: 512,
            grace_seconds: 30,
            keepalive_pool: 1024,
        }
    }
}

impl Settings {
    /// The settings of a run.
    pub fn of(run: &Run) -> Result<Self, String> {
        let mut settings = Self::read(run.server.as_deref(), |name| std::env::var(name).ok())?;
        let Self { admin_listen, status_listen, threads, log_format, admin, state, store, .. } =
            &mut settings;
        run.admin_token.clone().inspect(|given| admin.token = Some(given.clone()));
        run.state.clone().inspect(|given| *state = Some(given.clone()));
        run.store.clone().inspect(|given| *store = Some(given.clone()));
        admin.reveal_secrets |= run.admin_reveal_secrets;
        run.admin_listen.inspect(|given| *admin_listen = *given);
        run.status_listen.inspect(|given| *status_listen = *given);
        run.threads.inspect(|given| *threads = *given);
        run.log_format.inspect(|given| *log_format = *given);
        if !run.proxy_listen.is_empty() {
            settings.proxy_listen = Listens::new(run.proxy_listen.clone())?;
        }
        settings.daemon |= run.daemon;
        run.pid_file.clone().inspect(|given| settings.pid_file = Some(given.clone()));
        run.log_file.clone().inspect(|given| settings.log_file = Some(given.clone()));
        if settings.threads == 0 {
            settings.threads = std::thread::available_parallelism().map_or(1, usize::from);
        }
        Ok(settings)
    }

    /// The file, if there is one, under the environment.
    pub fn read(file: Option<&Path>, variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let shown = file.map_or_else(|| "settings".to_owned(), |path| path.display().to_string());
        let text = file.map(std::fs::read_to_string).transpose();
        let text = text.map_err(|error| format!("{shown}: {error}"))?;
        let read = crate::config::server::settings(text.as_deref(), KEYS, variable);
        let read: Self = read.map_err(|error| format!("{shown}: {error}"))?;
        read.check().map_err(|name| format!("{shown}: {name} has to be over 0"))?;
        Ok(read)
    }

    /// What of a bound or time is nothing, and would let nobody in.
    fn check(&self) -> Result<(), &'static str> {
        let given = [
            ("max_header_bytes", self.max_header_bytes > 0),
            ("max_headers", self.max_headers > 0),
            ("max_uri_bytes", self.max_uri_bytes > 0),
            ("header_seconds", self.header_seconds > 0),
            ("idle_seconds", self.idle_seconds > 0),
            ("body_seconds", self.body_seconds > 0),
            ("body_read_seconds", self.body_read_seconds > 0),
            ("body_memory_mib", self.body_memory_mib > 0),
            ("tls.reload_seconds", self.tls.reload_seconds > 0),
        ];
        given.iter().find(|(_, given)| !given).map_or(Ok(()), |(name, _)| Err(name))
    }

    /// The limits on request bodies.
    pub fn patience(&self) -> Patience {
        Patience {
            per_read: Duration::from_secs(self.body_read_seconds),
            total: Duration::from_secs(self.body_seconds),
        }
    }

    /// The limits on connections and heads.
    pub fn limits(&self) -> Limits {
        Limits {
            connections: (self.max_connections > 0).then_some(self.max_connections),
            heads: Heads {
                bytes: self.max_header_bytes,
                whole: Duration::from_secs(self.header_seconds),
                idle: Duration::from_secs(self.idle_seconds),
            },
        }
    }

    /// What holds for every request.
    pub fn edge(&self) -> Edge {
        Edge {
            bounds: Bounds { headers: self.max_headers, uri: self.max_uri_bytes },
            real_ip: RealIp {
                trusted: self.trusted_ips.clone(),
                source: self.real_ip_header.clone(),
                recursive: self.real_ip_recursive,
            },
            whole: (self.request_seconds > 0).then_some(Duration::from_secs(self.request_seconds)),
        }
    }
}
