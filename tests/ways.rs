//! The curl lines of the guides, one way in after the other, each followed by the question that the
//! guides end in. They run as they are printed, but for the ports and the model's address.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::indexing_slicing,
    reason = "clippy exempts only the test functions themselves"
)]

mod support;

use serde_json::{Value, json};
use std::process::Command;
use support::gateway::{Gateway, free};

/// Runs a guide; what its last line printed.
fn follow(guide: &str, gateway: &Gateway, model: &str) -> Option<Value> {
    if Command::new("curl").arg("--version").output().is_err() {
        eprintln!("skipped: there is no curl");
        return None;
    }
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/ways");
    let script = format!(". {folder}/curl.sh; . {folder}/{guide}.sh");
    let output = Command::new("bash")
        .args(["-c", &script])
        .env("PROXY_PORT", gateway.proxy.port().to_string())
        .env("ADMIN_PORT", gateway.admin.port().to_string())
        .env("MODEL", model)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{guide}: {said}{complaint}");
    // Each answer is one object; the last is the model's.
    let answers = serde_json::Deserializer::from_str(&said).into_iter::<Value>();
    answers.last().transpose().unwrap()
}

async fn works(guide: &str, config: &str, extra: &[&str]) {
    let model = free();
    let address = model.to_string();
    let config = config.replace("MODEL", &format!("http://{address}"));
    let arguments = [&["--mock-llm", &address], extra].concat();
    let gateway = Gateway::start_with(&config, &arguments).await;
    let Some(answer) = follow(guide, &gateway, &format!("http://{address}")) else { return };
    assert_eq!(answer["object"], "chat.completion", "{guide}: {answer}");
    assert_eq!(answer["choices"][0]["message"]["content"], "2", "{guide}");
}

const STATE: &[&str] = &["--state", "{dir}/state"];

const EMPTY: &str = "_format_version: '3.0'";

#[tokio::test(flavor = "multi_thread")]
async fn by_the_admin_api() {
    works("admin", EMPTY, STATE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_the_admin_api_with_forms() {
    works("form", EMPTY, STATE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_konnects_paths() {
    works("konnect", EMPTY, STATE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_a_declarative_file() {
    let config = json!({"_format_version": "3.0", "services": [{"name": "ai-proxy", "url": "http://localhost:32000",
        "routes": [{"name": "mistral-chat", "paths": ["~/mistral-chat$"]}]}],
        "plugins": [{"name": "ai-proxy", "route": "mistral-chat", "config": {"route_type": "llm/v1/chat",
            "model": {"provider": "mistral", "name": "mistral-tiny", "options":
                {"mistral_format": "openai", "upstream_url": "MODEL/v1/chat/completions"}}}}]});
    works("declarative", &config.to_string(), &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_a_kong_plugin_file() {
    let config = "
apiVersion: configuration.konghq.com/v1
kind: KongPlugin
metadata:
  name: ai-proxy
  annotations:
    kubernetes.io/ingress.class: kong
plugin: ai-proxy
config:
  route_type: llm/v1/chat
  model:
    provider: mistral
    name: mistral-tiny
    options:
      mistral_format: openai
      upstream_url: MODEL/v1/chat/completions
---
apiVersion: v1
kind: Service
metadata:
  name: ai-proxy
spec:
  type: ExternalName
  externalName: localhost
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: mistral-chat
  annotations:
    konghq.com/plugins: ai-proxy
spec:
  ingressClassName: kong
  rules:
  - http:
      paths:
      - path: /~/mistral-chat$
        pathType: ImplementationSpecific
        backend: {service: {name: ai-proxy, port: {number: 32000}}}
";
    works("declarative", config, &[]).await;
}
