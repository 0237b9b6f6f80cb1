//! The simulated data folder as one life of the process sees it: every call takes virtual time, may
//! fail, and may be cut by a crash.
//!
//! Owns: latencies, and what a crash makes of an operation in flight. Never: the bytes (`image`).

use std::future::Future;
use std::io;
use std::ops::Range;
use std::rc::Rc;

use super::dice::Dice;
use super::executor::{Completion, Life};
use super::faults::Act;
use super::image::{
    FileImage, Image, Landing, SECTOR_BYTES, SharedFile, disk_full, input_output_error, locked,
};
use super::machine::Crash;
use crate::seam::{BLOCK_BYTES, Buffer, Disk, Entry, File, Map, Space};

const MICROSECOND: u64 = 1_000;
const MILLISECOND: u64 = 1_000_000;

/// An operation in flight that a crash may leave half done.
pub(super) enum Pending {
    Write {
        file: SharedFile,
        at: usize,
        data: Rc<SimBuffer>,
    },
    Create {
        path: String,
        bytes: u64,
    },
    Remove {
        path: String,
    },
    MakeFolder {
        path: String,
    },
}

impl Pending {
    /// What the crash makes of it: names change whole or not at all, data by sectors.
    pub(super) fn settle(self, how: Crash, image: &mut Image, dice: &mut Dice) {
        match self {
            Self::Write { file, at, data } => {
                let arrived = dice.subset(data.0.len() / SECTOR_BYTES);
                let landing = match how {
                    Crash::Kill => Landing::Cached,
                    Crash::PowerCut => Landing::Durable,
                };
                let keep = |index: usize| {
                    if arrived[index] {
                        landing
                    } else {
                        Landing::Lost
                    }
                };
                locked(&file).land(at, &data.0, keep);
            }
            // An operation that would have failed leaves nothing, as it promised.
            Self::Create { path, bytes } if dice.coin() => drop(image.create(&path, bytes)),
            Self::Remove { path } if dice.coin() => drop(image.remove(&path)),
            Self::MakeFolder { path } if dice.coin() => image.make_folder(&path),
            Self::Create { .. } | Self::Remove { .. } | Self::MakeFolder { .. } => {}
        }
    }
}

/// The data folder of one life.
#[derive(Clone)]
pub struct SimFolder {
    life: Rc<Life>,
}

/// A file opened in one life.
pub struct SimFile {
    life: Rc<Life>,
    path: Rc<str>,
    file: SharedFile,
    bytes: u64,
}

/// Memory to write from.
#[derive(Debug)]
pub struct SimBuffer(Vec<u8>);

/// The map of a disk that has none.
pub enum NoMap {}

/// Lets `apply` happen after `latency_ns`, unless a crash comes first.
async fn operate<T: 'static>(
    life: &Rc<Life>,
    latency_ns: u64,
    pending: Option<Pending>,
    apply: impl FnOnce(&Life) -> io::Result<T> + 'static,
) -> io::Result<T> {
    if life.is_dead() {
        return std::future::pending().await;
    }
    let done = Completion::new();
    let tell = Rc::clone(&done);
    let number = life.number();
    if let Some(pending) = pending {
        life.pending.borrow_mut().insert(number, pending);
    }
    life.after(latency_ns, move |life| {
        let finished = life.pending.borrow_mut().remove(&number);
        drop(finished);
        tell.complete(apply(life));
    });
    done.wait().await
}

fn check_path(path: &str) {
    assert!(
        !path.starts_with('/') && !path.ends_with('/'),
        "{path} is no path inside the folder"
    );
    assert!(
        path.split('/').all(|part| part != ".."),
        "{path} leaves the folder"
    );
}

impl SimFolder {
    pub(super) fn new(life: Rc<Life>) -> Self {
        Self { life }
    }

    async fn create(&self, path: &str, bytes: u64, latency_ns: u64) -> io::Result<()> {
        check_path(path);
        let path = path.to_owned();
        let pending = Pending::Create {
            path: path.clone(),
            bytes,
        };
        operate(&self.life, latency_ns, Some(pending), move |life| {
            life.world.trace("create", bytes, path.len() as u64);
            if life.world.strikes(Act::Create, &path) {
                return Err(disk_full());
            }
            locked(&life.world.image).create(&path, bytes).map(drop)
        })
        .await
    }

    /// An operation on names and numbers that `apply` does at its end.
    async fn other<T: 'static>(
        &self,
        path: &str,
        pending: Option<Pending>,
        apply: impl FnOnce(&mut Image) -> io::Result<T> + 'static,
    ) -> io::Result<T> {
        check_path(path);
        let path = path.to_owned();
        let latency_ns = self.life.world.latency(20 * MICROSECOND, 500 * MICROSECOND);
        operate(&self.life, latency_ns, pending, move |life| {
            life.world.trace("name", path.len() as u64, 0);
            if life.world.strikes(Act::Other, &path) {
                return Err(input_output_error());
            }
            apply(&mut locked(&life.world.image))
        })
        .await
    }
}

