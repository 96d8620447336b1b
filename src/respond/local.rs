//! Errors as the client sees them.
//!
//! The gateway's core answers in the client's preferred type, the AI plugins always in JSON; both as
//! Kong does. A message may repeat what a client sent, so it is escaped for the type it stands in.

use crate::error::{Error, Face};
use bytes::Bytes;
use std::borrow::Cow;

/// The type of every JSON answer of the gateway.
pub const JSON: &str = "application/json; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
const PLAIN: &str = "text/plain; charset=utf-8";
const XML: &str = "application/xml; charset=utf-8";

/// An answer of the gateway itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Local {
    /// The status.
    pub status: u16,
    /// The `Content-Type`.
    pub content_type: &'static str,
    /// The body.
    pub body: Bytes,
}

/// The answer to a request that ends in `error`; `accept` is the request's header of that name.
pub fn render(error: &Error, request_id: &str, accept: Option<&str>) -> Local {
    let content_type = match error.kind().face() {
        Face::Ai => JSON,
        Face::Core => preferred(accept.unwrap_or_default()),
    };
    let message = error.message();
    let body = match (error.kind().face(), content_type) {
        (Face::Ai, _) => format!("{{\"error\":{{\"message\":{}}}}}", quoted(message)),
        (Face::Core, HTML) => html(message, request_id),
        (Face::Core, XML) => xml(message, request_id),
        (Face::Core, PLAIN) => format!("{message}\nrequest_id: {request_id}\n"),
        (Face::Core, _) => {
            format!("{{\n  \"message\":{},\n  \"request_id\":{}\n}}", quoted(message), quoted(request_id))
        }
    };
    Local { status: error.status(), content_type, body: body.into() }
}

/// The type that an `Accept` header likes best, among equals the first. A type that is not offered
/// stands for JSON, as does an empty header.
///
/// KONG(kong/tools/http.lua): so it weighs there too: `image/png, text/html;q=0.9` gets JSON.
fn preferred(accept: &str) -> &'static str {
    let mut best = (0.0, JSON);
    for item in accept.split(',') {
        let mut parts = item.split(';').map(str::trim);
        let Some(offered) = parts.next().and_then(offer) else { continue };
        let quality = parts.find_map(quality).unwrap_or(1.0);
        if quality > best.0 {
            best = (quality, offered);
        }
    }
    best.1
}

/// What is sent for a media range; `None` if it is none.
fn offer(range: &str) -> Option<&'static str> {
    let (class, subtype) = range.split_once('/')?;
    let is = |a: &str, b: &str| class.eq_ignore_ascii_case(a) && subtype.eq_ignore_ascii_case(b);
    Some(if is("text", "html") {
        HTML
    } else if is("text", "plain") || is("text", "*") {
        PLAIN
    } else if is("application", "xml") {
        XML
    } else {
        JSON
    })
}

/// The value of a `q` parameter; one that is not between 0 and 1 counts as absent.
fn quality(parameter: &str) -> Option<f32> {
    let (name, value) = parameter.split_once('=')?;
    let value = value.trim().parse().ok().filter(|value| (0.0..=1.0).contains(value));
    value.filter(|_| name.trim().eq_ignore_ascii_case("q"))
}

/// A JSON string, quotes included.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn html(message: &str, request_id: &str) -> String {
    let (message, id) = (markup(message), markup(request_id));
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>Request failed</title></head>\n\
         <body>\n<h1>Request failed</h1>\n<p>{message}</p>\n<p>request_id: {id}</p>\n</body>\n</html>\n"
    )
}

fn xml(message: &str, request_id: &str) -> String {
    let (message, id) = (markup(message), markup(request_id));
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<error>\n  <message>{message}</message>\n  \
         <requestid>{id}</requestid>\n</error>\n"
    )
}

