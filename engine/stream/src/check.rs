//! Looks at a whole folder that no server uses, and changes nothing in it.
//!
//! Owns: what logs and catalog must say of each other. Never: the bytes of a log, which it checks
//! itself.

use std::collections::BTreeMap;
use std::path::Path;

use weir_log::{DamageKind, FolderIdentity, Hole, LedgerState, LogCheck, Lost, Span, check_log};
use weir_protocol::model::{LogId, Offset, ShardId, ShardIndex, StreamId, Timestamp};
use weir_reactor::{CorePlan, FolderLock, PlainDisk, Reactor, choose_cpus, start_cores, wall_ms};

use crate::boot::found_logs;
use crate::catalog::given_up::{Fate, Found, GivenUpRows};
use crate::catalog::look::{CatalogFault, look_at_catalog};
use crate::catalog::store::{Contents, Namespace};
use crate::error::OpenFolderError;
use crate::format::{self, FORMAT_VERSION, FormatError};
use crate::stream::Stream;

/// What a look at a folder found.
#[derive(Debug, Clone)]
pub struct CheckedFolder {
    /// Bytes of one segment.
    pub segment_bytes: u64,
    /// Streams in the catalog.
    pub streams: usize,
    /// Shards in the catalog, open and closed.
    pub shards: usize,
    /// Each log.
    pub logs: Vec<LogCheck>,
    /// Everything that does not verify or does not fit.
    pub damage: Vec<CheckedDamage>,
    /// Damages beyond those.
    pub more_damage: u64,
    /// What an operator gave up: it is no damage any more.
    pub given_up: Vec<CheckedGivenUp>,
}

/// What an operator gave up, or is about to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedGivenUp {
    /// What that means.
    pub given_up_as: GivenUpAs,
    /// The log and the segment's generation, where it is about one.
    pub segment: Option<(u32, u64)>,
    /// The records that it costs, where it is about records.
    pub records: Option<CheckedShard>,
    /// The file or folder where the damage was found.
    pub file: String,
    /// Where it begins in the file.
    pub at: u64,
    /// How long it is.
    pub bytes: u64,
    /// What was found.
    pub what: String,
    /// When it was given up, in milliseconds since 1970.
    pub when_ms: u64,
}

/// What giving up means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GivenUpAs {
    /// Readers step over records.
    Records,
    /// A segment counts no more, and its file stays as it is.
    SetAside,
    /// A segment's footer is made anew.
    MadeAnew,
    /// Damage that costs no record stays.
    Kept,
}

/// Something that does not verify, or does not fit the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedDamage {
    /// The log, if it is about one.
    pub log: Option<u32>,
    /// The file or folder, in the data folder.
    pub file: String,
    /// Where it begins in the file.
    pub at: u64,
    /// How long it is.
    pub bytes: u64,
    /// What was found.
    pub what: String,
    /// Records that are lost by it, where that is known.
    pub lost: Vec<CheckedShard>,
    /// The segment's generation, where it is about one.
    pub generation: Option<u64>,
    /// What becomes of it.
    pub kind: DamageKind,
}

/// Records of a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedShard {
    /// The stream's name; `None` if it was deleted.
    pub stream: Option<String>,
    /// The shard.
    pub shard: ShardId,
    /// The first of them.
    pub from: Offset,
    /// One past the last.
    pub until: Offset,
}

impl CheckedFolder {
    /// Nothing is damaged.
    pub fn is_sound(&self) -> bool {
        self.damage.is_empty() && self.more_damage == 0
    }
}

/// A folder that was looked at, and is held.
pub(crate) struct Looked {
    pub(crate) checked: CheckedFolder,
    pub(crate) given_up: GivenUpRows,
    /// Of every account and region.
    pub(crate) streams: Vec<Stream>,
    pub(crate) ledgers: BTreeMap<u32, LedgerState>,
    /// The catalog could be read.
    pub(crate) is_known: bool,
    _lock: Option<FolderLock>,
}

/// Holds the folder's lock and looks at all of it. An error means that it could not be looked at:
/// it is in use, it is no folder of ours, or the disk refuses reads. Blocks.
pub fn check_folder(path: &Path) -> Result<CheckedFolder, OpenFolderError> {
    look(path).map(|looked| looked.checked)
}

