//! `tollgate run`: from flags to listeners, until SIGTERM has been served.

use super::descriptions::DescriptionKeeper;
use super::flags::Run;
use super::follow::Follower;
use super::reload::{self, Reloader};
use super::settings::Settings;
use super::tokens::TokenKeeper;
use crate::admin::{self, Door, Facts, Listener};
use crate::listen::address::Place;
use crate::log::sink;
use crate::meter::metrics::SERIES;
use crate::mock;
use crate::snapshot::Counts;
use crate::state::control::{Control, Ready};
use crate::state::store::Store;
use async_trait::async_trait;
use pingora::server::configuration::ServerConf;
use pingora::server::{RunArgs, Server, ShutdownSignal, ShutdownSignalWatch, ShutdownWatch};
use pingora::services::background::{BackgroundService, background_service};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// Serves until the process is told to stop. An error says why it could not start.
pub fn run(flags: &Run) -> Result<(), String> {
    let settings = Settings::of(flags)?;
    super::start_log(settings.log_format);
    let control = Arc::new(control(flags, &settings)?);
    let live = control.live().clone();
    let counts = live.load().counts;
    warn_of_open_admin(&settings);
    let draining = Arc::new(AtomicBool::new(false));
    let mut server = Server::new_with_opt_and_conf(None, server_conf(&settings));
    let door = Arc::new(Door::new(settings.proxy_listen.iter().map(|listen| listen.place.clone())));
    let facts = Facts {
        control: control.clone(),
        draining: draining.clone(),
        door,
        token: settings.admin.token.clone(),
        reveal_secrets: settings.admin.reveal_secrets,
        node: uuid::Uuid::new_v4(),
    };
    add_operators(&mut server, &settings, &facts)?;
    if control.store().is_shared() {
        server.add_service(background_service("follow", Follower { control: control.clone() }));
    }
    server.add_service(background_service("reload", Reloader { files: flags.config.clone(), control }));
    server.add_service(background_service("tokens", TokenKeeper::default()));
    server.add_service(background_service("descriptions", DescriptionKeeper::default()));
    if let Some(address) = flags.mock_llm {
        let socket = bound(address, "simulated model")?;
        server.add_service(background_service("mock-llm", Model(socket)));
    }
    try_proxy(&settings)?;
    super::proxy::add(&mut server, &settings, live)?;
    announce(flags, &settings, counts);
    let grace = Duration::from_secs(settings.grace_seconds);
    server.add_service(background_service("drain", Drain { grace }));
    server.run(RunArgs { shutdown_signal: Box::new(Signals { draining }) });
    sink::flush_all(Duration::from_secs(2));
    Ok(())
}

fn announce(flags: &Run, settings: &Settings, counts: Counts) {
    tracing::info!(
        proxy = %settings.proxy_listen,
        admin = %settings.admin_listen,
        status = %settings.status_listen,
        mock_llm = flags.mock_llm.map(tracing::field::display),
        threads = settings.threads,
        services = counts.services,
        routes = counts.routes,
        plugins = counts.plugins,
        targets = counts.targets,
        "tollgate {} is listening",
        env!("CARGO_PKG_VERSION"),
    );
}

