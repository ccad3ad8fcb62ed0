// The Node.js driver: the first program of a Node.js guest.
//
// It connects to the host once and then serves one request after the other on
// that stream: import modules, load a function, invoke it. Whatever the host
// captures, it captures while this program waits in Link.receive(). That wait
// blocks the event loop: as in AWS Lambda, what a function leaves behind stands
// still once it has answered.
//
// Handlers are those of Lambda's Node.js model: async, returning a promise, or
// with a callback; CommonJS or ES modules. Errors have Lambda's JSON form.
'use strict';

const fs = require('fs');
const path = require('path');
const v8 = require('v8');
const vm = require('vm');
const { createRequire } = require('module');
const { pathToFileURL } = require('url');
const p = require('./protocol.js');
const { Generators } = require('./random.js');
const response = require('./response.js');
const task = require('./task.js');
const warmUp = require('./warm_up.js');
const host = require('./host.node');

const TASK_ROOT = task.ROOT;

// Link is the stream to the host: frames of a length, a type and a payload.
class Link {
  constructor() {
    this.buffer = Buffer.alloc(65536);
    check(host.connect());
  }

  // own declares the stream the driver's own; the purity counters start at zero.
  own() {
    check(host.own());
  }

  send(kind, payload) {
    const frame = Buffer.allocUnsafe(p.FRAME_HEADER + payload.length);
    frame.writeUInt32LE(payload.length, 0);
    frame[p.FRAME_HEADER - 1] = kind;
    payload.copy(frame, p.FRAME_HEADER);
    check(host.send(frame, 0, frame.length));
  }

  // receive returns [type, payload]. The payload's memory is used again by the
  // next call.
  receive() {
    this.got = 0;
    this.fill(p.FRAME_HEADER);
    const end = p.FRAME_HEADER + this.buffer.readUInt32LE(0);
    const kind = this.buffer[p.FRAME_HEADER - 1];
    let small;
    if (end > this.buffer.length) {
      small = this.buffer;
      this.buffer = Buffer.alloc(end);
      small.copy(this.buffer, 0, 0, this.got);
    }
    this.fill(end);
    const payload = this.buffer.subarray(p.FRAME_HEADER, end);
    if (small) this.buffer = small;
    return [kind, payload];
  }

  fill(end) {
    while (this.got < end) {
      const n = check(host.receive(this.buffer, this.got, this.buffer.length));
      if (n === 0) process.reallyExit(0);
      this.got += n;
    }
  }
}

function check(n) {
  if (n < 0) throw new Error(`the driver's stream failed: errno ${-n}`);
  return n;
}

const contextFields = {
  functionName: 'function_name', functionVersion: 'function_version', invokedFunctionArn: 'invoked_function_arn',
  memoryLimitInMB: 'memory_limit_in_mb', awsRequestId: 'aws_request_id',
  logGroupName: 'log_group_name', logStreamName: 'log_stream_name', identity: 'identity', clientContext: 'client_context',
};

// makeContext returns Lambda's context object. Its fields are parsed when first
// read, and that is noted.
function makeContext(state) {
  const context = { callbackWaitsForEmptyEventLoop: true };
  const field = (name) => {
    state.used = true;
    state.fields ??= JSON.parse(state.raw);
    return state.fields[name];
  };
  for (const [name, key] of Object.entries(contextFields)) {
    Object.defineProperty(context, name, { enumerable: true, configurable: true, get: () => field(key) });
  }
  context.getRemainingTimeInMillis = () => Math.max(0, Math.floor(field('deadline_ms') - Date.now()));
  return context;
}

