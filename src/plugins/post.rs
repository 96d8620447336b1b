//! Sending batches to an HTTP server, for the plugins whose queue ends at one.

use crate::upstream::attempt::Connections;
use crate::upstream::endpoint::Timeouts;
use crate::upstream::fetch::{Call, Limits, fetch, reason};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Method};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use url::Url;

/// The server, with a small runtime of its own: the thread of the queue drives it.
pub struct Server {
    method: Method,
    url: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// For messages: without user info.
    shown: String,
    limits: Limits,
    running: Option<(Runtime, Arc<Connections>)>,
}

impl Server {
    /// The server at a URL, whose user info becomes a header. The error says which setting is wrong;
    /// `field` is that of the URL.
    pub fn new(field: &str, url: &str, content_type: &str, timeouts: Timeouts) -> Result<Self, String> {
        let mut url = Url::parse(url).map_err(|why| format!("{field}: {why}"))?;
        let content_type = HeaderValue::try_from(content_type).map_err(|why| why.to_string())?;
        let mut headers = vec![(CONTENT_TYPE, content_type)];
        if !url.username().is_empty() || url.password().is_some() {
            let decoded = |text| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
            let user = format!("{}:{}", decoded(url.username()), decoded(url.password().unwrap_or_default()));
            let basic = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(user)));
            let mut basic = basic.map_err(|why| why.to_string())?;
            basic.set_sensitive(true);
            headers.push((AUTHORIZATION, basic));
        }
        let bare = url.set_username("").and_then(|()| url.set_password(None));
        bare.map_err(|()| format!("{field}: must name a host"))?;
        let port = url.port_or_known_default().unwrap_or(80);
        let whole = timeouts.connect.saturating_add(timeouts.write).saturating_add(timeouts.read);
        Ok(Self {
            method: Method::POST,
            shown: format!("{}:{port}", url.host_str().unwrap_or_default()),
            url: url.into(),
            headers,
            limits: Limits { timeouts, whole, body: 1024 * 1024 },
            running: None,
        })
    }

    /// With another method.
    pub fn method(mut self, method: &str) -> Result<Self, String> {
        self.method = Method::from_bytes(method.as_bytes()).map_err(|why| why.to_string())?;
        Ok(self)
    }

    /// With further headers.
    pub fn headers(mut self, headers: Option<&BTreeMap<String, String>>) -> Result<Self, String> {
        for (name, value) in headers.into_iter().flatten() {
            let name = HeaderName::try_from(name)
                .map_err(|_| format!("headers: '{name}' is not the name of a header"))?;
            let value = HeaderValue::try_from(value)
                .map_err(|_| format!("headers.{name}: must not hold control characters"))?;
            self.headers.push((name, value));
        }
        Ok(self)
    }

    /// The same server, for another thread: with connections of its own.
    pub fn another(&self) -> Self {
        Self {
            method: self.method.clone(),
            url: self.url.clone(),
            headers: self.headers.clone(),
            shown: self.shown.clone(),
            limits: self.limits,
            running: None,
        }
    }

    /// Sends one body, and waits for the answer; any status of success will do.
    ///
    /// KONG(plugins/http-log/handler.lua): does not look at the server's certificate; it is verified here.
    pub fn send(&mut self, body: Bytes) -> Result<(), String> {
        let (runtime, connections) = match &mut self.running {
            Some(running) => running,
            none => {
                let runtime = Builder::new_current_thread().enable_all().build();
                let runtime = runtime.map_err(|why| format!("no runtime: {why}"))?;
                none.insert((runtime, Arc::new(Connections::new(1))))
            }
        };
        let (method, url, headers) = (self.method.clone(), self.url.clone(), self.headers.clone());
        let call = Call { method, url, headers, body };
        match runtime.block_on(fetch(connections, call, self.limits)) {
            Ok(fetched) if fetched.status < 300 => Ok(()),
            Ok(fetched) => Err(format!("request to {} returned status code {}", self.shown, fetched.status)),
            Err(error) => Err(format!("failed request to {}: {}", self.shown, reason(&error))),
        }
    }
}

/// Milliseconds, as configurations give them.
pub fn millis(number: f64) -> Duration {
    Duration::from_secs_f64(number.clamp(1.0, 1e9) / 1e3)
}

/// A header that the plugin does not write itself.
pub fn own_header(name: &str) -> Result<(), String> {
    for taken in ["Host", "Content-Length", "Content-Type"] {
        if name.eq_ignore_ascii_case(taken) {
            return Err(format!("cannot contain '{taken}' header"));
        }
    }
    crate::config::formats::header_name(name)
}
