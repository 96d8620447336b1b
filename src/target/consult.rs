//! Asking a target something of the gateway's own: one chat that does not stream, with a system
//! prompt and a text, and the text of the answer.
//!
//! Such a call is metered like a client's: what went out has an account, whatever becomes of it.

use super::letter::Letter;
use super::template::Source;
use super::{Choice, Settled, Target};
use crate::config::target::{LoggingConf, OptionsConf};
use crate::error::{Error, Kind, Result};
use crate::meter::account::{Account, Holder};
use crate::meter::metrics::{Ending, UNSPECIFIED, outcome};
use crate::provider::{Call, Decoded, Meta, Outbound};
use crate::upstream::attempt::{Connections, Request};
use crate::upstream::endpoint::{Endpoint, Timeouts, Way};
use crate::upstream::fetch::{self, Fetched, Limits};
use crate::wire::chat::lenient::{Lenient, Text};
use crate::wire::doc::Doc;
use bytes::Bytes;
use http::{HeaderMap, Method, header};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// The largest answer of a model that is read.
const LIMIT: usize = 64 * 1024 * 1024;

/// A target that is asked, and how it is reached.
pub struct Oracle {
    target: Target,
    way: Way,
    timeout: Duration,
    /// Held, so that its name stays resolved; `None` where the address depends on the request.
    endpoint: Option<Arc<Endpoint>>,
}

/// What is asked, and for whom.
pub struct Question<'a> {
    /// What the model is told to do.
    pub prompt: &'a str,
    /// What it is to do it with.
    pub text: &'a str,
    /// The client's request, for the expressions in the target's options.
    pub source: Source<'a>,
    /// The exchange that it is asked for.
    pub id: &'a str,
    /// Seconds since the epoch.
    pub now: u64,
    /// Whether Kong's series are switched on.
    pub kong: bool,
}

/// A call, for the log and for traces.
pub struct Consulted {
    /// When the call was begun,
    pub began: Instant,
    /// and how long it took.
    pub took: Duration,
    /// `ok`, or what went wrong, as the metrics call it.
    pub outcome: &'static str,
    /// What the upstream answered.
    pub status: Option<u16>,
    /// Where it runs.
    pub host: String,
    /// The port there.
    pub port: u16,
    /// What the model was asked to do.
    pub options: OptionsConf,
    /// Whose model.
    pub provider: &'static str,
    /// What it is called in metrics and logs.
    pub model: String,
    /// The model that the upstream says it ran.
    pub response_model: Option<String>,
    /// What the log says beside it.
    pub meta: Meta,
    /// Whether the log wants it.
    pub logging: LoggingConf,
    /// What was asked.
    pub request: Doc,
    /// What it cost; `None`: it never went out.
    pub account: Option<Account>,
}

impl Oracle {
    /// Makes an oracle of a target that has been loaded.
    pub fn new(target: Target, way: Way, timeout: Duration) -> Self {
        let none = HeaderMap::new();
        let nobody = Source { headers: &none, captures: &[], query: "" };
        let timeouts = Timeouts { connect: timeout, read: timeout, write: timeout };
        let endpoint = match target.settle(&nobody, timeouts) {
            Ok(Choice::Lent(settled)) => Some(Endpoint::by(&settled.address, timeouts, &way)),
            Ok(Choice::Own(_)) | Err(_) => None,
        };
        Self { target, way, timeout, endpoint }
    }

    /// Asks. What was tried is there whether an answer came or not.
    pub async fn ask(
        &self,
        connections: &Arc<Connections>,
        question: &Question<'_>,
    ) -> (Option<Consulted>, Result<String>) {
        let timeouts = self.timeouts();
        let settled = match self.target.settle(&question.source, timeouts) {
            Ok(settled) => settled,
            Err(error) => return (None, Err(error)),
        };
        if let Some(token) = settled.driver.dialect.identity() {
            token.ready().await;
        }
        let visit = match Visit::prepare(self, &settled, question) {
            Ok(visit) => visit,
            Err(error) => return (None, Err(error)),
        };
        visit.make(connections, question).await
    }

    fn timeouts(&self) -> Timeouts {
        Timeouts { connect: self.timeout, read: self.timeout, write: self.timeout }
    }
}

