//! What the user asks for.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

/// Most bytes that one run writes.
const BYTES_MAX: u64 = 1 << 40;
const LONG_BYTES: u64 = 8 << 30;
const SHORT_BYTES: u64 = 1 << 30;

/// Measures what this machine can do: durable writes, one TCP stream, a round trip, small durable calls,
/// cold reads.
#[derive(Debug, Clone, Parser)]
#[command(after_help = "Examples:
  scripts/limits
  scripts/limits /mnt/fast/limits --bytes 32GiB
  scripts/limits --short --json > limits.json")]
pub(crate) struct Arguments {
    /// Folder on the disk to measure; takes 1 GiB while it runs, and is left as it was found.
    #[arg(default_value = "target/limits")]
    pub(crate) folder: PathBuf,
    /// Bytes written for W, as 8GiB or 500MB; 8GiB unless said.
    #[arg(long, value_parser = size, conflicts_with = "short")]
    bytes: Option<u64>,
    /// 1 GiB instead of 8: a first look, which says little about a disk with a cache.
    #[arg(long)]
    short: bool,
    /// One JSON object instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
    /// The two CPUs: the server's and the generator's. The first two allowed ones unless said.
    #[arg(long, value_delimiter = ',', num_args = 1..=2)]
    pub(crate) cpus: Vec<usize>,
}

impl Arguments {
    /// Bytes written for W.
    pub(crate) fn bytes(&self) -> u64 {
        let usual = if self.short { SHORT_BYTES } else { LONG_BYTES };
        self.bytes.unwrap_or(usual)
    }

    /// Bytes sent for N.
    pub(crate) fn network_bytes(&self) -> u64 {
        if self.short { 2 << 30 } else { 16 << 30 }
    }

    /// How long S takes.
    pub(crate) fn small_time(&self) -> Duration {
        Duration::from_secs(if self.short { 1 } else { 5 })
    }

    /// Round trips for R, and writes for C.
    pub(crate) fn rounds(&self) -> usize {
        if self.short { 5_000 } else { 20_000 }
    }
}

/// A number with a unit; from 1 MiB to 1 TiB.
fn size(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit: u64 = match unit {
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        _ => return Err(format!("size {text:?} needs a unit, as in 8GiB or 500MB")),
    };
    let bytes = number.parse::<u64>().ok().and_then(|n| n.checked_mul(unit));
    match bytes {
        Some(bytes) if (1 << 20..=BYTES_MAX).contains(&bytes) => Ok(bytes),
        _ => Err(format!("size {text:?} is not between 1MiB and 1024GiB")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_carry_units_and_bounds() {
        assert_eq!(size("8GiB"), Ok(8 << 30));
        assert_eq!(size("500MB"), Ok(500_000_000));
        for text in [
            "8",
            "",
            "GiB",
            "1KiB",
            "2000000GiB",
            "99999999999999999999GiB",
            "8Gib",
        ] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
