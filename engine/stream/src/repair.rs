//! Gives damage up, when an operator says so: never by itself, never a byte of a segment changed.
//!
//! Owns: what is to be given up, and the one transaction that says so. Never: finding damage, which
//! is [`crate::check`]; stepping over it, which the log does.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use weir_log::DamageKind;
use weir_protocol::model::{LogId, Offset, ShardId, ShardIndex, StreamId, StreamName};
use weir_reactor::{PlainDisk, wall_ms};

use crate::catalog::given_up::{Fate, Found, GivenUpRecords, GivenUpRows, GivenUpSegment};
use crate::catalog::store::{Catalog, Namespace};
use crate::check::{CheckedDamage, CheckedGivenUp, CheckedShard, Looked, look, told};
use crate::error::OpenFolderError;
use crate::stream::Stream;

/// What an operator names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RepairTarget {
    /// Records of one shard that cannot be read.
    Shard {
        /// The stream.
        stream: StreamName,
        /// The shard.
        shard: ShardIndex,
    },
    /// Damage of a log that is about no shard alone: segments that are gone or make no sense.
    Log(u32),
}

/// What a repair would give up. The folder is held until it is dropped.
pub struct RepairPlan {
    /// What is given up.
    pub gives_up: Vec<CheckedGivenUp>,
    /// Damage of what was named that this does not help against, and what does.
    pub left: Vec<(CheckedDamage, String)>,
    path: PathBuf,
    rows: GivenUpRows,
    _looked: Looked,
}

impl std::fmt::Debug for RepairPlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RepairPlan")
            .field("gives_up", &self.gives_up)
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

/// Looks at the whole folder, which no server uses, and says what giving up `targets` would mean.
/// Changes nothing. Blocks.
pub fn plan_repair(path: &Path, targets: &[RepairTarget]) -> Result<RepairPlan, OpenFolderError> {
    let looked = look(path)?;
    if !looked.is_known {
        let what = looked.checked.damage.first().map(|damage| &damage.what);
        return Err(OpenFolderError::Io {
            folder: path.display().to_string(),
            text: format!("the catalog: {}", what.cloned().unwrap_or_default()),
        });
    }
    let mut proposal = Proposal {
        looked: &looked,
        now_ms: wall_ms(),
        rows: GivenUpRows::default(),
        left: Vec::new(),
    };
    for target in targets {
        match target {
            RepairTarget::Shard { stream, shard } => {
                let shard = looked.shard_of(stream, *shard)?;
                proposal.give_up_shard(shard);
            }
            RepairTarget::Log(log) => proposal.give_up_log(*log)?,
        }
    }
    let Proposal { rows, mut left, .. } = proposal;
    // What one target leaves, another may be about.
    left.retain(|(damage, _)| !rows.settle(damage));
    let streams: BTreeMap<StreamId, &Stream> = looked.streams.iter().map(|s| (s.id, s)).collect();
    Ok(RepairPlan {
        gives_up: told(&rows, &streams),
        left,
        path: path.to_owned(),
        rows: rows.merged_into(&looked.given_up),
        _looked: looked,
    })
}

impl RepairPlan {
    /// Nothing is to be given up.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Gives it up: durable as a whole when this returns, and not at all if it does not.
    pub fn write(self) -> Result<(), OpenFolderError> {
        let folder = self.path.display().to_string();
        let nobody = Namespace {
            account: String::new(),
            region: String::new(),
        };
        let disk = PlainDisk::new(&self.path);
        let written = Catalog::open(&disk, nobody).and_then(|catalog| catalog.give_up(&self.rows));
        written.map_err(|error| OpenFolderError::Catalog {
            folder,
            text: error.to_string(),
        })
    }
}

impl Looked {
    fn shard_of(&self, name: &StreamName, index: ShardIndex) -> Result<ShardId, OpenFolderError> {
        let wrong = |text: String| OpenFolderError::Options { text };
        let mut named = self.streams.iter().filter(|stream| stream.name == *name);
        let Some(stream) = named.next() else {
            return Err(wrong(format!("stream \"{name}\" does not exist")));
        };
        if named.next().is_some() {
            let text = format!("several accounts or regions have a stream \"{name}\"");
            return Err(wrong(text));
        }
        match stream.shard(index) {
            Some(_) => Ok(stream.shard_id(index)),
            None => Err(wrong(format!("stream {name} has no {index}"))),
        }
    }
}

struct Proposal<'a> {
    looked: &'a Looked,
    now_ms: u64,
    rows: GivenUpRows,
    left: Vec<(CheckedDamage, String)>,
}

