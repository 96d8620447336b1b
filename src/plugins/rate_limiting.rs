//! rate-limiting: so many requests in a second, minute, hour, day, month or year.

mod counter;
mod shared;
mod synced;

use super::redis;
use super::{Conf, Plugin, PluginKind, Reply, Step, Steps};
use crate::config::formats;
use crate::config::problems::Problems;
use crate::config::rules::get;
use crate::config::schema::{Conditional, Field, Kind, Match, Record, Rule};
use crate::error::{Error, Kind as ErrorKind, Result as Built};
use crate::exchange::Exchange;
use counter::{PERIODS as ALL, Period, Standing};
use http::{HeaderName, HeaderValue};
use pingora::http::RequestHeader;
use serde_json::{Map, Value, json};
use shared::Counters;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// Its entry in the list of plugins.
pub static KIND: PluginKind = PluginKind { rules, ..PluginKind::new("rate-limiting", 910, schema, build) };

/// Shortest first.
const PERIODS: [&str; 6] = ["second", "minute", "hour", "day", "month", "year"];

/// `config`.
pub fn schema() -> Record {
    let mut fields: Vec<Field> =
        PERIODS.map(|period| Field::above(period, 0.0).doc("Requests in that time.")).into();
    fields.extend([
        Field::one_of("limit_by", &["consumer", "credential", "ip", "service", "header", "path"])
            .default("consumer")
            .doc("Whose requests are counted together."),
        Field::checked("header_name", formats::header_name)
            .doc("The header that `limit_by: header` goes by."),
        Field::checked("path", formats::path).doc("The path that `limit_by: path` goes by."),
        Field::one_of("policy", &["local", "redis"]).default("local").doc("Where counters are kept."),
        Field::flag("fault_tolerant", true).doc("Whether requests pass while counters are out of reach."),
        Field::record("redis", redis::record(None)).required(),
        Field::flag("hide_client_headers", false).doc("Whether clients are spared the headers about limits."),
        Field::above("error_code", 0.0).default(429).doc("Status of a refusal."),
        Field::text("error_message").default("API rate limit exceeded").doc("Message of a refusal."),
        Field::number("sync_rate", f64::MIN, f64::MAX)
            .required()
            .default(-1)
            .doc("Seconds between two exchanges with the server, requests being counted here; -1: it is asked for each."),
    ]);
    fields.extend(old_redis_fields());
    Record::new(fields).rules(vec![Rule::Check(check_config)])
}

/// KONG(plugins/rate-limiting/schema.lua): the names before 3.6, replaced by `redis.*`.
fn old_redis_fields() -> impl Iterator<Item = Field> {
    [
        ("redis_host", Kind::text()),
        ("redis_port", Kind::integer()),
        ("redis_password", Kind::sized(0, usize::MAX)),
        ("redis_username", Kind::text()),
        ("redis_ssl", Kind::Boolean),
        ("redis_ssl_verify", Kind::Boolean),
        ("redis_server_name", Kind::text()),
        ("redis_timeout", Kind::integer()),
        ("redis_database", Kind::integer()),
    ]
    .into_iter()
    .map(|(name, kind)| Field::new(name, Kind::Shorthand { of: Box::new(kind), expand: expand_redis }))
}

fn expand_redis(name: &str, value: Value, config: &mut Map<String, Value>) -> Result<(), String> {
    let field = name.trim_start_matches("redis_");
    let redis = config.entry("redis").or_insert_with(|| json!({}));
    if redis.is_null() {
        *redis = json!({});
    }
    let Some(redis) = redis.as_object_mut() else { return Ok(()) };
    if let Some(new) = redis.get(field).filter(|new| !new.is_null() && **new != value) {
        // One of them is a password.
        let shown = |value: &Value| if field == "password" { "***".to_owned() } else { plain(value) };
        return Err(format!(
            "both deprecated and new field are used but their values mismatch: {name} = {} vs redis.{field} = {}",
            shown(&value),
            shown(new)
        ));
    }
    redis.insert(field.to_owned(), value);
    Ok(())
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}

fn rules() -> Vec<Rule> {
    let needs = |when, word, then| {
        Rule::Conditional(Conditional { when, is: Match::Text(word), then, must: Match::Set, message: None })
    };
    vec![
        Rule::AtLeastOneNonEmpty(&[
            "config.second",
            "config.minute",
            "config.hour",
            "config.day",
            "config.month",
            "config.year",
        ]),
        needs("config.policy", "redis", "config.redis.host"),
        needs("config.policy", "redis", "config.redis.port"),
        needs("config.policy", "redis", "config.redis.timeout"),
        needs("config.limit_by", "header", "config.header_name"),
        needs("config.limit_by", "path", "config.path"),
    ]
}

/// A longer time allows no less than a shorter one; `sync_rate` is for a shared store.
fn check_config(config: &Value, out: &mut Problems<'_>) {
    let number = |name: &str| get(config, name).and_then(Value::as_f64);
    let set: Vec<(&str, f64)> =
        PERIODS.iter().filter_map(|period| number(period).map(|limit| (*period, limit))).collect();
    for (index, (lower, few)) in set.iter().enumerate() {
        for (upper, many) in set.iter().skip(index + 1).filter(|(_, many)| many < few) {
            out.push(format!(
                "The limit for {upper}({many:.1}) cannot be lower than the limit for {lower}({few:.1})"
            ));
        }
    }
    let Some(rate) = number("sync_rate").filter(|rate| (rate + 1.0).abs() > f64::EPSILON) else { return };
    if get(config, "policy").and_then(Value::as_str) != Some("redis") {
        out.push("sync_rate can only be used with the redis policy");
    } else if rate < 0.02 {
        out.push("sync_rate must be greater than 0.02, or -1 to disable");
    }
}

