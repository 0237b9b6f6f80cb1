//! `weir serve`: from a configuration to a server that is ready, and from a signal to its end.
//!
//! The order: what the machine and the disk must allow, the ports, the folder and its recovery, the cores, the
//! acceptors, the streams that are asked for, the ready line.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel::{Receiver, bounded};
use weir_gateway::http::Tls;
use weir_gateway::{Authentication, GatewaySettings};
use weir_reactor::{
    Acceptor, CorePlan, Listener, Mailbox, Running, Waiting, choose_cpus, cpus_allowed, mailbox,
    oneshot, preflight, start_cores,
};
use weir_stream::{
    Control, EngineMemory, FolderOptions, OpenFolder, OpenFolderError, catalog_rots, open_folder,
};

use crate::accept::{ADMIN_SPARE, House, Port, Refusals, Seats, dealer};
use crate::catalog_panic;
use crate::certificate::Certificate;
use crate::cli::failure::Failure;
use crate::config::{Auth, Config, Https};
use crate::core::{self, CoreLetter, Launch};
use crate::ground;
use crate::keys;
use crate::memory_plan::{CoreMemory, MemoryPlan};
use crate::stop::{Order, Orders};
use crate::strangers::Welcome;
use crate::units;

/// Letters that may wait for one core; beyond it new connections are refused.
const CORE_LETTERS_MAX: usize = 1_024;
/// Files that any server keeps open beside its connections, and what each core adds: 64 sealed
/// segments at most, those it writes, its rings. Reserved segments are open too.
const DESCRIPTORS: u64 = 64;
const CORE_DESCRIPTORS: u64 = 96;
/// A server with room for fewer connections is not worth starting.
const CONNECTIONS_MIN: u64 = 32;
/// Of a folder that does not say another size.
const SEGMENT_BYTES_USUAL: u64 = 128 << 20;
/// How long a core may take to open its log; recovery is done by then, but a reserve is written.
const START_PATIENCE: Duration = Duration::from_mins(30);
/// How long the control plane may take for the streams asked for.
const CREATE_PATIENCE: Duration = Duration::from_mins(1);
/// Longer than cores take to drain by themselves.
const STOP_PATIENCE: Duration = Duration::from_secs(20);

/// Runs a server until it is told to stop.
pub(crate) fn serve(config: &Config) -> Result<(), Failure> {
    // Signals first: one that comes before the server is ready ends the start at once.
    let orders = Orders::listen()?;
    let authentication = authentication(config)?;
    // The operator's files are looked at before anything is touched; ours come with the folder.
    let mut tls = match &config.https {
        Some(https) if https.certificate != Certificate::SelfSigned => {
            Some(certify(config, https)?)
        }
        _ => None,
    };
    let cpus = choose(config)?;
    let memory = MemoryPlan::choose(config.memory_bytes, cpus.len())?;
    let house = check_machine(config, cpus.len(), memory.seats)?;
    let ports = Ports::bind(config)?;
    let options = folder_options(config, cpus.len(), memory.core.engine);
    let folder = options.path.display().to_string();
    catalog_panic::tell_instead(move |found| {
        eprintln!("weir: {}", catalog_rots(&folder, found));
        1
    });
    let OpenFolder {
        cores,
        control,
        report,
    } = open_folder(&options).map_err(|error| match error {
        OpenFolderError::Options { .. } => Failure::usage(error.to_string()),
        _ => Failure::could_not_run(error.to_string()),
    })?;
    for line in report {
        tracing::info!("{line}");
    }
    if let (None, Some(https)) = (&tls, &config.https) {
        match certify(config, https) {
            Ok(made) => tls = Some(made),
            Err(failure) => {
                control.stop();
                return Err(failure);
            }
        }
    }
    let plan = CorePlan {
        cpus,
        folder: config.data_dir.clone(),
    };
    if options.reserve_bytes > 0 {
        let size = units::show_size(options.reserve_bytes);
        tracing::info!("reserving {size} of the disk: clients may come when it is written");
    }
    let refusals = Refusals::default();
    let face = Face {
        authentication,
        tls,
        refusals: refusals.clone(),
        welcome: Welcome::new(config.connections_of_strangers, house.room(), cores.len()),
        memory: memory.core,
    };
    let mut server = Server::start(&plan, cores, control, &options, face)?;
    let ready = ports
        .open(
            &server.cores,
            config.connections_per_address,
            house,
            &refusals,
        )
        .and_then(|doors| server.create_streams(config).map(|()| doors));
    let doors = match ready {
        Ok(doors) => doors,
        Err(failure) => {
            server.stop();
            return Err(failure);
        }
    };
    // From here on a signal is an order to stop in good order.
    orders.started();
    announce(config, &doors, server.cores.len());
    while orders.next() == Order::Reload {
        server.reload(config);
    }
    drop(doors);
    server.stop();
    tracing::info!("stopped");
    Ok(())
}

