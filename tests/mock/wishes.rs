//! What each dialect can be asked for: calls of tools, JSON that fits, images, tokens from a cache.

use super::{Model, frames, text_of};
use serde_json::{Value, json};
use tollgate::mock::Options;

fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city"]
    })
}

/// A question in each dialect, with other fields beside it.
fn asked(path: &str, extra: &Value) -> Value {
    let mut body = match path {
        path if path.contains("ontent") => {
            json!({"contents": [{"role": "user", "parts": [{"text": "Kyoto"}]}]})
        }
        path if path.starts_with("/model/") => {
            json!({"messages": [{"role": "user", "content": [{"text": "Kyoto"}]}]})
        }
        "/v1/chat" => json!({"message": "Kyoto"}),
        "/generate" => json!({"inputs": "Kyoto"}),
        "/api/chat" => {
            json!({"model": "m", "stream": false, "messages": [{"role": "user", "content": "Kyoto"}]})
        }
        _ => json!({"model": "m", "max_tokens": 99, "messages": [{"role": "user", "content": "Kyoto"}]}),
    };
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    body
}

const AZURE: &str = "/openai/deployments/d/chat/completions?api-version=1";
const GEMINI: &str = "/v1beta/models/m:generateContent";
const BEDROCK: &str = "/model/m/converse";
const HUGGING_FACE: &str = "/models/m/v1/chat/completions";

