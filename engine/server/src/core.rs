//! What one core does: start its engine, take connections in, and end in good order.

use std::cell::RefCell;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use weir_gateway::http::Tls;
use weir_gateway::{Caller, Gateway, GatewaySettings, KeyRing};
use weir_protocol::model::{StreamMode, StreamStatus};
use weir_reactor::{CoreReactor, Inbox, Lane, Mailbox, Reactor, Reply, TcpSocket, thread_cpu_ns};
use weir_stream::{ControlError, CoreSeed, CreateStream, Engine, StreamSettings};

use crate::accept::{Port, Refusals, Seat};
use crate::admin::Admin;
use crate::config::WantedStream;
use crate::metrics::CoreMetrics;
use crate::session::{self, CoreSessions, Greeted};
use crate::strangers::{Stranger, Strangers, Welcome};
use crate::visitors::Visitors;

/// How long requests in flight may take once the server is told to stop.
const DRAIN_PATIENCE: Duration = Duration::from_secs(5);
const USABLE_LOOK: Duration = Duration::from_millis(1);

/// What a core is told by other threads.
pub(crate) enum CoreLetter {
    /// A new connection.
    Connection {
        port: Port,
        descriptor: OwnedFd,
        peer: IpAddr,
        seat: Seat,
    },
    /// A binary connection that belongs here; its hello was read elsewhere.
    Moved { descriptor: OwnedFd, seat: Seat },
    /// Greet TLS connections with this certificate from now on.
    Certificate(Tls),
    /// Verify signatures with these keys from now on.
    Keys(Arc<KeyRing>),
    /// Count.
    Measure(Reply<CoreMetrics>),
    /// Create these streams if they are not there.
    Create(Vec<WantedStream>, Reply<Result<(), String>>),
    /// Take nothing new, and say when everything in flight was answered.
    Drain(Reply<()>),
    /// Seal the log and end.
    Close,
}

/// What a core starts from.
pub(crate) struct Launch {
    pub(crate) seed: CoreSeed,
    pub(crate) inbox: Inbox<CoreLetter>,
    pub(crate) cores: Vec<Mailbox<CoreLetter>>,
    pub(crate) gateway: GatewaySettings,
    /// Bytes of frames that are coming in, of all binary connections together.
    pub(crate) intake_bytes_max: usize,
    pub(crate) tls: Option<Tls>,
    pub(crate) refusals: Refusals,
    pub(crate) welcome: Welcome,
    pub(crate) started: Reply<Result<(), String>>,
}

/// One core's state beside its engine.
struct Core {
    engine: Engine<CoreReactor>,
    cores: Vec<Mailbox<CoreLetter>>,
    sessions: Rc<CoreSessions<TcpSocket>>,
    gateway: Gateway<CoreReactor>,
    tls: RefCell<Option<Tls>>,
    admin: Admin,
    /// HTTP connections, of both ports.
    visitors: Rc<Visitors>,
    welcome: Welcome,
    strangers: Strangers<TcpSocket>,
}

/// Runs until told to close.
pub(crate) async fn run(reactor: CoreReactor, launch: Launch) {
    let Launch {
        seed,
        mut inbox,
        cores,
        gateway,
        intake_bytes_max,
        tls,
        refusals,
        welcome,
        started,
    } = launch;
    let engine = match Engine::start(reactor.clone(), seed).await {
        Ok(engine) => engine,
        Err(error) => {
            started.send(Err(error.to_string()));
            return;
        }
    };
    let visitors = Rc::new(Visitors::default());
    let gateway = Gateway::new(engine.clone(), gateway);
    let sessions = CoreSessions::new(intake_bytes_max, gateway.record_budget());
    let core = Rc::new(Core {
        gateway,
        tls: RefCell::new(tls),
        admin: Admin::new(
            engine.clone(),
            cores.clone(),
            Rc::clone(&visitors),
            refusals,
        ),
        sessions: Rc::new(sessions),
        visitors,
        welcome,
        strangers: Strangers::new(welcome),
        cores,
        engine,
    });
    reactor.spawn(
        Lane::Background,
        Rc::clone(&core.sessions).sweep(reactor.clone()),
    );
    started.send(Ok(()));
    while let Some(letter) = inbox.receive().await {
        if matches!(letter, CoreLetter::Close) {
            break;
        }
        core.take(letter);
    }
    core.engine.close().await;
}

