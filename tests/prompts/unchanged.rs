//! What a plugin does not change reaches the upstream byte for byte.

use super::*;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};

const BODIES: u32 = 150;

/// JSON text as clients write it: their own spaces, numbers and escapes.
fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        "(0|-?[1-9][0-9]{0,20})(\\.[0-9]{1,4})?([eE][+-]?[0-9]{1,2})?",
        "[a-z {}\\[\\],:é✓]{0,12}".prop_map(|text| format!("\"{text}\"")),
        Just(r#""a\"\\\u00e9\n\/""#.to_owned()),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        let list = vec(inner.clone(), 0..3).prop_map(|items| format!("[ {} ]", items.join(" ,\n")));
        let object = vec(("[a-z]{1,6}", inner), 0..3).prop_map(|pairs| {
            let pairs: Vec<_> = pairs
                .iter()
                .enumerate()
                .map(|(at, (key, value))| format!("\"{key}{at}\" :{value}"))
                .collect();
            format!("{{{}}}", pairs.join(", "))
        });
        prop_oneof![list, object]
    })
}

/// A chat, with fields of its own around it.
fn body() -> impl Strategy<Value = (String, Vec<String>)> {
    let message = ("user|assistant|system", "[a-z é]{0,20}", value())
        .prop_map(|(role, text, extra)| format!(r#"{{"role" : "{role}","content":"{text}" , "x":{extra}}}"#));
    (vec(message, 1..4), vec(value(), 0..5), "[ \n\t]{0,3}").prop_map(|(messages, values, space)| {
        let others = values.iter().enumerate().map(|(at, value)| format!("\"own{at}\":{space}{value}"));
        let mut fields: Vec<String> = others.collect();
        let messages = messages.join(&format!(" ,{space}"));
        fields.insert(fields.len() / 2, format!("\"messages\" :{space}[{messages}]"));
        (format!("{space}{{{}{space}}}", fields.join(&format!("{space},"))), fields)
    })
}

/// The bodies that arrive when these are sent in turn.
async fn arrived(plugins: &[Value], bodies: &[String]) -> Vec<Vec<u8>> {
    let upstream = Upstream::always(completion()).await;
    let route = kong::route("/r", &[plugins, &[kong::preserve(&upstream.url())]].concat());
    let gateway = Gateway::start(&kong::file(&[route])).await;
    let mut client = Connection::open(gateway.proxy).await;
    for body in bodies {
        let answer =
            client.request("POST /r HTTP/1.1\r\ncontent-type: application/json", body).await.answer().await;
        assert_eq!(answer.status, 200, "{body}: {}", answer.text());
    }
    upstream.calls().into_iter().map(|call| call.body.to_vec()).collect()
}

fn bodies() -> Vec<(String, Vec<String>)> {
    let mut runner = TestRunner::new(Config { source_file: Some(file!()), ..Config::default() });
    let one = |_| body().new_tree(&mut runner).unwrap().current();
    (0..BODIES).map(one).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_guard_and_template_let_pass_is_the_very_same() {
    let bodies: Vec<String> = bodies().into_iter().map(|(body, _)| body).collect();
    let plugins = [
        plugin(
            "ai-prompt-guard",
            &json!({"deny_patterns": ["NEVER", "(?<!x)NEVER"], "match_all_roles": true,
            "max_request_body_size": 1_000_000}),
        ),
        plugin("ai-prompt-template", &json!({"templates": [{"name": "t", "template": "{}"}]})),
    ];
    for (sent, arrived) in bodies.iter().zip(arrived(&plugins, &bodies).await) {
        assert_eq!(sent.as_bytes(), arrived, "{sent}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_decorator_leaves_alone_is_the_very_same() {
    let sent = bodies();
    let decorator = json!({"prompts": {"prepend": [{"role": "system", "content": "before"}],
        "append": [{"role": "user", "content": "after"}]}, "max_request_body_size": 1_000_000});
    let bodies: Vec<String> = sent.iter().map(|(body, _)| body.clone()).collect();
    let arrived = arrived(&[plugin("ai-prompt-decorator", &decorator)], &bodies).await;
    for ((_, fields), arrived) in sent.iter().zip(arrived) {
        let decorated = |field: &String| match field
            .split_once('[')
            .filter(|_| field.starts_with("\"messages\""))
        {
            Some((_, rest)) => {
                let inner = rest.strip_suffix(']').unwrap().trim_ascii();
                format!(
                    r#""messages":[{{"role":"system","content":"before"}},{inner},{{"role":"user","content":"after"}}]"#
                )
            }
            None => field.clone(),
        };
        let expected: Vec<String> = fields.iter().map(decorated).collect();
        assert_eq!(String::from_utf8(arrived).unwrap(), format!("{{{}}}", expected.join(",")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rendered_template_is_the_text_of_the_configuration() {
    let template =
        r#"{"messages" : [{"role": "user" ,"content": "{{a}}"}], "temperature": 1.0, "n":9007199254740993}"#;
    let templates =
        plugin("ai-prompt-template", &json!({"templates": [{"name": "t", "template": template}]}));
    let body = r#"{"messages": "{template://t}", "properties": {"a": "\"é\"\n{{a}}"}}"#.to_owned();
    let arrived = arrived(&[templates], &[body]).await;
    assert_eq!(String::from_utf8(arrived[0].clone()).unwrap(), template.replace("{{a}}", r#"\"é\"\n{{a}}"#));
}
