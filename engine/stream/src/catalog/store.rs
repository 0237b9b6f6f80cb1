//! The catalog's file: tables and transactions.
//!
//! Owns: the redb database `catalog`. Never: rules about what may be changed.
//!
//! Tables: `streams` by (account, region, name); `accounts` by (account, region); `segments` by (log, generation), the sealed
//! segments that count; `logs` with each log's known generation; `begun` with the newest that was begun;
//! `given_up` and `given_up_segments`, what
//! an operator gave up; `numbers` with the rest. Each
//! change is one transaction, durable when the call returns; quick repair is set, so that opening
//! after a crash costs no scan.

use redb::{
    Database, ReadableDatabase, ReadableTable, StorageBackend, StorageError, TableDefinition,
    WriteTransaction,
};
use thiserror::Error;
use weir_log::{LedgerChange, LedgerState};
use weir_protocol::limits::EPOCH_MAX;
use weir_protocol::model::{Epoch, LogId, StreamName};
use weir_reactor::{BlockingDisk, BlockingFile, BootId};

use super::account;
use super::entry::{self, EntryError};
use super::given_up::{self, Fate, GivenUpRows};
use super::storage::CatalogStorage;
use crate::retention::ExpiryAccount;
use crate::settings::AccountSettings;
use crate::stream::Stream;

const STREAMS: TableDefinition<'_, (&str, &str, &str), &[u8]> = TableDefinition::new("streams");
const SEGMENTS: TableDefinition<'_, (u32, u64), ()> = TableDefinition::new("segments");
const LOGS: TableDefinition<'_, u32, u64> = TableDefinition::new("logs");
/// Made by the first log that begins a segment: a catalog without it is whole.
const BEGUN: TableDefinition<'_, u32, u64> = TableDefinition::new("begun");
const NUMBERS: TableDefinition<'_, &str, u64> = TableDefinition::new("numbers");
/// Made by the first change of an account's settings: a catalog without it is whole.
const ACCOUNTS: TableDefinition<'_, (&str, &str), &[u8]> = TableDefinition::new("accounts");
const SECRETS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("secrets");

/// Made by the first repair, as is the next: what an operator gave up, by shard and number.
const GIVEN_UP: TableDefinition<'_, (u64, u32, u64), &[u8]> = TableDefinition::new("given_up");
/// By log and generation.
const GIVEN_UP_SEGMENTS: TableDefinition<'_, (u32, u64), &[u8]> =
    TableDefinition::new("given_up_segments");

/// Latest version of the tables that this build knows; a catalog of a later one is refused. Version
/// 2 says that something was given up: a build that does not heed it would write into files that
/// are set aside.
const CATALOG_VERSION: u64 = 2;
/// Version of a catalog of which nothing was given up.
const CATALOG_VERSION_FIRST: u64 = 1;
const FILE: &str = "catalog";
const UNFINISHED_FILE: &str = "catalog.new";
/// What redb may keep in memory.
const CACHE_BYTES: usize = 8 << 20;

mod number {
    pub(super) const VERSION: &str = "version";
    pub(super) const NEXT_STREAM: &str = "next-stream";
    pub(super) const INCARNATION: &str = "incarnation";
    /// The epoch in which the shards went on after the last unclean stop.
    pub(super) const EPOCH: &str = "epoch";
    pub(super) const CLEAN: &str = "clean";
    pub(super) const CORES: &str = "cores";
    pub(super) const CORES_CHANGED: &str = "cores-changed";
    pub(super) const EXPIRY_EFFECTIVE_MS: &str = "expiry-effective-ms";
    pub(super) const EXPIRY_SINCE_JUMP_MS: &str = "expiry-since-jump-ms";
    pub(super) const EXPIRY_BEHIND_MS: &str = "expiry-behind-ms";
    pub(super) const EXPIRY_MONOTONIC_NS: &str = "expiry-monotonic-ns";
    /// Which start of the machine that is of. Not in the catalogs of earlier builds.
    pub(super) const EXPIRY_BOOT: &str = "expiry-boot";
}
const SEAL_KEY: &str = "seal-key";

