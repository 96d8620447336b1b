//! conf/grafana-dashboard.json asks only for series and labels that a gateway exposes.

use super::support::gateway::Gateway;
use super::support::upstream::{Reply, Upstream};
use super::support::{chat, eventually, kong, streamed};
use super::{ask, chunk, completion, last, usage};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

const DASHBOARD: &str = include_str!("../../conf/grafana-dashboard.json");

/// All texts below a key of that name.
fn texts<'a>(value: &'a Value, key: &str, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                found.extend(value.as_str().filter(|_| name == key));
                texts(value, key, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| texts(item, key, found)),
        _ => {}
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// The series that a query names, and the labels that it reads of them.
fn named(query: &str) -> (BTreeSet<&str>, BTreeSet<&str>) {
    let words = query.split(|c| !is_word(c)).filter(|word| !word.is_empty());
    let series = words.filter(|word| word.starts_with("tollgate_") || word.starts_with("kong_")).collect();
    let mut labels = BTreeSet::new();
    for group in query.split("by (").skip(1) {
        labels.extend(group.split(')').next().unwrap_or_default().split(',').map(str::trim));
    }
    for filter in query.split('{').skip(1) {
        let pairs = filter.split('}').next().unwrap_or_default().split(',');
        labels.extend(pairs.filter_map(|pair| pair.split(['=', '!']).next()).map(str::trim));
    }
    if let Some(arguments) = query.strip_prefix("label_values(") {
        labels.extend(arguments.trim_end_matches(')').split(',').nth(1).map(str::trim));
    }
    (series, labels)
}

/// A gateway on which something of each kind has happened: answers, streams, refusals, no price, an error.
async fn busy() -> (Gateway, Vec<Upstream>) {
    let ok = Upstream::always(Reply::json(&completion("hello", &usage(9, 2)))).await;
    let stream =
        || Reply::stream("text/event-stream").event(&chunk("hel")).event(&chunk("lo")).event(&last());
    let streaming = Upstream::always(stream().done()).await;
    let spent = Upstream::always(Reply::body(429, &[("retry-after", "60")], "{}")).await;
    let mut unpriced = kong::ai_proxy(&ok.url());
    unpriced["config"]["model"]["options"] = json!({"upstream_url": ok.url()});
    let either = [1, 1].map(|weight| kong::target("openai", &ok.url(), weight));
    let routes = [
        ("/chat", kong::ai_proxy(&ok.url())),
        ("/stream", kong::ai_proxy(&streaming.url())),
        ("/spent", kong::ai_proxy(&spent.url())),
        ("/unpriced", unpriced),
        ("/either", kong::advanced(&either, &json!({}))),
    ];
    let routes = routes.map(|(path, plugin)| kong::route(path, &[plugin, kong::prometheus()]));
    let config = kong::file(&routes);
    let gateway = Gateway::start(&config).await;
    for (path, body, status) in [
        ("/chat", chat("hi"), 200),
        ("/stream", streamed("hi"), 200),
        ("/unpriced", chat("hi"), 200),
        ("/spent", chat("hi"), 429),
        ("/chat", json!({"no": "prompt"}), 400),
    ] {
        assert_eq!(ask(&gateway, path, &body).await.status, status, "{path}");
    }
    gateway.reload(&config);
    gateway.counts("tollgate_settlements_total", &[], 4.0).await;
    eventually("the reload is counted", async || {
        gateway.sum("tollgate_config_reloads_total", &[]).await > 0.0
    })
    .await;
    (gateway, vec![ok, streaming, spent])
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dashboard_asks_for_what_is_there() {
    let (gateway, _upstreams) = busy().await;
    let mut exposed: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for series in gateway.metrics().await.into_keys() {
        let (name, labels) = series.split_once('{').unwrap_or((&series, ""));
        let labels = labels.split('"').step_by(2).map(|label| label.trim_matches([',', '=', '}']).to_owned());
        exposed.entry(name.to_owned()).or_default().extend(labels);
    }
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let mut queries = Vec::new();
    texts(&dashboard, "expr", &mut queries);
    texts(&dashboard["templating"], "query", &mut queries);
    let queries: Vec<_> = queries.into_iter().filter(|query| *query != "prometheus").collect();
    assert!(queries.len() > 20, "only {} queries were found", queries.len());
    for query in queries {
        let (series, labels) = named(query);
        assert!(!series.is_empty(), "{query} asks for nothing of ours");
        for name in series {
            let known = exposed.get(name).unwrap_or_else(|| panic!("{query}: there is no series {name}"));
            for label in &labels {
                assert!(known.contains(*label), "{query}: {name} has no label {label}, only {known:?}");
            }
        }
    }
}
