//! Looks at a whole folder that no server uses, and changes nothing in it.
//!
//! Owns: what logs and catalog must say of each other. Never: the bytes of a log, which it checks
//! itself.

use std::collections::BTreeMap;
use std::path::Path;

use weir_log::{Hole, LedgerState, LogCheck, Lost, Span, check_log};
use weir_protocol::model::{LogId, Offset, ShardId, ShardIndex, StreamId, Timestamp};
use weir_reactor::{CorePlan, FolderLock, PlainDisk, Reactor, choose_cpus, start_cores, wall_ms};

use crate::boot::found_logs;
use crate::catalog::store::{Catalog, Contents, Namespace};
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

/// Holds the folder's lock and looks at all of it. An error means that it could not be looked at:
/// it is in use, it is no folder of ours, or the disk refuses reads. Blocks.
pub fn check_folder(path: &Path) -> Result<CheckedFolder, OpenFolderError> {
    let folder = path.display().to_string();
    let failed = |text: String| OpenFolderError::Io {
        folder: folder.clone(),
        text,
    };
    let disk = PlainDisk::new(path);
    let format = format::read(&disk).map_err(|error| match error {
        FormatError::Newer { found } => OpenFolderError::NewerFormat {
            folder: folder.clone(),
            found,
            known: FORMAT_VERSION,
        },
        FormatError::Nonsense(text) => OpenFolderError::Format {
            file: path.join(format::FILE).display().to_string(),
            text,
        },
        FormatError::Io(error) => failed(error.to_string()),
    })?;
    let Some(identity) = format else {
        let text = "it has no FORMAT file: it is not a folder of Weir's".to_owned();
        return Err(failed(text));
    };
    let _lock = FolderLock::hold(path).map_err(|error| OpenFolderError::Locked {
        text: error.to_string(),
    })?;
    let mut checked = CheckedFolder {
        segment_bytes: identity.segment_bytes,
        streams: 0,
        shards: 0,
        logs: Vec::new(),
        damage: Vec::new(),
        more_damage: 0,
    };
    let Some((catalog, contents)) = look_at_catalog(&disk, &mut checked.damage) else {
        return Ok(checked);
    };
    let cpus = choose_cpus(1).map_err(|error| failed(error.to_string()))?;
    let plan = CorePlan {
        cpus,
        folder: path.to_owned(),
    };
    let known = catalog_ledgers(&catalog);
    let running = start_cores(&plan, move |reactor| {
        let known = known.clone();
        async move { look_at_logs(&reactor, identity, &known).await }
    });
    let running = running.map_err(|error| failed(error.to_string()))?;
    let looked = running.join().pop().flatten();
    let looked = looked.unwrap_or_else(|| Err("the check panicked".to_owned()));
    checked.logs = looked.map_err(failed)?;
    let streams: BTreeMap<StreamId, &Stream> = contents
        .named
        .iter()
        .chain(&contents.others)
        .map(|stream| (stream.id, stream))
        .collect();
    checked.streams = streams.len();
    checked.shards = streams.values().map(|stream| stream.shards.len()).sum();
    let noted = contents.expiry.map_or(0, |expiry| expiry.effective_ms);
    let expiry = Timestamp::from_millis(noted.max(wall_ms()));
    hold_against(&streams, expiry, &mut checked);
    Ok(checked)
}

/// What of each log the catalog knows.
type Ledgers = Result<BTreeMap<u32, LedgerState>, String>;

