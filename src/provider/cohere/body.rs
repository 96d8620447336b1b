//! A request to Cohere: one object, whose fields depend on the API.

use super::super::Call;
use super::super::parameter::Parameter;
use super::{chat, older};
use crate::error::Result;
use crate::wire::chat::parameters::{self, Form};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// The fields, in the order in which they go out.
pub(super) struct Body<'a>(Vec<(&'static str, Value<'a>)>);

/// A field's value.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Value<'a> {
    Text(Cow<'a, str>),
    Flag(bool),
    Raw(&'a RawValue),
    Parameter(Parameter<'a>),
    List(Vec<&'a RawValue>),
    Format(Format<'a>),
    Messages(Vec<chat::Turn<'a>>),
    Tools(Vec<chat::Tool<'a>>),
    History(Vec<older::Turn<'a>>),
}

/// `response_format`.
#[derive(Serialize)]
pub(super) struct Format<'a> {
    r#type: &'static str,
    /// The schema in v1,
    #[serde(skip_serializing_if = "Option::is_none")]
    schema: Option<&'a RawValue>,
    /// and in v2.
    #[serde(skip_serializing_if = "Option::is_none")]
    json_schema: Option<&'a RawValue>,
}

impl<'a> Body<'a> {
    /// A request with the fields that all of the APIs have: model, stream and the parameters.
    pub(super) fn new(call: &'a Call<'_>) -> Result<Self> {
        let doc = call.doc;
        let mut body = Self(Vec::with_capacity(16));
        body.set("model", Value::Text(Cow::Borrowed(call.model)));
        body.set("stream", Value::Flag(call.stream));
        let parameters = [
            ("max_tokens", call.max_tokens()?),
            ("temperature", call.temperature()?),
            ("p", call.top_p()?),
            ("k", call.top_k()?),
        ];
        for (name, value) in parameters {
            body.0.extend(value.map(|value| (name, Value::Parameter(value))));
        }
        body.pass(call, &["seed", "frequency_penalty", "presence_penalty"])?;
        let stops = parameters::stop(doc)?;
        if !stops.is_empty() {
            body.set("stop_sequences", Value::List(stops));
        }
        Ok(body)
    }

    pub(super) fn set(&mut self, name: &'static str, value: Value<'a>) {
        self.0.push((name, value));
    }

    /// Fields that go out as the client wrote them: those that both APIs have, and Cohere's own.
    pub(super) fn pass(&mut self, call: &'a Call<'_>, names: &[&'static str]) -> Result<()> {
        for name in names {
            let value = call.doc.field::<&RawValue>(name)?;
            self.0.extend(value.map(|raw| (*name, Value::Raw(raw))));
        }
        Ok(())
    }

    /// The form that the answer must have.
    pub(super) fn form(&mut self, call: &'a Call<'_>, v2: bool) -> Result<()> {
        let Some(form) = parameters::form(call.doc)? else { return Ok(()) };
        let given = match form {
            Form::Json => None,
            Form::Schema(schema) => Some(schema),
        };
        let (schema, json_schema) = if v2 { (None, given) } else { (given, None) };
        self.set("response_format", Value::Format(Format { r#type: "json_object", schema, json_schema }));
        Ok(())
    }
}

impl Serialize for Body<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}
