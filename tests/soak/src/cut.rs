//! R3: the file system is shut down under load, as when the power goes, and mounted again.

use std::thread;
use std::time::Duration;

use anyhow::Result;

use crate::disk::{self, Mounted};
use crate::lives::{self, Lives};
use crate::rig::{Done, Order};
use crate::scene::Scene;
use crate::server::Server;
use crate::wire;

const SHARDS: u32 = 4;
/// Bytes per second of each connection.
const RATE: u64 = 5_000_000;

pub(crate) fn ext4(order: &Order) -> Result<Done> {
    run(order, "ext4")
}

pub(crate) fn xfs(order: &Order) -> Result<Done> {
    run(order, "xfs")
}

fn run(order: &Order, kind: &str) -> Result<Done> {
    let rig = format!("cut-{kind}");
    let done = lives::run(&rig, order, |order, early| series(order, early, kind))?;
    Ok(done.on(kind))
}

fn series(order: &Order, early: bool, kind: &str) -> Result<Lives> {
    let mut scene = Scene::new("cut", order.seed)?;
    scene.early = early;
    let folder = scene.folder.path();
    let (image, at) = (folder.join("image"), folder.join("mount"));
    scene.place.data = at.join("data");
    disk::make(&image, kind)?;
    let mut lives = Lives::default();
    while lives.ended < order.count && !order.is_over() {
        let cores = scene.chance.between(1, 2);
        if lives.ended > 0 && scene.chance.one_in(4) {
            let mounted = Mounted::mount(&image, &at, kind)?;
            let starting = Server::spawn(&scene.place, cores)?;
            thread::sleep(Duration::from_millis(scene.chance.between(1, 60)));
            mounted.cut()?;
            lives.count_start(starting.kill_in_recovery()?);
            mounted.unmount()?;
        }
        let mounted = Mounted::mount(&image, &at, kind)?;
        let (server, ports) = Server::start(&scene.place, cores)?;
        if lives.ended == 0 {
            wire::create(ports.wire, SHARDS)?;
        }
        scene.judge(ports)?;
        let load = scene.load(ports, RATE)?;
        load.began()?;
        thread::sleep(Duration::from_millis(scene.chance.between(20, 400)));
        mounted.cut()?;
        server.kill()?;
        scene.count(load.join()?);
        mounted.unmount()?;
        lives.ended += 1;
    }
    let mounted = Mounted::mount(&image, &at, kind)?;
    let (server, ports) = Server::start(&scene.place, 2)?;
    scene.judge_all(ports)?;
    server.kill()?;
    mounted.unmount()?;
    lives.tally = scene.tally;
    Ok(lives)
}
