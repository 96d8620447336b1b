//! request-transformer: takes out, renames, replaces and adds headers, query arguments and fields of bodies.

mod multipart;
mod place;
mod template;

use super::{Conf, Plugin, PluginKind, Rewrites, Step, Turn, Wait};
use crate::config::formats;
use crate::config::schema::{Field, Kind, Record, TextCheck};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::exchange::Exchange;
use crate::target::template::Source;
use crate::wire::doc::Doc;
use bytes::Bytes;
use http::{Method, header};
use pingora::http::RequestHeader;
use place::{Headers, Pairs, Place};
use serde_json::json;
use std::sync::Arc;
use template::Template;

/// Its entry in the list of plugins.
pub static KIND: PluginKind = PluginKind::new("request-transformer", 801, schema, build);

/// The largest body that is edited; one that is not edited has no bound of this plugin's.
const LIMIT: usize = 64 * 1024 * 1024;

/// Headers that follow from where the request goes and from its body: they are not a plugin's to say.
const FRAMING: [&str; 4] = ["host", "content-length", "transfer-encoding", "connection"];

/// `config`.
pub fn schema() -> Record {
    let checked = |check: Option<TextCheck>| check.map_or_else(Kind::text, Kind::checked);
    let places = |text: Option<TextCheck>, header: TextCheck| {
        let list = |name, kind| Field::list(name, kind).required().default(json!([]));
        vec![
            list("body", checked(text)).doc("Fields of a JSON object or of a form."),
            list("headers", Kind::checked(header)).doc("Headers."),
            list("querystring", checked(text)).doc("Arguments of the query."),
        ]
    };
    let part = |name, fields| Field::record(name, Record::new(fields)).required();
    let mut replaced = places(Some(pair), header_pair);
    replaced.push(Field::checked("uri", expression).doc("The path to ask the service for."));
    Record::new(vec![
        Field::checked("http_method", formats::method).doc("The method to ask the service with."),
        part("remove", places(None, header_name)).doc("Names of what is taken out."),
        part("rename", places(Some(pair), header_rename)).doc("What is renamed, as `old:new`."),
        part("replace", replaced).doc("New values of what is there, as `name:value`."),
        part("add", places(Some(pair), header_pair)).doc("What is added where it is missing."),
        part("append", places(Some(pair), header_pair)).doc("What is added beside what is there."),
    ])
}

/// A name and what stands behind the colons after it.
fn parted(entry: &str) -> Option<(&str, &str)> {
    let (name, rest) = entry.split_once(':').unwrap_or((entry, ""));
    (!name.is_empty()).then(|| (name, rest.trim_start_matches(':')))
}

fn pair(entry: &str) -> Result<(), String> {
    match parted(entry) {
        Some((name, "")) => Err(format!("key '{name}' has no value")),
        Some((_, value)) => expression(value),
        None => Err(format!("invalid value: {entry}")),
    }
}

fn header_name(name: &str) -> Result<(), String> {
    formats::header_name(name).map_err(|_| format!("'{name}' is not a valid header"))?;
    if FRAMING.contains(&name.to_ascii_lowercase().as_str()) {
        // KONG(plugins/request-transformer/access.lua): passes over the host in silence, and lets a wrong
        // length through.
        return Err(format!(
            "'{name}' follows from the service, the route and the body, it cannot be edited"
        ));
    }
    Ok(())
}

fn header_pair(entry: &str) -> Result<(), String> {
    let (name, value) =
        parted(entry).filter(|_| entry.contains(':')).ok_or(format!("invalid value: {entry}"))?;
    header_name(name)?;
    expression(value)
}

fn header_rename(entry: &str) -> Result<(), String> {
    let (from, to) =
        parted(entry).filter(|_| entry.contains(':')).ok_or(format!("invalid value: {entry}"))?;
    header_name(from)?;
    header_name(to)
}

fn expression(value: &str) -> Result<(), String> {
    Template::read(value).map(drop)
}

#[derive(serde::Deserialize)]
struct Settings {
    http_method: Option<String>,
    remove: Lists,
    rename: Lists,
    replace: Lists,
    add: Lists,
    append: Lists,
}

#[derive(serde::Deserialize)]
struct Lists {
    body: Vec<String>,
    headers: Vec<String>,
    querystring: Vec<String>,
    uri: Option<String>,
}

/// What is done to one place, in Kong's order.
struct Edits {
    remove: Vec<String>,
    rename: Vec<(String, String)>,
    replace: Vec<(String, Template)>,
    add: Vec<(String, Template)>,
    append: Vec<(String, Template)>,
}

impl Edits {
    fn new(settings: &Settings, of: fn(&Lists) -> &[String]) -> Result<Self, String> {
        let values = |lists: &Lists| {
            let read = |(name, value): (&str, &str)| Ok((name.to_owned(), Template::read(value)?));
            let pairs = of(lists).iter().filter_map(|entry| parted(entry));
            // A value that is missing changes nothing.
            pairs.filter(|(_, value)| !value.is_empty()).map(read).collect::<Result<Vec<_>, String>>()
        };
        let renamed = of(&settings.rename).iter().filter_map(|entry| parted(entry));
        Ok(Self {
            remove: of(&settings.remove).to_vec(),
            rename: renamed.map(|(from, to)| (from.to_owned(), to.to_owned())).collect(),
            replace: values(&settings.replace)?,
            add: values(&settings.add)?,
            append: values(&settings.append)?,
        })
    }

