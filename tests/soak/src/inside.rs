//! Namespaces of a run's own: whatever ends it, a signal too, nothing that it started or mounted is left.
//!
//! The program runs itself once more as the first process of a process namespace, in a mount namespace
//! that nobody else sees. When it goes the kernel kills all that is in the one and unmounts all
//! that is in the other; and it goes when the process that the caller sees does.

use std::ffi::OsString;
use std::process::{Command, ExitCode};

use crate::folder::FOLDERS;

/// What puts a program there; the program and its words follow.
const ENTER: [&str; 10] = [
    "--pdeathsig",
    "KILL",
    "--",
    "unshare",
    "--mount",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount-proc",
    "--propagation=slave",
];

/// Runs this program with `inside` before its words; `None` where that cannot be: then it must do
/// without, and undoes what it did only if it ends in peace.
pub(crate) fn again(words: &[OsString]) -> Option<ExitCode> {
    let tried = Command::new("setpriv").args(ENTER).arg("true").output();
    if !tried.is_ok_and(|tried| tried.status.success()) {
        return None;
    }
    let program = std::env::current_exe().ok()?;
    let mut command = Command::new("setpriv");
    command.args(ENTER).arg(program).arg("inside");
    let status = command.args(words.get(1..)?).status().ok()?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Some(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

/// Lets go of what other runs have mounted, in our view of it: or it would stay mounted until we end.
pub(crate) fn settle_in() {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    // The newest first: one may lie in another.
    for mount in mounts.lines().rev() {
        let at = mount.split(' ').nth(1).unwrap_or_default();
        if at.contains(FOLDERS) {
            // It may be gone by now.
            let _ = Command::new("umount").args(["-l", at]).output();
        }
    }
}
