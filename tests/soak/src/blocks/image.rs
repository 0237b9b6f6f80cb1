//! Crash images of one recording: made, mounted, recovered, judged.

use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use weir_protocol::model::StreamStatus;

use super::device::Device;
use super::fuse;
use super::record::{self, Recording};
use super::replay::{Fate, Replay};
use crate::chance::{Chance, mix};
use crate::disk::{self, Mounted};
use crate::judge::Hearing;
use crate::rig::Order;
use crate::server::{Place, Ports, Server};
use crate::wire;

/// What the images of one recording came to.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Tally {
    pub(super) images: u64,
    pub(super) records: u64,
    pub(super) unpromised: u64,
    pub(super) kept: u64,
    pub(super) lost: u64,
    /// Images whose recovery was recorded and cut in its turn.
    pub(super) again: u64,
}

/// What the name of a folder begins with, in that of a recording, that holds the recording of one image's
/// recovery; the image's index follows.
pub(super) const AGAIN: &str = "again-";

/// Which image something is wrong with.
#[derive(Debug, thiserror::Error)]
#[error("image {index} at moment {moment}{how}")]
pub(super) struct AtImage {
    pub(super) index: u64,
    moment: u64,
    how: String,
}

/// One image: when the power goes, and what of the unflushed stays is drawn from `chance`.
struct Cut {
    index: u64,
    moment: u64,
    chance: Chance,
}

/// How a disk may lie, to prove the rig.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Disk {
    Honest,
    /// It answered the last few flushes and did not do them.
    Lies,
}

/// By a disk that lies: those of a tenth of a second or so. A load on a busy machine may hear of fewer
/// too late to count on them.
const FORGOTTEN_FLUSHES: usize = 64;

fn cuts(
    recording: &Recording,
    replay: &Replay,
    indexes: impl Iterator<Item = u64>,
) -> Result<Vec<Cut>> {
    let loose = replay.loose_sectors()?;
    let draw = |index| {
        let mut chance = Chance::new(mix(recording.seed) ^ mix(index));
        let mut moment = chance.between(recording.from, recording.to);
        match chance.between(0, 3) {
            // Right behind a flush: what was just promised is the last to be written.
            0 => moment = replay.behind_flush(moment).min(recording.to),
            1 => {}
            // Where much was not flushed: of eight moments the worst.
            _ => {
                for _ in 1..8 {
                    let other = chance.between(recording.from, recording.to);
                    if loose[other as usize] > loose[moment as usize] {
                        moment = other;
                    }
                }
            }
        }
        Cut {
            index,
            moment,
            chance,
        }
    };
    let mut cuts: Vec<Cut> = indexes.map(draw).collect();
    cuts.sort_by_key(|cut| cut.moment);
    Ok(cuts)
}

/// Makes and judges some images of the recording in `folder`, in the order of their moments.
pub(super) fn judge_all(
    folder: &Path,
    indexes: impl Iterator<Item = u64>,
    order: &Order,
    disk: Disk,
) -> Result<Tally> {
    let recording = Recording::load(folder)?;
    let (durable, copy) = (folder.join("durable"), folder.join("copy"));
    disk::copy(&record::base(folder), &durable)?;
    let mut replay = Replay::open(folder, &durable)?;
    let mut tally = Tally::default();
    for mut cut in cuts(&recording, &replay, indexes)? {
        if order.is_over() {
            break;
        }
        let flushed = match disk {
            Disk::Honest => cut.moment,
            Disk::Lies => {
                let before = replay.before_flushes(cut.moment, FORGOTTEN_FLUSHES);
                before.max(recording.from)
            }
        };
        let (index, moment) = (cut.index, cut.moment);
        let at_image = |how: String| AtImage { index, moment, how };
        replay
            .advance(flushed)
            .with_context(|| at_image(String::new()))?;
        disk::copy(&durable, &copy)?;
        let fate = match disk {
            Disk::Honest => replay.crash(&copy, &mut cut.chance)?,
            Disk::Lies => Fate::default(),
        };
        let cores = cut.chance.between(1, 2);
        let again = disk == Disk::Honest && cut.chance.one_in(4);
        let kept = folder.join(format!("{AGAIN}{index}"));
        // It may be there: of an image that was kept because something is wrong with it.
        let is_kept = kept.exists();
        if again {
            let cut_again = cut_in_recovery(folder, &kept, &copy, &recording.kind, &mut cut.chance);
            let in_recovery =
                cut_again.with_context(|| at_image(", while its recovery was cut".to_owned()))?;
            tally.again += u64::from(in_recovery);
        }
        let verdict = judge(folder, &copy, &recording, cut.moment, cores);
        let (records, unpromised) = verdict.with_context(|| {
            at_image(format!(
                ", {} loose sectors kept, {} lost{}",
                fate.kept,
                fate.lost,
                if again { ", its recovery cut too" } else { "" }
            ))
        })?;
        if again && !is_kept {
            std::fs::remove_dir_all(&kept)?;
        }
        tally.images += 1;
        tally.records += records;
        tally.unpromised += unpromised;
        tally.kept += fate.kept;
        tally.lost += fate.lost;
    }
    Ok(tally)
}

