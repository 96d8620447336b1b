//! Takes over what other gateways of a fleet change.

use crate::state::control::Control;
use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use std::sync::Arc;
use std::time::Duration;

/// Asks the store for its version, a few bytes, and for the rest when that has changed. Asking finds a
/// change also after the server was away, which a subscription would have to be told in another way.
pub struct Follower {
    /// What changes go through.
    pub control: Arc<Control>,
}

/// Every gateway is to see a change within a second.
const PAUSE: Duration = Duration::from_millis(250);

#[async_trait]
impl BackgroundService for Follower {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                _ = shutdown.changed() => return,
            }
            if let Err(why) = self.control.follow().await
                // That the store is away has been said when it went.
                && self.control.store().is_reachable()
            {
                tracing::error!("{why}");
            }
        }
    }
}
