//! A call of each kind behind a jump of the wall clock, signed by the server's own clock, and what
//! must come back whatever that clock shows.

use std::fs::File;
use std::io::Write;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::clock::Clock;
use crate::chance::{Chance, hash};
use crate::http::{Client, short};
use crate::judge::STREAM;
use crate::liar::base64;
use crate::load::content;
use crate::scene::{Scene, wait_until};
use crate::server::Ports;

/// The connection's place in a serial that no load has.
const CONNECTION: u64 = 0xff;
/// For streams that change.
const TURNS: &str = "turns";
const PATIENCE: Duration = Duration::from_secs(20);

/// A record that was put by HTTP.
#[derive(Debug, Clone)]
struct Put {
    shard: u32,
    number: String,
}

pub(super) struct Caller {
    ledger: File,
    chance: Chance,
    next: u64,
    shards: u32,
    kind: usize,
    /// The newest record of ours.
    last: Option<Put>,
    /// The first number seen in each shard: it must stay there.
    first: Vec<Option<String>>,
    consumer: String,
    streams: u64,
}

/// The server behind one jump.
struct Server<'a> {
    ports: Ports,
    clock: &'a Clock,
}

impl Server<'_> {
    fn client(&self) -> Result<Client> {
        Ok(Client::connect(self.ports.http)?.signing_at(self.clock.now()))
    }

    fn must(&self, operation: &str, body: &Value) -> Result<Value> {
        self.client()?.must(operation, body)
    }

    /// For what another call has just changed: a core may hear of it a moment after another has told us.
    fn soon(&self, operation: &str, body: &Value) -> Result<Value> {
        let mut answer = (0, Value::Null);
        let waited = wait_until(operation, PATIENCE, || {
            answer = self.client()?.call(operation, body)?;
            let error = answer.1["__type"].as_str().unwrap_or_default();
            let behind = ["ResourceNotFoundException", "ResourceInUseException"];
            Ok(answer.0 != 400 || !behind.contains(&error))
        });
        let said = || format!("{operation}: {} {}", answer.0, short(&answer.1));
        waited.with_context(said)?;
        ensure!(answer.0 == 200, "{}", said());
        Ok(answer.1)
    }
}

type Kind = fn(&mut Caller, Ports, &mut Clock, i64) -> Result<()>;

impl Caller {
    const CALLS: [Kind; 13] = [
        |me, ports, clock, to| me.behind(ports, clock, to, Self::put_one),
        |me, ports, clock, to| me.behind(ports, clock, to, Self::put_some),
        |me, ports, clock, to| me.behind(ports, clock, to, Self::read_the_oldest),
        |me, ports, clock, to| me.behind(ports, clock, to, Self::read_the_newest),
        |me, ports, clock, to| me.behind(ports, clock, to, Self::at_a_number),
        |me, ports, clock, to| me.behind(ports, clock, to, Self::after_a_number),
        |me, ports, clock, to| me.behind(ports, clock, to, Self::at_a_time),
        Self::iterator_before,
        Self::subscription_before,
        |me, ports, clock, to| me.behind(ports, clock, to, Self::create_and_delete),
        |me, ports, clock, to| {
            me.behind(ports, clock, to, |_, server| Self::split_or_merge(server))
        },
        |me, ports, clock, to| {
            me.behind(ports, clock, to, |_, server| {
                Self::keep_longer_or_shorter(server)
            })
        },
        |me, ports, clock, to| me.behind(ports, clock, to, Self::consumer_comes_and_goes),
    ];
    pub(super) const KINDS: usize = Self::CALLS.len();

    pub(super) fn new(scene: &mut Scene, shards: u32) -> Self {
        let ledger = File::options().append(true).open(scene.ledger());
        Self {
            ledger: ledger.expect("the scene made it"),
            next: scene.next_life() << 48 | CONNECTION << 40,
            chance: Chance::new(scene.chance.next()),
            shards,
            kind: 0,
            last: None,
            first: vec![None; shards as usize],
            consumer: String::new(),
            streams: 0,
        }
    }

