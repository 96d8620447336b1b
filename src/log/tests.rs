//! Whole records, field by field.

use super::ai::{Ai, CompletionDetails, Exchange, Meta, Payload, PromptDetails, Usage};
use super::record::{Latencies, Record, Request, Response, Try, WORKSPACE};
use crate::config::entities::{Consumer, Route, Service};
use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use uuid::Uuid;

const ID: Uuid = Uuid::from_u128(7);
const ID_TEXT: &str = "00000000-0000-0000-0000-000000000007";

fn route() -> Route {
    Route {
        id: ID,
        name: Some("chat".to_owned()),
        protocols: vec!["http".to_owned()],
        paths: vec!["~/chat$".to_owned()],
        service: Some(ID),
        ..Route::default()
    }
}

fn service() -> Service {
    Service {
        id: ID,
        name: Some("ai".to_owned()),
        protocol: "http".to_owned(),
        host: "localhost".to_owned(),
        port: 32_000,
        path: None,
        retries: 5,
        connect_timeout: 1,
        write_timeout: 2,
        read_timeout: 3,
        enabled: true,
        tls_verify: None,
        tags: Some(vec!["t".to_owned()]),
    }
}

fn consumer() -> Consumer {
    Consumer {
        id: ID,
        username: Some("alice".to_owned()),
        custom_id: None,
        tags: None,
        keys: vec!["s3cret".into()],
        acl_groups: Vec::new(),
        groups: Vec::new(),
    }
}

fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    let lines = lines.iter();
    lines.map(|&(name, value)| (name.parse().expect("a name"), HeaderValue::from_static(value))).collect()
}

/// A request that no route matched.
fn bare<'a>(headers: &'a HeaderMap, hidden: &'a [&'a str]) -> Record<'a> {
    Record {
        request: Request {
            id: "0af1",
            method: "POST",
            scheme: "http",
            host: "ai.example",
            port: 8000,
            uri: "/chat?a=1&key=s3cret",
            headers,
            size: 200,
            hidden,
        },
        upstream_uri: "",
        upstream_status: &[],
        response: Response { status: 404, headers, size: 99 },
        latencies: Latencies { kong: 1, proxy: -1, request: 2, receive: 0 },
        tries: &[],
        route: None,
        service: None,
        correlation_id: None,
        consumer: None,
        client_ip: Some(Ipv4Addr::LOCALHOST.into()),
        started_at: 1_700_000_000_123,
        proxied: false,
        ai: &[],
    }
}

fn value(record: &Record<'_>) -> Value {
    let line = serde_json::to_string(record).expect("serialisable");
    assert!(!line.contains("s3cret") && !line.contains('\n'), "{line}");
    serde_json::from_str(&line).expect("JSON")
}

#[test]
fn a_request_without_route_has_the_fields_of_every_record() {
    let headers = headers(&[("Authorization", "Bearer s3cret"), ("x-a", "b")]);
    assert_eq!(
        value(&bare(&headers, &["key", "x-key"])),
        json!({
            "request": {
                "id": "0af1", "method": "POST", "size": 200,
                "uri": "/chat?a=1&key=REDACTED",
                "url": "http://ai.example:8000/chat?a=1&key=REDACTED",
                "querystring": {"a": "1", "key": "REDACTED"},
                "headers": {"authorization": "REDACTED", "x-a": "b"},
            },
            "upstream_uri": "", "upstream_status": "",
            "response": {
                "status": 404, "size": 99, "headers": {"authorization": "REDACTED", "x-a": "b"},
            },
            "latencies": {"kong": 1, "proxy": -1, "request": 2, "receive": 0},
            "tries": [],
            "client_ip": "127.0.0.1", "started_at": 1_700_000_000_123_u64, "source": "kong",
            "workspace": WORKSPACE, "workspace_name": "default",
        })
    );
}

