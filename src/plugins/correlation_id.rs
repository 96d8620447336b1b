//! correlation-id: gives every request a name under which all parties can speak of it.

use super::{Conf, Plugin, PluginKind, Step};
use crate::config::formats;
use crate::config::schema::{Field, Record};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::exchange::Exchange;
use http::{HeaderName, HeaderValue};
use pingora::http::RequestHeader;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{SystemTime, UNIX_EPOCH};
use uuid::Uuid;

/// Its entry in the list of plugins.
pub static KIND: PluginKind = PluginKind::new("correlation-id", 100_001, schema, build);

/// `config`.
pub fn schema() -> Record {
    Record::new(vec![
        Field::checked("header_name", formats::header_name)
            .default("Kong-Request-ID")
            .doc("The header that holds it."),
        Field::one_of("generator", &["uuid", "uuid#counter", "tracker"])
            .required()
            .default("uuid#counter")
            .doc("How one is made for requests that come without."),
        Field::flag("echo_downstream", false).doc("Whether the client is told it."),
    ])
}

#[derive(serde::Deserialize)]
struct Settings {
    header_name: String,
    generator: Generator,
    echo_downstream: bool,
}

/// How ids are made.
#[derive(Clone, Copy, serde::Deserialize)]
enum Generator {
    #[serde(rename = "uuid")]
    Uuid,
    #[serde(rename = "uuid#counter")]
    Counter,
    #[serde(rename = "tracker")]
    Tracker,
}

struct CorrelationId {
    /// As it is written: upstreams see it so.
    written: String,
    name: HeaderName,
    generator: Generator,
    echo: bool,
}

fn build(conf: Conf<'_>) -> Result<Arc<dyn Plugin>> {
    let Settings { header_name, generator, echo_downstream } = conf.read()?;
    let bad = |why: String| Error::new(ErrorKind::Internal, why);
    let name = HeaderName::try_from(&header_name)
        .map_err(|_| bad(format!("header_name: '{header_name}' is not the name of a header")))?;
    Ok(Arc::new(CorrelationId { written: header_name, name, generator, echo: echo_downstream }))
}

impl Plugin for CorrelationId {
    fn request(&self, x: &mut Exchange, head: &mut RequestHeader) -> Step {
        let given = head.headers.get(&self.name).filter(|value| !value.is_empty());
        let value = if let Some(value) = given {
            value.clone()
        } else {
            let Ok(value) = HeaderValue::try_from(self.generator.make(x)) else { return Step::Next };
            // A valid name and value: inserting them does not fail.
            let _ = head.insert_header(self.written.clone(), value.clone());
            value
        };
        x.correlation_id = Some(String::from_utf8_lossy(value.as_bytes()).into_owned());
        if self.echo {
            x.answer.add(self.name.clone(), value);
        }
        Step::Next
    }
}

/// What makes ids unique within the process, and the process among others.
static NEXT: AtomicU64 = AtomicU64::new(1);
static PROCESS: LazyLock<Uuid> = LazyLock::new(Uuid::new_v4);

impl Generator {
    fn make(self, x: &Exchange) -> String {
        match self {
            Self::Uuid => Uuid::new_v4().to_string(),
            Self::Counter => format!("{}#{}", *PROCESS, NEXT.fetch_add(1, Ordering::Relaxed)),
            Self::Tracker => tracker(x),
        }
    }
}

/// Address, port, process, connection, number and time.
///
// KONG(plugins/correlation-id/handler.lua): numbers connections and the requests of each. They have no
// numbers here: the client's port tells its connection, and requests are counted over all of them.
fn tracker(x: &Exchange) -> String {
    let nowhere = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
    let server = x.ends.server.unwrap_or(nowhere);
    let (address, port, process) = (server.ip(), server.port(), std::process::id());
    let connection = x.ends.client.map_or(0, |client| client.port());
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (seconds, millis) = (now.as_secs(), now.subsec_millis());
    format!("{address}-{port}-{process}-{connection}-{number}-{seconds}.{millis:03}")
}
