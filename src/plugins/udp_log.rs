//! udp-log: sends a datagram for every exchange.

use super::file_log::without_lua;
use super::queued::{lua_field, queued};
use super::{Conf, Plugin, PluginKind};
use crate::config::formats;
use crate::config::schema::{Field, Record, Rule};
use crate::error::Result;
use crate::log::queue::{Receiver, Settings as QueueSettings, one_by_one};
use std::net::{Ipv4Addr, Ipv6Addr, ToSocketAddrs, UdpSocket};
use std::sync::Arc;

/// Its entry in the list of plugins.
pub static KIND: PluginKind = PluginKind::new("udp-log", 8, schema, build);

/// `config`.
pub fn schema() -> Record {
    Record::new(vec![
        Field::checked("host", formats::host).required().doc("Host of the server."),
        Field::port("port").required().doc("Its port."),
        Field::above("timeout", 0.0).default(10_000).doc("Accepted; a datagram is not waited for."),
        lua_field(),
    ])
    .rules(vec![Rule::Check(without_lua)])
}

/// One datagram each, sent once: nobody says whether it came.
const QUEUE: QueueSettings = QueueSettings {
    max_batch_size: 1,
    max_coalescing_delay: 0.0,
    max_entries: 10_000,
    max_bytes: None,
    max_retry_time: -1.0,
    initial_retry_delay: 0.01,
    max_retry_delay: 1.0,
    concurrency_limit: one_by_one(),
};

#[derive(Clone, serde::Deserialize)]
struct Server {
    host: String,
    port: u16,
}

fn build(conf: Conf<'_>) -> Result<Arc<dyn Plugin>> {
    let server: Server = conf.read()?;
    Ok(queued(conf, &QUEUE, || server.clone()))
}

impl Server {
    fn send(&self, record: &[u8]) -> std::io::Result<()> {
        let mut found = (self.host.as_str(), self.port).to_socket_addrs()?;
        let to = found.next().ok_or(std::io::ErrorKind::AddrNotAvailable)?;
        let socket = if to.is_ipv4() {
            UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?
        } else {
            UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?
        };
        socket.send_to(record, to).map(drop)
    }
}

impl Receiver for Server {
    fn take(&mut self, batch: &[Vec<u8>]) -> std::result::Result<(), String> {
        let told = |error| format!("failed to send to {}:{}: {error}", self.host, self.port);
        batch.iter().try_for_each(|record| self.send(record)).map_err(told)
    }
}
