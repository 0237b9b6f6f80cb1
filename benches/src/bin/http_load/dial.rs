//! How connections are made: plain, or by TLS against a certificate that is given or not looked at.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use crate::arguments::Arguments;

/// Where the server is, and how it is spoken to.
pub(crate) struct Dial {
    pub(crate) server: SocketAddr,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

impl Dial {
    pub(crate) fn of(arguments: &Arguments) -> anyhow::Result<Self> {
        let server = arguments.server;
        if !arguments.tls {
            return Ok(Self { server, tls: None });
        }
        let config = match &arguments.ca {
            Some(path) => trusting(path)?,
            None => trusting_all()?,
        };
        let name = ServerName::IpAddress(server.ip().into());
        Ok(Self {
            server,
            tls: Some((Arc::new(config), name)),
        })
    }

    /// The TLS side of a new connection, if it has one. No session is resumed: every connection pays
    /// for its handshake.
    pub(crate) fn tls(&self) -> anyhow::Result<Option<ClientConnection>> {
        let Some((config, name)) = &self.tls else {
            return Ok(None);
        };
        let tls = ClientConnection::new(Arc::clone(config), name.clone())?;
        Ok(Some(tls))
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn finished(mut config: ClientConfig) -> ClientConfig {
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = rustls::client::Resumption::disabled();
    config
}

fn trusting(path: &Path) -> anyhow::Result<ClientConfig> {
    let shown = path.display();
    let mut roots = RootCertStore::empty();
    let found = CertificateDer::pem_file_iter(path)
        .with_context(|| format!("--ca {shown} cannot be read"))?;
    for certificate in found {
        roots.add(certificate.with_context(|| format!("--ca {shown} is not PEM"))?)?;
    }
    if roots.is_empty() {
        bail!("--ca {shown} holds no certificate");
    }
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(finished(config))
}

fn trusting_all() -> anyhow::Result<ClientConfig> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider())))
        .with_no_client_auth();
    Ok(finished(config))
}

/// Believes every certificate; signatures are checked all the same, since that is work of the
/// handshake.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
