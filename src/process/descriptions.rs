//! Has the descriptions of targets embedded, as soon as a configuration has them.

use crate::target::balance::semantic::space::{SPACES, Space};
use crate::upstream::attempt::Connections;
use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::task::JoinSet;

/// How long to wait after a failure: doubled with each, up to the second.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// The service.
pub struct DescriptionKeeper {
    connections: Arc<Connections>,
}

impl Default for DescriptionKeeper {
    fn default() -> Self {
        // Its own few connections: they belong to its own runtime.
        Self { connections: Arc::new(Connections::new(4)) }
    }
}

#[async_trait]
impl BackgroundService for DescriptionKeeper {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let mut under_way = JoinSet::new();
        loop {
            for space in SPACES.fresh() {
                under_way.spawn(fill(self.connections.clone(), space));
            }
            tokio::select! {
                () = SPACES.added() => {}
                Some(_) = under_way.join_next() => {}
                _ = shutdown.changed() => return,
            }
        }
    }
}

/// Tries until it succeeds, or nobody wants the vectors any more.
async fn fill(connections: Arc<Connections>, space: Weak<Space>) {
    let mut wait = BACKOFF.0;
    while let Some(space) = space.upgrade() {
        match space.fill(&connections).await {
            Ok(()) => return,
            Err(error) => tracing::error!("the descriptions of targets have no embeddings yet: {error}"),
        }
        // Not held while waiting: a reload may let go of it.
        drop(space);
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(BACKOFF.1);
    }
}
