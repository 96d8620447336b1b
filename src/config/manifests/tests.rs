//! Each mapping, against what the controller makes of the same objects.

mod http_routes;
mod plugins;

use crate::config::entities::{Document, Plugin, Route};
use crate::config::parse_with;
use crate::config::problems::Problem;

/// A Service on port 80, called `http`.
const SERVICE: &str = "
apiVersion: v1
kind: Service
metadata: {name: s, namespace: n}
spec: {ports: [{port: 80, name: http}]}
";

const PLUGIN: &str = "
apiVersion: configuration.konghq.com/v1
kind: KongPlugin
metadata: {name: p, namespace: n}
plugin: prometheus
";

/// An Ingress with these annotations, to port 80 of the Service.
fn ingress(annotations: &str, paths: &str) -> String {
    format!(
        "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: i, namespace: n, annotations: {{{annotations}}}}}
spec: {{ingressClassName: kong, rules: [{{host: a.com, http: {{paths: [{paths}]}}}}]}}
"
    )
}

const BACKEND: &str = "backend: {service: {name: s, port: {number: 80}}}";

fn simple(annotations: &str) -> String {
    ingress(annotations, &format!("{{path: /x, {BACKEND}}}"))
}

fn parse(objects: &[&str]) -> Result<Document, Vec<Problem>> {
    parse_with(&[("k.yaml".to_owned(), objects.join("---"))], &|_| None)
}

fn good(objects: &[&str]) -> Document {
    parse(objects).unwrap_or_else(|problems| unreachable!("{problems:?}\n{}", objects.join("---")))
}

/// The problems, without their lines.
fn bad(objects: &[&str]) -> Vec<String> {
    let problems = parse(objects).err().unwrap_or_default();
    problems.iter().map(|problem| format!("{}: {}", problem.path, problem.message)).collect()
}

fn route(objects: &[&str]) -> Route {
    let mut document = good(objects);
    assert_eq!(document.routes.len(), 1);
    document.routes.remove(0)
}

