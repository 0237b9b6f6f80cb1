//! Where rigs keep what they write, and what file system that is.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use tempfile::TempDir;

/// Below the build, on its disk.
pub(crate) const PLACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/tmp");

/// What the path of every rig's folder has in it.
pub(crate) const FOLDERS: &str = "/soak-";

/// A folder that is gone when dropped.
pub(crate) fn temporary(name: &str) -> Result<TempDir> {
    std::fs::create_dir_all(PLACE)?;
    let place = std::fs::canonicalize(PLACE)?;
    Ok(tempfile::Builder::new()
        .prefix(&format!("soak-{name}-"))
        .tempdir_in(place)?)
}

/// The name of the file system that holds `path`.
pub(crate) fn filesystem(path: &Path) -> String {
    let output = Command::new("findmnt")
        .args(["-n", "-o", "FSTYPE", "--target"])
        .arg(path)
        .output();
    match output {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(output.stdout.trim_ascii()).into_owned()
        }
        _ => "unknown".to_owned(),
    }
}

/// A copy of a folder that nobody writes, holes and times as they are.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    let status = Command::new("cp")
        .args(["-a", "--sparse=always"])
        .args([from, to])
        .status()?;
    ensure!(status.success(), "{} cannot be copied", from.display());
    Ok(())
}
