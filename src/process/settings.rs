//! Server settings: what is not Kong's. A flag beats the environment, which beats the file, which
//! beats the default.

use super::flags::Run;
use crate::admin::token::Token;
use crate::config::secret::Secret;
use serde::Deserialize;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::time::Duration;

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
    pub proxy_listen: SocketAddr,
    pub admin_listen: SocketAddr,
    pub status_listen: SocketAddr,
    pub admin: Admin,
    /// Directory that keeps the configuration; of a `store`, its copy.
    pub state: Option<PathBuf>,
    /// Server that keeps the configuration of a fleet: `redis://…`, or `rediss://…` by TLS.
    pub store: Option<StoreUrl>,
    /// Worker threads; 0 is one a core.
    pub threads: usize,
    pub log_format: LogFormat,
    /// How long SIGTERM waits for exchanges under way.
    pub grace_seconds: u64,
    /// How long a whole request body may take.
    pub body_seconds: u64,
    /// How long the next piece of it may take.
    pub body_read_seconds: u64,
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
            proxy_listen: (Ipv4Addr::UNSPECIFIED, 8000).into(),
            admin_listen: (Ipv4Addr::LOCALHOST, 8001).into(),
            status_listen: (Ipv4Addr::LOCALHOST, 8007).into(),
            admin: Admin::default(),
            state: None,
            store: None,
            threads: 0,
            log_format: LogFormat::Text,
            grace_seconds: 30,
            body_seconds: 60,
            body_read_seconds: 30,
            keepalive_pool: 1024,
        }
    }
}

impl Settings {
    /// The settings of a run.
    pub fn of(run: &Run) -> Result<Self, String> {
        let mut settings = match &run.server {
            Some(path) => Self::read(path)?,
            None => Self::default(),
        };
        let Self {
            proxy_listen, admin_listen, status_listen, threads, log_format, admin, state, store, ..
        } = &mut settings;
        run.admin_token.clone().inspect(|given| admin.token = Some(given.clone()));
        run.state.clone().inspect(|given| *state = Some(given.clone()));
        run.store.clone().inspect(|given| *store = Some(given.clone()));
        admin.reveal_secrets |= run.admin_reveal_secrets;
        run.proxy_listen.inspect(|given| *proxy_listen = *given);
        run.admin_listen.inspect(|given| *admin_listen = *given);
        run.status_listen.inspect(|given| *status_listen = *given);
        run.threads.inspect(|given| *threads = *given);
        run.log_format.inspect(|given| *log_format = *given);
        if settings.threads == 0 {
            settings.threads = std::thread::available_parallelism().map_or(1, usize::from);
        }
        Ok(settings)
    }

    fn read(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        let text = std::fs::read_to_string(path).map_err(|error| format!("{shown}: {error}"))?;
        crate::config::server::settings(&text).map_err(|error| format!("{shown}: {error}"))
    }

    /// The limits on request bodies.
    pub fn patience(&self) -> crate::accept::Patience {
        crate::accept::Patience {
            per_read: Duration::from_secs(self.body_read_seconds),
            total: Duration::from_secs(self.body_seconds),
        }
    }
}
