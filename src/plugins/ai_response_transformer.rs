//! ai-response-transformer: lets a model rewrite the upstream's answer.

use super::transformer::{self, Transformer, rules};
use super::{Conf, Plugin, PluginKind, Rewrites, Turn, Wait, Whole, instructions};
use crate::config::schema::{Field, Record};
use crate::error::Result;
use bytes::Bytes;
use serde_json::Value;
use std::sync::Arc;

/// Its entry in the list of plugins.
pub static KIND: PluginKind =
    PluginKind { rules, ..PluginKind::new("ai-response-transformer", 768, schema, build) };

/// `config`.
pub fn schema() -> Record {
    let mut record = transformer::record();
    record
        .fields
        .insert(0, Field::text("prompt").required().doc("What the model is told to do with answers."));
    record.fields.push(
        Field::flag("parse_llm_response_json_instructions", false)
            .doc("Whether the model answers with status, headers and body as JSON."),
    );
    record
}

struct ResponseTransformer {
    transformer: Transformer,
    /// The model also says which status and headers the client gets.
    instructed: bool,
}

fn build(conf: Conf<'_>) -> Result<Arc<dyn Plugin>> {
    let instructed = conf.config.get("parse_llm_response_json_instructions").and_then(Value::as_bool);
    let transformer = Transformer::new(&conf)?;
    Ok(Arc::new(ResponseTransformer { transformer, instructed: instructed.unwrap_or_default() }))
}

impl Plugin for ResponseTransformer {
    fn reads_body(&self) -> Option<usize> {
        Some(self.transformer.limit)
    }

    fn rewrites(&self) -> Option<Rewrites> {
        Some(Rewrites::Answer)
    }

    fn rewrite_answer<'a>(&'a self, turn: Turn<'a>, mut answer: Whole) -> Wait<'a, Whole> {
        Box::pin(async move {
            let text = self.transformer.transform(turn, &answer.body).await?;
            if self.instructed {
                instructions::follow(&text, &mut answer)?;
            } else {
                answer.body = Bytes::from(text);
            }
            Ok(answer)
        })
    }
}
