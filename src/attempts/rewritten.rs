//! Answers that a plugin rewrites: read whole, put into the client's words, handed to the plugin.

use super::collect::{self, LIMIT, internal};
use super::downstream::Downstream;
use super::{Outcome, Try};
use crate::config::target::Operation;
use crate::error::Result;
use crate::exchange::Exchange;
use crate::meter::account::Account;
use crate::meter::metrics::Ending;
use crate::phases;
use crate::plugins::Whole;
use crate::respond::head;
use crate::upstream::attempt::{Answer, Connections};
use crate::upstream::fetch;
use http::{HeaderMap, HeaderValue, header};
use pingora::http::ResponseHeader;
use std::sync::Arc;

/// Collects an answer, lets the plugins rewrite it, and gives it to the client.
pub async fn respond(
    down: &mut Downstream<'_>,
    current: &Try<'_>,
    answer: Answer,
    account: &mut Account,
    (connections, x): (&Arc<Connections>, &mut Exchange),
) -> Result<Outcome> {
    let (whole, model) = gather(down, current, answer, account).await?;
    // The exchange with the provider ends here: what the plugins wait for is not its time.
    account.settle();
    let request = down.client.head().clone();
    let whole = phases::rewrite_answer(connections, &request, x, whole).await?;
    let head = head(&whole).map_err(|_| internal())?;
    let outcome = Outcome { status: whole.status, headers: current.seen(&head), model };
    send(down, head, whole).await;
    Ok(outcome)
}

/// The whole answer as the client would have got it, and the model that gave it.
async fn gather(
    down: &mut Downstream<'_>,
    current: &Try<'_>,
    answer: Answer,
    account: &mut Account,
) -> Result<(Whole, Option<String>)> {
    let success = (200..300).contains(&answer.status());
    if !success {
        account.end(Ending::Refused);
    }
    let fetched = down.to_the_end(Box::pin(fetch::whole(answer, LIMIT))).await?;
    let untranslated = current.native || current.settled.operation() == Operation::Preserve;
    let (body, model) = if !success || fetched.body.is_empty() {
        (fetched.body, None)
    } else if untranslated {
        let model = collect::tell(&fetched.body, current, account);
        (fetched.body, model)
    } else {
        let (_, decoded) = collect::decode(current, fetched.body)?;
        account.reply(decoded.usage, decoded.body.clone());
        (decoded.body, decoded.model)
    };
    let translated = success && !untranslated;
    let mut headers = fetched.headers;
    if translated {
        head::forget_body(&mut headers);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    let head = current.head(fetched.status, headers).map_err(|_| internal())?;
    Ok((Whole { status: fetched.status, headers: unframed(head.headers.clone()), body }, model))
}

/// Headers without what spoke of the body as it came.
pub fn unframed(mut headers: HeaderMap) -> HeaderMap {
    for name in [header::CONTENT_LENGTH, header::CONTENT_ENCODING, header::TRANSFER_ENCODING, header::ETAG] {
        headers.remove(name);
    }
    headers
}

/// The head of an answer that has been rewritten.
pub fn head(whole: &Whole) -> pingora::Result<ResponseHeader> {
    let mut head = ResponseHeader::build_no_case(whole.status, Some(whole.headers.len() + 1))?;
    for (name, value) in &whole.headers {
        head.append_header(name.clone(), value.clone())?;
    }
    if !matches!(whole.status, 204 | 304) {
        head.insert_header(header::CONTENT_LENGTH, whole.body.len())?;
    }
    Ok(head)
}

/// Gives it to the client.
pub async fn send(down: &mut Downstream<'_>, mut head: ResponseHeader, whole: Whole) {
    let asked_for_head = down.client.head().method == http::Method::HEAD;
    if asked_for_head {
        // Of a body that did not come nobody knows the length.
        head.remove_header(&header::CONTENT_LENGTH);
    }
    let bodiless = asked_for_head || matches!(whole.status, 204 | 304);
    down.head(head).await;
    if bodiless || whole.body.is_empty() {
        down.end().await;
    } else {
        down.body(whole.body, true).await;
    }
}
