//! What `weir serve` is told, and what it makes of it.
//!
//! Flags win over `WEIR_...` variables, which win over defaults; every default is the safe one.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use weir_protocol::limits::{PORT_ADMIN, PORT_HTTP, PORT_HTTPS, PORT_WIRE, STREAM_SHARDS_MAX};
use weir_protocol::model::StreamName;
use weir_stream::QuotaSwitch;

use crate::certificate::Certificate;
use crate::cli::failure::Failure;
use crate::memory_plan::MemoryPlan;
use crate::units;

/// Most cores one server runs on.
const CORES_MAX: i64 = 256;
/// Where streams are stored unless another region is given.
const REGION: &str = "us-east-1";

/// What may be logged, from little to much.
const LOG_LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Flags of `weir serve`.
#[derive(Debug, Args)]
pub(crate) struct ServeArguments {
    /// Where records are kept; made if it is not there
    #[arg(
        long,
        env = "WEIR_DATA_DIR",
        default_value = "./weir-data",
        value_name = "FOLDER"
    )]
    data_dir: PathBuf,
    /// Where the Kinesis HTTP API listens
    #[arg(long, env = "WEIR_HTTP", default_value_t = loopback(PORT_HTTP), value_parser = address, value_name = "HOST:PORT")]
    http: SocketAddr,
    /// Where the Kinesis HTTP API listens for TLS; needs a certificate
    /// [default: 127.0.0.1:4570 with a certificate, else nowhere]
    #[arg(long, env = "WEIR_HTTPS", value_parser = address, value_name = "HOST:PORT", verbatim_doc_comment)]
    https: Option<SocketAddr>,
    /// The TLS certificate and those that lead to its issuer, PEM; read again at SIGHUP
    #[arg(long, env = "WEIR_TLS_CERT", value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// The private key of --tls-cert, PEM
    #[arg(long, env = "WEIR_TLS_KEY", value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// For trying out: make a TLS certificate, and keep it in the data folder
    #[arg(long, env = "WEIR_TLS_SELF_SIGNED")]
    tls_self_signed: bool,
    /// Where the binary protocol listens
    #[arg(long, env = "WEIR_WIRE", default_value_t = loopback(PORT_WIRE), value_parser = address, value_name = "HOST:PORT")]
    wire: SocketAddr,
    /// Where health and metrics listen
    #[arg(long, env = "WEIR_ADMIN", default_value_t = loopback(PORT_ADMIN), value_parser = address, value_name = "HOST:PORT")]
    admin: SocketAddr,
    /// How many cores to serve on [default: every CPU this process may use]
    #[arg(long, env = "WEIR_CORES", value_parser = clap::value_parser!(u32).range(1..=CORES_MAX))]
    cores: Option<u32>,
    /// Which streams are metered as AWS does: provisioned ones, all, or none
    #[arg(long, env = "WEIR_QUOTA", value_enum, default_value_t = Quota::Mode)]
    quota: Quota,
    /// Write this much of the disk ahead before serving, for example 8GiB
    #[arg(long, env = "WEIR_RESERVE", value_parser = units::size, value_name = "SIZE")]
    reserve: Option<u64>,
    /// Ceiling of the server's memory, for example 4GiB [default: half of the machine's]
    #[arg(long, env = "WEIR_MEMORY", value_parser = units::size, value_name = "SIZE")]
    memory: Option<u64>,
    /// Create this stream at the start if it is not there; may be given several times
    #[arg(long = "stream", env = "WEIR_STREAMS", value_delimiter = ',', value_parser = wanted_stream, value_name = "NAME:SHARDS")]
    streams: Vec<WantedStream>,
    /// The account that streams are stored under: 12 digits
    #[arg(long, env = "WEIR_ACCOUNT", default_value = "000000000000", value_parser = account)]
    account: String,
    /// The region that streams are stored under, and, with --auth verify, the only one that requests
    /// may be signed for [default: us-east-1, and any]
    #[arg(long, env = "WEIR_REGION", value_parser = region)]
    region: Option<String>,
    /// What is demanded of a request's credentials
    #[arg(long, env = "WEIR_AUTH", value_enum, default_value_t = AuthMode::Presence)]
    auth: AuthMode,
    /// Whose signatures --auth verify takes: profiles as in ~/.aws/credentials; read again at SIGHUP
    #[arg(long, env = "WEIR_KEYS", value_name = "FILE")]
    keys: Option<PathBuf>,
    /// How long streams stay CREATING, UPDATING and DELETING, and consumers CREATING and DELETING
    #[arg(long, env = "WEIR_STATE_DELAY", default_value = "5ms", value_parser = units::duration, value_name = "TIME")]
    state_delay: Duration,
    /// Segment size of a new data folder, for example 256MiB [default: 128MiB]
    #[arg(long, env = "WEIR_SEGMENT_BYTES", value_parser = units::size, value_name = "SIZE")]
    segment_bytes: Option<u64>,
    /// Allow addresses that other machines can reach without authentication; --http needs this not
    /// where signatures are verified
    #[arg(long, env = "WEIR_INSECURE_LISTEN")]
    insecure_listen: bool,
    /// Allow a data folder in memory, which loses everything with the machine's power
    #[arg(long, env = "WEIR_ALLOW_TMPFS")]
    allow_tmpfs: bool,
    /// Connections to one port from one address; this machine's own may have all 20,000
    #[arg(
        long,
        env = "WEIR_CONNECTIONS_PER_ADDRESS",
        default_value_t = 1_000,
        value_parser = clap::value_parser!(u32).range(1..=20_000),
        value_name = "COUNT"
    )]
    connections_per_address: u32,
    /// Connections to all ports whose clients have not shown yet who they are [default: 1000, or a
    /// quarter of what there is room for, and this machine's own do not count]
    #[arg(
        long,
        env = "WEIR_CONNECTIONS_OF_STRANGERS",
        value_parser = clap::value_parser!(u32).range(1..=20_000),
        value_name = "COUNT"
    )]
    connections_of_strangers: Option<u32>,
    /// How to write the log
    #[arg(long = "log", env = "WEIR_LOG", value_enum, default_value_t = LogFormat::Text)]
    log: LogFormat,
    /// How much to log: error, warn, info, debug or trace, also per module (info,weir_log=debug)
    #[arg(
        long,
        env = "WEIR_LOG_LEVEL",
        default_value = "info",
        value_parser = log_level,
        value_name = "LEVEL"
    )]
    log_level: String,
}