fn look_at_catalog(
    disk: &PlainDisk,
    damage: &mut Vec<CheckedDamage>,
) -> Option<(Catalog<PlainDisk>, Contents)> {
    let nobody = Namespace {
        account: String::new(),
        region: String::new(),
    };
    let mut damaged = |what: String| {
        damage.push(CheckedDamage {
            log: None,
            file: "catalog".to_owned(),
            at: 0,
            bytes: 0,
            what: format!("{what}: put it back from a backup of the whole folder"),
            lost: Vec::new(),
        });
    };
    let looked = Catalog::copy(disk, nobody).and_then(|(catalog, in_order)| {
        let contents = catalog.read(1)?;
        Ok((catalog, contents, in_order))
    });
    match looked {
        Ok((catalog, contents, in_order)) => {
            if !in_order {
                damaged("its pages do not verify".to_owned());
            }
            Some((catalog, contents))
        }
        Err(error) => {
            damaged(format!(
                "it cannot be read ({error}), so the logs were not looked at"
            ));
            None
        }
    }
}

fn catalog_ledgers(catalog: &Catalog<PlainDisk>) -> Ledgers {
    let logs = catalog.logs().map_err(|error| error.to_string())?;
    logs.into_iter()
        .map(|log| {
            let ledger = catalog.ledger(LogId(log)).map_err(|e| e.to_string())?;
            Ok((log, ledger))
        })
        .collect()
}

async fn look_at_logs<R: Reactor>(
    reactor: &R,
    identity: weir_log::FolderIdentity,
    known: &Ledgers,
) -> Result<Vec<LogCheck>, String> {
    let known = known.as_ref().map_err(Clone::clone)?;
    let mut logs = found_logs(reactor).await.map_err(|e| e.to_string())?;
    // A log that the catalog counts segments of, and whose folder is gone, is looked for too.
    let counted = known
        .iter()
        .filter(|(_, ledger)| !ledger.segments.is_empty());
    logs.extend(counted.map(|(log, _)| LogId(*log)));
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
                ledger.tell(
                    "catalog",
                    None,
                    what,
                    closed.next,
                    last.next,
                    &mut checked.damage,
                );
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
        file: &str,
        log: Option<u32>,
        what: &str,
        from: Offset,
        until: Offset,
        damage: &mut Vec<CheckedDamage>,
    ) {
        damage.push(CheckedDamage {
            log,
            file: file.to_owned(),
            at: 0,
            bytes: 0,
            what: what.to_owned(),
            lost: vec![CheckedShard {
                stream: Some(self.stream.name.as_str().to_owned()),
                shard: self.stream.shard_id(self.index),
                from,
                until,
            }],
        });
    }

    /// Numbers rise without a break but where an epoch begins; holes are told unless the place of
    /// the damage was, or what they are about has expired.
    fn check(&self, damage: &mut Vec<CheckedDamage>) {
        let id = self.stream.shard_id(self.index);
        for (log, hole) in self.holes {
            let is_told = damage
                .iter()
                .flat_map(|d| &d.lost)
                .any(|lost| lost.shard == id && lost.from <= hole.from && hole.until <= lost.until);
            let after = self.spans.iter().find(|span| span.first >= hole.until);
            let is_expired = after.is_some_and(|span| span.first_arrival < self.horizon);
            if !is_told && !is_expired {
                let what = "a hole: an earlier start found these records damaged";
                let file = format!("log-{log:04}");
                self.tell(&file, Some(*log), what, hole.from, hole.until, damage);
            }
        }
        for pair in self.spans.windows(2) {
            let (before, after) = (pair[0], pair[1]);
            if after.first < before.next {
                let what = "numbers that two records have";
                self.tell("catalog", None, what, after.first, before.next, damage);
            }
            let in_epoch = after.first.epoch() == before.next.epoch();
            let is_known = self
                .holes
                .iter()
                .any(|(_, hole)| hole.from <= before.next && after.first <= hole.until);
            // A segment is given back when nothing in it lives: behind what expired, gaps are
            // usual, and where a byte cap trims they cannot be told from it.
            let lives = before.last_arrival >= self.horizon && self.stream.retain_bytes.is_none();
            if after.first > before.next && in_epoch && !is_known && lives {
                let what = "no segment holds these records";
                self.tell("catalog", None, what, before.next, after.first, damage);
            }
        }
    }
}