/// As [`check_folder`], with all that the catalog says, and the folder is held.
pub(crate) fn look(path: &Path) -> Result<Looked, OpenFolderError> {
    let (identity, lock) = hold(path)?;
    let mut looked = Looked {
        checked: CheckedFolder {
            segment_bytes: identity.segment_bytes,
            streams: 0,
            shards: 0,
            logs: Vec::new(),
            damage: Vec::new(),
            more_damage: 0,
            given_up: Vec::new(),
        },
        given_up: GivenUpRows::default(),
        streams: Vec::new(),
        ledgers: BTreeMap::new(),
        is_known: false,
        _lock: lock,
    };
    let checked = &mut looked.checked;
    let nobody = Namespace {
        account: String::new(),
        region: String::new(),
    };
    let found = look_at_catalog(&PlainDisk::new(path), nobody);
    let found = match found.map_err(|error| io_error(path, error.to_string()))? {
        Ok(found) => found,
        Err(CatalogFault { text: what, .. }) => {
            let what =
                format!("it cannot be read ({what}), so the logs were not looked at: {PUT_BACK}");
            checked.damage.push(of_catalog(what));
            return Ok(looked);
        }
    };
    if !found.in_order {
        let what = format!("its pages do not verify: {PUT_BACK}");
        checked.damage.push(of_catalog(what));
    }
    checked.logs = look_at_logs_on_a_core(path, identity, &found.ledgers)?;
    let noted = found.contents.expiry.map_or(0, |e| e.effective_ms);
    let expiry = Timestamp::from_millis(noted.max(wall_ms()));
    let Contents { named, others, .. } = found.contents;
    looked.streams = named.into_iter().chain(others).collect();
    let streams: BTreeMap<StreamId, &Stream> = looked.streams.iter().map(|s| (s.id, s)).collect();
    checked.streams = streams.len();
    checked.shards = streams.values().map(|stream| stream.shards.len()).sum();
    hold_against(&streams, expiry, checked);
    checked
        .damage
        .retain(|damage| !explains(&found.given_up, damage));
    checked.given_up = told(&found.given_up, &streams);
    looked.ledgers = found.ledgers;
    looked.given_up = found.given_up;
    looked.is_known = true;
    Ok(looked)
}

fn io_error(path: &Path, text: String) -> OpenFolderError {
    OpenFolderError::Io {
        folder: path.display().to_string(),
        text,
    }
}

/// What FORMAT says, and the folder's lock.
fn hold(path: &Path) -> Result<(FolderIdentity, Option<FolderLock>), OpenFolderError> {
    if !path.is_dir() {
        return Err(io_error(path, "it is not there, or no folder".to_owned()));
    }
    let format = format::read(&PlainDisk::new(path)).map_err(|error| match error {
        FormatError::Newer { found } => OpenFolderError::NewerFormat {
            folder: path.display().to_string(),
            found,
            known: FORMAT_VERSION,
        },
        FormatError::Nonsense(text) => OpenFolderError::Format {
            file: path.join(format::FILE).display().to_string(),
            text,
        },
        FormatError::Io(error) => io_error(path, error.to_string()),
    })?;
    let Some(identity) = format else {
        let text = "it has no FORMAT file: it is not a folder of Weir's".to_owned();
        return Err(io_error(path, text));
    };
    let lock = FolderLock::hold(path).map_err(|error| OpenFolderError::Locked {
        text: error.to_string(),
    })?;
    Ok((identity, lock))
}

/// What to do about a catalog that rots.
const PUT_BACK: &str = "put it back from a backup of the whole folder";

fn of_catalog(what: String) -> CheckedDamage {
    CheckedDamage {
        log: None,
        file: "catalog".to_owned(),
        at: 0,
        bytes: 0,
        what,
        lost: Vec::new(),
        generation: None,
        kind: DamageKind::Contradiction,
    }
}

/// Whether damage is what was given up.
fn explains(given_up: &GivenUpRows, damage: &CheckedDamage) -> bool {
    let is_covered = |lost: &CheckedShard| given_up.covers(lost.shard, lost.from, lost.until);
    if !damage.lost.is_empty() && damage.lost.iter().all(is_covered) {
        return true;
    }
    let nobody_misses = damage.lost.iter().all(|lost| lost.stream.is_none());
    match (damage.log, damage.generation) {
        (Some(log), Some(generation)) if nobody_misses => {
            given_up.has_place(log, generation, damage.at, damage.bytes)
        }
        _ => false,
    }
}

