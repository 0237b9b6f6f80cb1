//! One run from end to end: the stream, the connections, the load, the reading back, the verdict.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Instant;

use thiserror::Error;
use weir_protocol::model::{StreamMode, StreamName};
use weir_protocol::wire::hello::CORE_ANY;
use weir_protocol::wire::request::CreateRequest;
use weir_protocol::wire::response::StreamDescription;

use crate::args::{Extent, Mode, SHARDS_DEFAULT, Verify, Workload};
use crate::atlas::{Atlas, Source};
use crate::client::ClientError;
use crate::client::connection::Connection;
use crate::client::control::Control;
use crate::clock::Clock;
use crate::lane::{Common, Lane, Place, Writer};
use crate::payload::Template;
use crate::plan::{Random, Schedule};
use crate::progress::{self, Sums};
use crate::report::{Checked, Report};
use crate::shards::{self, Map};
use crate::verify::reader::Reader;
use crate::verify::{Evidence, Target, VerifyError};
use crate::witness::{LEDGER_BATCHES_MAX, Ledger};
use crate::worker::{Finished, Worker};

/// In a sample, one shard of this many is read back.
const SAMPLE_ONE_IN: usize = 8;
/// Records kept for less than this may expire while they are read back.
const RETENTION_SHORT_MS: u64 = 3_600_000;

/// The run could not be made, or not to its end.
#[derive(Debug, Error)]
pub(crate) enum RunError {
    #[error("{doing}: {source}")]
    Client {
        doing: &'static str,
        source: ClientError,
    },
    #[error("{0}")]
    Setup(String),
}

fn doing(doing: &'static str) -> impl Fn(ClientError) -> RunError {
    move |source| RunError::Client { doing, source }
}

/// The load as it ended.
pub(crate) struct Loaded {
    pub(crate) sums: Sums,
    pub(crate) finished: Vec<Finished>,
    pub(crate) connections: u32,
    pub(crate) run: u64,
    /// Maps that followed the first one.
    pub(crate) reshards: u32,
}

/// Makes a run. A fresh stream is deleted at the end, however it ended.
pub(crate) fn run(work: &Workload) -> Result<Report, RunError> {
    let clock = Clock::start();
    let run = Random::new(clock.wall(0), u64::from(std::process::id())).next();
    let mut control = Control::connect(work.server, CORE_ANY, work.timeout)
        .map_err(doing("cannot reach the server"))?;
    let (name, fresh) = match &work.stream {
        Some(name) => (name.clone(), false),
        None => (fresh_name(run), true),
    };
    let existed = !fresh && prepare(work, &mut control, &name)?;
    if !existed {
        create(work, &mut control, &name)?;
    }
    let outcome = control
        .active(&name)
        .map_err(doing("the stream does not become active"))
        .and_then(|stream| load_and_check(work, run, &stream, !existed));
    if fresh && !work.keep {
        // The first connection was silent during the run: the server may have closed it.
        let deleted = Control::connect(work.server, CORE_ANY, work.timeout)
            .and_then(|mut control| control.delete(&name));
        if let Err(error) = deleted {
            eprintln!("weir-load: stream {name} could not be deleted: {error}");
        }
    }
    outcome
}

fn fresh_name(run: u64) -> StreamName {
    StreamName::new(&format!("weir-load-{run:016x}")).expect("the name is legal")
}

/// Looks at a named stream; `true` if it exists and suits.
fn prepare(work: &Workload, control: &mut Control, name: &StreamName) -> Result<bool, RunError> {
    let found = control
        .describe(name)
        .map_err(doing("the stream cannot be described"))?;
    let Some(stream) = found else {
        return Ok(false);
    };
    let open = stream.shards.iter().filter(|shard| !shard.closed).count();
    match work.shards {
        Some(shards) if shards as usize != open => Err(RunError::Setup(format!(
            "stream {name} has {open} open shards, --shards asks for {shards}: leave --shards out"
        ))),
        _ => Ok(true),
    }
}

