//! R7: clients behind a network that splits, delays, holds, cuts and loses what goes through it.
//!
//! What was acknowledged is there once; what was not may be there, once; of what did not reach the
//! server whole nothing is there. Clients beside them go on being answered, and when all is over the
//! server has as many sockets, and as much memory, as before.

pub(crate) mod client;
mod fault;
pub(crate) mod h2;
mod lie;
pub(crate) mod notes;
mod proxy;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use weir_protocol::wire::response::StreamDescription;

use self::client::{Job, SPEECHES, Speech};
use self::fault::{ENDS, End, Fault};
use self::lie::{LIES, Lie};
use self::notes::Notes;
use self::proxy::Proxy;
use crate::admin::Metrics;
use crate::chance::Chance;
use crate::judge::Hearing;
use crate::rig::{Done, Order};
use crate::server::{Place, Ports, Server};
use crate::{folder, process, wire};

/// Connections through the network on one folder; then a new one, so that the ledger stays small.
const CONNECTIONS: u64 = 60;
/// Of them at the same time.
const AT_ONCE: u64 = 12;
const SHARDS: u32 = 6;
/// Clients that nothing happens to.
const NEIGHBOURS: u64 = 3;
/// Answers that each of them gets while a dozen others have their faults.
const ANSWERS: u64 = 20;
const PATIENCE: Duration = Duration::from_secs(30);
/// What the server was told, and what its memory may have grown by without a connection.
const MEMORY_BYTES: u64 = 512 << 20;
const GROWTH_BYTES: f64 = 48e6;

#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    connections: u64,
    broken: u64,
    acknowledged: u64,
    held: u64,
    records: u64,
    unpromised: u64,
    neighbours: u64,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.connections += other.connections;
        self.broken += other.broken;
        self.acknowledged += other.acknowledged;
        self.held += other.held;
        self.records += other.records;
        self.unpromised += other.unpromised;
        self.neighbours += other.neighbours;
    }
}

pub(crate) fn run(order: &Order) -> Result<Done> {
    prove(order.seed)?;
    let mut all = Tally::default();
    let mut seed = order.seed;
    while all.connections < order.count && !order.is_over() {
        let connections = CONNECTIONS.min(order.count - all.connections);
        let tally = series(seed, connections, order).with_context(|| {
            format!("replay: ./scripts/soak net --seed {seed} --count {connections}")
        })?;
        all.add(tally);
        seed += 1;
    }
    let note = format!(
        "{} broken in the middle, {} batches acknowledged, {} held back by the network, {} records \
         judged, {} batches durable without an answer, 0 lost, none twice, none of those held back; \
         {} answers for neighbours; proven on {} lies",
        all.broken,
        all.acknowledged,
        all.held,
        all.records,
        all.unpromised,
        all.neighbours,
        LIES.len()
    );
    Ok(Done::new(all.connections, note).on(&folder::filesystem(Path::new(folder::PLACE))))
}

/// A server, its stream, its ledger and its judge.
struct Scene {
    server: Server,
    ports: Ports,
    stream: Arc<StreamDescription>,
    ledger: std::path::PathBuf,
    judge: Hearing,
    connections: u64,
    _folder: tempfile::TempDir,
}

impl Scene {
    fn open(seed: u64) -> Result<Self> {
        let folder = folder::temporary("net")?;
        let place = Place {
            data: folder.path().join("data"),
            log: folder.path().join("server.log"),
        };
        let ledger = folder.path().join("ledger");
        std::fs::write(&ledger, "")?;
        let (server, ports) = Server::start(&place, 1 + seed % 2)?;
        wire::create(ports.wire, SHARDS)?;
        Ok(Self {
            stream: Arc::new(wire::describe(ports.wire)?),
            judge: Hearing::open(&ledger, None)?,
            server,
            ports,
            ledger,
            connections: 0,
            _folder: folder,
        })
    }

