use super::*;

fn stream(shape: Shape, include_usage: bool) -> ClientStream {
    ClientStream::new(shape, "x-1".to_owned(), "m", 7, include_usage)
}

fn taken(out: &mut ClientStream) -> String {
    String::from_utf8(out.take().to_vec()).unwrap()
}

/// The JSON of every event.
fn events(text: &str) -> Vec<serde_json::Value> {
    let events = text.split_terminator("\n\n").map(|event| event.strip_prefix("data: ").unwrap());
    events.filter(|data| *data != "[DONE]").map(|data| serde_json::from_str(data).unwrap()).collect()
}

#[test]
fn the_role_goes_out_once_and_every_chunk_is_whole() {
    let mut out = stream(Shape::Chat, false);
    out.text("The ");
    out.text("");
    out.text("answer");
    out.finish("stop");
    out.finish("length");
    out.done();
    assert_eq!(
        taken(&mut out),
        concat!(
            r#"data: {"id":"x-1","object":"chat.completion.chunk","created":7,"model":"m","choices":[{"index":0,"#,
            r#""delta":{"role":"assistant","content":"The "},"logprobs":null,"finish_reason":null}]}"#,
            "\n\n",
            r#"data: {"id":"x-1","object":"chat.completion.chunk","created":7,"model":"m","choices":[{"index":0,"#,
            r#""delta":{"content":"answer"},"logprobs":null,"finish_reason":null}]}"#,
            "\n\n",
            r#"data: {"id":"x-1","object":"chat.completion.chunk","created":7,"model":"m","choices":[{"index":0,"#,
            r#""delta":{},"logprobs":null,"finish_reason":"stop"}]}"#,
            "\n\ndata: [DONE]\n\n"
        )
    );
    assert!(out.is_done() && out.is_finished() && !out.is_failed());
    assert_eq!(out.text_seen(), "The answer");
}

#[test]
fn completions_have_text_and_no_role() {
    let mut out = stream(Shape::Text, false);
    out.role();
    out.reasoning("hm");
    out.text("I am");
    out.finish("length");
    out.done();
    assert_eq!(
        taken(&mut out),
        concat!(
            r#"data: {"id":"x-1","object":"text_completion","created":7,"model":"m","choices":[{"index":0,"#,
            r#""text":"I am","logprobs":null,"finish_reason":null}]}"#,
            "\n\n",
            r#"data: {"id":"x-1","object":"text_completion","created":7,"model":"m","choices":[{"index":0,"#,
            r#""text":"","logprobs":null,"finish_reason":"length"}]}"#,
            "\n\ndata: [DONE]\n\n"
        )
    );
    assert_eq!(out.take_text(), "hmI am", "reasoning is metered though it is not shown");
    assert_eq!(out.text_seen(), "");
}

#[test]
fn usage_is_shown_only_on_request_and_kept_in_any_case() {
    let usage = Usage { prompt: Some(2), completion: Some(0), ..Usage::default() };
    for asked in [false, true] {
        let mut out = stream(Shape::Chat, asked);
        out.text("a");
        out.usage(Usage { prompt: Some(1), ..Usage::default() });
        out.usage(usage);
        out.finish("stop");
        out.done();
        let events = events(&taken(&mut out));
        assert_eq!(out.seen_usage(), Some(usage));
        assert_eq!(events.len(), if asked { 3 } else { 2 });
        assert_eq!(events[0].get("usage").is_some(), asked);
        if asked {
            assert_eq!(events[2]["choices"], serde_json::json!([]));
            let counts = serde_json::json!({"prompt_tokens": 2, "completion_tokens": 0, "total_tokens": 2});
            assert_eq!(events[2]["usage"], counts);
        }
    }
}

#[test]
fn nothing_follows_an_error() {
    let mut out = stream(Shape::Chat, true);
    out.text("a");
    out.take();
    out.error("the model \"fell\"\nover");
    out.error("again");
    out.text("b");
    out.tool_call(0, "c", "f");
    out.finish("stop");
    out.done();
    assert_eq!(taken(&mut out), "data: {\"error\":{\"message\":\"the model \\\"fell\\\"\\nover\"}}\n\n");
    assert!(out.is_failed() && !out.is_done() && !out.is_finished());
    assert_eq!(out.text_seen(), "a");
}

#[test]
fn nothing_follows_done() {
    let mut out = stream(Shape::Chat, false);
    out.finish("stop");
    out.done();
    out.take();
    out.text("late");
    out.error("late");
    out.done();
    assert_eq!(taken(&mut out), "");
}

