//! Certificates of an authority that exists for one test, and clients that trust it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// The authority.
pub struct Authority {
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    own: CertificateDer<'static>,
}

impl Authority {
    /// A new one.
    pub fn new() -> Self {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        let own = params.self_signed(&key).unwrap().der().clone();
        Self { issuer: rcgen::Issuer::new(params, key), own }
    }

    /// Writes `name.pem` and `name.key`, renamed into place; gives the certificate.
    pub fn write(&self, dir: &Path, name: &str, names: &[&str]) -> CertificateDer<'static> {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate =
            rcgen::CertificateParams::new(names).unwrap().signed_by(&key, &self.issuer).unwrap();
        for (end, text) in [("key", key.serialize_pem()), ("pem", certificate.pem())] {
            let new = dir.join("new");
            std::fs::write(&new, text).unwrap();
            std::fs::rename(new, dir.join(format!("{name}.{end}"))).unwrap();
        }
        certificate.der().clone()
    }

    fn client(&self, protocols: &[&str]) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(self.own.clone()).unwrap();
        let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        TlsConnector::from(Arc::new(config))
    }

    /// A handshake over an open connection, which fails if the certificate is not for that name.
    pub async fn over(
        &self,
        stream: TcpStream,
        name: &str,
        protocols: &[&str],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        self.client(protocols).connect(name, stream).await
    }

    /// A new connection with a handshake.
    pub async fn connect(
        &self,
        to: SocketAddr,
        name: &str,
        protocols: &[&str],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        self.over(stream, name, protocols).await
    }
}

/// What the other side showed.
pub fn shown(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}
