//! Requests for entities: which place, which method, and what is answered.

use super::body;
use super::change::{self, Ask, Made};
use super::fault::Fault;
use super::list::Query;
use super::place::{self, Place, key_field};
use super::reply::{Answer, Flavour};
use super::{Facts, references, view};
use crate::config::problems::Problem;
use crate::config::records::{CONSUMERS, Collection, GROUPS, PLUGINS};
use crate::state::control::Refusal;
use crate::state::{Fields, State, text};
use axum::extract::{OriginalUri, Request, State as Shared};
use axum::http::{Method, StatusCode, Uri};
use axum::response::Response;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use uuid::Uuid;

/// Entities in Kong's envelope.
pub async fn kong(Shared(facts): Shared<Facts>, request: Request) -> Response {
    Flavour::Kong.respond(serve(&facts, request).await)
}

/// The same in Konnect's.
pub async fn konnect(Shared(facts): Shared<Facts>, request: Request) -> Response {
    Flavour::Konnect.respond(serve(&facts, request).await)
}

/// A request for a place in the tree of entities.
struct Call<'a> {
    facts: &'a Facts,
    method: Method,
    /// As the client wrote it, for the links in lists.
    uri: Uri,
}

async fn serve(facts: &Facts, request: Request) -> Result<Answer, Fault> {
    let (head, body) = request.into_parts();
    let segments = segments(head.uri.path());
    let Some(place) = Place::of(&segments) else { return absent(&segments, &head.method) };
    let uri = head.extensions.get::<OriginalUri>().map_or(head.uri, |original| original.0.clone());
    let call = Call { facts, method: head.method, uri };
    let writes = matches!(call.method, Method::POST | Method::PUT | Method::PATCH);
    let args = if writes { body::read(&head.headers, body).await? } else { body::Args::Form(Vec::new()) };
    match place {
        Place::All { collection, below } => call.all(collection, below.as_ref(), &args).await,
        Place::One { collection, key, below } => {
            call.one(&Ask { collection, key: Some(&key), below: below.as_ref(), args: &args }).await
        }
        Place::Referred { from, key, field, to } => call.referred((from, &key), (field, to), &args).await,
        Place::Members { of, key, member } => call.members(of, &key, member.as_deref(), &args).await,
    }
}

/// Kinds of entities that Kong has and this gateway does not: there are none of them, which tools that
/// read everything want to be told.
const ABSENT: &[&str] = &[
    "upstreams",
    "ca_certificates",
    "vaults",
    "keys",
    "key-sets",
    "filter-chains",
    "basic-auths",
    "hmac-auths",
    "jwts",
    "oauth2",
];

fn absent(segments: &[String], method: &Method) -> Result<Answer, Fault> {
    let [name] = segments else { return Err(Fault::not_found()) };
    if !ABSENT.contains(&name.as_str()) {
        return Err(Fault::not_found());
    }
    if matches!(*method, Method::GET | Method::HEAD) {
        return Ok(Answer::Json(StatusCode::OK, json!({"data": [], "next": null})));
    }
    let message = "entities of this kind are not supported by this gateway";
    Err(Fault::message(StatusCode::METHOD_NOT_ALLOWED, message))
}

fn segments(path: &str) -> Vec<String> {
    let decoded = |part: &str| percent_decode_str(part).decode_utf8_lossy().into_owned();
    path.trim_matches('/').split('/').map(decoded).collect()
}