impl Proposal<'_> {
    fn give_up_shard(&mut self, shard: ShardId) {
        let looked = self.looked;
        for damage in &looked.checked.damage {
            let lost: Vec<_> = damage.lost.iter().filter(|l| l.shard == shard).collect();
            if lost.is_empty() {
                continue;
            }
            if damage.kind != DamageKind::Records {
                self.leave(damage);
                continue;
            }
            for records in lost {
                self.give_up_records(records, damage);
            }
            self.keep_around(damage);
        }
    }

    /// The stretches without a frame that the lost records lay in: they are told with them.
    fn keep_around(&mut self, damage: &CheckedDamage) {
        let looked = self.looked;
        let same_place = |other: &&CheckedDamage| {
            let same_log = other.log == damage.log && other.kind == DamageKind::Harmless;
            // Of a hole only the log is known.
            let overlaps = other.generation == damage.generation
                && other.at < damage.at + damage.bytes
                && damage.at < other.at + other.bytes;
            same_log && (damage.generation.is_none() || overlaps)
        };
        for other in looked.checked.damage.iter().filter(same_place) {
            self.note(other, Fate::Kept);
        }
    }

    fn give_up_log(&mut self, log: u32) -> Result<(), OpenFolderError> {
        let looked = self.looked;
        let checked = &looked.checked;
        if !checked.logs.iter().any(|known| known.log.0 == log) {
            let text = format!("the folder has no log {log}");
            return Err(OpenFolderError::Options { text });
        }
        for damage in checked.damage.iter().filter(|d| d.log == Some(log)) {
            let nobody_misses = damage.lost.iter().all(|lost| lost.stream.is_none());
            match damage.kind {
                DamageKind::Segment => {
                    self.note(damage, Fate::SetAside);
                    let exists = damage.lost.iter().filter(|lost| lost.stream.is_some());
                    for records in exists {
                        self.give_up_records(records, damage);
                    }
                }
                DamageKind::Footer => self.note(damage, Fate::MadeAnew),
                DamageKind::Harmless => self.note(damage, Fate::Kept),
                DamageKind::Records if nobody_misses => self.note(damage, Fate::Kept),
                DamageKind::Records | DamageKind::Foreign | DamageKind::Contradiction => {
                    self.leave(damage);
                }
                DamageKind::Passing => {}
            }
        }
        let is_aside = |row: &GivenUpSegment| row.log.0 == log && row.fate == Fate::SetAside;
        if !self.rows.segments.iter().any(is_aside) {
            return Ok(());
        }
        // Numbers that no segment holds: what is gone held them, as far as anybody can tell.
        let gaps = checked.damage.iter().filter(|damage| damage.log.is_none());
        for damage in gaps.filter(|damage| damage.kind == DamageKind::Records) {
            for records in &damage.lost {
                self.give_up_records(records, damage);
            }
        }
        self.raise_epochs(log)
    }

    /// If the newest segment of a log is gone, so may be the only note of numbers that were given
    /// out. An epoch rises with a new segment at the earliest: so many are skipped.
    fn raise_epochs(&mut self, log: u32) -> Result<(), OpenFolderError> {
        let looked = self.looked;
        let known = looked.ledgers.get(&log).map_or(0, |l| l.known_generation);
        let rows = self.rows.segments.iter().filter(|row| row.log.0 == log);
        let aside = rows.filter(|row| row.fate == Fate::SetAside);
        let newest_gone = aside.map(|row| row.generation).max().unwrap_or(0);
        let logs = &looked.checked.logs;
        let there = logs.iter().find(|found| found.log.0 == log);
        let newest_there = there.map_or(0, |found| found.newest_generation);
        let missing = known.max(newest_gone).saturating_sub(newest_there);
        if missing == 0 {
            return Ok(());
        }
        let mut least = Vec::new();
        for stream in &looked.streams {
            for shard in stream.shards.iter().filter(|s| s.closed.is_none()) {
                let id = stream.shard_id(shard.index);
                let tips = logs.iter().flat_map(|log| &log.tips);
                let tips = tips.filter(|tip| tip.shard == id).map(|tip| tip.next);
                let mut next = tips.max().unwrap_or(Offset::ZERO);
                for _ in 0..=missing {
                    next = next.next_epoch().ok_or_else(|| OpenFolderError::Options {
                        text: format!(
                            "{missing} segments of log {log} are gone at its end, and {} of stream \
                             {} has not so many numbers left: put the log back from a backup",
                            shard.index, stream.name
                        ),
                    })?;
                }
                least.push((id, next));
            }
        }
        let mut rows = self.rows.segments.iter_mut();
        let row = rows.find(|row| row.log.0 == log && row.generation == newest_gone);
        row.expect("it was put there").least_next = least;
        Ok(())
    }

    fn leave(&mut self, damage: &CheckedDamage) {
        if self.left.iter().any(|(known, _)| known == damage) {
            return;
        }
        let log = damage.log.unwrap_or(0);
        let advice = match damage.kind {
            DamageKind::Footer | DamageKind::Segment => {
                format!("it is about a whole segment: --log {log} --skip-damaged")
            }
            DamageKind::Records => {
                let lost = damage.lost.iter().find(|lost| lost.stream.is_some());
                lost.map_or_else(String::new, |lost| {
                    let stream = lost.stream.as_deref().unwrap_or_default();
                    format!("it is about records: --shard {stream}/{}", lost.shard.index)
                })
            }
            DamageKind::Foreign => {
                "the file is not of this log, or no segment any more: move it elsewhere".to_owned()
            }
            DamageKind::Harmless | DamageKind::Passing | DamageKind::Contradiction => {
                "nothing can be given up to mend it: put the folder back from a backup".to_owned()
            }
        };
        self.left.push((damage.clone(), advice));
    }

    fn found(&self, damage: &CheckedDamage) -> Found {
        Found {
            when_ms: self.now_ms,
            file: damage.file.clone(),
            at: damage.at,
            bytes: damage.bytes,
            what: damage.what.clone(),
        }
    }

    fn give_up_records(&mut self, records: &CheckedShard, damage: &CheckedDamage) {
        let CheckedShard {
            shard, from, until, ..
        } = *records;
        if self.rows.covers(shard, from, until) {
            return;
        }
        let found = self.found(damage);
        let rows = &mut self.rows.records;
        match rows
            .iter_mut()
            .find(|row| row.shard == shard && row.from == from)
        {
            Some(row) => row.until = row.until.max(until),
            None => rows.push(GivenUpRecords {
                shard,
                from,
                until,
                found,
            }),
        }
    }

    fn note(&mut self, damage: &CheckedDamage, fate: Fate) {
        let (Some(log), Some(generation)) = (damage.log, damage.generation) else {
            return;
        };
        let row = GivenUpSegment {
            log: LogId(log),
            generation,
            fate,
            least_next: Vec::new(),
            found: vec![self.found(damage)],
        };
        self.rows.add_segment(row);
    }
}

