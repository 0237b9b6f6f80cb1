// The AWS SDK for JavaScript v3 with its default handler: HTTP/2 by prior knowledge on a plain port.
"use strict";

const crypto = require("node:crypto");
const http2 = require("node:http2");
const { ACCOUNT, ALL, HASH_KEYS, assert, refused, run } = require("./checks");
const { arn, connect, create, iterator, read, sdk, shardId } = require("./streams");

const client = connect();
// Node refuses streams on a session that holds more than 10 MB, unless told otherwise.
const shared = connect({
  requestHandler: { disableConcurrentStreams: false, nodeHttp2ConnectOptions: { maxSessionMemory: 100 } },
});
const send = (name, members) => client.send(new sdk[`${name}Command`](members));

// The suite would prove little if the SDK spoke HTTP/1.1 here.
let sessions = 0;
const connectHttp2 = http2.connect;
http2.connect = (...given) => {
  sessions += 1;
  return connectHttp2(...given);
};

async function it_speaks_http2() {
  // By default this client opens a session for every call.
  for (let i = 0; i < 20; i += 1) await send("ListStreams", {});
  assert.equal(sessions, 20, "HTTP/2 sessions were opened");
  // Told to, it keeps one.
  sessions = 0;
  for (let i = 0; i < 100; i += 1) await shared.send(new sdk.ListStreamsCommand({}));
  assert.equal(sessions, 1, "one session was kept");
}

async function streams_come_and_go() {
  await send("CreateStream", { StreamName: "js", ShardCount: 2 });
  await sdk.waitUntilStreamExists(
    { client, maxWaitTime: 20, minDelay: 1, maxDelay: 1 }, { StreamName: "js" },
  );
  const { StreamDescription: found } = await send("DescribeStream", { StreamName: "js" });
  assert.equal(found.StreamStatus, "ACTIVE");
  assert.equal(found.StreamARN, arn("js"));
  assert.ok(found.StreamCreationTimestamp instanceof Date);
  assert.ok(Math.abs(Date.now() - found.StreamCreationTimestamp) < 30_000);
  assert.deepEqual(found.Shards.map((shard) => shard.ShardId), [shardId(0), shardId(1)]);
  assert.equal(found.Shards[1].HashKeyRange.StartingHashKey, String(HASH_KEYS / 2n));
  await refused(
    "ResourceInUseException", `Stream js under account ${ACCOUNT} already exists.`,
    send("CreateStream", { StreamName: "js", ShardCount: 1 }),
  );
  const pages = sdk.paginateListStreams({ client, pageSize: 1 }, {});
  const names = [];
  for await (const page of pages) names.push(...page.StreamNames);
  assert.ok(names.includes("js"));
  await send("DeleteStream", { StreamName: "js" });
  await sdk.waitUntilStreamNotExists(
    { client, maxWaitTime: 20, minDelay: 1, maxDelay: 1 }, { StreamName: "js" },
  );
  await refused(
    "ResourceNotFoundException", `Stream js under account ${ACCOUNT} not found.`,
    send("DescribeStream", { StreamName: "js" }),
  );
}

async function records_go_in_and_come_out() {
  await create(client, "records", 3);
  const every = [Buffer.alloc(0), Buffer.from([...Array(256).keys()]), crypto.randomBytes(1_000_000)];
  const entries = every.map((Data, i) => ({ Data, PartitionKey: `kä${i}`, ExplicitHashKey: "0" }));
  const put = await send("PutRecords", { StreamName: "records", Records: entries });
  assert.equal(put.FailedRecordCount, 0);
  const found = await read(client, "records", shardId(0));
  assert.deepEqual(found.map((record) => record.SequenceNumber), put.Records.map((record) => record.SequenceNumber));
  assert.deepEqual(found.map((record) => record.PartitionKey), entries.map((entry) => entry.PartitionKey));
  for (const [i, record] of found.entries()) {
    assert.ok(Buffer.from(record.Data).equals(every[i]), `data of record ${i}`);
    assert.ok(Math.abs(Date.now() - record.ApproximateArrivalTimestamp) < 30_000);
  }
  const [, middle] = found;
  const from = async (kind, more) =>
    (await read(client, "records", shardId(0), kind, more)).map((record) => record.PartitionKey);
  const at = { StartingSequenceNumber: middle.SequenceNumber };
  assert.deepEqual(await from("AT_SEQUENCE_NUMBER", at), ["kä1", "kä2"]);
  assert.deepEqual(await from("AFTER_SEQUENCE_NUMBER", at), ["kä2"]);
  assert.deepEqual(await from("LATEST"), []);
  assert.deepEqual(await from("AT_TIMESTAMP", { Timestamp: new Date(0) }), ["kä0", "kä1", "kä2"]);
  const cut = found[2].ApproximateArrivalTimestamp;
  assert.ok((await from("AT_TIMESTAMP", { Timestamp: cut })).includes("kä2"));
  assert.deepEqual(await from("AT_TIMESTAMP", { Timestamp: new Date(cut.getTime() + 1) }), []);
}