    /// What the calls need: a consumer, and a stream to be changed.
    pub(super) fn prepare(&mut self, ports: Ports, clock: &Clock) -> Result<()> {
        let server = Server { ports, clock };
        let name = json!({ "StreamName": STREAM });
        let summary = server.soon("DescribeStreamSummary", &name)?;
        let arn = &summary["StreamDescriptionSummary"]["StreamARN"];
        let consumer = json!({ "StreamARN": arn, "ConsumerName": "rig" });
        let made = server.soon("RegisterStreamConsumer", &consumer)?;
        let arn = made["Consumer"]["ConsumerARN"].as_str();
        arn.context("no ConsumerARN")?
            .clone_into(&mut self.consumer);
        let ask = json!({ "ConsumerARN": self.consumer });
        wait_until("an ACTIVE consumer", PATIENCE, || {
            let said = server.soon("DescribeStreamConsumer", &ask)?;
            Ok(said["ConsumerDescription"]["ConsumerStatus"] == "ACTIVE")
        })?;
        server.must(
            "CreateStream",
            &json!({ "StreamName": TURNS, "ShardCount": 1 }),
        )?;
        is_active(&server, TURNS)?;
        self.put_one(&server)
    }

    /// Sets the wall clock and makes the next kind of call.
    pub(super) fn jump(&mut self, ports: Ports, clock: &mut Clock, to: i64) -> Result<()> {
        let kind = Self::CALLS[self.kind % Self::KINDS];
        self.kind += 1;
        let number = (self.kind - 1) % Self::KINDS;
        kind(self, ports, clock, to).with_context(|| format!("call {number}"))
    }

