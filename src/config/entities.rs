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
    pub services: Vec<Service>,
    pub routes: Vec<Route>,
    pub plugins: Vec<Plugin>,
    pub consumers: Vec<Consumer>,
    pub consumer_groups: Vec<ConsumerGroup>,
}

/// An upstream service; AI routes take only its timeouts and its name.
#[derive(Clone, Debug, Deserialize)]
pub struct Service {
    pub id: Uuid,
    pub name: Option<String>,
    /// `http` or `https`.
    pub protocol: String,
    pub host: String,
    pub port: u16,
    pub path: Option<String>,
    pub retries: u32,
    /// Milliseconds, as are the two below.
    pub connect_timeout: u64,
    pub write_timeout: u64,
    pub read_timeout: u64,
    pub enabled: bool,
    pub tls_verify: Option<bool>,
    #[serde(default)]
    pub tags: Option<Vec<String>>,
}

/// How a service path and the rest of a request path are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PathHandling {
    V0,
    V1,
}

/// A route. Empty lists mean that the field kind is not configured.
#[derive(Clone, Debug, Deserialize)]
pub struct Route {
    pub id: Uuid,
    pub name: Option<String>,
    pub protocols: Vec<String>,
    #[serde(default)]
    pub methods: Vec<String>,
    #[serde(default)]
    pub hosts: Vec<String>,
    #[serde(default)]
    pub paths: Vec<String>,
    #[serde(default)]
    pub headers: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    pub snis: Vec<String>,
    pub https_redirect_status_code: u16,
    pub strip_path: bool,
    pub preserve_host: bool,
    pub regex_priority: i64,
    pub path_handling: PathHandling,
    pub service: Option<Uuid>,
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
    pub id: Uuid,
    pub kind: &'static PluginKind,
    pub instance_name: Option<String>,
    pub service: Option<Uuid>,
    pub route: Option<Uuid>,
    pub consumer: Option<Uuid>,
    pub consumer_group: Option<Uuid>,
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
    pub id: Uuid,
    pub username: Option<String>,
    pub custom_id: Option<String>,
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
    pub id: Uuid,
    pub name: String,
}