/// What a plugin is bound to, by names: service, route, consumer, group.
fn scopes(document: &Document, plugin: &Plugin) -> String {
    let service = document.services.iter().find(|one| Some(one.id) == plugin.service);
    let route = document.routes.iter().find(|one| Some(one.id) == plugin.route);
    let consumer = document.consumers.iter().find(|one| Some(one.id) == plugin.consumer);
    let group = document.consumer_groups.iter().find(|one| Some(one.id) == plugin.consumer_group);
    let names = [
        service.and_then(|one| one.name.clone()),
        route.and_then(|one| one.name.clone()),
        consumer.and_then(|one| one.username.clone().or(one.custom_id.clone())),
        group.map(|one| one.name.clone()),
    ];
    names.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

fn all_scopes(document: &Document) -> Vec<String> {
    document.plugins.iter().map(|plugin| scopes(document, plugin)).collect()
}

#[test]
fn names_ingress_routes_and_services_as_the_controller_does() {
    let document = good(&[SERVICE, &simple("")]);
    let (service, route) = (&document.services[0], &document.routes[0]);
    assert_eq!(service.name.as_deref(), Some("n.s.80"));
    assert_eq!((service.host.as_str(), service.port, service.path.as_deref()), ("s.n.svc", 80, Some("/")));
    assert_eq!((service.retries, service.read_timeout), (5, 60_000));
    assert_eq!(route.name.as_deref(), Some("n.i.s.a.com.80"));
    assert_eq!(route.service, Some(service.id));
    assert_eq!(
        (route.hosts.as_slice(), route.paths.as_slice()),
        (&["a.com".to_owned()][..], &["/x".to_owned()][..])
    );
    assert!(route.preserve_host && !route.strip_path);
    let tags = [
        "k8s-name:i",
        "k8s-namespace:n",
        "k8s-kind:Ingress",
        "k8s-group:networking.k8s.io",
        "k8s-version:v1",
    ];
    assert_eq!(route.tags.as_deref(), Some(&tags.map(str::to_owned)[..]));
    let named = ingress("", "{path: /x, backend: {service: {name: s, port: {name: http}}}}");
    assert_eq!(route_name(&[SERVICE, &named.replace("a.com", "'*.a.com'")]), "n.i.s._.a.com.http");
}

fn route_name(objects: &[&str]) -> String {
    route(objects).name.unwrap_or_default()
}

#[test]
fn turns_path_types_into_kongs_paths() {
    for (path, kind, expected) in [
        ("/x", "Prefix", &["/x/", "~/x$"][..]),
        ("/x//y/", "Prefix", &["/x/y/", "~/x/y$"]),
        ("/", "Prefix", &["/"]),
        ("/v1.0", "Exact", &["~/v1\\.0$"]),
        ("/mistral-chat", "Exact", &["~/mistral-chat$"]),
        ("/x/", "Exact", &["~/x/$"]),
        ("/x", "ImplementationSpecific", &["/x"]),
        ("/~/x/\\d+$", "ImplementationSpecific", &["~/x/\\d+$"]),
        ("/~/x$", "Prefix", &["~/x$"]),
        ("", "ImplementationSpecific", &["/"]),
    ] {
        let ingress = ingress("", &format!("{{path: '{path}', pathType: {kind}, {BACKEND}}}"));
        assert_eq!(route(&[SERVICE, &ingress]).paths, expected, "{path} {kind}");
    }
    let marked = ingress("konghq.com/regex-prefix: /@", &format!("{{path: '/@/x$', {BACKEND}}}"));
    assert_eq!(route(&[SERVICE, &marked]).paths, ["~/x$"]);
    let wrong = ingress("", &format!("{{path: /x, pathType: Regex, {BACKEND}}}"));
    assert_eq!(
        bad(&[SERVICE, &wrong]),
        [
            "documents[1].spec.rules[0].http.paths[0].pathType: expected one of: Exact, Prefix, ImplementationSpecific"
        ]
    );
}

#[test]
fn joins_the_paths_of_one_host_and_backend() {
    let two = ingress("", &format!("{{path: /x, {BACKEND}}}, {{path: /y, {BACKEND}}}"));
    assert_eq!(route(&[SERVICE, &two]).paths, ["/x", "/y"]);
    let other = ingress("", "{path: /x, backend: {service: {name: s, port: {name: http}}}}");
    let document = good(&[SERVICE, &two, &other.replace("name: i,", "name: j,")]);
    assert_eq!((document.services.len(), document.routes.len()), (2, 2));
}

#[test]
fn takes_one_default_backend() {
    let default = "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: d, namespace: n}
spec: {defaultBackend: {service: {name: s, port: {number: 80}}}}
";
    let route = route(&[SERVICE, default]);
    assert_eq!((route.name.as_deref(), route.paths.as_slice()), (Some("n.d"), &["/".to_owned()][..]));
    let second = default.replace("name: d,", "name: e,");
    assert_eq!(
        bad(&[SERVICE, default, &second]),
        ["documents[2].spec.defaultBackend: only one Ingress may have a default backend"]
    );
}

#[test]
fn reads_the_annotations_of_routes() {
    let route = route(&[
        SERVICE,
        &simple(
            "konghq.com/strip-path: 'true', konghq.com/methods: 'get, POST', konghq.com/protocols: https, \
             konghq.com/https-redirect-status-code: '308', konghq.com/preserve-host: 'False', \
             konghq.com/regex-priority: '7', konghq.com/path-handling: v1, konghq.com/host-aliases: 'b.com,a.com', \
             konghq.com/headers.x-team: 'red, blue', konghq.com/snis: c.com, konghq.com/tags: mine, \
             konghq.com/request-buffering: 'false'",
        ),
    ]);
    assert!(route.strip_path && !route.preserve_host);
    assert_eq!(route.methods, ["GET", "POST"]);
    assert_eq!(route.protocols, ["https"]);
    assert_eq!((route.https_redirect_status_code, route.regex_priority), (308, 7));
    assert_eq!(route.path_handling, crate::config::entities::PathHandling::V1);
    assert_eq!(route.hosts, ["a.com", "b.com"]);
    assert_eq!(route.headers["x-team"], ["red", "blue"]);
    assert_eq!(route.snis, ["c.com"]);
    assert!(route.tags.is_some_and(|tags| tags.contains(&"mine".to_owned())));
}

#[test]
fn reads_the_annotations_of_services() {
    let service = SERVICE.replace(
        "namespace: n",
        "namespace: n, annotations: {konghq.com/protocol: https, konghq.com/path: /v1, \
         konghq.com/connect-timeout: '1', konghq.com/read-timeout: '2', konghq.com/write-timeout: '3', \
         konghq.com/retries: '4', konghq.com/plugins: p}",
    );
    let document = good(&[&service, &simple(""), PLUGIN]);
    let service = &document.services[0];
    assert_eq!((service.protocol.as_str(), service.path.as_deref()), ("https", Some("/v1")));
    assert_eq!((service.connect_timeout, service.read_timeout, service.write_timeout), (1, 2, 3));
    assert_eq!(service.retries, 4);
    assert_eq!(all_scopes(&document), ["n.s.80"]);
}

#[test]
fn settings_of_a_kong_ingress_yield_to_annotations() {
    let settings = "
apiVersion: configuration.konghq.com/v1
kind: KongIngress
metadata: {name: k, namespace: n}
route: {methods: [GET], strip_path: true, headers: {x-a: [b]}}
proxy: {retries: 9}
";
    let service = SERVICE.replace("namespace: n", "namespace: n, annotations: {konghq.com/override: k}");
    let document =
        good(&[&service, settings, &simple("konghq.com/override: k, konghq.com/strip-path: 'false'")]);
    let route = &document.routes[0];
    assert_eq!((route.methods.as_slice(), route.strip_path), (&["GET".to_owned()][..], false));
    assert_eq!(route.headers["x-a"], ["b"]);
    assert_eq!(document.services[0].retries, 9);
    assert_eq!(
        bad(&[SERVICE, &simple("konghq.com/override: k")]),
        [
            "documents[1].metadata.annotations.konghq.com/override: no KongIngress 'n/k' in the files that were given"
        ]
    );
}

#[test]
fn says_what_is_wrong_with_an_annotation() {
    let at = |name: &str| format!("documents[1].metadata.annotations.konghq.com/{name}: ");
    for (annotation, name, message) in [
        ("konghq.com/strip-path: maybe", "strip-path", "expected \"true\" or \"false\""),
        ("konghq.com/strip-path: true", "strip-path", "expected a string: put the value into quotes"),
        ("konghq.com/regex-priority: high", "regex-priority", "expected an integer, in quotes"),
        ("konghq.com/plugin: p", "plugin", "no such annotation for Ingress"),
        ("konghq.com/rewrite: /x", "rewrite", "not supported by this gateway"),
        (
            "konghq.com/plugins: q",
            "plugins",
            "no KongPlugin 'n/q' and no KongClusterPlugin 'q' in the files that were given",
        ),
    ] {
        assert_eq!(bad(&[SERVICE, &simple(annotation)]), [at(name) + message], "{annotation}");
    }
}

#[test]
fn finds_backends_or_says_which_is_missing() {
    let path = "documents[1].spec.rules[0].http.paths[0].backend: ";
    let to = |backend: &str| ingress("", &format!("{{path: /x, backend: {backend}}}"));
    for (backend, message) in [
        ("{service: {name: t, port: {number: 80}}}", "no Service 'n/t' in the files that were given"),
        ("{service: {name: s, port: {number: 81}}}", "Service 'n/s' has no port '81'"),
        ("{service: {name: s}}", "the backend says no port: give its number or name"),
        ("{resource: {kind: Bucket, name: b}}", "only a Service may be the backend"),
    ] {
        assert_eq!(bad(&[SERVICE, &to(backend)]), [format!("{path}{message}")]);
    }
    let external = SERVICE.replace("spec: {", "spec: {type: ExternalName, externalName: api.openai.com, ");
    let document = good(&[&external, &simple("")]);
    assert_eq!(document.services[0].host, "api.openai.com");
}

#[test]
fn reports_objects_that_it_cannot_read() {
    let object = |kind: &str| {
        format!("\napiVersion: configuration.konghq.com/v1\nkind: {kind}\nmetadata: {{name: x}}\n")
    };
    assert_eq!(
        bad(&[&object("TCPIngress")]),
        ["documents[0].kind: objects of the kind TCPIngress are not supported by this gateway"]
    );
    assert_eq!(
        bad(&[SERVICE, "\nkind: Service\n"]),
        ["documents[1]: expected a Kubernetes object with 'apiVersion' and 'kind'"]
    );
    assert_eq!(
        bad(&[SERVICE, "\n_format_version: '3.0'\n"]),
        [
            "documents[1]: a declarative configuration goes into a file of its own: give both files with --config"
        ]
    );
    assert_eq!(
        bad(&[SERVICE, "\napiVersion: v1\nkind: Service\n"]),
        ["documents[1].metadata.name: required field missing"]
    );
    assert_eq!(bad(&[SERVICE, SERVICE]), ["documents[1]: Service 'n/s' is declared more than once"]);
    assert_eq!(bad(&[SERVICE, "\njust text\n"]), ["documents[1]: expected a Kubernetes object"]);
    let wrong = PLUGIN.to_owned() + "ordering: {}\nconfigs: {}\n";
    assert_eq!(
        bad(&[&wrong]),
        [
            "documents[0].ordering: not supported by this gateway: plugins run in the order of their priorities",
            "documents[0].configs: unknown field"
        ]
    );
    let deployment = "\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\n";
    assert!(good(&[deployment, SERVICE]).services.is_empty());
}

#[test]
fn leaves_other_classes_alone_and_reads_lists() {
    let other =
        simple("konghq.com/strip-path: maybe").replace("ingressClassName: kong", "ingressClassName: nginx");
    assert!(good(&[SERVICE, &other]).routes.is_empty());
    let list = "{\"apiVersion\": \"v1\", \"kind\": \"List\", \"items\": [{\"apiVersion\": \"v1\", \"kind\": \"Secret\", \"metadata\": {}}]}";
    assert_eq!(bad(&[list]), ["documents[0].items[0].metadata.name: required field missing"]);
}

#[test]
fn names_file_document_path_and_line() {
    let plugin = PLUGIN.replace("prometheus", "rate-limiting") + "config:\n  minutes: 5\n";
    let texts = [
        ("a.yaml".to_owned(), SERVICE.to_owned()),
        ("b.yaml".to_owned(), [simple("konghq.com/plugins: p"), plugin].join("---")),
    ];
    let problems = parse_with(&texts, &|_| None).unwrap_err();
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert!(
        lines.contains(&"b.yaml: documents[1].config.minutes: unknown field (line 12)".to_owned()),
        "{lines:?}"
    );
}

#[test]
fn declarative_files_and_manifests_refer_to_each_other() {
    let declarative = "_format_version: '3.0'\nplugins: [{name: prometheus, route: n.i.s.a.com.80}]\n";
    let texts = [
        ("a.yaml".to_owned(), declarative.to_owned()),
        ("b.yaml".to_owned(), [SERVICE.to_owned(), simple("")].join("---")),
    ];
    let document = parse_with(&texts, &|_| None).unwrap();
    assert_eq!(all_scopes(&document), ["n.i.s.a.com.80"]);
}
