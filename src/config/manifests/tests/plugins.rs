//! Plugins, consumers and what Secrets hold for them.

use super::*;
use crate::config::manifests::plugins::add;

#[test]
fn makes_one_plugin_for_each_combination() {
    let consumer = "
apiVersion: configuration.konghq.com/v1
kind: KongConsumer
metadata: {name: c, namespace: n, annotations: {konghq.com/plugins: p}}
username: alice
";
    let both = "konghq.com/plugins: p";
    assert_eq!(all_scopes(&good(&[SERVICE, PLUGIN, &simple(both)])), ["n.i.s.a.com.80"]);
    assert_eq!(all_scopes(&good(&[SERVICE, PLUGIN, &simple("")])), Vec::<String>::new());
    let limit = PLUGIN.replace("prometheus", "rate-limiting") + "config: {minute: 5}\n";
    assert_eq!(all_scopes(&good(&[consumer, &limit])), ["alice"]);
    assert_eq!(all_scopes(&good(&[SERVICE, consumer, &limit, &simple(both)])), ["n.i.s.a.com.80 alice"]);
    let nameless = consumer.replace("username: alice", "custom_id: '7'");
    assert_eq!(all_scopes(&good(&[&nameless, &limit])), ["7"]);
    let group = consumer.replace("KongConsumer", "KongConsumerGroup").replace("username: alice", "");
    assert_eq!(all_scopes(&good(&[&group, &limit])), ["c"]);
}

#[test]
fn names_instances_and_cluster_plugins_as_the_controller_does() {
    let plugin =
        PLUGIN.replace("namespace: n", "namespace: default") + "instance_name: example\ndisabled: true\n";
    let service = SERVICE.replace("name: s, namespace: n", "name: httpbin, namespace: default");
    let ingress = simple("konghq.com/plugins: p")
        .replace("name: i, namespace: n", "name: httpbin, namespace: default")
        .replace("host: a.com, ", "")
        .replace("name: s", "name: httpbin");
    let document = good(&[&service, &plugin, &ingress]);
    assert_eq!(document.plugins[0].instance_name.as_deref(), Some("example-21a1f5b5f"));
    assert!(!document.plugins[0].enabled);
    let global =
        PLUGIN.replace("KongPlugin", "KongClusterPlugin").replace("namespace: n", "labels: {global: 'true'}");
    let document = good(&[&global]);
    assert_eq!(all_scopes(&document), [""]);
    let second = global.replace("name: p", "name: q");
    let found = bad(&[&global, &second]);
    assert!(
        found.iter().any(|line| line.contains("'p' is the same plugin, for all requests, too")),
        "{found:?}"
    );
    assert_eq!(
        bad(&[&global.replace("'true'", "true")]),
        ["documents[0].metadata.labels.global: expected a string: put the value into quotes"]
    );
    let cluster = PLUGIN.replace("KongPlugin", "KongClusterPlugin").replace(", namespace: n", "");
    assert_eq!(all_scopes(&good(&[SERVICE, &cluster, &simple("konghq.com/plugins: p")])), ["n.i.s.a.com.80"]);
}

#[test]
fn a_plugin_of_another_namespace_needs_a_grant() {
    let plugin = PLUGIN.replace("namespace: n", "namespace: m");
    let ingress = simple("konghq.com/plugins: 'm:p'");
    assert_eq!(
        bad(&[SERVICE, &ingress, &plugin]),
        [
            "documents[1].metadata.annotations.konghq.com/plugins: no ReferenceGrant in namespace 'm' allows the use of 'p'"
        ]
    );
    let grant = "
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {name: g, namespace: m}
spec:
  from: [{group: networking.k8s.io, kind: Ingress, namespace: n}]
  to: [{group: configuration.konghq.com, kind: KongPlugin}]
";
    assert_eq!(all_scopes(&good(&[SERVICE, &ingress, &plugin, grant])), ["n.i.s.a.com.80"]);
}