/// The configuration to begin with: the store's if there is one and it keeps any, else the files'.
fn control(flags: &Run, settings: &Settings) -> Result<Control, String> {
    let store = Store::open(settings.store.as_deref(), settings.state.as_deref())?;
    if flags.config.is_empty() && !store.is_writable() {
        return Err("name a configuration: --config FILE, --state DIR or --store URL".to_owned());
    }
    // The services have runtimes of their own; this one is only for the start.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start: {error}"))?;
    let first = || if flags.config.is_empty() { Ready::empty() } else { reload::load(&flags.config) };
    let started = runtime.block_on(Control::start(store, first));
    started.map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

fn server_conf(settings: &Settings) -> ServerConf {
    ServerConf {
        threads: settings.threads,
        upstream_keepalive_pool_size: settings.keepalive_pool,
        // `Drain` ends the process; this is the net below it.
        grace_period_seconds: Some(settings.grace_seconds + 1),
        graceful_shutdown_timeout_seconds: Some(0),
        ..ServerConf::default()
    }
}

fn bound(address: SocketAddr, what: &str) -> Result<std::net::TcpListener, String> {
    admin::bind(address).map_err(|error| format!("{what} cannot listen on {address}: {error}"))
}

fn add_operators(server: &mut Server, settings: &Settings, facts: &Facts) -> Result<(), String> {
    let status = bound(settings.status_listen, "status listener")?;
    let admin = bound(settings.admin_listen, "admin listener")?;
    let status = Listener { socket: status, router: admin::status_router(facts.clone()) };
    let admin = Listener { socket: admin, router: admin::admin_router(facts.clone()) };
    for (name, listener) in [("status", status), ("admin", admin)] {
        let mut service = background_service(name, listener);
        service.threads = Some(1);
        server.add_service(service);
    }
    Ok(())
}

/// Pingora would panic on a taken port, long after the start line.
fn try_proxy(settings: &Settings) -> Result<(), String> {
    for listen in settings.proxy_listen.iter().filter(|listen| !listen.reuseport) {
        if let Place::Tcp(address) = listen.place {
            drop(bound(address, "proxy listener")?);
        }
    }
    Ok(())
}

fn warn_of_open_admin(settings: &Settings) {
    let address = settings.admin_listen;
    if settings.admin.token.is_none() && !address.ip().is_loopback() {
        tracing::warn!(%address, "the Admin API can be reached from outside and asks for no token: set admin.token");
    }
}

/// The simulated model inside the gateway's process.
struct Model(std::net::TcpListener);

#[async_trait]
impl BackgroundService for Model {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let stop = async move {
            let _ = shutdown.wait_for(|down| *down).await;
        };
        let served = match self.0.try_clone().and_then(tokio::net::TcpListener::from_std) {
            Ok(listener) => mock::serve(listener, mock::Options::default(), stop).await,
            Err(error) => Err(error),
        };
        if let Err(error) = served {
            tracing::error!(%error, "the simulated model has stopped");
        }
    }
}

/// SIGTERM drains, SIGINT ends at once, SIGQUIT hands the listeners to a new process and drains.
struct Signals {
    draining: Arc<AtomicBool>,
}

#[async_trait]
impl ShutdownSignalWatch for Signals {
    async fn recv(&self) -> ShutdownSignal {
        let listen =
            |kind| signal(kind).inspect_err(|error| tracing::error!(%error, "a signal cannot be heard"));
        let heard =
            (listen(SignalKind::terminate()), listen(SignalKind::interrupt()), listen(SignalKind::quit()));
        let (Ok(mut term), Ok(mut int), Ok(mut quit)) = heard else {
            return std::future::pending().await;
        };
        let kind = tokio::select! {
            _ = int.recv() => return ShutdownSignal::FastShutdown,
            _ = term.recv() => ShutdownSignal::GracefulTerminate,
            _ = quit.recv() => ShutdownSignal::GracefulUpgrade,
        };
        self.draining.store(true, Ordering::Relaxed);
        tracing::info!(under_way = SERIES.in_flight.get(), "draining: no new connection is taken");
        kind
    }
}

/// Ends the process as soon as nothing is under way any more. Pingora closes the listeners at once
/// but then sleeps its grace period in full; that period is only the bound here.
struct Drain {
    grace: Duration,
}

#[async_trait]
impl BackgroundService for Drain {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        if shutdown.wait_for(|down| *down).await.is_err() {
            return;
        }
        let drained = tokio::time::timeout(self.grace, quiet()).await.is_ok();
        sink::flush_all(Duration::from_secs(2));
        if drained {
            tracing::info!("drained");
        } else {
            tracing::warn!(left = SERIES.in_flight.get(), "what is still under way is cut off");
        }
        std::process::exit(0);
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
