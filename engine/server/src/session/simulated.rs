//! Sessions on the simulated machine: one seed decides how bytes are cut, when they arrive, and
//! when a connection breaks.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use weir_protocol::batch::{BatchBuilder, BatchView, ProducerMark};
use weir_protocol::model::{Offset, ShardId, ShardIndex, StreamMode, StreamName};
use weir_protocol::wire::hello::{CORE_ANY, ClientHello};
use weir_protocol::wire::request::{ReadFrom, ReadRequest, Request};
use weir_protocol::wire::response::{AppendOutcome, Response};
use weir_protocol::wire::session::ClientSession;
use weir_reactor::sim::{RunLimit, Sim, SimDisk, SimOptions, SimReactor, SimSocket};
use weir_reactor::{Lane, Reactor, Socket};
use weir_stream::{
    CreateStream, Engine, EngineMemory, FolderOptions, Opened, QuotaSwitch, StreamSettings, open_in,
};

use super::{CoreSessions, Greeted, greet, serve};

fn options() -> FolderOptions {
    FolderOptions {
        path: PathBuf::from("data"),
        cores: 1,
        segment_bytes: Some(256 << 10),
        memory: EngineMemory::default(),
        reserve_bytes: 0,
        quota: QuotaSwitch::Mode,
        state_delay: Duration::ZERO,
        account: "000000000000".to_owned(),
        region: "us-east-1".to_owned(),
    }
}

async fn start(reactor: SimReactor, disk: SimDisk) -> (Engine<SimReactor>, ShardId) {
    let Opened {
        mut cores, control, ..
    } = open_in(&reactor, &disk, &options()).await.unwrap();
    reactor.spawn(Lane::Background, control.run());
    let engine = Engine::start(reactor, cores.remove(0)).await.unwrap();
    let create = CreateStream {
        name: StreamName::new("logs").unwrap(),
        shards: 1,
        mode: StreamMode::OnDemand,
        retention_ms: None,
        retain_bytes: None,
        settings: StreamSettings::default(),
    };
    let stream = engine.create_stream(create).await.unwrap();
    let shard = ShardId::new(stream.id, ShardIndex(0));
    while engine
        .streams()
        .by_id(stream.id)
        .is_none_or(|stream| !stream.is_usable())
    {
        engine.reactor().sleep(Duration::from_millis(1)).await;
    }
    (engine, shard)
}

/// A client of the protocol crate's session, over a simulated socket.
struct Client {
    socket: SimSocket,
    session: ClientSession<u64>,
}

impl Client {
    async fn send(&mut self) -> bool {
        let sent = self.socket.send(self.session.outgoing()).await.is_ok();
        let count = self.session.outgoing().len();
        self.session.sent(count);
        sent
    }

    fn append(&mut self, shard: ShardId, number: u64) {
        let mut batch = Vec::new();
        let mut builder = BatchBuilder::new(&mut batch, shard, 1, ProducerMark::default());
        builder.push("key", &number.to_le_bytes()).unwrap();
        // Some are longer than the first receive.
        let filler = vec![7; (number as usize % 5) * 9_000];
        builder.push("key", &filler).unwrap();
        builder.finish();
        let request = Request::Append {
            count: 1,
            batches: &batch,
        };
        self.session.request(&request, number);
    }

