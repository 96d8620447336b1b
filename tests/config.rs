//! Configuration files: what is refused and in which words, what is accepted and what becomes of it.

use std::path::{Path, PathBuf};
use tollgate::config::entities::{Document, PathHandling};
use tollgate::config::problems::Problem;
use tollgate::config::{check_files, load, parse_with};
use tollgate::provider::PROVIDERS;

/// Where the plugin of [`on_route`] stands; `@` in `config/refused.txt`.
const PLUGIN: &str = "services[0].routes[0].plugins[0]";

fn parse(text: &str) -> Result<Document, Vec<Problem>> {
    parse_with(&[("test.yaml".to_owned(), text.to_owned())], &|_| None)
}

/// A file of the current format.
fn file(body: &str) -> String {
    format!("_format_version: \"3.0\"\n{body}\n")
}

/// A file with one plugin on one route.
fn on_route(plugin: &str) -> String {
    file(&format!(
        "services: [{{name: s, host: h, routes: [{{name: r, paths: [/r], plugins: [{plugin}]}}]}}]"
    ))
}

#[expect(clippy::panic, reason = "so a test fails")]
fn good(text: &str) -> Document {
    parse(text).unwrap_or_else(|problems| panic!("must be accepted: {}\n{text}", lines(&problems).join("\n")))
}

fn lines(problems: &[Problem]) -> Vec<String> {
    let providers = PROVIDERS.iter().map(|provider| provider.name()).collect::<Vec<_>>().join(", ");
    let short = |problem: &Problem| {
        let path = problem.path.replace(PLUGIN, "@");
        let message = problem.message.replace(&providers, "PROVIDERS");
        if path.is_empty() { message } else { format!("{path}: {message}") }
    };
    problems.iter().map(short).collect()
}

/// What the sections of `refused.txt` are part of.
fn wrap(section: &str, text: &str) -> String {
    let target = "targets: [{route_type: llm/v1/chat, model: {provider: openai}}]";
    match section {
        "file" => text.to_owned(),
        "body" => file(text),
        "service" => file(&format!("services: [{text}]")),
        "route" => file(&format!("routes: [{text}]")),
        "plugin" => on_route(text),
        "target" => on_route(&format!("{{name: ai-proxy, config: {{route_type: llm/v1/chat, {text}}}}}")),
        "balancer" => {
            let config = text.replace("TARGET", target);
            on_route(&format!("{{name: ai-proxy-advanced, config: {{{config}}}}}"))
        }
        other => unreachable!("no section {other}"),
    }
}

/// The problems of one row are exactly those expected, in any order.
fn judge(section: &str, block: &str) -> bool {
    let (mut expected, text): (Vec<&str>, Vec<&str>) =
        block.lines().filter(|line| !line.starts_with('#')).partition(|line| line.starts_with("! "));
    if text.is_empty() {
        return false;
    }
    let text = wrap(section, &text.join("\n"));
    let problems = parse(&text).err().unwrap_or_default();
    let mut found: Vec<String> = lines(&problems).iter().map(|line| format!("! {line}")).collect();
    found.sort_unstable();
    expected.sort_unstable();
    assert!(!expected.is_empty(), "no expectation: {text}");
    assert_eq!(found, expected, "{text}");
    true
}

#[test]
fn refuses_what_the_table_says_in_its_words() {
    let mut section = "";
    let mut rows = 0;
    for block in include_str!("config/refused.txt").split("\n\n") {
        match block.strip_prefix("= ") {
            Some(title) => section = title.split(':').next().unwrap_or_default(),
            None => rows += usize::from(judge(section, block)),
        }
    }
    assert!(rows >= 150, "only {rows} rows were read");
}

/// ARCHITECTURE.md, Words. The table above is what the program says, letter by letter.
#[test]
fn each_problem_names_its_place_and_is_worded_like_the_others() {
    // Kong's own.
    let capital =
        |message: &str| message.starts_with(char::is_uppercase) && !message.starts_with("The limit for ");
    let path =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"@._-[]".contains(&byte));
    let mut odd: Vec<&str> = include_str!("config/refused.txt").lines().collect();
    odd.retain(|line| {
        line.strip_prefix("! ").is_some_and(|problem| match problem.split_once(": ") {
            Some(("failed parsing declarative configuration", _)) => false,
            Some((place, message)) => !path(place) || capital(message) || message.ends_with(['.', '!', ' ']),
            None => true,
        })
    });
    assert!(odd.is_empty(), "{odd:#?}");
}