async function calls_share_one_session() {
  await create(client, "parallel", 4);
  sessions = 0;
  const calls = ALL ? 2_000 : 400;
  const numbers = await Promise.all(
    [...Array(calls).keys()].map((i) =>
      shared.send(new sdk.PutRecordCommand({
        StreamName: "parallel", PartitionKey: `${i}`, Data: Buffer.from(`${i} `.repeat(i % 200)),
      }))),
  );
  assert.equal(sessions, 0, "new sessions for parallel calls");
  assert.equal(new Set(numbers.map((answer) => `${answer.ShardId} ${answer.SequenceNumber}`)).size, calls);
  const found = new Map();
  for (let shard = 0; shard < 4; shard += 1) {
    for (const record of await read(client, "parallel", shardId(shard))) {
      assert.ok(!found.has(record.PartitionKey), "each once");
      found.set(record.PartitionKey, Buffer.from(record.Data).toString());
    }
  }
  assert.equal(found.size, calls);
  for (const [key, data] of found) assert.equal(data, `${key} `.repeat(key % 200));
}

async function large_bodies_share_one_session() {
  await create(client, "large", 2);
  const records = (mark) => [...Array(10).keys()].map((i) => ({
    PartitionKey: `${mark} ${i}`, Data: Buffer.alloc((1 << 20) - 16, mark * 10 + i),
  }));
  // Two requests of 13.4 MiB each, and small ones between them, under flow control.
  const small = Promise.all([...Array(20).keys()].map(() => shared.send(new sdk.ListStreamsCommand({}))));
  const answers = await Promise.all([1, 2].map((mark) =>
    shared.send(new sdk.PutRecordsCommand({ StreamName: "large", Records: records(mark) }))));
  await small;
  for (const answer of answers) assert.equal(answer.FailedRecordCount, 0);
  const found = await Promise.all([0, 1].map((shard) => read(client, "large", shardId(shard))));
  const expected = new Map([...records(1), ...records(2)].map((record) => [record.PartitionKey, record.Data]));
  assert.equal(found.flat().length, expected.size);
  for (const record of found.flat()) {
    assert.ok(expected.get(record.PartitionKey).equals(Buffer.from(record.Data)), record.PartitionKey);
  }
}

async function an_aborted_call_leaves_the_session_whole() {
  await create(client, "aborted", 1);
  const data = Buffer.alloc(1_000_000);
  for (let i = 0; i < 20; i += 1) {
    const abort = new AbortController();
    const put = shared.send(
      new sdk.PutRecordCommand({ StreamName: "aborted", PartitionKey: "k", Data: data }),
      { abortSignal: abort.signal },
    );
    const other = shared.send(new sdk.ListStreamsCommand({}));
    setTimeout(() => abort.abort(), i);
    await put.then(() => {}, (error) => assert.equal(error.name, "AbortError", error.stack));
    await other;
  }
  await send("PutRecord", { StreamName: "aborted", PartitionKey: "k", Data: Buffer.from("whole") });
  // An aborted call may have been stored, also after this one.
  const found = await read(client, "aborted", shardId(0));
  assert.ok(found.some((record) => Buffer.from(record.Data).toString() === "whole"));
}

async function errors_are_typed() {
  await create(client, "typed", 1);
  const table = [
    ["ResourceNotFoundException", "not found", "DescribeStream", { StreamName: "nowhere" }],
    ["ValidationException", "validation error detected", "DescribeStream", { StreamName: "a".repeat(129) }],
    ["InvalidArgumentException", "Invalid ShardIterator.", "GetRecords", { ShardIterator: "x" }],
    ["LimitExceededException", "shard limit", "CreateStream", { StreamName: "huge", ShardCount: 100_000 }],
    ["ResourceInUseException", "already exists", "CreateStream", { StreamName: "typed", ShardCount: 1 }],
  ];
  for (const [name, text, operation, members] of table) {
    const error = await refused(name, text, send(operation, members));
    assert.ok(error instanceof sdk.KinesisServiceException, `${error}`);
    if (sdk[name]) assert.ok(error instanceof sdk[name], name);
    assert.equal(error.$fault, "client", name);
    assert.ok(error.$metadata.extendedRequestId, "the second id");
  }
}

async function throttling_is_retried_by_the_sdk() {
  await create(client, "metered", 1, true);
  const patient = connect({ maxAttempts: 15, requestHandler: { disableConcurrentStreams: false } });
  const put = (through) => through.send(new sdk.PutRecordCommand({
    StreamName: "metered", PartitionKey: "k", Data: Buffer.alloc(200_000),
  }));
  const all = (through, count) => Promise.allSettled([...Array(count).keys()].map(() => put(through)));
  // Ten seconds' worth of a shard, at once.
  const tried = await all(shared, 50);
  const [first] = tried.filter(({ status }) => status === "rejected").map(({ reason }) => reason);
  await refused(
    "ProvisionedThroughputExceededException",
    `Rate exceeded for shard ${shardId(0)} in stream metered under account ${ACCOUNT}.`,
    Promise.reject(first),
  );
  const taken = tried.filter(({ status }) => status === "fulfilled").length;
  const retried = await all(patient, 10);
  assert.deepEqual(retried.filter(({ status }) => status === "rejected"), []);
  const attempts = retried.map(({ value }) => value.$metadata.attempts);
  assert.ok(Math.max(...attempts) > 1, `attempts ${attempts}`);
  let at = await iterator(patient, "metered", shardId(0));
  let found = 0;
  while (found < taken + 10) {
    const answer = await patient.send(new sdk.GetRecordsCommand({ ShardIterator: at }));
    found += answer.Records.length;
    at = answer.NextShardIterator;
  }
  assert.equal(found, taken + 10);
}

run(
  it_speaks_http2,
  streams_come_and_go,
  records_go_in_and_come_out,
  calls_share_one_session,
  large_bodies_share_one_session,
  an_aborted_call_leaves_the_session_whole,
  errors_are_typed,
  throttling_is_retried_by_the_sdk,
);
