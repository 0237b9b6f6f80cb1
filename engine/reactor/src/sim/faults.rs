//! What goes wrong on the simulated machine, and how often.
//!
//! Owns: the switches a test turns. Never: the damage itself, which the disk and the network do.

use super::dice::Dice;

/// Chances are times in 10,000; 0 means never. A test may change any of them at any time.
#[derive(Debug, Clone, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent switches, each named"
)]
pub struct Faults {
    /// A write fails with EIO; any subset of its sectors may have landed.
    pub write_errors: u32,
    /// A read fails with EIO.
    pub read_errors: u32,
    /// A flush fails with EIO. Some of what it had to flush is durable; the rest is still read in
    /// this life, and is gone with it: a second flush finds nothing to do, and says that all is well.
    pub flush_errors: u32,
    /// Creating a file fails with ENOSPC.
    pub create_errors: u32,
    /// An operation takes a thousand times as long.
    pub slow_operations: u32,
    /// An operation takes two to eight seconds.
    pub stalls: u32,
    /// A write lands at another block, of its file or of one of the same length, and reports success.
    pub misdirected_writes: u32,
    /// This many writes are misdirected, then writes go where they should.
    pub misdirect_next_writes: u32,
    /// A send resets its connection.
    pub socket_resets: u32,
    /// A receive gives one byte only.
    pub single_bytes: u32,
    /// This many writes fail, then writes work again.
    pub fail_next_writes: u32,
    /// This many reads fail, then reads work again.
    pub fail_next_reads: u32,
    /// This many flushes fail, then flushes work again.
    pub fail_next_flushes: u32,
    /// This many creations fail, then creations work again.
    pub fail_next_creates: u32,
    /// Every write fails.
    pub fail_all_writes: bool,
    /// Every read fails.
    pub fail_all_reads: bool,
    /// Every flush fails.
    pub fail_all_flushes: bool,
    /// Every creation fails with ENOSPC, whatever the capacity.
    pub disk_full: bool,
    /// The n-th disk operation from now fails (0: the next one), then the switch turns itself off.
    /// Meant for tests that fail every operation once, one run each.
    pub fail_operation: Option<u64>,
    /// Faults touch only paths that begin so; everything when `None`.
    pub only_under: Option<String>,
}

/// What an operation is, for the faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Write,
    Read,
    Flush,
    Create,
    Other,
}

impl Faults {
    /// Whether the operation on `path` fails; spends armed faults.
    pub(super) fn strike(&mut self, act: Act, path: &str, dice: &mut Dice) -> bool {
        if self
            .only_under
            .as_ref()
            .is_some_and(|under| !path.starts_with(under.as_str()))
        {
            return false;
        }
        if let Some(left) = self.fail_operation {
            self.fail_operation = left.checked_sub(1);
            if left == 0 {
                return true;
            }
        }
        let (chance, armed, always) = match act {
            Act::Write => (
                self.write_errors,
                &mut self.fail_next_writes,
                self.fail_all_writes,
            ),
            Act::Read => (
                self.read_errors,
                &mut self.fail_next_reads,
                self.fail_all_reads,
            ),
            Act::Flush => (
                self.flush_errors,
                &mut self.fail_next_flushes,
                self.fail_all_flushes,
            ),
            Act::Create => (
                self.create_errors,
                &mut self.fail_next_creates,
                self.disk_full,
            ),
            Act::Other => return false,
        };
        if *armed > 0 {
            *armed -= 1;
            return true;
        }
        always || dice.chance(chance)
    }

    /// Whether a write to `path` lands elsewhere; spends armed faults.
    pub(super) fn misdirects(&mut self, path: &str, dice: &mut Dice) -> bool {
        let under = self.only_under.as_ref();
        if under.is_some_and(|under| !path.starts_with(under.as_str())) {
            return false;
        }
        if self.misdirect_next_writes > 0 {
            self.misdirect_next_writes -= 1;
            return true;
        }
        dice.chance(self.misdirected_writes)
    }
}