#[derive(serde::Deserialize)]
struct Settings {
    limit_by: By,
    header_name: Option<String>,
    path: Option<String>,
    policy: Policy,
    fault_tolerant: bool,
    redis: redis::Settings,
    sync_rate: f64,
    hide_client_headers: bool,
    error_code: u16,
    error_message: String,
}

/// Where counters are kept.
#[derive(Clone, Copy, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum Policy {
    Local,
    Redis,
}

/// Whose requests are counted together.
#[derive(Clone, Copy, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum By {
    Consumer,
    Credential,
    Ip,
    Service,
    Header,
    Path,
}

struct Limiter {
    plugin: Uuid,
    limits: Vec<(Period, u64)>,
    settings: Settings,
    shared: Option<Counters>,
}

fn build(conf: Conf<'_>) -> Built<Arc<dyn Plugin>> {
    let settings: Settings = conf.read()?;
    let shared = match settings.policy {
        Policy::Local => None,
        Policy::Redis => {
            let link = redis::Link::open(settings.redis.clone());
            let link = link.map_err(|why| Error::new(ErrorKind::Unsupported, why))?;
            // Below zero only -1 is left, and no duration that is too long is meant.
            let rate = Duration::try_from_secs_f64(settings.sync_rate).ok();
            Some(Counters::new(link, conf.route, conf.service, rate))
        }
    };
    let limit = |period: Period| {
        let limit = get(conf.config, period.name()).and_then(Value::as_f64)?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the schema allows only numbers above 0"
        )]
        Some((period, limit as u64))
    };
    let limits = ALL.into_iter().filter_map(limit).collect();
    Ok(Arc::new(Limiter { plugin: conf.id, limits, settings, shared }))
}

impl Plugin for Limiter {
    fn request(&self, x: &mut Exchange, head: &mut RequestHeader) -> Step {
        let (kind, caller) = self.caller(x, head);
        let counted = counter::count(self.plugin, format!("{kind} {caller}"), &self.limits, seconds(x));
        self.judge(x, counted)
    }

    fn waits(&self) -> bool {
        self.shared.is_some()
    }

    fn wait<'a>(&'a self, x: &'a mut Exchange, head: &'a mut RequestHeader) -> Steps<'a> {
        Box::pin(async move {
            let Some(shared) = &self.shared else { return self.request(x, head) };
            let (_, caller) = self.caller(x, head);
            match shared.count(&caller, &self.limits, seconds(x)).await {
                Ok(counted) => self.judge(x, counted),
                Err(()) if self.settings.fault_tolerant => Step::Next,
                Err(()) => Step::Fail(Error::new(ErrorKind::Internal, "An unexpected error occurred")),
            }
        })
    }
}

/// When the request came.
fn seconds(x: &Exchange) -> i64 {
    i64::try_from(x.started_at / 1000).unwrap_or(i64::MAX)
}

impl Limiter {
    /// Tells the client where it stands, and stops it where it is over.
    fn judge(&self, x: &mut Exchange, (passes, standings): (bool, Vec<Standing>)) -> Step {
        if !self.settings.hide_client_headers {
            for (name, value) in headers(&standings) {
                x.answer.add(name, value);
            }
        }
        if passes {
            return Step::Next;
        }
        let spent = standings.iter().filter(|standing| standing.remaining == 0);
        let wait = spent.map(|standing| standing.reset).max().unwrap_or(1);
        x.answer.add(http::header::RETRY_AFTER, HeaderValue::from(wait));
        let body = json!({"message": self.settings.error_message, "request_id": x.id.as_str()});
        Step::Reply(Box::new(Reply {
            status: self.settings.error_code,
            content_type: Some("application/json; charset=utf-8".to_owned()),
            body: body.to_string().into(),
        }))
    }

    /// Who is counted, as what: what the configuration names, or else the address.
    fn caller(&self, x: &Exchange, head: &RequestHeader) -> (&'static str, String) {
        let header = || {
            let value = head.headers.get(self.settings.header_name.as_deref()?)?;
            Some(("header", value.to_str().ok()?.to_owned()))
        };
        let named = match self.settings.limit_by {
            By::Consumer | By::Credential => {
                x.consumer.as_ref().map(|consumer| ("consumer", consumer.id.to_string()))
            }
            By::Ip => None,
            By::Service => {
                x.entry().and_then(|entry| entry.route.service).map(|id| ("service", id.to_string()))
            }
            By::Header => header(),
            By::Path => {
                let own = self.settings.path.as_deref().filter(|path| head.uri.path() == *path);
                own.map(|path| ("path", path.to_owned()))
            }
        };
        named.unwrap_or_else(|| ("ip", x.client.map_or_else(String::new, |ip| ip.to_string())))
    }
}

/// Kong's headers: one pair for each period, and the draft standard's for the tightest.
fn headers(standings: &[Standing]) -> Vec<(HeaderName, HeaderValue)> {
    let mut out = Vec::with_capacity(standings.len() * 2 + 3);
    for standing in standings {
        for (what, value) in [("limit", standing.limit), ("remaining", standing.remaining)] {
            let name = format!("x-ratelimit-{what}-{}", standing.period.name());
            out.extend(HeaderName::try_from(name).ok().map(|name| (name, HeaderValue::from(value))));
        }
    }
    if let Some(tightest) = standings.iter().min_by_key(|standing| standing.remaining) {
        out.push((HeaderName::from_static("ratelimit-limit"), HeaderValue::from(tightest.limit)));
        out.push((HeaderName::from_static("ratelimit-remaining"), HeaderValue::from(tightest.remaining)));
        out.push((HeaderName::from_static("ratelimit-reset"), HeaderValue::from(tightest.reset)));
    }
    out
}
