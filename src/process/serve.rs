//! `tollgate run`: from flags to listeners, until SIGTERM has been served.

use super::books::{Bookkeeper, Books};
use super::descriptions::DescriptionKeeper;
use super::drain::{self, Drain};
use super::entrance::Clients;
use super::flags::Run;
use super::follow::Follower;
use super::handles::Handles;
use super::handover::Program;
use super::handover::parent::Parent;
use super::handover::successor::{self, Succession, Successor};
use super::log_file;
use super::notify;
use super::pid_file::PidFile;
use super::proxy::Way;
use super::reload::{self, Reloader};
use super::settings::Settings;
use super::signals::{Ears, Signals};
use super::tokens::TokenKeeper;
use crate::admin::{self, Door, Facts, Listener, Rest};
use crate::mock;
use crate::snapshot::Counts;
use crate::state::control::{Control, Ready};
use crate::state::store::Store;
use async_trait::async_trait;
use pingora::server::configuration::ServerConf;
use pingora::server::{RunArgs, Server, ShutdownWatch};
use pingora::services::background::{BackgroundService, background_service};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Mutex;

/// Serves until the process is told to stop. An error says why it could not start.
pub fn run(flags: &Run) -> Result<(), String> {
    let settings = Settings::of(flags)?;
    let program = Arc::new(Program::this()?);
    let (parent, handles) = match Parent::find()? {
        None if settings.daemon => return successor::detach(&program),
        None => (None, Handles::default()),
        Some((parent, handles)) => (Some(parent), handles),
    };
    super::start_log(settings.log_format, settings.log_file.is_some());
    let process = Process::new(flags, &settings, handles)?;
    let counts = process.control.live().load().counts;
    warn_of_open_admin(&settings);
    let (server, signals) = {
        // Signals are heard from here on, whichever runtime waits for them.
        let _context = process.runtime.enter();
        (process.server(flags, &settings)?, process.signals(program)?)
    };
    process.handles.close_unclaimed();
    process.take_over(parent, &settings)?;
    announce(flags, &settings, counts);
    notify::serving();
    server.run(RunArgs { shutdown_signal: Box::new(signals) });
    drain::end(&process.books, &process.successor, (*process.pid_file).as_ref());
    Ok(())
}

/// What the services share.
struct Process {
    /// For the start only: the services have runtimes of their own.
    runtime: Runtime,
    control: Arc<Control>,
    books: Arc<Books>,
    handles: Arc<Handles>,
    pid_file: Arc<Option<PidFile>>,
    rest: Arc<Rest>,
    clients: Arc<Clients>,
    successor: Arc<Successor>,
    draining: Arc<AtomicBool>,
}