// lazyEvent is the event of a function deployed with lazy arguments: a key's
// value is asked for when it is first read. The host may take a snapshot at that
// moment. What needs all keys at once asks for the whole event.
function lazyEvent(ask) {
  const target = {};
  const known = new Set();
  let whole = false;
  const bind = (key) => {
    if (whole || typeof key === 'symbol' || known.has(key)) return;
    const [present, value] = ask(key);
    known.add(key);
    if (present) target[key] = value;
  };
  const bindAll = () => {
    if (whole) return;
    const [, all] = ask(null);
    for (const [key, value] of Object.entries(all)) {
      if (!known.has(key)) target[key] = value;
    }
    whole = true;
  };
  return new Proxy(target, {
    get: (t, key, receiver) => (bind(key), Reflect.get(t, key, receiver)),
    has: (t, key) => (bind(key), Reflect.has(t, key)),
    getOwnPropertyDescriptor: (t, key) => (bind(key), Reflect.getOwnPropertyDescriptor(t, key)),
    set: (t, key, value) => (known.add(key), Reflect.set(t, key, value)),
    defineProperty: (t, key, d) => (known.add(key), Reflect.defineProperty(t, key, d)),
    deleteProperty: (t, key) => (known.add(key), Reflect.deleteProperty(t, key)),
    ownKeys: (t) => (bindAll(), Reflect.ownKeys(t)),
    preventExtensions: (t) => (bindAll(), Reflect.preventExtensions(t)),
  });
}

// errorDocument is Lambda's error JSON; frames of this driver are left out.
function errorDocument(error, kind, message) {
  const document = { errorType: kind, errorMessage: message, trace: [] };
  if (error instanceof Error || Object.prototype.toString.call(error) === '[object Error]') {
    document.errorType ??= String(error.name);
    document.errorMessage ??= String(error.message);
    document.trace = String(error.stack).split('\n').filter((line) => !line.includes(__dirname + '/') && !line.includes('node:internal/'));
  } else {
    document.errorType ??= typeof error;
    document.errorMessage ??= String(error);
  }
  return Buffer.from(JSON.stringify(document));
}

// limitWorkers gives each worker a code range of 64 MiB where it asks for none. V8
// would set 512 MiB of addresses aside, and in a guest addresses are memory: the
// third worker would find none.
function limitWorkers() {
  const threads = require('worker_threads');
  threads.Worker = class Worker extends threads.Worker {
    constructor(file, options) {
      super(file, { ...options, resourceLimits: { codeRangeSizeMb: 64, ...options?.resourceLimits } });
    }
  };
}

class LoadError extends Error {
  constructor(kind, message, cause) {
    super(message);
    this.kind = kind;
    this.cause = cause;
  }
}

class Driver {
  constructor() {
    this.link = new Link();
    limitWorkers();
    this.generators = new Generators(host);
    response.install();
    this.context = { raw: '{}', fields: null, used: false, marks: [], adopted: false }; // adopted: the environment is what it says
    this.handler = null;
    this.streams = false; // the handler streams its answer
    this.pending = null; // settles the invocation under way
    this.waiting = null; // what a callback left for when the event loop is empty
    process.on('beforeExit', () => {
      // An invocation whose loop runs empty without an answer answers null.
      const nothing = () => this.pending?.(this.streams ? { error: response.unfinished() } : null, null);
      const [answer] = [this.waiting ?? nothing];
      this.waiting = null;
      answer();
    });
    process.on('uncaughtException', (error) => this.fail(error));
    process.on('unhandledRejection', (reason) => this.fail(reason, 'Runtime.UnhandledPromiseRejection', String(reason)));
  }

  fail(error, kind, message) {
    if (!this.pending) {
      // Nobody waits for an answer: the code of a module, say, or what an
      // invocation left running. A process ends by that.
      fs.writeSync(2, `${error?.stack ?? error}\n`);
      process.reallyExit(1);
    }
    this.pending({ error, kind, message });
  }

  describeError(error) {
    return errorDocument(error);
  }

  async load(request) {
    this.context.marks = task.enter(request);
    if (/^(1|true)$/.test(process.env.AWS_LAMBDA_NODEJS_NO_GLOBAL_AWSLAMBDA)) delete globalThis.awslambda;
    // module.function; the function may lie deeper, and the module in directories.
    const at = request.handler.lastIndexOf('/') + 1;
    const dot = request.handler.indexOf('.', at);
    if (dot <= at || dot === request.handler.length - 1) {
      throw new LoadError('Runtime.MalformedHandlerName', `Bad handler ${request.handler}: want module.function`);
    }
    const name = request.handler.slice(0, dot);
    const exported = request.handler.slice(dot + 1);
    let module;
    try {
      // Of an instance that code was run in: what that has declared.
      const declared = /^[\w$]+/.exec(exported)?.[0];
      if (request.snapshot && name === 'globalThis' && declared) module = { [declared]: vm.runInThisContext(declared) };
      else module = await loadModule(path.join(TASK_ROOT, name));
    } catch (e) {
      if (e instanceof SyntaxError) throw new LoadError('Runtime.UserCodeSyntaxError', `SyntaxError: ${e.message}`, e);
      if (e?.code === 'MODULE_NOT_FOUND' || e?.code === 'ERR_MODULE_NOT_FOUND') throw new LoadError('Runtime.ImportModuleError', `Error: ${e.message}`, e);
      throw e;
    }
    const find = (from) => exported.split('.').reduce((o, key) => o?.[key], from);
    const handler = find(module) ?? find(module?.default);
    if (typeof handler !== 'function') throw new LoadError('Runtime.HandlerNotFound', `${request.handler} is undefined or not exported`);
    try {
      this.streams = response.streams(handler);
    } catch (e) {
      throw new LoadError(e.name, e.message, e);
    }
    this.handler = handler;
  }