/// Which streams are metered.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Quota {
    /// Provisioned streams are, on-demand streams are not
    Mode,
    /// All are
    Aws,
    /// None is
    Off,
}

/// What is demanded of credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum AuthMode {
    /// Nothing
    Off,
    /// That they are there and complete; any will do
    Presence,
    /// A good signature of a key in --keys
    Verify,
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

/// What is demanded of credentials, with all that belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Auth {
    Off,
    Presence,
    Verify {
        keys: PathBuf,
        /// The only one that may be signed for; any if it is `None`.
        region: Option<String>,
    },
}

/// A stream to be there when the server is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WantedStream {
    pub(crate) name: StreamName,
    pub(crate) shards: u32,
}

/// Where TLS is spoken, and with which certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Https {
    pub(crate) address: SocketAddr,
    pub(crate) certificate: Certificate,
}

/// A checked configuration.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) data_dir: PathBuf,
    pub(crate) http: SocketAddr,
    /// `None`: no TLS.
    pub(crate) https: Option<Https>,
    pub(crate) wire: SocketAddr,
    pub(crate) admin: SocketAddr,
    /// `None`: every CPU there is.
    pub(crate) cores: Option<usize>,
    pub(crate) quota: QuotaSwitch,
    pub(crate) reserve_bytes: u64,
    /// `None`: half of the machine's.
    pub(crate) memory_bytes: Option<u64>,
    pub(crate) streams: Vec<WantedStream>,
    pub(crate) account: String,
    pub(crate) region: String,
    pub(crate) auth: Auth,
    pub(crate) state_delay: Duration,
    pub(crate) segment_bytes: Option<u64>,
    pub(crate) allow_tmpfs: bool,
    /// Of other addresses than loopback.
    pub(crate) connections_per_address: usize,
    /// `None`: the usual, and none of loopback's.
    pub(crate) connections_of_strangers: Option<usize>,
    pub(crate) log: LogFormat,
    pub(crate) log_level: String,
}

