//! R2: kill -9 under load at any moment, in recovery too, on changing core counts.

use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::lives::{self, Lives};
use crate::rig::{Done, Order};
use crate::scene::Scene;
use crate::server::Server;
use crate::{folder, wire};

const SHARDS: u32 = 6;
/// Bytes per second of each connection: four or so keep a small machine busy.
const RATE: u64 = 12_000_000;

pub(crate) fn run(order: &Order) -> Result<Done> {
    let planted = "a load that counts as acknowledged what it sent";
    let done = lives::run("kill", order, planted, series)?;
    Ok(done.on(&folder::filesystem(Path::new(folder::PLACE))))
}

fn series(order: &Order, early: bool) -> Result<Lives> {
    let mut scene = Scene::new("kill", order.seed)?;
    scene.early = early;
    let mut lives = Lives::default();
    let (server, ports) = Server::start(&scene.place, scene.chance.between(1, 2))?;
    wire::create(ports.wire, SHARDS)?;
    server.kill()?;
    while lives.ended < order.count && !order.is_over() {
        let cores = scene.chance.between(1, 2);
        if scene.chance.one_in(4) {
            let starting = Server::spawn(&scene.place, cores)?;
            thread::sleep(Duration::from_millis(scene.chance.between(1, 60)));
            lives.count_start(starting.kill_in_recovery()?);
        }
        let (server, ports) = Server::start(&scene.place, cores)?;
        scene.judge(ports)?;
        let load = scene.load(ports, RATE)?;
        load.began()?;
        thread::sleep(Duration::from_millis(scene.chance.between(50, 2_000)));
        server.kill()?;
        scene.count(load.join()?);
        let refused = scene.tally.refused;
        ensure!(refused == 0, "{refused} batches were refused");
        lives.ended += 1;
    }
    let (server, ports) = Server::start(&scene.place, 2)?;
    scene.judge_all(ports)?;
    server.kill()?;
    lives.tally = scene.tally;
    Ok(lives)
}