/// The certificate, read or made.
fn certify(config: &Config, https: &Https) -> Result<Tls, Failure> {
    let tls = https
        .certificate
        .load(&config.data_dir, None)
        .map_err(Failure::could_not_run)?;
    https.certificate.explain(&config.data_dir, &tls);
    Ok(tls)
}

/// What is demanded of credentials, with the keys read.
fn authentication(config: &Config) -> Result<Authentication, Failure> {
    Ok(match &config.auth {
        Auth::Off => Authentication::Off,
        Auth::Presence => Authentication::Presence,
        Auth::Verify { keys, region } => Authentication::Verify {
            ring: Arc::new(keys::read(keys, &config.account).map_err(Failure::could_not_run)?),
            region: region.clone(),
        },
    })
}

fn choose(config: &Config) -> Result<Vec<usize>, Failure> {
    let chosen = match config.cores {
        Some(count) => choose_cpus(count),
        None => cpus_allowed(),
    };
    chosen.map_err(|error| Failure::could_not_run(error.to_string()))
}

/// The connections there are descriptors and memory for, if the machine is one that a server can run on.
fn check_machine(config: &Config, cores: usize, seats: usize) -> Result<House, Failure> {
    let refused = |error: preflight::Refusal| Failure::could_not_run(error.to_string());
    preflight::check_io_uring().map_err(refused)?;
    preflight::check_locked_memory(cores).map_err(refused)?;
    // Before the limits: a reserve beyond the disk also asks for more files than anyone may open.
    ground::check(&config.data_dir, config.reserve_bytes)?;
    let segment_bytes = config.segment_bytes.unwrap_or(SEGMENT_BYTES_USUAL).max(1);
    let reserved = config.reserve_bytes / segment_bytes;
    let own = DESCRIPTORS + CORE_DESCRIPTORS * cores as u64 + reserved + ADMIN_SPARE as u64;
    let limit = preflight::raise_descriptor_limit(own + CONNECTIONS_MIN).map_err(refused)?;
    preflight::raise_file_limit(segment_bytes.max(SEGMENT_BYTES_USUAL)).map_err(refused)?;
    std::fs::create_dir_all(&config.data_dir).map_err(|error| {
        Failure::could_not_run(format!(
            "data folder {} cannot be made: {error}",
            config.data_dir.display()
        ))
    })?;
    preflight::check_data_folder(&config.data_dir, config.allow_tmpfs).map_err(refused)?;
    // Where there is no limit: more than all ports take by their own bounds.
    let connections = usize::try_from(limit - own).unwrap_or(usize::MAX);
    Ok(House::new(connections.min(1 << 30), seats))
}

fn folder_options(config: &Config, cores: usize, memory: EngineMemory) -> FolderOptions {
    FolderOptions {
        path: config.data_dir.clone(),
        cores,
        segment_bytes: config.segment_bytes,
        memory,
        reserve_bytes: config.reserve_bytes,
        quota: config.quota,
        state_delay: config.state_delay,
        account: config.account.clone(),
        region: config.region.clone(),
    }
}

/// The listeners, bound before anything is done to the folder.
struct Ports {
    http: Listener,
    https: Option<Listener>,
    wire: Listener,
    admin: Listener,
}