/// What was given up, to be told.
pub(crate) fn told(
    given_up: &GivenUpRows,
    streams: &BTreeMap<StreamId, &Stream>,
) -> Vec<CheckedGivenUp> {
    let of = |found: &Found, given_up_as, segment, records| CheckedGivenUp {
        given_up_as,
        segment,
        records,
        file: found.file.clone(),
        at: found.at,
        bytes: found.bytes,
        what: found.what.clone(),
        when_ms: found.when_ms,
    };
    let mut all = Vec::new();
    for row in &given_up.records {
        let stream = streams.get(&row.shard.stream);
        let records = CheckedShard {
            stream: stream.map(|stream| stream.name.as_str().to_owned()),
            shard: row.shard,
            from: row.from,
            until: row.until,
        };
        all.push(of(&row.found, GivenUpAs::Records, None, Some(records)));
    }
    for row in &given_up.segments {
        let given_up_as = match row.fate {
            Fate::SetAside => GivenUpAs::SetAside,
            Fate::MadeAnew => GivenUpAs::MadeAnew,
            Fate::Kept => GivenUpAs::Kept,
        };
        let segment = Some((row.log.0, row.generation));
        for found in &row.found {
            all.push(of(found, given_up_as, segment, None));
        }
    }
    all
}

fn look_at_logs_on_a_core(
    path: &Path,
    identity: FolderIdentity,
    known: &BTreeMap<u32, LedgerState>,
) -> Result<Vec<LogCheck>, OpenFolderError> {
    let failed = |text: String| io_error(path, text);
    let cpus = choose_cpus(1).map_err(|error| failed(error.to_string()))?;
    let plan = CorePlan {
        cpus,
        folder: path.to_owned(),
    };
    let known = known.clone();
    let running = start_cores(&plan, move |reactor| {
        let known = known.clone();
        async move { look_at_logs(&reactor, identity, &known).await }
    });
    let running = running.map_err(|error| failed(error.to_string()))?;
    let logs = running.join().pop().flatten();
    let logs = logs.unwrap_or_else(|| Err("the check panicked".to_owned()));
    logs.map_err(failed)
}

async fn look_at_logs<R: Reactor>(
    reactor: &R,
    identity: FolderIdentity,
    known: &BTreeMap<u32, LedgerState>,
) -> Result<Vec<LogCheck>, String> {
    let mut logs = found_logs(reactor).await.map_err(|e| e.to_string())?;
    // A log that the catalog knows of, and whose folder is gone, is looked for too.
    let expected = known
        .iter()
        .filter(|(_, ledger)| !ledger.segments.is_empty() || ledger.being_written().is_some());
    logs.extend(expected.map(|(log, _)| LogId(*log)));
    logs.sort_unstable();
    logs.dedup();
    let mut checked = Vec::new();
    for log in logs {
        let ledger = known.get(&log.0).cloned().unwrap_or_default();
        let looked = check_log(reactor, identity, log, &ledger).await;
        checked.push(looked.map_err(|error| error.to_string())?);
    }
    Ok(checked)
}

