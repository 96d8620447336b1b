//! Where clients come in: the proxy's service on sockets that may be older than the process, and a count
//! of the connections that are open.

use super::handover::successor::Successor;
use crate::heap;
use async_trait::async_trait;
use pingora::apps::ServerApp;
use pingora::protocols::Stream;
use pingora::server::{ListenFds, ShutdownWatch};
use pingora::services::Service;
use pingora::services::listening;
use std::os::fd::{IntoRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// How often threads are asked to give memory back,
const PAUSE: Duration = Duration::from_secs(5);
/// and how many turns each of those who ask them takes.
const TURNS: usize = 32;

/// How many connections of clients are open.
#[derive(Default)]
pub struct Clients(AtomicUsize);

impl Clients {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }
}

/// One connection, until it is dropped.
struct Client(Arc<Clients>);

impl Client {
    fn come(clients: Arc<Clients>) -> Self {
        clients.0.fetch_add(1, Ordering::AcqRel);
        Self(clients)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// An application whose connections are counted, and left to themselves when the process is replaced.
pub struct Attended<A> {
    /// The application.
    pub app: Arc<A>,
    /// Counts them.
    pub clients: Arc<Clients>,
    /// Says whether the process has been replaced.
    pub successor: Arc<Successor>,
}

#[async_trait]
impl<A: ServerApp + Send + Sync + 'static> ServerApp for Attended<A> {
    /// Pingora's task for a connection has room for a TLS handshake, which is never made there: nearly 9 KB
    /// for as long as the connection lives. It ends here, and one without that room goes on.
    async fn process_new(self: &Arc<Self>, stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        let open = Client::come(self.clients.clone());
        let (app, shutdown) = (self.app.clone(), shutdown.clone());
        tokio::spawn(async move {
            let _open = open;
            let mut reused = Some(stream);
            while let Some(stream) = reused {
                reused = app.process_new(stream, &shutdown).await;
            }
        });
        None
    }

    /// Pingora hangs up on idle connections here. A client that is just sending its next request on one
    /// would see it fail; where there is a successor, there is time to answer it and to close then.
    async fn cleanup(&self) {
        if !self.successor.is_there() {
            self.app.cleanup().await;
        }
    }
}

/// A service that listens on sockets which are open already, each under the address it was added with.
pub struct Entrance<A> {
    /// What listens.
    pub service: listening::Service<A>,
    /// Each with its address.
    pub sockets: Vec<(String, OwnedFd)>,
}

#[async_trait]
impl<A: ServerApp + Send + Sync + 'static> Service for Entrance<A> {
    async fn start_service(&mut self, fds: Option<ListenFds>, shutdown: ShutdownWatch, tasks: usize) {
        if let Some(fds) = &fds {
            for (address, socket) in self.sockets.drain(..) {
                fds.lock().add(address, socket.into_raw_fd());
            }
        }
        tokio::spawn(give_back(shutdown.clone(), self.service.threads.unwrap_or(1)));
        // Named: the other trait of services has a method of the same name.
        Service::start_service(&mut self.service, fds, shutdown, tasks).await;
    }

    fn name(&self) -> &str {
        Service::name(&self.service)
    }

    fn threads(&self) -> Option<usize> {
        self.service.threads
    }

    fn listen_addresses(&self) -> Option<Vec<String>> {
        Service::listen_addresses(&self.service)
    }
}

/// Sees to it that threads without requests give memory back, too. Nothing can be run on a certain thread; so
/// there are some tasks for each, which take long enough to be shared among them.
async fn give_back(mut shutdown: ShutdownWatch, threads: usize) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            _ = shutdown.changed() => return,
        }
        for _ in 0..threads {
            tokio::spawn(async {
                for _ in 0..TURNS {
                    heap::tidy();
                    tokio::task::yield_now().await;
                }
            });
        }
    }
}