/// Why the catalog cannot be read or written.
#[derive(Debug, Error)]
pub(crate) enum CatalogError {
    /// redb says so.
    #[error("{0}")]
    Storage(Box<redb::Error>),
    /// The file cannot be opened or made.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// An entry makes no sense.
    #[error("stream {name:?}: {source}")]
    Entry {
        /// The stream's name.
        name: String,
        /// What is wrong.
        source: EntryError,
    },
    /// An account's entry makes no sense.
    #[error("settings of account {account}: {source}")]
    Account {
        /// The account.
        account: String,
        /// What is wrong.
        source: EntryError,
    },
    /// A row about what was given up makes no sense.
    #[error("what was given up: {source}")]
    GivenUp {
        /// What is wrong.
        source: EntryError,
    },
    /// Tables of another version.
    #[error("catalog version {found}, this build reads up to {CATALOG_VERSION}: use a newer build")]
    Version {
        /// The version found.
        found: u64,
    },
    /// No epoch has such a number.
    #[error("epoch {found}, expected one up to {EPOCH_MAX}")]
    Epoch {
        /// The number found.
        found: u64,
    },
    /// A value that every catalog has is not there.
    #[error("{what} is missing")]
    Missing {
        /// Which.
        what: &'static str,
    },
}

fn epoch_of(found: u64) -> Result<Epoch, CatalogError> {
    let epoch = u16::try_from(found).ok().and_then(Epoch::new);
    epoch.ok_or(CatalogError::Epoch { found })
}

macro_rules! from_redb {
    ($($error:ident),*) => {$(
        impl From<redb::$error> for CatalogError {
            fn from(error: redb::$error) -> Self {
                Self::Storage(Box::new(error.into()))
            }
        }
    )*};
}
from_redb!(
    DatabaseError,
    TransactionError,
    TableError,
    StorageError,
    CommitError
);

/// The account and region that a server's streams are named under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Namespace {
    pub(crate) account: String,
    pub(crate) region: String,
}

/// What a catalog held when it was read.
#[derive(Debug)]
pub(crate) struct Contents {
    /// Streams of the server's namespace.
    pub(crate) named: Vec<Stream>,
    /// Streams of other accounts and regions.
    pub(crate) others: Vec<Stream>,
    /// What the server's account is told.
    pub(crate) account: AccountSettings,
    /// The next stream's number.
    pub(crate) next_stream: u64,
    /// Whether the last life of the server ended in good order.
    pub(crate) is_clean: bool,
    /// The secret for sealing read positions.
    pub(crate) seal_key: [u8; 32],
    /// The expiry clock; `None` before its first note.
    pub(crate) expiry: Option<ExpiryAccount>,
}

/// One life of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Life {
    /// Its number; rises with each start.
    pub(crate) incarnation: u64,
    /// Whether the folder was ever served by another number of cores: then records of a shard may
    /// lie in other logs than its core's.
    pub(crate) has_cores_changed: bool,
    /// The epoch in which shards went on after the last unclean stop, if there ever was one.
    pub(crate) epoch: Option<Epoch>,
}

/// The open catalog.
pub(crate) struct Catalog<D: BlockingDisk> {
    disk: D,
    /// `None` while a reopening failed.
    database: Option<Database>,
    namespace: Namespace,
}

impl<D: BlockingDisk> std::fmt::Debug for Catalog<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Catalog")
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

impl<D: BlockingDisk> Catalog<D> {
    /// Whether the folder has a catalog.
    pub(crate) fn exists(disk: &D) -> std::io::Result<bool> {
        disk.exists(FILE)
    }

