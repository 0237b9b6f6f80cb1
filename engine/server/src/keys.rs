//! The key file of `--keys`: read at the start, and again at SIGHUP.
//!
//! Owns: the file. Never: what keys mean; that is the gateway's.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use weir_gateway::KeyRing;

/// Longest key file, in bytes: room for 10,000 keys with session tokens is not needed.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Permissions that let others than the owner read or change the file.
const OTHERS: u32 = 0o077;

/// Reads the key file of a server that serves `account`. The error is one sentence, and tells
/// nothing of what is in the file.
pub(crate) fn read(path: &Path, account: &str) -> Result<KeyRing, String> {
    let shown = path.display();
    let failed = |error: &dyn std::fmt::Display| format!("key file {shown}: {error}");
    let mut file = File::open(path).map_err(|error| failed(&error))?;
    let about = file.metadata().map_err(|error| failed(&error))?;
    if !about.is_file() {
        return Err(failed(&"it is not a file"));
    }
    let mode = about.permissions().mode() & 0o777;
    let mut text = String::new();
    let mut limited = (&mut file).take(FILE_BYTES_MAX + 1);
    limited
        .read_to_string(&mut text)
        .map_err(|error| failed(&error))?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(failed(&format_args!(
            "it is longer than {FILE_BYTES_MAX} bytes"
        )));
    }
    let ring = KeyRing::parse(&text, account).map_err(|error| failed(&error))?;
    if mode & OTHERS != 0 {
        tracing::warn!(
            "key file {shown} has mode {mode:o}: others than its owner may use the secrets in it; \
             chmod 600 it"
        );
    }
    tracing::info!(keys = ring.count(), "requests are verified with {shown}");
    Ok(ring)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_that_is_none_is_refused_in_one_sentence() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        let read = || read(&path, "000000000000").unwrap_err();
        assert!(read().contains("No such file"), "{}", read());
        fs::write(&path, "[a]\naws_access_key_id=A\nHIDDEN\n").unwrap();
        assert!(read().contains("line 3 is neither"), "{}", read());
        assert!(!read().contains("HIDDEN"), "{}", read());
        fs::write(&path, vec![b'#'; FILE_BYTES_MAX as usize + 1]).unwrap();
        assert!(read().contains("longer than"), "{}", read());
        fs::write(&path, [0xff, 0xfe]).unwrap();
        assert!(read().contains("UTF-8"), "{}", read());
        let folder = super::read(folder.path(), "000000000000").unwrap_err();
        assert!(folder.contains("not a file"), "{folder}");
    }

    #[test]
    fn keys_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        fs::write(&path, "[a]\naws_access_key_id=A\naws_secret_access_key=B\n").unwrap();
        assert_eq!(read(&path, "000000000000").unwrap().count(), 1);
    }
}
