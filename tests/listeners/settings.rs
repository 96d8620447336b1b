//! Every setting stands in conf/tollgate.yaml with its variable, and the variable works.

use std::collections::BTreeSet;
use std::path::Path;
use tollgate::process::settings::{KEYS, Settings};

fn file() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/conf/tollgate.yaml")).unwrap()
}

/// The settings of the file, also those that are only shown: `#key: value`.
fn settings_of(text: &str) -> BTreeSet<String> {
    let mut above = String::new();
    let mut found = BTreeSet::new();
    for line in text.lines() {
        let line = line.strip_prefix('#').filter(|rest| is_key(rest)).unwrap_or(line);
        if !is_key(line) {
            continue;
        }
        let (key, value) = line.split_once(':').unwrap();
        let key = key.trim().trim_start_matches("- ");
        match (line.starts_with(' '), value.split('#').next().unwrap().trim().is_empty()) {
            (false, true) => above = format!("{key}."),
            (false, false) => {
                above.clear();
                found.insert(key.to_owned());
            }
            (true, _) => {
                found.insert(format!("{above}{key}"));
            }
        }
    }
    found
}

fn is_key(line: &str) -> bool {
    let text = line.trim_start();
    let word = text.split(':').next().unwrap_or_default();
    let followed = text.get(word.len()..).is_some_and(|rest| rest == ":" || rest.starts_with(": "));
    followed && !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c == '_')
}

#[test]
fn the_file_shows_every_setting_and_its_variable() {
    let text = file();
    let known: BTreeSet<String> = KEYS.iter().map(|key| key.0.to_owned()).collect();
    assert_eq!(settings_of(&text), known);
    let shown: BTreeSet<&str> = text
        .split(|c: char| !(c.is_ascii_uppercase() || c == '_'))
        .filter(|word| word.starts_with("TOLLGATE_"))
        .collect();
    for key in KEYS {
        let variable = key.variable();
        assert!(shown.contains(&*variable), "{variable} is not in the file");
    }
}

#[test]
fn the_file_shows_the_defaults() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/conf/tollgate.yaml");
    let read = Settings::read(Some(Path::new(path)), |_| None).unwrap();
    assert_eq!(format!("{read:?}"), format!("{:?}", Settings::default()));
}

/// A value for each variable that is not the default, and what must be in the settings then.
const VALUES: &[(&str, &str, &str)] = &[
    (
        "proxy_listen",
        "127.0.0.1:1 ssl, unix:/run/x",
        "proxy_protocol: false }, reuseport: false }, Listen { place: Unix(\"/run/x\")",
    ),
    ("admin_listen", "127.0.0.1:2", "admin_listen: 127.0.0.1:2"),
    ("status_listen", "127.0.0.1:3", "status_listen: 127.0.0.1:3"),
    ("admin.token", "12345", "token: Some("),
    ("admin.reveal_secrets", "true", "reveal_secrets: true"),
    ("state", "/s", "state: Some(\"/s\")"),
    ("store", "redis://u:p@h/0", "store: Some("),
    ("tls.certificates", "[{cert: /a.pem, key: /a.key}]", "Pair { cert: \"/a.pem\", key: \"/a.key\" }"),
    ("tls.reload_seconds", "7", "reload_seconds: 7"),
    ("trusted_ips", "10.0.0.0/8, unix:", "unix: true"),
    ("real_ip_header", "proxy_protocol", "real_ip_header: ProxyProtocol"),
    ("real_ip_recursive", "true", "real_ip_recursive: true"),
    ("threads", "3", "threads: 3"),
    ("busy_polling", "true", "busy_polling: true"),
    ("log_format", "json", "log_format: Json"),
    ("log_file", "/l", "log_file: Some(\"/l\")"),
    ("daemon", "true", "daemon: true"),
    ("pid_file", "/p", "pid_file: Some(\"/p\")"),
    ("max_connections", "11", "max_connections: 11"),
    ("max_header_bytes", "12", "max_header_bytes: 12"),
    ("max_headers", "13", "max_headers: 13"),
    ("max_uri_bytes", "14", "max_uri_bytes: 14"),
    ("header_seconds", "15", "header_seconds: 15"),
    ("idle_seconds", "16", "idle_seconds: 16"),
    ("request_seconds", "17", "request_seconds: 17"),
    ("body_seconds", "18", "body_seconds: 18"),
    ("body_read_seconds", "19", "body_read_seconds: 19"),
    ("body_memory_mib", "20", "body_memory_mib: 20"),
    ("grace_seconds", "21", "grace_seconds: 21"),
    ("upgrade_seconds", "23", "upgrade_seconds: 23"),
    ("keepalive_pool", "22", "keepalive_pool: 22"),
];

#[test]
fn every_variable_works() {
    let covered: BTreeSet<&str> = VALUES.iter().map(|(key, ..)| *key).collect();
    assert_eq!(covered, KEYS.iter().map(|key| key.0).collect());
    let default = format!("{:?}", Settings::default());
    for (key, value, expected) in VALUES {
        let variable = KEYS.iter().find(|other| other.0 == *key).unwrap().variable();
        let given = |name: &str| (name == variable).then(|| (*value).to_owned());
        let read = format!("{:?}", Settings::read(None, given).unwrap());
        assert!(read.contains(expected) && !default.contains(expected), "{variable}={value}: {read}");
    }
}

#[test]
fn the_environment_beats_the_file_and_errors_say_where_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("server.yaml");
    std::fs::write(
        &path,
        "proxy_listen: ['127.0.0.1:1', '127.0.0.1:2 http2']\nthreads: 3\nidle_seconds: 4\n",
    )
    .unwrap();
    let read = |variable: &'static str, value: &'static str| {
        Settings::read(Some(&path), move |name| (name == variable).then(|| value.to_owned()))
    };
    let settings = read("TOLLGATE_THREADS", "5").unwrap();
    assert_eq!((settings.threads, settings.idle_seconds), (5, 4));
    assert_eq!(settings.proxy_listen.to_string(), "127.0.0.1:1, 127.0.0.1:2 http2");
    for (variable, value) in [
        ("TOLLGATE_THREADS", "many"),
        ("TOLLGATE_PROXY_LISTEN", "127.0.0.1:1 quic"),
        ("TOLLGATE_TRUSTED_IPS", "10.0.0.0/8,nowhere"),
        ("TOLLGATE_TLS_CERTIFICATES", "[{cert: /a.pem}]"),
        ("TOLLGATE_REAL_IP_HEADER", "a b"),
    ] {
        let error = read(variable, value).unwrap_err();
        assert!(error.contains(variable), "{error}");
    }
    let error = read("TOLLGATE_IDLE_SECONDS", "0").unwrap_err();
    assert!(error.ends_with("idle_seconds has to be over 0"), "{error}");
    std::fs::write(&path, "threads: 3\nthread: 4\n").unwrap();
    assert!(read("X", "").unwrap_err().contains("line 2"));
}