/// The power goes once more, while what is on an image is recovered: puts an image of that in its place.
/// Its recording is made in `again`, if it is not there. Whether the server was still in recovery.
fn cut_in_recovery(
    folder: &Path,
    again: &Path,
    image: &Path,
    kind: &str,
    chance: &mut Chance,
) -> Result<bool> {
    let at = folder.join("judged");
    let mut in_recovery = false;
    let patience = Duration::from_millis(chance.between(1, 150));
    let cores = chance.between(1, 2);
    if !again.exists() {
        std::fs::create_dir(again)?;
        disk::copy(image, &record::base(again))?;
        disk::copy(image, &again.join(fuse::NAME))?;
        let mut device = Device::start(again, &folder.join("device"), true)?;
        device.tell(&format!("flush {}", record::FLUSH_US))?;
        let mounted = Mounted::mount(&device.image(), &at, kind)?;
        let place = Place {
            data: at.join("data"),
            log: folder.join("judged.log"),
        };
        let server = Server::spawn(&place, cores)?;
        thread::sleep(patience);
        in_recovery = server.kill_in_recovery()?;
        // What the file system writes now is noted too, and may be in the image or not.
        mounted.unmount()?;
        device.stop()?;
    }
    disk::copy(&record::base(again), image)?;
    let mut replay = Replay::open(again, image)?;
    replay.advance(chance.between(0, replay.end()))?;
    replay.crash(image, chance)?;
    Ok(in_recovery)
}

/// The file system recovers, then the server; then nothing that was promised by `moment` is missing.
fn judge(
    folder: &Path,
    image: &Path,
    recording: &Recording,
    moment: u64,
    cores: u64,
) -> Result<(u64, u64)> {
    let at = folder.join("judged");
    let mounted = Mounted::mount(image, &at, &recording.kind)?;
    let place = Place {
        data: at.join("data"),
        log: folder.join("judged.log"),
    };
    let (server, ports) = Server::start(&place, cores)?;
    let mut judge = Hearing::open(&record::ledger(folder), Some(moment))?;
    let verdict = judge.check(ports.http, false)?;
    drop(judge);
    check_passing(recording, moment, ports)?;
    // What was recovered can be written.
    wire::create_named(ports.wire, "afterwards", 1)?;
    wire::fill(ports.wire, "afterwards", 1)?;
    server.kill()?;
    mounted.unmount()?;
    Ok((verdict.records, verdict.unpromised))
}

fn check_passing(recording: &Recording, moment: u64, ports: Ports) -> Result<()> {
    for stream in &recording.passing {
        let found = wire::status(ports.wire, &stream.name)?;
        let name = &stream.name;
        match stream.deleted {
            Some((_, gone)) if gone <= moment => ensure!(
                matches!(found, None | Some(StreamStatus::Deleting)),
                "stream {name} was deleted and is {found:?}"
            ),
            Some((asked, _)) if asked <= moment => {}
            _ if stream.created <= moment => ensure!(
                found == Some(StreamStatus::Active),
                "lost: stream {name} was created and is {found:?}"
            ),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod proofs {
    use anyhow::{Result, anyhow};

    use super::{AtImage, Context};

    #[test]
    fn the_image_is_known_whatever_is_said_around_it() {
        let wrong: Result<()> = Err(anyhow!("lost: a batch"));
        let (index, moment, how) = (7, 8, ", 9 lost".to_owned());
        let wrong = wrong.context(AtImage { index, moment, how });
        let wrong = wrong.context("around it").unwrap_err();
        let at = wrong.downcast_ref::<AtImage>().map(|at| at.index);
        assert_eq!(at, Some(7));
        let said = format!("{wrong:#}");
        assert_eq!(
            said,
            "around it: image 7 at moment 8, 9 lost: lost: a batch"
        );
    }
}