impl ServeArguments {
    /// Checks what no single flag can check.
    pub(crate) fn check(self) -> Result<Config, Failure> {
        let auth = self.auth()?;
        let https = self.https()?;
        let verified = matches!(auth, Auth::Verify { .. });
        let way_out = [
            "listen on 127.0.0.1, verify signatures with --auth verify, or say --insecure-listen",
            "listen on 127.0.0.1, or say --insecure-listen",
        ];
        for (flag, address, is_safe, way_out) in [
            ("--http", self.http, verified, way_out[0]),
            (
                "--https",
                https.as_ref().map_or(self.http, |https| https.address),
                verified,
                way_out[0],
            ),
            ("--wire", self.wire, false, way_out[1]),
            ("--admin", self.admin, false, way_out[1]),
        ] {
            if !address.ip().is_loopback() && !is_safe && !self.insecure_listen {
                return Err(Failure::usage(format!(
                    "{flag} {address} can be reached by other machines and nothing on it is \
                     authenticated: {way_out}"
                )));
            }
        }
        // Of the fewest cores there can be; how many it will be is known when they are chosen.
        if let Some(bytes) = self.memory {
            let cores = self.cores.unwrap_or(1) as usize;
            if bytes < MemoryPlan::least(cores) {
                return Err(MemoryPlan::too_little(bytes, cores));
            }
        }
        Ok(Config {
            data_dir: self.data_dir,
            http: self.http,
            https,
            wire: self.wire,
            admin: self.admin,
            cores: self.cores.map(|cores| cores as usize),
            quota: match self.quota {
                Quota::Mode => QuotaSwitch::Mode,
                Quota::Aws => QuotaSwitch::Aws,
                Quota::Off => QuotaSwitch::Off,
            },
            reserve_bytes: self.reserve.unwrap_or(0),
            memory_bytes: self.memory,
            streams: self.streams,
            account: self.account,
            region: self.region.unwrap_or_else(|| REGION.to_owned()),
            auth,
            state_delay: self.state_delay,
            segment_bytes: self.segment_bytes,
            allow_tmpfs: self.allow_tmpfs,
            connections_per_address: self.connections_per_address as usize,
            connections_of_strangers: self.connections_of_strangers.map(|count| count as usize),
            log: self.log,
            log_level: self.log_level,
        })
    }
}

impl ServeArguments {
    /// Where TLS is spoken; the flags about it must fit each other.
    fn https(&self) -> Result<Option<Https>, Failure> {
        let certificate = match (&self.tls_cert, &self.tls_key, self.tls_self_signed) {
            (Some(certificates), Some(key), false) => Certificate::Files {
                certificates: certificates.clone(),
                key: key.clone(),
            },
            (None, None, true) => Certificate::SelfSigned,
            (None, None, false) => match self.https {
                None => return Ok(None),
                Some(address) => {
                    return Err(Failure::usage(format!(
                        "--https {address} needs a certificate: name one with --tls-cert and \
                         --tls-key, or try it out with --tls-self-signed"
                    )));
                }
            },
            (_, _, true) => {
                return Err(Failure::usage(
                    "--tls-self-signed makes a certificate of its own: leave it out, or leave \
                     --tls-cert and --tls-key out",
                ));
            }
            (Some(_), None, _) => {
                return Err(Failure::usage(
                    "--tls-cert needs its private key: name the file with --tls-key",
                ));
            }
            (None, Some(_), _) => {
                return Err(Failure::usage(
                    "--tls-key needs its certificate: name the file with --tls-cert",
                ));
            }
        };
        Ok(Some(Https {
            address: self.https.unwrap_or_else(|| loopback(PORT_HTTPS)),
            certificate,
        }))
    }

    /// The mode, the keys and the region, which must fit each other.
    fn auth(&self) -> Result<Auth, Failure> {
        match (self.auth, &self.keys) {
            (AuthMode::Verify, Some(keys)) => Ok(Auth::Verify {
                keys: keys.clone(),
                region: self.region.clone(),
            }),
            (AuthMode::Verify, None) => Err(Failure::usage(
                "--auth verify needs keys: name a file with --keys",
            )),
            (_, Some(_)) => Err(Failure::usage(
                "--keys changes nothing without --auth verify: say it, or leave the keys out",
            )),
            (AuthMode::Off, None) => Ok(Auth::Off),
            (AuthMode::Presence, None) => Ok(Auth::Presence),
        }
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let mut addresses = text
        .to_socket_addrs()
        .map_err(|error| format!("\"{text}\" is not host:port: {error}"))?;
    addresses
        .next()
        .ok_or_else(|| format!("\"{text}\" has no address"))
}

fn wanted_stream(text: &str) -> Result<WantedStream, String> {
    let form = || format!("\"{text}\" is not NAME:SHARDS, for example logs:4");
    let (name, shards) = text.rsplit_once(':').ok_or_else(form)?;
    let name = StreamName::new(name).map_err(|error| error.to_string())?;
    let shards: u32 = shards.parse().map_err(|_| form())?;
    if shards == 0 || shards > STREAM_SHARDS_MAX {
        return Err(format!(
            "{shards} shards asked for, expected 1 to {STREAM_SHARDS_MAX}"
        ));
    }
    Ok(WantedStream { name, shards })
}

fn account(text: &str) -> Result<String, String> {
    if text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit()) {
        Ok(text.to_owned())
    } else {
        Err(format!("\"{text}\" is not an account: expected 12 digits"))
    }
}

/// The filter's own reader takes a word that is no level for the name of a module, and then logs
/// nothing else.
fn log_level(text: &str) -> Result<String, String> {
    let is_known = |part: &str| {
        let part = part.trim();
        part.contains('=') || LOG_LEVELS.iter().any(|l| l.eq_ignore_ascii_case(part))
    };
    match text.split(',').find(|part| !is_known(part)) {
        None => Ok(text.to_owned()),
        Some(part) => Err(format!(
            "\"{part}\" is not a level: expected {}, also per module as in info,weir_log=debug",
            LOG_LEVELS.join(", ")
        )),
    }
}

