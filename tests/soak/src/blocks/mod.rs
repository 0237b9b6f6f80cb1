//! R4, the block log: a disk that notes every write and flush, crash images made from its notes, and
//! faults on request.
//!
//! A process of ours serves one file over FUSE ([`serve`]); a loop device on it carries the file
//! system that the server lives on. What it was told ([`journal`]) is told again up to a moment
//! ([`replay`]): what was flushed by then stays, of the rest a drawn part. Each such image is mounted,
//! recovered, judged ([`image`]). The same disk fails and crawls under a server in [`faulty`].

mod device;
mod fault;
pub(crate) mod faulty;
mod fuse;
mod image;
pub(crate) mod journal;
mod record;
mod replay;
pub(crate) mod serve;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use self::image::{AGAIN, AtImage, Disk, Tally};
use self::record::{Plant, Recording};
use crate::disk::Memory;
use crate::folder;
use crate::rig::{Done, Order};

/// Images of one recording; then a new one.
const IMAGES: u64 = 25;

/// A server's word for a segment that counts and lost its name.
const NOWHERE: &str = "no file of the log's folder holds it";

pub(crate) fn ext4(order: &Order) -> Result<Done> {
    run(order, "ext4")
}

pub(crate) fn xfs(order: &Order) -> Result<Done> {
    run(order, "xfs")
}

fn run(order: &Order, kind: &str) -> Result<Done> {
    prove(order.seed, kind)?;
    let (mut all, mut recordings, mut acknowledged) = (Tally::default(), 0, 0);
    let mut seed = order.seed;
    while all.images < order.count && !order.is_over() {
        let images = IMAGES.min(order.count - all.images);
        let (recording, tally) = series(seed, images, kind, order)?;
        recordings += 1;
        acknowledged += recording.acknowledged;
        all.images += tally.images;
        all.records += tally.records;
        all.unpromised += tally.unpromised;
        all.kept += tally.kept;
        all.lost += tally.lost;
        all.again += tally.again;
        seed += 1;
    }
    let note = format!(
        "{recordings} recordings, {} recoveries cut too, {acknowledged} batches acknowledged, {} unflushed \
         sectors kept and {} lost, {} records judged, {} batches durable before their answer, 0 lost; proven on {}",
        all.again,
        all.kept,
        all.lost,
        all.records,
        all.unpromised,
        proof(kind)
    );
    Ok(Done::new(all.images, note).on(kind))
}

fn proof(kind: &str) -> &'static str {
    if kind == "ext4" {
        "early acknowledgements, a disk that lies about flushes, and folders that are not flushed"
    } else {
        "early acknowledgements and a disk that lies about flushes"
    }
}

/// A recording and its images, in memory; kept on disk if something is wrong.
fn series(seed: u64, images: u64, kind: &str, order: &Order) -> Result<(Recording, Tally)> {
    let folder = folder::temporary("blocks")?;
    let memory = Memory::mount(folder.path())?;
    let recording = Recording::make(memory.path(), kind, seed, Plant::Nothing)
        .with_context(|| format!("replay: ./scripts/soak blocks-{kind} --seed {seed} --count 1"))?;
    match image::judge_all(memory.path(), 0..images, order, Disk::Honest) {
        Ok(tally) => Ok((recording, tally)),
        Err(wrong) => {
            let index = wrong.downcast_ref::<AtImage>().map(|at| at.index);
            let kept = keep(memory.path(), kind, seed, index)?;
            let which = index.map_or_else(String::new, |index| format!(" --image {index}"));
            let replay = format!("replay: ./scripts/soak images {}{which}", kept.display());
            Err(wrong.context(replay))
        }
    }
}

/// Moves what a replay needs out of memory, with the recording of the recovery of the image in question.
fn keep(from: &Path, kind: &str, seed: u64, image: Option<u64>) -> Result<PathBuf> {
    let to = Path::new(folder::PLACE).join(format!("blocks-{kind}-{seed}"));
    std::fs::create_dir_all(&to)?;
    let to = to.canonicalize()?;
    for name in ["ledger", "recording"] {
        crate::disk::copy(&from.join(name), &to.join(name))?;
    }
    let again = image.map(|index| format!("{AGAIN}{index}"));
    for part in [Some(String::new()), again].into_iter().flatten() {
        if from.join(&part).exists() {
            std::fs::create_dir_all(to.join(&part))?;
            for name in ["base", "journal", "written"] {
                let name = Path::new(&part).join(name);
                crate::disk::copy(&from.join(&name), &to.join(&name))?;
            }
        }
    }
    Ok(to)
}

/// The words that judge a recording which was kept.
#[derive(clap::Parser)]
pub(crate) struct Kept {
    folder: PathBuf,
    /// Only this image.
    #[arg(long)]
    image: Option<u64>,
}

impl Kept {
    pub(crate) fn judge(&self) -> Result<()> {
        let images = self.image.map_or(0..IMAGES, |image| image..image + 1);
        let order = Order {
            seed: 0,
            count: 1,
            until: None,
        };
        let tally = image::judge_all(&self.folder, images, &order, Disk::Honest)?;
        println!("{} images, nothing wrong", tally.images);
        Ok(())
    }
}

/// A server that acknowledges before it flushes must be found out, a disk that does not flush, and a
/// server that flushes no folder. That one only on ext4: on xfs a record that is flushed takes the name
/// of its file along.
fn prove(seed: u64, kind: &str) -> Result<()> {
    let bugs = [
        (
            Plant::EarlyAnswers,
            Disk::Honest,
            "acknowledged before flushed",
        ),
        (
            Plant::Nothing,
            Disk::Lies,
            "a disk that only says it flushed",
        ),
        (
            Plant::LooseNames,
            Disk::Honest,
            "a server that flushes no folder",
        ),
    ];
    let catchable = |plant| plant != Plant::LooseNames || kind == "ext4";
    for (plant, disk, bug) in bugs.into_iter().filter(|(plant, ..)| catchable(*plant)) {
        let folder = folder::temporary("blocks")?;
        let memory = Memory::mount(folder.path())?;
        Recording::make(memory.path(), kind, seed, plant)?;
        let order = Order {
            seed,
            count: 1,
            until: Some(Instant::now() + Duration::from_mins(2)),
        };
        match image::judge_all(memory.path(), 0..12, &order, disk) {
            Ok(tally) => bail!("{bug}, and {} images do not show it", tally.images),
            Err(wrong) if format!("{wrong:#}").contains("lost: ") => {}
            // A segment that the catalog knows, and no folder.
            Err(wrong) if plant == Plant::LooseNames && format!("{wrong:#}").contains(NOWHERE) => {}
            Err(wrong) => return Err(wrong.context(format!("while the rig was proven on {bug}"))),
        }
    }
    Ok(())
}
