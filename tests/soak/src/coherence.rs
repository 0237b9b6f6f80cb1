//! R9: whoever reads a file that is written past the page cache sees what was acknowledged.
//!
//! One core writes blocks in a file whose blocks were written before, round and round, as the log
//! writes its recycled segments. Behind its mark every block must have the number that it was given
//! last, or a later one; whoever reads also touches what lies ahead, so that old pages are in the cache when
//! the new block comes. The engine reads directly, and sealed files by maps; backups read through the
//! page cache.

use std::fs::File as StdFile;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use weir_reactor::{
    BLOCK_BYTES, CorePlan, CoreReactor, Disk, File, Lane, Map, Reactor, choose_cpus, start_cores,
};

use crate::chance::Chance;
use crate::disk::{self, Memory, Mounted};
use crate::folder;
use crate::rig::{Done, Order};

/// Small, so that each block is written again soon.
const BLOCKS: u64 = 512;
/// Blocks ahead of the mark that are touched with every look.
const AHEAD: u64 = 8;
const NAME: &str = "coherent";
/// How long the planted mistake is looked for.
const PROOF: Duration = Duration::from_secs(20);

/// What the writer tells of itself.
#[derive(Default)]
struct Shared {
    /// The number of the last block whose write has completed; numbers begin behind the first round,
    /// which laid the blocks out.
    mark: AtomicU64,
    is_over: AtomicBool,
    /// Why a reader ended before it was told to.
    ended: Mutex<Option<String>>,
    direct: Tally,
    mapped: Tally,
    buffered: Tally,
}

/// Looks of one way of reading.
#[derive(Default)]
struct Tally {
    looks: AtomicU64,
    stale: AtomicU64,
}

impl Tally {
    /// Looks at `block`'s bytes, which must not be older than `number`.
    fn look(&self, bytes: &[u8], number: u64) {
        let words = bytes.as_chunks::<8>().0.iter();
        // A block that is being written again may be of two numbers; both must be its own.
        let is_fresh = |word: u64| word >= number && (word - number).is_multiple_of(BLOCKS);
        let fresh = words.map(|w| u64::from_le_bytes(*w)).all(is_fresh);
        self.looks.fetch_add(1, Ordering::Relaxed);
        self.stale.fetch_add(u64::from(!fresh), Ordering::Relaxed);
    }

    fn counts(&self) -> (u64, u64) {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (of(&self.looks), of(&self.stale))
    }
}

/// A block behind the mark, seldom long behind it: its number.
fn behind(mark: u64, chance: &mut Chance) -> u64 {
    let most = if chance.one_in(4) {
        BLOCKS - 1 - 2 * AHEAD
    } else {
        3
    };
    mark - chance.between(0, most)
}

/// What is wrong with a reader on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Planted {
    Nothing,
    /// It takes the mark for one more than it is.
    PastTheMark,
    /// It ends after a while.
    Dies,
}

impl Planted {
    fn too_far(self) -> u64 {
        u64::from(self == Self::PastTheMark)
    }
}

/// Looks of a reader that is to die.
const LOOKS_OF_A_LIFE: u64 = 100;

fn place(number: u64) -> u64 {
    number % BLOCKS * BLOCK_BYTES as u64
}

pub(crate) fn run(order: &Order) -> Result<Done> {
    let (mut least, mut said, mut kinds) = (Duration::MAX, Vec::new(), Vec::new());
    for kind in ["ext4", "xfs", "tmpfs"] {
        if kind == "xfs" && !crate::rig::is_there("mkfs.xfs") {
            said.push("xfs: skipped: needs mkfs.xfs".to_owned());
            continue;
        }
        let left = order
            .until
            .map(|until| until.saturating_duration_since(Instant::now()) / 3);
        let time = Duration::from_secs(order.count).min(left.unwrap_or(Duration::MAX));
        let folder = folder::temporary("coherence")?;
        let at = folder.path().join("mount");
        std::fs::create_dir_all(&at)?;
        let told = if kind == "tmpfs" {
            let _memory = Memory::mount(&at)?;
            on(&at, order.seed, time)
        } else {
            let image = folder.path().join("image");
            disk::make(&image, kind)?;
            let _mounted = Mounted::mount(&image, &at, kind)?;
            on(&at, order.seed, time)
        };
        let (watched, told) = told.with_context(|| {
            let (seed, count) = (order.seed, order.count);
            format!("{kind}; replay: ./scripts/soak coherence --seed {seed} --count {count}")
        })?;
        least = least.min(watched);
        said.push(format!("{kind}: {told}"));
        kinds.push(kind);
    }
    Ok(Done::new(least.as_secs(), said.join("; ")).on(&kinds.join(", ")))
}