    /// Makes the catalog of a new folder. It bears its name when it is complete, so a crash in
    /// between leaves none.
    pub(crate) fn create(disk: &D, seal_key: [u8; 32]) -> Result<(), CatalogError> {
        if disk.exists(UNFINISHED_FILE)? {
            disk.remove(UNFINISHED_FILE)?;
        }
        let storage = CatalogStorage::new(disk.create(UNFINISHED_FILE)?);
        let database = builder().create_with_backend(storage)?;
        write(&database, |change| {
            change.open_table(STREAMS)?;
            change.open_table(SEGMENTS)?;
            change.open_table(LOGS)?;
            let mut numbers = change.open_table(NUMBERS)?;
            numbers.insert(number::VERSION, CATALOG_VERSION_FIRST)?;
            numbers.insert(number::NEXT_STREAM, 1)?;
            numbers.insert(number::INCARNATION, 0)?;
            numbers.insert(number::CLEAN, 1)?;
            change
                .open_table(SECRETS)?
                .insert(SEAL_KEY, seal_key.as_slice())?;
            Ok(())
        })?;
        drop(database);
        disk.rename(UNFINISHED_FILE, FILE)?;
        Ok(())
    }

    /// Opens the catalog of a folder.
    pub(crate) fn open(disk: &D, namespace: Namespace) -> Result<Self, CatalogError> {
        let database = Some(open_database(disk)?);
        Ok(Self {
            disk: disk.clone(),
            database,
            namespace,
        })
    }

    /// Opens a copy of the catalog in memory, verified to the last page: the file stays as it is.
    /// Also whether the file was in order as it is.
    pub(crate) fn copy(disk: &D, namespace: Namespace) -> Result<(Self, bool), CatalogError> {
        let file = disk.open(FILE)?;
        let mut bytes = vec![0; file.bytes()? as usize];
        file.read_at(0, &mut bytes)?;
        let storage = redb::backends::InMemoryBackend::new();
        storage.set_len(bytes.len() as u64)?;
        storage.write(0, &bytes)?;
        drop(bytes);
        let mut database = builder().create_with_backend(storage)?;
        let in_order = database.check_integrity()?;
        let catalog = Self {
            disk: disk.clone(),
            database: Some(database),
            namespace,
        };
        Ok((catalog, in_order))
    }

    /// Opens the file again: after a failed write redb refuses all further ones, and whether the
    /// failed one is there is known only then. Stays closed if it cannot be read either.
    pub(crate) fn reopen(&mut self, cores: u32) -> Result<Contents, CatalogError> {
        self.database = None;
        self.database = Some(open_database(&self.disk)?);
        let contents = self.read(cores);
        if contents.is_err() {
            self.database = None;
        }
        contents
    }

    /// Whether the file is open: not if a reopening failed.
    pub(crate) fn is_open(&self) -> bool {
        self.database.is_some()
    }

    fn database(&self) -> Result<&Database, CatalogError> {
        let closed = || StorageError::Io(std::io::Error::other("the catalog is closed"));
        Ok(self.database.as_ref().ok_or_else(closed)?)
    }