#[test]
fn reads_plugins_from_secrets() {
    let secret = "
apiVersion: v1
kind: Secret
metadata: {name: k, namespace: n}
stringData:
  whole: \"config_key: no\\nminute: 5\"
  minute: '7'
  text: plain
data: {hour: OQ==, broken: '*'}
";
    let limit = PLUGIN.replace("prometheus", "rate-limiting");
    let of = |extra: &str| limit.clone() + extra;
    let minute = |extra: &str| {
        let document = good(&[SERVICE, &simple("konghq.com/plugins: p"), secret, &of(extra)]);
        document.plugins[0].config.clone()
    };
    let patch = |path: &str, key: &str| {
        format!("configPatches: [{{path: {path}, valueFrom: {{secretKeyRef: {{name: k, key: {key}}}}}}}]\n")
    };
    let config = minute(&("config: {second: 1}\n".to_owned() + &patch("/minute", "minute")));
    assert_eq!((&config["second"], &config["minute"]), (&1.into(), &7.into()));
    assert_eq!(minute(&patch("/hour", "hour"))["hour"], 9);
    let from = |key: &str| format!("configFrom: {{secretKeyRef: {{name: k, key: {key}}}}}\n");
    for (extra, message) in [
        (from("nothing"), "configFrom: Secret 'n/k' has no key 'nothing'"),
        (from("text"), "configFrom: the value of the Secret is not a JSON or YAML object"),
        (
            from("text").replace("name: k", "name: l"),
            "configFrom: no Secret 'n/l' in the files that were given",
        ),
        (from("whole") + "config: {minute: 5}\n", "configFrom: 'config' and 'configFrom' cannot both be set"),
        (
            patch("/x", "text"),
            "configPatches[0]: the value of the Secret is not JSON: put a text into quotes",
        ),
        (patch("/x", "broken"), "configPatches[0]: the key 'broken' of Secret 'n/k' is not text in base64"),
        (from("whole"), "config.config_key: unknown field"),
    ] {
        assert_eq!(
            bad(&[secret, &of(&extra), SERVICE, &simple("konghq.com/plugins: p")]),
            [format!("documents[1].{message}")]
        );
    }
}

#[test]
fn patches_make_the_way_to_their_value() {
    let mut config = serde_json::json!({"list": [1], "text": "t"});
    for (path, value) in [("/a/b/0/c", 1), ("/list/-", 2), ("/list/0", 3), ("/x~1y", 4)] {
        add(&mut config, path, value.into()).unwrap();
    }
    let expected = serde_json::json!({"list": [3, 1, 2], "text": "t", "a": {"b": [{"c": 1}]}, "x/y": 4});
    assert_eq!(config, expected);
    for path in ["list", "/list/9", "/text/x"] {
        assert!(add(&mut config, path, 1.into()).is_err(), "{path}");
    }
    add(&mut config, "", 1.into()).unwrap();
    assert_eq!(config, 1);
}

#[test]
fn reads_consumers_with_their_credentials_and_groups() {
    let consumer = "
apiVersion: configuration.konghq.com/v1
kind: KongConsumer
metadata: {name: c, namespace: n}
username: alice
credentials: [key, member]
consumerGroups: [gold]
";
    let group = "
apiVersion: configuration.konghq.com/v1beta1
kind: KongConsumerGroup
metadata: {name: gold, namespace: n}
";
    let secret = |name: &str, rest: &str| {
        format!("\napiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: n}}\n")
            .replace("n}}", "n}}")
            + rest
    };
    let labelled = |name: &str, kind: &str, data: &str| {
        format!(
            "\napiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: n, labels: {{konghq.com/credential: {kind}}}}}\n{data}\n"
        )
    };
    let key = labelled("key", "key-auth", "data: {key: c2VjcmV0}");
    let member = secret("member", "stringData: {kongCredType: acl, group: staff}\n");
    let document = good(&[consumer, group, &key, &member]);
    let alice = &document.consumers[0];
    assert_eq!(
        (alice.keys.as_slice(), alice.acl_groups.as_slice()),
        (&["secret".into()][..], &["staff".to_owned()][..])
    );
    assert_eq!(alice.groups, [document.consumer_groups[0].id]);
    for (key, message) in [
        (
            labelled("key", "jwt", ""),
            "Secret 'n/key' is a credential of the kind 'jwt', which is not supported by this gateway",
        ),
        (labelled("key", "key-auth", ""), "Secret 'n/key' has no key 'key'"),
        (
            labelled("key", "key-auth", "stringData: {key: k, ttl: '5'}"),
            "Secret 'n/key' has the key 'ttl', which is not supported by this gateway: remove it",
        ),
        (
            secret("key", ""),
            "Secret 'n/key' does not say what credential it is: label it konghq.com/credential",
        ),
        (secret("other", ""), "no Secret 'n/key' in the files that were given"),
    ] {
        let found = bad(&[consumer, group, &key, &member]);
        assert_eq!(found, [format!("documents[0].credentials[0]: {message}")]);
    }
    let found = bad(&[consumer, &key, &member]);
    assert_eq!(
        found,
        [
            "documents[0].consumerGroups[0]: invalid reference 'group: gold' (no such entry in 'consumer_groups')"
        ]
    );
}

#[test]
fn no_message_quotes_a_secret() {
    let secret = "
apiVersion: v1
kind: Secret
metadata: {name: k, namespace: n}
stringData: {whole: '{minute: 5, redis: {host: hush hush}}'}
";
    let plugin = PLUGIN.replace("prometheus", "rate-limiting");
    let inline = plugin.clone() + "config: {minute: 5, redis: {host: hush hush}}\n";
    assert_eq!(bad(&[&inline]), ["documents[0].config.redis.host: invalid value: hush hush"]);
    let from = plugin + "configFrom: {secretKeyRef: {name: k, key: whole}}\n";
    let found = bad(&[&from, SERVICE, &simple("konghq.com/plugins: p"), secret]);
    assert_eq!(found, ["documents[0].config.redis.host: invalid value: ***"]);
}
