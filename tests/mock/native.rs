//! The dialects that are not OpenAI's: whole answers, and streams that say the same.

use super::{Model, content_type, frames, text_of};
use serde_json::{Value, json};
use tollgate::mock::Options;

const QUESTION: &str = "Why is the sky blue?";
const ANSWER: &str = "You said: \"Why is the sky blue?\" This is a simulated answer.";

fn with(body: &Value, extra: &Value) -> Value {
    let mut body = body.clone();
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    body
}

fn names(events: &[(String, Value)]) -> Vec<&str> {
    let mut names: Vec<_> = events.iter().map(|(name, _)| name.as_str()).collect();
    names.dedup();
    names
}

fn bodies(events: Vec<(String, Value)>) -> Vec<Value> {
    events.into_iter().map(|(_, body)| body).collect()
}

#[tokio::test]
async fn anthropic_answers_whole_and_streams() {
    let model = Model::start(Options::default()).await;
    let body = json!({"model": "c", "max_tokens": 99, "system": [{"type": "text", "text": "Be kind"}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": QUESTION}]}]});
    let whole = model.json("/v1/messages", &body).await;
    assert_eq!(whole["content"], json!([{"type": "text", "text": ANSWER}]));
    assert_eq!(
        (&whole["type"], &whole["role"], &whole["model"]),
        (&json!("message"), &json!("assistant"), &json!("c"))
    );
    assert_eq!((&whole["stop_reason"], &whole["stop_sequence"]), (&json!("end_turn"), &json!(null)));

    let (events, done) = model.named("/v1/messages", &with(&body, &json!({"stream": true}))).await;
    assert!(!done && events.iter().all(|(name, event)| event["type"] == *name));
    let order = ["message_start", "content_block_start", "ping", "content_block_delta", "content_block_stop"];
    assert_eq!(names(&events), [&order[..], &["message_delta", "message_stop"]].concat());
    let events = bodies(events);
    assert_eq!(text_of(&events, "/delta/text"), ANSWER);
    assert_eq!(events[0]["message"]["usage"]["input_tokens"], whole["usage"]["input_tokens"]);
    let end = &events[events.len() - 2];
    assert_eq!((&end["delta"]["stop_reason"], &end["usage"]), (&json!("end_turn"), &whole["usage"]));

    let stopped = model.json("/v1/messages", &with(&body, &json!({"stop_sequences": [" sky"]}))).await;
    assert_eq!(
        (&stopped["stop_reason"], &stopped["stop_sequence"]),
        (&json!("stop_sequence"), &json!(" sky"))
    );
    let short = model.json("/v1/messages", &with(&body, &json!({"max_tokens": 3}))).await;
    assert_eq!((&short["stop_reason"], &short["usage"]["output_tokens"]), (&json!("max_tokens"), &json!(3)));
}

#[tokio::test]
async fn cohere_answers_whole_and_streams() {
    let model = Model::start(Options::default()).await;
    let body = json!({"model": "c", "messages": [{"role": "user", "content": QUESTION}]});
    let whole = model.json("/v2/chat", &body).await;
    let content = json!([{"type": "text", "text": ANSWER}]);
    assert_eq!(whole["message"], json!({"role": "assistant", "content": content}));
    assert_eq!(whole["finish_reason"], "COMPLETE");
    let (events, done) = model.named("/v2/chat", &with(&body, &json!({"stream": true}))).await;
    assert!(done && events.iter().all(|(name, event)| event["type"] == *name));
    let order = ["message-start", "content-start", "content-delta", "content-end", "message-end"];
    assert_eq!(names(&events), order);
    let events = bodies(events);
    assert_eq!(text_of(&events, "/delta/message/content/text"), ANSWER);
    let end = &events.last().unwrap()["delta"];
    assert_eq!((&end["finish_reason"], &end["usage"]), (&json!("COMPLETE"), &whole["usage"]));
}

#[tokio::test]
async fn the_first_cohere_answers_whole_and_streams() {
    let model = Model::start(Options::default()).await;
    let history = json!([{"role": "SYSTEM", "message": "Be kind"}, {"role": "CHATBOT", "message": "Hello"}]);
    for (path, body, text) in [
        ("/v1/chat", json!({"message": QUESTION, "chat_history": history}), "/text"),
        ("/v1/generate", json!({"prompt": QUESTION}), "/generations/0/text"),
    ] {
        let whole = model.json(path, &body).await;
        assert_eq!(whole.pointer(text).unwrap(), ANSWER, "{path}");
        let units = &whole["meta"]["billed_units"];
        assert!(units["input_tokens"].as_u64().unwrap() >= 6 && units["output_tokens"].as_u64().unwrap() > 9);
        let response = model.post(path, &with(&body, &json!({"stream": true}))).send().await.unwrap();
        assert_eq!(content_type(&response), "application/stream+json");
        let lines = response.text().await.unwrap();
        let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let (end, others) = lines.split_last().unwrap();
        assert!(others.iter().all(|line| line["is_finished"] == false));
        assert_eq!(text_of(others, "/text"), ANSWER);
        assert_eq!((&end["event_type"], &end["finish_reason"]), (&json!("stream-end"), &json!("COMPLETE")));
        assert_eq!(end["response"]["meta"], whole["meta"]);
    }
}

#[tokio::test]
async fn gemini_answers_whole_and_streams() {
    let model = Model::start(Options::default()).await;
    let contents = json!([{"role": "user", "parts": [{"text": QUESTION}]}]);
    let body = json!({"contents": contents, "system_instruction": {"parts": [{"text": "Be kind"}]}});
    let vertex = "/v1/projects/p/locations/l/publishers/google/models/g-1";
    for base in ["/v1beta/models/g-1", vertex] {
        let whole = model.json(&format!("{base}:generateContent"), &body).await;
        let candidate = &whole["candidates"][0];
        assert_eq!(candidate["content"], json!({"parts": [{"text": ANSWER}], "role": "model"}));
        assert_eq!((&candidate["finishReason"], &whole["modelVersion"]), (&json!("STOP"), &json!("g-1")));

        let (events, done) = model.sse(&format!("{base}:streamGenerateContent?alt=sse"), &body).await;
        let response = model.post(&format!("{base}:streamGenerateContent"), &body).send().await.unwrap();
        assert_eq!(content_type(&response), "application/json");
        let array: Vec<Value> = response.json().await.unwrap();
        for elements in [events, array] {
            assert!(!done && elements.len() > 3);
            assert_eq!(text_of(&elements, "/candidates/0/content/parts/0/text"), ANSWER);
            let (last, others) = elements.split_last().unwrap();
            assert!(others.iter().all(|one| one["candidates"][0].get("finishReason").is_none()));
            assert_eq!(last["candidates"][0]["finishReason"], "STOP");
            assert_eq!(last["usageMetadata"], whole["usageMetadata"]);
        }
    }
    let none = with(&body, &json!({"generationConfig": {"stopSequences": ["You"]}}));
    let (events, _) = model.sse("/v1beta/models/g:streamGenerateContent?alt=sse", &none).await;
    assert_eq!(events[0]["candidates"][0]["finishReason"], "STOP", "an empty answer ends, too");
}

#[tokio::test]
async fn bedrock_answers_whole_and_streams() {
    let model = Model::start(Options::default()).await;
    let messages = json!([{"role": "user", "content": [{"text": QUESTION}]}]);
    let body = json!({"messages": messages, "system": [{"text": "Be kind"}]});
    let whole = model.json("/model/a.b-v1%3A0/converse", &body).await;
    assert_eq!(whole["output"]["message"], json!({"role": "assistant", "content": [{"text": ANSWER}]}));
    assert_eq!(whole["stopReason"], "end_turn");
    let usage = |name: &str| whole["usage"][name].as_u64().unwrap();
    assert_eq!(usage("totalTokens"), usage("inputTokens") + usage("outputTokens"));

    let response = model.post("/model/a.b-v1%3A0/converse-stream", &body).send().await.unwrap();
    assert_eq!(content_type(&response), "application/vnd.amazon.eventstream");
    let events = frames::read(&response.bytes().await.unwrap());
    let order = ["messageStart", "contentBlockDelta", "contentBlockStop", "messageStop", "metadata"];
    assert_eq!(names(&events), order);
    let events = bodies(events);
    assert_eq!(text_of(&events, "/delta/text"), ANSWER);
    assert_eq!(events[events.len() - 2]["stopReason"], "end_turn");
    assert_eq!(events[events.len() - 1]["usage"], whole["usage"]);
}
