// What the JavaScript suites share: where the server is, named checks, refusals, patience.
//
// A suite is a list of functions. They run in order, each prints one line, and the first that
// fails ends the program with 1 after saying what was expected and found. Names given on the
// command line run only those checks.
"use strict";

const assert = require("node:assert/strict");

const ENDPOINT = process.env.WEIR_TEST_HTTP ?? "http://127.0.0.1:4567";
const SECURE_ENDPOINT = process.env.WEIR_TEST_HTTPS;
const REGION = process.env.AWS_REGION ?? "us-east-1";
const ACCOUNT = "000000000000";
const HASH_KEYS = 2n ** 128n;
// Set by `./scripts/test --all`: rounds are many and waits are long.
const ALL = process.env.WEIR_TEST_ALL === "1";

// That a later SDK will want a later Node is no news here.
process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED = "true";

// Nothing may fail unseen.
process.on("unhandledRejection", (error) => fail("an unhandled rejection", error));
process.on("uncaughtException", (error) => fail("an uncaught exception", error));
process.on("warning", (warning) => {
  if (!/deprecat/i.test(`${warning.name} ${warning.message}`)) fail("a warning", warning);
});

function fail(what, error) {
  console.error(error);
  console.log(`FAILED ${what}`);
  process.exit(1);
}

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** The first truthy thing that `look` gives; an error if none comes in time. */
async function eventually(what, look, patience = 20_000) {
  const until = Date.now() + patience;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > until) throw new Error(`${what} did not come within ${patience} ms`);
    await pause(50);
  }
}

/** `promise`, or an error after `patience` milliseconds. */
function within(patience, what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} did not end within ${patience} ms`)), patience);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** The call must be refused by the server with this name and a text that holds `text`. */
async function refused(name, text, call) {
  let answer;
  try {
    answer = await call;
  } catch (error) {
    assert.equal(error.name, name, `${error.stack}`);
    assert.ok(error.message.includes(text), `${text} in ${error.message}`);
    assert.equal(error.$metadata.httpStatusCode, 400, `${error}`);
    assert.equal(error.$metadata.requestId.length, 36, `${error}`);
    return error;
  }
  throw new Error(`${name} was expected, and the call gave ${JSON.stringify(answer)}`);
}

async function run(...checks) {
  const names = process.argv.slice(2);
  for (const name of names) {
    if (!checks.some((check) => check.name === name)) fail(`no check is called ${name}`);
  }
  for (const check of checks) {
    if (names.length > 0 && !names.includes(check.name)) continue;
    const began = Date.now();
    try {
      await check();
    } catch (error) {
      fail(check.name, error);
    }
    console.log(`ok ${check.name} (${((Date.now() - began) / 1000).toFixed(1)} s)`);
  }
  process.exit(0);
}

module.exports = {
  ACCOUNT, ALL, ENDPOINT, HASH_KEYS, REGION, SECURE_ENDPOINT,
  assert, eventually, pause, refused, run, within,
};