impl GivenUpRows {
    fn add_segment(&mut self, new: GivenUpSegment) {
        let same =
            |row: &&mut GivenUpSegment| (row.log, row.generation) == (new.log, new.generation);
        let Some(known) = self.segments.iter_mut().find(same) else {
            self.segments.push(new);
            return;
        };
        if known.fate == Fate::Kept || new.fate == Fate::SetAside {
            known.fate = new.fate;
        }
        for found in new.found {
            if !known.found.contains(&found) {
                known.found.push(found);
            }
        }
        if !new.least_next.is_empty() {
            known.least_next = new.least_next;
        }
    }

    /// Whether nothing of this damage is left when these rows are given up.
    fn settle(&self, damage: &CheckedDamage) -> bool {
        match damage.kind {
            DamageKind::Records => {
                let mut lost = damage.lost.iter().filter(|lost| lost.stream.is_some());
                lost.all(|lost| self.covers(lost.shard, lost.from, lost.until))
            }
            DamageKind::Segment | DamageKind::Footer => {
                let mut rows = self.segments.iter().filter(|row| {
                    Some(row.log.0) == damage.log && Some(row.generation) == damage.generation
                });
                rows.any(|row| match row.fate {
                    Fate::SetAside => true,
                    Fate::MadeAnew => damage.kind == DamageKind::Footer,
                    Fate::Kept => false,
                })
            }
            DamageKind::Foreign
            | DamageKind::Harmless
            | DamageKind::Passing
            | DamageKind::Contradiction => false,
        }
    }

    /// These rows, with what is known of the same ones already.
    fn merged_into(self, known: &Self) -> Self {
        let mut merged = Self::default();
        for row in self.records {
            let same = |old: &&GivenUpRecords| old.shard == row.shard && old.from == row.from;
            let old = known.records.iter().find(same).map(|old| old.until);
            let until = old.map_or(row.until, |until| until.max(row.until));
            merged.records.push(GivenUpRecords { until, ..row });
        }
        for row in self.segments {
            let same =
                |old: &&GivenUpSegment| (old.log, old.generation) == (row.log, row.generation);
            merged
                .segments
                .extend(known.segments.iter().find(same).cloned());
            merged.add_segment(row);
        }
        merged
    }
}