fn create(work: &Workload, control: &mut Control, name: &StreamName) -> Result<(), RunError> {
    let mode = match work.mode {
        Mode::OnDemand => StreamMode::OnDemand,
        Mode::Provisioned => StreamMode::Provisioned,
    };
    let create = CreateRequest {
        name: name.clone(),
        shards: work.shards.unwrap_or(SHARDS_DEFAULT),
        mode,
        retention_ms: None,
        retain_bytes: work.retain_bytes,
    };
    control
        .create(create)
        .map_err(doing("the stream cannot be created"))
}

fn load_and_check(
    work: &Workload,
    run: u64,
    stream: &StreamDescription,
    alone: bool,
) -> Result<Report, RunError> {
    let first = Map::of(stream).map_err(RunError::Setup)?;
    let shards = first.targets.len();
    let source = Source {
        server: work.server,
        name: &stream.name,
        id: stream.id,
        timeout: work.timeout,
    };
    let (mut loaded, last) = load(work, run, &source, first)?;
    let after = source.stream().map_err(RunError::Setup)?;
    loaded.reshards = after.map_version - stream.map_version;
    let mut ledgers: Vec<_> = loaded
        .finished
        .iter_mut()
        .flat_map(|finished| finished.ledgers.drain(..))
        .collect();
    ledgers.sort_by_key(|(writer, _)| *writer);
    let ledgers: Vec<Ledger> = ledgers.into_iter().map(|(_, ledger)| ledger).collect();
    let evidence = Evidence {
        run,
        batch_records: u64::from(work.shape.batch_records),
        targets: &last.targets,
        shards: &after.shards,
        ledgers: &ledgers,
        alone,
    };
    let checked = check(work, stream, &evidence)?;
    Ok(Report::new(work, stream, shards, loaded, checked))
}

/// Connects, and divides the connections among the cores that own shards.
fn connect(
    work: &Workload,
    targets: &[Target],
    frame_bytes: usize,
) -> Result<Vec<(Lane, Writer)>, RunError> {
    let owners = shards::owners(targets);
    let connections = work.connections.max(owners.len() as u32);
    if connections > work.connections {
        eprintln!("weir-load: {connections} connections, one for each core that owns shards");
    }
    let room = match work.verify {
        Verify::None => 0,
        Verify::All | Verify::Sample => LEDGER_BATCHES_MAX / connections as usize,
    };
    let mut lanes = Vec::with_capacity(connections as usize);
    for writer in 0..connections {
        let core = owners[writer as usize % owners.len()];
        let control = Control::connect(work.server, core, work.timeout)
            .map_err(doing("cannot connect to a core"))?;
        let most = control.server().frame_bytes_max;
        if frame_bytes > most as usize {
            return Err(RunError::Client {
                doing: "cannot connect to a core",
                source: ClientError::FrameCap {
                    most,
                    needed: frame_bytes,
                },
            });
        }
        let slots: Vec<usize> = (0..targets.len())
            .filter(|slot| targets[*slot].core == core)
            .collect();
        let connection = Connection::new(control.into_socket())
            .map_err(|error| doing("cannot connect to a core")(error.into()))?;
        // The place in its thread's list is known later.
        let mut lane = Lane::new(0, core, connection);
        let mut places: Vec<Option<Place>> = (0..targets.len()).map(|_| None).collect();
        for slot in &slots {
            places[*slot] = Some(Place::at(targets[*slot].shard));
        }
        // Writers begin at different shards, so that no shard gets all of them at once.
        lane.turn = (slots.len() * writer as usize / connections as usize) % slots.len();
        lane.slots = slots;
        let writer = Writer {
            number: writer,
            ledger: Ledger::new(targets, room),
            places,
        };
        lanes.push((lane, writer));
    }
    Ok(lanes)
}

