//! Where the configuration is kept between two runs, and who may change it.

use super::State;
use super::directory::Directory;
use super::redis::Redis;
use crate::config::check;
use crate::config::problems::Problem;
use crate::meter::metrics::SERIES;
use serde_json::Value;
use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};

/// A place that keeps the configuration.
pub struct Store {
    place: Place,
    /// Whether it answered when it was last asked.
    reachable: AtomicBool,
}

enum Place {
    /// The configuration files, which the gateway does not write.
    Files,
    /// A directory of this machine.
    Directory(Directory),
    /// A server for a whole fleet, and a copy for a start without it.
    Fleet { redis: Box<Redis>, copy: Option<Directory> },
}

/// What is kept has a version; a write names the one that it is based on. Empty: nothing, or what only
/// this gateway knows.
pub type Version = String;

/// What a store keeps.
#[derive(Debug, PartialEq, Eq)]
pub struct Kept {
    /// Where it comes from, for problems.
    pub name: String,
    /// A declarative configuration.
    pub text: String,
    /// Of what is kept: another for every change.
    pub version: Version,
}

/// Why a write did not happen.
#[derive(Debug, PartialEq, Eq)]
pub enum Unsaved {
    /// The store takes no writes.
    ReadOnly,
    /// Another gateway was faster.
    Conflict,
    /// The store failed: what went wrong.
    Failed(String),
}

impl Store {
    /// The store that a run asks for. `held`: the lock of its directory, from the process before.
    pub fn open(
        url: Option<&str>,
        directory: Option<&std::path::Path>,
        held: Option<File>,
    ) -> Result<Self, String> {
        let directory = directory.map(|path| Directory::open(path, held)).transpose()?;
        let place = match (url, directory) {
            (Some(url), copy) => Place::Fleet { redis: Box::new(Redis::open(url)?), copy },
            (None, Some(directory)) => Place::Directory(directory),
            (None, None) => Place::Files,
        };
        Ok(Self { place, reachable: AtomicBool::new(true) })
    }

    /// The lock of its directory, if it has one.
    pub fn lock(&self) -> Option<&File> {
        match &self.place {
            Place::Files | Place::Fleet { copy: None, .. } => None,
            Place::Directory(directory) | Place::Fleet { copy: Some(directory), .. } => {
                Some(directory.lock())
            }
        }
    }

    /// Its name in `/` and `/status`.
    pub fn name(&self) -> &'static str {
        match self.place {
            Place::Files => "off",
            Place::Directory(_) => "directory",
            Place::Fleet { .. } => "redis",
        }
    }

    /// Whether it takes writes.
    pub fn is_writable(&self) -> bool {
        !matches!(self.place, Place::Files)
    }

    /// Whether others write to it, too.
    pub fn is_shared(&self) -> bool {
        matches!(self.place, Place::Fleet { .. })
    }

    /// Whether it answered when it was last asked.
    pub fn is_reachable(&self) -> bool {
        self.reachable.load(Ordering::Relaxed)
    }

    /// What it keeps; nothing if nothing was ever written.
    pub async fn load(&self) -> Result<Option<Kept>, String> {
        match &self.place {
            Place::Files => Ok(None),
            Place::Directory(directory) => directory.load(),
            Place::Fleet { redis, .. } => self.note(redis.load().await),
        }
    }

    /// The same at the start of the process, where the copy has to do if the server is away.
    pub async fn load_first(&self) -> Result<Option<Kept>, String> {
        let loaded = self.load().await;
        let Place::Fleet { copy, .. } = &self.place else { return loaded };
        let (Err(why), Some(copy)) = (&loaded, copy) else { return loaded };
        let kept = copy.load()?;
        if kept.is_none() {
            return loaded;
        }
        tracing::warn!("{why}; the copy of its last configuration is served");
        Ok(kept)
    }

    /// Lets go of what belongs to the runtime that asked so far.
    pub async fn release(&self) {
        if let Place::Fleet { redis, .. } = &self.place {
            redis.forget().await;
        }
    }

    /// The version of what it keeps.
    pub async fn version(&self) -> Result<Option<Version>, String> {
        match &self.place {
            Place::Files | Place::Directory(_) => Ok(None),
            Place::Fleet { redis, .. } => self.note(redis.version().await),
        }
    }

    /// Keeps a state; when this returns, it survives the process and the machine.
    pub async fn save(&self, state: &State, based_on: &str) -> Result<Version, Unsaved> {
        match &self.place {
            Place::Files => Err(Unsaved::ReadOnly),
            Place::Directory(directory) => {
                directory.save(&text(state)).map(|()| Version::new()).map_err(Unsaved::Failed)
            }
            Place::Fleet { redis, .. } => {
                let saved = redis.save(&text(state), based_on).await;
                self.reachable(!matches!(saved, Err(Unsaved::Failed(_))));
                saved
            }
        }
    }

    /// Copies what is in force, for a start without the server.
    pub fn copy(&self, state: &State) {
        if let Place::Fleet { copy: Some(copy), .. } = &self.place
            && let Err(why) = copy.save(&text(state))
        {
            tracing::warn!("the copy of the configuration is old: {why}");
        }
    }

    fn note<T>(&self, answer: Result<T, String>) -> Result<T, String> {
        self.reachable(answer.is_ok());
        answer
    }

    fn reachable(&self, is: bool) {
        SERIES.datastore.set(i64::from(is));
        match (self.reachable.swap(is, Ordering::Relaxed), is) {
            (true, false) => tracing::error!("the store is away: the last configuration stays in force"),
            (false, true) => tracing::info!("the store is back"),
            _ => {}
        }
    }
}

fn text(state: &State) -> String {
    Value::Object(state.tree()).to_string()
}

/// Reads what a store keeps, which is a declarative configuration like any other.
pub fn read(kept: &Kept) -> Result<State, Vec<Problem>> {
    let items = check::check(&check::sources(&[(kept.name.clone(), kept.text.clone())]))?;
    Ok(State::of(&items))
}
