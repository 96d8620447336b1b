//! What is done for a request, whoever holds its connection: its route is found, its plugins run, and an AI
//! exchange is served whole.

use crate::accept::Client;
use crate::attempts;
use crate::echo;
use crate::edge::Met;
use crate::error::{Error, Kind};
use crate::exchange::{Ends, Exchange, Matched};
use crate::gateway::Gateway;
use crate::listen::connection::Connection;
use crate::phases::{self, Phase};
use crate::plain;
use crate::plugins::Stop;
use crate::respond::{head, local};
use crate::route::{Match, Outcome, Query};
use crate::snapshot::{Entry, Snapshot};
use bytes::Bytes;
use http::header;
use std::pin::pin;

/// A request's route.
pub struct Found {
    /// The route, and what matched.
    pub matched: Matched,
    outcome: Outcome,
}

/// Finds it.
pub fn find(client: &Client<'_>, ends: Ends, snapshot: &Snapshot) -> Option<Found> {
    let request = client.head();
    let target = request.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let query = Query {
        method: request.method.as_str(),
        host: client.host(),
        target,
        headers: &request.headers,
        scheme: attempts::encode::scheme(client, ends),
        sni: Connection::of(client.digest()).and_then(Connection::sni),
        port: ends.server.map_or(80, |address| address.port()),
    };
    let found = snapshot.router().find(&query)?;
    let entry = snapshot.entry(found.index)?.clone();
    // Only a plain route's request goes on under its own path.
    let path = if entry.chain.targets.is_some() { String::new() } else { service_path(&entry, &found) };
    let prefix = (entry.route.strip_path && found.prefix_len > 1).then(|| found.prefix().to_owned());
    Some(Found { matched: Matched { entry, captures: found.captures, path, prefix }, outcome: found.outcome })
}

/// Serves a request, unless it is a plain one: then nothing was answered, and the result is `false`.
pub async fn request(
    gateway: &Gateway,
    client: &mut Client<'_>,
    x: &mut Exchange,
    met: Met,
    found: Option<Found>,
) -> bool {
    (x.client, x.ends) = (met.client, met.ends);
    x.until = gateway.edge.whole.map(|whole| x.begun + whole);
    let served = match met.bounded {
        Ok(()) => gateway.edge.within(pin!(serve(gateway, client, x, found))).await,
        Err(error) => Err(error.into()),
    };
    match served {
        Ok(answered) => answered,
        Err(Stop::Error(error)) => {
            refuse(client, x, error).await;
            true
        }
        Err(Stop::Reply(reply)) => {
            answer(client, x, reply.status, reply.content_type.as_deref(), reply.body).await;
            true
        }
        Err(Stop::Echo(echo)) => {
            let status = echo.status;
            let mut reading = Box::pin(echo::body(gateway.patience, client, x, *echo));
            let body = gateway.edge.within(reading.as_mut()).await;
            drop(reading);
            match body {
                Ok(body) => answer(client, x, status, Some(local::JSON), body).await,
                Err(error) => refuse(client, x, error).await,
            }
            true
        }
    }
}

/// Runs the plugins of plain routes, or serves an AI exchange whole.
async fn serve(
    gateway: &Gateway,
    client: &mut Client<'_>,
    x: &mut Exchange,
    found: Option<Found>,
) -> Result<bool, Stop> {
    let Some(Found { matched, outcome }) = found else {
        return Err(Error::new(Kind::NoRoute, "no Route matched with those values").into());
    };
    let entry = matched.entry.clone();
    x.route = Some(matched);
    if let Outcome::NeedsHttps { status, location } = outcome {
        x.answer.redirect = Some((status, location));
        return Err(Error::new(Kind::NeedsHttps, "Please use HTTPS protocol").into());
    }
    phases::run(&entry, Phase::Head, x, client.head_mut()).await?;
    let chain = entry.chain_of(x.consumer.as_deref());
    if chain.rewrites() && chain.reads_before_rewriting() {
        let why = "a plugin of this route looks for a key in the body, which another one rewrites: \
                   take the key from a header or the query";
        return Err(Error::new(Kind::Unsupported, why).into());
    }
    if chain.targets.is_some() {
        attempts::serve(&gateway.connections, gateway.patience, client, x).await?;
        return Ok(true);
    }
    if chain.reads_prompts() {
        // KONG(kong/llm/plugin): such a plugin edits any request there; here it needs an AI route.
        let why =
            "a plugin of this route edits prompts, but no plugin sends them to a model: add one that does";
        return Err(Error::new(Kind::Unsupported, why).into());
    }
    if entry.upstream.is_none() {
        return Err(Error::new(Kind::NoService, "no Service found with those values").into());
    }
    if chain.rewrites() {
        Box::pin(plain::rewritten::serve(&gateway.connections, gateway.patience, client, x)).await?;
        return Ok(true);
    }
    Ok(false)
}

/// The path to ask the service for.
fn service_path(entry: &Entry, found: &Match<'_>) -> String {
    let service = entry.service.as_ref().and_then(|service| service.path.as_deref());
    found.upstream_path(service, entry.route.strip_path, entry.route.path_handling).into_owned()
}

/// Answers with an error, unless the client has gone or has had part of an answer.
pub async fn refuse(client: &mut Client<'_>, x: &mut Exchange, error: Error) {
    let status = error.status();
    let begun = client.status().is_some();
    if begun || error.kind() == Kind::ClientGone {
        client.close_after();
        if begun {
            // What has gone out must not look complete.
            client.shutdown().await;
        }
        x.answer.status.get_or_insert(status);
        x.answer.error = Some(error);
        return;
    }
    let accept = client.head().headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let page = local::render(&error, x.id.as_str(), accept);
    x.answer.error = Some(error);
    answer(client, x, status, Some(page.content_type), page.body).await;
}

/// Gives an answer of the gateway's own.
async fn answer(
    client: &mut Client<'_>,
    x: &mut Exchange,
    status: u16,
    content_type: Option<&str>,
    body: Bytes,
) {
    let own = x.age_ms();
    let Ok(mut head) = head::local(status, content_type, &body, own, x.id.as_str()) else { return };
    plain::redirect(&mut head, x.answer.redirect.as_ref());
    head::add(&mut head, &x.answer.added);
    x.answer.status = Some(head.status.as_u16());
    x.answer.headers = Some(head.headers.clone());
    let body = (client.head().method != http::Method::HEAD).then_some(body);
    let written = client.answer(head, body.is_none()).await;
    if let (Ok(()), Some(body)) = (written, body) {
        // A client that hangs up during such an answer is nothing to act on.
        let _ = client.piece(body, true).await;
    }
}