    /// Runs `take` on each answer until it is satisfied; false if the connection broke before.
    async fn answers(&mut self, mut take: impl FnMut(u64, Response<'_>) -> bool) -> bool {
        loop {
            while let Some((token, response)) = self.session.poll().unwrap() {
                if take(token, response) {
                    return true;
                }
            }
            let mut piece = [0; 4096];
            match self.socket.receive(&mut piece).await {
                Ok(count @ 1..) => self.session.received(&piece[..count]),
                _ => return false,
            }
        }
    }
}

/// One connection's life; whether it lasted to its end, and the run's fingerprint.
fn run(seed: u64, resets: u32) -> (bool, u64) {
    let sim = Sim::new(seed, SimOptions::default());
    sim.faults().single_bytes = if seed.is_multiple_of(5) { 500 } else { 0 };
    let (near, far) = sim.connect();
    let (reactor, disk) = (sim.reactor(), sim.disk());
    sim.faults().socket_resets = resets;
    let lasted = sim.run(RunLimit::done(), async move {
        let (engine, shard) = start(reactor.clone(), disk).await;
        let sessions: Rc<CoreSessions<SimSocket>> = Rc::default();
        let (serving, of) = (engine.clone(), Rc::clone(&sessions));
        reactor.spawn(Lane::Network, async move {
            if let Ok(Greeted::Welcome) = greet(&far, 0, 1, false).await {
                serve(&serving, &of, far).await;
            }
        });
        let lasted = converse(near, shard).await;
        sessions
            .drain(engine.reactor(), Duration::from_secs(5))
            .await;
        check_stored(&engine, shard, lasted).await;
        engine.close().await;
        lasted
    });
    (lasted.expect("no crash was planned"), sim.trace_hash())
}

const APPENDS: u64 = 60;

/// A waiting read, then many appends in one go: all are answered, the appends in order.
async fn converse(socket: SimSocket, shard: ShardId) -> bool {
    let mut client = Client {
        socket,
        session: ClientSession::new(ClientHello::new(CORE_ANY)),
    };
    let read = ReadRequest {
        shard,
        from: ReadFrom::Latest,
        bytes_max: 1 << 20,
        wait_ms: 30_000,
    };
    client.session.request(&Request::Read(read), u64::MAX);
    client.session.request(&Request::Ping, u64::MAX - 1);
    if !client.send().await {
        return false;
    }
    // The pong shows that the read was taken before.
    let ponged = client.answers(|token, response| {
        assert_eq!((token, response), (u64::MAX - 1, Response::Pong));
        true
    });
    if !ponged.await {
        return false;
    }
    (0..APPENDS).for_each(|number| client.append(shard, number));
    if !client.send().await {
        return false;
    }
    let (mut next, mut offset, mut woken) = (0, Offset::ZERO, false);
    client
        .answers(|token, response| {
            match response {
                Response::Appended(outcomes) => {
                    assert_eq!(token, next, "appends are answered in order");
                    next += 1;
                    let [AppendOutcome::Stored { first_offset, .. }] = outcomes[..] else {
                        panic!("{outcomes:?}");
                    };
                    assert!(next == 1 || first_offset > offset);
                    offset = first_offset;
                }
                Response::Records(answer) => {
                    assert_eq!(token, u64::MAX);
                    assert!(answer.count > 0, "data ended the wait, not the time");
                    woken = true;
                }
                other => panic!("{other:?}"),
            }
            next == APPENDS && woken
        })
        .await
}

/// What is stored is what was sent, in order, to its end or to where the connection broke.
async fn check_stored(engine: &Engine<SimReactor>, shard: ShardId, all: bool) {
    let mut request = weir_stream::ReadRequest {
        shard,
        from: ReadFrom::TrimHorizon,
        bytes_max: 1 << 20,
        wait_ms: 0,
        polling: false,
    };
    let mut count = 0_u64;
    loop {
        let read = engine.read(request).await.unwrap();
        let mut rest = read.batches.as_slice();
        while !rest.is_empty() {
            let batch = BatchView::decode(rest).unwrap();
            let first = batch.records().next().unwrap();
            assert_eq!(first.data, count.to_le_bytes());
            count += 1;
            rest = &rest[batch.as_bytes().len()..];
        }
        if read.next == read.tip {
            break;
        }
        request.from = ReadFrom::Offset(read.next);
    }
    assert!(!all || count == APPENDS, "{count} batches");
}

#[test]
fn any_cut_of_the_bytes_gives_the_same_answers() {
    for seed in 0..60 {
        let (lasted, _) = run(seed, 0);
        assert!(lasted, "seed {seed}");
    }
}

#[test]
fn a_broken_connection_leaves_a_prefix_and_no_trace() {
    let broken = (100..160).filter(|seed| !run(*seed, 300).0).count();
    assert!(broken > 10, "only {broken} of 60 connections broke");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in [3, 104] {
        assert_eq!(run(seed, 100), run(seed, 100));
    }
}

/// A client says hello and begins a frame of a megabyte, of which so many bytes come a second; how
/// many seconds it is listened to.
fn listened_to(bytes_a_second: usize) -> u64 {
    let sim = Sim::new(11, SimOptions::default());
    let (near, far) = sim.connect();
    let (reactor, disk) = (sim.reactor(), sim.disk());
    let ended = sim.run(RunLimit::done(), async move {
        let (engine, shard) = start(reactor.clone(), disk).await;
        let sessions: Rc<CoreSessions<SimSocket>> = Rc::default();
        reactor.spawn(
            Lane::Background,
            Rc::clone(&sessions).sweep(reactor.clone()),
        );
        let (serving, of) = (engine.clone(), Rc::clone(&sessions));
        reactor.spawn(Lane::Network, async move {
            if let Ok(Greeted::Welcome) = greet(&far, 0, 1, false).await {
                serve(&serving, &of, far).await;
            }
        });
        let mut batch = Vec::new();
        let mut builder = BatchBuilder::new(&mut batch, shard, 1, ProducerMark::default());
        builder.push("key", &vec![7; 1_000_000]).unwrap();
        builder.finish();
        let append = Request::Append {
            count: 1,
            batches: &batch,
        };
        let mut session: ClientSession<()> = ClientSession::new(ClientHello::new(CORE_ANY));
        session.request(&append, ());
        let began = reactor.monotonic();
        for piece in session.outgoing()[..1_000_000].chunks(bytes_a_second) {
            if near.send(piece).await.is_err() {
                break;
            }
            reactor.sleep(Duration::from_secs(1)).await;
        }
        let seconds = reactor.monotonic().since(began).as_secs();
        sessions
            .drain(engine.reactor(), Duration::from_secs(5))
            .await;
        engine.close().await;
        seconds
    });
    ended.expect("no crash was planned")
}

#[test]
fn a_frame_that_trickles_ends_its_connection() {
    for bytes in [100, 1_000] {
        let seconds = listened_to(bytes);
        assert!((30..40).contains(&seconds), "{seconds} s of {bytes} B/s");
    }
    // Slow, and let be for as long as any frame.
    let seconds = listened_to(1_200);
    assert!((300..310).contains(&seconds), "{seconds} s");
    assert!(listened_to(4_000) >= 250);
}