/// The acceptors; dropping them stops accepting.
struct Doors {
    http: Acceptor,
    https: Option<Acceptor>,
    wire: Acceptor,
    admin: Acceptor,
}

impl Ports {
    fn bind(config: &Config) -> Result<Self, Failure> {
        let bind = |flag: &str, address: SocketAddr| {
            Listener::bind(address).map_err(|error| {
                Failure::could_not_run(format!(
                    "cannot listen on {address}: {error}: choose another address with {flag}"
                ))
            })
        };
        Ok(Self {
            http: bind("--http", config.http)?,
            https: match &config.https {
                Some(https) => Some(bind("--https", https.address)?),
                None => None,
            },
            wire: bind("--wire", config.wire)?,
            admin: bind("--admin", config.admin)?,
        })
    }

    fn open(
        self,
        cores: &[Mailbox<CoreLetter>],
        address_max: usize,
        house: House,
        refusals: &Refusals,
    ) -> Result<Doors, Failure> {
        let house = Arc::new(house);
        let open = |listener: Listener, port: Port, name: &str| {
            let seats = Seats::new(address_max, Arc::clone(&house), port);
            listener
                .start_accepting(name, dealer(port, cores.to_vec(), seats, refusals.clone()))
                .map_err(|error| Failure::could_not_run(format!("cannot start a thread: {error}")))
        };
        Ok(Doors {
            admin: open(self.admin, Port::Admin, "accept-admin")?,
            http: open(self.http, Port::Http, "accept-http")?,
            https: match self.https {
                Some(https) => Some(open(https, Port::Https, "accept-https")?),
                None => None,
            },
            wire: open(self.wire, Port::Wire, "accept-wire")?,
        })
    }
}

/// What the cores show to clients.
struct Face {
    authentication: Authentication,
    tls: Option<Tls>,
    refusals: Refusals,
    welcome: Welcome,
    /// What each core may hold for them.
    memory: CoreMemory,
}

/// Cores that run, and the control thread behind them.
struct Server {
    tls: Option<Tls>,
    cores: Vec<Mailbox<CoreLetter>>,
    running: Running<()>,
    control: Control,
}

impl Server {
    fn start(
        plan: &CorePlan,
        seeds: Vec<weir_stream::CoreSeed>,
        control: Control,
        options: &FolderOptions,
        face: Face,
    ) -> Result<Self, Failure> {
        let (cores, inboxes): (Vec<_>, Vec<_>) =
            seeds.iter().map(|_| mailbox(CORE_LETTERS_MAX)).unzip();
        let gateway = GatewaySettings {
            account: options.account.clone(),
            region: options.region.clone(),
            authentication: face.authentication,
            body_bytes_max: face.memory.http,
            awake_bytes_max: face.memory.awake,
            receive_bytes_max: face.memory.receiving,
            record_bytes_max: face.memory.records,
        };
        let mut started = Vec::new();
        let mut launches = Vec::new();
        for (seed, inbox) in seeds.into_iter().zip(inboxes) {
            let (reply, waiting) = oneshot();
            started.push(waiting);
            let (hand, launch) = bounded(1);
            let letter = Launch {
                seed,
                inbox,
                cores: cores.clone(),
                gateway: gateway.clone(),
                intake_bytes_max: face.memory.intake,
                tls: face.tls.clone(),
                refusals: face.refusals.clone(),
                welcome: face.welcome,
                started: reply,
            };
            assert!(hand.send(letter).is_ok(), "the other end is right here");
            launches.push(launch);
        }
        let launches: Arc<[Receiver<Launch>]> = launches.into();
        let running = start_cores(plan, move |reactor| {
            let launch = launches[reactor.core()].try_recv();
            async move {
                let launch = launch.expect("each core starts once");
                core::run(reactor, launch).await;
            }
        });
        let running = match running {
            Ok(running) => running,
            Err(error) => {
                control.stop();
                return Err(Failure::could_not_run(error.to_string()));
            }
        };
        let server = Self {
            tls: face.tls,
            cores,
            running,
            control,
        };
        match started
            .into_iter()
            .try_for_each(|core| answered(core, START_PATIENCE))
        {
            Ok(()) => Ok(server),
            Err(text) => {
                server.stop();
                Err(Failure::could_not_run(text))
            }
        }
    }

