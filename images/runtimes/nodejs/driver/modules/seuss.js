// What functions share: state by key, locks, and memory; and how they call each other.
// docs/state.md, docs/regions.md and docs/chaining.md say what is promised.
//
//     const { region, state } = require('seuss');
//     await state.set('orders/today', 'text');
//     await state.lock('orders/today', async (lock) => { ... });
//     const counts = new Float64Array(region('orders/counts', 4096).buffer);
//
//     const call = await seuss.chainCall('thumbnail', { image: 'a.png' });
//     const small = await seuss.awaitCall(call);
//
// A key is SHARE/NAME; the function's deployment names its shares (--share orders:rw), and the
// functions that it calls (--call thumbnail).
// Everything here is asked of the host when it is called, and nothing is kept.
'use strict';

const { AsyncLocalStorage } = require('async_hooks');
const fs = require('fs');
const http = require('http');
const os = require('os');
const p = require('./protocol.js');

const [, host, port] = /^(.*):(\d+)$/.exec(process.env.SEUSS_API ?? '127.0.0.1:9002');
const agent = new http.Agent({ keepAlive: true, maxSockets: 8 });
// What waits for calls has connections of its own: more awaits than that wait for each other.
const waiters = new http.Agent({ keepAlive: true, maxSockets: 7 });

// The driver calls this where an instance may have begun anew, from a snapshot: a connection that
// another one has opened is none of this one's. What was asked on one is never asked again.
globalThis[Symbol.for('seuss.renewed')] = () => {
  for (const socket of [...Object.values(agent.freeSockets), ...Object.values(waiters.freeSockets)].flat()) socket.destroy();
};

// SeussError is what the host says; code tells errors apart: Forbidden, NotFound, Changed,
// Fenced, Deadlock, NotHeld, TooLarge, Full, DiskFull, Damaged, TooMany, Invalid, Timeout,
// Unavailable, Failed, and of calls TooDeep, Mismatch, Cancelled, Refused, CallError.
class SeussError extends Error {
  constructor(code, message) {
    super(message);
    this.name = code;
    this.code = code;
  }
}

// CallError is what a function has failed with that was called: an error that is called as its
// own, and is one of those of the language where that is. type is its name, trace its trace.
class CallError extends SeussError {
  static [Symbol.hasInstance](error) {
    return error?.code === 'CallError';
  }
}

function failure({ type = 'Error', message, trace = [] }) {
  // An AggregateError has no message without a list, and a DOMException keeps its name and code.
  const known = /Error$/.test(type) && type !== 'AggregateError' && Object.hasOwn(globalThis, type) ? globalThis[type] : undefined;
  const error = known === Error || known?.prototype instanceof Error ? new known(message) : new SeussError('CallError', message);
  Object.assign(error, { name: type, code: 'CallError', type, trace });
  error.stack = [error.stack, ...trace].join('\n');
  return error;
}

function query(parameters) {
  const parts = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== false);
  return parts.length === 0 ? '' : '?' + parts.map(([name, value]) => `${name}=${value === true ? '' : encodeURIComponent(value)}`).join('&');
}

const quote = (key) => String(key).split('/').map(encodeURIComponent).join('/');
const ms = (seconds) => (seconds === undefined ? undefined : Math.max(0, Math.ceil(seconds * 1000))); // rounded up: less than 1 ms is no 0

function once(method, path, body, agent) {
  return new Promise((resolve, reject) => {
    const request = http.request({ host, port, agent, method, path, headers: { 'Content-Length': body.length } }, (answer) => {
      const parts = [];
      answer.on('data', (part) => parts.push(part));
      answer.on('error', reject);
      answer.on('end', () => resolve({ status: answer.statusCode, headers: answer.headers, body: Buffer.concat(parts) }));
    });
    request.on('error', reject);
    request.end(body);
  });
}

async function ask(method, path, value = '', by = agent) {
  const body = bytesOf(value);
  let answer;
  try {
    answer = await once(method, path, body, by);
  } catch (error) {
    if (error.code === 'ECONNREFUSED') {
      throw new SeussError('Unavailable', 'what functions share cannot be reached: a function is loaded without it, since the snapshot would hold what is there at that moment; ask in the handler');
    }
    throw new SeussError('Failed', `${method} ${path}: ${error.message}: whether it was done is not known`);
  }
  if (answer.status < 400) return answer;
  let problem;
  try {
    problem = JSON.parse(answer.body.toString());
  } catch {
    problem = { error: answer.status === 404 ? 'NotFound' : 'Failed', message: `${method} ${path}: status ${answer.status}` };
  }
  throw problemOf(problem);
}

