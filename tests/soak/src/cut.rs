//! R3: the power goes under load, and the file system is mounted again.
//!
//! A cut takes one of two things away at once. Either the server's file system ends without a flush of its
//! log: what it had not written is lost, names and lengths too. Or the disk below it loses its
//! cache: its image lies on another file system, is written through that one's memory, and it is that one
//! which ends. Blocks that were written and not flushed are lost then, as of a real disk.

use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::Result;

use crate::chance::Chance;
use crate::disk::{self, Cache, DISK_BYTES, Mounted};
use crate::lives::{self, Lives};
use crate::rig::{Done, Order};
use crate::scene::Scene;
use crate::server::Server;
use crate::wire;

const SHARDS: u32 = 4;
/// Bytes per second of each connection.
const RATE: u64 = 5_000_000;
/// Of the file system below the disk.
const BELOW_BYTES: u64 = DISK_BYTES + (128 << 20);

pub(crate) fn ext4(order: &Order) -> Result<Done> {
    run(order, "ext4")
}

pub(crate) fn xfs(order: &Order) -> Result<Done> {
    run(order, "xfs")
}

fn run(order: &Order, kind: &str) -> Result<Done> {
    let rig = format!("cut-{kind}");
    let planted = "a server whose flushes do not reach the disk";
    let series = |order: &Order, planted| {
        // No other file system can be told not to flush.
        let kind = if planted { "ext4" } else { kind };
        series(order, planted, kind)
    };
    Ok(lives::run(&rig, order, planted, series)?.on(kind))
}

/// The server's file system, the disk it is on, and the file system that holds that disk's image.
struct Stack {
    // The first to go.
    mounted: Mounted,
    below: Mounted,
}

impl Stack {
    fn make(folder: &Path, kind: &str) -> Result<()> {
        disk::make_of(&folder.join("below"), "ext4", BELOW_BYTES)?;
        let below = Self::mount_below(folder)?;
        disk::make(&folder.join("under").join("image"), kind)?;
        below.unmount()
    }

    fn mount_below(folder: &Path) -> Result<Mounted> {
        Mounted::mount(&folder.join("below"), &folder.join("under"), "ext4")
    }

    fn mount(folder: &Path, kind: &str, cache: Cache) -> Result<Self> {
        let below = Self::mount_below(folder)?;
        let image = folder.join("under").join("image");
        let mounted = Mounted::mount_with(&image, &folder.join("mount"), kind, cache)?;
        Ok(Self { mounted, below })
    }

    fn cut(&self, cache: Cache, chance: &mut Chance) -> Result<()> {
        if cache == Cache::NeverFlushed || chance.one_in(2) {
            self.below.cut()
        } else {
            self.mounted.cut()
        }
    }

    fn unmount(self) -> Result<()> {
        self.mounted.unmount()?;
        self.below.unmount()
    }
}

fn series(order: &Order, planted: bool, kind: &str) -> Result<Lives> {
    let mut scene = Scene::new("cut", order.seed)?;
    let folder = scene.folder.path().to_owned();
    let cache = if planted {
        Cache::NeverFlushed
    } else {
        Cache::Flushed
    };
    scene.place.data = folder.join("mount").join("data");
    Stack::make(&folder, kind)?;
    let mut lives = Lives::default();
    while lives.ended < order.count && !order.is_over() {
        let cores = scene.chance.between(1, 2);
        if lives.ended > 0 && scene.chance.one_in(4) {
            let stack = Stack::mount(&folder, kind, cache)?;
            let starting = Server::spawn(&scene.place, cores)?;
            thread::sleep(Duration::from_millis(scene.chance.between(1, 60)));
            stack.cut(cache, &mut scene.chance)?;
            lives.count_start(starting.kill_in_recovery()?);
            stack.unmount()?;
        }
        let stack = Stack::mount(&folder, kind, cache)?;
        let (server, ports) = Server::start(&scene.place, cores)?;
        if lives.ended == 0 {
            wire::create(ports.wire, SHARDS)?;
        }
        if planted {
            // Or there would be no stream to miss records of.
            stack.mounted.write_back()?;
            stack.below.write_back()?;
        }
        scene.judge(ports)?;
        let load = scene.load(ports, RATE)?;
        load.began()?;
        thread::sleep(Duration::from_millis(scene.chance.between(20, 400)));
        stack.cut(cache, &mut scene.chance)?;
        server.kill()?;
        scene.count(load.join()?);
        stack.unmount()?;
        lives.ended += 1;
    }
    let stack = Stack::mount(&folder, kind, cache)?;
    let (server, ports) = Server::start(&scene.place, 2)?;
    scene.judge_all(ports)?;
    server.kill()?;
    stack.unmount()?;
    lives.tally = scene.tally;
    Ok(lives)
}
