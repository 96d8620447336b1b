//! `/config`: the whole configuration, read and replaced.

use super::body::{self, Args};
use super::change::STILL_MASKED;
use super::fault::Fault;
use super::flattened::flatten;
use super::list::show_all;
use super::reply::{Answer, Flavour};
use super::{Facts, path_name, tree, view};
use crate::config::problems::Problem;
use crate::config::records::COLLECTIONS;
use crate::config::{check, document};
use crate::state::control::{Ready, Refusal};
use crate::state::{State, hash};
use axum::extract::{Request, State as Shared};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// `GET /config`.
pub async fn get(Shared(facts): Shared<Facts>) -> Response {
    Flavour::Kong.respond(read(&facts))
}

/// `POST /config`.
pub async fn post(Shared(facts): Shared<Facts>, request: Request) -> Response {
    let result = replace(&facts, request).await;
    let busy = result.as_ref().is_err_and(|fault| fault.status == StatusCode::TOO_MANY_REQUESTS);
    let mut response = Flavour::Kong.respond(result);
    if busy {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// With a store the entities have addresses of their own; both ways in would be one too many.
fn only_files(facts: &Facts) -> Result<(), Fault> {
    if facts.control.store().is_writable() {
        let message = "this endpoint is only available when Kong is configured to not use a database";
        return Err(Fault::message(StatusCode::BAD_REQUEST, message));
    }
    Ok(())
}

fn read(facts: &Facts) -> Result<Answer, Fault> {
    only_files(facts)?;
    let mut root = facts.control.state().tree();
    if !facts.reveal_secrets {
        for collection in COLLECTIONS {
            let entities = root.get_mut(collection.name).and_then(Value::as_array_mut);
            for entity in entities.into_iter().flatten().filter_map(Value::as_object_mut) {
                view::mask(collection, entity);
            }
        }
    }
    let text =
        document::write(&root).map_err(|why| Fault::message(StatusCode::INTERNAL_SERVER_ERROR, why))?;
    Ok(Answer::Json(StatusCode::OK, json!({"config": text})))
}

async fn replace(facts: &Facts, request: Request) -> Result<Answer, Fault> {
    only_files(facts)?;
    let (head, body) = request.into_parts();
    let query: Vec<(String, String)> =
        form_urlencoded::parse(head.uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    let asks = |name: &str| {
        query.iter().any(|(other, value)| other == name && matches!(value.as_str(), "1" | "true" | ""))
    };
    let text = text_of(body::read(&head.headers, body).await?)?;
    if asks("check_hash") && facts.control.state().hash() == hash(&text) {
        return Ok(Answer::Empty(StatusCode::NOT_MODIFIED));
    }
    let make = || ready(&text, &facts.control.state());
    facts.control.try_replace(make).map_err(|refusal| match refusal {
        Refusal::Edit(problems) => refused(&problems, &text, asks("flatten_errors")),
        _ => Fault::message(StatusCode::TOO_MANY_REQUESTS, "Currently loading previous configuration"),
    })?;
    let state = facts.control.state();
    let mut shown = Map::new();
    for collection in COLLECTIONS {
        let all = show_all(&state, collection, facts.reveal_secrets);
        if all.as_object().is_some_and(|all| !all.is_empty()) {
            shown.insert(collection.name.to_owned(), all);
        }
    }
    Ok(Answer::Json(StatusCode::CREATED, shown.into()))
}

/// The configuration that a request brings, as one text.
fn text_of(args: Args) -> Result<String, Fault> {
    let none = || Fault::message(StatusCode::BAD_REQUEST, "expected a declarative configuration");
    let text = match args {
        Args::Yaml(text) => text,
        Args::Json(map) if map.contains_key("_format_version") => Value::Object(map).to_string(),
        other => match (other.text("config"), &other) {
            (Some(text), _) => text.to_owned(),
            (None, Args::Json(map)) => match map.get("config") {
                Some(tree @ Value::Object(_)) => tree.to_string(),
                _ => return Err(none()),
            },
            _ => return Err(none()),
        },
    };
    if text.trim().is_empty() { Err(none()) } else { Ok(text) }
}

/// Makes a posted text ready. Masks of keys that are in force stand for these keys.
fn ready(text: &str, before: &State) -> Result<Ready, Vec<Problem>> {
    let texts = [(String::new(), text.to_owned())];
    if !text.contains(view::MASK) {
        return Ready::read(&texts);
    }
    let mut state = State::of(&check::check(&check::sources(&texts))?);
    let mut problems = Vec::new();
    for collection in COLLECTIONS {
        let entities: Vec<(Uuid, Map<String, Value>)> =
            state.all(collection.name).map(|(id, fields)| (*id, (**fields).clone())).collect();
        for (id, fields) in entities {
            let record = view::description(collection, &fields);
            let old =
                before.get(collection.name, id).map_or(Value::Null, |old| Value::Object((**old).clone()));
            let mut new = Value::Object(fields);
            let mut left = Vec::new();
            view::unmask(&record, &mut new, &old, "", &mut left);
            problems
                .extend(left.into_iter().map(|path| {
                    Problem::new(format!("{}.{id}.{path}", path_name(collection)), STILL_MASKED)
                }));
            if let Value::Object(fields) = new {
                state.insert(collection.name, id, fields);
            }
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    Ready::of(state.read_from(text)).map_err(|(problems, _)| problems)
}

fn refused(problems: &[Problem], text: &str, flat: bool) -> Fault {
    let unread = problems.iter().find(|problem| problem.path.is_empty() && !problem.entity);
    let mut fields = match unread {
        Some(problem) => Map::from_iter([("error".to_owned(), problem.message.clone().into())]),
        None => tree::of(problems),
    };
    if !flat {
        return Fault::declarative(fields);
    }
    let (flattened, rest) = flatten(problems, text);
    if unread.is_none() {
        fields = tree::of(&rest);
    }
    let mut fault = Fault::declarative(fields);
    fault.flattened = Some(Box::new(flattened.into()));
    fault
}
