// SubscribeToShard with the AWS SDK for JavaScript v3: event streams over HTTP/2, whose Node client
// takes every slip (an END_STREAM twice, data after a reset) as an error.
"use strict";

const {
  ALL, HASH_KEYS, assert, eventually, pause, refused, run, within,
} = require("./checks");
const { active, arn, connect, consumer, create, sdk, shardId, shards } = require("./streams");

const client = connect();
const send = (name, members) => client.send(new sdk[`${name}Command`](members));

const put = (stream, data, more = {}) =>
  send("PutRecord", { StreamName: stream, PartitionKey: "k", Data: Buffer.from(`${data}`), ...more });

/** Subscribes anew while the last subscription of the same consumer counts as fresh. */
async function subscribe(consumerArn, shard, position, abortSignal) {
  const command = new sdk.SubscribeToShardCommand({
    ConsumerARN: consumerArn, ShardId: shard, StartingPosition: position,
  });
  return (await client.send(command, { abortSignal })).EventStream;
}

/** Reads events until `enough(records, event)`; gives the records and the last event. */
async function readUntil(events, enough, patience = 20_000) {
  const records = [];
  let last;
  const reading = (async () => {
    for await (const event of events) {
      assert.deepEqual(Object.keys(event), ["SubscribeToShardEvent"], JSON.stringify(event));
      last = event.SubscribeToShardEvent;
      assert.ok(Array.isArray(last.Records));
      assert.equal(typeof last.MillisBehindLatest, "number");
      records.push(...last.Records);
      if (enough(records, last)) return true;
    }
    return false;
  })();
  const before = await within(patience, "the wait for events", reading);
  return { records, last, ended: !before };
}

const texts = (records) => records.map((record) => Buffer.from(record.Data).toString());

async function events_come_at_once() {
  await create(client, "events", 1);
  const arnOfConsumer = await consumer(client, "events", "reader");
  await put("events", "before");
  const events = await subscribe(arnOfConsumer, shardId(0), { Type: "TRIM_HORIZON" });
  const iterator = events[Symbol.asyncIterator]();
  const seen = [];
  const next = async () => {
    for (;;) {
      const { value, done } = await within(10_000, "an event", iterator.next());
      assert.ok(!done, "the stream goes on");
      const event = value.SubscribeToShardEvent;
      assert.match(event.ContinuationSequenceNumber, /^\d{56}$/);
      assert.equal(event.ChildShards, undefined);
      if (event.Records.length > 0) return event;
      assert.equal(event.MillisBehindLatest, 0);
    }
  };
  seen.push(...texts((await next()).Records));
  const delays = [];
  for (let i = 0; i < 20; i += 1) {
    const waiting = next();
    await put("events", i);
    const acknowledged = Date.now();
    const event = await waiting;
    delays.push(Date.now() - acknowledged);
    const [record] = event.Records;
    assert.ok(record.ApproximateArrivalTimestamp instanceof Date);
    assert.equal(record.PartitionKey, "k");
    seen.push(...texts(event.Records));
  }
  assert.deepEqual(seen, ["before", ...[...Array(20).keys()].map(String)]);
  delays.sort((one, other) => one - other);
  console.log(`  an event after its acknowledgement: median ${delays[10]} ms, longest ${delays[19]} ms`);
  assert.ok(delays[10] < 500, `${delays}`);
  await iterator.return?.();
}

