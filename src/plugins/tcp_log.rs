//! tcp-log: sends a JSON line for every exchange to a TCP server.

use super::file_log::without_lua;
use super::queued::{lua_field, queued};
use super::{Conf, Plugin, PluginKind, post};
use crate::config::formats;
use crate::config::schema::{Field, Record, Rule};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::log::queue::{Receiver, Settings as QueueSettings, one_by_one};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{ErrorKind as IoKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

/// Its entry in the list of plugins.
pub static KIND: PluginKind = PluginKind::new("tcp-log", 7, schema, build);

/// `config`.
pub fn schema() -> Record {
    Record::new(vec![
        Field::checked("host", formats::host).required().doc("Host of the server."),
        Field::port("port").required().doc("Its port."),
        Field::above("timeout", 0.0).default(10_000).doc("Milliseconds to wait."),
        Field::above("keepalive", 0.0).default(60_000).doc("Accepted; the connection is kept."),
        Field::flag("tls", false).doc("Whether to use TLS; the server's certificate is verified."),
        Field::checked("tls_sni", formats::host)
            .doc("Server name to ask for, and to find in the certificate."),
        lua_field(),
    ])
    .rules(vec![Rule::Check(without_lua)])
}

/// Kong has no queue here, and tries once. Lines go together as they come, and are retried for a while.
const QUEUE: QueueSettings = QueueSettings {
    max_batch_size: 1000,
    max_coalescing_delay: 0.0,
    max_entries: 10_000,
    max_bytes: None,
    max_retry_time: 60.0,
    initial_retry_delay: 0.01,
    max_retry_delay: 5.0,
    concurrency_limit: one_by_one(),
};

#[derive(serde::Deserialize)]
struct Settings {
    host: String,
    port: u16,
    timeout: f64,
    tls: bool,
    tls_sni: Option<String>,
}

fn build(conf: Conf<'_>) -> Result<Arc<dyn Plugin>> {
    let Settings { host, port, timeout, tls, tls_sni } = conf.read()?;
    let (field, asked) = tls_sni.map_or_else(|| ("host", host.clone()), |name| ("tls_sni", name));
    let bad = |_| Error::new(ErrorKind::Internal, format!("{field}: '{asked}' is not the name of a server"));
    let name = tls.then(|| ServerName::try_from(asked.clone()).map_err(bad)).transpose()?;
    let timeout = post::millis(timeout);
    let server =
        || Server { host: host.clone(), port, timeout, name: name.clone(), trust: None, stream: None };
    Ok(queued(conf, &QUEUE, server))
}

struct Server {
    host: String,
    port: u16,
    timeout: Duration,
    /// Whose certificate it has to show, if it speaks TLS.
    name: Option<ServerName<'static>>,
    /// The authorities of the system, once they were needed.
    trust: Option<Arc<ClientConfig>>,
    stream: Option<Stream>,
}

/// The connection.
enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Stream {
    fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => &stream.sock,
        }
    }

    fn write(&mut self, text: &[u8]) -> std::io::Result<()> {
        match self {
            Self::Plain(stream) => stream.write_all(text),
            Self::Tls(stream) => stream.write_all(text).and_then(|()| stream.flush()),
        }
    }
}

impl Server {
    /// Connects, and shakes hands if the server speaks TLS.
    ///
    // KONG(plugins/tcp-log/handler.lua): does not look at the server's certificate; it is verified here.
    fn connect(&mut self) -> std::io::Result<Stream> {
        let mut socket = self.reach()?;
        let Some(name) = self.name.clone() else { return Ok(Stream::Plain(socket)) };
        let trust = match &self.trust {
            Some(trust) => trust.clone(),
            None => self.trust.insert(trust()?).clone(),
        };
        let mut connection = ClientConnection::new(trust, name).map_err(std::io::Error::other)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut socket)?;
        }
        Ok(Stream::Tls(Box::new(StreamOwned::new(connection, socket))))
    }

    fn reach(&self) -> std::io::Result<TcpStream> {
        let mut last = IoKind::AddrNotAvailable.into();
        for address in (self.host.as_str(), self.port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, self.timeout) {
                Ok(stream) => {
                    stream.set_write_timeout(Some(self.timeout))?;
                    stream.set_read_timeout(Some(self.timeout))?;
                    return Ok(stream);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn send(&mut self, text: &[u8]) -> std::io::Result<()> {
        // A server that has hung up would still take the first write, to nobody.
        let mut stream = match self.stream.take().filter(|stream| is_open(stream.socket())) {
            Some(stream) => stream,
            None => self.connect()?,
        };
        stream.write(text)?;
        self.stream = Some(stream);
        Ok(())
    }
}

/// Trust in the authorities of the system.
fn trust() -> std::io::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    pingora::tls::load_platform_certs_incl_env_into_store(&mut roots).map_err(std::io::Error::other)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(std::io::Error::other)?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

/// Whether the other side has not hung up; what it says is of no interest.
fn is_open(stream: &TcpStream) -> bool {
    let mut stream = stream;
    if stream.set_nonblocking(true).is_err() {
        return false;
    }
    let mut said = [0; 512];
    let open = loop {
        match stream.read(&mut said) {
            Ok(0) => break false,
            Ok(_) => {}
            Err(error) => break error.kind() == IoKind::WouldBlock,
        }
    };
    open && stream.set_nonblocking(false).is_ok()
}

impl Receiver for Server {
    fn take(&mut self, batch: &[Vec<u8>]) -> std::result::Result<(), String> {
        let mut text = batch.join(&b'\n');
        text.push(b'\n');
        self.send(&text).map_err(|error| format!("failed to send to {}:{}: {error}", self.host, self.port))
    }
}
