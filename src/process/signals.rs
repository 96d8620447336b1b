//! What the process does when it is told to: SIGTERM and SIGQUIT drain, SIGINT ends at once, SIGUSR2 has
//! a new process take over. (SIGHUP is `reload.rs`.)

use super::handover::successor::Succession;
use super::notify;
use crate::meter::metrics::SERIES;
use async_trait::async_trait;
use pingora::server::{ShutdownSignal, ShutdownSignalWatch};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Mutex;

/// Waits for the signal that ends this process.
pub struct Signals {
    /// Hear what the process is told.
    pub ears: Mutex<Ears>,
    /// Set when it begins to end.
    pub draining: Arc<AtomicBool>,
    /// What a signal to replace it begins.
    pub succession: Succession,
}

/// The signals as they come. They are heard from when this is made, which is before the pid file says
/// who is to be signalled: one that came earlier would end the process.
pub struct Ears {
    terminate: Signal,
    quit: Signal,
    interrupt: Signal,
    upgrade: Signal,
}

/// What a signal says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// No further request; end when nothing is under way.
    Drain,
    /// End at once.
    End,
    /// Let another process take over.
    Upgrade,
}

impl Ears {
    /// Begins to hear them; this needs a runtime, which need not be the one that waits for them.
    pub fn open() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            quit: signal(SignalKind::quit())?,
            interrupt: signal(SignalKind::interrupt())?,
            upgrade: signal(SignalKind::user_defined2())?,
        })
    }

    /// The next one.
    pub async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.interrupt.recv() => Told::End,
            _ = self.terminate.recv() => Told::Drain,
            _ = self.quit.recv() => Told::Drain,
            _ = self.upgrade.recv() => Told::Upgrade,
        }
    }
}

impl Signals {
    /// Has a new process take over, unless this one is told to end meanwhile: then the new one, which has
    /// not been told to go, ends as well. `None`: this process goes on as before.
    async fn upgrade(&self, ears: &mut Ears) -> Option<ShutdownSignal> {
        tracing::info!("a new process is started to take over");
        let mut begun = std::pin::pin!(self.succession.begin());
        loop {
            let told = tokio::select! {
                begun = &mut begun => return match begun {
                    Ok(()) => {
                        tracing::info!(under_way = SERIES.in_flight.get(), "replaced: what is under way is brought to its end");
                        Some(ShutdownSignal::GracefulTerminate)
                    }
                    Err(why) => {
                        tracing::error!("not replaced, this process goes on: {why}");
                        None
                    }
                },
                told = ears.next() => told,
            };
            match told {
                Told::End => return Some(ShutdownSignal::FastShutdown),
                Told::Drain => return Some(self.drain()),
                Told::Upgrade => {}
            }
        }
    }

    fn drain(&self) -> ShutdownSignal {
        self.draining.store(true, Ordering::Relaxed);
        notify::stopping();
        tracing::info!(under_way = SERIES.in_flight.get(), "draining: no new connection is taken");
        ShutdownSignal::GracefulTerminate
    }
}

#[async_trait]
impl ShutdownSignalWatch for Signals {
    async fn recv(&self) -> ShutdownSignal {
        let mut ears = self.ears.lock().await;
        loop {
            match ears.next().await {
                Told::End => return ShutdownSignal::FastShutdown,
                Told::Drain => return self.drain(),
                Told::Upgrade => {
                    if let Some(end) = self.upgrade(&mut ears).await {
                        return end;
                    }
                }
            }
        }
    }
}
