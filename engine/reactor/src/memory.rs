//! How much memory there is for us.

use std::fs;
use std::path::Path;

/// Bytes of memory this process may use: the machine's, or the tightest limit of the control
/// groups it is in. `None` if the kernel shows neither.
pub fn physical_memory_bytes() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| machine_bytes(&text));
    let limit = control_group_limit();
    match (machine, limit) {
        (Some(machine), Some(limit)) => Some(machine.min(limit)),
        (machine, limit) => machine.or(limit),
    }
}

/// Bytes of memory this process occupies now (its resident set).
pub fn resident_memory_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    kibibytes(&text, "VmRSS:")
}

fn machine_bytes(meminfo: &str) -> Option<u64> {
    kibibytes(meminfo, "MemTotal:")
}

fn kibibytes(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    let number: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(number * 1_024)
}

fn control_group_limit() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let limits = groups.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            all if all.split(',').any(|one| one == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => return None,
        };
        tightest(Path::new(root), path, file)
    });
    limits.min()
}

/// The tightest limit on the way from the group up to the root.
fn tightest(root: &Path, group: &str, file: &str) -> Option<u64> {
    let group = root.join(group.trim_start_matches('/'));
    let limits = group
        .ancestors()
        .take_while(|folder| folder.starts_with(root))
        .filter_map(|folder| {
            // "max" means no limit, and is no number.
            fs::read_to_string(folder.join(file))
                .ok()?
                .trim()
                .parse()
                .ok()
        });
    limits.min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_found() {
        assert_eq!(
            machine_bytes("MemFree: 1 kB\nMemTotal:       8 kB\n"),
            Some(8_192)
        );
        assert_eq!(machine_bytes("MemTotal: lots"), None);
        let all = physical_memory_bytes().unwrap();
        assert!(all > 1 << 26 && resident_memory_bytes().unwrap() < all);
    }
}
