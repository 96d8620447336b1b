//! Where named values stand: headers, the pairs of a query or a form, the fields of a JSON object.

use crate::error::{Error, Result};
use crate::wire::doc::Doc;
use http::HeaderValue;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use pingora::http::RequestHeader;
use serde_json::Value;
use serde_json::value::RawValue;

/// Named values that can be edited.
pub trait Place {
    /// Whether a value of that name is there.
    fn has(&self, name: &str) -> bool;
    /// Takes all values of that name out.
    fn remove(&mut self, name: &str);
    /// Gives what is there another name, in the place of what had it.
    fn rename(&mut self, from: &str, to: &str);
    /// Makes this the one value of that name.
    fn set(&mut self, name: &str, value: &str) -> Result<()>;
    /// Adds a value beside those that are there.
    fn append(&mut self, name: &str, value: &str) -> Result<()>;
}

/// The headers of a request.
pub struct Headers<'a>(pub &'a mut RequestHeader);

fn header(name: &str, value: &str) -> Result<HeaderValue> {
    HeaderValue::from_str(value)
        .map_err(|_| Error::bad_request(format!("the header {name} must not hold control characters")))
}

impl Place for Headers<'_> {
    fn has(&self, name: &str) -> bool {
        self.0.headers.contains_key(name)
    }

    fn remove(&mut self, name: &str) {
        self.0.remove_header(name);
    }

    fn rename(&mut self, from: &str, to: &str) {
        let values: Vec<HeaderValue> = self.0.headers.get_all(from).iter().cloned().collect();
        if values.is_empty() {
            return;
        }
        self.0.remove_header(from);
        self.0.remove_header(to);
        for value in values {
            // The name was checked when the configuration was loaded.
            let _ = self.0.append_header(to.to_owned(), value);
        }
    }

    fn set(&mut self, name: &str, value: &str) -> Result<()> {
        let value = header(name, value)?;
        let _ = self.0.insert_header(name.to_owned(), value);
        Ok(())
    }

    fn append(&mut self, name: &str, value: &str) -> Result<()> {
        let value = header(name, value)?;
        let _ = self.0.append_header(name.to_owned(), value);
        Ok(())
    }
}

/// The pairs of a query or a form. Those that are not edited stay as they were written.
pub struct Pairs(Vec<Pair>);

struct Pair {
    name: String,
    /// As it is written, with its name.
    text: String,
}

/// What need not be escaped in a query.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

fn escaped(text: &str) -> String {
    utf8_percent_encode(text, KEPT).to_string()
}

impl Pair {
    fn new(name: &str, value: &str) -> Self {
        Self { name: name.to_owned(), text: format!("{}={}", escaped(name), escaped(value)) }
    }
}

impl Pairs {
    /// Reads them.
    pub fn read(text: &str) -> Self {
        let read = |text: &str| {
            let (name, _) = form_urlencoded::parse(text.as_bytes()).next()?;
            Some(Pair { name: name.into_owned(), text: text.to_owned() })
        };
        Self(text.split('&').filter_map(read).collect())
    }

    /// All of them, as text.
    pub fn write(&self) -> String {
        self.0.iter().map(|pair| pair.text.as_str()).collect::<Vec<_>>().join("&")
    }
}

impl Place for Pairs {
    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|pair| pair.name == name)
    }

    fn remove(&mut self, name: &str) {
        self.0.retain(|pair| pair.name != name);
    }

    fn rename(&mut self, from: &str, to: &str) {
        if !self.has(from) {
            return;
        }
        self.remove(to);
        for pair in self.0.iter_mut().filter(|pair| pair.name == from) {
            let value = pair.text.find('=').and_then(|at| pair.text.get(at..)).unwrap_or_default();
            pair.text = format!("{}{value}", escaped(to));
            to.clone_into(&mut pair.name);
        }
    }

    fn set(&mut self, name: &str, value: &str) -> Result<()> {
        let at = self.0.iter().position(|pair| pair.name == name).unwrap_or(self.0.len());
        self.remove(name);
        self.0.insert(at.min(self.0.len()), Pair::new(name, value));
        Ok(())
    }

    fn append(&mut self, name: &str, value: &str) -> Result<()> {
        self.0.push(Pair::new(name, value));
        Ok(())
    }
}

// KONG(plugins/request-transformer/access.lua): takes `false` for a field that is not there, and drops a number that
// something is appended to.
impl Place for Doc {
    fn has(&self, name: &str) -> bool {
        Doc::has(self, name)
    }

    fn remove(&mut self, name: &str) {
        Doc::remove(self, name);
    }

    fn rename(&mut self, from: &str, to: &str) {
        if let Some(value) = self.raw(from).and_then(|raw| RawValue::from_string(raw.to_owned()).ok()) {
            Doc::remove(self, from);
            self.set_raw(to, &value);
        }
    }

    fn set(&mut self, name: &str, value: &str) -> Result<()> {
        Doc::set(self, name, value)
    }

    fn append(&mut self, name: &str, value: &str) -> Result<()> {
        let all = match self.field::<Value>(name)? {
            None => vec![value.into()],
            Some(Value::Array(mut all)) => {
                all.push(value.into());
                all
            }
            Some(one) => vec![one, value.into()],
        };
        Doc::set(self, name, &all)
    }
}

/// Gives a request another query; none if it is empty.
pub fn set_query(head: &mut RequestHeader, query: &str) -> Result<()> {
    let path = head.uri.path();
    let target = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
    let uri = target.parse().map_err(|_| Error::bad_request("the query cannot be sent upstream"))?;
    head.set_uri(uri);
    Ok(())
}
