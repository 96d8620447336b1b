//! Each field of the prompt plugins and each of their errors, as a client and the log see them.

use super::*;
use support::chat;

/// The status and the message for each body, and the bodies that went on.
async fn said(plugins: &[Value], bodies: &[&str]) -> (Vec<(u16, String)>, Vec<Value>) {
    let upstream = Upstream::always(completion()).await;
    let route = kong::route("/r", &[plugins, &[kong::ai_proxy(&upstream.url())]].concat());
    let gateway = Gateway::start(&kong::file(&[route])).await;
    let mut answers = Vec::new();
    for body in bodies {
        let answer = post(&gateway, "/r", body).await;
        answers.push((answer.status, message(&answer)));
    }
    (answers, upstream.calls().iter().map(support::upstream::Call::json).collect())
}

fn bad(message: &str) -> (u16, String) {
    (400, message.to_owned())
}

fn fine() -> (u16, String) {
    (200, String::new())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_decorator() {
    let prompts = json!({"prompts": {
        "prepend": [{"content": "default role"}, {"role": "user", "content": "\"é\"\n"}],
        "append": [{"role": "assistant", "content": "z"}]}, "max_request_body_size": 200});
    let only_chats = "this LLM route only supports llm/chat type requests";
    let long = chat(&"x".repeat(200)).to_string();
    let bodies = [
        r#"{"messages": [{"role": "user", "content": "hi"}], "n": 1}"#,
        r#"{"prompt": "hi"}"#,
        "hi",
        "",
        "[1]",
        &long,
    ];
    let (answers, sent) = said(&[plugin("ai-prompt-decorator", &prompts)], &bodies).await;
    assert_eq!(answers[..5], [fine(), bad(only_chats), bad(only_chats), bad(only_chats), bad(only_chats)]);
    assert_eq!(answers[5].0, 413);
    assert_eq!(
        sent[0]["messages"],
        json!([{"role": "system", "content": "default role"},
        {"role": "user", "content": "\"é\"\n"}, {"role": "user", "content": "hi"}, {"role": "assistant", "content": "z"}])
    );
    assert_eq!(sent[0]["n"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_template() {
    let template = r#"{"messages": [{"role": "user", "content": "{{a}} {{a}} {{b_2}} {{ c }}"}]}"#;
    let config = json!({"templates": [{"name": "t", "template": template}, {"name": "broken", "template": "{{a}}"}],
        "allow_untemplated_requests": false, "max_request_body_size": 300});
    let long = chat(&"x".repeat(300)).to_string();
    let (answers, sent) = said(
        &[plugin("ai-prompt-template", &config)],
        &[
            r#"{"messages": "{template://t}", "properties": {"a": "\"1\"", "b_2": "{{a}}"}, "model": "gpt-4o-mini"}"#,
            r#"{"messages": [{"role": "user", "content": "hi"}]}"#,
            r#"{"messages": "{template://no}"}"#,
            r#"{"messages": "{template://t}", "properties": {"a": "1"}}"#,
            r#"{"messages": "{template://t}"}"#,
            r#"{"messages": "{template://t}", "properties": ["a"]}"#,
            r#"{"messages": "{template://t}", "properties": {"a": 1, "b_2": "x"}}"#,
            r#"{"messages": "{template://t}", "prompt": "{template://t}"}"#,
            r#"{"input": "hi"}"#,
            "hi",
            r#"{"messages": "{template://broken}", "properties": {"a": "x"}}"#,
            &long,
        ],
    )
    .await;
    assert_eq!(
        answers[..10],
        [
            fine(),
            bad("this LLM route only supports templated requests"),
            bad("could not find template name [no]"),
            bad("missing template parameters: [b_2]"),
            bad("missing template parameters: [a], [b_2]"),
            bad("properties must be an object"),
            bad("property values must be a string, got number"),
            bad("cannot run 'messages' and 'prompt' templates at the same time"),
            bad("only 'llm/v1/chat' and 'llm/v1/completions' formats are supported for templating"),
            bad("this LLM route only supports application/json requests"),
        ]
    );
    assert!(
        answers[10].1.starts_with("template [broken] does not render to a request: "),
        "{:?}",
        answers[10]
    );
    assert_eq!(answers[11].0, 413);
    let expected = json!([{"role": "user", "content": "\"1\" \"1\" {{a}} {{ c }}"}]);
    assert_eq!((&sent[0]["messages"], &sent[0]["model"]), (&expected, &json!("gpt-4o-mini")));
    assert!(sent[0].get("properties").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_templated_stream_streams_and_the_original_request_is_logged_if_asked_for() {
    let upstream = Upstream::always(completion()).await;
    let template = |log: bool| {
        plugin(
            "ai-prompt-template",
            &json!({"log_original_request": log,
            "templates": [{"name": "t", "template": r#"{"messages": [{"role": "user", "content": "fixed"}]}"#}]}),
        )
    };
    let log = |file: &str| plugin("file-log", &json!({"path": format!("{{dir}}/{file}"), "reopen": true}));
    let routes = [
        kong::route("/loud", &[template(true), log("loud"), kong::ai_proxy(&upstream.url())]),
        kong::route("/quiet", &[template(false), log("quiet"), kong::ai_proxy(&upstream.url())]),
    ];
    let gateway = Gateway::start(&kong::file(&routes)).await;
    let body = r#"{"messages": "{template://t}", "properties": {}, "stream": true}"#;
    for name in ["loud", "quiet"] {
        post(&gateway, &format!("/{name}"), body).await;
        support::eventually("a record", async || gateway.records(name).len() == 1).await;
    }
    assert_eq!(gateway.records("loud")[0]["ai"]["payload"]["original_request"], body);
    assert!(gateway.records("quiet")[0]["ai"].get("payload").is_none());
    assert_eq!(upstream.calls()[0].json()["stream"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guard() {
    let talk = |texts: &[(&str, &str)]| {
        let messages: Vec<_> =
            texts.iter().map(|(role, content)| json!({"role": role, "content": content})).collect();
        json!({"messages": messages}).to_string()
    };
    let guard = |config: &Value| [plugin("ai-prompt-guard", config)];
    let (user, assistant) = (talk(&[("user", "bad")]), talk(&[("assistant", "bad"), ("user", "good")]));
    let before = talk(&[("user", "bad"), ("user", "good")]);
    let parts = r#"{"messages": [{"role": "user", "content": [{"type": "text", "text": "bad"}]}]}"#;
    let odd = r#"{"messages": [{"role": "user", "content": 5}]}"#;
    let block = bad("bad request");
    let bodies = [&*user, &assistant, &before, parts, odd];
    for (config, expected) in [
        (json!({"deny_patterns": ["bad"]}), [&block, &fine(), &block, &block, &block]),
        (
            json!({"deny_patterns": ["bad"], "match_all_roles": true}),
            [&block, &block, &block, &block, &block],
        ),
        (
            json!({"deny_patterns": ["bad"], "allow_all_conversation_history": true}),
            [&block, &fine(), &fine(), &block, &block],
        ),
        (json!({"allow_patterns": ["good", "^x"]}), [&block, &fine(), &fine(), &block, &block]),
        (
            json!({"allow_patterns": ["good"], "deny_patterns": ["bad"]}),
            [&block, &fine(), &block, &block, &block],
        ),
        (
            json!({"deny_patterns": ["BAD"], "max_request_body_size": 8000}),
            [&fine(), &fine(), &fine(), &fine(), &block],
        ),
    ] {
        let (answers, _) = said(&guard(&config), &bodies).await;
        assert_eq!(answers.iter().collect::<Vec<_>>(), expected, "{config}");
    }
    let limit = json!({"deny_patterns": ["bad"], "max_request_body_size": 20});
    assert_eq!(said(&guard(&limit), &[&user]).await.0[0].0, 413);
}