#[test]
fn tool_calls_are_indexed() {
    let mut out = stream(Shape::Chat, false);
    out.tool_call(0, "call_a", "add");
    out.tool_arguments(0, "{\"a\":");
    out.tool_arguments(0, "2}");
    out.tool_call(1, "call_b", "mul");
    let events = events(&taken(&mut out));
    let deltas: Vec<_> = events.iter().map(|event| event["choices"][0]["delta"].clone()).collect();
    assert_eq!(
        deltas,
        [
            serde_json::json!({"role": "assistant", "content": null, "tool_calls": [
                {"index": 0, "id": "call_a", "type": "function", "function": {"name": "add", "arguments": ""}}]}),
            serde_json::json!({"tool_calls": [{"index": 0, "function": {"arguments": "{\"a\":"}}]}),
            serde_json::json!({"tool_calls": [{"index": 0, "function": {"arguments": "2}"}}]}),
            serde_json::json!({"tool_calls": [
                {"index": 1, "id": "call_b", "type": "function", "function": {"name": "mul", "arguments": ""}}]}),
        ]
    );
    assert_eq!(out.text_seen(), "add{\"a\":2}mul");
}

#[test]
fn identity_is_fixed_by_the_first_chunk() {
    let mut out = stream(Shape::Chat, false);
    out.start(Some("gen-1"), Some("real-model"), Some(99));
    out.role();
    out.role();
    out.start(Some("gen-2"), Some("other-model"), Some(100));
    out.text("a");
    let events = events(&taken(&mut out));
    assert_eq!(events.len(), 2);
    for event in &events {
        assert_eq!((&event["id"], &event["created"]), (&"gen-1".into(), &99.into()));
        assert_eq!(event["model"], "real-model");
    }
    assert_eq!(out.response_model(), Some("other-model"));
}

#[test]
fn strings_are_escaped_as_json_wants_it() {
    let all: String = (0u8..=0x7f).map(char::from).chain("é日🐵\u{2028}".chars()).collect();
    for text in ["", "\"", "\\", "\u{0}a\u{1f}\"", all.as_str()] {
        let mut out = BytesMut::new();
        write_string(&mut out, text);
        assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
    }
}

#[test]
fn what_says_nothing_writes_nothing_and_nothing_follows_the_end() {
    let mut out = stream(Shape::Chat, false);
    out.start(Some(""), Some(""), None);
    out.reasoning("");
    out.tool_arguments(0, "");
    assert_eq!((taken(&mut out).as_str(), out.has_output()), ("", false));
    out.done();
    assert_eq!(taken(&mut out), "data: [DONE]\n\n");
    for say in [ClientStream::reasoning, ClientStream::text, ClientStream::finish, ClientStream::error] {
        say(&mut out, "more");
    }
    out.tool_arguments(0, "{}");
    assert_eq!((taken(&mut out).as_str(), out.text_seen()), ("", ""));
}

#[test]
fn an_answer_of_a_reason_alone_has_its_role_and_an_empty_text() {
    let mut out = stream(Shape::Chat, false);
    out.start(Some(""), Some(""), None);
    out.finish("content_filter");
    let events = events(&taken(&mut out));
    assert_eq!((&events[0]["id"], &events[0]["model"]), (&"x-1".into(), &"m".into()));
    let delta = serde_json::json!({"role": "assistant", "content": ""});
    assert_eq!((events.len(), &events[0]["choices"][0]["delta"]), (1, &delta));
}

#[test]
fn a_chunk_that_is_passed_on_is_output_by_its_text_or_its_end() {
    for (last, text, spoken) in [(false, "", false), (false, "a", true), (true, "", true)] {
        let mut out = stream(Shape::Chat, false);
        out.pass(b"{\"choices\":[]}", last, text);
        assert_eq!((out.has_output(), out.is_finished()), (spoken, last), "{last} {text:?}");
        out.pass(b"{}", false, "");
        assert_eq!((out.has_output(), out.is_finished()), (spoken, last), "it does not become unsaid");
    }
}

#[test]
fn strings_are_escaped_as_shortly_as_json_can() {
    let mut out = BytesMut::new();
    write_string(&mut out, "\\ \" \r\n\t \u{1f}\u{7f} é");
    assert_eq!(out, "\"\\\\ \\\" \\r\\n\\t \\u001f\u{7f} é\"");
}

#[test]
fn the_text_that_is_seen_is_bounded_and_its_bound_is_reached() {
    let mut out = stream(Shape::Chat, false);
    out.text(&"a".repeat(TEXT_SEEN - 1));
    out.text("bc");
    out.text("d");
    out.text("e");
    assert!(out.text_seen().len() == TEXT_SEEN && out.text_seen().ends_with("ad"));
}

#[test]
fn the_first_failure_is_kept() {
    let mut out = stream(Shape::Chat, false);
    assert_eq!((out.failure(), out.is_failed()), (None, false));
    out.error("it broke");
    out.error("again");
    assert_eq!((out.failure(), out.is_failed(), out.is_done()), (Some("it broke"), true, false));
}
