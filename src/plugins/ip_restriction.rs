//! ip-restriction: lets in, or keeps out, clients by their addresses.

use super::{Conf, Plugin, PluginKind, Step};
use crate::config::schema::{Field, Kind, Record, Rule};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::exchange::Exchange;
use crate::wire::ip_range::Range;
use pingora::http::RequestHeader;
use std::sync::Arc;

/// Its entry in the list of plugins.
pub static KIND: PluginKind = PluginKind {
    rules,
    protocols: &["http", "https", "tcp", "tls", "grpc", "grpcs"],
    ..PluginKind::new("ip-restriction", 990, schema, build)
};

/// `config`.
pub fn schema() -> Record {
    Record::new(vec![
        Field::list("allow", Kind::checked(ip_or_cidr)).doc("Addresses and ranges that are let in."),
        Field::list("deny", Kind::checked(ip_or_cidr))
            .doc("Addresses and ranges that are kept out, whatever `allow` says."),
        Field::integer("status", 100, 599).doc("Status of a refusal; 403 if absent."),
        Field::text("message").doc("Message of a refusal."),
    ])
}

fn rules() -> Vec<Rule> {
    vec![Rule::AtLeastOneNonEmpty(&["config.allow", "config.deny"])]
}

fn ip_or_cidr(text: &str) -> Result<(), String> {
    match Range::parse(text) {
        Some(_) => Ok(()),
        None => Err(format!("invalid ip or cidr range: '{text}'")),
    }
}

#[derive(serde::Deserialize)]
struct Settings {
    allow: Option<Vec<String>>,
    deny: Option<Vec<String>>,
    status: Option<u16>,
    message: Option<String>,
}

struct IpRestriction {
    allow: Vec<Range>,
    deny: Vec<Range>,
    status: u16,
    message: Option<String>,
}

fn build(conf: Conf<'_>) -> Result<Arc<dyn Plugin>> {
    let settings: Settings = conf.read()?;
    let ranges = |list: Option<Vec<String>>| {
        list.into_iter().flatten().filter_map(|text| Range::parse(&text)).collect()
    };
    Ok(Arc::new(IpRestriction {
        allow: ranges(settings.allow),
        deny: ranges(settings.deny),
        status: settings.status.unwrap_or(ErrorKind::Forbidden.status()),
        message: settings.message,
    }))
}

impl Plugin for IpRestriction {
    fn request(&self, x: &mut Exchange, _head: &mut RequestHeader) -> Step {
        let Some(client) = x.client else {
            let why = "Cannot identify the client IP address, unix domain sockets are not supported.";
            return Step::Fail(Error::new(ErrorKind::Forbidden, why));
        };
        let listed = |list: &[Range]| list.iter().any(|range| range.holds(client));
        if !listed(&self.deny) && (self.allow.is_empty() || listed(&self.allow)) {
            return Step::Next;
        }
        let own = || format!("IP address not allowed: {client}");
        let message = self.message.clone().unwrap_or_else(own);
        Step::Fail(Error::new(ErrorKind::Forbidden, message).with_status(self.status))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_range_is_refused() {
        for bad in
            ["", "10.0.0", "10.0.0.0/33", "::1/129", "10.0.0.0/", "10.0.0.0/+8", "localhost", "10.0.0.0/8/8"]
        {
            let refused = format!("invalid ip or cidr range: '{bad}'");
            assert_eq!(ip_or_cidr(bad), Err(refused), "{bad}");
        }
    }
}