    fn create_streams(&self, config: &Config) -> Result<(), Failure> {
        if config.streams.is_empty() {
            return Ok(());
        }
        let (reply, waiting) = oneshot();
        let letter = CoreLetter::Create(config.streams.clone(), reply);
        if self.cores[0].send(letter).is_err() {
            return Err(Failure::could_not_run("core 0 takes no letters"));
        }
        answered(waiting, CREATE_PATIENCE)
            .map_err(|text| Failure::could_not_run(format!("--stream: {text}")))
    }

    /// Reads the files anew that settings name. What cannot be read stays as it was.
    fn reload(&mut self, config: &Config) {
        if config.https.is_none() && !matches!(config.auth, Auth::Verify { .. }) {
            tracing::info!("SIGHUP: there is nothing to reload");
        }
        self.reload_keys(config);
        self.reload_certificate(config);
    }

    fn reload_keys(&self, config: &Config) {
        let Auth::Verify { keys: path, .. } = &config.auth else {
            return;
        };
        match keys::read(path, &config.account).map(Arc::new) {
            Ok(ring) => self.tell_all("keys", || CoreLetter::Keys(Arc::clone(&ring))),
            Err(text) => tracing::error!("SIGHUP: the keys stay as they are: {text}"),
        }
    }

    fn reload_certificate(&mut self, config: &Config) {
        let Some(https) = &config.https else {
            return;
        };
        match https.certificate.load(&config.data_dir, self.tls.as_ref()) {
            Ok(tls) => {
                let former = self.tls.as_ref().map(Tls::fingerprint);
                if former != Some(tls.fingerprint()) {
                    https.certificate.explain(&config.data_dir, &tls);
                }
                self.tell_all("certificate", || CoreLetter::Certificate(tls.clone()));
                self.tls = Some(tls);
            }
            Err(text) => tracing::error!("SIGHUP: the certificate stays as it is: {text}"),
        }
    }

    fn tell_all(&self, news: &str, letter: impl Fn() -> CoreLetter) {
        for (number, core) in self.cores.iter().enumerate() {
            if core.send(letter()).is_err() {
                tracing::error!(
                    "core {number} is too busy to take the new {news}: send SIGHUP again"
                );
            }
        }
    }

    /// Answers what is in flight, seals the logs, ends the control thread.
    fn stop(self) {
        let drained: Vec<_> = self.cores.iter().filter_map(drain).collect();
        for core in drained {
            // Late or gone: its log is sealed as it is.
            let _ = core.wait(STOP_PATIENCE);
        }
        for core in &self.cores {
            let _ = core.send(CoreLetter::Close);
        }
        self.running.join();
        self.control.stop();
    }
}

fn drain(core: &Mailbox<CoreLetter>) -> Option<Waiting<()>> {
    let (reply, waiting) = oneshot();
    core.send(CoreLetter::Drain(reply)).ok().map(|()| waiting)
}

fn answered(waiting: Waiting<Result<(), String>>, patience: Duration) -> Result<(), String> {
    match waiting.wait(patience) {
        Some(Ok(outcome)) => outcome,
        Some(Err(_)) => Err("a core ended early".to_owned()),
        None => Err(format!("no answer within {} s", patience.as_secs())),
    }
}

/// One line on stdout says that clients may come, and where.
fn announce(config: &Config, doors: &Doors, cores: usize) {
    let tls = doors.https.as_ref().map_or_else(String::new, |https| {
        format!(" kinesis-tls=https://{}", https.local_address())
    });
    let line = format!(
        "weir ready: kinesis=http://{}{tls} binary={} admin=http://{} data={} cores={cores}\n",
        doors.http.local_address(),
        doors.wire.local_address(),
        doors.admin.local_address(),
        config.data_dir.display(),
    );
    // Whoever started us may not listen.
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(line.as_bytes()).and_then(|()| out.flush());
}