impl Call<'_> {
    fn shown(&self, collection: &Collection, fields: &Fields) -> Value {
        view::show(collection, fields, self.facts.reveal_secrets)
    }

    async fn all(
        &self,
        collection: &'static Collection,
        below: Option<&place::Owner>,
        args: &body::Args,
    ) -> Result<Answer, Fault> {
        match self.method {
            Method::GET | Method::HEAD => {
                let state = self.facts.control.state();
                let owner = place::owner(&state, below)?;
                let query = Query::read(self.uri.query())?;
                let belongs = |fields: &Fields| {
                    owner.is_none_or(|(field, id)| text(fields, field) == Some(id.to_string().as_str()))
                };
                let all = state
                    .all(collection.name)
                    .filter(|(_, fields)| belongs(fields) && query.selects(collection, fields));
                let page = query.page(all, self.uri.path(), |fields| self.shown(collection, fields));
                Ok(Answer::Json(StatusCode::OK, page))
            }
            Method::POST => {
                let ask = Ask { collection, key: None, below, args };
                let made = self.make(&ask, "create", change::create).await?;
                Ok(Answer::Json(StatusCode::CREATED, made))
            }
            _ => Err(Fault::not_allowed()),
        }
    }

    async fn one(&self, ask: &Ask<'_>) -> Result<Answer, Fault> {
        let key = ask.key.unwrap_or_default();
        match self.method {
            Method::GET | Method::HEAD => {
                let state = self.facts.control.state();
                let owner = place::owner(&state, ask.below)?;
                let (_, fields) =
                    place::find(&state, ask.collection, key, owner).ok_or_else(Fault::not_found)?;
                Ok(Answer::Json(StatusCode::OK, self.shown(ask.collection, &fields)))
            }
            Method::PATCH => {
                Ok(Answer::Json(StatusCode::OK, self.make(ask, "update", change::update).await?))
            }
            Method::PUT => {
                let made = self.make(ask, "create or update", change::upsert).await?;
                Ok(Answer::Json(StatusCode::OK, made))
            }
            Method::DELETE => self.delete(ask).await,
            _ => Err(Fault::not_allowed()),
        }
    }

    /// Makes an entity and shows it. A key that the gateway made up is shown this once: nobody else
    /// knows it.
    async fn make(
        &self,
        ask: &Ask<'_>,
        verb: &'static str,
        edit: fn(&State, &Ask<'_>) -> Result<Made, Fault>,
    ) -> Result<Value, Fault> {
        let collection = ask.collection;
        let by = ask.key.filter(|key| Uuid::try_parse(key).is_err()).map(|_| key_field(collection));
        let change = |state: &State| {
            let (new, id) = edit(state, ask)?;
            let fields = new.get(collection.name, id).cloned().ok_or_else(Fault::not_found)?;
            Ok((new, (id, fields)))
        };
        match self.facts.control.change(change).await {
            Ok((_, fields)) => {
                let made_up = collection.name == crate::config::records::KEYS
                    && ask.args.text("key").is_none_or(str::is_empty)
                    && verb == "create";
                Ok(view::show(collection, &fields, self.facts.reveal_secrets || made_up))
            }
            Err(refusal) => Err(fault(refusal, collection, verb, by)),
        }
    }

    async fn delete(&self, ask: &Ask<'_>) -> Result<Answer, Fault> {
        let key = ask.key.unwrap_or_default();
        let by = Uuid::try_parse(key).is_err().then(|| key_field(ask.collection));
        // `Err(None)`: it is gone already.
        let change = |state: &State| match change::delete(state, ask.collection, key, ask.below) {
            Ok(Some(new)) => Ok((new, ())),
            Ok(None) => Err(None),
            Err(fault) => Err(Some(fault)),
        };
        match self.facts.control.change(change).await {
            Ok(()) | Err(Refusal::Edit(None)) => Ok(Answer::Empty(StatusCode::NO_CONTENT)),
            Err(Refusal::Edit(Some(fault))) => Err(fault),
            Err(other) => Err(fault(other.without_edit(), ask.collection, "remove", by)),
        }
    }

    /// The entity that another refers to.
    async fn referred(
        &self,
        (from, key): (&'static Collection, &str),
        (field, to): (&'static str, &'static Collection),
        args: &body::Args,
    ) -> Result<Answer, Fault> {
        let state = self.facts.control.state();
        let (_, child) = place::find(&state, from, key, None).ok_or_else(Fault::not_found)?;
        let id = text(&child, field).ok_or_else(Fault::not_found)?;
        // Kong lets nobody delete what something refers to by that way.
        if self.method == Method::DELETE {
            return Err(Fault::not_allowed());
        }
        self.one(&Ask { collection: to, key: Some(id), below: None, args }).await
    }

    /// Memberships of consumers in groups, from either side.
    async fn members(
        &self,
        of: &'static Collection,
        key: &str,
        member: Option<&str>,
        args: &body::Args,
    ) -> Result<Answer, Fault> {
        let state = self.facts.control.state();
        let (own, _) = place::find(&state, of, key, None).ok_or_else(Fault::not_found)?;
        let other = if of.name == GROUPS { CONSUMERS } else { GROUPS };
        let other = crate::config::records::find(other).ok_or_else(Fault::not_found)?;
        if matches!(self.method, Method::GET | Method::HEAD) {
            return self.member_list(of, own, other, member);
        }
        let name = match self.method {
            Method::POST if member.is_none() => {
                args.text(if of.name == GROUPS { "consumer" } else { "group" })
            }
            Method::DELETE => member,
            _ => return Err(Fault::not_allowed()),
        };
        let (theirs, fields) =
            name.and_then(|name| place::find(&state, other, name, None)).ok_or_else(Fault::not_found)?;
        let (consumer, group) = if of.name == GROUPS { (theirs, own) } else { (own, theirs) };
        let joins = self.method == Method::POST;
        let change = |state: &State| {
            let mut new = state.clone();
            references::set_member(&mut new, consumer, &group.to_string(), joins);
            Ok((new, ()))
        };
        let changed = self.facts.control.change(change).await;
        changed.map_err(|refusal| fault(refusal, of, "update", None))?;
        if !joins {
            return Ok(Answer::Empty(StatusCode::NO_CONTENT));
        }
        Ok(Answer::Json(StatusCode::CREATED, self.shown(other, &fields)))
    }

    fn member_list(
        &self,
        of: &Collection,
        own: Uuid,
        other: &'static Collection,
        member: Option<&str>,
    ) -> Result<Answer, Fault> {
        let state = self.facts.control.state();
        let own_id = own.to_string();
        let consumer = state.get(CONSUMERS, own);
        let joined = |id: &Uuid, fields: &Fields| {
            if of.name == GROUPS {
                references::groups(fields).any(|group| group == own_id)
            } else {
                let id = id.to_string();
                consumer.is_some_and(|consumer| references::groups(consumer).any(|group| group == id))
            }
        };
        let all = state.all(other.name).filter(|(id, fields)| joined(id, fields));
        let Some(member) = member else {
            let query = Query::read(self.uri.query())?;
            let page = query.page(all, self.uri.path(), |fields| self.shown(other, fields));
            return Ok(Answer::Json(StatusCode::OK, page));
        };
        let (id, fields) = place::find(&state, other, member, None).ok_or_else(Fault::not_found)?;
        if !joined(&id, &fields) {
            return Err(Fault::not_found());
        }
        Ok(Answer::Json(StatusCode::OK, self.shown(other, &fields)))
    }
}

/// A refused change in Kong's words.
fn fault(refusal: Refusal<Fault>, collection: &Collection, verb: &str, by: Option<&str>) -> Fault {
    match refusal {
        Refusal::Edit(fault) => fault,
        Refusal::Problems(problems, state) => whole(&problems, &state, collection),
        Refusal::ReadOnly => Fault::read_only(verb, collection.name, by),
        Refusal::Store(why) => Fault::store(&why),
        Refusal::Busy => {
            Fault::message(StatusCode::TOO_MANY_REQUESTS, "another change is under way: try again")
        }
    }
}

/// Problems of the whole configuration. Those of the changed entity itself were found before; what is
/// left is what the change would do to others, who are told by name and not by their place in a list.
fn whole(problems: &[Problem], state: &State, collection: &Collection) -> Fault {
    let told: Vec<Problem> = problems.iter().map(|problem| named(problem, state, collection)).collect();
    Fault::schema(&told)
}

fn named(problem: &Problem, state: &State, changed: &Collection) -> Problem {
    let Some((list, rest)) = problem.path.split_once('[') else { return problem.clone() };
    let Some((index, path)) = rest.split_once(']') else { return problem.clone() };
    let path = path.trim_start_matches('.');
    let entity = index.parse().ok().and_then(|index| state.all(list).nth(index));
    let Some((id, fields)) = entity else { return problem.clone() };
    if list == PLUGINS && changed.name == PLUGINS {
        return Problem { path: path.to_owned(), ..problem.clone() };
    }
    let name = text(fields, "name").or_else(|| text(fields, "username")).unwrap_or_default();
    let message = format!("this would break '{name}' ({id}) of '{list}': {path}: {}", problem.message);
    Problem { entity: true, ..Problem::new("", message) }
}
