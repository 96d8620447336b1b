//! Certificates and their keys, from files, chosen by the name that a client asks for.
//!
//! Files are read again when they have changed; what is broken then leaves what was there in force.
//! Nothing of a key is ever shown: errors name files.

use arc_swap::ArcSwap;
use rustls::crypto::ring;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
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

/// All certificates.
pub struct Shelf {
    pairs: Vec<Pair>,
    /// What the files held when they were last looked at.
    read: Mutex<Vec<Vec<u8>>>,
    served: ArcSwap<Served>,
}

/// The certificates by name. The first of all is for clients that name none, or one that we do not have.
#[derive(Debug)]
struct Served {
    exact: HashMap<String, Arc<CertifiedKey>>,
    /// By what follows `*.`.
    below: HashMap<String, Arc<CertifiedKey>>,
    first: Arc<CertifiedKey>,
}

impl Shelf {
    /// Reads all files; an error names the first that is wrong.
    pub fn open(pairs: &[Pair]) -> Result<Self, String> {
        let read = contents(pairs)?;
        let served = ArcSwap::from_pointee(served(pairs, &read)?);
        Ok(Self { pairs: pairs.to_vec(), read: Mutex::new(read), served })
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

    fn find(&self, name: Option<&str>) -> Arc<CertifiedKey> {
        let served = self.served.load();
        let name = name.map(str::to_ascii_lowercase);
        let found = name.as_deref().and_then(|name| {
            let below = name.split_once('.').and_then(|(_, parent)| served.below.get(parent));
            served.exact.get(name).or(below)
        });
        found.unwrap_or(&served.first).clone()
    }
}

impl ResolvesServerCert for Shelf {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.find(hello.server_name()))
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

fn served(pairs: &[Pair], read: &[Vec<u8>]) -> Result<Served, String> {
    let mut all = Vec::with_capacity(pairs.len());
    for (pair, files) in pairs.iter().zip(read.chunks_exact(2)) {
        let [cert, key] = files else { continue };
        all.push((pair, certified(pair, cert, key)?));
    }
    let Some((_, first)) = all.first() else { return Err("tls.certificates is empty".to_owned()) };
    let mut served = Served { exact: HashMap::new(), below: HashMap::new(), first: first.clone() };
    for (pair, key) in all.iter().rev() {
        // Of two for one name the first in the list is served.
        for name in names(pair, key)? {
            match name.strip_prefix("*.") {
                Some(parent) => served.below.insert(parent.to_owned(), key.clone()),
                None => served.exact.insert(name, key.clone()),
            };
        }
    }
    Ok(served)
}

fn certified(pair: &Pair, cert: &[u8], key: &[u8]) -> Result<Arc<CertifiedKey>, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(cert).collect();
    let chain = chain.map_err(|_| told(&pair.cert, "is no PEM"))?;
    if chain.is_empty() {
        return Err(told(&pair.cert, "holds no certificate"));
    }
    // What the parser would say of a key is kept to itself.
    let key =
        PrivateKeyDer::from_pem_slice(key).map_err(|_| told(&pair.key, "holds no private key in PEM"))?;
    CertifiedKey::from_der(chain, key, &ring::default_provider()).map(Arc::new).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            told(&pair.key, &format!("is not the key of the certificate in {}", pair.cert.display()))
        }
        rustls::Error::InvalidCertificate(_) => told(&pair.cert, "holds no certificate that can be read"),
        _ => {
            told(&pair.key, "holds a private key of a kind that is not supported: use RSA, ECDSA or Ed25519")
        }
    })
}

/// The names that a certificate is for.
fn names(pair: &Pair, key: &CertifiedKey) -> Result<Vec<String>, String> {
    let wrong = || told(&pair.cert, "holds no certificate that can be read");
    let leaf = key.cert.first().ok_or_else(wrong)?;
    let leaf = webpki::EndEntityCert::try_from(leaf).map_err(|_| wrong())?;
    Ok(leaf.valid_dns_names().map(str::to_ascii_lowercase).collect())
}

fn told(path: &Path, what: &str) -> String {
    format!("{}: {what}", path.display())
}