#[test]
fn refuses_what_is_no_yaml() {
    let found = lines(&parse("services: [").expect_err("is no YAML"));
    assert!(found[0].starts_with("failed parsing declarative configuration: "), "{found:?}");
}

#[test]
fn bounds_lengths() {
    let guard = |length: usize| {
        let pattern = "é".repeat(length);
        on_route(&format!("{{name: ai-prompt-guard, config: {{deny_patterns: [{pattern}]}}}}"))
    };
    good(&guard(500));
    let found = lines(&parse(&guard(501)).expect_err("too long"));
    assert_eq!(found, ["@.config.deny_patterns[0]: length must be at most 500"]);

    let decorator = |count: usize| {
        let messages = "{content: c}, ".repeat(count);
        on_route(&format!("{{name: ai-prompt-decorator, config: {{prompts: {{append: [{messages}]}}}}}}"))
    };
    good(&decorator(15));
    let found = lines(&parse(&decorator(16)).expect_err("too many"));
    assert_eq!(found, ["@.config.prompts.append: length must be at most 15"]);
}

#[test]
fn refuses_the_same_plugin_in_the_same_scope() {
    let twice = "services: [{name: s, host: h, plugins: [{name: prometheus}]}]\nplugins: [{name: prometheus, service: s}]";
    let found = lines(&parse(&file(twice)).expect_err("the same plugin twice"));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].starts_with("plugins[0]: uniqueness violation: 'plugins' entity with primary key set to '")
    );
    assert!(
        found[0]
            .ends_with("' already declared (the same plugin in the same scope as services[0].plugins[0])")
    );
    good(&file(
        "services: [{name: s, host: h, plugins: [{name: prometheus}]}]\nplugins: [{name: prometheus}]",
    ));
}

#[test]
fn reports_all_problems_with_their_lines() {
    let text = "_format_version: \"3.0\"\n\
                services:\n\
                - name: one\n\
                \x20 host: h\n\
                \x20 routes:\n\
                \x20 - name: r\n\
                \x20   paths: [/r]\n\
                \x20   plugins:\n\
                \x20   - name: ai-proxy\n\
                \x20     config:\n\
                \x20       route_type: llm/v1/chat\n\
                \x20       model:\n\
                \x20         provider: mistral\n\
                \x20         options:\n\
                \x20           temperature: 9\n\
                - name: two\n\
                plugins:\n\
                - name: nonsense\n";
    let shown: Vec<String> =
        parse(text).expect_err("three problems").iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "services[0].routes[0].plugins[0].config: must set 'model.options.mistral_format' for mistral provider (line 10)",
            "services[0].routes[0].plugins[0].config.model.options.temperature: value should be between 0 and 5 (line 15)",
            "services[1].host: required field missing (line 16)",
            "plugins[0].name: plugin 'nonsense' not enabled; add it to the 'plugins' configuration property (line 18)",
        ]
    );
    let broken = &parse("_format_version: \"3.0\"\nservices: [\n").expect_err("is no YAML")[0];
    assert!(broken.line.is_some_and(|line| line >= 2), "{broken}");
}

#[test]
fn marks_rules_over_a_whole_record() {
    let problems = parse(&on_route(
        "{name: ai-proxy, config: {route_type: llm/v1/chat, model: {provider: mistral, name: \"\"}}}",
    ))
    .expect_err("two problems");
    let marks: Vec<(bool, &str)> =
        problems.iter().map(|problem| (problem.entity, problem.message.as_str())).collect();
    assert!(
        marks.contains(&(true, "must set 'model.options.mistral_format' for mistral provider")),
        "{marks:?}"
    );
    assert!(marks.contains(&(false, "length must be at least 1")), "{marks:?}");
}

#[test]
fn merges_files_and_says_which_is_wrong() {
    let named = |name: &str, body: &str| (name.to_owned(), file(body));
    let one = named("one.yaml", "services: [{name: s, host: h}]");
    let two = named("two.yaml", "routes: [{name: r, paths: [/r], service: s}]");
    let document = parse_with(&[two.clone(), one.clone()], &|_| None).expect("refers across files");
    assert_eq!(document.routes[0].service, Some(document.services[0].id));

    let bad = named("bad.yaml", "services: [{name: s, host: h}, {name: t}]");
    let headless = ("headless.yaml".to_owned(), "routes: []".to_owned());
    let problems = parse_with(&[one, two, bad, headless], &|_| None).expect_err("two bad files");
    let shown: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "bad.yaml: services[0].name: uniqueness violation: 'services' entity with name set to 's' already declared \
         (line 2)",
            "bad.yaml: services[1].host: required field missing (line 2)",
            "headless.yaml: _format_version: required field missing",
        ]
    );
}

