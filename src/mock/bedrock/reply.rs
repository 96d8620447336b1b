//! Converse's answers as they are written, whole and as events.

use crate::mock::answer::Finish;
use crate::mock::ask::Spent;
use crate::mock::call::pieces;
use crate::mock::reply::{Framing, Reply, Script};
use crate::mock::said::Said;
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

#[allow(clippy::struct_field_names)] // AWS's names
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Usage {
    /// Without those from a cache.
    input_tokens: u64,
    output_tokens: u64,
    total_tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_read_input_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_write_input_tokens: Option<u64>,
}

impl From<Spent> for Usage {
    fn from(spent: Spent) -> Self {
        Self {
            input_tokens: spent.fresh(),
            output_tokens: spent.completion,
            total_tokens: spent.total(),
            cache_read_input_tokens: spent.cached,
            cache_write_input_tokens: spent.cached.map(|_| 0),
        }
    }
}

/// An answer.
pub fn whole(said: &Said, spent: Spent) -> Reply {
    let block = match said {
        Said::Text(answer) => json!({"text": answer.text}),
        Said::Call(call) => {
            json!({"toolUse": {"toolUseId": id(), "name": call.name, "input": call.arguments}})
        }
    };
    Reply::json(&json!({
        "output": {"message": {"role": "assistant", "content": [block]}},
        "stopReason": reason(said),
        "usage": Usage::from(spent),
        "metrics": {"latencyMs": 1}
    }))
}

/// The events of an answer.
pub fn stream(said: &Said, spent: Spent, chunks: Option<usize>) -> Reply {
    let mut script = Script::new(Framing::Frames);
    script.named("messageStart", &json!({"role": "assistant"}));
    match said {
        Said::Text(answer) => {
            answer.fragments(chunks).iter().for_each(|text| delta(&mut script, &json!({"text": text})));
        }
        Said::Call(call) => {
            let start = json!({"toolUse": {"toolUseId": id(), "name": call.name}});
            script.named("contentBlockStart", &json!({"start": start, "contentBlockIndex": 0}));
            for piece in pieces(&call.json()) {
                delta(&mut script, &json!({"toolUse": {"input": piece}}));
            }
        }
    }
    script.named("contentBlockStop", &json!({"contentBlockIndex": 0}));
    script.named("messageStop", &json!({"stopReason": reason(said)}));
    script.named("metadata", &json!({"usage": Usage::from(spent), "metrics": {"latencyMs": 1}}));
    Reply::Stream(script)
}

fn delta(script: &mut Script, delta: &impl Serialize) {
    script.named("contentBlockDelta", &json!({"delta": delta, "contentBlockIndex": 0}));
    script.mark();
}

fn reason(said: &Said) -> &'static str {
    match said {
        Said::Call(_) => "tool_use",
        Said::Text(answer) => match answer.finish {
            Finish::End => "end_turn",
            Finish::StopWord => "stop_sequence",
            Finish::Length => "max_tokens",
        },
    }
}

fn id() -> String {
    format!("tooluse_{}", Uuid::new_v4().simple())
}