    fn behind(
        &mut self,
        ports: Ports,
        clock: &mut Clock,
        to: i64,
        call: fn(&mut Self, &Server<'_>) -> Result<()>,
    ) -> Result<()> {
        clock.jump(to)?;
        call(self, &Server { ports, clock })
    }

    /// One record for the ledger: what is asked, and its line.
    fn record(&mut self) -> Result<(u64, u32, Value)> {
        let serial = self.next;
        self.next += 1;
        let shard = self.chance.between(0, u64::from(self.shards) - 1) as u32;
        let place = u128::MAX / u128::from(self.shards) * u128::from(shard) + 4_711;
        let key = format!("key-{}", serial % 7);
        let bytes = self.chance.between(10, 300) * 3;
        let data = content(serial, 0, bytes);
        let (key_hash, data_hash) = (hash(key.as_bytes()), hash(&data));
        let line = format!("sent {serial:x} {shard} {key_hash:x}:{data_hash:x}\n");
        self.ledger.write_all(line.as_bytes())?;
        let record = json!({
            "PartitionKey": key, "ExplicitHashKey": place.to_string(), "Data": base64(&data),
        });
        Ok((serial, shard, record))
    }

    /// What came back for it.
    fn stored(&mut self, serial: u64, shard: u32, answer: &Value) -> Result<()> {
        let number = answer["SequenceNumber"].as_str();
        let number = number.with_context(|| format!("not stored: {answer}"))?;
        let id = format!("shardId-{shard:012}");
        ensure!(answer["ShardId"] == id, "stored in {answer}, sent to {id}");
        writeln!(self.ledger, "stored {serial:x} {number} 0")?;
        if let Some(last) = self.last.as_ref().filter(|last| last.shard == shard) {
            // Numbers have one length: they compare as text.
            ensure!(
                last.number.as_str() < number,
                "{number} came after {}",
                last.number
            );
        }
        self.last = Some(Put {
            shard,
            number: number.to_owned(),
        });
        Ok(())
    }

    fn put_one(&mut self, server: &Server<'_>) -> Result<()> {
        let (serial, shard, mut record) = self.record()?;
        record["StreamName"] = STREAM.into();
        let answer = server.must("PutRecord", &record)?;
        self.stored(serial, shard, &answer)
    }

    fn put_some(&mut self, server: &Server<'_>) -> Result<()> {
        let sent: Vec<_> = (0..8).map(|_| self.record()).collect::<Result<_>>()?;
        let records: Vec<_> = sent.iter().map(|(_, _, record)| record).collect();
        let body = json!({ "StreamName": STREAM, "Records": records });
        let answer = server.must("PutRecords", &body)?;
        for ((serial, shard, _), answer) in sent.iter().zip(list(&answer, "Records")?) {
            self.stored(*serial, *shard, answer)?;
        }
        Ok(())
    }

    fn last(&self) -> Result<Put> {
        self.last.clone().context("something was put")
    }

    /// Whatever the clock shows, the first record stays the first.
    fn read_the_oldest(&mut self, server: &Server<'_>) -> Result<()> {
        let shard = self.chance.between(0, u64::from(self.shards) - 1) as u32;
        let iterator = iterator(
            server,
            shard,
            &json!({ "ShardIteratorType": "TRIM_HORIZON" }),
        )?;
        let records = records(server, &iterator)?;
        let Some(first) = records.first() else {
            ensure!(
                self.first[shard as usize].is_none(),
                "shard {shard} is empty"
            );
            return Ok(());
        };
        let number = text(first, "SequenceNumber")?;
        let known = self.first[shard as usize].get_or_insert_with(|| number.to_owned());
        ensure!(
            known == number,
            "expired early: shard {shard} began with {known}, now with {number}"
        );
        Ok(())
    }

    fn read_the_newest(&mut self, server: &Server<'_>) -> Result<()> {
        let at = json!({ "ShardIteratorType": "LATEST" });
        let iterators = (0..self.shards).map(|shard| iterator(server, shard, &at));
        let iterators: Vec<_> = iterators.collect::<Result<_>>()?;
        self.put_one(server)?;
        let put = self.last()?;
        let records = records(server, &iterators[put.shard as usize])?;
        let mut numbers = records.iter().map(|record| text(record, "SequenceNumber"));
        let found = numbers.any(|number| number.is_ok_and(|number| number == put.number));
        ensure!(found, "what came after LATEST is not there: {}", put.number);
        Ok(())
    }

    fn at_a_number(&mut self, server: &Server<'_>) -> Result<()> {
        let put = self.last()?;
        let at = json!({
            "ShardIteratorType": "AT_SEQUENCE_NUMBER", "StartingSequenceNumber": put.number,
        });
        let records = records(server, &iterator(server, put.shard, &at)?)?;
        let first = text(records.first().context("no records")?, "SequenceNumber")?;
        ensure!(first == put.number, "at {} there is {first}", put.number);
        Ok(())
    }

    fn after_a_number(&mut self, server: &Server<'_>) -> Result<()> {
        let put = self.last()?;
        let at = json!({
            "ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": put.number,
        });
        for record in records(server, &iterator(server, put.shard, &at)?)? {
            let number = text(&record, "SequenceNumber")?;
            ensure!(
                number > put.number.as_str(),
                "after {} there is {number}",
                put.number
            );
        }
        Ok(())
    }

    /// Arrival times never go back in a shard, and so the time of a record finds it.
    fn at_a_time(&mut self, server: &Server<'_>) -> Result<()> {
        let put = self.last()?;
        let at = json!({
            "ShardIteratorType": "AT_SEQUENCE_NUMBER", "StartingSequenceNumber": put.number,
        });
        let found = records(server, &iterator(server, put.shard, &at)?)?;
        let arrived = &found.first().context("no records")?["ApproximateArrivalTimestamp"];
        let at = json!({ "ShardIteratorType": "AT_TIMESTAMP", "Timestamp": arrived });
        let (status, answer) = ask_iterator(server, put.shard, &at)?;
        let moment = arrived.as_f64().context("a time is a number")?;
        if status == 400 && moment > seconds(server.clock)? {
            // As AWS: a moment that the clock has not reached yet is refused.
            return Ok(());
        }
        ensure!(status == 200, "{status} {}", short(&answer));
        let iterator = text(&answer, "ShardIterator")?;
        let records = records(server, iterator)?;
        let first = records.first().context("nothing at the time of a record")?;
        let number = text(first, "SequenceNumber")?;
        ensure!(
            number <= put.number.as_str(),
            "the time of {} finds {number}",
            put.number
        );
        let found = first["ApproximateArrivalTimestamp"]
            .as_f64()
            .context("no time")?;
        ensure!(found >= moment, "asked for {moment}, found {found}");
        Ok(())
    }

    /// An iterator from before the jump is as good after it.
    fn iterator_before(&mut self, ports: Ports, clock: &mut Clock, to: i64) -> Result<()> {
        let iterator = self.iterator(ports, clock)?;
        clock.jump(to)?;
        Self::is_good(ports, clock, &iterator)
    }

    pub(super) fn iterator(&self, ports: Ports, clock: &Clock) -> Result<String> {
        let at = json!({ "ShardIteratorType": "TRIM_HORIZON" });
        iterator(&Server { ports, clock }, self.last()?.shard, &at)
    }

    pub(super) fn is_good(ports: Ports, clock: &Clock, iterator: &str) -> Result<()> {
        let found = records(&Server { ports, clock }, iterator)?;
        ensure!(!found.is_empty(), "an iterator from before gives nothing");
        Ok(())
    }

    /// Iterators expire when time has passed, whatever the wall clock shows; and a load goes on.
    pub(super) fn age(&mut self, ports: Ports, clock: &mut Clock, ms: i64) -> Result<()> {
        let iterator = self.iterator(ports, clock)?;
        clock.pass(ms - 5_000)?;
        Self::is_good(ports, clock, &iterator)?;
        clock.pass(6_000)?;
        let server = Server { ports, clock };
        let (status, answer) = server
            .client()?
            .call("GetRecords", &json!({ "ShardIterator": iterator }))?;
        ensure!(
            status == 400 && answer["__type"] == "ExpiredIteratorException",
            "an iterator older than five minutes: {status} {}",
            short(&answer)
        );
        self.put_one(&server)
    }

    /// A subscription from before the jump goes on giving out what comes.
    fn subscription_before(&mut self, ports: Ports, clock: &mut Clock, to: i64) -> Result<()> {
        let shard = self.last()?.shard;
        let body = json!({
            "ConsumerARN": self.consumer,
            "ShardId": format!("shardId-{shard:012}"),
            "StartingPosition": { "Type": "LATEST" },
        });
        let server = Server { ports, clock };
        let mut client = server.client()?;
        // The last one's end may not have been noticed yet.
        wait_until("a subscription", PATIENCE, || {
            client = server.client()?;
            let request = client.request("SubscribeToShard", &body)?;
            client.send(&request)?;
            let (status, _) = client.head()?;
            ensure!([200, 400].contains(&status), "SubscribeToShard: {status}");
            Ok(status == 200)
        })?;
        client.read_until(b"ContinuationSequenceNumber", PATIENCE)?;
        clock.jump(to)?;
        let server = Server { ports, clock };
        loop {
            self.put_one(&server)?;
            let put = self.last()?;
            if put.shard == shard {
                return client
                    .read_until(put.number.as_bytes(), PATIENCE)
                    .context("a subscription from before");
            }
        }
    }

    fn create_and_delete(&mut self, server: &Server<'_>) -> Result<()> {
        self.streams += 1;
        let name = format!("stream-{}", self.streams);
        server.soon(
            "CreateStream",
            &json!({ "StreamName": name, "ShardCount": 2 }),
        )?;
        is_active(server, &name)?;
        let record = json!({ "StreamName": name, "PartitionKey": "k", "Data": "d2Vpcg==" });
        server.soon("PutRecord", &record)?;
        server.soon("DeleteStream", &json!({ "StreamName": name }))?;
        Ok(())
    }

    /// One shard becomes two, or two one.
    fn split_or_merge(server: &Server<'_>) -> Result<()> {
        let open = json!({ "StreamName": TURNS, "ShardFilter": { "Type": "AT_LATEST" } });
        let shards = server.soon("ListShards", &open)?;
        let shards = list(&shards, "Shards")?;
        let id = |at: usize| text(&shards[at], "ShardId");
        match shards.len() {
            1 => {
                let half = (u128::MAX / 2).to_string();
                let split = json!({
                    "StreamName": TURNS, "ShardToSplit": id(0)?, "NewStartingHashKey": half,
                });
                server.soon("SplitShard", &split)?;
            }
            2 => {
                let merge = json!({
                    "StreamName": TURNS, "ShardToMerge": id(0)?, "AdjacentShardToMerge": id(1)?,
                });
                server.soon("MergeShards", &merge)?;
            }
            many => bail!("{TURNS} has {many} open shards"),
        }
        is_active(server, TURNS)?;
        let record = json!({ "StreamName": TURNS, "PartitionKey": "k", "Data": "d2Vpcg==" });
        server.soon("PutRecord", &record)?;
        Ok(())
    }

    fn keep_longer_or_shorter(server: &Server<'_>) -> Result<()> {
        is_active(server, TURNS)?;
        let longer = json!({ "StreamName": TURNS, "RetentionPeriodHours": 100 });
        server.soon("IncreaseStreamRetentionPeriod", &longer)?;
        is_active(server, TURNS)?;
        let shorter = json!({ "StreamName": TURNS, "RetentionPeriodHours": 24 });
        server.soon("DecreaseStreamRetentionPeriod", &shorter)?;
        is_active(server, TURNS)
    }

    fn consumer_comes_and_goes(&mut self, server: &Server<'_>) -> Result<()> {
        let arn = self.consumer.split("/consumer/").next().unwrap_or_default();
        self.streams += 1;
        let name = format!("consumer-{}", self.streams);
        let consumer = json!({ "StreamARN": arn, "ConsumerName": name });
        server.soon("RegisterStreamConsumer", &consumer)?;
        wait_until("an ACTIVE consumer", PATIENCE, || {
            let said = server.soon("DescribeStreamConsumer", &consumer)?;
            Ok(said["ConsumerDescription"]["ConsumerStatus"] == "ACTIVE")
        })?;
        server.soon("DeregisterStreamConsumer", &consumer)?;
        Ok(())
    }
}

/// Seconds since 1970 on the server's clock.
fn seconds(clock: &Clock) -> Result<f64> {
    let since = clock.now().duration_since(std::time::UNIX_EPOCH)?;
    Ok(since.as_secs_f64())
}

fn text<'a>(value: &'a Value, name: &str) -> Result<&'a str> {
    let text = value[name].as_str();
    text.with_context(|| format!("no {name} in {value}"))
}