  // forget drops what load() brought, but not what that loaded from outside the
  // task root.
  forget() {
    this.handler = null;
    this.streams = false;
    for (const name of Object.keys(require.cache)) if (name.startsWith(`${TASK_ROOT}/`)) delete require.cache[name];
    task.leave();
    // Node remembers what it has looked up below the task root.
    for (const key of Object.keys(module.constructor._pathCache)) delete module.constructor._pathCache[key];
  }

  ask(key) {
    let flags = (key === null ? p.WANT_ALL : 0) | (this.context.used || this.context.adopted ? p.WANT_CONTEXT : 0);
    if (this.generators.drawn) flags |= p.WANT_RANDOM;
    this.link.send(p.MSG_WANT, Buffer.concat([Buffer.from([flags]), Buffer.from(key ?? '')]));
    const [kind, payload] = this.link.receive();
    if (kind !== p.MSG_ARG) throw new Error(`the host answered WANT with message ${kind}`);
    const rest = this.renew(payload);
    return [rest[0] !== 0, rest[0] !== 0 ? JSON.parse(rest.toString('utf8', 1)) : undefined];
  }

  // renew takes seed and context of a message over and returns what follows them.
  renew(payload) {
    this.generators.reseed(payload.subarray(0, p.SEED_BYTES));
    globalThis[Symbol.for('seuss.renewed')]?.(); // modules/seuss.js, if it is loaded
    const at = p.SEED_BYTES + 4;
    const end = at + payload.readUInt32LE(p.SEED_BYTES);
    this.context.raw = payload.toString('utf8', at, end);
    this.context.fields = null;
    for (const mark of this.context.marks) {
      if (this.context.raw.includes(mark)) continue;
      task.adopt(this.context.raw);
      this.context.adopted = true;
    }
    return payload.subarray(end);
  }

  async invoke(lazy, payload) {
    const rest = this.renew(payload);
    const outcome = new Promise((resolve) => {
      this.pending = (failure, value) => {
        this.pending = null;
        this.waiting = null;
        resolve([failure, value]);
      };
    });
    const settle = this.pending;
    const once = (failure, value) => this.pending === settle && settle(failure, value);
    const context = makeContext(this.context);
    const callback = (error, value) => {
      const answer = () => once(error === undefined || error === null ? null : { error }, value);
      if (context.callbackWaitsForEmptyEventLoop) this.waiting ??= answer;
      else setImmediate(answer);
    };
    context.done = callback;
    context.fail = (error) => callback(error ?? 'handled');
    context.succeed = (value) => callback(null, value);
    try {
      let event;
      if (lazy && this.streams) {
        // A snapshot at a question would have an answer that nobody gets again.
        throw new Error('A handler that streams its answer is given its whole event: deploy it without lazy arguments.');
      } else if (lazy) {
        this.context.used = false;
        this.generators.drawn = false;
        this.link.own();
        event = lazyEvent((key) => this.ask(key));
      } else {
        event = JSON.parse(rest.toString('utf8'));
      }
      const result = this.streams ? response.call(this.handler, event, context, this.link, () => this.pending === settle, once) : this.handler(event, context, callback);
      if (typeof result?.then === 'function') result.then((value) => once(null, value), (error) => once({ error }));
    } catch (error) {
      once({ error });
    }
    const [failure, value] = await outcome;
    if (failure) return [p.MSG_ERROR, errorDocument(failure.error, failure.kind, failure.message)];
    let body;
    try {
      body = Buffer.from(JSON.stringify(value) ?? 'null');
    } catch (error) {
      return [p.MSG_ERROR, errorDocument(error, 'Runtime.MarshalError', `Unable to stringify response body: ${error.message}`)];
    }
    if (body.length > p.RESULT_BYTES) {
      return [p.MSG_ERROR, errorDocument(undefined, 'Function.ResponseSizeTooLarge',
        `Response payload size (${body.length} bytes) exceeded maximum allowed payload size (${p.RESULT_BYTES} bytes).`)];
    }
    return [p.MSG_RESULT, body];
  }

