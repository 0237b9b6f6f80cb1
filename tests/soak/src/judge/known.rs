//! What the ledger says: every batch that was sent, record by record, and what was promised of it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::Path;

use anyhow::{Context, Result, bail};

/// A record that was sent, found again by the hash of its data.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent {
    pub(super) serial: u64,
    /// Its place in its batch.
    pub(super) place: u32,
    pub(super) key: u64,
}

/// A batch that was sent.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) shard: u32,
    pub(super) records: u32,
    /// It was acknowledged, or read before: it must be there.
    pub(super) promised: bool,
    /// Its last byte never reached the server: it must not be there.
    pub(super) held: bool,
    /// The number of its first record, once anybody was told or found it.
    pub(super) number: Option<String>,
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) records: HashMap<u64, Sent>,
    pub(super) batches: HashMap<u64, Batch>,
    /// How far the ledger was taken in.
    read: u64,
}

impl Known {
    /// Takes in what was added to the ledger. An acknowledgement noted behind `until` does not count.
    pub(super) fn take_in(&mut self, ledger: &Path, until: u64) -> Result<()> {
        let mut file = File::open(ledger).with_context(|| format!("{}", ledger.display()))?;
        file.seek(SeekFrom::Start(self.read))?;
        let mut file = BufReader::new(file);
        let mut line = String::new();
        loop {
            line.clear();
            let bytes = file.read_line(&mut line)?;
            if bytes == 0 {
                return Ok(());
            }
            self.read += bytes as u64;
            self.note(line.trim_end(), until)
                .with_context(|| format!("in the ledger: {}", line.trim_end()))?;
        }
    }

    fn note(&mut self, line: &str, until: u64) -> Result<()> {
        let mut words = line.split(' ');
        let kind = words.next();
        let serial = hex(words.next())?;
        match kind {
            Some("sent") => {
                let shard = words.next().context("no shard")?.parse()?;
                let mut records = 0;
                for word in words {
                    let (key, data) = word.split_once(':').context("no hashes")?;
                    let sent = Sent {
                        serial,
                        place: records,
                        key: hex(Some(key))?,
                    };
                    if self.records.insert(hex(Some(data))?, sent).is_some() {
                        bail!("two records with the same hash");
                    }
                    records += 1;
                }
                let batch = Batch {
                    shard,
                    records,
                    promised: false,
                    held: false,
                    number: None,
                };
                self.batches.insert(serial, batch);
            }
            Some("stored") => {
                let number = words.next().context("no number")?;
                let at: u64 = words.next().context("no moment")?.parse()?;
                if at <= until {
                    return self.promise(serial, number);
                }
            }
            Some("held") => {
                let batch = self.batches.get_mut(&serial).context("never sent")?;
                batch.held = true;
            }
            _ => bail!("an unknown line"),
        }
        Ok(())
    }

    fn promise(&mut self, serial: u64, number: &str) -> Result<()> {
        let batch = self.batches.get_mut(&serial).context("never sent")?;
        batch.promised = true;
        // "-" stands for an acknowledgement that named no number.
        if number == "-" {
            return Ok(());
        }
        match &batch.number {
            Some(before) if before != number => {
                bail!("batch {serial:x} was found at {before} and acknowledged at {number}")
            }
            _ => batch.number = Some(number.to_owned()),
        }
        Ok(())
    }
}

fn hex(word: Option<&str>) -> Result<u64> {
    Ok(u64::from_str_radix(word.context("a word is missing")?, 16)?)
}

#[cfg(test)]
mod proofs {
    use std::io::Write as _;

    use super::Known;

    #[test]
    fn what_was_acknowledged_later_was_not_promised() {
        let mut ledger = tempfile::NamedTempFile::new().unwrap();
        let lines = "sent a 0 1:2\nsent b 0 1:3\nstored a 49 5\nstored b 50 6\n";
        ledger.write_all(lines.as_bytes()).unwrap();
        for (until, promised) in [(4, [false; 2]), (5, [true, false]), (6, [true; 2])] {
            let mut known = Known::default();
            known.take_in(ledger.path(), until).unwrap();
            assert_eq!([0xa, 0xb].map(|at| known.batches[&at].promised), promised);
            // What came later was sent all the same: to find it is no wrong.
            assert_eq!(known.records.len(), 2);
        }
    }
}
