//! Certificates and their keys, from files and from the configuration, chosen by the name that a client asks for.
//!
//! Files are read again when they have changed; what is broken then leaves what was there in force.
//! Nothing of a key is ever shown: errors name files.

use super::pem::{self, Wrong};
use arc_swap::ArcSwap;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use serde::Deserialize;
use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// A certificate's files.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pair {
    /// The certificate and those that it rests on, in PEM.
    pub cert: PathBuf,
    /// Its key, in PEM.
    pub key: PathBuf,
}

/// Certificates by name.
#[derive(Debug, Default)]
pub struct Named {
    exact: HashMap<String, Arc<CertifiedKey>>,
    /// By what follows `*.`.
    below: HashMap<String, Arc<CertifiedKey>>,
    /// By what goes before `.*`.
    above: HashMap<String, Arc<CertifiedKey>>,
    /// The one for `*`: whoever else asks.
    rest: Option<Arc<CertifiedKey>>,
    first: Option<Arc<CertifiedKey>>,
}

impl Named {
    /// Of two for one name the first in the list is served.
    pub fn new(all: &[(Vec<String>, Arc<CertifiedKey>)]) -> Self {
        let mut named = Self { first: all.first().map(|(_, key)| key.clone()), ..Self::default() };
        for (names, key) in all.iter().rev() {
            for name in names {
                let name = name.to_ascii_lowercase();
                if name == "*" {
                    named.rest = Some(key.clone());
                } else if let Some(parent) = name.strip_prefix("*.") {
                    named.below.insert(parent.to_owned(), key.clone());
                } else if let Some(start) = name.strip_suffix(".*") {
                    named.above.insert(start.to_owned(), key.clone());
                } else {
                    named.exact.insert(name, key.clone());
                }
            }
        }
        named
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    fn find(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        let below = || name.split_once('.').and_then(|(_, parent)| self.below.get(parent));
        let above = || name.rsplit_once('.').and_then(|(start, _)| self.above.get(start));
        self.exact.get(name).or_else(below).or_else(above)
    }
}

/// Gives the certificates of the configuration in force.
pub type Declared = Box<dyn Fn() -> Arc<Named> + Send + Sync>;

/// All certificates: those of files, and those that the configuration declares, which come first.
pub struct Shelf {
    pairs: Vec<Pair>,
    /// What the files held when they were last looked at.
    read: Mutex<Vec<Vec<u8>>>,
    served: ArcSwap<Named>,
    declared: Declared,
}

impl Shelf {
    /// Reads all files; an error names the first that is wrong.
    pub fn open(pairs: &[Pair], declared: Declared) -> Result<Self, String> {
        let read = contents(pairs)?;
        let served = ArcSwap::from_pointee(served(pairs, &read)?);
        Ok(Self { pairs: pairs.to_vec(), read: Mutex::new(read), served, declared })
    }

    /// Looks at the files again. `true`: they have changed, and what they hold now is in force.
    ///
    /// An error is given once for each state of the files.
    pub fn refresh(&self) -> Result<bool, String> {
        let now = contents(&self.pairs)?;
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if *read == now {
            return Ok(false);
        }
        let made = served(&self.pairs, &now);
        *read = now;
        self.served.store(Arc::new(made?));
        Ok(true)
    }

    /// The one for a name; else the one for all others, the first file's, the first at all.
    fn find(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let (declared, served) = ((self.declared)(), self.served.load());
        let name = name.map(str::to_ascii_lowercase);
        let found = name.as_deref().and_then(|name| declared.find(name).or_else(|| served.find(name)));
        let other = || declared.rest.as_ref().or(served.first.as_ref()).or(declared.first.as_ref());
        found.or_else(other).cloned()
    }
}

impl ResolvesServerCert for Shelf {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.find(hello.server_name())
    }
}

impl fmt::Debug for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shelf").field("pairs", &self.pairs).finish_non_exhaustive()
    }
}

fn contents(pairs: &[Pair]) -> Result<Vec<Vec<u8>>, String> {
    let files = pairs.iter().flat_map(|pair| [&pair.cert, &pair.key]);
    files.map(|path| std::fs::read(path).map_err(|error| told(path, &error.to_string()))).collect()
}

fn served(pairs: &[Pair], read: &[Vec<u8>]) -> Result<Named, String> {
    let mut all = Vec::with_capacity(pairs.len());
    for (pair, files) in pairs.iter().zip(read.chunks_exact(2)) {
        let [cert, key] = files else { continue };
        let made = pem::certify(cert, key).and_then(|key| Ok((pem::names(&key)?, key)));
        all.push(made.map_err(|wrong| match wrong {
            Wrong::OtherKey => told(&pair.key, &format!("{wrong} in {}", pair.cert.display())),
            _ if wrong.is_of_key() => told(&pair.key, &wrong.to_string()),
            _ => told(&pair.cert, &wrong.to_string()),
        })?);
    }
    Ok(Named::new(&all))
}

fn told(path: &Path, what: &str) -> String {
    format!("{}: {what}", path.display())
}