  async prepare(kind, payload) {
    try {
      // What modules draw as they load is their snapshot's, not that of every
      // function that starts from the same parent.
      this.generators.reseed(entropy());
      const request = JSON.parse(payload.toString('utf8'));
      if (kind === p.MSG_LOAD) {
        await this.load(request);
      } else if (kind === p.MSG_IMPORT) {
        const require = createRequire(TASK_ROOT + '/');
        for (const name of request) require(name);
      } else if (kind === p.MSG_EXEC) {
        if (request.files) return [p.MSG_RESULT, Buffer.from(JSON.stringify({ value: require('./files.js').run(request.files) }))];
        return await require('./execute.js').run(this, request.code);
      } else {
        throw new Error(`message ${kind} is not one of the host's`);
      }
    } catch (e) {
      if (e instanceof LoadError) return [p.MSG_ERROR, errorDocument(e.cause, e.kind, e.message)];
      return [p.MSG_ERROR, errorDocument(e)];
    }
    return [p.MSG_DONE, Buffer.from('{}')];
  }

  async serve() {
    for (;;) {
      const [kind, payload] = this.link.receive();
      const invoke = kind === p.MSG_INVOKE || kind === p.MSG_INVOKE_LAZY;
      const reply = invoke ? await this.invoke(kind === p.MSG_INVOKE_LAZY, payload) : await this.prepare(kind, payload);
      this.link.send(...reply);
    }
  }
}

// entropy returns bytes of the instance's own, from the host.
function entropy() {
  const fd = fs.openSync('/dev/urandom');
  const seed = Buffer.alloc(p.SEED_BYTES);
  fs.readSync(fd, seed);
  fs.closeSync(fd);
  return seed;
}

// loadModule loads the handler's module as Lambda does: NAME.js (an ES module if
// the nearest package.json says so), NAME.mjs or NAME.cjs.
async function loadModule(base) {
  const file = [base, `${base}.js`, `${base}.mjs`, `${base}.cjs`].find((f) => fs.statSync(f, { throwIfNoEntry: false })?.isFile());
  if (!file) {
    const error = new Error(`Cannot find module '${path.basename(base)}'`);
    error.code = 'MODULE_NOT_FOUND';
    throw error;
  }
  if (file.endsWith('.mjs') || (file.endsWith('.js') && packageType(path.dirname(file)) === 'module')) {
    return import(pathToFileURL(file).href);
  }
  return require(file);
}

function packageType(dir) {
  for (; ; dir = path.dirname(dir)) {
    try {
      return JSON.parse(fs.readFileSync(path.join(dir, 'package.json'), 'utf8')).type;
    } catch (e) {
      if (e.code !== 'ENOENT') throw e;
    }
    if (dir === TASK_ROOT || dir === '/') return undefined;
  }
}

// settle throws garbage away before a capture.
function settle() {
  v8.setFlagsFromString('--expose-gc');
  const gc = vm.runInNewContext('gc');
  for (let n = 0; n < 3; n++) gc();
}

async function main() {
  const monitor = process.env.SEUSS_DRIVER_PROTOCOL;
  delete process.env.SEUSS_DRIVER_PROTOCOL;
  if (monitor !== undefined && monitor !== String(p.VERSION)) {
    process.stderr.write(`the monitor speaks driver protocol ${monitor}, this driver ${p.VERSION}: build the image anew\n`);
    process.exit(1);
  }
  const driver = new Driver();
  process.chdir(TASK_ROOT);
  await warmUp.builtIn(driver);
  await warmUp.configured(driver);
  settle();
  driver.link.send(p.MSG_READY, Buffer.from(JSON.stringify({ protocol: p.VERSION, runtime: 'node', version: process.versions.node })));
  await driver.serve();
}

main();