    /// Everything but the segments.
    pub(crate) fn read(&self, cores: u32) -> Result<Contents, CatalogError> {
        let view = self.database()?.begin_read()?;
        let numbers = view.open_table(NUMBERS)?;
        let number = |what: &'static str| -> Result<u64, CatalogError> {
            let found = numbers.get(what)?.map(|value| value.value());
            found.ok_or(CatalogError::Missing { what })
        };
        let version = number(number::VERSION)?;
        if !(CATALOG_VERSION_FIRST..=CATALOG_VERSION).contains(&version) {
            return Err(CatalogError::Version { found: version });
        }
        let (mut named, mut others) = (Vec::new(), Vec::new());
        for row in view.open_table(STREAMS)?.iter()? {
            let (key, value) = row?;
            let (account, region, name) = key.value();
            let stream = entry::decode(name, value.value(), cores).map_err(|source| {
                CatalogError::Entry {
                    name: name.to_owned(),
                    source,
                }
            })?;
            if account == self.namespace.account && region == self.namespace.region {
                named.push(stream);
            } else {
                others.push(stream);
            }
        }
        let missing_key = CatalogError::Missing { what: SEAL_KEY };
        let secrets = view.open_table(SECRETS)?;
        let seal_key = secrets
            .get(SEAL_KEY)?
            .and_then(|value| value.value().try_into().ok());
        let expiry = match numbers.get(number::EXPIRY_EFFECTIVE_MS)? {
            None => None,
            Some(effective) => Some(ExpiryAccount {
                effective_ms: effective.value(),
                since_jump_ms: number(number::EXPIRY_SINCE_JUMP_MS)?,
                behind_ms: number(number::EXPIRY_BEHIND_MS)?,
                monotonic_ns: number(number::EXPIRY_MONOTONIC_NS)?,
                boot: BootId::from_bits(
                    numbers
                        .get(number::EXPIRY_BOOT)?
                        .map_or(0, |boot| boot.value()),
                ),
            }),
        };
        Ok(Contents {
            named,
            others,
            account: self.read_account(&view)?,
            next_stream: number(number::NEXT_STREAM)?,
            is_clean: number(number::CLEAN)? == 1,
            seal_key: seal_key.ok_or(missing_key)?,
            expiry,
        })
    }

    fn read_account(&self, view: &redb::ReadTransaction) -> Result<AccountSettings, CatalogError> {
        let accounts = match view.open_table(ACCOUNTS) {
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(AccountSettings::default()),
            opened => opened?,
        };
        let Namespace { account, region } = &self.namespace;
        let Some(found) = accounts.get((account.as_str(), region.as_str()))? else {
            return Ok(AccountSettings::default());
        };
        account::decode(found.value()).map_err(|source| CatalogError::Account {
            account: account.clone(),
            source,
        })
    }

    /// Writes what the account is told.
    pub(crate) fn put_account(&self, account: &AccountSettings) -> Result<(), CatalogError> {
        let bytes = account::encode(account);
        write(self.database()?, |change| {
            let Namespace { account, region } = &self.namespace;
            let key = (account.as_str(), region.as_str());
            change.open_table(ACCOUNTS)?.insert(key, bytes.as_slice())?;
            Ok(())
        })
    }

    /// Every log that something is recorded of.
    pub(crate) fn logs(&self) -> Result<Vec<u32>, CatalogError> {
        let view = self.database()?.begin_read()?;
        let mut logs = Vec::new();
        for row in view.open_table(LOGS)?.iter()? {
            logs.push(row?.0.value());
        }
        Ok(logs)
    }

    /// What is recorded of `log`. How the last life ended is not: a life that has begun has noted its
    /// own.
    pub(crate) fn ledger(&self, log: LogId) -> Result<LedgerState, CatalogError> {
        let view = self.database()?.begin_read()?;
        let known = view
            .open_table(LOGS)?
            .get(log.0)?
            .map_or(0, |known| known.value());
        let begun = match view.open_table(BEGUN) {
            Err(redb::TableError::TableDoesNotExist(_)) => 0,
            opened => opened?.get(log.0)?.map_or(0, |begun| begun.value()),
        };
        let mut segments = Vec::new();
        for row in view
            .open_table(SEGMENTS)?
            .range((log.0, 0)..=(log.0, u64::MAX))?
        {
            segments.push(row?.0.value().1);
        }
        let given_up = self.given_up()?;
        let of_log = given_up.segments.iter().filter(|row| row.log == log);
        let with = |fate: Fate| {
            let rows = of_log.clone().filter(move |row| row.fate == fate);
            rows.map(|row| row.generation).collect()
        };
        Ok(LedgerState {
            known_generation: known,
            segments,
            set_aside: with(Fate::SetAside),
            made_anew: with(Fate::MadeAnew),
            begun,
            closed: false,
        })
    }

    /// All that an operator gave up.
    pub(crate) fn given_up(&self) -> Result<GivenUpRows, CatalogError> {
        let view = self.database()?.begin_read()?;
        let strange = |source| CatalogError::GivenUp { source };
        let mut rows = GivenUpRows::default();
        // A catalog without the tables is whole: nothing was given up.
        match view.open_table(GIVEN_UP) {
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(rows),
            opened => {
                for row in opened?.iter()? {
                    let (key, value) = row?;
                    let records = given_up::decode_records(key.value(), value.value());
                    rows.records.push(records.map_err(strange)?);
                }
            }
        }
        for row in view.open_table(GIVEN_UP_SEGMENTS)?.iter()? {
            let (key, value) = row?;
            let segment = given_up::decode_segment(key.value(), value.value());
            rows.segments.push(segment.map_err(strange)?);
        }
        Ok(rows)
    }

    /// Writes what is given up, in place of what was said of the same numbers and segments before.
    /// Segments that are set aside count no more.
    pub(crate) fn give_up(&self, rows: &GivenUpRows) -> Result<(), CatalogError> {
        write(self.database()?, |change| {
            let mut records = change.open_table(GIVEN_UP)?;
            for row in &rows.records {
                let value = given_up::encode_records(row);
                records.insert(given_up::key_of(row), value.as_slice())?;
            }
            let mut notes = change.open_table(GIVEN_UP_SEGMENTS)?;
            let mut segments = change.open_table(SEGMENTS)?;
            for row in &rows.segments {
                let key = (row.log.0, row.generation);
                notes.insert(key, given_up::encode_segment(row).as_slice())?;
                if row.fate == Fate::SetAside {
                    segments.remove(key)?;
                }
            }
            let mut numbers = change.open_table(NUMBERS)?;
            numbers.insert(number::VERSION, CATALOG_VERSION)?;
            Ok(())
        })
    }

    /// Forgets rows: what they are about is gone.
    pub(crate) fn forget_given_up(&self, rows: &GivenUpRows) -> Result<(), CatalogError> {
        write(self.database()?, |change| {
            let mut records = change.open_table(GIVEN_UP)?;
            for row in &rows.records {
                records.remove(given_up::key_of(row))?;
            }
            let mut notes = change.open_table(GIVEN_UP_SEGMENTS)?;
            for row in &rows.segments {
                notes.remove((row.log.0, row.generation))?;
            }
            Ok(())
        })
    }

    /// Writes streams as they are now, new or changed, and the next stream's number.
    pub(crate) fn put_stream(&self, stream: &Stream, next_stream: u64) -> Result<(), CatalogError> {
        let bytes = entry::encode(stream);
        write(self.database()?, |change| {
            let Namespace { account, region } = &self.namespace;
            let key = (account.as_str(), region.as_str(), stream.name.as_str());
            change.open_table(STREAMS)?.insert(key, bytes.as_slice())?;
            change
                .open_table(NUMBERS)?
                .insert(number::NEXT_STREAM, next_stream)?;
            Ok(())
        })
    }

    /// Forgets a stream.
    pub(crate) fn remove_stream(&self, name: &StreamName) -> Result<(), CatalogError> {
        write(self.database()?, |change| {
            let Namespace { account, region } = &self.namespace;
            let key = (account.as_str(), region.as_str(), name.as_str());
            change.open_table(STREAMS)?.remove(key)?;
            Ok(())
        })
    }

    /// Notes one more opening of the folder, by `cores` cores, before it writes anything. It counts
    /// as ended uncleanly until [`Self::put_clean`].
    pub(crate) fn begin_life(&self, cores: u32) -> Result<Life, CatalogError> {
        let mut life = Life {
            incarnation: 0,
            has_cores_changed: false,
            epoch: None,
        };
        write(self.database()?, |change| {
            let mut numbers = change.open_table(NUMBERS)?;
            let number = |what: &str| -> Result<Option<u64>, CatalogError> {
                Ok(numbers.get(what)?.map(|value| value.value()))
            };
            let before = number(number::CORES)?;
            let changed_before = number(number::CORES_CHANGED)? == Some(1);
            life.incarnation = number(number::INCARNATION)?.unwrap_or(0) + 1;
            life.epoch = number(number::EPOCH)?.map(epoch_of).transpose()?;
            life.has_cores_changed =
                changed_before || before.is_some_and(|before| before != u64::from(cores));
            numbers.insert(number::INCARNATION, life.incarnation)?;
            numbers.insert(number::CLEAN, 0)?;
            numbers.insert(number::CORES, u64::from(cores))?;
            numbers.insert(number::CORES_CHANGED, u64::from(life.has_cores_changed))?;
            Ok(())
        })?;
        Ok(life)
    }

    /// Notes the epoch in which shards go on, before any of them does.
    pub(crate) fn put_epoch(&self, epoch: Epoch) -> Result<(), CatalogError> {
        write(self.database()?, |change| {
            let mut numbers = change.open_table(NUMBERS)?;
            numbers.insert(number::EPOCH, u64::from(epoch.get()))?;
            Ok(())
        })
    }

    /// Notes that every core closed its log: the next start need not raise epochs.
    pub(crate) fn put_clean(&self) -> Result<(), CatalogError> {
        write(self.database()?, |change| {
            change.open_table(NUMBERS)?.insert(number::CLEAN, 1)?;
            Ok(())
        })
    }

    /// Notes where the expiry clock stands.
    pub(crate) fn put_expiry(&self, account: &ExpiryAccount) -> Result<(), CatalogError> {
        write(self.database()?, |change| {
            let mut numbers = change.open_table(NUMBERS)?;
            numbers.insert(number::EXPIRY_EFFECTIVE_MS, account.effective_ms)?;
            numbers.insert(number::EXPIRY_SINCE_JUMP_MS, account.since_jump_ms)?;
            numbers.insert(number::EXPIRY_BEHIND_MS, account.behind_ms)?;
            numbers.insert(number::EXPIRY_MONOTONIC_NS, account.monotonic_ns)?;
            numbers.insert(number::EXPIRY_BOOT, account.boot.to_bits())?;
            Ok(())
        })
    }

    /// Applies a log's change of its segments.
    pub(crate) fn apply(&self, ledger: &LedgerChange) -> Result<(), CatalogError> {
        write(self.database()?, |change| {
            let log = ledger.log.0;
            let mut segments = change.open_table(SEGMENTS)?;
            for generation in &ledger.removed {
                segments.remove((log, *generation))?;
            }
            for generation in &ledger.added {
                segments.insert((log, *generation), ())?;
            }
            let mut logs = change.open_table(LOGS)?;
            let known = logs.get(log)?.map_or(0, |known| known.value());
            logs.insert(log, known.max(ledger.known_generation))?;
            if ledger.begun > 0 {
                let mut newest = change.open_table(BEGUN)?;
                let before = newest.get(log)?.map_or(0, |begun| begun.value());
                newest.insert(log, before.max(ledger.begun))?;
            }
            Ok(())
        })
    }
}

