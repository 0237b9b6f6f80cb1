//! Tells a recording again up to a moment: what was flushed by then, and what was not.

use std::collections::HashSet;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use anyhow::{Context, Result};

use super::journal::{self, Event, Place};
use crate::chance::Chance;

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

/// Where ext4 has its superblock, of two sectors, which it writes in place and counts on to be written
/// whole: torn, it takes `e2fsck`, and no server would be there to be judged.
const WHOLE_BYTES: u64 = 4096;

/// A write that no flush covers yet.
#[derive(Debug, Clone, Copy)]
struct Loose {
    id: u64,
    place: Place,
    /// It was answered.
    wrote: bool,
}

/// A disk at a moment of its recording.
pub(super) struct Replay {
    events: Vec<Event>,
    told: usize,
    image: File,
    written: File,
    loose: Vec<Loose>,
    /// Flushes under way, and the writes each covers.
    flushing: Vec<(u64, HashSet<u64>)>,
}

/// What became of the sectors that no flush covered.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Fate {
    pub(super) kept: u64,
    pub(super) lost: u64,
}

impl Replay {
    /// `image` holds the disk as it was before the recording in `folder` began, and will change.
    pub(super) fn open(folder: &Path, image: &Path) -> Result<Self> {
        Ok(Self {
            events: journal::read(folder)?,
            told: 0,
            image: File::options().write(true).open(image)?,
            written: File::open(folder.join("written"))?,
            loose: Vec::new(),
            flushing: Vec::new(),
        })
    }

    /// The moment right behind the first flush that ends at `moment` or later.
    pub(super) fn behind_flush(&self, moment: u64) -> u64 {
        let rest = self.events.iter().skip(moment as usize);
        let ahead = rest.take_while(|event| !matches!(event, Event::Flushed { .. }));
        moment + ahead.count() as u64 + 1
    }

    /// The last moment.
    pub(super) fn end(&self) -> u64 {
        self.events.len() as u64
    }

    /// How many sectors no flush covers yet, at each moment.
    pub(super) fn loose_sectors(&self) -> Result<Vec<u64>> {
        let mut loose: Vec<Loose> = Vec::new();
        let mut flushing = Vec::new();
        let mut at = vec![0];
        for event in &self.events {
            follow(*event, &mut loose, &mut flushing, |_| Ok(()))?;
            let bytes: u64 = loose.iter().map(|loose| u64::from(loose.place.bytes)).sum();
            at.push(bytes / SECTOR as u64);
        }
        Ok(at)
    }

    /// The moment before the last so many flushes that ended by `moment`.
    pub(super) fn before_flushes(&self, moment: u64, flushes: usize) -> u64 {
        let told = self.events[..moment as usize].iter().enumerate().rev();
        let mut ended = told.filter(|(_, event)| matches!(event, Event::Flushed { .. }));
        ended.nth(flushes - 1).map_or(0, |(at, _)| at as u64)
    }

    /// Goes on to a moment; the image then holds what was flushed by then.
    pub(super) fn advance(&mut self, moment: u64) -> Result<()> {
        let to = self.events.len().min(moment as usize);
        while self.told < to {
            let (written, image) = (&self.written, &self.image);
            let settle = |write: &Loose| {
                let data = bytes(written, write.place)?;
                Ok(image.write_all_at(&data, write.place.offset)?)
            };
            let event = self.events[self.told];
            follow(event, &mut self.loose, &mut self.flushing, settle)?;
            self.told += 1;
        }
        Ok(())
    }

