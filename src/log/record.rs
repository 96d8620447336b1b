//! The record of one exchange, field by field what Kong's logging plugins write.
//!
//! It borrows everything and is serialised straight into the line. Credentials do not get into it:
//! authorization headers never, and what else `Request::hidden` names is `REDACTED` wherever it stands.

use super::ai::{Ai, Parts};
use super::entity;
use super::part::{Arguments, Headers, Redacted, Statuses, Url};
use crate::config::entities::{Consumer, Route, Service};
use http::HeaderMap;
use serde::Serialize;
use serde::ser::{SerializeStruct, Serializer};
use std::net::IpAddr;

/// Kong's id for the one workspace of a declarative configuration.
pub const WORKSPACE: &str = "0dc6f45b-8f8d-40d2-a504-473544ee190b";

/// One exchange.
pub struct Record<'a> {
    /// What the client asked.
    pub request: Request<'a>,
    /// Path and query of the upstream request; empty if there was none.
    pub upstream_uri: &'a str,
    /// The statuses of all upstream answers, in order.
    pub upstream_status: &'a [u16],
    /// What the client got.
    pub response: Response<'a>,
    /// How long it took.
    pub latencies: Latencies,
    /// The addresses that were tried, in order.
    pub tries: &'a [Try],
    /// The matched route.
    pub route: Option<&'a Route>,
    /// The route's service.
    pub service: Option<&'a Service>,
    /// What ties it to what other parties know of it.
    pub correlation_id: Option<&'a str>,
    /// Who called.
    pub consumer: Option<&'a Consumer>,
    /// The client's address.
    pub client_ip: Option<IpAddr>,
    /// When the request came, in milliseconds since the epoch.
    pub started_at: u64,
    /// Whether the answer is the upstream's, or the gateway's own.
    pub proxied: bool,
    /// What the AI plugins add, each under its own key.
    pub ai: &'a [(&'a str, Ai<'a>)],
}

/// What the client asked.
pub struct Request<'a> {
    /// The exchange's id.
    pub id: &'a str,
    /// The method.
    pub method: &'a str,
    /// `http` or `https`.
    pub scheme: &'a str,
    /// The host asked for, without port.
    pub host: &'a str,
    /// The port that accepted the request.
    pub port: u16,
    /// The request target as it came: path and query.
    pub uri: &'a str,
    /// The headers as they came.
    pub headers: &'a HeaderMap,
    /// Bytes of head and body.
    pub size: u64,
    /// Names of headers and query arguments that hold credentials, in any case. Arguments of that name
    /// are hidden in the upstream's URI too.
    pub hidden: &'a [&'a str],
}

/// What the client got.
pub struct Response<'a> {
    /// The status.
    pub status: u16,
    /// The headers as they went out.
    pub headers: &'a HeaderMap,
    /// Bytes of head and body.
    pub size: u64,
}

/// How long it took, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Latencies {
    /// The gateway's own part.
    pub kong: u64,
    /// Until the upstream's first byte; -1 if no upstream answered.
    pub proxy: i64,
    /// From the request's first byte to the answer's last.
    pub request: u64,
    /// From the upstream's first byte to its last.
    pub receive: u64,
}

/// One upstream address that was tried.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Try {
    /// Its address.
    pub ip: IpAddr,
    /// Its port.
    pub port: u16,
    /// When the try began, in milliseconds since the epoch.
    pub balancer_start: u64,
    /// How long it took to choose the address, in milliseconds.
    pub balancer_latency: u64,
    /// `next` or `failed`: why the try was not the last, or why the last was no success.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<&'static str>,
    /// The status with which it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
}

impl Serialize for Record<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Record", 17)?;
        out.serialize_field("request", &self.request)?;
        out.serialize_field(
            "upstream_uri",
            &Redacted { uri: self.upstream_uri, hidden: self.request.hidden },
        )?;
        out.serialize_field("upstream_status", &Statuses(self.upstream_status))?;
        out.serialize_field("response", &self.response)?;
        out.serialize_field("latencies", &self.latencies)?;
        out.serialize_field("tries", self.tries)?;
        if let Some(route) = self.route {
            out.serialize_field("route", &entity::route(route))?;
        }
        if let Some(service) = self.service {
            out.serialize_field("service", &entity::service(service))?;
        }
        if let Some(consumer) = self.consumer {
            out.serialize_field("consumer", &entity::consumer(consumer))?;
        }
        out.serialize_field("client_ip", &self.client_ip)?;
        out.serialize_field("started_at", &self.started_at)?;
        out.serialize_field("source", if self.proxied { "upstream" } else { "kong" })?;
        if let Some(correlation_id) = self.correlation_id {
            out.serialize_field("correlation_id", correlation_id)?;
        }
        out.serialize_field("workspace", WORKSPACE)?;
        out.serialize_field("workspace_name", "default")?;
        if !self.ai.is_empty() {
            out.serialize_field("ai", &Parts(self.ai))?;
        }
        out.end()
    }
}

impl Serialize for Request<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let uri = Redacted { uri: self.uri, hidden: self.hidden };
        let url = Url { scheme: self.scheme, host: self.host, port: self.port, uri };
        let mut out = serializer.serialize_struct("Request", 7)?;
        out.serialize_field("id", self.id)?;
        out.serialize_field("uri", &uri)?;
        out.serialize_field("url", &url)?;
        out.serialize_field("querystring", &Arguments::of(self.uri, self.hidden))?;
        out.serialize_field("method", self.method)?;
        out.serialize_field("headers", &Headers { map: self.headers, hidden: self.hidden })?;
        out.serialize_field("size", &self.size)?;
        out.end()
    }
}

impl Serialize for Response<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Response", 3)?;
        out.serialize_field("status", &self.status)?;
        out.serialize_field("headers", &Headers { map: self.headers, hidden: &[] })?;
        out.serialize_field("size", &self.size)?;
        out.end()
    }
}