/// Tools in each dialect, and how each demands one: any, or this one by its name.
fn demands() -> Vec<(&'static str, Value, &'static str, &'static str)> {
    let arguments = "{\"city\":\"Kyoto\"}";
    let other = json!({"type": "function", "function": {"name": "now"}});
    let openai = json!({"type": "function", "function": {"name": "weather", "parameters": schema()}});
    let named = json!({"type": "function", "function": {"name": "weather"}});
    let anthropic = json!([{"name": "now", "input_schema": {"type": "object"}}, {"name": "weather", "input_schema": schema()}]);
    let declared =
        json!([{"functionDeclarations": [{"name": "now"}, {"name": "weather", "parameters": schema()}]}]);
    let calling = json!({"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["weather"]}});
    let spec = json!([{"toolSpec": {"name": "weather", "inputSchema": {"json": schema()}}}]);
    let defined = json!({"city": {"type": "str", "required": true}, "days": {"type": "int"}});
    let function = "/choices/0/message/tool_calls/0/function";
    let mut all: Vec<_> = ["/v1/chat/completions", AZURE, HUGGING_FACE]
        .map(|path| (path, json!({"tools": [other, openai], "tool_choice": named}), function, arguments))
        .into();
    all.extend([
        (
            "/v1/messages",
            json!({"tools": anthropic, "tool_choice": {"type": "tool", "name": "weather"}}),
            "/content/0",
            "input",
        ),
        (
            "/v2/chat",
            json!({"tools": [openai], "tool_choice": "REQUIRED"}),
            "/message/tool_calls/0/function",
            arguments,
        ),
        (
            "/v1/chat",
            json!({"tools": [{"name": "weather", "parameter_definitions": defined}], "tool_choice": "REQUIRED"}),
            "/tool_calls/0",
            "parameters",
        ),
        (
            GEMINI,
            json!({"tools": declared, "toolConfig": calling}),
            "/candidates/0/content/parts/0/functionCall",
            "args",
        ),
        (
            BEDROCK,
            json!({"toolConfig": {"tools": spec, "toolChoice": {"any": {}}}}),
            "/output/message/content/0/toolUse",
            "input",
        ),
        ("/api/chat", json!({"tools": [other, openai], "tool_choice": named}), "/message/tool_calls/0/function", "arguments"),
    ]);
    all
}

#[tokio::test]
async fn every_dialect_calls_the_tool_that_is_demanded() {
    let model = Model::start(Options::default()).await;
    for (path, extra, call, arguments) in demands() {
        let reply = model.json(path, &asked(path, &extra)).await;
        let call = reply.pointer(call).unwrap_or_else(|| panic!("{path}: {reply}"));
        assert_eq!(call["name"], "weather", "{path}");
        if arguments.starts_with('{') {
            assert_eq!(call["arguments"], arguments, "{path}");
        } else {
            assert_eq!(call[arguments], json!({"city": "Kyoto"}), "{path}");
        }
    }
}

#[tokio::test]
async fn calls_are_streamed_in_pieces() {
    let model = Model::start(Options::default()).await;
    let arguments = "{\"city\":\"Kyoto\"}";
    let extra = |wanted: &str| {
        let found = demands().into_iter().find(|(path, ..)| *path == wanted);
        let mut extra = found.unwrap().1;
        extra["stream"] = true.into();
        extra
    };
    let (events, _) = model.named("/v1/messages", &asked("/v1/messages", &extra("/v1/messages"))).await;
    let events: Vec<Value> = events.into_iter().map(|(_, event)| event).collect();
    assert_eq!(text_of(&events, "/delta/partial_json"), arguments);
    assert_eq!(events[1]["content_block"]["input"], json!({}));
    assert_eq!(events[events.len() - 2]["delta"]["stop_reason"], "tool_use");

    let (events, _) = model.named("/v2/chat", &asked("/v2/chat", &extra("/v2/chat"))).await;
    let events: Vec<Value> = events.into_iter().map(|(_, event)| event).collect();
    assert_eq!(text_of(&events, "/delta/message/tool_calls/function/arguments"), arguments);
    assert_eq!(text_of(&events, "/delta/message/tool_calls/function/name"), "weather");
    assert_eq!(events.last().unwrap()["delta"]["finish_reason"], "TOOL_CALL");

    let path = "/model/m/converse-stream";
    let response = model.post(path, &asked(path, &extra(BEDROCK))).send().await.unwrap();
    let events: Vec<Value> =
        frames::read(&response.bytes().await.unwrap()).into_iter().map(|(_, event)| event).collect();
    assert_eq!(events[1]["start"]["toolUse"]["name"], "weather");
    assert_eq!(text_of(&events, "/delta/toolUse/input"), arguments);
    assert_eq!(events[events.len() - 2]["stopReason"], "tool_use");

    let path = "/v1beta/models/m:streamGenerateContent?alt=sse";
    let (events, _) = model.sse(path, &asked(path, &extra(GEMINI))).await;
    assert_eq!(events.len(), 1, "Gemini sends a call whole");
    let call = &events[0]["candidates"][0]["content"]["parts"][0]["functionCall"];
    assert_eq!(call, &json!({"name": "weather", "args": {"city": "Kyoto"}}));
}

#[tokio::test]
async fn answers_fit_the_schema_that_came_with_the_question() {
    let model = Model::start(Options { chunks: Some(5), ..Options::default() }).await;
    let openai =
        json!({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema()}}});
    let gemini =
        json!({"generationConfig": {"responseMimeType": "application/json", "responseSchema": schema()}});
    let structure = json!({"jsonSchema": {"schema": schema().to_string()}});
    let bedrock = json!({"outputConfig": {"textFormat": {"type": "json_schema", "structure": structure}}});
    let cohere = |name: &str| json!({"response_format": {"type": "json_object", name: schema()}});
    let content = "/choices/0/message/content";
    for (path, extra, text) in [
        ("/v1/chat/completions", openai.clone(), content),
        (AZURE, openai.clone(), content),
        (HUGGING_FACE, openai, content),
        (
            "/v1/messages",
            json!({"output_config": {"format": {"type": "json_schema", "schema": schema()}}}),
            "/content/0/text",
        ),
        ("/v2/chat", cohere("json_schema"), "/message/content/0/text"),
        ("/v1/chat", cohere("schema"), "/text"),
        (GEMINI, gemini, "/candidates/0/content/parts/0/text"),
        (BEDROCK, bedrock, "/output/message/content/0/text"),
        (
            "/generate",
            json!({"parameters": {"grammar": {"type": "json", "value": schema()}}}),
            "/0/generated_text",
        ),
        ("/api/chat", json!({"format": schema()}), "/message/content"),
    ] {
        let reply = model.json(path, &asked(path, &extra)).await;
        assert_eq!(reply.pointer(text).unwrap(), "{\"city\":\"Kyoto\"}", "{path}");
    }
}

