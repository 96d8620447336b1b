//! Where the configuration is kept between two runs, and who may change it.

use super::State;
use super::directory::Directory;
use crate::config::check;
use crate::config::problems::Problem;
use serde_json::Value;

/// A place that keeps the configuration.
pub enum Store {
    /// The configuration files, which the gateway does not write.
    Files,
    /// A directory of this machine.
    Directory(Directory),
}

/// What was read or written has this mark; a write names the mark that it is based on.
pub type Version = u64;

/// Why a write did not happen.
#[derive(Debug)]
pub enum Unsaved {
    /// The store takes no writes.
    ReadOnly,
    /// The store failed: what went wrong.
    Failed(String),
}

impl Store {
    /// Its name in `/` and `/status`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Files => "off",
            Self::Directory(_) => "directory",
        }
    }

    /// Whether it takes writes.
    pub fn is_writable(&self) -> bool {
        !matches!(self, Self::Files)
    }

    /// What it keeps; nothing if nothing was ever written.
    pub fn load(&self) -> Result<Option<(String, String)>, String> {
        match self {
            Self::Files => Ok(None),
            Self::Directory(directory) => directory.load(),
        }
    }

    /// Keeps a state; when this returns, it survives the process and the machine.
    pub fn save(&self, state: &State) -> Result<(), Unsaved> {
        let text = || Value::Object(state.tree()).to_string();
        match self {
            Self::Files => Err(Unsaved::ReadOnly),
            Self::Directory(directory) => directory.save(&text()).map_err(Unsaved::Failed),
        }
    }
}

/// Reads what a store keeps, which is a declarative configuration like any other.
pub fn read(name: &str, text: &str) -> Result<State, Vec<Problem>> {
    let items = check::check(&check::sources(&[(name.to_owned(), text.to_owned())]))?;
    Ok(State::of(&items))
}
