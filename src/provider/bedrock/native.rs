//! Converse as the language of clients: an OpenAI view of their requests, and the way of added
//! messages into them.

use super::super::native::{Asked, NativeFormat, Place, raw, unescaped};
use super::messages::{self, Turn};
use super::view;
use crate::error::{Error, Result};
use crate::wire::chat::Message;
use crate::wire::chat::lenient::Text;
use crate::wire::doc::{Doc, Side};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// `llm_format: bedrock`.
pub(super) struct BedrockFormat;

impl NativeFormat for BedrockFormat {
    fn ask(&self, place: &Place<'_>) -> Result<Asked> {
        let mut pieces = place.path.rsplit('/');
        let (operation, model, word) = (pieces.next(), pieces.next(), pieces.next());
        let standard = word == Some("model");
        let operation = place.capture("operation").or(operation.filter(|_| standard));
        let model = place.capture("model").or(model.filter(|_| standard));
        let stream = match operation {
            Some("converse") => false,
            Some("converse-stream") => true,
            _ => {
                return Err(Error::bad_request(
                    "the path must end with /model/{model}/converse or /model/{model}/converse-stream",
                ));
            }
        };
        Ok(Asked { model: model.map(|model| unescaped(model).into_owned()), stream })
    }

    fn view(&self, native: &Doc) -> Result<Doc> {
        view::of(native)
    }

    fn add(&self, native: &mut Doc, messages: &[Message<'_>], at: Side) -> Result<()> {
        let talk = messages::turns(messages)?;
        if !talk.system.is_empty() {
            let blocks = talk.system.iter().map(raw).collect::<Result<Vec<_>>>()?;
            if !native.has("system") || native.is_null("system") {
                native.set("system", &blocks)?;
            } else {
                native.splice("system", at, &blocks)?;
            }
        }
        add_turns(native, &talk.turns, at)
    }
}

/// Puts turns before or behind those of the request. Roles must alternate, so that turns of one role
/// that would meet become one.
fn add_turns(native: &mut Doc, turns: &[Turn<'_>], at: Side) -> Result<()> {
    #[derive(Deserialize)]
    struct Seam<'a> {
        #[serde(borrow)]
        role: Text<'a>,
        #[serde(borrow)]
        content: Vec<&'a RawValue>,
    }
    let inner = match at {
        Side::Front => turns.split_last(),
        Side::Back => turns.split_first(),
    };
    let Some((touching, others)) = inner else { return Ok(()) };
    let own: Vec<&RawValue> = native.field("messages")?.unwrap_or_default();
    let neighbour = match at {
        Side::Front => own.split_first(),
        Side::Back => own.split_last(),
    };
    let seam =
        neighbour.and_then(|(raw, rest)| Some((serde_json::from_str::<Seam<'_>>(raw.get()).ok()?, rest)));
    let Some((seam, rest)) = seam.filter(|(seam, _)| *seam.role == *touching.role) else {
        let all = turns.iter().map(raw).collect::<Result<Vec<_>>>()?;
        return native.splice("messages", at, &all);
    };
    let mut added = others.iter().map(raw).collect::<Result<Vec<_>>>()?;
    let blocks = touching.content.iter().map(raw).collect::<Result<Vec<_>>>()?;
    let mut kept: Vec<Box<RawValue>> = rest.iter().map(|raw| (*raw).to_owned()).collect();
    let old = seam.content.iter().map(|raw| (*raw).to_owned());
    let list = match at {
        Side::Front => {
            added
                .push(raw(&Joint { role: touching.role, content: blocks.into_iter().chain(old).collect() })?);
            added.extend(kept);
            added
        }
        Side::Back => {
            kept.push(raw(&Joint { role: touching.role, content: old.chain(blocks).collect() })?);
            kept.extend(added);
            kept
        }
    };
    native.set("messages", &list)
}

/// Two turns that became one.
#[derive(Serialize)]
struct Joint {
    role: &'static str,
    content: Vec<Box<RawValue>>,
}
