//! How plugins reach a Redis: one record for all that can, and one connection for all that name the same.
//!
//! A server that is away costs requests no time: after a failure the next ones fail at once for a while.

use crate::config::formats;
use crate::config::schema::{Field, Kind, Record};
use crate::config::secret::Secret;
use ::redis::aio::MultiplexedConnection;
use ::redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, FromRedisValue, IntoConnectionInfo,
    RedisConnectionInfo, RedisError,
};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

/// How long a server is left alone after it could not be reached.
const REST: Duration = Duration::from_secs(1);

/// The record `redis` of a plugin that keeps its counters or vectors there.
pub fn record(host: Option<&'static str>) -> Record {
    let address = Field::checked("host", formats::host).doc("Host of the server.");
    Record::new(vec![
        match host {
            Some(host) => address.default(host),
            None => address,
        },
        Field::port("port").default(6379).doc("Its port."),
        Field::integer("timeout", 0, 2_147_483_646).default(2000).doc("Milliseconds to wait."),
        Field::text("username").referenceable().shown().doc("User to authenticate as."),
        Field::new("password", Kind::sized(0, usize::MAX)).referenceable().doc("Password of that user."),
        Field::new("database", Kind::integer()).default(0).doc("Number of the database."),
        Field::boolean("ssl").default(false).doc("Whether to use TLS."),
        Field::boolean("ssl_verify").default(false).doc("Whether to verify its certificate."),
        Field::checked("server_name", formats::sni).doc("Server name to ask for."),
    ])
}

/// What the record says.
#[derive(Clone, PartialEq, Eq, Hash, serde::Deserialize)]
pub struct Settings {
    host: Option<String>,
    port: u16,
    timeout: u64,
    username: Option<String>,
    password: Option<Secret>,
    database: i64,
    ssl: bool,
    ssl_verify: bool,
    server_name: Option<String>,
}

/// A server and the connection to it.
pub struct Link {
    settings: Settings,
    state: tokio::sync::Mutex<State>,
}

#[derive(Default)]
struct State {
    connection: Option<MultiplexedConnection>,
    failed: Option<Instant>,
}

static LINKS: LazyLock<Mutex<HashMap<Settings, Weak<Link>>>> = LazyLock::new(Mutex::default);

impl Link {
    /// The link to a server: the same for all that name the same, also after a reload.
    pub fn open(settings: Settings) -> Result<Arc<Self>, &'static str> {
        let other = settings.server_name.as_deref().filter(|name| Some(*name) != settings.host.as_deref());
        if settings.ssl && other.is_some() {
            return Err(
                "redis.server_name: the server is asked for by its host; set redis.host to that name",
            );
        }
        let mut links = LINKS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(link) = links.get(&settings).and_then(Weak::upgrade) {
            return Ok(link);
        }
        links.retain(|_, link| link.strong_count() > 0);
        let link = Arc::new(Self { settings: settings.clone(), state: tokio::sync::Mutex::default() });
        links.insert(settings, Arc::downgrade(&link));
        Ok(link)
    }

    /// Sends a command. An error has been logged.
    pub async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, ()> {
        let mut connection = self.connection().await?;
        let answer = command.query_async::<T>(&mut connection).await;
        match answer {
            Ok(answer) => Ok(answer),
            Err(error) => {
                self.fail(&mut *self.state.lock().await, &error);
                Err(())
            }
        }
    }

    async fn connection(&self) -> Result<MultiplexedConnection, ()> {
        let mut state = self.state.lock().await;
        if let Some(connection) = &state.connection {
            return Ok(connection.clone());
        }
        if state.failed.is_some_and(|at| at.elapsed() < REST) {
            return Err(());
        }
        match self.connect().await {
            Ok(connection) => {
                if state.failed.take().is_some() {
                    tracing::info!(host = self.host(), "the Redis of a plugin can be reached again");
                }
                Ok(state.connection.insert(connection).clone())
            }
            Err(error) => {
                self.fail(&mut state, &error);
                Err(())
            }
        }
    }

    fn fail(&self, state: &mut State, error: &RedisError) {
        // Requests that failed together are one failure.
        if state.failed.is_none_or(|at| at.elapsed() >= REST) {
            tracing::error!(host = self.host(), port = self.settings.port, %error, "the Redis of a plugin failed");
        }
        *state = State { connection: None, failed: Some(Instant::now()) };
    }

    fn host(&self) -> &str {
        self.settings.host.as_deref().unwrap_or_default()
    }

    async fn connect(&self) -> Result<MultiplexedConnection, RedisError> {
        let of = &self.settings;
        let mut own = RedisConnectionInfo::default().set_db(of.database);
        // As Kong: a user without a password is nobody.
        if let Some(password) = of.password.as_deref().filter(|password| !password.is_empty()) {
            own = own.set_password(password);
            if let Some(username) = of.username.as_deref().filter(|username| !username.is_empty()) {
                own = own.set_username(username);
            }
        }
        let (host, port) = (self.host().to_owned(), of.port);
        let address = if of.ssl {
            ConnectionAddr::TcpTls { host, port, insecure: !of.ssl_verify, tls_params: None }
        } else {
            ConnectionAddr::Tcp(host, port)
        };
        let client = Client::open(address.into_connection_info()?.set_redis_settings(own))?;
        let patience = Some(Duration::from_millis(of.timeout.max(1)));
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(patience).set_response_timeout(patience);
        client.get_multiplexed_async_connection_with_config(&config).await
    }
}
