//! A certificate and its key out of PEM. Nothing of a key is ever said.

use rustls::crypto::ring;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::fmt;
use std::sync::Arc;

/// Why they cannot be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// The text is not PEM.
    NoPem,
    /// It holds no certificate.
    NoCertificate,
    /// It holds one that cannot be read.
    Unreadable,
    /// It holds no key.
    NoKey,
    /// It belongs to another certificate.
    OtherKey,
    /// It is of no kind that is served.
    UnknownKey,
}

impl Wrong {
    /// Whether it is the key's fault, or else the certificate's.
    pub fn is_of_key(self) -> bool {
        matches!(self, Self::NoKey | Self::OtherKey | Self::UnknownKey)
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoPem => "is not PEM",
            Self::NoCertificate => "holds no certificate",
            Self::Unreadable => "holds no certificate that can be read",
            Self::NoKey => "holds no private key in PEM",
            Self::OtherKey => "is not the key of the certificate",
            Self::UnknownKey => {
                "holds a private key of a kind that is not supported: use RSA, ECDSA or Ed25519"
            }
        })
    }
}

/// A chain of certificates with the key of the first.
pub fn certify(cert: &[u8], key: &[u8]) -> Result<Arc<CertifiedKey>, Wrong> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(cert).collect();
    let chain = chain.map_err(|_| Wrong::NoPem)?;
    if chain.is_empty() {
        return Err(Wrong::NoCertificate);
    }
    // What the parser would say of a key is kept to itself.
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| Wrong::NoKey)?;
    CertifiedKey::from_der(chain, key, &ring::default_provider()).map(Arc::new).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => Wrong::OtherKey,
        rustls::Error::InvalidCertificate(_) => Wrong::Unreadable,
        _ => Wrong::UnknownKey,
    })
}

/// The names that a certificate is for.
pub fn names(key: &CertifiedKey) -> Result<Vec<String>, Wrong> {
    let leaf = key.cert.first().ok_or(Wrong::Unreadable)?;
    let leaf = webpki::EndEntityCert::try_from(leaf).map_err(|_| Wrong::Unreadable)?;
    Ok(leaf.valid_dns_names().map(str::to_ascii_lowercase).collect())
}
