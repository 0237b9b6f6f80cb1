// The AWS SDK for JavaScript v3 over HTTP/2, where it signs `:authority` and no `host`.
"use strict";

const assert = require("node:assert/strict");
const sdk = require("@aws-sdk/client-kinesis");

const [endpoint, secretAccessKey] = process.argv.slice(2);
const HOUR = 3_600_000;

function connect(credentials, settings = {}) {
  const region = "eu-west-1";
  return new sdk.KinesisClient({ endpoint, region, maxAttempts: 1, credentials, ...settings });
}

async function refused(name, client) {
  const error = await client.send(new sdk.ListStreamsCommand({})).then(
    () => assert.fail(`${name} expected`), (error) => error,
  );
  assert.equal(error.name, name, error.message);
  return error;
}

const known = { accessKeyId: "AKIAINGEST", secretAccessKey };
const batch = { accessKeyId: "ASIABATCH", secretAccessKey: "for/a+night=" };

async function main() {
  const client = connect(known);
  const Records = Array.from({ length: 300 }, (_, i) => ({
    Data: Buffer.alloc(1_000, i), PartitionKey: `key-${i}`,
  }));
  for (let i = 0; i < 5; i += 1) {
    const put = await client.send(new sdk.PutRecordsCommand({ StreamName: "signed", Records }));
    assert.equal(put.FailedRecordCount, 0);
  }
  const token = connect({ ...batch, sessionToken: "token/with+signs==" });
  assert.deepEqual((await token.send(new sdk.ListStreamsCommand({}))).StreamNames, ["signed"]);
  console.log("good signatures pass over HTTP/2");

  await refused("InvalidSignatureException", connect({ ...known, secretAccessKey: "wrong" }));
  await refused("UnrecognizedClientException", connect({ ...known, accessKeyId: "AKIAOTHER" }));
  await refused("UnrecognizedClientException", connect({ ...batch, sessionToken: "token" }));
  console.log("wrong ones are refused");

  const now = Date.now;
  for (const [off, said] of [[-HOUR, "Signature expired"], [HOUR, "Signature not yet current"]]) {
    Date.now = () => now() + off;
    const error = await refused("InvalidSignatureException", connect(known));
    assert.ok(error.message.startsWith(said), error.message);
    // With a second attempt the SDK sets its clock by the answer's date.
    await connect(known, { maxAttempts: 2 }).send(new sdk.ListStreamsCommand({}));
    Date.now = now;
  }
  console.log("the SDK sets a clock that is an hour off by the answer's date");
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
