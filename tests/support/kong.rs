//! Kong configurations, put together from parts. JSON is YAML, so they are written as JSON.

use serde_json::{Value, json};

/// An ai-proxy plugin towards an OpenAI-shaped upstream, with a price and statistics.
pub fn ai_proxy(upstream_url: &str) -> Value {
    json!({"name": "ai-proxy", "config": {
        "route_type": "llm/v1/chat",
        "max_request_body_size": 64 * 1024 * 1024,
        "model": {"provider": "openai", "name": "gpt-4o-mini", "options": {
            "upstream_url": upstream_url, "input_cost": 0.15, "output_cost": 0.6}},
        "logging": {"log_statistics": true, "log_payloads": false},
    }})
}

/// The same with changes: what is an object is merged, the rest replaced.
pub fn ai_proxy_with(upstream_url: &str, changes: &Value) -> Value {
    let mut plugin = ai_proxy(upstream_url);
    merge(&mut plugin["config"], changes);
    plugin
}

/// `preserve`: what the client and the upstream say is passed on as it is.
pub fn preserve(upstream_url: &str) -> Value {
    json!({"name": "ai-proxy", "config": {
        "route_type": "preserve",
        "max_request_body_size": 64 * 1024 * 1024,
        "model": {"provider": "openai", "options": {"upstream_url": upstream_url}},
        "logging": {"log_statistics": true, "log_payloads": false},
    }})
}

/// A target of Ollama's format.
pub fn ollama(upstream_url: &str) -> Value {
    let model = json!({"provider": "llama2", "name": "llama2", "options": {
        "llama2_format": "ollama", "upstream_url": upstream_url, "input_cost": 1, "output_cost": 2}});
    let mut plugin = ai_proxy(upstream_url);
    plugin["config"]["model"] = model;
    plugin
}

/// A target of ai-proxy-advanced: a provider with the options that it needs, and its share.
pub fn target(provider: &str, upstream_url: &str, weight: u32) -> Value {
    let mut options = json!({"upstream_url": upstream_url, "input_cost": 1, "output_cost": 2});
    let auth = match provider {
        "bedrock" => {
            merge(&mut options, &json!({"bedrock": {"aws_region": "eu-west-1"}}));
            json!({"aws_access_key_id": "AKIDEXAMPLE", "aws_secret_access_key": "secret"})
        }
        "anthropic" => {
            merge(&mut options, &json!({"anthropic_version": "2023-06-01", "max_tokens": 256}));
            json!({"header_name": "x-api-key", "header_value": "key"})
        }
        "gemini" => json!({"param_name": "key", "param_value": "key", "param_location": "query"}),
        "llama2" => {
            merge(&mut options, &json!({"llama2_format": "ollama"}));
            json!({})
        }
        _ => json!({"header_name": "authorization", "header_value": "Bearer key"}),
    };
    json!({"route_type": "llm/v1/chat", "auth": auth, "weight": weight,
           "model": {"provider": provider, "name": format!("{provider}-model"), "options": options},
           "logging": {"log_statistics": true, "log_payloads": false}})
}

/// ai-proxy-advanced over targets, with what `balancer` says.
pub fn advanced(targets: &[Value], balancer: &Value) -> Value {
    json!({"name": "ai-proxy-advanced", "config": {
        "targets": targets, "balancer": balancer, "max_request_body_size": 64 * 1024 * 1024}})
}

/// A transformer that asks an OpenAI-shaped model, with a price and statistics.
pub fn transformer(name: &str, model_url: &str, changes: &Value) -> Value {
    let mut plugin = json!({"name": name, "config": {
        "prompt": format!("You are the model of {name}."),
        "max_request_body_size": 1024 * 1024,
        "llm": {
            "route_type": "llm/v1/chat",
            "auth": {"header_name": "Authorization", "header_value": "Bearer own-key"},
            "model": {"provider": "openai", "name": "gpt-4o-mini", "options": {
                "upstream_url": model_url, "input_cost": 10, "output_cost": 10}},
            "logging": {"log_statistics": true, "log_payloads": false}}}});
    merge(&mut plugin["config"], changes);
    plugin
}

/// A route with its plugins; its name is what letters its path has.
pub fn route(path: &str, plugins: &[Value]) -> Value {
    let name: String = path
        .trim_start_matches(['~', '/'])
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
        .collect();
    json!({"name": name, "paths": [path], "plugins": plugins})
}

/// A whole configuration: the routes below one service that AI routes never reach, and `prometheus`.
pub fn file(routes: &[Value]) -> String {
    file_with(&json!({}), routes)
}

/// The same with changes to the service: its timeouts, its address.
pub fn file_with(service: &Value, routes: &[Value]) -> String {
    let mut whole = json!({"name": "service", "url": "http://127.0.0.1:9", "routes": routes});
    merge(&mut whole, service);
    json!({"_format_version": "3.0", "services": [whole], "plugins": [prometheus()]}).to_string()
}

/// `prometheus` with all of Kong's series.
pub fn prometheus() -> Value {
    json!({"name": "prometheus", "config": {
        "status_code_metrics": true, "latency_metrics": true, "bandwidth_metrics": true,
        "upstream_health_metrics": true, "per_consumer": true, "ai_metrics": true}})
}

/// What is an object is merged, the rest replaced.
pub fn merge(into: &mut Value, changes: &Value) {
    match (into, changes) {
        (Value::Object(into), Value::Object(changes)) => {
            for (key, value) in changes {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, changes) => *into = changes.clone(),
    }
}