/// One call, ready to go out.
struct Visit<'a> {
    oracle: &'a Oracle,
    settled: &'a Settled,
    doc: Doc,
    model: String,
    endpoint: Arc<Endpoint>,
    request: Request,
    began: Instant,
}

impl<'a> Visit<'a> {
    fn prepare(oracle: &'a Oracle, settled: &'a Settled, question: &Question<'_>) -> Result<Self> {
        let model = settled.conf.model.name.clone().unwrap_or_else(|| UNSPECIFIED.to_owned());
        let dialect = &settled.driver.dialect;
        let doc = chat(question, dialect.takes_system(&model))?;
        let endpoint = match &oracle.endpoint {
            Some(endpoint) => endpoint.clone(),
            None => Endpoint::by(&settled.address, oracle.timeouts(), &oracle.way),
        };
        let call = call(settled, &doc, &model, question);
        let Outbound { path, mut headers, body } = dialect.request(&call)?;
        if !headers.iter().any(|(name, _)| *name == header::CONTENT_TYPE) {
            headers.push((header::CONTENT_TYPE, header::HeaderValue::from_static("application/json")));
        }
        let letter = Letter {
            settled,
            call: &call,
            method: &Method::POST,
            headers: &HeaderMap::new(),
            query: "",
            forwarded: None,
            whole_url: endpoint.wants_whole_url(),
        };
        let path = path.as_deref().unwrap_or(&settled.address.path);
        let (request, _) = letter.seal(path, headers, body)?;
        Ok(Self { oracle, settled, doc, model, endpoint, request, began: Instant::now() })
    }

    async fn make(
        self,
        connections: &Arc<Connections>,
        question: &Question<'_>,
    ) -> (Option<Consulted>, Result<String>) {
        let metrics = &self.oracle.target.metrics;
        let mut account = Account::open(self.holder(question.kong), self.doc.clone(), self.began);
        let limits = Limits { timeouts: self.oracle.timeouts(), whole: self.oracle.timeout, body: LIMIT };
        let fetched = fetch::ask(connections, &self.endpoint, &self.request, limits).await;
        let fetched = match fetched {
            Ok(fetched) => fetched,
            Err(error) => {
                let outcome = error.kind().label();
                metrics.attempt(outcome);
                let account = if self.request.sent.load(Ordering::Relaxed) {
                    account.end(Ending::Broken);
                    Some(account)
                } else {
                    account.cancel();
                    None
                };
                return (Some(self.consulted(account, None, (outcome, None))), Err(unreached(&error)));
            }
        };
        let outcome = outcome(fetched.status, Ending::Complete);
        metrics.attempt(outcome);
        let read = self.read(&fetched, &mut account, question);
        let (model, answer) = match read {
            Ok((model, answer)) => (model, answer),
            Err(error) => (None, Err(error)),
        };
        (Some(self.consulted(Some(account), model, (outcome, Some(fetched.status)))), answer)
    }

    /// The model's name and its answer. What came is metered also where it cannot be used.
    fn read(
        &self,
        fetched: &Fetched,
        account: &mut Account,
        question: &Question<'_>,
    ) -> Result<(Option<String>, Result<String>)> {
        if !(200..300).contains(&fetched.status) {
            account.end(Ending::Refused);
            return Err(failed(&format!("status code {}", fetched.status)));
        }
        let dialect = &self.settled.driver.dialect;
        let call = call(self.settled, &self.doc, &self.model, question);
        let decoded = dialect.reply(&call, fetched.body.clone());
        let Decoded { body, usage, model } = decoded.map_err(|error| unreadable(error.message()))?;
        account.reply(usage, body.clone());
        Ok((model, said(&body, dialect.withheld())))
    }

    fn holder(&self, kong: bool) -> Holder {
        let (target, logging) = (&self.oracle.target, self.settled.conf.logging);
        Holder {
            metrics: target.metrics.clone(),
            price: target.price,
            kong: kong && logging.log_statistics,
            payloads: logging.log_payloads,
            estimate: true,
        }
    }

