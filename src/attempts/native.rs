//! Clients that speak their provider's own API: a view of their request for guards and the meter,
//! and the way of a plugin's edits from that view back into the request.

use crate::error::{Error, Kind, Result};
use crate::exchange::NativeSide;
use crate::provider::native::{NativeFormat, Place};
use crate::wire::chat::Message;
use crate::wire::doc::{Doc, Side};
use bytes::Bytes;
use serde_json::value::RawValue;

/// Reads a client's request; what plugins get to see of it is [`NativeSide::view`].
pub fn read(format: &'static dyn NativeFormat, place: &Place<'_>, body: Doc) -> Result<NativeSide> {
    let asked = format.ask(place)?;
    let mut view = format.view(&body)?;
    if let Some(model) = &asked.model {
        view.set("model", model)?;
    }
    view.set("stream", &asked.stream)?;
    Ok(NativeSide { format, body, view: Doc::parse(view.bytes())?, stream: asked.stream })
}

/// The request for the upstream: the client's bytes, unless a plugin has added messages to the view.
///
// KONG(kong/llm/plugin/base.lua): Kong sends the edited view, which the provider cannot read.
pub fn body(side: &NativeSide, edited: &Doc) -> Result<Bytes> {
    if !edited.is_edited() || edited.bytes() == side.view.bytes() {
        return Ok(side.body.bytes());
    }
    let (before, after) = (list(&side.view)?, list(edited)?);
    let same = |window: &[&RawValue]| window.iter().zip(&before).all(|(a, b)| a.get() == b.get());
    let start = match before.len() {
        0 => None,
        length => after.windows(length).position(same),
    };
    let untouched =
        edited.keys().filter(|key| *key != "messages").all(|key| edited.raw(key) == side.view.raw(key));
    let Some(start) = start.filter(|_| untouched) else { return Err(rewritten()) };
    let (front, rest) = after.split_at_checked(start).unwrap_or_default();
    let back = rest.get(before.len()..).unwrap_or_default();
    let mut native = side.body.clone();
    for (added, at) in [(front, Side::Front), (back, Side::Back)] {
        if !added.is_empty() {
            side.format.add(&mut native, &messages(added)?, at)?;
        }
    }
    Ok(native.bytes())
}

fn list(view: &Doc) -> Result<Vec<&RawValue>> {
    Ok(view.field("messages")?.unwrap_or_default())
}

fn messages<'a>(raw: &[&'a RawValue]) -> Result<Vec<Message<'a>>> {
    raw.iter().map(|raw| serde_json::from_str(raw.get())).collect::<Result<_, _>>().map_err(|_| rewritten())
}

fn rewritten() -> Error {
    Error::new(
        Kind::Unsupported,
        "a plugin of this route changed more of the request than its llm_format can express: set llm_format to 'openai', or remove that plugin",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider;

    fn side(body: &'static str) -> NativeSide {
        let format = provider::find("gemini").and_then(provider::Provider::native).unwrap();
        let place = Place { path: "/models/m:streamGenerateContent", captures: &[] };
        read(format, &place, Doc::parse(Bytes::from_static(body.as_bytes())).unwrap()).unwrap()
    }

    #[test]
    fn the_view_knows_model_and_stream_and_the_bytes_pass() {
        let side = side(r#"{"contents": [{"parts": [{"text": "a"}]}], "x": 1.0}"#);
        assert!(side.stream && side.view.raw("stream") == Some("true") && !side.view.is_edited());
        assert_eq!(side.view.text("model").as_deref(), Some("m"));
        let sent = body(&side, &side.view).unwrap();
        assert_eq!(sent.as_ptr(), side.body.bytes().as_ptr(), "the client's own buffer");
    }

    #[test]
    fn added_messages_reach_the_request_and_other_edits_are_refused() {
        let side = side(r#"{"contents": [{"parts": [{"text": "a"}]}], "x": 1.0}"#);
        let mut view = side.view.clone();
        let added = |json: &str| RawValue::from_string(json.to_owned()).unwrap();
        view.splice("messages", Side::Front, &[added(r#"{"role":"system","content":"S"}"#)]).unwrap();
        view.splice("messages", Side::Back, &[added(r#"{"role":"assistant","content":"M"}"#)]).unwrap();
        let expected = concat!(
            r#"{"contents":[{"parts": [{"text": "a"}]},{"role":"model","parts":[{"text":"M"}]}],"x": 1.0,"#,
            r#""systemInstruction":{"parts":[{"text":"S"}]}}"#
        );
        assert_eq!(body(&side, &view).unwrap(), expected);
        let mut view = side.view.clone();
        view.set("temperature", &2).unwrap();
        assert_eq!(body(&side, &view).unwrap_err().kind(), Kind::Unsupported);
        let mut view = side.view.clone();
        view.set("messages", &[0; 0]).unwrap();
        assert_eq!(body(&side, &view).unwrap_err().kind(), Kind::Unsupported);
    }
}
