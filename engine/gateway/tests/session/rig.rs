//! A gateway on real cores behind a port of the system's choice, and a blocking HTTP client.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use weir_gateway::{Caller, Gateway, GatewaySettings};
use weir_protocol::model::StreamName;
use weir_reactor::{
    Acceptor, CorePlan, CoreReactor, Inbox, Lane, Listener, Mailbox, Reactor, Reply, TcpSocket,
    choose_cpus, mailbox, oneshot, start_cores,
};
use weir_stream::{
    Change, Changed, ControlError, CoreCounters, CoreSeed, Engine, EngineMemory, FolderOptions,
    QuotaSwitch, SubscriptionTimes, open_folder,
};

const MIB: u64 = 1024 * 1024;

enum Order {
    Serve(OwnedFd),
    Change(StreamName, Change, Reply<Result<Changed, ControlError>>),
    EndSubscriptions,
    Count(Reply<CoreCounters>),
    Stop,
}

/// A server in this process. Dropping it stops it.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    acceptor: Option<Acceptor>,
    cores: Vec<Mailbox<Order>>,
    thread: Option<JoinHandle<()>>,
    /// Given up by a restart only.
    folder: Option<TempDir>,
}

impl Server {
    pub(crate) fn start(cores: usize, state_delay: Duration) -> Self {
        Self::start_with(cores, state_delay, SubscriptionTimes::default())
    }

    /// A server whose subscriptions live by other times than AWS's.
    pub(crate) fn start_with(
        cores: usize,
        state_delay: Duration,
        times: SubscriptionTimes,
    ) -> Self {
        Self::start_metered(cores, state_delay, times, QuotaSwitch::Mode)
    }

