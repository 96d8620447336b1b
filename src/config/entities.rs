//! The entities of a checked configuration, typed: what the rest of the gateway reads.
//!
//! Every default is filled in and every reference is resolved to an id before these exist.

use super::secret::{Secret, wipe};
use crate::plugins::PluginKind;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use uuid::Uuid;

/// A whole configuration.
#[derive(Debug, Default)]
pub struct Document {
    /// The upstreams of plain routes, and the timeouts of AI routes.
    pub services: Vec<Service>,
    /// What requests are matched with.
    pub routes: Vec<Route>,
    /// Instances of all scopes.
    pub plugins: Vec<Plugin>,
    /// Who may call.
    pub consumers: Vec<Consumer>,
    /// The sets that consumers are members of.
    pub consumer_groups: Vec<ConsumerGroup>,
    /// For clients of TLS.
    pub certificates: Vec<Certificate>,
}

/// An upstream service; AI routes take only its timeouts and its name.
#[derive(Clone, Debug, Deserialize)]
pub struct Service {
    /// Given, or made of the entity.
    pub id: Uuid,
    /// Unique among services.
    pub name: Option<String>,
    /// `http` or `https`.
    pub protocol: String,
    /// A name or an address.
    pub host: String,
    /// Of the host.
    pub port: u16,
    /// What stands before the paths of its routes.
    pub path: Option<String>,
    /// How often a request that nobody took is sent again.
    pub retries: u32,
    /// Milliseconds, as are the two below.
    pub connect_timeout: u64,
    /// Milliseconds between two writes.
    pub write_timeout: u64,
    /// Milliseconds between two reads.
    pub read_timeout: u64,
    /// Its routes do not match otherwise.
    pub enabled: bool,
    /// Whether its certificate is verified; as the process does if it is not said.
    pub tls_verify: Option<bool>,
    /// For the Admin API's lists.
    #[serde(default)]
    pub tags: Option<Vec<String>>,
}

/// How a service path and the rest of a request path are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PathHandling {
    /// Kong's older way, and its default.
    V0,
    /// Segments are joined with one slash between them.
    V1,
}

/// A route. Empty lists mean that the field kind is not configured.
#[derive(Clone, Debug, Deserialize)]
pub struct Route {
    /// Given, or made of the entity.
    pub id: Uuid,
    /// Unique among routes.
    pub name: Option<String>,
    /// By which requests may come.
    pub protocols: Vec<String>,
    /// Any of them.
    #[serde(default)]
    pub methods: Vec<String>,
    /// Any of them; with a `*` at one end, all below.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Any of them: prefixes, or patterns after a `~`.
    #[serde(default)]
    pub paths: Vec<String>,
    /// All of these headers, each with one of its values.
    #[serde(default)]
    pub headers: BTreeMap<String, Vec<String>>,
    /// Any of the names that clients ask for in TLS.
    #[serde(default)]
    pub snis: Vec<String>,
    /// What a request is told that should have come by HTTPS.
    pub https_redirect_status_code: u16,
    /// Whether what matched is taken off before the service is asked.
    pub strip_path: bool,
    /// Whether the service is asked for the client's host.
    pub preserve_host: bool,
    /// Which of several patterns is tried first.
    pub regex_priority: i64,
    /// How the paths of service and request are joined.
    pub path_handling: PathHandling,
    /// Who serves it.
    pub service: Option<Uuid>,
    /// For the Admin API's lists.
    #[serde(default)]
    pub tags: Option<Vec<String>>,
}

/// What Kong takes for said where nothing is: a route of everything.
impl Default for Route {
    fn default() -> Self {
        Self {
            id: Uuid::nil(),
            name: None,
            protocols: vec!["http".to_owned(), "https".to_owned()],
            methods: Vec::new(),
            hosts: Vec::new(),
            paths: Vec::new(),
            headers: BTreeMap::new(),
            snis: Vec::new(),
            https_redirect_status_code: 426,
            strip_path: true,
            preserve_host: false,
            regex_priority: 0,
            path_handling: PathHandling::V0,
            service: None,
            tags: None,
        }
    }
}

/// A plugin instance: where it applies and its checked `config`.
pub struct Plugin {
    /// Given, or made of the entity.
    pub id: Uuid,
    /// What it is an instance of.
    pub kind: &'static PluginKind,
    /// Unique among plugins.
    pub instance_name: Option<String>,
    /// Only for this service's routes.
    pub service: Option<Uuid>,
    /// Only for this route.
    pub route: Option<Uuid>,
    /// Only for this consumer.
    pub consumer: Option<Uuid>,
    /// Only for this group's members.
    pub consumer_group: Option<Uuid>,
    /// Whether it runs.
    pub enabled: bool,
    /// Filled with defaults, vault references resolved.
    pub config: Value,
    /// Where it stands in its file: `services[0].plugins[1]`.
    pub path: String,
}

impl Drop for Plugin {
    fn drop(&mut self) {
        wipe(&mut self.config);
    }
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `config` holds resolved secrets.
        f.debug_struct("Plugin")
            .field("name", &self.kind.name)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// Who may call, if an authentication plugin asks.
#[derive(Clone, Deserialize)]
pub struct Consumer {
    /// Given, or made of the entity.
    pub id: Uuid,
    /// One of the two names; unique.
    pub username: Option<String>,
    /// The other: what its own system calls it; unique.
    pub custom_id: Option<String>,
    /// For the Admin API's lists.
    #[serde(default)]
    pub tags: Option<Vec<String>>,
    /// Keys for key-auth.
    #[serde(default)]
    pub keys: Vec<Secret>,
    /// Groups for acl.
    #[serde(default)]
    pub acl_groups: Vec<String>,
    /// Consumer groups it belongs to.
    #[serde(default)]
    pub groups: Vec<Uuid>,
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("id", &self.id)
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// A named set of consumers.
#[derive(Clone, Debug, Deserialize)]
pub struct ConsumerGroup {
    /// Given, or made of the entity.
    pub id: Uuid,
    /// Unique among groups.
    pub name: String,
}

/// A certificate for clients of its names.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// Given, or made of the entity.
    pub id: Uuid,
    /// In PEM, with those that vouch for it.
    pub cert: String,
    /// Its key, in PEM.
    pub key: Secret,
    /// The server names that it is shown to.
    pub snis: Vec<String>,
    /// Where it stands in its file.
    pub path: String,
}
