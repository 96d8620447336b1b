//! The collections of a declarative file, and what their entities may hold.

use super::formats;
use super::problems::Problems;
use super::route_paths;
use super::rules::{get, is_set};
use super::schema::{Conditional, Field, Kind, Match, Record, Rule};
use super::vault::is_reference;
use crate::listen::pem;
use crate::plugins::{self, PluginKind};
use serde_json::{Map, Value, json};

/// A kind of entity.
pub struct Collection {
    /// Its name in the file, and its namespace for generated ids.
    pub name: &'static str,
    /// The field that entities are referred to by.
    pub key: Option<&'static str>,
    /// Fields whose values must not occur twice.
    pub unique: &'static [&'static str],
    /// Fields that refer to other entities, and to which; these may also hold the entity in their list.
    pub foreign: &'static [(&'static str, &'static str)],
    /// What its entities may hold.
    pub record: fn() -> Record,
}

/// All collections; what others refer to comes first.
pub static COLLECTIONS: &[Collection] = &[
    Collection { name: SERVICES, key: Some("name"), unique: &["name"], foreign: &[], record: service },
    Collection {
        name: CONSUMERS,
        key: Some("username"),
        unique: &["username", "custom_id"],
        foreign: &[],
        record: consumer,
    },
    Collection { name: GROUPS, key: Some("name"), unique: &["name"], foreign: &[], record: consumer_group },
    Collection {
        name: ROUTES,
        key: Some("name"),
        unique: &["name"],
        foreign: &[("service", SERVICES)],
        record: route,
    },
    Collection {
        name: PLUGINS,
        key: None,
        unique: &["instance_name"],
        foreign: &[
            ("route", ROUTES),
            ("service", SERVICES),
            ("consumer", CONSUMERS),
            ("consumer_group", GROUPS),
        ],
        record: unknown_plugin,
    },
    Collection {
        name: KEYS,
        key: None,
        unique: &["key"],
        foreign: &[("consumer", CONSUMERS)],
        record: credential,
    },
    Collection {
        name: ACLS,
        key: None,
        unique: &[],
        foreign: &[("consumer", CONSUMERS)],
        record: membership,
    },
    Collection { name: CERTIFICATES, key: None, unique: &[], foreign: &[], record: certificate },
    Collection {
        name: SNIS,
        key: Some("name"),
        unique: &["name"],
        foreign: &[("certificate", CERTIFICATES)],
        record: sni,
    },
];

/// The names of the collections.
pub const SERVICES: &str = "services";
/// See [`SERVICES`].
pub const ROUTES: &str = "routes";
/// See [`SERVICES`].
pub const PLUGINS: &str = "plugins";
/// See [`SERVICES`].
pub const CONSUMERS: &str = "consumers";
/// See [`SERVICES`].
pub const GROUPS: &str = "consumer_groups";
/// See [`SERVICES`].
pub const KEYS: &str = "keyauth_credentials";
/// See [`SERVICES`].
pub const ACLS: &str = "acls";
/// See [`SERVICES`].
pub const CERTIFICATES: &str = "certificates";
/// See [`SERVICES`].
pub const SNIS: &str = "snis";

/// The collection of that name.
pub fn find(name: &str) -> Option<&'static Collection> {
    COLLECTIONS.iter().find(|collection| collection.name == name)
}

/// What an entity of a collection may hold; of a plugin of that name, with its `config`.
pub fn description(collection: &Collection, plugin_name: Option<&str>) -> Record {
    match plugin_name.and_then(plugins::find).filter(|_| collection.name == PLUGINS) {
        Some(kind) => plugin(kind),
        None => (collection.record)(),
    }
}

/// The head of a file: all but its collections.
pub fn head() -> Record {
    Record::new(vec![
        Field::one_of("_format_version", &["1.1", "2.1", "3.0"]).required().doc("Version of the format."),
        Field::boolean("_transform").default(true).doc("Accepted; nothing here is transformed."),
        Field::new("_comment", Kind::Any).doc("Anything."),
        Field::new("_ignore", Kind::Any).doc("Anything."),
        Field::new("_info", Kind::Any).doc("Anything; written by other tools."),
    ])
}

/// A plugin whose kind is known.
pub fn plugin(kind: &PluginKind) -> Record {
    let mut record = any_plugin(kind.protocols);
    record.fields.retain(|field| field.name != "config");
    record.fields.push(Field::record("config", (kind.schema)()).doc("Its own configuration."));
    record.rules((kind.rules)())
}

const TIMEOUT_MAX: i64 = 2_147_483_646;

fn entity(mut own: Vec<Field>) -> Record {
    let mut fields = vec![
        Field::checked("id", formats::uuid).doc("UUID; made of the name if absent."),
        Field::new("created_at", Kind::integer()).doc("Seconds since the epoch."),
        Field::new("updated_at", Kind::integer()).doc("Seconds since the epoch."),
        Field::new("tags", Kind::checked(formats::tag).set()).doc("Labels."),
        Field::new("_comment", Kind::Any).doc("Anything."),
        Field::new("_ignore", Kind::Any).doc("Anything."),
    ];
    fields.append(&mut own);
    Record::new(fields)
}

