//! The process: flags and settings, listeners, signals, reload and drain.

pub mod books;
pub mod descriptions;
pub mod drain;
pub mod entrance;
pub mod flags;
pub mod follow;
pub mod handles;
pub mod handover;
pub mod log_file;
mod notify;
pub mod pid_file;
mod proxy;
pub mod reload;
pub mod serve;
pub mod settings;
mod signals;
pub mod tokens;

use settings::LogFormat;
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Starts the log on stderr. `TOLLGATE_LOG` sets the level (`info` unless it does). `plain`: stderr will
/// be a file before long, whatever it is now.
pub fn start_log(format: LogFormat, plain: bool) {
    let filter = EnvFilter::try_from_env("TOLLGATE_LOG")
        .unwrap_or_else(|_| EnvFilter::new("info,pingora=warn,pingora_core=warn,pingora_proxy=error"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => log.with_target(false).with_ansi(!plain && std::io::stderr().is_terminal()).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
}
