//! The counters as a scraper sees them: those of this process and of all that it has replaced.
//!
//! A process that is still draining is asked anew for every look, so that no look can show less than an
//! earlier one. What it says last is kept for good.

use super::handover::channel::{Channel, Kind};
use crate::log::sink;
use crate::meter::metrics::SERIES;
use crate::meter::metrics::merge::{lasting, merge};
use crate::state::control::Control;
use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use std::io::ErrorKind;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a look waits for the process before: beyond, it shows what that one said last.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often it is asked although nobody looks: what is lost if it is killed.
const PAUSE: Duration = Duration::from_secs(1);

/// The counters.
pub struct Books {
    control: Arc<Control>,
    before: Mutex<Before>,
}

/// What is known of the process before.
#[derive(Default)]
struct Before {
    link: Option<Link>,
    said: String,
}

/// A process that is draining.
struct Link {
    channel: Channel,
    /// Questions without an answer: the answers to them are older than the one that is waited for.
    owed: u32,
}

impl Books {
    /// Books without a past.
    pub fn new(control: Arc<Control>) -> Self {
        Self { control, before: Mutex::default() }
    }

    /// Goes on with the books of the process before, which is asked again until its end.
    pub fn inherit(&self, said: String, channel: Channel) {
        *self.lock() = Before { link: Some(Link { channel, owed: 0 }), said };
    }

    /// The exposition text. This may wait for another process.
    pub fn text(&self) -> String {
        let mut before = self.lock();
        before.look();
        self.control.live().load().publish_targets();
        SERIES.log_dropped.set(i64::try_from(sink::dropped()).unwrap_or(i64::MAX));
        merge(&SERIES.render(), &before.said)
    }

    /// The same for who must not be held up.
    pub async fn read(self: &Arc<Self>) -> String {
        let books = self.clone();
        tokio::task::spawn_blocking(move || books.text()).await.unwrap_or_default()
    }

    /// Asks the process before whether it has said its last.
    pub async fn are_closed(self: &Arc<Self>) -> bool {
        let books = self.clone();
        let look = tokio::task::spawn_blocking(move || {
            let mut before = books.lock();
            before.look();
            before.link.is_none()
        });
        look.await.unwrap_or(true)
    }

    fn lock(&self) -> MutexGuard<'_, Before> {
        self.before.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Before {
    fn look(&mut self) {
        let Some(link) = &mut self.link else { return };
        match link.ask() {
            Ok((Kind::Final, said)) => {
                self.said = lasting(&said);
                self.link = None;
                tracing::info!("the process that was replaced has ended");
            }
            Ok((_, said)) => self.said = said,
            Err(error) if error.kind() == ErrorKind::TimedOut => {}
            Err(error) => {
                tracing::warn!(%error, "the process that was replaced was ended from outside: what it counted last is lost");
                self.said = lasting(&self.said);
                self.link = None;
            }
        }
    }
}

impl Link {
    fn ask(&mut self) -> std::io::Result<(Kind, String)> {
        // A failure to ask does not matter: what it had said by then can still be read.
        if self.channel.send(Kind::Ask, b"").is_ok() {
            self.owed += 1;
        }
        loop {
            let frame = self.channel.receive(PATIENCE)?;
            self.owed = self.owed.saturating_sub(1);
            if frame.kind == Kind::Final || (frame.kind == Kind::Report && self.owed == 0) {
                let said = String::from_utf8(frame.payload).map_err(|_| ErrorKind::InvalidData)?;
                return Ok((frame.kind, said));
            }
        }
    }
}

/// Keeps asking the process before, until it has ended.
pub struct Bookkeeper(pub Arc<Books>);

#[async_trait]
impl BackgroundService for Bookkeeper {
    async fn start(&self, _shutdown: ShutdownWatch) {
        // Also while this process itself drains: its own successor counts on it.
        while !self.0.are_closed().await {
            tokio::time::sleep(PAUSE).await;
        }
    }
}