fn service() -> Record {
    let timeout = |name| Field::integer(name, 1, TIMEOUT_MAX).default(60_000);
    let tls_only = |then| {
        Rule::Conditional(Conditional {
            when: "protocol",
            is: Match::NoneOf(&["https"]),
            then,
            must: Match::Unset,
            message: None,
        })
    };
    entity(vec![
        Field::new("url", Kind::Shorthand { of: Box::new(Kind::text()), expand: expand_url })
            .doc("`protocol`, `host`, `port` and `path` in one."),
        Field::checked("name", formats::name).doc("Unique name."),
        Field::integer("retries", 0, 32_767).default(5).doc("How often a failed connection is tried again."),
        Field::one_of("protocol", &["http", "https"])
            .required()
            .default("http")
            .doc("Protocol of the upstream."),
        Field::checked("host", formats::host).required().doc("Host of the upstream."),
        Field::port("port").required().default(80).doc("Port of the upstream."),
        Field::checked("path", formats::path).doc("Path that goes before those of requests."),
        timeout("connect_timeout").doc("Milliseconds to connect."),
        timeout("write_timeout").doc("Milliseconds between two writes."),
        timeout("read_timeout").doc("Milliseconds between two reads."),
        Field::boolean("tls_verify").doc("Whether to verify the upstream's certificate."),
        Field::integer("tls_verify_depth", 0, 64).doc("Longest chain of certificates."),
        Field::new("ca_certificates", Kind::Any).doc("Not supported."),
        Field::new("client_certificate", Kind::Any).doc("Not supported."),
        Field::flag("enabled", true).doc("Whether its routes are served."),
    ])
    .rules(vec![tls_only("tls_verify"), tls_only("tls_verify_depth"), Rule::Check(no_certificates)])
}

/// Ignoring these would silently trust, or be trusted by, the wrong peer.
fn no_certificates(service: &Value, out: &mut Problems<'_>) {
    refuse(&["ca_certificates", "client_certificate"], service, out);
}

fn refuse(names: &[&str], entity: &Value, out: &mut Problems<'_>) {
    for name in names {
        if is_set(entity.get(*name)) {
            out.at(name).push("not supported by this gateway");
        }
    }
}

/// KONG(db/schema/entities/services.lua): `url` goes before the fields it stands for.
#[expect(clippy::needless_pass_by_value, reason = "the signature of `Expand`")]
fn expand_url(_: &str, value: Value, service: &mut Map<String, Value>) -> Result<(), String> {
    let url = value.as_str().unwrap_or_default();
    formats::url(url)?;
    let (protocol, rest) = url.split_once("://").unwrap_or_default();
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let address = authority.rsplit_once('@').map_or(authority, |(_, address)| address);
    let (host, port) = match address.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (address, None),
    };
    let port = match port {
        Some(port) => port.parse::<i64>().map_or_else(|_| port.into(), Value::from),
        None if protocol == "https" => json!(443),
        None => json!(80),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let path = if path.is_empty() { Value::Null } else { path.into() };
    for (name, value) in
        [("protocol", protocol.into()), ("host", host.into()), ("port", port), ("path", path)]
    {
        service.insert(name.to_owned(), value);
    }
    Ok(())
}

fn route() -> Record {
    let redirect = Kind::Integer { min: 0, max: 999, above: None, one_of: vec![426, 301, 302, 307, 308] };
    let header_values = Kind::Map {
        of: Box::new(Kind::checked(route_paths::header_value).list()),
        key: Some(route_paths::header),
    };
    let protocols =
        Kind::List { of: Box::new(Kind::one_of(&["http", "https"])), unique: true, min: 1, max: 99 };
    entity(vec![
        Field::checked("name", formats::name).doc("Unique name."),
        Field::new("protocols", protocols)
            .required()
            .default(json!(["http", "https"]))
            .doc("How clients may come."),
        Field::new("https_redirect_status_code", redirect)
            .required()
            .default(426)
            .doc("Status for clients that should have come by HTTPS."),
        Field::flag("strip_path", true).doc("Whether the matched prefix is removed for the upstream."),
        Field::flag("preserve_host", false).doc("Whether the upstream gets the client's `Host`."),
        Field::flag("request_buffering", true).doc("Accepted; plain routes stream."),
        Field::flag("response_buffering", true).doc("Accepted; plain routes stream."),
        Field::new("service", Kind::Foreign(SERVICES)).doc("The service it leads to."),
        Field::new("snis", Kind::checked(formats::sni).set()).doc("TLS server names that match."),
        Field::new("sources", Kind::Any).doc("For streams only."),
        Field::new("destinations", Kind::Any).doc("For streams only."),
        Field::new("methods", Kind::checked(formats::method).set()).doc("Methods that match."),
        Field::list("hosts", Kind::checked(route_paths::host))
            .doc("Hosts that match; the first or last label may be `*`."),
        Field::list("paths", Kind::checked(route_paths::path))
            .doc("Prefixes that match, or `~` and a regular expression."),
        Field::new("headers", header_values).doc("Headers that match: one of the values each."),
        Field::new("regex_priority", Kind::integer()).default(0).doc("Order among regular expressions."),
        Field::one_of("path_handling", &["v0", "v1"]).default("v0").doc("How paths are joined."),
    ])
    .rules(vec![Rule::Check(route_matches), Rule::Check(route_is_http)])
}

