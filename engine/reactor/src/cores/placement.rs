//! Which CPUs there are for us.

use core_affinity::CoreId;

/// There are fewer CPUs than cores asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlacementError {
    /// The process may not run on so many CPUs.
    #[error("{wanted} cores were asked for, but this process may run on {allowed} CPUs only")]
    TooFew {
        /// Cores asked for.
        wanted: usize,
        /// CPUs this process may use.
        allowed: usize,
    },
    /// The kernel did not say which CPUs the process may use.
    #[error("the kernel does not say which CPUs this process may use")]
    Unknown,
}

/// CPUs this process may run on, ascending: those of its affinity mask, which a container or
/// `taskset` may have narrowed.
pub fn cpus_allowed() -> Result<Vec<usize>, PlacementError> {
    // Read once: the mask of a thread that was pinned since would name one CPU only.
    static ALLOWED: std::sync::OnceLock<Vec<usize>> = std::sync::OnceLock::new();
    let allowed = ALLOWED.get_or_init(|| {
        let mut cpus: Vec<usize> = core_affinity::get_core_ids()
            .unwrap_or_default()
            .iter()
            .map(|cpu| cpu.id)
            .collect();
        cpus.sort_unstable();
        cpus
    });
    if allowed.is_empty() {
        return Err(PlacementError::Unknown);
    }
    Ok(allowed.clone())
}

/// The CPUs for `count` cores. Call it first from a thread that is not pinned.
pub fn choose_cpus(count: usize) -> Result<Vec<usize>, PlacementError> {
    let mut cpus = cpus_allowed()?;
    if count > cpus.len() {
        return Err(PlacementError::TooFew {
            wanted: count,
            allowed: cpus.len(),
        });
    }
    cpus.truncate(count);
    Ok(cpus)
}

/// Pins the calling thread to one CPU; `false` if the kernel refused.
pub fn pin_this_thread(cpu: usize) -> bool {
    core_affinity::set_for_current(CoreId { id: cpu })
}

/// Lets the calling thread run on every CPU of the process, whatever its parent was pinned to.
#[expect(unsafe_code, reason = "sched_setaffinity is a call of the C library")]
pub(crate) fn allow_every_cpu() {
    let Ok(cpus) = cpus_allowed() else { return };
    // SAFETY: an all-zero mask is a valid mask; CPU_SET stays inside it, for the CPUs came from
    // such a mask; the kernel reads it during the call only.
    unsafe {
        let mut mask: libc::cpu_set_t = std::mem::zeroed();
        for cpu in cpus {
            libc::CPU_SET(cpu, &mut mask);
        }
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const mask);
    }
}
