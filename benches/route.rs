//! How long a lookup takes among 10, 1,000 and 10,000 routes, by what tells the routes apart.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use http::HeaderMap;
use std::hint::black_box;
use tollgate::config::entities::Route;
use tollgate::route::{Query, Router};
use uuid::Uuid;

fn route(index: usize) -> Route {
    Route { id: Uuid::from_u128(index as u128), ..Route::default() }
}

/// A kind of routes: its name, how the `index`th is made, and the host and target that belong to it.
type Kind = (&'static str, fn(usize) -> Route, fn(usize) -> (String, String));

const KINDS: [Kind; 3] = [
    (
        "prefix",
        |index| Route { paths: vec![format!("/team-{index}/chat")], ..route(index) },
        |index| ("gateway.example".to_owned(), format!("/team-{index}/chat/completions")),
    ),
    (
        "regex",
        |index| Route { paths: vec![format!("~/team-{index}/(?<model>[^/]+)/chat$")], ..route(index) },
        |index| ("gateway.example".to_owned(), format!("/team-{index}/gpt-4o/chat")),
    ),
    (
        "host",
        |index| Route {
            hosts: vec![format!("team-{index}.example")],
            paths: vec!["/".to_owned()],
            ..route(index)
        },
        |index| (format!("team-{index}.example"), "/v1/chat".to_owned()),
    ),
];

/// Requests for routes all over the list, in turn, so that no lookup finds its way warmed up.
fn lookups(c: &mut Criterion) {
    let headers = HeaderMap::new();
    for (kind, make, ask) in KINDS {
        let mut group = c.benchmark_group(kind);
        for count in [10, 1_000, 10_000] {
            let list: Vec<Route> = (0..count).map(make).collect();
            let Ok(router) = Router::new(&list) else { continue };
            let asked: Vec<(usize, (String, String))> =
                (0..997).map(|turn| turn * 7_919 % count).map(|index| (index, ask(index))).collect();
            let find = |(host, target): &(String, String)| {
                let query = Query {
                    method: "POST",
                    host,
                    target,
                    headers: &headers,
                    scheme: "http",
                    sni: None,
                    port: 80,
                };
                router.find(&query).map(|found| black_box(found).index)
            };
            assert!(asked.iter().all(|(index, request)| find(request) == Some(*index)));
            let mut turns = asked.iter().cycle();
            group.bench_function(BenchmarkId::from_parameter(count), |b| {
                b.iter(|| turns.next().and_then(|(_, request)| find(black_box(request))));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, lookups);
criterion_main!(benches);