#[test]
fn entities_and_tries_are_told() {
    let headers = headers(&[]);
    let (route, service, consumer) = (route(), service(), consumer());
    let first = Try {
        ip: Ipv4Addr::LOCALHOST.into(),
        port: 81,
        balancer_start: 5,
        balancer_latency: 1,
        state: Some("failed"),
        code: Some(502),
    };
    let tries = [first, Try { port: 82, state: None, code: None, ..first }];
    let record = Record {
        upstream_uri: "/up?key=s3cret",
        upstream_status: &[502, 200],
        tries: &tries,
        route: Some(&route),
        service: Some(&service),
        consumer: Some(&consumer),
        proxied: true,
        ..bare(&headers, &["key"])
    };
    let found = value(&record);
    let expected = [
        ("upstream_uri", json!("/up?key=REDACTED")),
        ("upstream_status", json!("502, 200")),
        ("source", json!("upstream")),
        ("consumer", json!({"id": ID_TEXT, "username": "alice"})),
        (
            "tries",
            json!([
                {"ip": "127.0.0.1", "port": 81, "balancer_start": 5, "balancer_latency": 1, "state": "failed", "code": 502},
                {"ip": "127.0.0.1", "port": 82, "balancer_start": 5, "balancer_latency": 1},
            ]),
        ),
        (
            "route",
            json!({
                "id": ID_TEXT, "name": "chat", "protocols": ["http"], "paths": ["~/chat$"],
                "https_redirect_status_code": 426, "regex_priority": 0, "strip_path": true,
                "preserve_host": false, "path_handling": "v0", "service": {"id": ID_TEXT},
                "ws_id": WORKSPACE,
            }),
        ),
        (
            "service",
            json!({
                "id": ID_TEXT, "name": "ai", "protocol": "http", "host": "localhost", "port": 32_000,
                "retries": 5, "connect_timeout": 1, "write_timeout": 2, "read_timeout": 3,
                "enabled": true, "tags": ["t"], "ws_id": WORKSPACE,
            }),
        ),
    ];
    for (field, expected) in expected {
        assert_eq!(found[field], expected, "{field}");
    }
}

#[test]
fn each_ai_plugin_has_its_own_key() {
    let headers = headers(&[]);
    let proxy = Exchange {
        tried_targets: &[],
        meta: Meta {
            plugin_id: ID_TEXT,
            provider_name: "openai",
            request_model: "gpt-4o",
            response_model: Some("gpt-4o-2024"),
            llm_latency: Some(37),
            ..Meta::default()
        },
        usage: Usage {
            prompt_tokens: Some(25),
            completion_tokens: Some(0),
            total_tokens: Some(25),
            cost: Some(0.000_25),
            prompt_tokens_details: Some(PromptDetails { cached_tokens: Some(5), ..PromptDetails::default() }),
            completion_tokens_details: Some(CompletionDetails { reasoning_tokens: 0 }),
            ..Usage::default()
        },
        payload: Some(Payload { request: Some("{\"a\":1}"), response: None }),
    };
    let parts =
        [("proxy", Ai::Exchange(&proxy)), ("payload", Ai::Original { original_request: "{template://x}" })];
    assert_eq!(
        value(&Record { ai: &parts, ..bare(&headers, &["key"]) })["ai"],
        json!({
            "proxy": {
                "meta": {
                    "plugin_id": ID_TEXT, "provider_name": "openai", "request_model": "gpt-4o",
                    "response_model": "gpt-4o-2024", "llm_latency": 37,
                },
                "usage": {
                    "prompt_tokens": 25, "completion_tokens": 0, "total_tokens": 25, "cost": 0.000_25,
                    "prompt_tokens_details": {"cached_tokens": 5},
                    "completion_tokens_details": {"reasoning_tokens": 0},
                },
                "payload": {"request": "{\"a\":1}"},
            },
            "payload": {"original_request": "{template://x}"},
        })
    );
}
