//! tcp-log: sends a JSON line for every exchange to a TCP server.

use super::file_log::without_lua;
use super::queued::{lua_field, queued};
use super::{Conf, Plugin, PluginKind};
use crate::config::formats;
use crate::config::schema::{Field, Record, Rule};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::log::queue::{Receiver, Settings as QueueSettings};
use std::io::{ErrorKind as IoKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

/// Its entry in the list of plugins.
pub static KIND: PluginKind = PluginKind {
    name: "tcp-log",
    priority: 7,
    schema,
    rules: Vec::new,
    protocols: super::HTTP,
    consumer_scope: true,
    build,
};

/// `config`.
pub fn schema() -> Record {
    Record::new(vec![
        Field::checked("host", formats::host).required().doc("Host of the server."),
        Field::port("port").required().doc("Its port."),
        Field::above("timeout", 0.0).default(10_000).doc("Milliseconds to wait."),
        Field::above("keepalive", 0.0).default(60_000).doc("Accepted; the connection is kept."),
        Field::flag("tls", false).doc("Whether to use TLS; not served yet."),
        Field::text("tls_sni").doc("Server name to ask for."),
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
};

#[derive(serde::Deserialize)]
struct Settings {
    host: String,
    port: u16,
    timeout: f64,
    tls: bool,
}

fn build(conf: Conf<'_>) -> Result<Arc<dyn Plugin>> {
    let settings: Settings = conf.read()?;
    if settings.tls {
        return Err(Error::new(ErrorKind::Unsupported, "tls: is not served by this release of tollgate"));
    }
    let timeout = Duration::from_secs_f64(settings.timeout.clamp(1.0, 1e9) / 1e3);
    let server = Server { host: settings.host, port: settings.port, timeout, stream: None };
    Ok(queued(conf, &QUEUE, server))
}

struct Server {
    host: String,
    port: u16,
    timeout: Duration,
    stream: Option<TcpStream>,
}

impl Server {
    fn connect(&self) -> std::io::Result<TcpStream> {
        let mut last = IoKind::AddrNotAvailable.into();
        for address in (self.host.as_str(), self.port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, self.timeout) {
                Ok(stream) => {
                    stream.set_write_timeout(Some(self.timeout))?;
                    return Ok(stream);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn send(&mut self, text: &[u8]) -> std::io::Result<()> {
        // A server that has hung up would still take the first write, to nobody.
        let mut stream = match self.stream.take().filter(is_open) {
            Some(stream) => stream,
            None => self.connect()?,
        };
        stream.write_all(text)?;
        self.stream = Some(stream);
        Ok(())
    }
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
