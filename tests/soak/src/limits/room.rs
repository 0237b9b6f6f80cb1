//! Room on the disk: somebody else takes all of it, or the file system turns read-only.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::{SHARDS, Told};
use crate::disk::{self, Mounted, does};
use crate::scene::{Scene, page, time_until, wait_until};
use crate::server::{Place, Ports, Server, Setup};
use crate::wire;

/// Bytes per second of each connection.
const RATE: u64 = 4_000_000;
const CYCLES: u64 = 4;
/// Until the segments that were ready are full.
const PATIENCE: Duration = Duration::from_mins(1);

/// A load that counts what was refused as stored must be found out.
pub(crate) fn prove(seed: u64) -> Result<()> {
    match cycles(seed, true) {
        Ok(_) => bail!("refused batches count as acknowledged, and nobody misses them"),
        Err(wrong) if format!("{wrong:#}").contains("lost: ") => Ok(()),
        Err(wrong) => Err(wrong.context("while the rig was proven on a planted bug")),
    }
}

/// Somebody else's file takes all room, some seconds later it is gone, and again.
pub(super) fn full(seed: u64) -> Result<Told> {
    cycles(seed, false)
}

fn cycles(seed: u64, early: bool) -> Result<Told> {
    let mut scene = Scene::new("full", seed)?;
    scene.early = early;
    let disk = mount(&mut scene)?;
    let cores = scene.chance.between(1, 2);
    let setup = Setup::new(cores);
    let (mut server, mut ports) = Server::start_as(&scene.place, &setup)?;
    wire::create(ports.wire, SHARDS)?;
    let (mut resumed, mut restarts) = (Vec::new(), 0);
    for _ in 0..CYCLES {
        let load = scene.load(ports, RATE)?;
        load.began()?;
        thread::sleep(Duration::from_millis(scene.chance.between(20, 300)));
        let ballast = scene.folder.path().join("mount/ballast");
        take_all(&disk, &ballast)?;
        wait_until("a full disk", PATIENCE, || {
            alive(&mut server, &scene.place)?;
            Ok(load.heard().refused() > 0)
        })?;
        let reasons = load.heard().reasons();
        ensure!(
            reasons.iter().eq(["DiskFull"]),
            "a full disk is called {reasons:?}"
        );
        thread::sleep(Duration::from_millis(scene.chance.between(0, 1_000)));
        says(ports, "/readyz", 503, "full")?;
        says(ports, "/healthz", 200, "")?;
        scene.stop(load)?;
        scene.judge(ports).context("on the full disk")?;
        if scene.chance.one_in(3) {
            // It may refuse to start where not a byte is left, but not damage anything.
            server.kill()?;
            match Server::start_as(&scene.place, &setup) {
                Ok(started) => (server, ports) = started,
                Err(wrong) => {
                    let said = format!("{wrong:#}");
                    ensure!(
                        said.contains("no room") || said.contains("full"),
                        "a start on a full disk: {said}"
                    );
                    std::fs::remove_file(&ballast)?;
                    (server, ports) = Server::start_as(&scene.place, &setup)?;
                }
            }
            restarts += 1;
            scene
                .judge(ports)
                .context("after a kill on the full disk")?;
        }
        let load = scene.load(ports, RATE)?;
        let before = load.heard().acknowledged();
        if std::fs::exists(&ballast)? {
            wait_until("refused again", PATIENCE, || Ok(load.heard().refused() > 0))?;
            std::fs::remove_file(&ballast)?;
            resumed.push(time_until("writes that go on", PATIENCE, || {
                Ok(load.heard().acknowledged() > before)
            })?);
        }
        says(ports, "/readyz", 200, "")?;
        scene.stop(load)?;
        scene.judge(ports)?;
    }
    server.kill()?;
    let (server, ports) = Server::start_as(&scene.place, &setup)?;
    scene.judge_all(ports)?;
    server.kill()?;
    disk.unmount()?;
    Ok(Told {
        tally: scene.tally,
        resumed,
        note: format!("{CYCLES} cycles, {restarts} kills on the full disk"),
    })
}