/// The proof, then the run: for how long, and what it came to.
fn on(at: &Path, seed: u64, time: Duration) -> Result<(Duration, String)> {
    let began = Instant::now();
    // A reader that looks past the mark must be seen to read what is not there yet.
    let planted = watch(at, seed, Planted::PastTheMark, PROOF)?;
    let (_, caught) = planted.direct.counts();
    ensure!(
        caught > 0,
        "a reader past the mark was not caught in {PROOF:?}"
    );
    let proof = began.elapsed().as_secs_f64();
    // A run whose reader dies says nothing of what it would have read.
    match watch(at, seed, Planted::Dies, PROOF) {
        Ok(_) => bail!("a reader died, and the run is called good"),
        Err(wrong) if format!("{wrong:#}").contains("a reader ended") => {}
        Err(wrong) => return Err(wrong.context("while a reader was to die")),
    }
    let began = Instant::now();
    let shared = watch(at, seed, Planted::Nothing, time)?;
    let watched = began.elapsed();
    let mut said = Vec::new();
    for (way, tally) in [
        ("direct", &shared.direct),
        ("map", &shared.mapped),
        ("page cache", &shared.buffered),
    ] {
        let (looks, stale) = tally.counts();
        ensure!(looks > 0, "nothing was read by {way}");
        ensure!(
            stale == 0,
            "{stale} of {looks} looks by {way} found what was overwritten before"
        );
        said.push(format!("{looks} by {way}"));
    }
    let rounds = shared.mark.load(Ordering::Relaxed) / BLOCKS;
    let told = format!(
        "{rounds} rounds written, {} fresh; a reader past the mark was caught after {proof:.1} s, one that \
         dies too",
        said.join(", ")
    );
    Ok((watched, told))
}

/// Writes and reads for a time; in a proof until something stale was read by `direct`.
fn watch(at: &Path, seed: u64, planted: Planted, time: Duration) -> Result<Arc<Shared>> {
    let shared = Arc::new(Shared::default());
    let cpus = choose_cpus(1)?;
    let plan = CorePlan {
        cpus,
        folder: at.to_owned(),
    };
    let on_core = Arc::clone(&shared);
    let running = start_cores(&plan, move |reactor| {
        let shared = Arc::clone(&on_core);
        async move {
            let outcome = write(&reactor, &shared, seed, planted).await;
            shared.is_over.store(true, Ordering::Release);
            outcome
        }
    })?;
    let file = at.join(NAME);
    let readers: Vec<_> = (0..2)
        .map(|reader| {
            let (shared, file) = (Arc::clone(&shared), file.clone());
            thread::spawn(move || read_buffered(&file, &shared, seed + reader, planted.too_far()))
        })
        .collect();
    let until = Instant::now() + time;
    while Instant::now() < until && !shared.is_over.load(Ordering::Acquire) {
        if planted == Planted::PastTheMark && shared.direct.counts().1 > 0 {
            break;
        }
        thread::sleep(Duration::from_millis(20));
    }
    shared.is_over.store(true, Ordering::Release);
    for reader in readers {
        match reader.join() {
            Ok(read) => read?,
            Err(_) => bail!("a reader panicked"),
        }
    }
    for outcome in running.join() {
        outcome.context("the core panicked")??;
    }
    let ended = shared.ended.lock().expect("nobody panics with it").take();
    if let Some(why) = ended {
        bail!("a reader ended: {why}");
    }
    Ok(shared)
}

