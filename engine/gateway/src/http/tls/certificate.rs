//! A server's certificate and what is negotiated with it.

use std::fmt::Write;
use std::sync::Arc;

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, ProducesTickets};
use rustls::{InconsistentKeys, ServerConfig};
use sha2::{Digest, Sha256};
use thiserror::Error;

/// What is offered, best first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];
/// Sessions a client may take up again, per connection.
const TICKETS: usize = 1;

/// Why a certificate can not be used.
#[derive(Debug, Error)]
pub enum TlsError {
    /// The text holds no certificate.
    #[error("there is no certificate in it: expected PEM, -----BEGIN CERTIFICATE-----")]
    NoCertificate,
    /// The text holds no private key.
    #[error("there is no private key in it: expected PEM, for example -----BEGIN PRIVATE KEY-----")]
    NoKey,
    /// The key needs a password, and nobody is there to type it.
    #[error(
        "the private key is encrypted: store it without a password, readable by the server only"
    )]
    EncryptedKey,
    /// The PEM text is broken.
    #[error("it is not PEM: {0}")]
    Pem(String),
    /// Certificate and key are not a pair.
    #[error("the private key is not that of the certificate")]
    NotAPair,
    /// The library takes neither.
    #[error("they can not be used: {0}")]
    Refused(rustls::Error),
}

/// How to speak TLS. A clone is the same.
#[derive(Debug, Clone)]
pub struct Tls {
    pub(super) config: Arc<ServerConfig>,
    tickets: Arc<dyn ProducesTickets>,
    fingerprint: String,
}

impl Tls {
    /// With a certificate, those that lead to its issuer, and its key, all PEM.
    pub fn new(certificates: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let tickets = ring::Ticketer::new().map_err(TlsError::Refused)?;
        Self::with_tickets(certificates, key, tickets)
    }

    /// The same with another certificate: sessions may still be taken up again.
    pub fn renewed(&self, certificates: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        Self::with_tickets(certificates, key, Arc::clone(&self.tickets))
    }

    fn with_tickets(
        certificates: &[u8],
        key: &[u8],
        tickets: Arc<dyn ProducesTickets>,
    ) -> Result<Self, TlsError> {
        let chain = read_chain(certificates)?;
        let fingerprint = fingerprint(&chain[0]);
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Refused)?
            .with_no_client_auth()
            .with_single_cert(chain, read_key(key)?)
            .map_err(|error| match error {
                rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                    TlsError::NotAPair
                }
                error => TlsError::Refused(error),
            })?;
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = Arc::clone(&tickets);
        config.send_tls13_tickets = TICKETS;
        Ok(Self {
            config: Arc::new(config),
            tickets,
            fingerprint,
        })
    }

    /// The certificate's SHA-256, as tools print it: pairs of hexadecimal digits.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}

fn read_chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| TlsError::Pem(error.to_string()))?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate);
    }
    Ok(chain)
}

fn read_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    use rustls::pki_types::pem::Error;
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
        Error::NoItemsFound if memchr::memmem::find(pem, b"ENCRYPTED").is_some() => {
            TlsError::EncryptedKey
        }
        Error::NoItemsFound => TlsError::NoKey,
        error => TlsError::Pem(error.to_string()),
    })
}

fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    let mut text = String::new();
    for byte in Sha256::digest(certificate) {
        if !text.is_empty() {
            text.push(':');
        }
        write!(text, "{byte:02X}").expect("a String takes all");
    }
    text
}

/// A certificate that vouches for itself, and its key, both PEM.
pub struct SelfSigned {
    /// The certificate.
    pub certificate: String,
    /// Its key: a secret.
    pub key: String,
}

impl SelfSigned {
    /// Makes one for host names and addresses.
    pub fn new(names: Vec<String>) -> Result<Self, rcgen::Error> {
        let key = KeyPair::generate()?;
        let mut certificate = CertificateParams::new(names)?;
        certificate.distinguished_name = DistinguishedName::new();
        let name = "weir, self-signed";
        certificate
            .distinguished_name
            .push(DnType::CommonName, name);
        certificate.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        certificate.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        // It is trusted by name and shall not end on its own; 2049 is the last year that old
        // clients read.
        certificate.not_before = date_time_ymd(2024, 1, 1);
        certificate.not_after = date_time_ymd(2049, 12, 31);
        Ok(Self {
            certificate: certificate.self_signed(&key)?.pem(),
            key: key.serialize_pem(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made() -> SelfSigned {
        SelfSigned::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap()
    }

    #[test]
    fn what_is_made_can_be_used() {
        let made = made();
        let tls = Tls::new(made.certificate.as_bytes(), made.key.as_bytes()).unwrap();
        assert_eq!(tls.fingerprint().len(), 32 * 3 - 1);
        let both = format!("{}{}", made.key, made.certificate);
        let renewed = tls.renewed(both.as_bytes(), both.as_bytes()).unwrap();
        assert_eq!(tls.fingerprint(), renewed.fingerprint());
    }

    #[test]
    fn each_mistake_has_its_own_text() {
        let (one, other) = (made(), made());
        let of = |certificate: &str, key: &str| {
            let error = Tls::new(certificate.as_bytes(), key.as_bytes()).unwrap_err();
            error.to_string()
        };
        let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n\
                         -----END ENCRYPTED PRIVATE KEY-----\n";
        for (certificate, key, word) in [
            ("", one.key.as_str(), "no certificate"),
            (&one.key, &one.key, "no certificate"),
            (&one.certificate, "nothing", "no private key"),
            (&one.certificate, &one.certificate, "no private key"),
            (&one.certificate, encrypted, "encrypted"),
            (&one.certificate, &other.key, "not that of the certificate"),
            ("-----BEGIN CERTIFICATE-----\nAAAA", &one.key, "not PEM"),
        ] {
            let text = of(certificate, key);
            assert!(text.contains(word), "{word} in {text}");
        }
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(of(broken, &one.key).contains("can not be used"));
    }
}
