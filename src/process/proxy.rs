//! The proxy service: the gateway behind its listeners.

use super::entrance::{Attended, Clients, Entrance};
use super::handles::Handles;
use super::handover::successor::Successor;
use super::settings::Settings;
use crate::accept::room;
use crate::gateway::Gateway;
use crate::heap;
use crate::listen::address::{Listen, Place};
use crate::listen::certificates::Shelf;
use crate::listen::front::Front;
use crate::listen::tls::Tls;
use crate::polling;
use crate::snapshot::Snapshot;
use crate::turns;
use crate::upstream::attempt::Connections;
use arc_swap::ArcSwap;
use async_trait::async_trait;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use pingora::apps::HttpServerOptions;
use pingora::listeners::{L4BufferSettings, ListenerConfig};
use pingora::protocols::http::v2::server::default_h2_options;
use pingora::server::{Server, ShutdownWatch};
use pingora::services::background::{BackgroundService, background_service};
use pingora::services::listening::Service;
use pingora_proxy::http_proxy;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// Adds it to the server, with what keeps its certificates fresh.
pub fn add(
    server: &mut Server,
    settings: &Settings,
    live: Arc<ArcSwap<Snapshot>>,
    way: Way<'_>,
) -> Result<(), String> {
    open_files();
    room::furnish(settings.body_memory_mib);
    if settings.busy_polling {
        polling::switch_on();
    }
    turns::furnish(settings.threads);
    let connections = Arc::new(Connections::new(settings.keepalive_pool));
    server.add_service(background_service("sweep", Sweeper(connections.clone())));
    let gateway = Gateway { live, connections, patience: settings.patience(), edge: settings.edge() };
    let mut app = http_proxy(&server.configuration, gateway.clone());
    let mut options = HttpServerOptions::default();
    options.h2c = true;
    options.h2_idle_timeout = Some(Duration::from_secs(settings.idle_seconds.max(1)));
    app.server_options = Some(options);
    let mut second = default_h2_options();
    second.max_header_list_size(u32::try_from(settings.max_header_bytes).unwrap_or(u32::MAX));
    app.h2_options = Some(second);
    let listens = &settings.proxy_listen;
    let tls = match listens.iter().find(|listen| listen.manner.ssl) {
        Some(listen) => Some(secure(server, settings, listen, &gateway.live)?),
        None => None,
    };
    let front = Front::new((app, Box::new(gateway)), listens.iter(), tls, settings.limits());
    let Way { handles, clients, successor } = way;
    let attended = Attended { app: Arc::new(front), clients, successor };
    let mut service = Service::new("proxy".to_owned(), attended);
    service.threads = Some(settings.threads);
    let mut sockets = Vec::new();
    for listen in listens.iter() {
        sockets.push(socket(handles, listen)?);
        service.add_listener(endpoint(listen));
    }
    server.add_service(Entrance { service, sockets });
    Ok(())
}

/// How the listeners pass from a process to the next, and what it waits for before it ends.
pub struct Way<'a> {
    /// Those that pass.
    pub handles: &'a Handles,
    /// Those that are waited for.
    pub clients: Arc<Clients>,
    /// Says whether the process has been replaced.
    pub successor: Arc<Successor>,
}

/// Every connection is an open file, and many systems begin with a low limit that may be raised.
fn open_files() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, most)| setrlimit(Resource::RLIMIT_NOFILE, most, most));
    if let Err(error) = raised {
        tracing::warn!(%error, "the limit on open files cannot be raised");
    }
}

fn secure(
    server: &mut Server,
    settings: &Settings,
    listen: &Listen,
    live: &Arc<ArcSwap<Snapshot>>,
) -> Result<Tls, String> {
    let pairs = &settings.tls.certificates;
    if pairs.is_empty() && live.load().certificates.is_empty() {
        return Err(format!(
            "proxy_listen: {listen} needs a certificate: set tls.certificates, or begin with one in `certificates` \
             of the configuration"
        ));
    }
    let live = live.clone();
    let declared = Box::new(move || live.load().certificates.clone());
    let shelf = Shelf::open(pairs, declared).map_err(|why| format!("tls.certificates: {why}"))?;
    let shelf = Arc::new(shelf);
    let pause = Duration::from_secs(settings.tls.reload_seconds.max(1));
    server.add_service(background_service("certificates", CertificateKeeper { shelf: shelf.clone(), pause }));
    Tls::new(&shelf)
}

/// A listener's socket, under the name by which Pingora asks for it.
fn socket(handles: &Handles, listen: &Listen) -> Result<(String, OwnedFd), String> {
    const WHAT: &str = "proxy listener";
    Ok(match &listen.place {
        Place::Tcp(address) if listen.reuseport => {
            (address.to_string(), handles.shared_listener(*address, WHAT)?.into())
        }
        Place::Tcp(address) => (address.to_string(), handles.listener(*address, WHAT)?.into()),
        Place::Unix(path) => (path.to_string_lossy().into_owned(), handles.unix_listener(path, WHAT)?.into()),
    })
}

fn endpoint(listen: &Listen) -> ListenerConfig {
    let config = match &listen.place {
        Place::Tcp(address) => ListenerConfig::tcp(address.to_string()),
        Place::Unix(path) => ListenerConfig::uds(path.to_string_lossy()),
    };
    // What reads from it has a buffer of its own; one of 64 KiB here would be held by idle connections.
    config.l4_buffer(L4BufferSettings::default().read(0))
}

/// Closes upstream connections that nobody has used for long, and has threads give memory back.
struct Sweeper(Arc<Connections>);

#[async_trait]
impl BackgroundService for Sweeper {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(Duration::from_secs(5)) => {}
                _ = shutdown.changed() => return,
            }
            self.0.sweep();
            // While large bodies come and go there is much to give back, which takes a thread milliseconds, and
            // is wanted again at once.
            if room::is_free() {
                heap::due();
            }
        }
    }
}

/// Looks at the certificates' files, every few seconds and on SIGHUP.
struct CertificateKeeper {
    shelf: Arc<Shelf>,
    pause: Duration,
}

#[async_trait]
impl BackgroundService for CertificateKeeper {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let Ok(mut hangup) = signal(SignalKind::hangup()) else {
            return tracing::error!("SIGHUP cannot be heard: certificates are not reloaded");
        };
        let mut said = None;
        loop {
            tokio::select! {
                () = tokio::time::sleep(self.pause) => {}
                _ = hangup.recv() => {}
                _ = shutdown.changed() => return,
            }
            match self.shelf.refresh() {
                Ok(false) => {}
                Ok(true) => {
                    said = None;
                    tracing::info!("certificates reloaded");
                }
                // A file that is away is away at every look.
                Err(why) if said.as_ref() == Some(&why) => {}
                Err(why) => {
                    tracing::error!("certificates: {why}: the old ones stay in force");
                    said = Some(why);
                }
            }
        }
    }
}