    fn is_empty(&self) -> bool {
        self.remove.is_empty()
            && self.rename.is_empty()
            && [&self.replace, &self.add, &self.append].iter().all(|list| list.is_empty())
    }

    fn apply(&self, place: &mut impl Place, source: &Source<'_>) -> Result<()> {
        self.remove.iter().for_each(|name| place.remove(name));
        for (from, to) in self.rename.iter().filter(|(from, to)| from != to) {
            place.rename(from, to);
        }
        for (name, value) in &self.replace {
            if place.has(name) {
                place.set(name, &value.render(source))?;
            }
        }
        for (name, value) in &self.add {
            if !place.has(name) {
                place.set(name, &value.render(source))?;
            }
        }
        self.append.iter().try_for_each(|(name, value)| place.append(name, &value.render(source)))
    }
}

struct RequestTransformer {
    method: Option<Method>,
    path: Option<Template>,
    headers: Edits,
    query: Edits,
    body: Edits,
}

fn build(conf: Conf<'_>) -> Result<Arc<dyn Plugin>> {
    let settings: Settings = conf.read()?;
    let wrong = |why: String| Error::new(ErrorKind::Internal, why);
    let method = settings.http_method.as_deref().map(|method| {
        Method::from_bytes(method.as_bytes())
            .map_err(|_| wrong(format!("http_method: '{method}' is not a method")))
    });
    let path = settings.replace.uri.as_deref().map(Template::read);
    Ok(Arc::new(RequestTransformer {
        method: method.transpose()?,
        path: path.transpose().map_err(wrong)?,
        headers: Edits::new(&settings, |lists| &lists.headers).map_err(wrong)?,
        query: Edits::new(&settings, |lists| &lists.querystring).map_err(wrong)?,
        body: Edits::new(&settings, |lists| &lists.body).map_err(wrong)?,
    }))
}

/// What values may read of the request.
fn source<'a>(x: &'a Exchange, head: &'a RequestHeader) -> Source<'a> {
    let captures = x.route.as_ref().map(|route| route.captures.as_slice()).unwrap_or_default();
    Source { headers: &head.headers, captures, query: head.uri.query().unwrap_or_default() }
}

impl Plugin for RequestTransformer {
    /// Values are those of the request as it came, whatever has been edited before.
    //
    // KONG(plugins/request-transformer/access.lua): under a method without a body Kong puts the fields of a form
    // into the query; here they stay where the client wrote them.
    fn request(&self, x: &mut Exchange, head: &mut RequestHeader) -> Step {
        let before = head.clone();
        if let Some(path) = &self.path {
            let path = path.render(&source(x, &before));
            if !path.starts_with('/') {
                return Step::Fail(Error::bad_request("replace.uri must give a path that begins with '/'"));
            }
            if let Some(route) = &mut x.route {
                route.path = path;
            }
        }
        // A model is asked as its provider wants it.
        if let Some(method) = self.method.as_ref().filter(|_| x.chain().targets.is_none()) {
            head.set_method(method.clone());
        }
        let source = source(x, &before);
        if let Err(error) = self.headers.apply(&mut Headers(head), &source) {
            return Step::Fail(error);
        }
        if self.query.is_empty() {
            return Step::Next;
        }
        let mut query = Pairs::read(before.uri.query().unwrap_or_default());
        let edited = self.query.apply(&mut query, &source);
        edited.and_then(|()| place::set_query(head, &query.write())).into()
    }

    fn reads_body(&self) -> Option<usize> {
        self.rewrites().map(|_| LIMIT)
    }

    fn rewrites(&self) -> Option<Rewrites> {
        (!self.body.is_empty()).then_some(Rewrites::Request)
    }

    fn rewrite_request<'a>(&'a self, turn: Turn<'a>, body: Bytes) -> Wait<'a, Bytes> {
        Box::pin(async move {
            let kind = turn.head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
            let kind = kind.unwrap_or_default();
            let is = |name: &str| kind.to_ascii_lowercase().contains(name);
            let source = source(turn.x, turn.head);
            if is("application/json") {
                self.json(body, &source)
            } else if is("application/x-www-form-urlencoded") {
                let mut pairs = Pairs::read(std::str::from_utf8(&body).unwrap_or_default());
                self.body.apply(&mut pairs, &source)?;
                Ok(pairs.write().into())
            } else if is("multipart/form-data") {
                let mut form = multipart::Form::read(kind, body).await?;
                self.body.apply(&mut form, &source)?;
                Ok(form.write())
            } else {
                Ok(body)
            }
        })
    }
}

impl RequestTransformer {
    /// What is no object stays as it is; where there is nothing an object may be made.
    fn json(&self, body: Bytes, source: &Source<'_>) -> Result<Bytes> {
        let doc = if body.is_empty() { Ok(Doc::empty()) } else { Doc::parse(body.clone()) };
        let Ok(mut doc) = doc else { return Ok(body) };
        self.body.apply(&mut doc, source)?;
        Ok(if doc.is_edited() { doc.bytes() } else { body })
    }
}

#[cfg(test)]
mod tests;
