//! A request for a target, on its way to the wire: the key, the token or the signature go in, and
//! the head is written. Where it comes from, a client or the gateway itself, does not matter here.

use super::Settled;
use crate::error::Result;
use crate::provider::Call;
use crate::provider::auth::Unsigned;
use crate::upstream::attempt::Request;
use crate::upstream::head::{self, Forwarded, Parts};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

/// What stands around the body.
pub struct Letter<'a> {
    /// The target, as this request sees it.
    pub settled: &'a Settled,
    /// What the dialect was told.
    pub call: &'a Call<'a>,
    /// The upstream's.
    pub method: &'a Method,
    /// The client's headers and query, which go along but for the target's own.
    pub headers: &'a HeaderMap,
    /// The client's, as it is passed on.
    pub query: &'a str,
    /// What the upstream is told of the client, if it is.
    pub forwarded: Option<Forwarded<'a>>,
    /// It goes to a proxy, which has to be told the host.
    pub whole_url: bool,
}

impl Letter<'_> {
    /// The whole request, and the path it goes to. `path` may end in a query of its own.
    pub fn seal(
        self,
        path: &str,
        mut headers: Vec<(HeaderName, HeaderValue)>,
        body: Bytes,
    ) -> Result<(Request, String)> {
        let Self { settled, call, .. } = self;
        let body = if call.doc.is_opaque() { body } else { settled.auth.body(call.doc, body)? };
        self.identify(&mut headers)?;
        let query = settled.auth.query(self.query);
        let (path, own_query) = path.split_once('?').unwrap_or((path, ""));
        let given = [own_query, settled.address.query.as_deref().unwrap_or_default(), &*query];
        let [first, second, third] = given;
        let pieces = [first, second, third, settled.driver.own_pair(&given)];
        if let Some(signer) = &settled.driver.signer {
            let query = pieces.map(head::escaped);
            let proof = signer.sign(&Unsigned {
                method: self.method,
                host: &settled.address.authority,
                path: &head::escaped(path),
                query: &query.each_ref().map(String::as_str),
                headers: &headers,
                body: &body,
                now: call.now,
            })?;
            headers.retain(|(name, _)| !proof.iter().any(|(other, _)| other == name));
            headers.extend(proof);
        }
        let authority = &settled.address.authority;
        let whole = self.whole_url.then(|| format!("http://{authority}{path}"));
        let parts = Parts {
            method: self.method,
            path: whole.as_deref().unwrap_or(path),
            query: &pieces,
            host: authority,
            client: self.headers,
            own: &headers,
            withheld: settled.driver.signer.as_ref().and_then(|signer| signer.withheld()),
            length: body.len(),
            forwarded: self.forwarded,
        };
        Ok((Request::new(head::write(&parts), body), path.to_owned()))
    }

    /// Puts the key or the token in.
    fn identify(&self, headers: &mut Vec<(HeaderName, HeaderValue)>) -> Result<()> {
        if let Some((name, value)) = self.settled.auth.header(self.headers) {
            headers.retain(|(other, _)| other != name);
            headers.push((name.clone(), value.clone()));
        }
        if let Some(token) = self.settled.driver.dialect.identity() {
            headers.retain(|(other, _)| *other != header::AUTHORIZATION);
            headers.push((header::AUTHORIZATION, token.header()?));
        }
        Ok(())
    }
}