fn builder() -> redb::Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

fn open_database(disk: &impl BlockingDisk) -> Result<Database, CatalogError> {
    let storage = CatalogStorage::new(disk.open(FILE)?);
    Ok(builder().create_with_backend(storage)?)
}

/// One durable transaction.
fn write(
    database: &Database,
    make: impl FnOnce(&WriteTransaction) -> Result<(), CatalogError>,
) -> Result<(), CatalogError> {
    let mut change = database.begin_write()?;
    change.set_quick_repair(true);
    make(&change)?;
    change.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use weir_reactor::PlainDisk;

    use super::*;

    #[test]
    fn an_account_of_an_earlier_build_is_of_no_known_boot() {
        let folder = tempfile::tempdir().unwrap();
        let disk = PlainDisk::new(folder.path());
        Catalog::create(&disk, [7; 32]).unwrap();
        let namespace = Namespace {
            account: "000000000000".to_owned(),
            region: "local".to_owned(),
        };
        let catalog = Catalog::open(&disk, namespace).unwrap();
        catalog.begin_life(1).unwrap();
        let account = ExpiryAccount {
            effective_ms: 4,
            since_jump_ms: 3,
            behind_ms: 2,
            monotonic_ns: 1,
            boot: BootId::from_bits(u64::MAX),
        };
        catalog.put_expiry(&account).unwrap();
        assert_eq!(catalog.read(1).unwrap().expiry, Some(account));
        write(catalog.database().unwrap(), |change| {
            change.open_table(NUMBERS)?.remove(number::EXPIRY_BOOT)?;
            Ok(())
        })
        .unwrap();
        let boot = BootId::from_bits(0);
        let expected = ExpiryAccount { boot, ..account };
        assert_eq!(catalog.read(1).unwrap().expiry, Some(expected));
    }
}