    /// Writes into a copy of the image some of what was not flushed: which, is drawn. A sector may
    /// keep any of its versions, each write may be cut anywhere, later ones may be there without
    /// earlier ones.
    pub(super) fn crash(&self, copy: &Path, chance: &mut Chance) -> Result<Fate> {
        let copy = File::options().write(true).open(copy)?;
        let how = chance.between(0, 4);
        let all = self.loose.len() as u64;
        let whole = chance.between(0, all);
        let odds = [2, 4, 6][chance.between(0, 2) as usize];
        let mut fate = Fate::default();
        for (index, write) in self.loose.iter().enumerate() {
            let data = bytes(&self.written, write.place)?;
            let sectors = data.chunks(SECTOR);
            let count = sectors.len() as u64;
            // Of the write at which a run of whole ones ends, a part.
            let cut = chance.between(0, count);
            let there = chance.one_in(2);
            for (sector, data) in sectors.enumerate() {
                let at = write.place.offset + (sector * SECTOR) as u64;
                let keep = match how {
                    0 => false,
                    1 => true,
                    _ if at < WHOLE_BYTES => there,
                    2 => {
                        let index = index as u64;
                        index < whole || index == whole && (sector as u64) < cut
                    }
                    3 => there,
                    _ => chance.between(0, 7) < odds,
                };
                if keep {
                    copy.write_all_at(data, at)?;
                    fate.kept += 1;
                } else {
                    fate.lost += 1;
                }
            }
        }
        Ok(fate)
    }
}

/// What one event makes of the writes that are loose; those that a flush covered go to `settle`.
fn follow(
    event: Event,
    loose: &mut Vec<Loose>,
    flushing: &mut Vec<(u64, HashSet<u64>)>,
    settle: impl Fn(&Loose) -> Result<()>,
) -> Result<()> {
    match event {
        Event::Write { id, place } => {
            let wrote = false;
            loose.push(Loose { id, place, wrote });
        }
        Event::Wrote { id } => {
            let write = loose.iter_mut().find(|loose| loose.id == id);
            write.context("an answer to no write")?.wrote = true;
        }
        Event::Flush { id } => {
            let answered = loose.iter().filter(|loose| loose.wrote);
            flushing.push((id, answered.map(|loose| loose.id).collect()));
        }
        Event::Flushed { id } => {
            let flush = flushing.iter().position(|(flush, _)| *flush == id);
            let (_, covered) = flushing.remove(flush.context("a flush of nothing")?);
            for write in loose.extract_if(.., |loose| covered.contains(&loose.id)) {
                settle(&write)?;
            }
        }
    }
    Ok(())
}

fn bytes(written: &File, place: Place) -> Result<Vec<u8>> {
    let mut data = vec![0; place.bytes as usize];
    written.read_exact_at(&mut data, place.from)?;
    Ok(data)
}

#[cfg(test)]
mod proofs {
    use std::path::PathBuf;

    use super::Replay;
    use crate::blocks::journal::{Event, Journal};
    use crate::chance::Chance;

    /// A flush that arrives before a write was answered does not cover it.
    #[test]
    fn a_flush_covers_what_was_answered_before_it_came() {
        let folder = tempfile::tempdir().unwrap();
        let (image, copy) = (folder.path().join("image"), folder.path().join("copy"));
        std::fs::write(&image, [0; 6144]).unwrap();
        let mut journal = Journal::create(folder.path()).unwrap();
        journal.write(1, 4096, &[1; 512]).unwrap();
        journal.note(Event::Wrote { id: 1 }).unwrap();
        journal.write(2, 4608, &[2; 1024]).unwrap();
        journal.note(Event::Flush { id: 3 }).unwrap();
        journal.note(Event::Wrote { id: 2 }).unwrap();
        journal.note(Event::Flushed { id: 3 }).unwrap();
        let mut replay = Replay::open(folder.path(), &image).unwrap();
        let first = |path: &PathBuf| {
            let bytes = std::fs::read(path).unwrap();
            [4096, 4608, 5120, 5632].map(|at| bytes[at])
        };
        replay.advance(5).unwrap();
        assert_eq!(first(&image), [0; 4]);
        replay.advance(6).unwrap();
        assert_eq!(first(&image), [1, 0, 0, 0]);
        assert_eq!(replay.before_flushes(6, 1), 5);
        assert_eq!(replay.before_flushes(5, 1), 0);
        // The other write is there in all of its four forms.
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..64 {
            std::fs::copy(&image, &copy).unwrap();
            let fate = replay.crash(&copy, &mut Chance::new(seed)).unwrap();
            assert_eq!(fate.kept + fate.lost, 2);
            seen.insert(first(&copy));
        }
        let forms = [[1, 0, 0, 0], [1, 0, 2, 0], [1, 2, 0, 0], [1, 2, 2, 0]];
        assert!(seen.into_iter().eq(forms));
    }
}
