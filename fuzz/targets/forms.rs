//! Forms: the Admin API's, whose names are paths, and those that clients send instead of JSON.

use bytes::Bytes;
use serde_json::{Map, Value};
use std::sync::LazyLock;
use tokio::runtime::{Builder, Runtime};
use tollgate::accept::form as accepted;
use tollgate::admin::form;
use tollgate::config::records;
use tollgate::config::schema::Record;
use tollgate::plugins;

static PLUGIN: LazyLock<Record> =
    LazyLock::new(|| records::plugin(plugins::find("ai-proxy-advanced").expect("a plugin of that name")));

/// The body of a form.
pub fn admin(data: &[u8]) {
    let pairs: Vec<(String, String)> = form_urlencoded::parse(data).into_owned().collect();
    match form::tree(&pairs) {
        Ok(mut tree) => {
            let bound = 4000 + 10 * data.len();
            assert!(nodes(&Value::Object(tree.clone())) <= bound, "a tree that outgrows its form");
            form::infer(&PLUGIN, &mut tree);
        }
        Err(why) => assert!(!why.is_empty()),
    }
}

fn nodes(value: &Value) -> usize {
    1 + match value {
        Value::Array(list) => list.iter().map(nodes).sum(),
        Value::Object(map) => map.values().map(nodes).sum(),
        _ => 0,
    }
}

pub fn admin_seeds() -> Vec<Vec<u8>> {
    let known = [
        "name=ai-proxy-advanced&config.targets[1].model.name=a&config.targets%5B2%5D.model.name=b&paths[]=/x&paths[]=/y",
        "tags=a&tags=b&headers[x-a][]=1&config.balancer.retries=5&config.balancer.failover_criteria=error,timeout",
        "enabled=true&config.targets[1].weight=100&config.targets[1].model.options.temperature=0.5&a[1000]=1",
    ];
    known.iter().map(|text| text.as_bytes().to_vec()).collect()
}

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().build().expect("a runtime of one thread"));

/// A content type's line, then the body.
pub fn request(data: &[u8]) {
    let (kind, body) = super::halves(data, b'\n');
    let Ok(format) = accepted::format(std::str::from_utf8(kind).ok()) else { return };
    if format == accepted::Format::Json {
        return;
    }
    if let Ok(json) = RUNTIME.block_on(accepted::to_json(format, Bytes::copy_from_slice(body))) {
        assert!(serde_json::from_slice::<Map<String, Value>>(&json).is_ok(), "no object came out");
    }
}

pub fn request_seeds() -> Vec<Vec<u8>> {
    let known = [
        "application/x-www-form-urlencoded; charset=utf-8\nprompt=5&max_tokens=5&stream=true&messages=[]",
        "multipart/form-data; boundary=x\n--x\r\nContent-Disposition: form-data; name=\"messages\"\r\n\r\n[{\"role\":\"user\",\"content\":\"hi\"}]\r\n--x\r\nContent-Disposition: form-data; name=prompt\r\nContent-Type: text/plain; charset=latin1\r\n\r\nx\r\n--x--\r\n",
    ];
    known.iter().map(|text| text.as_bytes().to_vec()).collect()
}