    /// A server that meters other streams.
    pub(crate) fn start_metered(
        cores: usize,
        state_delay: Duration,
        times: SubscriptionTimes,
        quota: QuotaSwitch,
    ) -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        Self::over(folder, cores, state_delay, times, quota)
    }

    /// The server, stopped and started again over its folder with another state delay. What is ACTIVE
    /// stays so; under a long delay every change from then on stays on its way.
    pub(crate) fn restart(mut self, state_delay: Duration) -> Self {
        let (folder, cores) = (self.folder.take().unwrap(), self.cores.len());
        drop(self);
        let times = SubscriptionTimes::default();
        Self::over(folder, cores, state_delay, times, QuotaSwitch::Mode)
    }

    fn over(
        folder: TempDir,
        cores: usize,
        state_delay: Duration,
        times: SubscriptionTimes,
        quota: QuotaSwitch,
    ) -> Self {
        let options = FolderOptions {
            path: folder.path().join("data"),
            cores,
            segment_bytes: Some(32 * MIB),
            memory: EngineMemory::default(),
            reserve_bytes: 0,
            quota,
            state_delay,
            account: "000000000000".to_owned(),
            region: "us-east-1".to_owned(),
        };
        let opened = open_folder(&options).unwrap();
        let (outboxes, inboxes): (Vec<_>, Vec<_>) = (0..cores).map(|_| mailbox(1024)).unzip();
        let starts: Vec<_> = opened.cores.into_iter().zip(inboxes).map(Some).collect();
        let starts = Arc::new(Mutex::new(starts));
        let plan = CorePlan {
            cpus: choose_cpus(cores).unwrap(),
            folder: options.path.clone(),
        };
        let running = start_cores(&plan, move |reactor| {
            let core = reactor.core();
            let (seed, orders) = starts.lock().unwrap()[core].take().unwrap();
            serve(reactor, seed.with_subscription_times(times), orders)
        })
        .unwrap();
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_address().unwrap();
        let takers = outboxes.clone();
        let mut turn = 0;
        let acceptor = listener.start_accepting("http", move |descriptor, _peer| {
            turn += 1;
            let _full = takers[turn % takers.len()].send(Order::Serve(descriptor));
        });
        let control = opened.control;
        let thread = std::thread::spawn(move || {
            running.join();
            control.stop();
        });
        Self {
            address,
            acceptor: Some(acceptor.unwrap()),
            cores: outboxes,
            thread: Some(thread),
            folder: Some(folder),
        }
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// Changes a stream as no client can.
    pub(crate) fn change(&self, stream: &str, change: Change) -> Changed {
        let (answer, wait) = oneshot();
        let name = StreamName::new(stream).unwrap();
        let order = Order::Change(name, change, answer);
        assert!(self.cores[0].send(order).is_ok());
        let changed = wait.wait(Duration::from_secs(20)).unwrap();
        changed.unwrap().unwrap()
    }

    /// Bytes of batches that were read since the start, by all cores.
    pub(crate) fn bytes_read(&self) -> u64 {
        let read = self.cores.iter().map(|core| {
            let (answer, wait) = oneshot();
            assert!(core.send(Order::Count(answer)).is_ok());
            wait.wait(Duration::from_secs(20))
                .unwrap()
                .unwrap()
                .read_bytes
        });
        read.sum()
    }

    /// Ends all subscriptions, as a server does that is told to stop.
    pub(crate) fn end_subscriptions(&self) {
        for core in &self.cores {
            assert!(core.send(Order::EndSubscriptions).is_ok());
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.acceptor.take());
        for core in &self.cores {
            let _full = core.send(Order::Stop);
        }
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

async fn serve(reactor: CoreReactor, seed: CoreSeed, mut orders: Inbox<Order>) {
    let engine = Engine::start(reactor.clone(), seed).await.unwrap();
    let gateway = Gateway::new(engine.clone(), GatewaySettings::default());
    while let Some(order) = orders.receive().await {
        let (gateway, engine) = (gateway.clone(), engine.clone());
        match order {
            Order::Serve(descriptor) => {
                let socket = TcpSocket::adopt(descriptor).unwrap();
                reactor.spawn(Lane::Network, async move {
                    let caller = Rc::new(Caller::new([127, 0, 0, 1].into()));
                    gateway.serve(socket, caller, std::future::pending()).await;
                });
            }
            Order::Change(name, change, answer) => reactor.spawn(Lane::Network, async move {
                answer.send(engine.change_stream(&name, change).await);
            }),
            Order::EndSubscriptions => engine.end_subscriptions(),
            Order::Count(answer) => answer.send(engine.counters()),
            Order::Stop => break,
        }
    }
    engine.close().await;
}

/// One kept-alive connection.
pub(crate) struct Client {
    pub(crate) socket: TcpStream,
    received: Vec<u8>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct HttpReply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl HttpReply {
    pub(crate) fn json(&self) -> Value {
        if self.body.is_empty() {
            return Value::Null;
        }
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_nodelay(true).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        Self {
            socket,
            received: Vec::new(),
        }
    }

    /// The bytes of a call as the SDKs send it.
    pub(crate) fn request(operation: &str, body: &str) -> Vec<u8> {
        let length = body.len();
        format!(
            "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-amz-json-1.1\r\n\
             X-Amz-Target: Kinesis_20131202.{operation}\r\nX-Amz-Date: 20260101T000000Z\r\n\
             Authorization: AWS4-HMAC-SHA256 \
             Credential=AKIDEXAMPLE/20260101/eu-west-1/kinesis/aws4_request, \
             SignedHeaders=host;x-amz-date;x-amz-target, Signature=0\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        )
        .into_bytes()
    }

    pub(crate) fn exchange(&mut self, bytes: &[u8]) -> HttpReply {
        self.socket.write_all(bytes).unwrap();
        self.reply()
    }

    pub(crate) fn reply(&mut self) -> HttpReply {
        let mut piece = vec![0; 1 << 16];
        loop {
            if let Some(reply) = self.take_reply() {
                return reply;
            }
            let count = self.socket.read(&mut piece).unwrap();
            assert!(count > 0, "the server closed the connection");
            self.received.extend_from_slice(&piece[..count]);
        }
    }

    /// The next answer, if one comes in time and the server does not end the connection.
    pub(crate) fn try_reply(&mut self, patience: Duration) -> Option<HttpReply> {
        self.socket.set_read_timeout(Some(patience)).unwrap();
        let mut piece = vec![0; 1 << 16];
        loop {
            if let Some(reply) = self.take_reply() {
                return Some(reply);
            }
            match self.socket.read(&mut piece) {
                Ok(count @ 1..) => self.received.extend_from_slice(&piece[..count]),
                _ => return None,
            }
        }
    }

    fn take_reply(&mut self) -> Option<HttpReply> {
        let end = self.received.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
        let head = String::from_utf8(self.received[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1)?.parse().unwrap();
        let mut reply = HttpReply {
            status,
            head,
            body: Vec::new(),
        };
        let length: usize = reply.header("content-length")?.parse().unwrap();
        if self.received.len() < end + length {
            return None;
        }
        reply.body = self.received[end..end + length].to_vec();
        self.received.drain(..end + length);
        Some(reply)
    }

    /// Calls, and expects success.
    pub(crate) fn call(&mut self, operation: &str, body: Value) -> Value {
        let reply = self.exchange(&Self::request(operation, &body.to_string()));
        let text = String::from_utf8_lossy(&reply.body);
        assert_eq!(reply.status, 200, "{operation}: {text}");
        reply.json()
    }

    /// Calls, and expects an error: its status, type and text.
    pub(crate) fn refusal(&mut self, operation: &str, body: Value) -> (u16, String, String) {
        let reply = self.exchange(&Self::request(operation, &body.to_string()));
        let error = reply.json();
        let text = error.get("message").or_else(|| error.get("Message"));
        let text = text.and_then(Value::as_str).unwrap_or_default().to_owned();
        let kind = error["__type"].as_str().unwrap_or_default().to_owned();
        (reply.status, kind, text)
    }

    /// Waits until the stream is ACTIVE.
    pub(crate) fn wait_active(&mut self, name: &str) -> Value {
        for _ in 0..500 {
            let found = self.call("DescribeStream", json!({"StreamName": name}));
            let found = found["StreamDescription"].clone();
            if found["StreamStatus"] == "ACTIVE" {
                return found;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{name} does not become ACTIVE");
    }

    /// All data of a shard from the start on, in order.
    pub(crate) fn read_shard(&mut self, name: &str, shard: &str) -> Vec<Vec<u8>> {
        let ask =
            json!({"StreamName": name, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"});
        let mut iterator = self.call("GetShardIterator", ask)["ShardIterator"].clone();
        let mut found = Vec::new();
        loop {
            let page = self.call("GetRecords", json!({"ShardIterator": iterator}));
            let records = page["Records"].as_array().unwrap();
            for record in records {
                let data = record["Data"].as_str().unwrap();
                found.push(base64_simd::STANDARD.decode_to_vec(data).unwrap());
            }
            if records.is_empty() && page["MillisBehindLatest"] == 0 {
                return found;
            }
            assert_ne!(page["NextShardIterator"], iterator);
            iterator = page["NextShardIterator"].clone();
        }
    }
}
