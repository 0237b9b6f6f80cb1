// HTTP/2 without any SDK, by Node's own strict client: what each odd stream is answered, and that
// the session lives on.
"use strict";

const crypto = require("node:crypto");
const http2 = require("node:http2");
const { ENDPOINT, REGION, assert, run, within } = require("./checks");

const JSON_TYPE = "application/x-amz-json-1.1";
const DENIED =
  "<AccessDeniedException>\n  <Message>Unable to determine service/operation name to be " +
  "authorized</Message>\n</AccessDeniedException>\n";

function open(settings) {
  // Node refuses streams on a session that holds more than 10 MB, unless told otherwise.
  const session = http2.connect(ENDPOINT, { maxSessionMemory: 100, ...settings });
  session.problems = [];
  session.on("error", (error) => session.problems.push(error));
  session.on("goaway", (code) => session.problems.push(`goaway ${code}`));
  return session;
}

function signed() {
  const now = new Date().toISOString().replace(/[-:]|\.\d+/g, "");
  return {
    "x-amz-date": now,
    authorization:
      `AWS4-HMAC-SHA256 Credential=weir/${now.slice(0, 8)}/${REGION}/kinesis/aws4_request, ` +
      `SignedHeaders=:authority;x-amz-date;x-amz-target, Signature=${"0".repeat(64)}`,
  };
}

function request(session, headers, body = "{}") {
  const stream = session.request({
    ":method": "POST", ":path": "/", "content-type": JSON_TYPE,
    "x-amz-target": "Kinesis_20131202.ListStreams", ...signed(), ...headers,
  });
  const answer = new Promise((resolve, reject) => {
    let head;
    const pieces = [];
    stream.on("response", (headers) => { head = headers; });
    stream.on("data", (piece) => pieces.push(piece));
    stream.on("error", reject);
    stream.on("end", () => resolve({ head, body: Buffer.concat(pieces) }));
  });
  if (body !== null) stream.end(body);
  return { stream, answer: within(20_000, "an answer", answer) };
}

const ask = (session, headers, body) => request(session, headers, body).answer;

async function on(check, settings) {
  const session = open(settings);
  // A ping before that is cancelled by Node.
  await within(10_000, "the session", new Promise((resolve) => session.once("connect", resolve)));
  await check(session);
  assert.deepEqual(session.problems, []);
  assert.ok(!session.closed && !session.destroyed, "the session lives");
  session.close();
}

async function headers_are_those_of_http2() {
  await on(async (session) => {
    const { head, body } = await ask(session, {});
    assert.equal(head[":status"], 200);
    for (const name of ["x-amzn-requestid", "x-amz-id-2", "date", "content-type", "content-length"]) {
      assert.ok(head[name], `${name} in ${JSON.stringify(head)}`);
    }
    assert.equal(Number(head["content-length"]), body.length);
    for (const name of ["connection", "transfer-encoding", "keep-alive"]) {
      assert.equal(head[name], undefined, name);
    }
    const refusal = await ask(session, {}, "{");
    assert.equal(refusal.head[":status"], 400);
    assert.deepEqual(JSON.parse(refusal.body), { __type: "SerializationException" });
    const settings = session.remoteSettings;
    assert.ok(settings.maxConcurrentStreams >= 100, JSON.stringify(settings));
  });
}