// What needs not wait is asked in one exit of the guest: a frame, which an ioctl of a device takes
// to the host and fills with the answer. Where there is none, and for the rest, there is HTTP.
// guest/abi/driver.h says what is where.
const HEADS = 8 + p.ASK_HEAD; // the ioctl's and the request's, or the answer's
let device;
let buffer;

const bytesOf = (value) => (Buffer.isBuffer(value) ? value : ArrayBuffer.isView(value) ? Buffer.from(value.buffer, value.byteOffset, value.byteLength) : Buffer.from(value));

// frame returns {size, version, body} of an answer; undefined: it is to be asked by HTTP.
function frame(what, key, value = '', { flags = 0, at = 0, version = 0, token = 0, thread = 0 } = {}) {
  if (device === undefined) {
    try {
      device = fs.openSync('/dev/seuss/api', fs.constants.O_RDWR);
      buffer = Buffer.alloc(8 + p.API_BYTES);
    } catch {
      device = -1;
    }
  }
  const body = bytesOf(value);
  const name = Buffer.from(String(key));
  const end = HEADS + name.length + body.length;
  const numbers = [at, version, token, thread];
  if (device < 0 || end > buffer.length || !numbers.every((n) => Number.isSafeInteger(n) && n >= 0)) return undefined;
  buffer.writeUInt32LE(end - 8, 0);
  buffer.writeUInt32LE(p.API_BYTES, 4);
  buffer[8] = p.ASK_VERSION;
  buffer[9] = what;
  buffer.writeUInt16LE(flags, 10);
  buffer.writeUInt32LE(name.length, 12);
  numbers.forEach((n, i) => buffer.writeBigUInt64LE(BigInt(n), 16 + 8 * i));
  name.copy(buffer, HEADS);
  body.copy(buffer, HEADS + name.length);
  if (require('./region.node').ask(device, p.API_IOCTL, buffer) !== 0) return undefined;
  const how = buffer[9];
  if (buffer[8] !== p.ASK_VERSION || how === p.ASK_LATER) return undefined;
  const answer = Buffer.from(buffer.subarray(HEADS, 8 + buffer.readUInt32LE(0)));
  if (how !== p.ASK_DONE) throw problemOf(JSON.parse(answer.toString()));
  return { size: Number(buffer.readBigUInt64LE(16)), version: Number(buffer.readBigUInt64LE(24)), body: answer, at: Number(buffer.readBigUInt64LE(32)), id: buffer.readBigUInt64LE(40) };
}

// A window is memory that the host has of a share, where values that are read often lie: what is
// there is read without asking. guest/abi/driver.h says how.
const OFTEN = 16; // gets of a share, after which its window is worth opening
const MOST = 4096; // places that are known
const gets = new Map(); // by share
const windows = new Map(); // {words, bytes} by share; null: it cannot be had
const places = new Map(); // {words, bytes, head, id} by key; head: the index of its first word

const shareOf = (key) => String(key).split('/', 1)[0];

// seen is the value of a key that is in its share's window; undefined: it is to be asked for.
function seen(key) {
  const place = places.get(key);
  if (!place) return undefined;
  const { words, bytes, head, id } = place;
  const stamp = Atomics.load(words, head + p.WINDOW_STAMP);
  if (stamp & 1n || Atomics.load(words, head + p.WINDOW_ID) !== id) {
    places.delete(key);
    return undefined;
  }
  const [known, length] = [Number(words[head + p.WINDOW_VERSION]), Number(words[head + p.WINDOW_SIZE])];
  const value = Buffer.from(bytes.subarray(8 * head + p.WINDOW_HEAD, 8 * head + p.WINDOW_HEAD + length)); // a copy
  if (Atomics.load(words, head + p.WINDOW_STAMP) !== stamp || Atomics.load(words, head + p.WINDOW_ID) !== id) return undefined; // it was written meanwhile
  return Object.assign(value, { version: known, size: length });
}