#[tokio::test]
async fn images_are_seen() {
    let model = Model::start(Options::default()).await;
    let (text, data) = (json!({"type": "text", "text": "Look"}), "iVBORw0KGgo=");
    let url = json!({"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{data}")}});
    let openai = json!({"messages": [{"role": "user", "content": [text, url]}]});
    let source = json!({"type": "base64", "media_type": "image/png", "data": data});
    let block = json!({"type": "image", "source": source});
    let inline = json!({"text": "Look"});
    let picture = json!({"image": {"format": "png", "source": {"bytes": data}}});
    for (path, extra) in [
        ("/v1/chat/completions", openai.clone()),
        (AZURE, openai.clone()),
        (HUGGING_FACE, openai.clone()),
        ("/v2/chat", openai),
        ("/v1/messages", json!({"messages": [{"role": "user", "content": [block, text]}]})),
        (
            GEMINI,
            json!({"contents": [{"parts": [inline, {"inlineData": {"mimeType": "image/png", "data": data}}]}]}),
        ),
        (BEDROCK, json!({"messages": [{"role": "user", "content": [{"text": "Look"}, picture]}]})),
        ("/api/chat", json!({"messages": [{"role": "user", "content": "Look", "images": [data]}]})),
    ] {
        let reply = model.json(path, &asked(path, &extra)).await.to_string();
        assert!(reply.contains("You said: \\\"Look\\\" and showed an image."), "{path}: {reply}");
    }
}

#[tokio::test]
async fn tokens_come_from_a_cache_when_asked() {
    let model = Model::start(Options::default()).await;
    for (path, place, cached, apart) in [
        ("/v1/chat/completions", "/usage", "/prompt_tokens_details/cached_tokens", None),
        (AZURE, "/usage", "/prompt_tokens_details/cached_tokens", None),
        (HUGGING_FACE, "/usage", "/prompt_tokens_details/cached_tokens", None),
        ("/v1/messages", "/usage", "/cache_read_input_tokens", Some("input_tokens")),
        ("/v2/chat", "/usage", "/cached_tokens", None),
        ("/v1/chat", "/meta", "/cached_tokens", None),
        (GEMINI, "/usageMetadata", "/cachedContentTokenCount", None),
        (BEDROCK, "/usage", "/cacheReadInputTokens", Some("inputTokens")),
    ] {
        let usage = async |cached: &str| {
            let request = model.post(path, &asked(path, &json!({}))).header("x-mock-cached", cached);
            let reply: Value = request.send().await.unwrap().json().await.unwrap();
            reply.pointer(place).unwrap().clone()
        };
        let plain = model.json(path, &asked(path, &json!({}))).await.pointer(place).unwrap().clone();
        assert!(plain.pointer(cached).is_none_or(|count| count == 0), "{path}: {plain}");
        let some = usage("5").await;
        assert_eq!(some.pointer(cached).unwrap(), 5, "{path}: {some}");
        let most = usage("100000").await.pointer(cached).unwrap().as_u64().unwrap();
        assert!((6..50).contains(&most), "not more than the prompt has: {path}: {most}");
        if let Some(fresh) = apart {
            assert_eq!(some[fresh].as_u64().unwrap() + 5, plain[fresh].as_u64().unwrap(), "{path}");
            assert_eq!(some.get("totalTokens"), plain.get("totalTokens"), "{path}");
        }
    }
}