/// Text for HTML and XML. Control characters, which XML cannot hold at all, are replaced.
fn markup(text: &str) -> Cow<'_, str> {
    let special = |c: char| matches!(c, '&' | '<' | '>' | '"' | '\'') || (c.is_control() && c != '\n');
    if !text.contains(special) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if special(c) => out.push(char::REPLACEMENT_CHARACTER),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;
    use serde_json::{Value, json};

    const NASTY: &str = "no \"<b>\" & 'é'\\\n\u{1}";

    fn core(accept: Option<&str>) -> Local {
        render(&Error::new(Kind::NoRoute, "no Route matched with those values"), "0af1", accept)
    }

    #[test]
    fn the_accept_header_chooses_the_type() {
        let table = [
            (None, JSON),
            (Some(""), JSON),
            (Some("*/*"), JSON),
            (Some("application/json"), JSON),
            (Some("application/*"), JSON),
            (Some("text/html"), HTML),
            (Some("Text/HTML; charset=utf-8"), HTML),
            (Some("text/plain"), PLAIN),
            (Some("text/*"), PLAIN),
            (Some("application/xml"), XML),
            (Some("image/png"), JSON),
            (Some("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"), HTML),
            (Some("application/json;q=0.5, text/plain;q=0.8, text/html;q=0.7"), PLAIN),
            (Some("text/html, application/json"), HTML),
            (Some("application/json, text/html"), JSON),
            (Some("text/html;q=0"), JSON),
            (Some("text/html;q=0, text/plain;q=0.1"), PLAIN),
            (Some("text/html;level=1;q=0.3, application/xml ; q=0.4"), XML),
            (Some("image/png, text/html;q=0.9"), JSON),
            (Some("text/html;q=7, application/xml;q=0.9"), HTML),
            (Some("nonsense, text/html;q=0.1"), HTML),
        ];
        for (accept, expected) in table {
            assert_eq!(core(accept).content_type, expected, "{accept:?}");
        }
    }

    #[test]
    fn the_core_answers_in_each_type() {
        let body = |accept| String::from_utf8(core(Some(accept)).body.to_vec()).expect("UTF-8");
        let message = "no Route matched with those values";
        assert_eq!(body("*/*"), format!("{{\n  \"message\":\"{message}\",\n  \"request_id\":\"0af1\"\n}}"));
        assert_eq!(body("text/plain"), format!("{message}\nrequest_id: 0af1\n"));
        assert_eq!(
            body("application/xml"),
            format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<error>\n  <message>{message}</message>\n  \
                 <requestid>0af1</requestid>\n</error>\n"
            )
        );
        let page = body("text/html");
        assert!(page.starts_with("<!doctype html>") && page.contains(&format!("<p>{message}</p>")), "{page}");
        assert!(page.contains("request_id: 0af1"), "{page}");
    }

    #[test]
    fn the_ai_plugins_always_answer_in_json() {
        let error = Error::bad_request("cannot use own model - must be: gpt-4");
        let local = render(&error, "0af1", Some("text/html"));
        let body = &br#"{"error":{"message":"cannot use own model - must be: gpt-4"}}"#[..];
        assert_eq!(local, Local { status: 400, content_type: JSON, body: Bytes::from_static(body) });
    }

    #[test]
    fn the_status_is_the_kinds() {
        for (kind, status) in [(Kind::NoRoute, 404), (Kind::Timeout, 504), (Kind::TooLarge, 413)] {
            assert_eq!(render(&Error::new(kind, "x"), "", None).status, status);
        }
    }

    #[test]
    fn a_message_cannot_break_out() {
        let parse = |local: Local| serde_json::from_slice::<Value>(&local.body).expect("JSON");
        let ai = render(&Error::bad_request(NASTY), "id", None);
        assert_eq!(parse(ai), json!({"error": {"message": NASTY}}));
        let error = Error::new(Kind::BadHead, NASTY);
        assert_eq!(parse(render(&error, "i\"d", None)), json!({"message": NASTY, "request_id": "i\"d"}));
        for accept in ["text/html", "application/xml"] {
            let body = render(&error, "<id>", Some(accept)).body;
            let body = str::from_utf8(&body).expect("UTF-8");
            assert!(body.contains("no &quot;&lt;b&gt;&quot; &amp; &#39;é&#39;\\\n\u{FFFD}"), "{body}");
            assert!(body.contains("&lt;id&gt;") && !body.contains("<b>"), "{body}");
        }
    }
}
