//! Declarative files of all shapes.

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// Fields with values from a table, each there or not.
fn fields(table: Vec<(&'static str, Value)>) -> impl Strategy<Value = Map<String, Value>> {
    vec(any::<bool>(), table.len()).prop_map(move |chosen| {
        let pairs = table.iter().zip(chosen).filter(|(_, chosen)| *chosen);
        pairs.map(|((name, value), _)| ((*name).to_owned(), value.clone())).collect()
    })
}

fn service() -> impl Strategy<Value = Map<String, Value>> {
    fields(vec![
        ("retries", 5.into()),
        ("read_timeout", 7.into()),
        ("path", "/v1".into()),
        ("port", 80.into()),
        ("tags", json!(["yes", "a b"])),
        ("enabled", true.into()),
        ("id", "0dc6f45b-8f8d-40d2-a504-473544ee190b".into()),
    ])
}

fn route() -> impl Strategy<Value = Map<String, Value>> {
    fields(vec![
        ("strip_path", false.into()),
        ("protocols", json!(["https"])),
        ("methods", json!(["GET"])),
        ("headers", json!({"x-a": ["1", "on"]})),
        ("hosts", json!(["a.com", "*.b"])),
        ("regex_priority", (-1).into()),
        ("path_handling", "v0".into()),
    ])
}

fn plugin() -> impl Strategy<Value = Map<String, Value>> {
    let proxy = json!({"route_type": "llm/v1/chat", "auth": {"header_name": "a", "header_value": "{vault://env/k}"},
        "model": {"provider": "openai", "name": "m", "options": {"max_tokens": 256, "input_cost": 0.1}},
        "logging": {"log_statistics": true, "log_payloads": false}});
    let limit =
        json!({"minute": 5, "policy": "local", "redis": {"port": 6379, "host": "r"}, "error_code": 429});
    let guard = json!({"deny_patterns": ["a: b", "#c", "é\n"], "match_all_roles": false});
    let kinds = vec![
        ("ai-proxy", proxy),
        ("rate-limiting", limit),
        ("ai-prompt-guard", guard),
        ("key-auth", json!({})),
    ];
    (proptest::sample::select(kinds), any::<bool>()).prop_map(|((name, config), enabled)| {
        let plugin = json!({"name": name, "config": config, "enabled": enabled});
        plugin.as_object().unwrap().clone()
    })
}

/// A file of two services, three routes of which one has no name, two consumers, and plugins anywhere.
pub fn file() -> impl Strategy<Value = Value> {
    let plugins = vec((plugin(), 0..6_usize), 0..6);
    (vec(service(), 2), vec(route(), 3), plugins, any::<bool>()).prop_map(|(services, routes, plugins, nested)| {
        let mut root = json!({"_format_version": "3.0", "services": [], "routes": [], "plugins": [],
            "consumers": [{"username": "alice", "groups": ["gold"], "keyauth_credentials": [{"key": "k1"}, {"key": "0x1"}]},
                          {"custom_id": "7", "acls": [{"group": "no"}]}],
            "consumer_groups": [{"name": "gold", "consumers": ["alice"]}]});
        let named = |mut map: Map<String, Value>, name: &str| {
            map.insert("name".to_owned(), name.into());
            map
        };
        for (index, mut service) in services.into_iter().enumerate() {
            service.insert("host".to_owned(), "h".into());
            if index > 0 {
                service.shift_remove("id");
            }
            root["services"].as_array_mut().unwrap().push(named(service, &format!("s{index}")).into());
        }
        for (index, mut route) in routes.into_iter().enumerate() {
            route.insert("paths".to_owned(), json!([format!("/{index}"), "~/x$"]));
            let mut route = if index < 2 { named(route, &format!("r{index}")) } else { route };
            if nested && index > 0 {
                let list = root["services"][0].as_object_mut().unwrap();
                let routes = list.entry("routes").or_insert_with(|| json!([]));
                routes.as_array_mut().unwrap().push(route.into());
            } else {
                route.insert("service".to_owned(), "s1".into());
                root["routes"].as_array_mut().unwrap().push(route.into());
            }
        }
        let mut seen = Vec::new();
        for (mut plugin, scope) in plugins {
            let scopes: &[(&str, &str)] = match scope {
                0 => &[],
                1 => &[("service", "s0")],
                2 => &[("route", "r1")],
                3 => &[("route", "r0"), ("service", "s1")],
                4 => &[("consumer", "alice")],
                _ => &[("route", "r0"), ("consumer", "alice")],
            };
            let key = (plugin["name"].clone(), scope);
            // An authentication cannot be bound to whom it would find.
            if seen.contains(&key) || (scope >= 4 && plugin["name"] == "key-auth") {
                continue;
            }
            seen.push(key);
            plugin.extend(scopes.iter().map(|(field, name)| ((*field).to_owned(), (*name).into())));
            root["plugins"].as_array_mut().unwrap().push(plugin.into());
        }
        root
    })
}
