//! The questions, and what was answered by a flag, a person or nobody.

use super::Init;
use crate::error::Result as Fetching;
use crate::provider::offer::{Access, OFFERS, Offer};
use crate::upstream::attempt::Connections;
use crate::upstream::endpoint::Timeouts;
use crate::upstream::fetch::{Call, Fetched, Limits, fetch};
use bytes::Bytes;
use http::Method;
use std::io::{BufRead, Write};
use std::sync::Arc;
use std::time::Duration;

/// One provider that is to be served.
pub struct Answers {
    /// Who.
    pub offer: &'static Offer,
    /// Its key, or the address of the local model.
    pub access: String,
    /// The one to be served.
    pub model: String,
    /// Further ones, by name.
    pub options: Vec<(String, String)>,
    /// Of a million tokens, in and out.
    pub price: Option<(f64, f64)>,
}

/// Who is asked, and what was said already.
pub struct Asker<'a> {
    /// What was said already.
    pub flags: &'a Init,
    /// Where answers come from.
    pub input: &'a mut dyn BufRead,
    /// Where questions go.
    pub output: &'a mut dyn Write,
}

/// The offer of that provider.
pub fn offer(provider: &str) -> Option<&'static Offer> {
    OFFERS.iter().find(|offer| offer.provider == provider)
}

/// The names of all of them.
pub fn names() -> String {
    OFFERS.iter().map(|offer| offer.provider).collect::<Vec<_>>().join(", ")
}

impl Asker<'_> {
    /// The answers for each provider that is wanted.
    pub fn ask_all(&mut self) -> Result<Vec<Answers>, String> {
        let mut chosen = Vec::new();
        for offer in OFFERS {
            if let Some(answers) = self.ask_of(offer)? {
                chosen.push(answers);
            }
        }
        Ok(chosen)
    }

    fn ask_of(&mut self, offer: &'static Offer) -> Result<Option<Answers>, String> {
        let (given, question) = match offer.access {
            Access::Key { .. } => (&self.flags.keys, format!("Key of {} (empty: without it)", offer.title)),
            Access::Address(example) => {
                (&self.flags.urls, format!("Address of {}, like {example} (empty: without it)", offer.title))
            }
        };
        let access = find(given, offer.provider);
        let Some(access) = self.answer(access, &question)? else { return Ok(None) };
        if let Access::Address(_) = offer.access {
            self.probe(&access)?;
        }
        let mut options: Vec<(String, String)> =
            offer.options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let prefix = format!("{}.", offer.provider);
        for (name, value) in &self.flags.options {
            if let Some(name) = name.strip_prefix(&prefix) {
                options.retain(|(other, _)| other != name);
                options.push((name.to_owned(), value.clone()));
            }
        }
        for (option, what) in offer.asks {
            if find(&options, option).is_none() {
                let question = format!("{}: {what}", offer.title);
                let answer = self.answer(None, &question)?;
                let missing = || format!("{}: --option {prefix}{option}=… is missing", offer.title);
                options.push(((*option).to_owned(), answer.ok_or_else(missing)?));
            }
        }
        let model = find(&self.flags.models, offer.provider).unwrap_or_else(|| offer.model.to_owned());
        let question = format!("Prices of a million tokens of {model}, INPUT,OUTPUT (empty: unpriced)");
        let price = self.answer(find(&self.flags.prices, offer.provider), &question)?;
        let price = price.map(|text| prices(&text)).transpose()?;
        Ok(Some(Answers { offer, access, model, options, price }))
    }

    /// What was said already, or what is said now; nothing counts as no answer.
    fn answer(&mut self, given: Option<String>, question: &str) -> Result<Option<String>, String> {
        let text = match given {
            Some(text) => text,
            None if self.flags.yes => return Ok(None),
            None => {
                let asked = write!(self.output, "{question}: ").and_then(|()| self.output.flush());
                asked.map_err(|error| error.to_string())?;
                let mut line = String::new();
                self.input.read_line(&mut line).map_err(|error| error.to_string())?;
                line
            }
        };
        Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty()))
    }

    /// Whether something answers at an address: any answer will do.
    fn probe(&mut self, url: &str) -> Result<(), String> {
        crate::config::formats::http_url(url).map_err(|why| format!("'{url}': {why}"))?;
        let found = match knock(url) {
            Ok(_) => format!("{url} answers"),
            Err(why) => format!("{url} does not answer yet ({}): start it before you ask", why.message()),
        };
        writeln!(self.output, "{found}").map_err(|error| error.to_string())
    }
}

fn knock(url: &str) -> Fetching<Fetched> {
    const PATIENCE: Duration = Duration::from_secs(2);
    let timeouts = Timeouts { connect: PATIENCE, read: PATIENCE, write: PATIENCE };
    let limits = Limits { timeouts, whole: PATIENCE, body: 1024 * 1024 };
    let call = Call { method: Method::GET, url: url.to_owned(), headers: Vec::new(), body: Bytes::new() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let failed =
        |error: std::io::Error| crate::error::Error::new(crate::error::Kind::Internal, error.to_string());
    runtime.map_err(failed)?.block_on(fetch(&Arc::new(Connections::new(1)), call, limits))
}

fn find(pairs: &[(String, String)], name: &str) -> Option<String> {
    pairs.iter().find(|(other, _)| other == name).map(|(_, value)| value.clone())
}

fn prices(text: &str) -> Result<(f64, f64), String> {
    let number = |text: &str| text.trim().parse::<f64>().ok().filter(|price| *price > 0.0);
    let both = text.split_once(',').and_then(|(input, output)| Some((number(input)?, number(output)?)));
    both.ok_or_else(|| format!("'{text}' is not a price: it is written INPUT,OUTPUT, as in 0.15,0.6"))
}
