// Code that runs in the live interpreter of an instance, one piece after the other, as at
// a prompt: what one declares the next ones see. The result is the value of its last
// statement, or what the promise that this is settles to: the event loop runs until then.
'use strict';

const util = require('util');
const vm = require('vm');
const { createRequire } = require('module');
const p = require('./protocol.js');
const task = require('./task.js');

const REPR_LIMIT = 64 << 10; // characters
let count = 0;

function describe(value) {
  const document = {};
  if (value === undefined) return Buffer.from('{"value":null}');
  let text = util.inspect(value, { breakLength: Infinity });
  if (text.length > REPR_LIMIT) text = `${text.slice(0, REPR_LIMIT)} [${text.length - REPR_LIMIT} characters were cut]`;
  try {
    const json = JSON.stringify(value);
    if (json !== undefined && json.length < p.RESULT_BYTES / 4) document.value = value;
  } catch {
    // circular, or a BigInt: there is the text
  }
  document.repr = text;
  return Buffer.from(JSON.stringify(document));
}

// run returns the type and the payload of the answer.
async function run(driver, code) {
  globalThis.require ??= createRequire(task.ROOT + '/');
  const settled = new Promise((resolve, reject) => {
    driver.pending = (failure) => {
      driver.pending = null;
      if (failure) reject(failure.error ?? failure);
      else reject(new Error('the code waits for something that never comes: the event loop is empty'));
    };
    const pending = driver.pending;
    const end = (f) => (value) => {
      if (driver.pending === pending) driver.pending = null;
      f(value);
    };
    const value = vm.runInThisContext(code, { filename: `<exec ${++count}>` });
    Promise.resolve(value).then(end(resolve), end(reject));
  });
  try {
    return [p.MSG_RESULT, describe(await settled)];
  } catch (error) {
    return [p.MSG_ERROR, driver.describeError(error)];
  } finally {
    driver.pending = null;
  }
}

module.exports = { run };