async function a_hundred_rounds() {
  const count = 5;
  await create(client, "rounds", count);
  const written = [...Array(count)].map(() => []);
  for (let i = 0; i < 10 * count; i += 1) {
    const shard = i % count;
    await put("rounds", i, { ExplicitHashKey: String((HASH_KEYS / BigInt(count)) * BigInt(shard) + 1n) });
    written[shard].push(String(i));
  }
  // A consumer may subscribe to a shard once in five seconds: as many pairs as rounds.
  const consumers = [];
  for (let i = 0; i < 20; i += 1) consumers.push(await consumer(client, "rounds", `reader-${i}`));
  const round = async (name, shard, aborted) => {
    const abort = new AbortController();
    const events = await subscribe(name, shardId(shard), { Type: "TRIM_HORIZON" }, abort.signal);
    const found = await readUntil(events, (records) => records.length >= written[shard].length);
    assert.deepEqual(texts(found.records), written[shard], `${name} ${shard}`);
    // Half of them are aborted, the others just left.
    if (aborted) abort.abort();
  };
  for (const [i, name] of consumers.entries()) {
    await Promise.all(written.map((_, shard) => round(name, shard, (i + shard) % 2 === 0)));
    await send("ListStreams", {});
  }
}

async function a_second_subscription_waits_its_turn() {
  await create(client, "turns", 1);
  const arnOfConsumer = await consumer(client, "turns", "reader");
  const first = await subscribe(arnOfConsumer, shardId(0), { Type: "LATEST" });
  await refused(
    "ResourceInUseException", "", subscribe(arnOfConsumer, shardId(0), { Type: "LATEST" }),
  );
  const iterator = first[Symbol.asyncIterator]();
  const took = Date.now();
  let second;
  const ended = (async () => {
    for (;;) {
      const { value, done } = await iterator.next();
      if (done) return undefined;
      assert.ok(value.SubscribeToShardEvent, JSON.stringify(value));
    }
  })();
  ended.catch(() => {});
  await eventually("the second subscription", async () => {
    try {
      second = await subscribe(arnOfConsumer, shardId(0), { Type: "LATEST" });
      return true;
    } catch (error) {
      assert.equal(error.name, "ResourceInUseException", error.stack);
      await pause(500);
      return false;
    }
  });
  const waited = Date.now() - took;
  assert.ok(waited > 3_500 && waited < 8_000, `it took over after ${waited} ms`);
  await assert.rejects(within(5_000, "the first subscription", ended), { name: "ResourceInUseException" });
  await put("turns", "mine");
  const found = await readUntil(second, (records) => records.length > 0);
  assert.deepEqual(texts(found.records), ["mine"]);
}

async function a_shard_ends_with_its_children() {
  await create(client, "ends", 1, true);
  const arnOfConsumer = await consumer(client, "ends", "reader");
  const events = await subscribe(arnOfConsumer, shardId(0), { Type: "TRIM_HORIZON" });
  const reading = readUntil(events, () => false, 30_000);
  reading.catch(() => {});
  for (let i = 0; i < 10; i += 1) await put("ends", i);
  const middle = String(HASH_KEYS / 2n);
  await send("SplitShard", { StreamName: "ends", ShardToSplit: shardId(0), NewStartingHashKey: middle });
  const { records, last, ended } = await reading;
  assert.ok(ended, "the event stream ends by itself");
  assert.deepEqual(texts(records), [...Array(10).keys()].map(String));
  assert.equal(last.ContinuationSequenceNumber, undefined);
  assert.deepEqual(
    last.ChildShards.map(({ ShardId, ParentShards, HashKeyRange }) => [ShardId, ParentShards, HashKeyRange.StartingHashKey]),
    [[shardId(1), [shardId(0)], "0"], [shardId(2), [shardId(0)], middle]],
  );
  await active(client, "ends");
  await put("ends", "child", { ExplicitHashKey: middle });
  const child = await subscribe(arnOfConsumer, shardId(2), { Type: "TRIM_HORIZON" });
  assert.deepEqual(texts((await readUntil(child, (found) => found.length > 0)).records), ["child"]);
  // A closed shard read again from the start: the same, at once.
  await pause(5_500);
  const again = await readUntil(await subscribe(arnOfConsumer, shardId(0), { Type: "TRIM_HORIZON" }), () => false);
  assert.ok(again.ended);
  assert.equal(again.records.length, 10);
  assert.equal(again.last.ChildShards.length, 2);
  assert.equal((await shards(client, "ends", { Type: "AT_LATEST" })).length, 2);
}

