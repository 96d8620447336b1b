//! Loading the configuration, at start and again on SIGHUP.

use super::log_file;
use crate::config;
use crate::config::problems::Problem;
use crate::meter::metrics::SERIES;
use crate::state::control::{Control, Ready};
use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::signal::unix::Signal;
use tokio::sync::Mutex;

/// Reads the files and makes them ready; all problems at once.
pub fn load(files: &[PathBuf]) -> Result<Ready, Vec<Problem>> {
    Ready::read(&config::read(files)?)
}

/// Waits for SIGHUP.
pub struct Reloader {
    /// Those to read again.
    pub files: Vec<PathBuf>,
    /// Opened anew as well: it may have been moved away.
    pub log: Option<PathBuf>,
    /// What changes go through.
    pub control: Arc<Control>,
    /// The signal.
    pub hangup: Mutex<Signal>,
}

impl Reloader {
    async fn reload(&self) {
        if let Some(Err(why)) = self.log.as_deref().map(log_file::direct) {
            tracing::error!("{why}");
        }
        if self.control.store().is_writable() {
            return tracing::warn!("SIGHUP: the configuration is kept by the store, the files only began it");
        }
        match load(&self.files) {
            Ok(ready) => {
                let counts = ready.snapshot.counts;
                self.control.replace(ready).await;
                SERIES.reloads.with_label_values(&["ok"]).inc();
                tracing::info!(
                    services = counts.services,
                    routes = counts.routes,
                    plugins = counts.plugins,
                    targets = counts.targets,
                    "configuration reloaded"
                );
            }
            Err(problems) => {
                SERIES.reloads.with_label_values(&["refused"]).inc();
                for problem in &problems {
                    tracing::error!("{problem}");
                }
                let count = problems.len();
                tracing::error!(
                    "the new configuration has {count} problems and was refused: the old one stays in force"
                );
            }
        }
    }
}

#[async_trait]
impl BackgroundService for Reloader {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let mut hangup = self.hangup.lock().await;
        loop {
            tokio::select! {
                _ = hangup.recv() => self.reload().await,
                _ = shutdown.changed() => return,
            }
        }
    }
}