    /// Ledger pages for one client.
    fn notes(&mut self, speech: Speech) -> Result<Vec<Notes>> {
        (0..client::lanes(speech))
            .map(|_| {
                self.connections += 1;
                Notes::open(&self.ledger, self.connections)
            })
            .collect()
    }

    /// Sends one client through a network of its own.
    fn send(
        &mut self,
        speech: Speech,
        fault: Fault,
        lie: Option<Lie>,
        seed: u64,
    ) -> Result<JoinHandle<Result<Tally>>> {
        let to = match speech {
            Speech::Wire => self.ports.wire,
            Speech::Http1 | Speech::Http2 => self.ports.http,
        };
        let proxy = Proxy::open(to, fault, lie, seed)?;
        let mut notes = self.notes(speech)?;
        let stream = Arc::clone(&self.stream);
        Ok(thread::spawn(move || {
            let mut chance = Chance::new(seed);
            let job = Job {
                at: proxy.address,
                stream: &stream,
                batches: chance.between(10, 40),
                chance,
            };
            let talked = client::talk(speech, job, &mut notes);
            let passed = proxy.close()?;
            let mut tally = Tally {
                connections: 1,
                broken: u64::from(talked.is_err()),
                ..Tally::default()
            };
            // HTTP has a word for a request that ends early.
            let may_refuse = passed.happened && fault.end == End::Finish;
            for notes in notes {
                let (acknowledged, refused, held) = notes.close(passed.up)?;
                ensure!(
                    refused == 0 || may_refuse && speech != Speech::Wire,
                    "{refused} batches over {speech:?} were refused"
                );
                tally.acknowledged += acknowledged;
                tally.held += held;
            }
            let is_cut = passed.happened && fault.end != End::Stall;
            if let Err(error) = talked
                && !is_cut
            {
                bail!("{speech:?} through {fault:?}, which did not break it: {error}");
            }
            Ok(tally)
        }))
    }
}

/// The judge must name each lie of a proxy.
fn prove(seed: u64) -> Result<()> {
    for (lie, word) in LIES {
        let mut scene = Scene::open(seed)?;
        let speech = if lie == Lie::Flip {
            Speech::Http1
        } else {
            Speech::Wire
        };
        let sent = scene.send(speech, Fault::NONE, Some(lie), seed)?;
        let sent = join(sent).with_context(|| format!("with a proxy that does {lie:?}"))?;
        ensure!(sent.acknowledged >= 10, "{lie:?}: {sent:?} is no proof");
        match scene.judge.check(scene.ports.http, true) {
            Ok(_) => bail!("a proxy does {lie:?}, and the judge says nothing"),
            Err(wrong) => {
                let wrong = format!("{wrong:#}");
                ensure!(wrong.contains(word), "{lie:?}, and the judge says {wrong}");
            }
        }
        scene.server.kill()?;
    }
    Ok(())
}

fn join<T>(thread: JoinHandle<Result<T>>) -> Result<T> {
    thread.join().map_err(|_| anyhow!("a client panicked"))?
}

/// Clients that nothing happens to, for as long as the others have their faults.
struct Neighbours {
    over: Arc<AtomicBool>,
    answers: Vec<Arc<AtomicU64>>,
    threads: Vec<JoinHandle<Result<()>>>,
}

impl Neighbours {
    fn start(scene: &mut Scene, seed: u64) -> Result<Self> {
        let mut neighbours = Self {
            over: Arc::default(),
            answers: Vec::new(),
            threads: Vec::new(),
        };
        for nth in 0..NEIGHBOURS {
            let answers = Arc::<AtomicU64>::default();
            neighbours.answers.push(Arc::clone(&answers));
            let over = Arc::clone(&neighbours.over);
            let mut notes = scene.notes(Speech::Wire)?.remove(0);
            let (at, stream) = (scene.ports.wire, Arc::clone(&scene.stream));
            neighbours.threads.push(thread::spawn(move || {
                let job = Job {
                    at,
                    stream: &stream,
                    batches: u64::MAX,
                    chance: Chance::new(seed ^ nth << 32),
                };
                let talked = client::wire(job, &mut notes, |notes| {
                    answers.store(notes.acknowledged, Ordering::SeqCst);
                    // Many of them would be the load; they are there to be answered.
                    thread::sleep(Duration::from_millis(2));
                    !over.load(Ordering::SeqCst)
                });
                talked.context("a client that nothing happened to was not answered")?;
                let (_, refused, _) = notes.close(u64::MAX)?;
                ensure!(
                    refused == 0,
                    "{refused} batches of a neighbour were refused"
                );
                Ok(())
            }));
        }
        Ok(neighbours)
    }