#[test]
fn makes_the_same_ids_as_kong() {
    let document = good(&file(
        "services: [{name: ai-proxy, host: h, plugins: [{name: key-auth}], routes: [{name: mistral-chat, paths: [/], \
         plugins: [{name: prometheus}]}]}]\n\
         consumers: [{username: alice}]\n\
         plugins: [{name: prometheus}, {name: key-auth, route: mistral-chat}]",
    ));
    let plugin = |at: usize| document.plugins[at].id.to_string();
    assert_eq!(document.services[0].id.to_string(), "f99b7df3-19e4-57b2-a0c3-0fb251b77d75");
    assert_eq!(document.routes[0].id.to_string(), "6c71dde0-66d7-5c17-b82c-66dbf7294723");
    assert_eq!(document.consumers[0].id.to_string(), "b32379d9-3d28-5683-a79c-72139be6e34f");
    assert_eq!(
        [plugin(0), plugin(1), plugin(2), plugin(3)],
        [
            "0cdc8c97-dde2-507d-b607-992af0453d6d",
            "5032e0fe-e24c-5ce4-943f-cdfea0df7058",
            "18f2f6e2-5e0a-5bfa-93be-849850c0c527",
            "3790dc64-98d3-5381-9615-7d9fc0a2a5ab"
        ]
    );

    let nameless = file("routes: [{paths: [/a]}, {paths: [/b]}]");
    let (first, again) = (good(&nameless), good(&nameless));
    assert_eq!(first.routes[0].id, again.routes[0].id);
    assert_ne!(first.routes[0].id, first.routes[1].id);
}

#[test]
fn resolves_references_by_name_and_id() {
    let id = "0DC6F45B-8F8D-40D2-A504-473544EE190B";
    let document = good(&file(&format!(
        "services: [{{id: {id}, name: s, host: h}}]\n\
         routes: [{{paths: [/a], service: s}}, {{paths: [/b], service: {id}}}, {{paths: [/c], service: {{id: {id}}}}}, \
         {{paths: [/d], service: {{name: s}}}}, {{paths: [/e], service: null}}]\n\
         consumers: [{{username: a, groups: [g, {{name: f}}], acls: [{{group: staff}}], \
         keyauth_credentials: [{{key: k}}]}}, {{custom_id: c}}]\n\
         consumer_groups: [{{name: g, consumers: [{{username: a}}], plugins: [{{name: prometheus}}]}}, {{name: f}}]\n\
         acls: [{{group: night, consumer: a}}]\n\
         plugins: [{{name: prometheus, consumer: {{username: a}}}}]",
    )));
    let service = document.services[0].id;
    let led: Vec<bool> = document.routes.iter().map(|route| route.service == Some(service)).collect();
    assert_eq!(led, [true, true, true, true, false]);
    let alice = &document.consumers[0];
    assert_eq!(alice.keys, ["k".into()]);
    assert_eq!(alice.acl_groups, ["staff", "night"]);
    assert_eq!(alice.groups, [document.consumer_groups[0].id, document.consumer_groups[1].id]);
    assert_eq!(document.plugins[0].consumer_group, Some(document.consumer_groups[0].id));
    assert_eq!(document.plugins[1].consumer, Some(alice.id));
    assert_eq!(document.consumers[1].custom_id.as_deref(), Some("c"));
}

#[test]
fn fills_every_default() {
    let document = good(&file(
        "services: [{url: \"https://u:p@example.com/x?y\", routes: [{paths: [/r], \
         plugins: [{name: ai-proxy, config: {route_type: preserve, model: {provider: openai, options: {}}}}]}]}]",
    ));
    let service = &document.services[0];
    assert_eq!(
        (service.protocol.as_str(), service.host.as_str(), service.port),
        ("https", "example.com", 443)
    );
    assert_eq!((service.path.as_deref(), service.retries, service.enabled), (Some("/x"), 5, true));
    assert_eq!(
        (service.connect_timeout, service.read_timeout, service.write_timeout),
        (60_000, 60_000, 60_000)
    );
    let route = &document.routes[0];
    assert_eq!(route.protocols, ["http", "https"]);
    assert!(route.strip_path && !route.preserve_host);
    assert_eq!(
        (route.https_redirect_status_code, route.regex_priority, route.path_handling),
        (426, 0, PathHandling::V0)
    );
    let config = &document.plugins[0].config;
    assert_eq!(config["response_streaming"], "allow");
    assert_eq!(config["max_request_body_size"], 8192);
    assert_eq!(config["model_name_header"], true);
    assert_eq!(config["llm_format"], "openai");
    assert_eq!(config["logging"]["log_statistics"], false);
    assert_eq!(config["model"]["options"]["azure_api_version"], "2023-05-15");
    assert!(config.get("auth").is_none());

    let advanced = good(&on_route(
        "{name: ai-proxy-advanced, config: {targets: [{route_type: llm/v1/chat, model: {provider: openai}}]}}",
    ));
    let config = &advanced.plugins[0].config;
    assert_eq!(config["targets"][0]["weight"], 100);
    assert_eq!(config["balancer"]["algorithm"], "round-robin");
    assert_eq!(config["balancer"]["failover_criteria"], serde_json::json!(["error", "timeout"]));
    assert_eq!(config["balancer"]["fail_timeout"], 10_000);
}