fn region(text: &str) -> Result<String, String> {
    let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if (1..=63).contains(&text.len()) && text.bytes().all(legal) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "\"{text}\" is not a region: expected for example us-east-1"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct CommandLine {
        #[command(flatten)]
        serve: ServeArguments,
    }

    fn check(arguments: &[&str]) -> Result<Config, String> {
        let all = std::iter::once(&"weir").chain(arguments);
        CommandLine::try_parse_from(all)
            .map_err(|error| error.to_string())
            .and_then(|line| line.serve.check().map_err(|failure| failure.to_string()))
    }

    #[test]
    fn defaults_are_safe() {
        let config = check(&[]).unwrap();
        assert_eq!(config.http.to_string(), "127.0.0.1:4567");
        assert_eq!(config.wire.to_string(), "127.0.0.1:4568");
        assert_eq!(config.admin.to_string(), "127.0.0.1:4569");
        assert_eq!(config.quota, QuotaSwitch::Mode);
        assert_eq!(config.state_delay, Duration::from_millis(5));
    }

    #[test]
    fn values_carry_units_and_names() {
        let config = check(&[
            "--reserve=8GiB",
            "--memory",
            "1GiB",
            "--stream",
            "logs:4",
            "--stream",
            "a.b-c:1",
            "--cores=2",
            "--http=localhost:0",
        ])
        .unwrap();
        assert_eq!(config.reserve_bytes, 8 << 30);
        assert_eq!(config.streams.len(), 2);
        assert_eq!(config.streams[0].name.as_str(), "logs");
        assert_eq!(config.cores, Some(2));
        for (arguments, word) in [
            (["--memory", "4"], "4MiB"),
            (["--state-delay", "5"], "5s"),
            (["--stream", "logs"], "logs:4"),
            (["--stream", "logs:0"], "1 to 10000"),
            (["--account", "12"], "12 digits"),
            (["--memory", "1MiB"], "256MiB"),
            (["--http", "0.0.0.0:4567"], "--auth verify"),
            (["--wire", "0.0.0.0:4568"], "--insecure-listen"),
            (["--auth", "verify"], "--keys"),
            (["--https", "127.0.0.1:4570"], "--tls-cert"),
            (["--tls-cert", "c"], "--tls-key"),
            (["--tls-key", "k"], "--tls-cert"),
            (["--keys", "k"], "--auth verify"),
            (["--auth", "sometimes"], "presence"),
            (["--cores", "0"], "0"),
            (["--log-level", "warning"], "error, warn, info"),
            (["--log-level", "info,blah"], "\"blah\""),
            (["--connections-per-address", "0"], "20000"),
            (["--connections-of-strangers", "0"], "20000"),
        ] {
            let error = check(&arguments).unwrap_err();
            assert!(error.contains(word), "{word} in {error}");
        }
        check(&["--http", "0.0.0.0:4567", "--insecure-listen"]).unwrap();
        let https = check(&["--tls-self-signed"]).unwrap().https.unwrap();
        assert_eq!(https.address.to_string(), "127.0.0.1:4570");
        assert_eq!(https.certificate, Certificate::SelfSigned);
        check(&["--tls-self-signed", "--tls-cert", "c"]).unwrap_err();
        let files = ["--tls-cert", "c", "--tls-key", "k", "--https"];
        check(&[&files[..], &["127.0.0.1:0"]].concat()).unwrap();
        let open = check(&[&files[..], &["0.0.0.0:4570"]].concat()).unwrap_err();
        assert!(open.contains("--https 0.0.0.0:4570"), "{open}");
        assert_eq!(check(&[]).unwrap().https, None);
        let verify = ["--auth", "verify", "--keys", "k"];
        let config = check(&[&verify[..], &["--http", "0.0.0.0:4567"]].concat()).unwrap();
        assert_eq!(config.region, "us-east-1");
        assert!(matches!(config.auth, Auth::Verify { region: None, .. }));
        let wire = check(&[&verify[..], &["--wire", "0.0.0.0:4568"]].concat()).unwrap_err();
        assert!(wire.contains("--wire"), "{wire}");
        let config = check(&[&verify[..], &["--region", "eu-west-1"]].concat()).unwrap();
        assert_eq!(config.region, "eu-west-1");
        let Auth::Verify { keys, region } = config.auth else {
            panic!("signatures are verified: {:?}", config.auth)
        };
        assert_eq!(keys, PathBuf::from("k"));
        assert_eq!(region.as_deref(), Some("eu-west-1"));
        for level in ["WARN", "trace", "info,weir_log=debug"] {
            check(&["--log-level", level]).unwrap();
        }
    }
}
