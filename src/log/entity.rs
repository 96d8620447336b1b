//! Routes, services and consumers as they stand in a record. What is not set is left out.

use crate::config::entities::{Consumer, PathHandling, Route, Service};
use serde::Serialize;
use std::collections::BTreeMap;
use uuid::Uuid;

/// A reference to another entity.
#[derive(Serialize)]
struct Id {
    id: Uuid,
}

/// A route, in Kong's fields.
#[derive(Serialize)]
pub struct RouteFields<'a> {
    id: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    protocols: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    methods: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    hosts: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    paths: &'a [String],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    headers: &'a BTreeMap<String, Vec<String>>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    snis: &'a [String],
    https_redirect_status_code: u16,
    regex_priority: i64,
    strip_path: bool,
    preserve_host: bool,
    path_handling: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<Id>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<&'a [String]>,
    ws_id: &'static str,
}

/// A route's fields.
pub fn route(route: &Route) -> RouteFields<'_> {
    RouteFields {
        id: route.id,
        name: route.name.as_deref(),
        protocols: &route.protocols,
        methods: &route.methods,
        hosts: &route.hosts,
        paths: &route.paths,
        headers: &route.headers,
        snis: &route.snis,
        https_redirect_status_code: route.https_redirect_status_code,
        regex_priority: route.regex_priority,
        strip_path: route.strip_path,
        preserve_host: route.preserve_host,
        path_handling: match route.path_handling {
            PathHandling::V0 => "v0",
            PathHandling::V1 => "v1",
        },
        service: route.service.map(|id| Id { id }),
        tags: route.tags.as_deref(),
        ws_id: super::record::WORKSPACE,
    }
}

/// A service, in Kong's fields.
#[derive(Serialize)]
pub struct ServiceFields<'a> {
    id: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    protocol: &'a str,
    host: &'a str,
    port: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    retries: u32,
    connect_timeout: u64,
    write_timeout: u64,
    read_timeout: u64,
    enabled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_verify: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<&'a [String]>,
    ws_id: &'static str,
}

/// A service's fields.
pub fn service(service: &Service) -> ServiceFields<'_> {
    ServiceFields {
        id: service.id,
        name: service.name.as_deref(),
        protocol: &service.protocol,
        host: &service.host,
        port: service.port,
        path: service.path.as_deref(),
        retries: service.retries,
        connect_timeout: service.connect_timeout,
        write_timeout: service.write_timeout,
        read_timeout: service.read_timeout,
        enabled: service.enabled,
        tls_verify: service.tls_verify,
        tags: service.tags.as_deref(),
        ws_id: super::record::WORKSPACE,
    }
}

/// Without its keys and groups.
#[derive(Serialize)]
pub struct ConsumerFields<'a> {
    id: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    custom_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<&'a [String]>,
}

/// A consumer's fields.
pub fn consumer(consumer: &Consumer) -> ConsumerFields<'_> {
    ConsumerFields {
        id: consumer.id,
        username: consumer.username.as_deref(),
        custom_id: consumer.custom_id.as_deref(),
        tags: consumer.tags.as_deref(),
    }
}
