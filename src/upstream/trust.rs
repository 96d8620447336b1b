//! The authorities whose word upstreams are trusted on: those of the machine, or of `SSL_CERT_FILE` and
//! `SSL_CERT_DIR`.
//!
//! Pingora panics where they cannot be loaded. They are tried before; a gateway that can trust nobody still
//! serves what needs no TLS, and says what to do.

use pingora::connectors::ConnectorOptions;
use pingora::tls::{RootCertStore, load_platform_certs_incl_env_into_store};
use std::sync::LazyLock;

/// A file without an authority in it, in the place of those that cannot be loaded.
const NOBODY: &str = "/dev/null";

static FILE: LazyLock<Option<&'static str>> = LazyLock::new(|| {
    let mut store = RootCertStore::empty();
    match load_platform_certs_incl_env_into_store(&mut store) {
        Ok(()) if store.is_empty() => {
            tracing::warn!(
                "no certificate authorities are known, so that no upstream can be reached by TLS: install \
                 ca-certificates, or name a file in SSL_CERT_FILE"
            );
            None
        }
        Ok(()) => None,
        Err(error) => {
            tracing::error!(
                %error,
                SSL_CERT_FILE = std::env::var("SSL_CERT_FILE").unwrap_or_default(),
                SSL_CERT_DIR = std::env::var("SSL_CERT_DIR").unwrap_or_default(),
                "the certificate authorities cannot be loaded, so that no upstream can be reached by TLS: install \
                 ca-certificates, or name a readable file in SSL_CERT_FILE"
            );
            Some(NOBODY)
        }
    }
});

/// The file that the authorities have to be read from, if it is not where the machine has them.
pub fn file() -> Option<String> {
    FILE.map(str::to_owned)
}

/// How connections to upstreams are made.
pub fn options() -> ConnectorOptions {
    let mut options = ConnectorOptions::new(1);
    options.ca_file = file();
    options
}
