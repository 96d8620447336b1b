//! Answers that are read whole: checked, metered, translated where the dialects differ.

use super::downstream::Downstream;
use super::{Outcome, Try};
use crate::error::{Error, Kind, Result};
use crate::meter::account::Account;
use crate::meter::metrics::Ending;
use crate::provider::Decoded;
use crate::respond::head;
use crate::upstream::attempt::Answer;
use crate::upstream::inflate::Inflate;
use crate::wire::chat;
use bytes::Bytes;
use http::{HeaderValue, header};
use std::borrow::Cow;

/// The largest answer that is held in memory.
pub const LIMIT: usize = 64 * 1024 * 1024;

/// Reads a successful reply, and answers with it in OpenAI's words.
pub async fn reply(
    down: &mut Downstream<'_>,
    current: &Try<'_>,
    mut answer: Answer,
    account: &mut Account,
) -> Result<Outcome> {
    let body = down.to_the_end(std::pin::pin!(answer.whole(LIMIT))).await?;
    let status = answer.status();
    let mut headers = answer.take_headers();
    let coding = headers.get(header::CONTENT_ENCODING).cloned();
    let coding = coding.as_ref().and_then(|value| value.to_str().ok());
    let read = Inflate::all(coding.unwrap_or_default(), &body).and_then(|plain| decode(current, plain));
    let (plain, decoded) = match read {
        Ok(read) => read,
        Err(error) => {
            // It makes no sense, but it is whole: its connection is as good as before.
            answer.done();
            return Err(error);
        }
    };
    account.reply(decoded.usage, decoded.body.clone());
    let model = decoded.model;
    let untouched = same(&decoded.body, &plain);
    // A compressed answer goes on as it came, if the client takes it.
    let packed = untouched && coding.is_some_and(|coding| accepts(down, coding));
    let sent = if packed { body } else { decoded.body };
    if !untouched {
        head::forget_body(&mut headers);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    } else if !packed {
        headers.remove(header::CONTENT_ENCODING);
    }
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(sent.len()));
    let head = current.head(status, headers).map_err(|_| internal())?;
    let outcome = Outcome { status, headers: current.seen(&head), model };
    answer.done();
    down.head(head).await;
    down.body(sent, true).await;
    Ok(outcome)
}

/// The reply in the client's dialect, and the text that it was read from.
pub fn decode(current: &Try<'_>, plain: Bytes) -> Result<(Bytes, Decoded)> {
    let reply = current.settled.driver.dialect.reply(&current.call, plain.clone());
    let operation = current.call.conf.route_type;
    let decoded = reply.map_err(|error| super::encode::untransformed(current.provider, operation, &error))?;
    Ok((plain, decoded))
}

/// Passes an answer on as it is: errors of the provider, and everything of `preserve` routes.
pub async fn pass(
    down: &mut Downstream<'_>,
    current: &Try<'_>,
    mut answer: Answer,
    account: &mut Account,
) -> Result<Outcome> {
    let status = answer.status();
    let mut headers = answer.take_headers();
    let coding = headers.get(header::CONTENT_ENCODING).cloned();
    let coding = coding.as_ref().and_then(|value| value.to_str().ok());
    let mut inflate = match coding {
        Some(coding) if !accepts(down, coding) => Inflate::new(coding),
        _ => None,
    };
    if inflate.is_some() {
        headers.remove(header::CONTENT_ENCODING);
        headers.remove(header::CONTENT_LENGTH);
    }
    if !headers.contains_key(header::CONTENT_LENGTH) && !answer.is_bodiless() {
        current.chunked(down, &mut headers);
    }
    let head = current.head(status, headers).map_err(|_| internal())?;
    let mut outcome = Outcome { status, headers: current.seen(&head), model: None };
    down.head(head).await;
    let mut tap = Tap::default();
    loop {
        let piece = match down.to_the_end(std::pin::pin!(answer.chunk())).await {
            Ok(Some(piece)) => piece,
            Ok(None) => break,
            Err(error) => {
                account.end(Ending::Broken);
                down.cut().await;
                return Err(error);
            }
        };
        let piece = match &mut inflate {
            Some(inflate) => inflate.push(&piece)?,
            None => piece,
        };
        tap.keep(&piece);
        if !piece.is_empty() {
            down.body(piece, false).await;
        }
    }
    down.end().await;
    answer.done();
    if status < 300 {
        let coded = if inflate.is_some() { None } else { coding };
        outcome.model = tap.tell(current, coded, account);
    }
    Ok(outcome)
}

/// Keeps the beginning of an answer, to look for usage in it.
#[derive(Default)]
struct Tap(Vec<u8>);

impl Tap {
    const LIMIT: usize = 16 * 1024 * 1024;

    fn keep(&mut self, piece: &[u8]) {
        if self.0.len() + piece.len() <= Self::LIMIT {
            self.0.extend_from_slice(piece);
        }
    }

    /// Tells the meter what the answer says of itself; gives the model that it names.
    fn tell(self, current: &Try<'_>, coding: Option<&str>, account: &mut Account) -> Option<String> {
        if !current.native {
            let seen = chat::reply_scan(&self.0).unwrap_or_default();
            let read = current.settled.driver.dialect.usage();
            account.reply(seen.usage.map(read).unwrap_or_default(), Bytes::new());
            return seen.model.map(Cow::into_owned);
        }
        let plain = Inflate::all(coding.unwrap_or_default(), &Bytes::from(self.0)).unwrap_or_default();
        // What we cannot read of it is the client's to read all the same.
        let decoded = current.settled.driver.dialect.reply(&current.call, plain).ok();
        let (usage, body, model) =
            decoded.map(|read| (read.usage, read.body, read.model)).unwrap_or_default();
        account.reply(usage, body);
        model
    }
}

/// Tells the meter what a whole answer says of itself that is not translated; gives its model.
pub fn tell(plain: &[u8], current: &Try<'_>, account: &mut Account) -> Option<String> {
    let mut tap = Tap::default();
    tap.keep(plain);
    tap.tell(current, None, account)
}

/// Whether two buffers are one.
fn same(a: &Bytes, b: &Bytes) -> bool {
    a.as_ptr() == b.as_ptr() && a.len() == b.len()
}

/// Whether the client takes a coding.
fn accepts(down: &Downstream<'_>, coding: &str) -> bool {
    let header = down.client.head().headers.get(header::ACCEPT_ENCODING);
    header.and_then(|value| value.to_str().ok()).is_some_and(|value| {
        value.split(',').any(|item| {
            let (name, quality) = item.split_once(';').unwrap_or((item, ""));
            let named = name.trim() == "*" || name.trim().eq_ignore_ascii_case(coding.trim());
            named && quality.replace(' ', "") != "q=0"
        })
    })
}

/// The head could not be built: nothing that a client could do about.
pub fn internal() -> Error {
    Error::new(Kind::Internal, "An unexpected error occurred")
}