/// A route has to ask for something.
fn route_matches(route: &Value, out: &mut Problems<'_>) {
    let has = |protocol: &str| {
        get(route, "protocols").and_then(Value::as_array).is_some_and(|all| all.contains(&json!(protocol)))
    };
    let set = |names: &[&str]| names.iter().any(|name| is_set(route.get(*name)));
    let kinds = ["methods", "hosts", "headers", "paths"];
    if has("https") {
        if !set(&kinds) && !set(&["snis"]) {
            out.push(
                "must set one of 'methods', 'hosts', 'headers', 'paths', 'snis' when 'protocols' is 'https'",
            );
        }
    } else if has("http") && !set(&kinds) {
        out.push("must set one of 'methods', 'hosts', 'headers', 'paths' when 'protocols' is 'http'");
    }
    if !has("https") && set(&["snis"]) {
        out.at("snis").push("length must be 0");
        out.push("'snis' can only be set when 'protocols' is 'grpcs', 'https', 'tls' or 'tls_passthrough'");
    }
}

fn route_is_http(route: &Value, out: &mut Problems<'_>) {
    for name in ["sources", "destinations"] {
        if is_set(route.get(name)) {
            out.at(name).push(format!("cannot set '{name}' when 'protocols' is 'http' or 'https'"));
        }
    }
}

fn unknown_plugin() -> Record {
    any_plugin(plugins::HTTP)
}

fn any_plugin(protocols: &[&'static str]) -> Record {
    entity(vec![
        Field::text("name").required().doc("Which plugin."),
        Field::checked("instance_name", formats::name).doc("Unique name of this instance."),
        Field::new("route", Kind::Foreign(ROUTES)).doc("Only for this route."),
        Field::new("service", Kind::Foreign(SERVICES)).doc("Only for this service."),
        Field::new("consumer", Kind::Foreign(CONSUMERS)).doc("Only for this consumer."),
        Field::new("consumer_group", Kind::Foreign(GROUPS)).doc("Only for consumers of this group."),
        Field::new("config", Kind::Any).doc("Its own configuration."),
        Field::new("protocols", Kind::one_of(protocols).set())
            .required()
            .default(json!(protocols))
            .doc("For requests by these protocols."),
        Field::flag("enabled", true).doc("Whether it runs."),
    ])
}

fn consumer() -> Record {
    entity(vec![
        Field::text("username").doc("Unique name."),
        Field::text("custom_id").doc("Unique name in another system."),
    ])
    .rules(vec![Rule::AtLeastOneNonEmpty(&["custom_id", "username"])])
}

fn consumer_group() -> Record {
    entity(vec![Field::checked("name", formats::name).required().doc("Unique name.")])
}

/// KONG(plugins/key-auth/daos.lua): makes up a key that is absent, which nobody then knows.
fn credential() -> Record {
    entity(vec![
        Field::text("key").required().secret().doc("The key."),
        Field::new("consumer", Kind::Foreign(CONSUMERS)).required().doc("Whose it is."),
    ])
}

fn membership() -> Record {
    entity(vec![
        Field::text("group").required().doc("Name of the group."),
        Field::new("consumer", Kind::Foreign(CONSUMERS)).required().doc("Who belongs to it."),
    ])
}

fn certificate() -> Record {
    entity(vec![
        Field::text("cert")
            .required()
            .referenceable()
            .shown()
            .doc("The certificate and those that it rests on, in PEM."),
        Field::text("key").required().referenceable().doc("Its key, in PEM."),
        Field::new("cert_alt", Kind::Any).doc("Not supported."),
        Field::new("key_alt", Kind::Any).secret().doc("Not supported."),
    ])
    .rules(vec![Rule::Check(no_alternative), Rule::Check(key_fits)])
}

fn no_alternative(certificate: &Value, out: &mut Problems<'_>) {
    refuse(&["cert_alt", "key_alt"], certificate, out);
}

/// What stands in a vault is looked at when it is read.
fn key_fits(certificate: &Value, out: &mut Problems<'_>) {
    let literal = |name| get(certificate, name).and_then(Value::as_str).filter(|text| !is_reference(text));
    let (Some(cert), Some(key)) = (literal("cert"), literal("key")) else { return };
    if let Err(wrong) = pem::certify(cert.as_bytes(), key.as_bytes()) {
        out.at(if wrong.is_of_key() { "key" } else { "cert" }).push(wrong.to_string());
    }
}

fn sni() -> Record {
    entity(vec![
        Field::checked("name", formats::sni).required().doc(
            "Server name that clients ask for; `*` may stand at one of its ends, or alone for all others.",
        ),
        Field::new("certificate", Kind::Foreign(CERTIFICATES)).required().doc("What they are shown."),
    ])
}
