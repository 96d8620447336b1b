//! The loader: any text is a configuration or a list of problems, and none of them tells a secret.

use super::{files, read};
use tollgate::config;
use tollgate::route::Router;

/// What every reference to a secret stands for.
const SECRET: &str = "s3cret-0f-th3-environment";

pub fn run(data: &[u8]) {
    let Ok(text) = String::from_utf8(data.to_vec()) else { return };
    match config::parse_with(&[("x.yaml".to_owned(), text)], &|_| Some(SECRET.to_owned())) {
        Ok(document) => {
            assert!(Router::new(&document.routes).is_ok(), "what passed the check does not compile");
            assert!(!format!("{document:?}").contains(SECRET), "a secret is shown");
        }
        Err(problems) => {
            assert!(!problems.is_empty());
            for problem in problems {
                let shown = problem.to_string();
                assert!(!shown.is_empty() && !shown.contains(SECRET), "a secret is told: {shown}");
            }
        }
    }
}

/// All example files, whole and each of its documents; and one that is small.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> =
        ["conf", "tests/manifests"].iter().flat_map(|folder| files(folder, ".yaml")).map(read).collect();
    let parts: Vec<Vec<u8>> = seeds
        .iter()
        .flat_map(|text| {
            String::from_utf8_lossy(text)
                .split("\n---\n")
                .map(|part| part.as_bytes().to_vec())
                .collect::<Vec<_>>()
        })
        .collect();
    seeds.extend(parts);
    seeds.push(SMALL.as_bytes().to_vec());
    seeds.push(MANIFEST.as_bytes().to_vec());
    seeds
}

const SMALL: &str = r#"_format_version: "3.0"
services:
- name: s
  url: http://h:1/p
  routes:
  - paths: ["/a", "~/b/(?<c>x)$"]
    hosts: ["*.t"]
    plugins:
    - name: ai-proxy
      config:
        route_type: llm/v1/chat
        auth: {header_name: a, header_value: "{vault://env/k}"}
        model: {provider: openai, name: m}
consumers:
- username: u
  keyauth_credentials: [{key: k}]
"#;

const MANIFEST: &str = r#"apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: i, annotations: {konghq.com/strip-path: "true"}}
spec:
  ingressClassName: kong
  rules:
  - http: {paths: [{path: /a, pathType: Prefix, backend: {service: {name: s, port: {number: 80}}}}]}
---
apiVersion: v1
kind: Service
metadata: {name: s}
spec: {ports: [{port: 80}]}
"#;