    fn consulted(
        self,
        mut account: Option<Account>,
        response_model: Option<String>,
        (outcome, status): (&'static str, Option<u16>),
    ) -> Consulted {
        if let Some(account) = &mut account {
            account.settle();
        }
        Consulted {
            began: self.began,
            took: self.began.elapsed(),
            outcome,
            status,
            host: self.settled.address.host.to_string(),
            port: self.settled.address.port,
            options: self.settled.conf.model.options.clone(),
            provider: self.oracle.target.provider,
            model: self.model,
            response_model,
            meta: self.settled.driver.meta.clone(),
            logging: self.settled.conf.logging,
            request: self.doc,
            account,
        }
    }
}

fn call<'a>(settled: &'a Settled, doc: &'a Doc, model: &'a str, question: &Question<'a>) -> Call<'a> {
    let (now, id) = (question.now, question.id);
    Call { conf: &settled.conf, doc, model, stream: false, include_usage: false, now, id }
}

/// The chat, in OpenAI's words. Models that know no system prompt are told it as a user would.
fn chat(question: &Question<'_>, system: bool) -> Result<Doc> {
    #[derive(Serialize)]
    struct Message<'a> {
        role: &'a str,
        content: &'a str,
    }
    let message = |role, content| Message { role, content };
    let asked = message("user", question.text);
    let messages = if system {
        vec![message("system", question.prompt), asked]
    } else {
        vec![message("user", question.prompt), message("assistant", "What is the message?"), asked]
    };
    let mut doc = Doc::empty();
    doc.set("messages", &messages)?;
    doc.set("stream", &false)?;
    Doc::parse(doc.bytes())
}

/// What the model said, from a reply in OpenAI's words.
fn said(body: &Bytes, withheld: &'static str) -> Result<String> {
    #[derive(Deserialize)]
    struct Reply<'a> {
        #[serde(borrow, default)]
        choices: Lenient<Vec<Choice<'a>>>,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Choice<'a> {
        #[serde(borrow)]
        message: Lenient<Message<'a>>,
        #[serde(borrow)]
        finish_reason: Lenient<Text<'a>>,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Message<'a> {
        #[serde(borrow)]
        content: Lenient<Text<'a>>,
    }
    let reply: Reply<'_> =
        serde_json::from_slice(body).map_err(|_| unreadable("failed to decode llm/v1/chat response"))?;
    let choice = reply.choices.0.and_then(|choices| choices.into_iter().next()).unwrap_or_default();
    let content = choice.message.0.and_then(|message| message.content.0).map(|text| text.0.into_owned());
    match content {
        Some(content) if !content.is_empty() => Ok(content),
        _ if choice.finish_reason.0.as_deref() == Some("content_filter") => Err(unreadable(withheld)),
        Some(content) => Ok(content),
        None => Err(Error::new(Kind::Unconsulted, "no 'choices' in upstream AI service response")),
    }
}

fn unreached(error: &Error) -> Error {
    failed(&format!("request to ai service failed: {}", fetch::reason(error)))
}

fn failed(why: &str) -> Error {
    Error::new(Kind::Unconsulted, format!("failed to introspect request with AI service: {why}"))
}

fn unreadable(why: &str) -> Error {
    Error::new(Kind::Unconsulted, format!("failed to convert AI response to Kong format: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_withheld_is_no_answer_and_an_empty_one_is() {
        let said = |choice: &str| {
            let body = Bytes::from(format!(r#"{{"choices":[{choice}]}}"#));
            said(&body, "withheld").map_err(|error| error.message().to_owned())
        };
        let failed = |why: &str| Err(format!("failed to convert AI response to Kong format: {why}"));
        let filtered = r#""finish_reason":"content_filter""#;
        assert_eq!(said(r#"{"message":{"content":"a"}}"#), Ok("a".to_owned()));
        assert_eq!(said(&format!(r#"{{"message":{{"content":"a"}},{filtered}}}"#)), Ok("a".to_owned()));
        assert_eq!(said(&format!(r#"{{"message":{{"content":""}},{filtered}}}"#)), failed("withheld"));
        assert_eq!(said(&format!("{{{filtered}}}")), failed("withheld"));
        assert_eq!(said(r#"{"message":{"content":""},"finish_reason":"stop"}"#), Ok(String::new()));
        let none = Err("no 'choices' in upstream AI service response".to_owned());
        assert_eq!((said("{}"), said("")), (none.clone(), none));
    }
}