// often are the flags with which a value is asked for that is in no window.
function often(key) {
  const share = shareOf(key);
  const n = (gets.get(share) ?? 0) + 1;
  gets.set(share, n);
  return n > OFTEN && windows.get(share) !== null ? p.ASK_SHOW : 0;
}

// show has a value that is in a window read from there from now on.
function show(key, at, id) {
  const share = shareOf(key);
  if (!windows.has(share)) {
    let window = null;
    try {
      const memory = open(`/dev/seuss/region/${share}%2F\x01`, 0, false);
      window = { words: new BigUint64Array(memory), bytes: new Uint8Array(memory) };
    } catch {
      // it is asked for as before
    }
    windows.set(share, window);
  }
  const window = windows.get(share);
  if (!window || at + p.WINDOW_HEAD > window.bytes.length) return;
  if (places.size >= MOST) places.clear();
  places.set(key, { ...window, head: at / 8, id });
}

const problemOf = (problem) => (problem.error === 'CallError' ? failure(problem) : new SeussError(problem.error, problem.message));
const valueOf = ({ body, size, version }) => Object.assign(body, { version, size });
const condition = ({ version, fence }, more = {}) => ({ flags: version === undefined ? 0 : p.ASK_IF, version, token: fence, ...more }); // null is no number: HTTP says so

const version = (answer) => Number(answer.headers['seuss-version']);
const size = (answer) => Number(answer.headers['seuss-size']);
const withVersion = (answer) => Object.assign(answer.body, { version: version(answer), size: size(answer) });
const at = (key) => `/v1/state/${quote(key)}`;

class Lock {
  constructor(key, token, lease) {
    Object.assign(this, { key, token, lease });
  }

  async renew(lease = this.lease) {
    if ((lease === undefined || lease > 0) && frame(p.ASK_RENEW, this.key, '', { at: ms(lease) ?? 0, token: this.token })) return;
    await ask('PUT', `/v1/locks/${quote(this.key)}` + query({ token: this.token, lease_ms: ms(lease) }));
  }

  async release() {
    if (frame(p.ASK_UNLOCK, this.key, '', { token: this.token })) return;
    await ask('DELETE', `/v1/locks/${quote(this.key)}` + query({ token: this.token }));
  }
}

// What runs while a lock is held asks for further ones as the same thread, of which a deadlock
// can be told; f of another lock runs beside it. Locks without f are one thread's, too.
const threads = new AsyncLocalStorage();
let lastThread = 0;

// acquire holds a lock while f runs, or, without one, until its release.
async function acquire(key, shared, options, f) {
  if (typeof options === 'function') [options, f] = [undefined, options];
  const { lease, wait } = options ?? {};
  const thread = threads.getStore() ?? (f ? ++lastThread : 0);
  const lock = await hold(key, shared, thread, lease, wait);
  if (!f) return lock;
  let result;
  try {
    result = await threads.run(thread, f, lock);
  } catch (error) {
    await lock.release().catch(() => {}); // what has gone wrong first is what counts
    throw error;
  }
  await lock.release();
  return result;
}

async function hold(key, shared, thread, lease, wait) {
  const told = lease === undefined || lease > 0 ? frame(p.ASK_LOCK, key, '', { flags: shared ? p.ASK_SHARED : 0, at: ms(lease) ?? 0, thread }) : undefined;
  if (told) return new Lock(key, told.version, lease);
  const answer = await ask('POST', `/v1/locks/${quote(key)}` + query({ shared, thread, lease_ms: ms(lease), wait_ms: ms(wait) }));
  return new Lock(key, JSON.parse(answer.body.toString()).token, lease);
}

