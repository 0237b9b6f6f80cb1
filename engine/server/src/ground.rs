//! What the data folder stands on, looked at before it is touched: is it ours, is there room.

use std::fs;
use std::io;
use std::path::Path;

use weir_reactor::preflight;

use crate::cli::failure::Failure;
use crate::units::show_size_about;

/// What a Weir folder always has.
const FORMAT: &str = "FORMAT";
/// What a reserve leaves free in any case, in bytes.
const STAYS_FREE_BYTES: u64 = 64 * 1024 * 1024;

/// Refuses a folder of somebody else's, and a reserve that its disk has no room for. Neither makes
/// nor changes anything.
pub(crate) fn check(folder: &Path, reserve_bytes: u64) -> Result<(), Failure> {
    // What cannot be listed is refused with the system's words when it is made or written to.
    if let Ok(names) = names_in(folder) {
        check_is_ours(folder, &names)?;
    }
    if reserve_bytes > 0 {
        check_room(folder, reserve_bytes)?;
    }
    Ok(())
}

fn names_in(folder: &Path) -> io::Result<Vec<String>> {
    let names = fs::read_dir(folder)?.map(|entry| {
        let name = entry?.file_name();
        Ok(name.to_string_lossy().into_owned())
    });
    names.collect()
}

fn check_is_ours(folder: &Path, names: &[String]) -> Result<(), Failure> {
    // A folder with logs is ours; without its FORMAT file it is refused for that, with advice.
    let ours = |name: &String| name == FORMAT || name.starts_with("log-");
    // New file systems, a server that was refused, and a start that was cut short leave these.
    let harmless = |name: &String| {
        name == "lost+found"
            || name == "lock"
            || name == "FORMAT.new"
            || name.starts_with(".probe-")
    };
    if names.iter().any(ours) {
        return Ok(());
    }
    match names.iter().find(|name| !harmless(name)) {
        None => Ok(()),
        Some(name) => Err(Failure::could_not_run(format!(
            "data folder {} holds \"{name}\" and no FORMAT file: it is not a folder of Weir's, \
             choose an empty one",
            folder.display()
        ))),
    }
}

fn check_room(folder: &Path, reserve_bytes: u64) -> Result<(), Failure> {
    // The folder may not be there yet: the nearest one above it is on the same disk.
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let space = absolute
        .ancestors()
        .find_map(|place| preflight::space_of(place).ok());
    let Some(space) = space else { return Ok(()) };
    // Segments that are there count towards the reserve, or hold records beside it.
    let there = segment_bytes(folder).unwrap_or(0);
    let needed = reserve_bytes
        .saturating_sub(there)
        .saturating_add(STAYS_FREE_BYTES);
    if needed > space.free {
        return Err(Failure::could_not_run(format!(
            "--reserve {} needs {} of the disk of {}, which has {} free",
            show_size_about(reserve_bytes),
            show_size_about(needed),
            folder.display(),
            show_size_about(space.free)
        )));
    }
    Ok(())
}

/// Bytes of the files in the folders of logs.
fn segment_bytes(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("log-") {
            for file in fs::read_dir(entry.path())? {
                bytes += file?.metadata()?.len();
            }
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_others_are_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        check(path, 0).unwrap();
        check(&path.join("not/there/yet"), 0).unwrap();
        fs::create_dir(path.join("lost+found")).unwrap();
        fs::write(path.join("lock"), "1\n").unwrap();
        check(path, 0).unwrap();
        fs::write(path.join("thesis.txt"), "words").unwrap();
        let refused = check(path, 0).unwrap_err();
        assert_eq!(refused.exit, 1);
        assert!(refused.text.contains("thesis.txt"), "{refused}");
        fs::write(path.join(FORMAT), "").unwrap();
        check(path, 0).unwrap();
    }

    #[test]
    fn a_reserve_beyond_the_disk_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("a/b");
        check(&place, 1).unwrap();
        let refused = check(&place, 1 << 60).unwrap_err();
        assert_eq!(refused.exit, 1);
        assert!(refused.text.contains("1048576.0TiB"), "{refused}");
        assert!(!place.exists());
    }
}
