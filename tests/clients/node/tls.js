// The AWS SDK for JavaScript v3 over TLS: HTTP/2 by ALPN. NODE_EXTRA_CA_CERTS names the server's
// own certificate.
"use strict";

const http2 = require("node:http2");
const { SECURE_ENDPOINT, assert, run, within } = require("./checks");
const { connect, consumer, create, read, sdk, shardId } = require("./streams");

const client = connect({ endpoint: SECURE_ENDPOINT });
const send = (name, members) => client.send(new sdk[`${name}Command`](members));

async function alpn_chooses_http2() {
  const session = http2.connect(SECURE_ENDPOINT);
  await within(10_000, "the session", new Promise((resolve, reject) => {
    session.once("connect", resolve);
    session.once("error", reject);
  }));
  assert.equal(session.alpnProtocol, "h2");
  assert.ok(session.encrypted);
  session.close();
}

async function records_go_through_tls() {
  await create(client, "tls", 1);
  const data = [Buffer.alloc(0), Buffer.alloc(100_000, 7), Buffer.alloc((1 << 20) - 1, 9)];
  await Promise.all(data.map((Data, i) => send("PutRecord", { StreamName: "tls", PartitionKey: `${i}`, Data })));
  const found = await read(client, "tls", shardId(0));
  assert.equal(found.length, 3);
  for (const record of found) {
    assert.ok(Buffer.from(record.Data).equals(data[Number(record.PartitionKey)]), record.PartitionKey);
  }
}

async function events_come_through_tls() {
  const arnOfConsumer = await consumer(client, "tls", "reader");
  const answer = await send("SubscribeToShard", {
    ConsumerARN: arnOfConsumer, ShardId: shardId(0), StartingPosition: { Type: "TRIM_HORIZON" },
  });
  const keys = [];
  await within(20_000, "the records", (async () => {
    for await (const event of answer.EventStream) {
      keys.push(...event.SubscribeToShardEvent.Records.map((record) => record.PartitionKey));
      if (keys.length === 3) return;
    }
  })());
  assert.deepEqual(keys.sort(), ["0", "1", "2"]);
}

run(alpn_chooses_http2, records_go_through_tls, events_come_through_tls);