// State by key. Values are Buffers; strings are written in UTF-8, typed arrays as they are.
// {version, fence} of writes: see the Python module. Writes resolve to the new version. Times
// are in seconds.
const state = {
  async get(key) {
    const there = seen(key);
    if (there) return there;
    try {
      const told = frame(p.ASK_GET, key, '', { flags: often(key) });
      if (told?.at) show(key, told.at, told.id);
      return told ? valueOf(told) : withVersion(await ask('GET', at(key)));
    } catch (error) {
      if (error.code === 'NotFound') return undefined;
      throw error;
    }
  },
  async getRange(key, offset, length) {
    const told = length === undefined ? undefined : frame(p.ASK_RANGE, key, '', { at: offset, version: length }); // all the rest: by HTTP
    return told ? valueOf(told) : withVersion(await ask('GET', at(key) + query({ offset, length })));
  },
  async stat(key) {
    const told = frame(p.ASK_STAT, key);
    if (told) return { size: told.size, version: told.version };
    const answer = await ask('HEAD', at(key));
    return { size: size(answer), version: version(answer) };
  },
  async set(key, value, { version: v, fence } = {}) {
    const told = frame(p.ASK_SET, key, value, condition({ version: v, fence }));
    return told?.version ?? version(await ask('PUT', at(key) + query({ version: v, fence }), value));
  },
  async setRange(key, offset, value, { version: v, fence } = {}) {
    const told = frame(p.ASK_SET_RANGE, key, value, condition({ version: v, fence }, { at: offset }));
    return told?.version ?? version(await ask('PUT', at(key) + query({ offset, version: v, fence }), value));
  },
  async append(key, value, { version: v, fence } = {}) {
    const told = frame(p.ASK_APPEND, key, value, condition({ version: v, fence }));
    return told?.version ?? version(await ask('POST', at(key) + query({ version: v, fence }), value));
  },
  readAppended: async (key, offset, { wait } = {}) => withVersion(await ask('GET', at(key) + query({ appended: offset, wait_ms: ms(wait) }))),
  async delete(key, { version: v, fence } = {}) {
    if (frame(p.ASK_DELETE, key, '', condition({ version: v, fence }))) return;
    await ask('DELETE', at(key) + query({ version: v, fence }));
  },
  async* list(prefix) {
    for (let after; ;) {
      const page = JSON.parse((await ask('GET', '/v1/state' + query({ prefix, after }))).body.toString());
      yield* page.items;
      after = page.next;
      if (!after) return;
    }
  },
  watch: async (key, { version: known = 0, wait } = {}) => version(await ask('GET', at(key) + query({ known, wait_ms: ms(wait) }))),
  push: async (key) => version(await ask('POST', `/v1/push/${quote(key)}`)),
  pull: async (key, { version: v } = {}) => version(await ask('POST', `/v1/pull/${quote(key)}` + query({ version: v }))),
  async forget(key) { // drops what was pushed of it; the value stays
    await ask('DELETE', `/v1/push/${quote(key)}`);
  },
  lock: (key, options, f) => acquire(key, false, options, f),
  rlock: (key, options, f) => acquire(key, true, options, f),
};

// What the host says of a region is an error number; its log says more.
const refusals = {
  EACCES: ['Forbidden', (share, right) => `the function's deployment does not name the share, or names it for reading: deploy it with --share ${share}:${right}, and open it in the handler, since a function is loaded without shares`],
  ENOENT: ['NotFound', () => 'there is none: whoever may write makes it, by giving its size'],
  EINVAL: ['Invalid', () => 'it has another size than that'],
  ENAMETOOLONG: ['Invalid', () => 'the key is too long'],
  ENOSPC: ['Full', () => 'the function, its owner or the host has too much shared memory: remove some, or allow more (serve --region-memory)'],
  EDQUOT: ['Full', () => 'the function, its owner or the host has too many regions: remove some'],
  ENOMEM: ['TooMany', () => 'the instance has mapped as much as it may: close some'],
  ESTALE: ['Changed', () => 'it was removed and made anew, and the instance has the one before open: close that first'],
};
const nameOf = (number) => Object.keys(os.constants.errno).find((name) => os.constants.errno[name] === number);

const pathOf = (key) => '/dev/seuss/region/' + key.replaceAll('%', '%25').replaceAll('/', '%2F');

// failed throws what the host's refusal means.
function failed(key, error, readOnly) {
  const [code, why] = refusals[nameOf(-error.errno)] ?? ['Failed', () => error.message];
  throw new SeussError(code, `region ${JSON.stringify(key)}: ${why(key.split('/')[0], readOnly ? 'r' : 'rw')}`);
}

// open maps a region, and returns its ArrayBuffer or throws what a system call says.
function open(path, size, write) {
  const { O_CREAT, O_RDONLY, O_RDWR } = fs.constants;
  const fd = fs.openSync(path, write ? O_RDWR | (size ? O_CREAT : 0) : O_RDONLY);
  try {
    if (size && write) fs.ftruncateSync(fd, size);
    const has = fs.fstatSync(fd).size;
    const memory = size && has !== size ? -os.constants.errno.EINVAL : require('./region.node').map(fd, has, write);
    if (typeof memory === 'number') throw Object.assign(new Error('it cannot be mapped'), { errno: memory });
    return memory;
  } finally {
    fs.closeSync(fd);
  }
}