fn load(
    work: &Workload,
    run: u64,
    source: &Source<'_>,
    map: Map,
) -> Result<(Loaded, Arc<Map>), RunError> {
    let template = Template::new(work.shape, run, work.seed, source.id);
    let lanes = connect(work, &map.targets, template.frame_bytes())?;
    let connections = lanes.len() as u32;
    let mut by_thread: Vec<Vec<(Lane, Writer)>> = (0..work.threads).map(|_| Vec::new()).collect();
    for (index, lane) in lanes.into_iter().enumerate() {
        by_thread[index % work.threads as usize].push(lane);
    }
    let common = Common {
        template,
        atlas: Atlas::new(map),
        server: work.server,
        in_flight: work.in_flight,
        warmup: work.warmup,
        extent: work.extent,
        timeout: work.timeout,
        clock: Clock::start(),
        stop: AtomicBool::new(false),
    };
    let (sender, pieces) = mpsc::channel();
    let (want_map, wanted) = mpsc::channel();
    let (sums, outcomes, kept) = std::thread::scope(|scope| {
        let common = &common;
        let keeper = scope.spawn(move || {
            let kept = common.atlas.keep(source, &wanted);
            if kept.is_err() {
                common.stop.store(true, Ordering::Relaxed);
            }
            kept
        });
        let mut threads = Vec::new();
        for (number, lanes) in (0..).zip(by_thread) {
            let share = |total: u64| {
                let threads = u64::from(work.threads);
                total / threads + u64::from(number < total % threads)
            };
            let budget = match common.extent {
                Extent::Batches(total) => share(total),
                Extent::Time(_) => 0,
            };
            let schedule = work.rate.map(|rate| {
                let threads = f64::from(work.threads);
                let batches = rate as f64 / f64::from(work.shape.batch_records) / threads;
                let random = Random::new(work.seed, number);
                Schedule::new(batches, work.arrivals, random, number as f64 / threads)
            });
            let worker = Worker::new(
                common,
                want_map.clone(),
                lanes,
                schedule,
                budget,
                sender.clone(),
            );
            let pin = work.pin.map(|first| first + number as usize);
            threads.push(scope.spawn(move || {
                if let Some(id) = pin
                    && !core_affinity::set_for_current(core_affinity::CoreId { id })
                {
                    eprintln!("weir-load: thread {number} cannot be pinned to CPU {id}");
                }
                worker.run()
            }));
        }
        drop((sender, want_map));
        let sums = progress::collect(&pieces, work.threads, work.shape);
        let outcomes: Vec<_> = threads
            .into_iter()
            .map(|thread| thread.join().expect("a worker does not panic"))
            .collect();
        let kept = keeper.join().expect("the keeper of the map does not panic");
        (sums, outcomes, kept)
    });
    let finished: Result<Vec<_>, _> = outcomes.into_iter().collect();
    let finished = finished.map_err(doing("the load ended early"))?;
    kept.map_err(|why| RunError::Setup(format!("the load ended early: {why}")))?;
    let loaded = Loaded {
        sums,
        finished,
        connections,
        run,
        reshards: 0,
    };
    Ok((loaded, common.atlas.current()))
}

/// Reads back what the workload asks for.
fn check(
    work: &Workload,
    stream: &StreamDescription,
    evidence: &Evidence<'_>,
) -> Result<Option<Checked>, RunError> {
    let all = 0..evidence.targets.len();
    let slots: Vec<usize> = match work.verify {
        Verify::None => return Ok(None),
        Verify::All => all.collect(),
        Verify::Sample => {
            let first = Random::new(work.seed, 0).next() as usize % SAMPLE_ONE_IN;
            all.skip(first.min(evidence.targets.len() - 1))
                .step_by(SAMPLE_ONE_IN)
                .collect()
        }
    };
    let reader = Reader {
        server: work.server,
        stream: stream.id,
        timeout: work.timeout,
        trims: stream.retain_bytes > 0 || stream.retention_ms < RETENTION_SHORT_MS,
        evidence,
    };
    let started = Instant::now();
    let outcome = match reader.verify(&slots) {
        Ok((verified, shards)) => Ok((verified, shards)),
        Err(VerifyError::Wrong(wrong)) => Err(*wrong),
        Err(VerifyError::Client(source)) => {
            return Err(doing("the records cannot be read back")(source));
        }
    };
    Ok(Some(Checked {
        outcome,
        elapsed: started.elapsed(),
    }))
}
