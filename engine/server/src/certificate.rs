//! The TLS certificate: read from the operator's files, or made and kept in the data folder.
//!
//! Owns: the files. Never: TLS itself; that is the gateway's.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use weir_gateway::http::{SelfSigned, Tls};

/// Longest file of certificates or of a key, in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Permissions that let others than the owner read or change a file.
const OTHERS: u32 = 0o077;
const MADE_CERTIFICATE: &str = "tls-self-signed.pem";
const MADE_KEY: &str = "tls-self-signed.key";

/// Where a certificate comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Certificate {
    /// The operator's: the certificate with those that lead to its issuer, and its key.
    Files { certificates: PathBuf, key: PathBuf },
    /// Made by us, for trying out.
    SelfSigned,
}

impl Certificate {
    /// Reads it, and makes it first if it is ours to make and not there yet. `former` is what it
    /// takes the place of. An error is one sentence.
    pub(crate) fn load(&self, data_dir: &Path, former: Option<&Tls>) -> Result<Tls, String> {
        let (certificates, key) = match self {
            Self::Files { certificates, key } => (certificates.clone(), key.clone()),
            Self::SelfSigned => {
                let paths = (data_dir.join(MADE_CERTIFICATE), data_dir.join(MADE_KEY));
                if !(paths.0.exists() && paths.1.exists()) {
                    make(&paths.0, &paths.1)?;
                }
                paths
            }
        };
        let chain = read(&certificates)?;
        let secret = read(&key)?;
        let mode = fs::metadata(&key).map_or(0, |about| about.permissions().mode() & 0o777);
        if mode & OTHERS != 0 {
            tracing::warn!(
                "{} has mode {mode:o}: others than its owner may use the private key in it; \
                 chmod 600 it",
                key.display()
            );
        }
        let tls = match former {
            None => Tls::new(&chain, &secret),
            Some(former) => former.renewed(&chain, &secret),
        };
        tls.map_err(|error| {
            let (certificates, key) = (certificates.display(), key.display());
            format!("TLS certificate {certificates} with key {key}: {error}")
        })
    }

    /// What a client needs to know to trust it.
    pub(crate) fn explain(&self, data_dir: &Path, tls: &Tls) {
        let fingerprint = tls.fingerprint();
        match self {
            Self::Files { certificates, .. } => {
                tracing::info!(
                    "TLS certificate {}: SHA-256 {fingerprint}",
                    certificates.display()
                );
            }
            Self::SelfSigned => {
                let path = data_dir.join(MADE_CERTIFICATE);
                let path = std::path::absolute(&path).unwrap_or(path);
                tracing::info!(
                    "TLS certificate of our own making: SHA-256 {fingerprint}; clients trust it \
                     with AWS_CA_BUNDLE={}",
                    path.display()
                );
            }
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let about = fs::metadata(path).map_err(|error| failed(&error))?;
    if !about.is_file() {
        return Err(failed(&"it is not a file"));
    }
    if about.len() > FILE_BYTES_MAX {
        return Err(failed(&format_args!(
            "it is longer than {FILE_BYTES_MAX} bytes"
        )));
    }
    fs::read(path).map_err(|error| failed(&error))
}

fn make(certificate: &Path, key: &Path) -> Result<(), String> {
    let made = SelfSigned::new(names())
        .map_err(|error| format!("a self-signed certificate cannot be made: {error}"))?;
    // The key first: a certificate without one is made anew at the next start.
    for (path, text, mode) in [
        (key, &made.key, 0o600),
        (certificate, &made.certificate, 0o644),
    ] {
        write(path, text, mode)
            .map_err(|error| format!("{} cannot be written: {error}", path.display()))?;
    }
    Ok(())
}

/// Puts a file there, whole or not at all, that those may read whom `mode` names: clients of other
/// users need the certificate, and nobody needs the key.
fn write(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let new = path.with_extension("new");
    let _ = fs::remove_file(&new);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&new)?;
    // Whatever the umask left of it.
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    path.parent()
        .map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// What clients on this machine and beside it call the server.
fn names() -> Vec<String> {
    let mut names = ["localhost", "127.0.0.1", "::1"]
        .map(str::to_owned)
        .to_vec();
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.');
    if !host.is_empty() && host.bytes().all(legal) && !names.iter().any(|name| name == host) {
        names.push(host.to_owned());
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_stays_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let first = Certificate::SelfSigned.load(folder.path(), None).unwrap();
        for (name, expected) in [(MADE_KEY, 0o600), (MADE_CERTIFICATE, 0o644)] {
            let about = fs::metadata(folder.path().join(name)).unwrap();
            assert_eq!(about.permissions().mode() & 0o777, expected, "{name}");
        }
        let second = Certificate::SelfSigned
            .load(folder.path(), Some(&first))
            .unwrap();
        assert_eq!(first.fingerprint(), second.fingerprint());
        // A key without its certificate is of no use.
        fs::remove_file(folder.path().join(MADE_CERTIFICATE)).unwrap();
        let third = Certificate::SelfSigned.load(folder.path(), None).unwrap();
        assert_ne!(first.fingerprint(), third.fingerprint());
    }

    #[test]
    fn a_wrong_file_is_named_in_one_sentence() {
        let folder = tempfile::tempdir().unwrap();
        Certificate::SelfSigned.load(folder.path(), None).unwrap();
        let path = |name: &str| folder.path().join(name);
        let files = |certificates: &str, key: &str| {
            let files = Certificate::Files {
                certificates: path(certificates),
                key: path(key),
            };
            files.load(Path::new("unused"), None).map(drop)
        };
        files(MADE_CERTIFICATE, MADE_KEY).unwrap();
        fs::write(path("empty"), "").unwrap();
        for (certificates, key, word) in [
            ("nowhere", MADE_KEY, "nowhere: No such file"),
            (MADE_CERTIFICATE, "nowhere", "nowhere: No such file"),
            (MADE_CERTIFICATE, "", "not a file"),
            ("empty", MADE_KEY, "no certificate"),
            (MADE_CERTIFICATE, "empty", "no private key"),
            (MADE_KEY, MADE_CERTIFICATE, "no certificate"),
        ] {
            let error = files(certificates, key).unwrap_err();
            assert!(error.contains(word), "{word} in {error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }
}
