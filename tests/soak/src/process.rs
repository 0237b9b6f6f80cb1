//! What the kernel says of the server's process: its sockets and its memory.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Between two looks at what no event tells.
const LOOK: Duration = Duration::from_millis(20);

/// Sockets that a process has open.
pub(crate) fn sockets(id: u32) -> Result<u64> {
    let mut count = 0;
    for entry in std::fs::read_dir(format!("/proc/{id}/fd"))? {
        // One that is gone by now is none.
        let target = std::fs::read_link(entry?.path()).unwrap_or_default();
        count += u64::from(
            target
                .as_os_str()
                .as_encoded_bytes()
                .starts_with(b"socket:"),
        );
    }
    Ok(count)
}

/// The kernel's lines about connections to `port`: state, and bytes that wait either way.
pub(crate) fn connections_to(port: u16) -> String {
    let text = std::fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let end = format!(":{port:04X}");
    let lines = text.lines().filter_map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        let [_, local, _, state, queues, ..] = words[..] else {
            return None;
        };
        // 0A: the port itself.
        (local.ends_with(&end) && state != "0A").then(|| format!("{state} {queues}"))
    });
    lines.take(20).collect::<Vec<_>>().join(", ")
}

/// Bytes that a process has for itself; mapped files are the kernel's, which takes them back.
pub(crate) fn memory(id: u32) -> Result<u64> {
    status_bytes(id, "RssAnon:")
}

/// The most bytes that a process ever held, mapped files too.
pub(crate) fn peak(id: u32) -> Result<u64> {
    status_bytes(id, "VmHWM:")
}

fn status_bytes(id: u32, name: &str) -> Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.trim().strip_suffix("kB"));
    let number = number.with_context(|| format!("no {name}"))?;
    let kibibytes: u64 = number.trim().parse()?;
    Ok(kibibytes << 10)
}

/// Files that this process, and those it starts, may have open: as many as it can be given.
pub(crate) fn open_files() -> u64 {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"));
    let mut words = line.unwrap_or_default().split_whitespace();
    let mut word = || {
        words
            .next()
            .and_then(|word| word.parse::<u64>().ok())
            .unwrap_or(0)
    };
    let (soft, hard) = (word(), word());
    let limit = format!("--nofile={hard}:{hard}");
    let id = std::process::id().to_string();
    let raised = std::process::Command::new("prlimit")
        .args(["--pid", &id, &limit])
        .status();
    if raised.is_ok_and(|status| status.success()) {
        hard
    } else {
        soft
    }
}

/// Looks again and again until `look` says that all is well, or says for `patience` what is not.
pub(crate) fn until(
    patience: Duration,
    mut look: impl FnMut() -> Result<Option<String>>,
) -> Result<()> {
    let late = Instant::now() + patience;
    while let Some(wrong) = look()? {
        if Instant::now() > late {
            bail!("after {patience:?} still: {wrong}");
        }
        std::thread::sleep(LOOK);
    }
    Ok(())
}
