// What the suites with the AWS SDK share: clients, and making and reading streams.
"use strict";

const { KinesisClient, ...sdk } = require("@aws-sdk/client-kinesis");
const { ACCOUNT, ENDPOINT, REGION, eventually } = require("./checks");

/** A client with the SDK's default handler, which speaks HTTP/2; no hidden second tries. */
function connect(settings = {}) {
  return new KinesisClient({
    endpoint: ENDPOINT,
    region: REGION,
    credentials: { accessKeyId: "weir", secretAccessKey: "weir" },
    maxAttempts: 1,
    ...settings,
  });
}

const arn = (name) => `arn:aws:kinesis:${REGION}:${ACCOUNT}:stream/${name}`;
const shardId = (index) => `shardId-${String(index).padStart(12, "0")}`;

function active(client, name) {
  return eventually(`${name} ACTIVE`, async () => {
    const answer = await client.send(new sdk.DescribeStreamSummaryCommand({ StreamName: name }));
    const summary = answer.StreamDescriptionSummary;
    return summary.StreamStatus === "ACTIVE" && summary;
  });
}

/** A new stream that is ACTIVE; on demand unless it shall be metered. */
async function create(client, name, shards = 1, metered = false) {
  const mode = metered ? {} : { StreamModeDetails: { StreamMode: "ON_DEMAND" } };
  await client.send(new sdk.CreateStreamCommand({ StreamName: name, ShardCount: shards, ...mode }));
  return active(client, name);
}

async function iterator(client, name, shard, kind = "TRIM_HORIZON", more = {}) {
  const asked = { StreamName: name, ShardId: shard, ShardIteratorType: kind, ...more };
  return (await client.send(new sdk.GetShardIteratorCommand(asked))).ShardIterator;
}

/** All records from a place to the tip of an open shard, or to the end of a closed one. */
async function read(client, name, shard, kind, more) {
  let at = await iterator(client, name, shard, kind, more);
  const records = [];
  while (at !== undefined) {
    const answer = await client.send(new sdk.GetRecordsCommand({ ShardIterator: at }));
    records.push(...answer.Records);
    if (answer.MillisBehindLatest === 0 && answer.Records.length === 0) break;
    at = answer.NextShardIterator;
  }
  return records;
}

async function shards(client, name, filter) {
  const asked = { StreamName: name, ShardFilter: filter };
  return (await client.send(new sdk.ListShardsCommand(asked))).Shards;
}

/** A consumer that is ACTIVE; its ARN. */
async function consumer(client, stream, name) {
  const asked = { StreamARN: arn(stream), ConsumerName: name };
  const made = await client.send(new sdk.RegisterStreamConsumerCommand(asked));
  await eventually(`${name} ACTIVE`, async () => {
    const answer = await client.send(new sdk.DescribeStreamConsumerCommand(asked));
    return answer.ConsumerDescription.ConsumerStatus === "ACTIVE";
  });
  return made.Consumer.ConsumerARN;
}

module.exports = { active, arn, connect, consumer, create, iterator, read, sdk, shardId, shards };