impl Core {
    fn take(self: &Rc<Self>, letter: CoreLetter) {
        match letter {
            CoreLetter::Connection {
                port,
                descriptor,
                peer,
                seat,
            } => self.take_connection(port, descriptor, peer, seat),
            CoreLetter::Moved { descriptor, seat } => {
                let core = Rc::clone(self);
                self.spawn(async move { core.serve_moved(descriptor, seat).await });
            }
            CoreLetter::Keys(keys) => self.gateway.replace_keys(keys),
            CoreLetter::Certificate(tls) => *self.tls.borrow_mut() = Some(tls),
            CoreLetter::Measure(reply) => reply.send(self.measure()),
            CoreLetter::Create(streams, reply) => {
                let engine = self.engine.clone();
                self.spawn(async move { reply.send(create(&engine, streams).await) });
            }
            CoreLetter::Drain(reply) => {
                let core = Rc::clone(self);
                self.spawn(async move {
                    core.visitors.stop();
                    // An event stream would otherwise go on for minutes.
                    core.engine.end_subscriptions();
                    core.sessions
                        .drain(core.engine.reactor(), DRAIN_PATIENCE)
                        .await;
                    core.visitors
                        .gone(core.engine.reactor(), DRAIN_PATIENCE)
                        .await;
                    reply.send(());
                });
            }
            CoreLetter::Close => {}
        }
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.engine.reactor().spawn(Lane::Network, task);
    }

    fn take_connection(self: &Rc<Self>, port: Port, descriptor: OwnedFd, peer: IpAddr, seat: Seat) {
        let socket = match TcpSocket::adopt(descriptor) {
            Ok(socket) => socket,
            Err(error) => {
                tracing::debug!(%error, "a connection was over before it began");
                return;
            }
        };
        let caller = self.welcome.caller(peer);
        if port == Port::Admin {
            // Its guests are those who look after the server.
            caller.becomes_known();
        }
        let now = self.engine.monotonic();
        let Some(stranger) = self.strangers.admit(socket.clone(), caller.clone(), now) else {
            tracing::debug!(%peer, ?port, "too many strangers: one was not let in");
            return;
        };
        let core = Rc::clone(self);
        match port {
            Port::Wire => self.spawn(async move {
                core.serve_new(socket, stranger, &caller, seat).await;
            }),
            Port::Http => self.spawn(async move {
                let visit = core.visitors.enter(port);
                core.gateway.serve(socket, caller, visit.stopping()).await;
                drop((stranger, seat));
            }),
            Port::Https => self.spawn(async move {
                let visit = core.visitors.enter(port);
                let tls = core.tls.borrow().clone();
                let tls = tls.expect("the port is open because there is a certificate");
                let stop = visit.stopping();
                core.gateway.serve_tls(socket, &tls, caller, stop).await;
                drop((stranger, seat));
            }),
            Port::Admin => self.spawn(async move {
                let visit = core.visitors.enter(port);
                core.admin.serve(socket, caller, visit.stopping()).await;
                drop((stranger, seat));
            }),
        }
    }