async fn write(
    reactor: &CoreReactor,
    shared: &Arc<Shared>,
    seed: u64,
    planted: Planted,
) -> std::io::Result<()> {
    let disk = reactor.disk();
    let _ = disk.remove(NAME).await;
    disk.create_written(NAME, BLOCKS * BLOCK_BYTES as u64)
        .await?;
    let file = Rc::new(disk.open(NAME).await?);
    // The first round lays the numbers out.
    for number in BLOCKS..2 * BLOCKS {
        put(&*file, number, 1).await?;
    }
    shared.mark.store(2 * BLOCKS - 1, Ordering::Release);
    for (reader, is_map) in [(7, false), (8, true)] {
        let (file, shared, reactor) = (Rc::clone(&file), Arc::clone(shared), reactor.clone());
        let chance = Chance::new(seed + reader);
        reactor.clone().spawn(Lane::Network, async move {
            let read = read_here(&reactor, &*file, &shared, chance, planted, is_map).await;
            if let Err(error) = read {
                let mut ended = shared.ended.lock().expect("nobody panics with it");
                ended.get_or_insert_with(|| error.to_string());
                shared.is_over.store(true, Ordering::Release);
            }
        });
    }
    let mut chance = Chance::new(seed);
    let mut number = 2 * BLOCKS;
    while !shared.is_over.load(Ordering::Acquire) {
        // A write ends where the file does.
        let count = chance.between(1, 4).min(BLOCKS - number % BLOCKS);
        put(&*file, number, count).await?;
        number += count;
        shared.mark.store(number - 1, Ordering::Release);
        reactor.yield_now().await;
    }
    Ok(())
}

/// Writes blocks, each full of its number.
async fn put(
    file: &impl File<Buffer: AsMut<[u8]>>,
    number: u64,
    count: u64,
) -> std::io::Result<()> {
    let mut buffer = file.buffer(count as usize * BLOCK_BYTES);
    for (block, number) in buffer.as_mut().chunks_mut(BLOCK_BYTES).zip(number..) {
        for word in block.chunks_mut(8) {
            word.copy_from_slice(&number.to_le_bytes());
        }
    }
    file.write(Rc::new(buffer), place(number)).await
}

/// Reads as the engine does, on its core.
async fn read_here<F: File>(
    reactor: &CoreReactor,
    file: &F,
    shared: &Shared,
    mut chance: Chance,
    planted: Planted,
    is_map: bool,
) -> std::io::Result<()> {
    while !shared.is_over.load(Ordering::Acquire) {
        let mark = shared.mark.load(Ordering::Acquire) + planted.too_far();
        if planted == Planted::Dies && shared.direct.counts().0 > LOOKS_OF_A_LIFE {
            return Err(std::io::Error::other("it was to"));
        }
        if !is_map {
            let number = behind(mark, &mut chance);
            let read = file.read(place(number), BLOCK_BYTES).await?;
            shared.direct.look(read.as_ref(), number);
        } else if let Some(map) = file.map().await? {
            // Pages that were there before a block was written are brought in first.
            let from = place(mark + 1) as usize;
            let until = (from + AHEAD as usize * BLOCK_BYTES).min(BLOCKS as usize * BLOCK_BYTES);
            map.populate(from..until).await?;
            let number = behind(mark, &mut chance);
            let at = place(number) as usize;
            map.populate(at..at + BLOCK_BYTES).await?;
            shared.mapped.look(map.slice(at..at + BLOCK_BYTES), number);
        }
        reactor.yield_now().await;
    }
    Ok(())
}

/// Reads through the page cache, as whoever makes a backup.
fn read_buffered(path: &Path, shared: &Shared, seed: u64, too_far: u64) -> Result<()> {
    let mut chance = Chance::new(seed);
    let mut block = vec![0; BLOCK_BYTES];
    let mut opened = None;
    while !shared.is_over.load(Ordering::Acquire) {
        let mark = shared.mark.load(Ordering::Acquire);
        if mark == 0 {
            thread::sleep(Duration::from_millis(1));
            continue;
        }
        let file = match &opened {
            Some(file) => file,
            None => opened.insert(StdFile::open(path)?),
        };
        for number in mark + 1..=mark + AHEAD {
            file.read_exact_at(&mut block, place(number))?;
        }
        let number = behind(mark + too_far, &mut chance);
        file.read_exact_at(&mut block, place(number))?;
        shared.buffered.look(&block, number);
    }
    Ok(())
}