impl Disk for SimFolder {
    type File = SimFile;

    async fn make_folder(&self, path: &str) -> io::Result<()> {
        let folder = path.to_owned();
        let pending = Pending::MakeFolder {
            path: folder.clone(),
        };
        let apply = move |image: &mut Image| {
            image.make_folder(&folder);
            Ok(())
        };
        self.other(path, Some(pending), apply).await
    }

    async fn list(&self, path: &str) -> io::Result<Vec<Entry>> {
        let folder = path.to_owned();
        self.other(path, None, move |image| list(image, &folder))
            .await
    }

    async fn create_written(&self, path: &str, bytes: u64) -> io::Result<()> {
        let writing_ns = bytes / 4;
        let latency_ns = self.life.world.latency(MILLISECOND, 5 * MILLISECOND) + writing_ns;
        self.create(path, bytes, latency_ns).await
    }

    async fn create_reserved(&self, path: &str, bytes: u64) -> io::Result<()> {
        let latency_ns = self.life.world.latency(200 * MICROSECOND, MILLISECOND);
        self.create(path, bytes, latency_ns).await
    }

    async fn open(&self, path: &str) -> io::Result<SimFile> {
        let name = path.to_owned();
        let file = self
            .other(path, None, move |image| image.file(&name))
            .await?;
        let bytes = locked(&file).bytes() as u64;
        Ok(SimFile {
            life: Rc::clone(&self.life),
            path: path.into(),
            file,
            bytes,
        })
    }

    async fn remove(&self, path: &str) -> io::Result<()> {
        let name = path.to_owned();
        let pending = Pending::Remove { path: name.clone() };
        self.other(path, Some(pending), move |image| image.remove(&name))
            .await
    }

    async fn space(&self) -> io::Result<Space> {
        let full = self.life.world.faults.borrow().disk_full;
        let space = move |image: &mut Image| {
            let free = if full { 0 } else { image.free_bytes() };
            Ok(Space {
                free,
                total: image.capacity_bytes,
            })
        };
        self.other("", None, space).await
    }
}

fn list(image: &Image, folder: &str) -> io::Result<Vec<Entry>> {
    if !image.folders.contains(folder) {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            format!("no folder {folder}"),
        ));
    }
    let inside = |path: &str| {
        let rest = if folder.is_empty() {
            path
        } else {
            path.strip_prefix(folder)?.strip_prefix('/')?
        };
        (!rest.is_empty() && !rest.contains('/')).then(|| rest.to_owned())
    };
    let files = image.names.iter().filter_map(|(path, file)| {
        let bytes = locked(file).bytes() as u64;
        inside(path).map(|name| Entry {
            name,
            bytes,
            is_folder: false,
        })
    });
    let folders = image.folders.iter().filter_map(|path| {
        inside(path).map(|name| Entry {
            name,
            bytes: 0,
            is_folder: true,
        })
    });
    let mut entries: Vec<Entry> = files.chain(folders).collect();
    entries.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(entries)
}

impl SimFile {
    fn check_range(&self, at: u64, bytes: usize) {
        assert!(
            at.is_multiple_of(BLOCK_BYTES as u64),
            "position {at} is not on a block"
        );
        assert!(
            bytes.is_multiple_of(BLOCK_BYTES),
            "length {bytes} is not whole blocks"
        );
        assert!(
            at + bytes as u64 <= self.bytes,
            "{bytes} bytes at {at} pass the end of {}",
            self.path
        );
    }

    /// Time for `bytes` at about 4 GB/s, on top of the device's own.
    fn latency(&self, low_us: u64, high_us: u64, bytes: usize) -> u64 {
        self.life
            .world
            .latency(low_us * MICROSECOND, high_us * MICROSECOND)
            + bytes as u64 / 4
    }

    async fn operate<T: 'static>(
        &self,
        latency_ns: u64,
        pending: Option<Pending>,
        apply: impl FnOnce(&Life, &str, &mut FileImage) -> io::Result<T> + 'static,
    ) -> io::Result<T> {
        let (path, file) = (Rc::clone(&self.path), SharedFile::clone(&self.file));
        operate(&self.life, latency_ns, pending, move |life| {
            apply(life, &path, &mut locked(&file))
        })
        .await
    }
}