fn list<'a>(value: &'a Value, name: &str) -> Result<&'a Vec<Value>> {
    let list = value[name].as_array();
    list.with_context(|| format!("no {name} in {value}"))
}

fn is_active(server: &Server<'_>, stream: &str) -> Result<()> {
    let name = json!({ "StreamName": stream });
    wait_until("an ACTIVE stream", PATIENCE, || {
        let said = server.soon("DescribeStreamSummary", &name)?;
        Ok(said["StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE")
    })
}

fn ask_iterator(server: &Server<'_>, shard: u32, at: &Value) -> Result<crate::http::Answer> {
    let mut body = at.clone();
    body["StreamName"] = STREAM.into();
    body["ShardId"] = format!("shardId-{shard:012}").into();
    server.client()?.call("GetShardIterator", &body)
}

fn iterator(server: &Server<'_>, shard: u32, at: &Value) -> Result<String> {
    let (status, answer) = ask_iterator(server, shard, at)?;
    ensure!(
        status == 200,
        "GetShardIterator {at}: {status} {}",
        short(&answer)
    );
    Ok(text(&answer, "ShardIterator")?.to_owned())
}

fn records(server: &Server<'_>, iterator: &str) -> Result<Vec<Value>> {
    let answer = server.must("GetRecords", &json!({ "ShardIterator": iterator }))?;
    Ok(list(&answer, "Records")?.clone())
}
