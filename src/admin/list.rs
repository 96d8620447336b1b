//! Pages of entities.

use super::fault::Fault;
use super::place::key_field;
use super::view;
use crate::config::records::{CONSUMERS, Collection};
use crate::state::{Fields, State, text};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::fmt::Write;
use std::sync::Arc;
use uuid::Uuid;

/// The query of a request for a list.
pub struct Query {
    size: usize,
    after: Option<Uuid>,
    tags: Tags,
    pairs: Vec<(String, String)>,
}

/// Which tags an entity has to have.
enum Tags {
    Any,
    /// All of them.
    All(Vec<String>),
    /// One of them.
    One(Vec<String>),
}

impl Query {
    /// Reads a query.
    pub fn read(query: Option<&str>) -> Result<Self, Fault> {
        let pairs: Vec<(String, String)> =
            form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect();
        let get = |name: &str| pairs.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str());
        let size = match get("size") {
            None => 100,
            Some(text) => {
                text.parse().ok().filter(|size| (1..=1000).contains(size)).ok_or_else(Fault::size)?
            }
        };
        let after = match get("offset") {
            None => None,
            Some(text) => Some(decode(text).ok_or_else(|| Fault::offset(text))?),
        };
        let tags = Tags::read(get("tags"))?;
        Ok(Self { size, after, tags, pairs })
    }

    /// The page of these entities, which are in the order of their ids.
    pub fn page<'a>(
        &self,
        all: impl Iterator<Item = (&'a Uuid, &'a Arc<Fields>)>,
        path: &str,
        show: impl Fn(&Fields) -> Value,
    ) -> Value {
        let mut rest = all
            .skip_while(|(id, _)| self.after.is_some_and(|after| **id <= after))
            .filter(|(_, fields)| self.tags.fit(fields))
            .peekable();
        let page: Vec<(&Uuid, &Arc<Fields>)> = rest.by_ref().take(self.size).collect();
        let data: Vec<Value> = page.iter().map(|(_, fields)| show(fields)).collect();
        match page.last().filter(|_| rest.peek().is_some()) {
            None => json!({"data": data, "next": null}),
            Some((last, _)) => {
                let offset = encode(**last);
                json!({"data": data, "next": self.next(path, &offset), "offset": offset})
            }
        }
    }

    /// The path of the next page: the same question from there on.
    fn next(&self, path: &str, offset: &str) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("offset", offset);
        for (name, value) in self.pairs.iter().filter(|(name, _)| name != "offset") {
            query.append_pair(name, value);
        }
        format!("{path}?{}", query.finish())
    }

    /// Whether an entity is one that was asked for by `?custom_id=…`.
    pub fn selects(&self, collection: &Collection, fields: &Fields) -> bool {
        let asks = |name: &str| {
            collection.name == CONSUMERS && (name == "custom_id" || name == key_field(collection))
        };
        self.pairs
            .iter()
            .filter(|(name, _)| asks(name))
            .all(|(name, value)| text(fields, name) == Some(value))
    }
}

impl Tags {
    fn read(given: Option<&str>) -> Result<Self, Fault> {
        let Some(given) = given else { return Ok(Self::Any) };
        let split = |by: char| -> Vec<String> {
            given.split(by).filter(|tag| !tag.is_empty()).map(ToOwned::to_owned).collect()
        };
        match (given.contains(','), given.contains('/')) {
            (true, true) => Err(Fault::option("tags", "invalid filter syntax")),
            (false, true) => Ok(Self::One(split('/'))),
            _ if given.is_empty() => Err(Fault::option("tags", "cannot be null")),
            _ => Ok(Self::All(split(','))),
        }
    }

    fn fit(&self, fields: &Fields) -> bool {
        let own: Vec<&str> = tags(fields).collect();
        let has = |tag: &String| own.contains(&tag.as_str());
        match self {
            Self::Any => true,
            Self::All(tags) => tags.iter().all(has),
            Self::One(tags) => tags.iter().any(has),
        }
    }
}

