//! How plugins reach a Redis: one record for all that can.

use crate::config::formats;
use crate::config::schema::{Field, Kind, Record};

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
