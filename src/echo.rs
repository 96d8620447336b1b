//! From an exchange to an answer that shows its request, for those who debug a route.

use crate::accept::form::{self, Format};
use crate::accept::{Client, Patience};
use crate::error::Result;
use crate::exchange::Exchange;
use crate::journal;
use crate::log::entity;
use crate::log::part::{Arguments, Headers};
use crate::node;
use crate::plugins::Echo;
use crate::route::path;
use bytes::Bytes;
use http::header;
use serde_json::{Map, Value, json};

/// The most of a body that is shown.
const LIMIT: usize = 1024 * 1024;

/// The body of the answer. The request's is read, if nobody has read it yet.
///
// KONG(plugins/request-termination/handler.lua): shows `authorization` and keys of clients, which a script
// in a browser could read then; they are `REDACTED` here, as in the log.
pub async fn body(
    patience: Patience,
    client: &mut Client<'_>,
    x: &mut Exchange,
    echo: Echo,
) -> Result<Bytes> {
    let raw = match echo.body {
        Some(body) => body,
        None => x.read_body(client, LIMIT, patience).await?,
    };
    let chain = x.chain();
    let hidden: Vec<&str> = chain.credentials().collect();
    let of = journal::request(client, x, &hidden);
    let content_type = of.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let asked = of.uri.split('?').next().unwrap_or_default();
    let request = json!({
        "scheme": of.scheme,
        "host": of.host,
        "port": of.port,
        "headers": Headers { map: of.headers, hidden: &hidden },
        "query": Arguments::of(of.uri, &hidden),
        "body": parsed(content_type, &raw).await,
        "raw_body": String::from_utf8_lossy(&raw),
        "method": of.method,
        "path": path::normalize(asked).unwrap_or(asked.into()),
        "uri_captures": captures(x),
    });
    let entry = x.entry();
    let shown = json!({
        "message": echo.message,
        "kong": {
            "node_id": *node::ID,
            "worker_pid": std::process::id(),
            "hostname": node::hostname(),
        },
        "request": request,
        "matched_route": entry.map(|entry| entity::route(&entry.route)),
        "matched_service": entry.and_then(|entry| entry.service.as_deref()).map(entity::service),
    });
    Ok(Bytes::from(without_nulls(shown).to_string()))
}

/// The body as what its type says it is; nothing if it is not.
async fn parsed(content_type: Option<&str>, raw: &Bytes) -> Option<Value> {
    let content_type = content_type?;
    match form::format(Some(content_type)).ok()? {
        Format::Form => {
            serde_json::to_value(Arguments { text: std::str::from_utf8(raw).ok()?, hidden: &[] }).ok()
        }
        Format::Multipart(boundary) => Some(joined(form::parts(boundary, raw.clone()).await.ok()?)),
        Format::Json => {
            let json = content_type.to_ascii_lowercase().starts_with("application/json");
            let value: Value = serde_json::from_slice(raw).ok().filter(|_| json)?;
            (value.is_object() || value.is_array()).then_some(value)
        }
    }
}

/// Fields by their names; a name that came several times has a list.
fn joined(fields: Vec<(String, String)>) -> Value {
    let mut map = Map::new();
    for (name, text) in fields {
        match map.get_mut(&name) {
            None => drop(map.insert(name, text.into())),
            Some(Value::Array(list)) => list.push(text.into()),
            Some(one) => *one = json!([one.take(), text]),
        }
    }
    map.into()
}

/// What the route's pattern took out of the path.
///
// KONG(pdk/request.lua): counts all groups in `unnamed`, too; only named ones are kept of a match here.
fn captures(x: &Exchange) -> Value {
    let captures = x.route.as_ref().map(|route| route.captures.as_slice()).unwrap_or_default();
    let named: Map<_, _> =
        captures.iter().map(|(name, text)| (name.to_string(), text.as_str().into())).collect();
    json!({"named": named, "unnamed": {}})
}

/// What is not there is left out, as Kong leaves it out: one level deep, and in the request.
fn without_nulls(mut shown: Value) -> Value {
    let (top, below) = (shown.as_object_mut(), "request");
    if let Some(top) = top {
        top.retain(|_, value| !value.is_null());
        if let Some(request) = top.get_mut(below).and_then(Value::as_object_mut) {
            request.retain(|_, value| !value.is_null());
        }
    }
    shown
}
