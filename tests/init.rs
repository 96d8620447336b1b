//! The guided start: what it writes is good, and it writes over nothing.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use support::chat;
use support::gateway::{Gateway, finish, free};
use support::upstream::{Reply, Upstream};

fn files(dir: &tempfile::TempDir) -> (String, String) {
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    (path("kong.yaml"), path("keys.env"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_writes_serves() {
    let dir = tempfile::tempdir().unwrap();
    let (config, keys) = files(&dir);
    let model = free();
    let url = format!("mistral=http://{model}/api/chat");
    let (status, said, complaint) = finish(&[
        "init",
        "--yes",
        "--config",
        &config,
        "--env-file",
        &keys,
        "--key",
        "openai=sk-it's",
        "--key",
        "azure=az",
        "--option",
        "azure.azure_instance=i",
        "--option",
        "azure.azure_deployment_id=d",
        "--url",
        &url,
        "--price",
        "mistral=1,2",
    ]);
    assert_eq!(status, 0, "{said}{complaint}");
    assert!(said.contains("does not answer yet") && said.contains("/mistral/chat"), "{said}");
    let text = std::fs::read_to_string(&config).unwrap();
    assert!(text.contains("{vault://env/openai-auth-header}") && !text.contains("sk-it"), "{text}");
    let read = format!(". {keys}; printf %s \"$OPENAI_AUTH_HEADER|$AZURE_AUTH_HEADER\"");
    let shell = Command::new("bash").args(["-c", &read]).output().unwrap();
    assert_eq!(String::from_utf8(shell.stdout).unwrap(), "Bearer sk-it's|az");
    for file in [&config, &keys] {
        assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert_eq!(finish(&["check", &config]).0, 0);
    let gateway = Gateway::start_with(&text, &["--mock-llm", &model.to_string()]).await;
    let reply = reqwest::Client::new().post(gateway.url("/mistral/chat")).json(&chat("What is 1+1?"));
    assert_eq!(reply.send().await.unwrap().status(), 200);
    gateway.counts("tollgate_unpriced_total", &["mistral"], 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_asks_a_person_and_probes_what_is_local() {
    let dir = tempfile::tempdir().unwrap();
    let (config, keys) = files(&dir);
    let local = Upstream::always(Reply::body(405, &[], "")).await;
    let mut child = Command::new(env!("CARGO_BIN_EXE_tollgate"))
        .args(["init", "--config", &config, "--env-file", &keys])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // OpenAI, its price, Cohere, Azure, Anthropic, Mistral, Llama2, its price.
    let answers = format!("sk-1\n0.15,0.6\n\n\n\n\n{}/api/chat\n\n", local.url());
    child.stdin.take().unwrap().write_all(answers.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && said.contains("/api/chat answers"), "{said}");
    let text = std::fs::read_to_string(&config).unwrap();
    assert!(text.contains("input_cost: 0.15") && text.contains("llama2_format: ollama"), "{text}");
    assert!(!text.contains("cohere") && !text.contains("anthropic"));
}

#[test]
fn it_writes_over_nothing_unless_told_so() {
    let dir = tempfile::tempdir().unwrap();
    let (config, keys) = files(&dir);
    let with = |extra: &[&str]| {
        let base = ["init", "--yes", "--config", &config, "--env-file", &keys];
        finish(&[&base, extra].concat())
    };
    assert_eq!(with(&[]).0, 1, "nothing to configure");
    assert!(!std::path::Path::new(&config).exists() && !std::path::Path::new(&keys).exists());
    std::fs::write(&keys, "mine").unwrap();
    let (status, _, complaint) = with(&["--key", "openai=k"]);
    assert!(status == 1 && complaint.contains("is there already"), "{complaint}");
    assert_eq!(std::fs::read_to_string(&keys).unwrap(), "mine");
    assert!(!std::path::Path::new(&config).exists());
    let (status, _, complaint) = with(&["--force", "--key", "azure=k"]);
    assert!(status == 1 && complaint.contains("azure_instance"), "{complaint}");
    assert_eq!(std::fs::read_to_string(&keys).unwrap(), "mine", "nothing is written before all is known");
    assert_eq!(with(&["--force", "--key", "openai=k"]).0, 0);
    assert_eq!(std::fs::metadata(&keys).unwrap().permissions().mode() & 0o777, 0o600);
    let (status, _, complaint) = with(&["--force", "--key", "opnai=k"]);
    assert!(status == 1 && complaint.contains("'opnai' is not one of"), "{complaint}");
    let (status, _, complaint) = with(&["--force", "--key", "openai=k", "--price", "openai=cheap"]);
    assert!(status == 1 && complaint.contains("is not a price"), "{complaint}");
}