// Region is memory that is shared: buffer is an ArrayBuffer, for typed arrays without a copy.
// What one instance stores the others load. Of one that is readOnly a store ends the program:
// JavaScript knows no memory that can only be read.
class Region {
  constructor(key, buffer, readOnly) {
    Object.assign(this, { key, buffer, readOnly });
  }

  // push has the content kept, as state.push does with the value of the key; pull makes it
  // what was pushed of the key last, for all who have it open.
  async push() {
    await ask('POST', `/v1/push/${quote(this.key)}?region`);
  }

  async pull() {
    await ask('POST', `/v1/pull/${quote(this.key)}?region`);
  }

  // unlink removes it: who opens the key next finds none, and who has it mapped keeps it.
  unlink() {
    try {
      fs.unlinkSync(pathOf(this.key));
    } catch (error) {
      failed(this.key, error, this.readOnly);
    }
  }

  // close unmaps it: what views of it there are have no bytes any more.
  close() {
    if (this.buffer.byteLength > 0) require('./region.node').close(this.buffer);
  }
}

// region is the Region of a key. With a size, in bytes, it is made where there is none, zeros;
// one that there is has that size.
function region(key, size, { readOnly = false } = {}) {
  const refuse = (code, why) => { throw new SeussError(code, `region ${JSON.stringify(key)}: ${why}`); };
  const [share, ...name] = String(key).split('/');
  if (!share || name.join('/') === '' || key.includes('\0')) refuse('Invalid', 'want SHARE/NAME, as in orders/today');
  if (size !== undefined && !(Number.isSafeInteger(size) && size > 0)) refuse('Invalid', `${size} bytes: want a number from 1 on`);
  try {
    return new Region(key, open(pathOf(key), size, !readOnly), readOnly);
  } catch (error) {
    return failed(key, error, readOnly);
  }
}

const told = (answer) => JSON.parse(answer.body.toString());

// chainCall has a function called, and resolves to the call's id at once. It has timeout seconds,
// and no longer than the caller has; 0 is refused. With a key (of idempotency) it is called once, however often
// this is done. What was not awaited when the caller ends is cancelled.
async function chainCall(name, event = null, { timeout, key } = {}) {
  const body = JSON.stringify(event);
  const asked = key === undefined && (timeout === undefined || timeout > 0) ? frame(p.ASK_CALL, name, body, { at: ms(timeout) ?? 0 }) : undefined;
  return asked ? asked.body.toString() : told(await ask('POST', `/v1/calls/${quote(name)}` + query({ timeout_ms: ms(timeout), key }), body)).id;
}

// call is chainCall and awaitCall in one request.
const call = async (name, event = null, { timeout, key } = {}) => told(await ask('POST', `/v1/calls/${quote(name)}` + query({ await: true, timeout_ms: ms(timeout), key }), JSON.stringify(event), waiters));

// awaitCall resolves to the result of a call, once, or rejects with its error, a CallError. After
// wait seconds it rejects with Timeout, and the call goes on.
const awaitCall = async (call, { wait } = {}) => told(frame(p.ASK_RESULT, call) ?? (await ask('GET', `/v1/calls/${quote(call)}` + query({ wait_ms: ms(wait) }), '', waiters)));

// awaitAny resolves to the id of the first of several calls that is over.
const awaitAny = async (calls, { wait } = {}) => told(await ask('POST', '/v1/calls' + query({ wait_ms: ms(wait) }), JSON.stringify(calls), waiters)).id;

// awaitAll resolves to the results of several calls, in their order.
async function awaitAll(calls) {
  const results = [];
  for (const call of calls) results.push(await awaitCall(call));
  return results;
}

// cancel cancels a call, which is not to be awaited any more.
async function cancel(call) {
  await ask('DELETE', `/v1/calls/${quote(call)}`);
}

Object.assign(exports, { state, region, Region, SeussError, CallError, call, chainCall, awaitCall, awaitAny, awaitAll, cancel });