    /// Greets a binary connection and serves it, here or on the core it is for.
    async fn serve_new(
        &self,
        socket: TcpSocket,
        stranger: Rc<Stranger<TcpSocket>>,
        caller: &Caller,
        seat: Seat,
    ) {
        let watch = self.sessions.watch(socket.clone(), self.engine.monotonic());
        let stopping = self.sessions.is_stopping();
        let (here, cores) = (self.engine.core(), self.engine.cores());
        let greeted = session::greet(&socket, here, cores, stopping).await;
        drop(watch);
        // Whoever says hello is known as far as this protocol knows anybody.
        if matches!(greeted, Ok(Greeted::Welcome | Greeted::Elsewhere(_))) {
            caller.becomes_known();
        }
        drop(stranger);
        match greeted {
            Ok(Greeted::Welcome) => self.serve(socket, seat).await,
            Ok(Greeted::Elsewhere(core)) => match socket.into_descriptor() {
                Ok(descriptor) => {
                    let letter = CoreLetter::Moved { descriptor, seat };
                    if self.cores[core as usize].send(letter).is_err() {
                        tracing::warn!("core {core} takes no more connections now");
                    }
                }
                Err(error) => tracing::warn!(%error, "a connection could not change its core"),
            },
            Ok(Greeted::Nonsense) => {
                let malformed = &self.sessions.counters.malformed;
                malformed.set(malformed.get() + 1);
            }
            Ok(Greeted::Refused) | Err(_) => {}
        }
    }

    async fn serve_moved(&self, descriptor: OwnedFd, seat: Seat) {
        let (here, cores) = (self.engine.core(), self.engine.cores());
        if let Ok(socket) = TcpSocket::adopt(descriptor)
            && session::welcome(&socket, here, cores).await.is_ok()
        {
            self.serve(socket, seat).await;
        }
    }

    async fn serve(&self, socket: TcpSocket, _seat: Seat) {
        let accepted = &self.sessions.counters.accepted;
        accepted.set(accepted.get() + 1);
        session::serve(&self.engine, &self.sessions, socket).await;
    }

    fn measure(&self) -> CoreMetrics {
        let counters = &self.sessions.counters;
        let gateway = self.gateway.counters();
        CoreMetrics {
            core: self.engine.core(),
            busy: Duration::from_nanos(thread_cpu_ns()),
            wire_connections: self.sessions.open() as u64,
            http_connections: self.visitors.present(Port::Http) as u64,
            https_connections: self.visitors.present(Port::Https) as u64,
            admin_connections: self.visitors.present(Port::Admin) as u64,
            accepted: counters.accepted.get(),
            timed_out: counters.timed_out.get(),
            malformed: counters.malformed.get(),
            http_timed_out: gateway.timed_out,
            authentication_failures: gateway.authentication_failures,
            authentication_delayed: gateway.authentication_delayed,
            strangers: self.strangers.present() as u64,
            strangers_sent_away: self.strangers.sent_away(),
            intake_bytes: self.sessions.intake.held_bytes() as u64,
            append: counters.append.borrow().clone(),
            read: counters.read.borrow().clone(),
            control: counters.control.borrow().clone(),
        }
    }
}

async fn create(engine: &Engine<CoreReactor>, streams: Vec<WantedStream>) -> Result<(), String> {
    for wanted in &streams {
        let create = CreateStream {
            name: wanted.name.clone(),
            shards: wanted.shards,
            mode: StreamMode::OnDemand,
            retention_ms: None,
            retain_bytes: None,
            settings: StreamSettings::default(),
        };
        match engine.create_stream(create).await {
            Ok(stream) => tracing::info!(stream = %stream.name, shards = wanted.shards, "created"),
            Err(ControlError::StreamExists { .. }) => {}
            Err(error) => return Err(error.to_string()),
        }
    }
    // Ready means usable. The end of CREATING is no event here; it takes the state delay.
    let is_usable = |wanted: &WantedStream| {
        let streams = engine.streams();
        let stream = streams.by_name(wanted.name.as_str());
        stream.is_none_or(|stream| stream.status != StreamStatus::Creating)
    };
    while !streams.iter().all(is_usable) {
        engine.reactor().sleep(USABLE_LOOK).await;
    }
    Ok(())
}