async function a_continuation_loses_and_repeats_nothing() {
  await create(client, "continued", 1);
  const readers = [];
  for (let i = 0; i < 8; i += 1) readers.push(await consumer(client, "continued", `reader-${i}`));
  const total = 400;
  const writing = (async () => {
    for (let i = 0; i < total; i += 1) await put("continued", i);
  })();
  writing.catch(() => {});
  const found = [];
  let position = { Type: "TRIM_HORIZON" };
  for (let turn = 0; found.length < total; turn += 1) {
    assert.ok(turn < 200, "it comes to an end");
    // One consumer after another takes over where the last one stopped.
    const name = readers[turn % readers.length];
    let events;
    try {
      events = await subscribe(name, shardId(0), position);
    } catch (error) {
      assert.equal(error.name, "ResourceInUseException", error.stack);
      await pause(200);
      continue;
    }
    const want = found.length + 1 + (turn * 7) % 60;
    const part = await readUntil(events, (records) => records.length + found.length >= Math.min(want, total));
    found.push(...texts(part.records));
    position = { Type: "AFTER_SEQUENCE_NUMBER", SequenceNumber: part.last.ContinuationSequenceNumber };
  }
  await writing;
  assert.deepEqual(found, [...Array(total).keys()].map(String));
}

async function what_cannot_be_subscribed_is_refused_before_the_stream() {
  await create(client, "refusals", 1);
  const arnOfConsumer = await consumer(client, "refusals", "reader");
  const from = (position, shard = shardId(0), name = arnOfConsumer) => subscribe(name, shard, position);
  await refused("ResourceNotFoundException", "", from({ Type: "LATEST" }, shardId(7)));
  await refused(
    "ResourceNotFoundException", "",
    from({ Type: "LATEST" }, shardId(0), `${arn("refusals")}/consumer/nobody:1`),
  );
  await refused("InvalidArgumentException", "", from({ Type: "AT_SEQUENCE_NUMBER" }));
  await refused("InvalidArgumentException", "", from({ Type: "AT_TIMESTAMP" }));
  await refused("ValidationException", "enum value set", from({ Type: "SOMEWHERE" }));
}

async function an_idle_subscription_is_told_that_it_lives() {
  await create(client, "idle", 1);
  const arnOfConsumer = await consumer(client, "idle", "reader");
  const events = await subscribe(arnOfConsumer, shardId(0), { Type: "LATEST" });
  const times = [Date.now()];
  const numbers = [];
  await readUntil(events, (_, event) => {
    assert.deepEqual(event.Records, []);
    times.push(Date.now());
    numbers.push(event.ContinuationSequenceNumber);
    return numbers.length >= (ALL ? 4 : 2);
  }, 40_000);
  const gaps = times.slice(1).map((time, i) => time - times[i]);
  assert.ok(Math.max(...gaps) < 6_000, `gaps of ${gaps} ms`);
}

async function a_life_lasts_five_minutes() {
  if (!ALL) return;
  await create(client, "life", 1);
  const arnOfConsumer = await consumer(client, "life", "reader");
  const events = await subscribe(arnOfConsumer, shardId(0), { Type: "LATEST" });
  const began = Date.now();
  const { ended } = await readUntil(events, () => false, 330_000);
  const lived = (Date.now() - began) / 1000;
  assert.ok(ended && lived > 295 && lived < 310, `it lived ${lived} s`);
}

run(
  events_come_at_once,
  a_hundred_rounds,
  a_second_subscription_waits_its_turn,
  a_shard_ends_with_its_children,
  a_continuation_loses_and_repeats_nothing,
  what_cannot_be_subscribed_is_refused_before_the_stream,
  an_idle_subscription_is_told_that_it_lives,
  a_life_lasts_five_minutes,
);
