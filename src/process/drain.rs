//! The end of the process: what is under way is brought to its end, within a bound.

use super::books::Books;
use super::entrance::Clients;
use super::handles::Handles;
use super::handover::successor::Successor;
use super::pid_file::PidFile;
use super::signals::{Ears, Told};
use crate::log::sink;
use crate::meter::metrics::SERIES;
use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// Ends the process as soon as nothing is under way any more. Pingora closes the listeners at once
/// but then sleeps its grace period in full; that period is only the bound here.
pub struct Drain {
    /// The bound when the process is told to stop, and when it has been replaced.
    pub grace: Duration,
    /// How long a process that was replaced may last.
    pub upgrade: Duration,
    /// Hear what the process is told.
    pub ears: Mutex<Ears>,
    /// What may go to the next process.
    pub handles: Arc<Handles>,
    /// The connections that are open.
    pub clients: Arc<Clients>,
    /// The counters to hand on.
    pub books: Arc<Books>,
    /// Whether another process has taken over.
    pub successor: Arc<Successor>,
    /// Taken away at the end, unless it is another's by then.
    pub pid_file: Arc<Option<PidFile>>,
}

/// A connection that was just accepted may still be in its TLS handshake, where it is not counted.
const LINGER: Duration = Duration::from_secs(5);
/// How often the process looks whether it may end.
const LOOK: Duration = Duration::from_millis(100);

#[async_trait]
impl BackgroundService for Drain {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        if shutdown.wait_for(|down| *down).await.is_err() {
            return;
        }
        self.handles.release();
        let replaced = self.successor.is_there();
        let drained = if replaced {
            self.replaced().await
        } else {
            tokio::time::timeout(self.grace, quiet()).await.is_ok()
        };
        if drained {
            tracing::info!("drained");
        } else {
            tracing::warn!(left = SERIES.in_flight.get(), "what is still under way is cut off");
        }
        let (books, successor, pid_file) =
            (self.books.clone(), self.successor.clone(), self.pid_file.clone());
        let _ = tokio::task::spawn_blocking(move || end(&books, &successor, (*pid_file).as_ref())).await;
        std::process::exit(0);
    }
}

impl Drain {
    /// Clients that came to this process are served by it until they go, or until the bound. Whether
    /// they all went.
    async fn replaced(&self) -> bool {
        let mut ears = self.ears.lock().await;
        let told = async {
            loop {
                match ears.next().await {
                    Told::Upgrade => {}
                    told => return told,
                }
            }
        };
        tokio::select! {
            () = self.left_alone() => true,
            () = tokio::time::sleep(self.upgrade) => false,
            // A service manager tells all processes to stop, also those that have been replaced.
            told = told => told == Told::Drain && tokio::time::timeout(self.grace, quiet()).await.is_ok(),
        }
    }

    /// Waits until no client has a connection to this process, and the one before it has ended.
    async fn left_alone(&self) {
        tokio::time::sleep(LINGER).await;
        while self.clients.count() > 0 || SERIES.in_flight.get() > 0 || !self.books.are_closed().await {
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// The last things that a process does.
pub fn end(books: &Books, successor: &Successor, pid_file: Option<&PidFile>) {
    sink::flush_all(Duration::from_secs(2));
    if successor.is_there() {
        successor.finish(books);
    } else if let Some(pid_file) = pid_file {
        pid_file.remove();
    }
}

/// Waits until nothing is under way.
async fn quiet() {
    let mut looks = 0;
    while looks < 3 {
        // A request whose first bytes have just come is not counted yet: look more than once.
        tokio::time::sleep(Duration::from_millis(40)).await;
        looks = if SERIES.in_flight.get() == 0 { looks + 1 } else { 0 };
    }
}
