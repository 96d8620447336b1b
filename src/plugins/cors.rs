//! cors: lets pages of other origins call a route from a browser.

mod origins;

use super::{Conf, Plugin, PluginKind, Reply, Step};
use crate::config::schema::{Field, Kind, Record};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::exchange::{AnswerSide, Exchange};
use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderName, HeaderValue, Method};
use origins::{Allowed, Origins};
use pingora::http::RequestHeader;
use serde_json::{Number, json};
use std::sync::Arc;

/// Its entry in the list of plugins.
pub static KIND: PluginKind =
    PluginKind { consumer_scope: false, ..PluginKind::new("cors", 2000, schema, build) };

const METHODS: [&str; 9] = ["GET", "HEAD", "PUT", "PATCH", "POST", "DELETE", "OPTIONS", "TRACE", "CONNECT"];

/// `config`.
pub fn schema() -> Record {
    Record::new(vec![
        Field::list("origins", Kind::checked(origins::check))
            .doc("Origins that may call: texts, PCRE patterns, or `*`; all of them if absent."),
        Field::list("headers", Kind::text()).doc("Headers they may send; what they ask for if absent."),
        Field::list("exposed_headers", Kind::text()).doc("Headers of answers that they may read."),
        Field::list("methods", Kind::one_of(&METHODS)).default(json!(METHODS)).doc("Methods they may use."),
        Field::number("max_age", f64::MIN, f64::MAX).doc("Seconds that a browser may keep this."),
        Field::flag("credentials", false).doc("Whether they may send cookies and other credentials."),
        Field::flag("private_network", false).doc("Whether public pages may call a private address."),
        Field::flag("preflight_continue", false).doc("Whether the upstream answers preflight requests."),
        Field::flag("allow_origin_absent", true)
            .doc("Whether answers to requests without `Origin` have these headers too."),
    ])
}

#[derive(serde::Deserialize)]
#[allow(clippy::struct_excessive_bools)] // Kong's own fields
struct Settings {
    #[serde(default)]
    origins: Vec<String>,
    #[serde(default)]
    headers: Vec<String>,
    #[serde(default)]
    exposed_headers: Vec<String>,
    methods: Vec<String>,
    max_age: Option<Number>,
    credentials: bool,
    private_network: bool,
    preflight_continue: bool,
    allow_origin_absent: bool,
}

#[allow(clippy::struct_excessive_bools)] // Kong's own fields
struct Cors {
    origins: Origins,
    headers: Option<HeaderValue>,
    exposed: Option<HeaderValue>,
    methods: HeaderValue,
    max_age: Option<HeaderValue>,
    credentials: bool,
    private_network: bool,
    preflight_continue: bool,
    allow_origin_absent: bool,
}

fn build(conf: Conf<'_>) -> Result<Arc<dyn Plugin>> {
    let settings: Settings = conf.read()?;
    let list = |name: &str, words: &[String]| {
        let joined = (!words.is_empty()).then(|| HeaderValue::try_from(words.join(",")));
        let bad = |_| Error::new(ErrorKind::Internal, format!("{name}: must not hold control characters"));
        joined.transpose().map_err(bad)
    };
    let age = settings.max_age.map(|age| vec![age.to_string()]).unwrap_or_default();
    Ok(Arc::new(Cors {
        origins: Origins::new(&settings.origins).map_err(|why| Error::new(ErrorKind::Internal, why))?,
        headers: list("headers", &settings.headers)?,
        exposed: list("exposed_headers", &settings.exposed_headers)?,
        methods: list("methods", &settings.methods)?.unwrap_or(HeaderValue::from_static("")),
        max_age: list("max_age", &age)?,
        credentials: settings.credentials,
        private_network: settings.private_network,
        preflight_continue: settings.preflight_continue,
        allow_origin_absent: settings.allow_origin_absent,
    }))
}

static REQUEST_PRIVATE: HeaderName = HeaderName::from_static("access-control-request-private-network");
static ALLOW_PRIVATE: HeaderName = HeaderName::from_static("access-control-allow-private-network");
const TRUE: HeaderValue = HeaderValue::from_static("true");

impl Plugin for Cors {
    fn request(&self, x: &mut Exchange, head: &mut RequestHeader) -> Step {
        let origin = head.headers.get(ORIGIN).filter(|origin| !origin.is_empty());
        let asks = head.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        if head.method == Method::OPTIONS && origin.is_some() && asks {
            if self.preflight_continue {
                return Step::Next;
            }
            self.allow(&mut x.answer, origin);
            self.preflight(&mut x.answer, head);
            return Step::Reply(Box::new(Reply { status: 200, content_type: None, body: Bytes::new() }));
        }
        if origin.is_some() || self.allow_origin_absent {
            self.allow(&mut x.answer, origin);
            if let Some(exposed) = &self.exposed {
                x.answer.add(ACCESS_CONTROL_EXPOSE_HEADERS, exposed.clone());
            }
        }
        Step::Next
    }
}

impl Cors {
    /// Says who may read the answer, over what the upstream says of it.
    fn allow(&self, answer: &mut AnswerSide, origin: Option<&HeaderValue>) {
        let allowed = self.origins.judge(origin.and_then(|origin| origin.to_str().ok()));
        let mirrored = origin.filter(|_| allowed == Allowed::All && self.credentials);
        if self.origins.depends() || mirrored.is_some() {
            answer.add(VARY, HeaderValue::from_static("Origin"));
        }
        let shown = match (&allowed, mirrored) {
            // With credentials a browser takes no `*`.
            (Allowed::All, Some(origin)) => Some(origin.clone()),
            (Allowed::All, None) => Some(HeaderValue::from_static("*")),
            (Allowed::One(origin), _) => HeaderValue::try_from(origin).ok(),
            (Allowed::None, _) => None,
        };
        answer.added.push((ACCESS_CONTROL_ALLOW_ORIGIN, shown));
        if self.credentials && (allowed != Allowed::All || mirrored.is_some()) {
            answer.add(ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE);
        }
    }

    /// What only answers to preflight requests say.
    fn preflight(&self, answer: &mut AnswerSide, head: &RequestHeader) {
        let asked = || head.headers.get(ACCESS_CONTROL_REQUEST_HEADERS).cloned();
        if let Some(headers) = self.headers.clone().or_else(asked) {
            answer.add(ACCESS_CONTROL_ALLOW_HEADERS, headers);
        }
        answer.add(ACCESS_CONTROL_ALLOW_METHODS, self.methods.clone());
        if let Some(age) = &self.max_age {
            answer.add(ACCESS_CONTROL_MAX_AGE, age.clone());
        }
        if self.private_network && head.headers.get(&REQUEST_PRIVATE).is_some_and(|value| value == "true") {
            answer.add(ALLOW_PRIVATE.clone(), TRUE);
        }
    }
}