/// The file system turns read-only under load: the log stops, reads go on, a mount and a restart
/// heal it.
pub(super) fn read_only(seed: u64) -> Result<Told> {
    let mut scene = Scene::new("read-only", seed)?;
    let disk = mount(&mut scene)?;
    let setup = Setup::new(scene.chance.between(1, 2));
    let (mut server, ports) = Server::start_as(&scene.place, &setup)?;
    wire::create(ports.wire, SHARDS)?;
    let load = scene.load(ports, RATE)?;
    load.began()?;
    thread::sleep(Duration::from_millis(scene.chance.between(20, 1_500)));
    disk.turn_read_only()?;
    wait_until("refused writes", PATIENCE, || {
        alive(&mut server, &scene.place)?;
        Ok(load.heard().refused() > 0)
    })?;
    thread::sleep(Duration::from_millis(scene.chance.between(0, 1_000)));
    let reasons = load.heard().reasons();
    scene.stop(load)?;
    let reasons: Vec<_> = reasons.into_iter().collect();
    ensure!(
        reasons
            .iter()
            .all(|reason| ["LogFailed", "ReadOnly", "DiskFull"].contains(&reason.as_str())),
        "a read-only file system is called {reasons:?}"
    );
    says(ports, "/readyz", 503, "core")?;
    says(ports, "/healthz", 200, "")?;
    scene.judge(ports).context("on the read-only file system")?;
    alive(&mut server, &scene.place)?;
    server.kill()?;
    disk.unmount()?;
    let disk = Mounted::mount(
        &scene.folder.path().join("image"),
        &scene.folder.path().join("mount"),
        "ext4",
    )?;
    let (server, ports) = Server::start_as(&scene.place, &setup)?;
    scene.judge(ports)?;
    let load = scene.load(ports, RATE)?;
    load.began()?;
    scene.stop(load)?;
    scene.judge_all(ports)?;
    server.kill()?;
    disk.unmount()?;
    Ok(Told {
        tally: scene.tally,
        resumed: Vec::new(),
        note: format!("refused as {}, read while it was", reasons.join(" and ")),
    })
}

/// A small ext4 of the scene's own; its data goes there.
fn mount(scene: &mut Scene) -> Result<Mounted> {
    let (image, at) = (
        scene.folder.path().join("image"),
        scene.folder.path().join("mount"),
    );
    disk::make(&image, "ext4")?;
    scene.place.data = at.join("data");
    Mounted::mount(&image, &at, "ext4")
}

/// Writes a file until there is no room for one more byte of it.
fn take_all(disk: &Mounted, ballast: &Path) -> Result<()> {
    let free = disk.free()?.to_string();
    // The server may take some of it at the same time; then less is left for us.
    let _ = does("fallocate", &["-l".as_ref(), free.as_ref(), ballast]);
    let mut file = File::options().create(true).append(true).open(ballast)?;
    let bytes = vec![7; 1 << 16];
    while file.write_all(&bytes).is_ok() {}
    Ok(())
}

fn says(ports: Ports, path: &str, status: u16, word: &str) -> Result<()> {
    // The page is told by each core in turn: it may be a moment behind.
    let mut said = (0, String::new());
    let waited = wait_until("the admin port", Duration::from_secs(5), || {
        said = page(ports.admin, path)?;
        Ok(said.0 == status && said.1.contains(word))
    });
    waited.with_context(|| format!("{path} says {} {}", said.0, said.1.trim()))
}

/// It runs.
pub(super) fn alive(server: &mut Server, place: &Place) -> Result<()> {
    match server.ended()? {
        None => Ok(()),
        Some(status) => bail!(
            "the server ended, {status}: {}",
            crate::server::last_lines(&place.log)
        ),
    }
}