/// Puts a write at another block if the faults say so: of its own file, or of one of that length.
fn misdirect(life: &Life, path: &str, file: &mut FileImage, at: usize, data: &[u8]) -> bool {
    let world = &life.world;
    let mut dice = world.dice.borrow_mut();
    if !world.faults.borrow_mut().misdirects(path, &mut dice) {
        return false;
    }
    let places = (file.bytes() - data.len()) / BLOCK_BYTES + 1;
    let mut place = dice.below(places as u64) as usize * BLOCK_BYTES;
    let image = locked(&world.image);
    // Its own file is locked already.
    let others = image.names.iter().filter(|(name, _)| *name != path);
    let others = others.filter(|(_, other)| locked(other).durable().len() == file.bytes());
    let others: Vec<&SharedFile> = others.map(|(_, other)| other).collect();
    world.misdirected.set(world.misdirected.get() + 1);
    world.trace("misdirected", at as u64, place as u64);
    if !others.is_empty() && dice.coin() {
        let other = others[dice.below(others.len() as u64) as usize];
        locked(other).land_durably(place, data);
        return true;
    }
    if place == at {
        place = (at + BLOCK_BYTES) % (places * BLOCK_BYTES);
    }
    file.land_durably(place, data);
    true
}

impl File for SimFile {
    type Buffer = SimBuffer;
    type Bytes = Vec<u8>;
    type Map = NoMap;

    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn buffer(&self, bytes: usize) -> SimBuffer {
        assert!(
            bytes.is_multiple_of(BLOCK_BYTES),
            "length {bytes} is not whole blocks"
        );
        // Never zeros: whoever relies on what a new buffer holds shall fail here.
        SimBuffer(vec![0xa5; bytes])
    }

    async fn write(&self, buffer: Rc<SimBuffer>, at: u64) -> io::Result<()> {
        self.check_range(at, buffer.0.len());
        let latency_ns = self.latency(60, 200, buffer.0.len());
        let at = at as usize;
        self.life
            .world
            .trace("write", at as u64, buffer.0.len() as u64);
        let file = SharedFile::clone(&self.file);
        let pending = Pending::Write {
            file,
            at,
            data: Rc::clone(&buffer),
        };
        self.operate(latency_ns, Some(pending), move |life, path, file| {
            if !life.world.strikes(Act::Write, path) {
                if !misdirect(life, path, file, at, &buffer.0) {
                    file.land_durably(at, &buffer.0);
                }
                return Ok(());
            }
            let mut dice = life.world.dice.borrow_mut();
            let arrived = dice.subset(buffer.0.len() / SECTOR_BYTES);
            let landing = if dice.coin() {
                Landing::Cached
            } else {
                Landing::Durable
            };
            file.land(at, &buffer.0, |index| {
                if arrived[index] {
                    landing
                } else {
                    Landing::Lost
                }
            });
            Err(input_output_error())
        })
        .await
    }

    async fn read(&self, at: u64, bytes: usize) -> io::Result<Vec<u8>> {
        self.check_range(at, bytes);
        let latency_ns = self.latency(50, 150, bytes);
        self.operate(latency_ns, None, move |life, path, file| {
            life.world.trace("read", at, bytes as u64);
            if life.world.strikes(Act::Read, path) {
                return Err(input_output_error());
            }
            let mut content = vec![0; bytes];
            file.read(at as usize, &mut content)?;
            Ok(content)
        })
        .await
    }

    async fn flush(&self) -> io::Result<()> {
        let latency_ns = self.latency(100, 400, 0);
        self.operate(latency_ns, None, |life, path, file| {
            life.world.trace("flush", file.cached_sectors() as u64, 0);
            if life.world.strikes(Act::Flush, path) {
                file.fail_flush(&mut life.world.dice.borrow_mut());
                return Err(input_output_error());
            }
            file.flush();
            Ok(())
        })
        .await
    }

    fn map(&self) -> impl Future<Output = io::Result<Option<NoMap>>> {
        std::future::ready(Ok(None))
    }

    fn forget_pages(&self) -> impl Future<Output = io::Result<()>> {
        std::future::ready(Ok(()))
    }
}

impl AsRef<[u8]> for SimBuffer {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl AsMut<[u8]> for SimBuffer {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl Buffer for SimBuffer {
    fn truncate(&mut self, bytes: usize) {
        assert!(
            bytes.is_multiple_of(BLOCK_BYTES),
            "length {bytes} is not whole blocks"
        );
        assert!(
            bytes <= self.0.len(),
            "{bytes} bytes are more than the buffer has"
        );
        self.0.truncate(bytes);
    }
}

impl Map for NoMap {
    fn is_resident(&self, _range: Range<usize>) -> bool {
        match *self {}
    }

    fn slice(&self, _range: Range<usize>) -> &[u8] {
        match *self {}
    }

    async fn populate(&self, _range: Range<usize>) -> io::Result<()> {
        match *self {}
    }
}