async function odd_requests_are_answered_as_over_http1() {
  await on(async (session) => {
    for (const method of ["GET", "PUT", "DELETE"]) {
      // Node ends the streams of a GET and a DELETE itself.
      const { head, body } = await ask(session, { ":method": method }, method === "PUT" ? "" : null);
      assert.deepEqual([head[":status"], body.toString()], [403, DENIED], method);
    }
    const cors = await ask(session, {
      ":method": "OPTIONS", origin: "https://weir.example", "access-control-request-headers": "x-amz-target",
      "access-control-request-method": "POST",
    }, "");
    assert.equal(cors.head[":status"], 200);
    assert.equal(cors.head["access-control-allow-origin"], "*");
    assert.equal(cors.head["access-control-max-age"], "172800");
    const kind = await ask(session, { "content-type": "text/plain" });
    assert.deepEqual([kind.head[":status"], kind.body.toString()], [404, "<UnknownOperationException/>\n"]);
    const target = await ask(session, { "x-amz-target": "Kinesis_20131202.Nonsense" });
    assert.deepEqual(JSON.parse(target.body), { __type: "UnknownOperationException" });
    const nobody = await ask(session, { authorization: "" });
    assert.equal(nobody.head[":status"], 400);
    const empty = await ask(session, {}, "");
    assert.deepEqual(JSON.parse(empty.body), { __type: "SerializationException" });
    // A body without a content-length, in pieces.
    const { stream, answer } = request(session, {}, null);
    for (const piece of ["{", " ", "}"]) stream.write(piece);
    stream.end();
    assert.equal((await answer).head[":status"], 200);
  });
}

async function many_streams_run_at_once() {
  await on(async (session) => {
    const answers = await Promise.all([...Array(300).keys()].map(() => ask(session, {})));
    assert.ok(answers.every(({ head }) => head[":status"] === 200));
    const ids = new Set(answers.map(({ head }) => head["x-amzn-requestid"]));
    assert.equal(ids.size, 300);
  });
}

async function pings_are_answered_while_bodies_move() {
  await on(async (session) => {
    const data = crypto.randomBytes(1 << 20).toString("base64");
    const body = JSON.stringify({
      StreamName: "nowhere", Records: Array(10).fill({ PartitionKey: "k", Data: data.slice(0, 1_390_000) }),
    });
    const put = ask(session, { "x-amz-target": "Kinesis_20131202.PutRecords" }, body);
    for (let i = 0; i < 5; i += 1) {
      await within(5_000, "a ping", new Promise((resolve, reject) => {
        session.ping((error, duration) => (error ? reject(error) : resolve(duration)));
      }));
    }
    assert.equal(JSON.parse((await put).body).__type, "ResourceNotFoundException");
  });
}

async function resets_leave_the_session_whole() {
  await on(async (session) => {
    for (let i = 0; i < 60; i += 1) {
      const { stream, answer } = request(session, {}, null);
      answer.catch(() => {});
      stream.write("{".padEnd(100 * i));
      stream.close(http2.constants.NGHTTP2_CANCEL);
      await new Promise((resolve) => stream.once("close", resolve));
    }
    assert.equal((await ask(session, {})).head[":status"], 200);
  });
}

async function a_small_window_gets_everything() {
  await on(async (session) => {
    const made = await ask(session, { "x-amz-target": "Kinesis_20131202.CreateStream" },
      '{"StreamName":"window","ShardCount":50,"StreamModeDetails":{"StreamMode":"ON_DEMAND"}}');
    assert.equal(made.head[":status"], 200, made.body.toString());
    let shards = 0;
    for (let i = 0; shards === 0 && i < 200; i += 1) {
      const { body } = await ask(session, { "x-amz-target": "Kinesis_20131202.DescribeStream" }, '{"StreamName":"window"}');
      const { StreamDescription: found } = JSON.parse(body);
      if (found.StreamStatus === "ACTIVE") shards = found.Shards.length;
    }
    assert.equal(shards, 50);
  }, { settings: { initialWindowSize: 100 } });
}

async function too_large_a_body_is_told() {
  const session = open();
  const { stream, answer } = request(session, { "content-length": 17 << 20 }, null);
  stream.write(Buffer.alloc(1 << 20));
  const { head } = await answer;
  assert.equal(head[":status"], 413);
  stream.close();
  assert.equal((await ask(session, {})).head[":status"], 200);
  session.destroy();
}

run(
  headers_are_those_of_http2,
  odd_requests_are_answered_as_over_http1,
  many_streams_run_at_once,
  pings_are_answered_while_bodies_move,
  resets_leave_the_session_whole,
  a_small_window_gets_everything,
  too_large_a_body_is_told,
);
