//! What the gateway says of itself: `/`, `/status`, `/endpoints`, `/plugins/enabled`, `/tags`.

use super::reply::{self, JSON, json, message};
use super::{Facts, list};
use crate::meter::metrics::SERIES;
use crate::plugins::KINDS;
use crate::state::text;
use axum::extract::{Path, State as Shared};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value, json as object};
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

/// `GET /status/ready`.
pub async fn ready(Shared(facts): Shared<Facts>) -> Response {
    if facts.draining.load(Ordering::Relaxed) {
        return message(StatusCode::SERVICE_UNAVAILABLE, "draining");
    }
    if !facts.door.is_open().await {
        return message(StatusCode::SERVICE_UNAVAILABLE, "starting");
    }
    message(StatusCode::OK, "ready")
}

/// `GET /status`.
pub async fn status(Shared(facts): Shared<Facts>) -> Response {
    let control = &facts.control;
    let counts = control.live().load().counts;
    let mut body = object!({
        "database": {"reachable": control.store().is_reachable(), "store": control.store().name()},
        "configuration": {
            "services": counts.services, "routes": counts.routes,
            "plugins": counts.plugins, "targets": counts.targets,
        },
        "memory": {"resident_bytes": resident()},
        "server": {"exchanges_in_flight": SERIES.in_flight.get(), "total_requests": SERIES.begun.get()},
    });
    if let Some(map) = body.as_object_mut() {
        map.insert("configuration_hash".to_owned(), control.state().hash().into());
    }
    json(StatusCode::OK, &body)
}

/// Bytes of memory that the process holds, where the system says so.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().trim_end_matches("kB").trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// `GET /`.
pub async fn root(Shared(facts): Shared<Facts>) -> Response {
    let kinds = KINDS.iter().map(|kind| {
        let about = object!({"version": env!("CARGO_PKG_VERSION"), "priority": kind.priority});
        (kind.name.to_owned(), about)
    });
    let available: Map<String, Value> = kinds.collect();
    let body = object!({
        "tagline": "Welcome to kong",
        "version": "3.10.0",
        "tollgate": env!("CARGO_PKG_VERSION"),
        "node_id": facts.node.to_string(),
        "hostname": crate::node::hostname(),
        "configuration": {"database": facts.control.store().name(), "router_flavor": "traditional_compatible"},
        "plugins": {"available_on_server": available, "enabled_in_cluster": in_use(&facts)},
    });
    json(StatusCode::OK, &body)
}

/// The plugins of which there is an instance.
fn in_use(facts: &Facts) -> Vec<String> {
    let state = facts.control.state();
    let names: BTreeSet<String> = state
        .all(crate::config::records::PLUGINS)
        .filter_map(|(_, fields)| text(fields, "name").map(ToOwned::to_owned))
        .collect();
    names.into_iter().collect()
}

/// `GET /plugins/enabled`: what may be configured.
pub async fn enabled() -> Response {
    let names: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
    json(StatusCode::OK, &object!({"enabled_plugins": names}))
}

/// `GET /endpoints`.
pub async fn endpoints() -> Response {
    json(StatusCode::OK, &object!({"data": super::paths()}))
}

/// `GET /tags`.
pub async fn tags(Shared(facts): Shared<Facts>) -> Response {
    json(StatusCode::OK, &list::tagged(&facts.control.state(), None))
}

/// `GET /tags/{tag}`.
pub async fn tag(Shared(facts): Shared<Facts>, Path(tag): Path<String>) -> Response {
    json(StatusCode::OK, &list::tagged(&facts.control.state(), Some(&tag)))
}

/// `GET /metrics`.
pub async fn metrics(Shared(facts): Shared<Facts>) -> Response {
    reply::text(StatusCode::OK, "text/plain; charset=UTF-8", facts.books.read().await)
}

/// Konnect's list of control planes: this gateway is all there is, whatever it is called.
pub async fn control_planes(Shared(facts): Shared<Facts>) -> Response {
    let plane = plane(&facts.node.to_string());
    json(StatusCode::OK, &object!({"data": [plane], "meta": {"page": {"number": 1, "size": 10, "total": 1}}}))
}

/// One of them.
pub async fn control_plane(Path(id): Path<String>) -> Response {
    reply::text(StatusCode::OK, JSON, plane(&id).to_string())
}

fn plane(id: &str) -> Value {
    object!({"id": id, "name": "default", "description": "tollgate", "labels": {},
        "config": {"cluster_type": "CLUSTER_TYPE_CONTROL_PLANE"}})
}
