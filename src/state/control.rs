//! The one way in: a change is made to a copy, the copy is checked as a whole and made ready to
//! serve, kept by the store, and only then put in force. Whoever is told that a change is done finds it
//! on disk and in the next request.

use super::State;
use super::store::{Store, Unsaved, read};
use crate::config::problems::Problem;
use crate::config::{build, check, vault};
use crate::snapshot::Snapshot;
use arc_swap::ArcSwap;
use std::sync::Arc;
use tokio::sync::Mutex;

/// The configuration in force, and who keeps it.
pub struct Control {
    live: Arc<ArcSwap<Snapshot>>,
    state: ArcSwap<State>,
    store: Store,
    /// Changes come one after the other: each is made to what the one before left.
    turn: Mutex<()>,
}

/// A configuration as entities and made ready to serve.
pub struct Ready {
    pub state: State,
    pub snapshot: Snapshot,
}

/// Why a change was not made.
pub enum Refusal<E> {
    /// The change itself said no.
    Edit(E),
    /// The configuration that it would have made is not a good one.
    Problems(Vec<Problem>, Box<State>),
    /// The store takes no writes.
    ReadOnly,
    /// The store failed.
    Store(String),
    /// Another change is under way.
    Busy,
}

impl<E> Refusal<Option<E>> {
    /// The same where the change itself has already been looked at.
    pub fn without_edit(self) -> Refusal<E> {
        match self {
            Self::Edit(Some(fault)) => Refusal::Edit(fault),
            Self::Problems(problems, state) => Refusal::Problems(problems, state),
            Self::ReadOnly => Refusal::ReadOnly,
            Self::Store(why) => Refusal::Store(why),
            Self::Edit(None) | Self::Busy => Refusal::Busy,
        }
    }
}

impl Ready {
    /// Makes checked texts ready.
    pub fn read(texts: &[(String, String)]) -> Result<Self, Vec<Problem>> {
        let items = check::check(&check::sources(texts))?;
        let whole: String = texts.iter().map(|(_, text)| text.as_str()).collect();
        let state = State::of(&items).read_from(&whole);
        let snapshot = Snapshot::build(&build::build(items, &vault::process_env)?)?;
        Ok(Self { state, snapshot })
    }

    /// A configuration without entities.
    pub fn empty() -> Result<Self, Vec<Problem>> {
        Self::of(State::default()).map_err(|(problems, _)| problems)
    }

    /// Makes a state ready.
    pub fn of(state: State) -> Result<Self, (Vec<Problem>, Box<State>)> {
        match compile(&state) {
            Ok(snapshot) => Ok(Self { state, snapshot }),
            Err(problems) => Err((problems, Box::new(state))),
        }
    }
}

fn compile(state: &State) -> Result<Snapshot, Vec<Problem>> {
    Snapshot::build(&build::build(check::check_tree(state.tree())?, &vault::process_env)?)
}

impl Control {
    /// Puts the first configuration in force: what the store keeps, or else `first`, which the store
    /// keeps from then on.
    pub fn start(
        store: Store,
        first: impl FnOnce() -> Result<Ready, Vec<Problem>>,
    ) -> Result<Self, Vec<Problem>> {
        let told = |message: String| vec![Problem::new("", message)];
        let ready = if let Some((name, text)) = store.load().map_err(told)? {
            Ready::of(read(&name, &text)?).map_err(|(problems, _)| problems)?
        } else {
            let ready = first()?;
            match store.save(&ready.state) {
                Err(Unsaved::Failed(why)) => return Err(told(why)),
                Ok(()) | Err(Unsaved::ReadOnly) => ready,
            }
        };
        Ok(Self {
            live: Arc::new(ArcSwap::from_pointee(ready.snapshot)),
            state: ArcSwap::from_pointee(ready.state),
            store,
            turn: Mutex::new(()),
        })
    }

    /// What requests are served by.
    pub fn live(&self) -> &Arc<ArcSwap<Snapshot>> {
        &self.live
    }

    /// The entities in force.
    pub fn state(&self) -> Arc<State> {
        self.state.load_full()
    }

    /// Who keeps them.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Makes a change. `edit` makes the new state out of the one in force.
    pub async fn change<T, E>(
        &self,
        edit: impl Fn(&State) -> Result<(State, T), E>,
    ) -> Result<T, Refusal<E>> {
        let _turn = self.turn.lock().await;
        let (state, told) = edit(&self.state.load()).map_err(Refusal::Edit)?;
        let ready = Ready::of(state).map_err(|(problems, state)| Refusal::Problems(problems, state))?;
        self.store.save(&ready.state).map_err(|unsaved| match unsaved {
            Unsaved::ReadOnly => Refusal::ReadOnly,
            Unsaved::Failed(why) => Refusal::Store(why),
        })?;
        self.install(ready);
        Ok(told)
    }

    /// Puts a whole configuration in force that no store keeps: the files anew, or what was posted.
    pub async fn replace(&self, ready: Ready) {
        let _turn = self.turn.lock().await;
        self.install(ready);
    }

    /// The same, unless a change is under way.
    pub fn try_replace<E>(&self, make: impl FnOnce() -> Result<Ready, E>) -> Result<(), Refusal<E>> {
        let _turn = self.turn.try_lock().map_err(|_| Refusal::Busy)?;
        self.install(make().map_err(Refusal::Edit)?);
        Ok(())
    }

    fn install(&self, ready: Ready) {
        self.live.store(Arc::new(ready.snapshot));
        self.state.store(Arc::new(ready.state));
    }
}
