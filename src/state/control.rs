//! The one way in: a change is made to a copy, the copy is checked as a whole and made ready to
//! serve, kept by the store, and only then put in force. Whoever is told that a change is done finds it
//! on disk and in the next request.

use super::State;
use super::store::{Kept, Store, Unsaved, Version, read};
use crate::config::problems::Problem;
use crate::config::{build, check, vault};
use crate::meter::metrics::SERIES;
use crate::snapshot::Snapshot;
use arc_swap::ArcSwap;
use std::sync::Arc;
use tokio::sync::Mutex;

/// The configuration in force, and who keeps it.
pub struct Control {
    live: Arc<ArcSwap<Snapshot>>,
    state: ArcSwap<State>,
    store: Store,
    /// Of what is in force. Changes come one after the other: each is made to what the one before left.
    version: Mutex<Version>,
    /// What the store kept last and this gateway could not use.
    refused: Mutex<Version>,
}

/// A configuration as entities and made ready to serve.
pub struct Ready {
    /// For the Admin API and the store.
    pub state: State,
    /// For requests.
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
    pub async fn start(
        store: Store,
        first: impl FnOnce() -> Result<Ready, Vec<Problem>>,
    ) -> Result<Self, Vec<Problem>> {
        let (ready, version) = begin(&store, first).await?;
        store.release().await;
        store.copy(&ready.state);
        Ok(Self {
            live: Arc::new(ArcSwap::from_pointee(ready.snapshot)),
            state: ArcSwap::from_pointee(ready.state),
            store,
            version: Mutex::new(version),
            refused: Mutex::default(),
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

    /// Makes a change. `edit` makes the new state out of the one in force; where another gateway was
    /// faster, out of what that one left.
    pub async fn change<T: Send, E: Send>(
        &self,
        edit: impl Fn(&State) -> Result<(State, T), E> + Send + Sync,
    ) -> Result<T, Refusal<E>> {
        let mut version = self.version.lock().await;
        for _ in 0..TRIES {
            let (state, told) = edit(&self.state.load()).map_err(Refusal::Edit)?;
            let ready = Ready::of(state).map_err(|(problems, state)| Refusal::Problems(problems, state))?;
            match self.store.save(&ready.state, &version).await {
                Ok(new) => {
                    *version = new;
                    self.install(ready);
                    return Ok(told);
                }
                Err(Unsaved::ReadOnly) => return Err(Refusal::ReadOnly),
                Err(Unsaved::Failed(why)) => return Err(Refusal::Store(why)),
                Err(Unsaved::Conflict) => self.catch_up(&mut version).await.map_err(Refusal::Store)?,
            }
        }
        Err(Refusal::Store("other gateways keep changing the configuration: try again".to_owned()))
    }

    /// Puts a whole configuration in force that no store keeps: the files anew, or what was posted.
    pub async fn replace(&self, ready: Ready) {
        let _turn = self.version.lock().await;
        self.install(ready);
    }

    /// The same, unless a change is under way.
    pub fn try_replace<E>(&self, make: impl FnOnce() -> Result<Ready, E>) -> Result<(), Refusal<E>> {
        let _turn = self.version.try_lock().map_err(|_| Refusal::Busy)?;
        self.install(make().map_err(Refusal::Edit)?);
        Ok(())
    }

    /// Takes over what another gateway has written since. An error says why it could not be.
    pub async fn follow(&self) -> Result<(), String> {
        let Some(kept) = self.store.version().await? else { return Ok(()) };
        if *self.refused.lock().await == kept {
            return Ok(());
        }
        let mut version = self.version.lock().await;
        if *version == kept {
            return Ok(());
        }
        self.catch_up(&mut version).await
    }

    /// Puts in force what the store keeps now.
    async fn catch_up(&self, version: &mut Version) -> Result<(), String> {
        let Some(kept) = self.store.load().await? else {
            // A server that came back empty has forgotten what is in force here: it stays, and the next
            // change begins anew with it.
            version.clear();
            return Ok(());
        };
        let ready = read(&kept).and_then(|state| Ready::of(state).map_err(|(problems, _)| problems));
        match ready {
            Ok(ready) => {
                *version = kept.version;
                self.install(ready);
                SERIES.reloads.with_label_values(&["ok"]).inc();
                Ok(())
            }
            Err(problems) => {
                *self.refused.lock().await = kept.version;
                SERIES.reloads.with_label_values(&["refused"]).inc();
                let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
                Err(format!("what the store keeps was refused: {}", problems.join("; ")))
            }
        }
    }

    fn install(&self, ready: Ready) {
        self.store.copy(&ready.state);
        self.live.store(Arc::new(ready.snapshot));
        self.state.store(Arc::new(ready.state));
    }
}

/// How often a change starts over before it gives up.
const TRIES: usize = 100;

async fn begin(
    store: &Store,
    first: impl FnOnce() -> Result<Ready, Vec<Problem>>,
) -> Result<(Ready, Version), Vec<Problem>> {
    let told = |message: String| vec![Problem::new("", message)];
    let made = |kept: Kept| {
        let ready = Ready::of(read(&kept)?).map_err(|(problems, _)| problems)?;
        Ok((ready, kept.version))
    };
    if let Some(kept) = store.load_first().await.map_err(told)? {
        return made(kept);
    }
    let ready = first()?;
    match store.save(&ready.state, "").await {
        Ok(version) => Ok((ready, version)),
        Err(Unsaved::ReadOnly) => Ok((ready, Version::new())),
        // Another gateway began at the same time.
        Err(Unsaved::Conflict) => match store.load_first().await.map_err(told)? {
            Some(kept) => made(kept),
            None => Ok((ready, Version::new())),
        },
        Err(Unsaved::Failed(why)) => Err(told(why)),
    }
}