#[test]
fn reads_secrets_where_they_may_stand() {
    let text = on_route(
        "{name: ai-proxy, config: {route_type: llm/v1/chat, auth: {header_name: Authorization, \
         header_value: \"{vault://env/the-key}\", param_name: k, param_value: \"{vault://env/none}\"}, \
         model: {provider: openai, name: \"{vault://env/the-key}\"}}}",
    );
    let env = |name: &str| (name == "THE_KEY").then(|| "Bearer secret".to_owned());
    let document = parse_with(&[("f".to_owned(), text)], &env).expect("references are good");
    let config = &document.plugins[0].config;
    assert_eq!(config["auth"]["header_value"], "Bearer secret");
    // Nothing to be had: empty, and the rule about its neighbours does not run.
    assert_eq!(config["auth"]["param_value"], "");
    // No field for secrets.
    assert_eq!(config["model"]["name"], "{vault://env/the-key}");
    assert!(!format!("{:?}", document.plugins[0]).contains("secret"));
}

#[test]
fn marks_regular_expressions_of_old_formats() {
    let body = "services: [{host: h, routes: [{paths: [/plain, \"/re/\\\\d+$\"]}]}]\nroutes: [{paths: [\"/x(y|z)\"]}]";
    for version in ["1.1", "2.1"] {
        let document = good(&format!("_format_version: \"{version}\"\n{body}"));
        assert_eq!(document.routes[0].paths, ["/plain", "~/re/\\d+$"]);
        assert_eq!(document.routes[1].paths, ["~/x(y|z)"]);
    }
    assert_eq!(good(&file(body)).routes[1].paths, ["/x(y|z)"]);
}

#[test]
fn tolerates_what_other_tools_write() {
    let document = good(
        "{\"_format_version\": \"3.0\", \"_transform\": false, \"_comment\": \"c\", \"_ignore\": [1], \
         \"_info\": {\"select_tags\": [\"a\"]}, \"upstreams\": [], \"plugins\": null, \
         \"services\": [{\"host\": \"h\", \"_comment\": \"c\", \"created_at\": 1, \"updated_at\": 1, \"tags\": null, \
         \"path\": null, \"ca_certificates\": null, \"routes\": [{\"paths\": [\"/\"], \"tags\": [\"a\", \"a\"]}]}]}",
    );
    assert_eq!(document.services.len(), 1);
    assert_eq!(document.routes[0].tags.as_deref(), Some(&["a".to_owned()][..]));
    let merged = good(&file(
        "_comment: &timeouts {read_timeout: 5, write_timeout: 6.0}\nservices:\n- <<: *timeouts\n  host: h\n",
    ));
    assert_eq!((merged.services[0].read_timeout, merged.services[0].write_timeout), (5, 6));
}

#[test]
fn accepts_every_example() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf");
    let mut seen = 0;
    for folder in [root.clone(), root.join("examples")] {
        for entry in std::fs::read_dir(&folder).expect("conf is there") {
            let path = entry.expect("an entry").path();
            // The server's own settings are no declarative file.
            let declarative =
                path.extension().is_some_and(|end| end == "yaml") && !path.ends_with("tollgate.yaml");
            if declarative {
                assert_eq!(check_files(std::slice::from_ref(&path)), [], "{}", path.display());
                assert!(!load(&[path]).expect("loads").routes.is_empty());
                seen += 1;
            }
        }
    }
    assert!(seen >= 6, "{seen} examples");
}

#[test]
fn names_files_that_are_not_there() {
    let problems = check_files(&[PathBuf::from("conf/nowhere.yaml"), PathBuf::from("conf/nor-here.yaml")]);
    assert_eq!(problems.len(), 2);
    assert!(problems[0].message.starts_with("cannot read 'conf/nowhere.yaml': "), "{}", problems[0]);
}
