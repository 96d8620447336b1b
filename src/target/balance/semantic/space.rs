//! The descriptions of targets as vectors, with the model that made them.
//!
//! They are made beside the requests, by a service of the process, and kept while any configuration in
//! force compares prompts with the same texts by the same model: also over a reload.

use crate::error::{Error, Kind, Result};
use crate::target::embed::Model;
use crate::target::fingerprint::Fingerprint;
use crate::upstream::attempt::Connections;
use arc_swap::ArcSwapOption;
use once_cell::sync::Lazy;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::sync::Notify;

/// Some texts and their vectors.
pub struct Space {
    /// Who makes them.
    pub model: Model,
    texts: Vec<String>,
    vectors: ArcSwapOption<Vec<Vec<f32>>>,
}

impl Space {
    /// Without its vectors.
    pub fn new(conf: &Value, dimensions: u32, texts: Vec<String>) -> Result<Self> {
        Ok(Self { model: Model::load(conf, dimensions)?, texts, vectors: ArcSwapOption::empty() })
    }

    /// The texts' vectors, in their order; `None` until they are made.
    pub fn vectors(&self) -> Option<Arc<Vec<Vec<f32>>>> {
        self.vectors.load_full()
    }

    /// Makes the vectors.
    pub async fn fill(&self, connections: &Arc<Connections>) -> Result<()> {
        let mut vectors: Vec<Vec<f32>> = Vec::with_capacity(self.texts.len());
        for text in &self.texts {
            let vector = self.model.stored(connections, text).await?;
            if vectors.first().is_some_and(|first| first.len() != vector.len()) {
                return Err(Error::new(
                    Kind::BadReply,
                    "the embeddings model makes vectors of different lengths",
                ));
            }
            vectors.push(vector);
        }
        self.vectors.store(Some(Arc::new(vectors)));
        Ok(())
    }
}

/// All spaces that a configuration in force uses.
pub static SPACES: Lazy<Spaces> = Lazy::new(Spaces::default);

/// Spaces by what they are made of. One that no balancer uses any more is forgotten.
#[derive(Default)]
pub struct Spaces {
    all: Mutex<HashMap<Fingerprint, Weak<Space>>>,
    /// Those that nobody has begun to fill.
    fresh: Mutex<Vec<Weak<Space>>>,
    added: Notify,
}

impl Spaces {
    /// The space of these texts by that model; made if there is none yet.
    pub fn shared(&self, conf: &Value, dimensions: u32, texts: Vec<String>) -> Result<Arc<Space>> {
        let print = Fingerprint::of(&json!([conf, dimensions, texts]));
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.get(&print).and_then(Weak::upgrade) {
            return Ok(known);
        }
        all.retain(|_, space| space.strong_count() > 0);
        let space = Arc::new(Space::new(conf, dimensions, texts)?);
        all.insert(print, Arc::downgrade(&space));
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&space));
        self.added.notify_one();
        Ok(space)
    }

    /// Takes those that are still to be filled.
    pub fn fresh(&self) -> Vec<Weak<Space>> {
        std::mem::take(&mut *self.fresh.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until there is a new one.
    pub async fn added(&self) {
        self.added.notified().await;
    }
}