impl Process {
    fn new(flags: &Run, settings: &Settings, handles: Handles) -> Result<Self, String> {
        let pid_file = settings.pid_file.as_deref().map(|path| PidFile::claim(path, &handles)).transpose()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| format!("cannot start: {error}"))?;
        let control = Arc::new(control(flags, settings, &handles, &runtime)?);
        Ok(Self {
            runtime,
            books: Arc::new(Books::new(control.clone())),
            control,
            handles: Arc::new(handles),
            pid_file: Arc::new(pid_file),
            rest: Arc::default(),
            clients: Arc::default(),
            successor: Arc::default(),
            draining: Arc::default(),
        })
    }

    /// All services, with their sockets bound.
    fn server(&self, flags: &Run, settings: &Settings) -> Result<Server, String> {
        let mut server = Server::new_with_opt_and_conf(None, server_conf(settings));
        self.add_operators(&mut server, settings)?;
        let control = self.control.clone();
        if control.store().is_shared() {
            server.add_service(background_service("follow", Follower { control: control.clone() }));
        }
        let (files, log) = (flags.config.clone(), settings.log_file.clone());
        let hangup = Mutex::new(signal(SignalKind::hangup()).map_err(deaf)?);
        server.add_service(background_service("reload", Reloader { files, log, control, hangup }));
        server.add_service(background_service("tokens", TokenKeeper::default()));
        server.add_service(background_service("descriptions", DescriptionKeeper::default()));
        server.add_service(background_service("books", Bookkeeper(self.books.clone())));
        if let Some(address) = flags.mock_llm {
            let socket = self.handles.listener(address, "simulated model")?;
            server.add_service(background_service("mock-llm", Model(socket)));
        }
        self.add_proxy(&mut server, settings)?;
        server.add_service(background_service("drain", self.drain(settings)?));
        Ok(server)
    }

    /// Where another process started this one: tells it that this one could serve, and waits for leave.
    fn take_over(&self, parent: Option<Parent>, settings: &Settings) -> Result<(), String> {
        let Some(parent) = parent else { return self.settle_in(settings) };
        let mut leave = parent.ready()?;
        let settled = self.settle_in(settings);
        if leave.detaches() {
            settled?;
            log_file::silence()?;
        } else if let Err(why) = settled {
            // The process before has let go: from here on this one has to serve.
            tracing::error!("{why}");
        }
        let counters = std::mem::take(&mut leave.counters);
        if let Some(channel) = leave.serve() {
            self.books.inherit(counters, channel);
        }
        Ok(())
    }

    /// Its log and its number, where others look for them.
    fn settle_in(&self, settings: &Settings) -> Result<(), String> {
        settings.log_file.as_deref().map(log_file::direct).transpose()?;
        (*self.pid_file).as_ref().map(PidFile::write).transpose().map(drop)
    }

    fn signals(&self, program: Arc<Program>) -> Result<Signals, String> {
        let succession = Succession {
            program,
            handles: self.handles.clone(),
            books: self.books.clone(),
            rest: self.rest.clone(),
            successor: self.successor.clone(),
        };
        let ears = Mutex::new(Ears::open().map_err(deaf)?);
        Ok(Signals { ears, draining: self.draining.clone(), succession })
    }

    fn drain(&self, settings: &Settings) -> Result<Drain, String> {
        Ok(Drain {
            ears: Mutex::new(Ears::open().map_err(deaf)?),
            grace: Duration::from_secs(settings.grace_seconds),
            upgrade: Duration::from_secs(settings.upgrade_seconds),
            handles: self.handles.clone(),
            clients: self.clients.clone(),
            books: self.books.clone(),
            successor: self.successor.clone(),
            pid_file: self.pid_file.clone(),
        })
    }

    fn add_operators(&self, server: &mut Server, settings: &Settings) -> Result<(), String> {
        let status = self.handles.listener(settings.status_listen, "status listener")?;
        let admin = self.handles.listener(settings.admin_listen, "admin listener")?;
        let facts = Facts {
            control: self.control.clone(),
            draining: self.draining.clone(),
            door: Arc::new(Door::new(settings.proxy_listen.iter().map(|listen| listen.place.clone()))),
            books: self.books.clone(),
            token: settings.admin.token.clone(),
            reveal_secrets: settings.admin.reveal_secrets,
            node: *crate::node::ID,
        };
        let status = (status, admin::status_router(facts.clone()));
        let admin = (admin, admin::admin_router(facts));
        for (name, (socket, router)) in [("status", status), ("admin", admin)] {
            let mut service = background_service(name, Listener { socket, router, rest: self.rest.clone() });
            service.threads = Some(1);
            server.add_service(service);
        }
        Ok(())
    }

    fn add_proxy(&self, server: &mut Server, settings: &Settings) -> Result<(), String> {
        let (clients, successor) = (self.clients.clone(), self.successor.clone());
        let way = Way { handles: &self.handles, clients, successor };
        super::proxy::add(server, settings, self.control.live().clone(), way)
    }
}

#[allow(clippy::needless_pass_by_value)] // as `map_err` gives it
fn deaf(error: std::io::Error) -> String {
    format!("signals cannot be heard: {error}")
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
fn control(
    flags: &Run,
    settings: &Settings,
    handles: &Handles,
    runtime: &Runtime,
) -> Result<Control, String> {
    let lock = "lock of the state directory";
    let store = Store::open(settings.store.as_deref(), settings.state.as_deref(), handles.lock(lock))?;
    let held = store.lock().map(|file| handles.hold(lock, file)).transpose();
    held.map_err(|error| format!("the state directory cannot be kept: {error}"))?;
    if flags.config.is_empty() && !store.is_writable() {
        return Err("name a configuration: --config FILE, --state DIR or --store URL".to_owned());
    }
    let first = || if flags.config.is_empty() { Ready::empty() } else { reload::load(&flags.config) };
    let started = runtime.block_on(Control::start(store, first));
    started.map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

fn server_conf(settings: &Settings) -> ServerConf {
    ServerConf {
        threads: settings.threads,
        upstream_keepalive_pool_size: settings.keepalive_pool,
        ca_file: crate::upstream::trust::file(),
        // `Drain` ends the process; this is the net below it.
        grace_period_seconds: Some(settings.grace_seconds + settings.upgrade_seconds + 60),
        graceful_shutdown_timeout_seconds: Some(0),
        ..ServerConf::default()
    }
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