/// Puts what the logs found beside what the catalog says.
fn hold_against(
    streams: &BTreeMap<StreamId, &Stream>,
    expiry: Timestamp,
    checked: &mut CheckedFolder,
) {
    let named = |lost: &Lost| CheckedShard {
        stream: streams
            .get(&lost.shard.stream)
            .map(|stream| stream.name.as_str().to_owned()),
        shard: lost.shard,
        from: lost.from,
        until: lost.until,
    };
    let mut spans: BTreeMap<ShardId, Vec<Span>> = BTreeMap::new();
    let mut holes: BTreeMap<ShardId, Vec<(u32, Hole)>> = BTreeMap::new();
    for log in &mut checked.logs {
        for damage in std::mem::take(&mut log.damage) {
            checked.damage.push(CheckedDamage {
                log: Some(log.log.0),
                file: damage.file,
                at: damage.at,
                bytes: damage.bytes,
                what: damage.what,
                lost: damage.lost.iter().map(named).collect(),
                generation: damage.generation,
                kind: damage.kind,
            });
        }
        checked.more_damage += log.more_damage;
        for (shard, found) in std::mem::take(&mut log.spans) {
            spans.entry(shard).or_default().extend(found);
        }
        for (shard, hole) in &log.holes {
            let known = holes.entry(*shard).or_default();
            if !known.iter().any(|(_, other)| other == hole) {
                known.push((log.log.0, *hole));
            }
        }
    }
    for found in spans.values_mut() {
        found.sort_by_key(|span| span.first);
    }
    for (id, stream) in streams {
        for shard in &stream.shards {
            let shard_id = ShardId::new(*id, shard.index);
            let spans = spans.get(&shard_id).map_or(&[][..], Vec::as_slice);
            let holes = holes.get(&shard_id).map_or(&[][..], Vec::as_slice);
            let ledger = OfShard {
                stream,
                index: shard.index,
                horizon: stream.horizon(expiry),
                spans,
                holes,
            };
            ledger.check(&mut checked.damage);
            if let (Some(closed), Some(last)) = (shard.closed, spans.last())
                && closed.next < last.next
            {
                let what = "records behind the end of a closed shard";
                let numbers = (closed.next, last.next);
                let kind = DamageKind::Contradiction;
                ledger.tell(None, what, numbers, kind, &mut checked.damage);
            }
        }
    }
}

/// All that is known of one shard.
struct OfShard<'a> {
    stream: &'a Stream,
    index: ShardIndex,
    /// What arrived before this has expired.
    horizon: Timestamp,
    /// Sorted.
    spans: &'a [Span],
    holes: &'a [(u32, Hole)],
}

impl OfShard<'_> {
    fn tell(
        &self,
        log: Option<u32>,
        what: &str,
        (from, until): (Offset, Offset),
        kind: DamageKind,
        damage: &mut Vec<CheckedDamage>,
    ) {
        damage.push(CheckedDamage {
            log,
            file: log.map_or_else(|| "catalog".to_owned(), |log| format!("log-{log:04}")),
            at: 0,
            bytes: 0,
            what: what.to_owned(),
            lost: vec![CheckedShard {
                stream: Some(self.stream.name.as_str().to_owned()),
                shard: self.stream.shard_id(self.index),
                from,
                until,
            }],
            generation: None,
            kind,
        });
    }

    /// Whether the place of the damage was told already.
    fn is_told(&self, (from, until): (Offset, Offset), damage: &[CheckedDamage]) -> bool {
        let id = self.stream.shard_id(self.index);
        let mut lost = damage.iter().flat_map(|d| &d.lost);
        lost.any(|lost| lost.shard == id && lost.from <= from && until <= lost.until)
    }

    /// Numbers rise without a break but where an epoch begins; holes are told unless the place of
    /// the damage was, or what they are about has expired.
    fn check(&self, damage: &mut Vec<CheckedDamage>) {
        for (log, hole) in self.holes {
            let numbers = (hole.from, hole.until);
            let is_told = self.is_told(numbers, damage);
            let after = self.spans.iter().find(|span| span.first >= hole.until);
            let is_expired = after.is_some_and(|span| span.first_arrival < self.horizon);
            if !is_told && !is_expired {
                let what = "a hole: an earlier start found these records damaged";
                self.tell(Some(*log), what, numbers, DamageKind::Records, damage);
            }
        }
        for pair in self.spans.windows(2) {
            let (before, after) = (pair[0], pair[1]);
            if after.first < before.next {
                let what = "numbers that two records have";
                let numbers = (after.first, before.next);
                self.tell(None, what, numbers, DamageKind::Contradiction, damage);
            }
            let in_epoch = after.first.epoch() == before.next.epoch();
            let is_known = self
                .holes
                .iter()
                .any(|(_, hole)| hole.from <= before.next && after.first <= hole.until);
            // A segment is given back when nothing in it lives: behind what expired, gaps are
            // usual, and where a byte cap trims they cannot be told from it.
            let lives = before.last_arrival >= self.horizon && self.stream.retain_bytes.is_none();
            let numbers = (before.next, after.first);
            let is_gap = after.first > before.next && in_epoch && !is_known && lives;
            if is_gap && !self.is_told(numbers, damage) {
                let what = "no segment holds these records";
                self.tell(None, what, numbers, DamageKind::Records, damage);
            }
        }
    }
}