    fn so_far(&self) -> Vec<u64> {
        let count = |count: &Arc<AtomicU64>| count.load(Ordering::SeqCst);
        self.answers.iter().map(count).collect()
    }

    /// Waits until each was answered `ANSWERS` times more than `before`.
    fn go_on(&self, before: &[u64]) -> Result<()> {
        process::until(PATIENCE, || {
            let now = self.so_far();
            let all = now
                .iter()
                .zip(before)
                .all(|(now, before)| now - before >= ANSWERS);
            let ended = self.threads.iter().any(JoinHandle::is_finished);
            ensure!(!ended, "a client that nothing happened to has ended");
            Ok((!all).then(|| format!("answers of neighbours went from {before:?} to {now:?}")))
        })
    }

    fn end(self) -> Result<u64> {
        self.over.store(true, Ordering::SeqCst);
        let count = self.so_far().iter().sum();
        self.threads.into_iter().try_for_each(join)?;
        Ok(count)
    }
}

fn series(seed: u64, connections: u64, order: &Order) -> Result<Tally> {
    let mut scene = Scene::open(seed)?;
    let mut chance = Chance::new(seed);
    let mut tally = Tally::default();
    let id = scene.server.process_id();
    let sockets = process::sockets(id)?;
    let before = own_memory(&scene)?;
    while tally.connections < connections && !order.is_over() {
        let neighbours = Neighbours::start(&mut scene, chance.next())?;
        let answers = neighbours.so_far();
        let mut clients = Vec::new();
        for _ in 0..AT_ONCE.min(connections - tally.connections) {
            let mut fault = Fault::draw(&mut chance);
            // Each end comes with each protocol, whatever is drawn.
            let nth = tally.connections + clients.len() as u64;
            fault.end = ENDS[(nth % ENDS.len() as u64) as usize];
            let speech = SPEECHES[(nth / ENDS.len() as u64 % SPEECHES.len() as u64) as usize];
            clients.push(scene.send(speech, fault, None, chance.next())?);
        }
        for client in clients {
            tally.add(join(client)?);
        }
        neighbours.go_on(&answers)?;
        tally.neighbours += neighbours.end()?;
        ensure!(
            process::memory(id)? <= MEMORY_BYTES,
            "memory is above its ceiling"
        );
    }
    process::until(PATIENCE, || {
        let now = process::sockets(id)?;
        Ok((now > sockets).then(|| format!("{now} sockets are open, {sockets} were before")))
    })?;
    let after = own_memory(&scene)?;
    ensure!(
        after - before <= GROWTH_BYTES,
        "without a connection the server has {after} bytes beside its records, {before} before"
    );
    // The judge reads through it too.
    let slow = Proxy::open(
        scene.ports.http,
        Fault::harmless(&mut chance),
        None,
        chance.next(),
    )?;
    let verdict = scene.judge.check(slow.address, false)?;
    slow.close()?;
    tally.records += verdict.records;
    tally.unpromised += verdict.unpromised;
    scene.server.kill()?;
    Ok(tally)
}

/// Memory without the records that the server keeps for readers at the end.
fn own_memory(scene: &Scene) -> Result<f64> {
    let tail = Metrics::read(scene.ports.admin)?.sum("weir_tail_bytes", "");
    Ok(process::memory(scene.server.process_id())? as f64 - tail)
}