/// An entity's tags.
fn tags(fields: &Fields) -> impl Iterator<Item = &str> {
    fields.get("tags").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

/// `/tags`: every tag of every entity, or who has that one.
pub fn tagged(state: &State, tag: Option<&str>) -> Value {
    let mut data = Vec::new();
    for collection in crate::config::records::COLLECTIONS {
        for (id, fields) in state.all(collection.name) {
            for own in tags(fields).filter(|own| tag.is_none_or(|tag| tag == *own)) {
                data.push(json!({"entity_name": collection.name, "entity_id": id.to_string(), "tag": own}));
            }
        }
    }
    json!({"data": data, "next": null})
}

/// The names of plugins that some instance is enabled of.
pub fn show_all(state: &State, collection: &'static Collection, reveal: bool) -> Value {
    let mut out = serde_json::Map::new();
    for (id, fields) in state.all(collection.name) {
        out.insert(id.to_string(), view::show(collection, fields, reveal));
    }
    Value::Object(out)
}

fn encode(id: Uuid) -> String {
    let mut text = String::new();
    // Writing to a text cannot fail.
    let _ = write!(text, "[\"{id}\"]");
    STANDARD.encode(text)
}

fn decode(offset: &str) -> Option<Uuid> {
    let text = String::from_utf8(STANDARD.decode(offset).ok()?).ok()?;
    Uuid::try_parse(text.strip_prefix("[\"")?.strip_suffix("\"]")?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(count: u128) -> State {
        let mut state = State::default();
        for number in 1..=count {
            let tags = if number % 2 == 0 { json!(["even", "all"]) } else { json!(["odd", "all"]) };
            let fields = json!({"id": Uuid::from_u128(number).to_string(), "tags": tags});
            state.insert("routes", Uuid::from_u128(number), fields.as_object().unwrap().clone());
        }
        state
    }

    fn walk(state: &State, query: &str) -> (usize, usize) {
        let (mut pages, mut seen) = (0, std::collections::BTreeSet::new());
        let mut query = query.to_owned();
        loop {
            let page = Query::read(Some(&query)).unwrap();
            let page = page.page(state.all("routes"), "/routes", |fields| fields["id"].clone());
            pages += 1;
            for id in page["data"].as_array().unwrap() {
                assert!(seen.insert(id.as_str().unwrap().to_owned()), "{id} twice");
            }
            let Some(next) = page["next"].as_str() else { return (pages, seen.len()) };
            query = next.split_once('?').unwrap().1.to_owned();
            assert!(page["offset"].is_string());
        }
    }

    #[test]
    fn pages_hold_everything_once() {
        let state = state(1000);
        assert_eq!(walk(&state, ""), (10, 1000));
        assert_eq!(walk(&state, "size=1000"), (1, 1000));
        assert_eq!(walk(&state, "size=7"), (143, 1000));
        assert_eq!(walk(&state, "size=100&tags=even,all"), (5, 500));
        assert_eq!(walk(&state, "tags=even/odd&size=999"), (2, 1000));
        assert_eq!(walk(&state, "tags=none"), (1, 0));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let fault = |query: &str| Query::read(Some(query)).err().unwrap();
        for size in ["0", "1001", "x", "-1"] {
            let fault = fault(&format!("size={size}"));
            assert_eq!(fault.body()["message"], "size must be an integer between 1 and 1000");
            assert_eq!(fault.body()["code"], 9);
        }
        assert_eq!(fault("offset=x").body()["code"], 7);
        assert_eq!(fault("tags=a,b/c").body()["code"], 11);
        assert_eq!(tagged(&state(3), Some("even"))["data"].as_array().unwrap().len(), 1);
        assert_eq!(tagged(&state(3), None)["data"].as_array().unwrap().len(), 6);
    }
}
