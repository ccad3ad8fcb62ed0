// The answer of a handler that streams it, as AWS Lambda's Node.js runtime has it: a handler
// made by awslambda.streamifyResponse is called with (event, responseStream, context), and
// what it writes is with the client before it ends. What Lambda's documents leave open is as
// in its runtime interface client: what is no text and no bytes is written as JSON, only async
// handlers stream, what they return is nothing, the answer ends with the stream.
'use strict';

const { Writable } = require('stream');
const p = require('./protocol.js');

const STREAMING = Symbol.for('aws.lambda.runtime.handler.streaming');
const HIGH_WATER_MARK = Symbol.for('aws.lambda.runtime.handler.streaming.highWaterMark');
const PRELUDE_TYPE = 'application/vnd.awslambda.http-integration-response';
const PRELUDE_END = new Uint8Array(8);

function failure(kind, message) {
  const error = new Error(message);
  error.name = kind;
  return error;
}

class ResponseStream extends Writable {
  constructor(link, open, highWaterMark) {
    super({ highWaterMark });
    this.link = link;
    this.open = open;
    this.kind = 'application/octet-stream';
    this.begun = false;
    this.sent = 0;
  }

  setContentType(kind) {
    if (this.begun || this.writableLength > 0) throw failure('Runtime.InvalidStreamingOperation', 'Cannot set content-type, too late.');
    this.kind = String(kind);
  }

  write(chunk, encoding, callback) {
    const plain = typeof chunk === 'string' || chunk instanceof Uint8Array;
    return super.write(plain ? chunk : JSON.stringify(chunk), encoding, callback);
  }

  end(chunk, encoding, callback) {
    if (typeof chunk === 'function') return super.end(chunk);
    if (chunk !== undefined && chunk !== null) this.write(chunk, typeof encoding === 'string' ? encoding : undefined);
    return super.end(typeof encoding === 'function' ? encoding : callback);
  }

  _write(chunk, encoding, callback) {
    this.finishWith(callback, () => this.send(chunk));
  }

  _final(callback) { // a stream without a byte has its type, and its prelude
    this.finishWith(callback, () => this.begin());
  }

  finishWith(callback, work) {
    try {
      work();
      callback();
    } catch (error) {
      callback(error);
    }
  }

  begin() {
    if (this.begun || !this.open()) return;
    this.begun = true;
    this.link.send(p.MSG_STREAM, Buffer.from(this.kind));
    if (typeof this._onBeforeFirstWrite === 'function') this._onBeforeFirstWrite((chunk) => this.send(Buffer.from(chunk)));
  }

  send(chunk) {
    if (!this.open()) return; // it was answered with an error
    this.begin();
    this.sent += chunk.length;
    if (this.sent > p.RESULT_BYTES) {
      throw failure('Function.ResponseSizeTooLarge', `Response payload size exceeded maximum allowed payload size (${p.RESULT_BYTES} bytes).`);
    }
    this.link.send(p.MSG_PIECE, chunk);
  }
}

// HttpResponseStream says status, headers and cookies of an answer before its body.
class HttpResponseStream {
  static from(stream, prelude) {
    stream.setContentType(PRELUDE_TYPE);
    const document = JSON.stringify(prelude);
    stream._onBeforeFirstWrite = (write) => {
      write(document);
      write(PRELUDE_END);
    };
    return stream;
  }
}

// install makes the global object that functions know.
function install() {
  globalThis.awslambda = {
    streamifyResponse(handler, options) {
      handler[STREAMING] = 'response';
      if (typeof options?.highWaterMark === 'number') handler[HIGH_WATER_MARK] = Math.trunc(options.highWaterMark);
      return handler;
    },
    HttpResponseStream,
  };
}

// streams reports whether a handler streams its answer.
function streams(handler) {
  const how = handler[STREAMING];
  if (how && how !== 'response') throw failure('Runtime.MalformedStreamingHandler', 'Only response streaming is supported.');
  return Boolean(how);
}

// call runs a handler. settle(failure, value) is called when it has answered or failed; it is
// not called if the stream is never ended: see unfinished. What is written when the
// invocation is not open any more nobody gets.
function call(handler, event, context, link, open, settle) {
  const stream = new ResponseStream(link, open, handler[HIGH_WATER_MARK]);
  let returned = false;
  const fail = (error) => settle({ error });
  const finish = () => {
    if (returned && stream.writableFinished) settle(null, null);
  };
  stream.on('error', fail);
  stream.on('finish', finish);
  stream.on('close', () => stream.writableFinished || fail(unfinished()));
  const result = handler(event, stream, context);
  if (typeof result?.then !== 'function') throw new Error('Streaming does not support non-async handlers.');
  result.then((value) => {
    if (value !== undefined) console.warn('Streaming handlers ignore return values.');
    returned = true;
    finish();
  }, fail);
}

const unfinished = () => new Error('Response stream is not finished.');

module.exports = { install, streams, call, unfinished };
