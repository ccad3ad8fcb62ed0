// The random generators that live in the runtime's memory. A snapshot carries
// their state, so each clone stirs fresh entropy into all of them before the
// function sees control.
'use strict';

const crypto = require('crypto');
const v8 = require('v8');
const vm = require('vm');

// Generators of Node.js: OpenSSL's, behind crypto and TLS; the buffers of random
// bytes that crypto.randomUUID and crypto.randomInt keep; and Math.random. V8
// offers no way to seed its own Math.random a second time, so it is replaced.
class Generators {
  constructor(host) {
    this.host = host;
    this.drawn = false; // since the function began
    this.state = new Uint32Array(4);
    this.kept = [
      { calls: 128, used: false, draw: crypto.randomUUID }, // kBatchSize in lib/internal/crypto/random.js
      { calls: 1024, used: false, draw: crypto.randomInt.bind(null, 2) }, // its randomCache holds 6 KiB, 6 bytes a draw
    ];
    this.contextSeed = 0; // for the contexts made next; 0 = V8 has it already
    this.replaceMathRandom();
    this.watch(this.kept[0], crypto, 'randomUUID');
    this.watch(this.kept[0], Object.getPrototypeOf(crypto.webcrypto), 'randomUUID');
    this.watch(this.kept[1], crypto, 'randomInt');
    for (const name of ['createContext', 'runInNewContext']) this.seedContexts(name);
    require('module').syncBuiltinESMExports();
  }

  // watch notes that a function has been called whose buffer a snapshot may hold.
  watch(kept, object, name) {
    const original = object[name];
    const descriptor = Object.getOwnPropertyDescriptor(object, name);
    const replacement = { [name](...args) {
      kept.used = true;
      return Reflect.apply(original, this, args);
    } }[name];
    Object.defineProperty(replacement, 'length', { value: original.length, configurable: true });
    Object.defineProperty(object, name, { ...descriptor, value: replacement });
  }

  // seedContexts sets the seed of V8's own Math.random, which each new context has,
  // before the first is made. Not at every restore: it takes 24 µs.
  seedContexts(name) {
    const original = vm[name];
    const generators = this;
    vm[name] = { [name](...args) {
      if (generators.contextSeed !== 0) v8.setFlagsFromString(`--random-seed=${generators.contextSeed}`);
      generators.contextSeed = 0;
      return Reflect.apply(original, this, args);
    } }[name];
  }

  // replaceMathRandom installs sfc32 (Chris Doty-Humphrey, PractRand): 128 bits of
  // state, 53 bits a draw.
  replaceMathRandom() {
    const s = this.state;
    const next = () => {
      const t = (s[0] + s[1] + s[3]) | 0;
      s[3] = s[3] + 1;
      s[0] = s[1] ^ (s[1] >>> 9);
      s[1] = s[2] + (s[2] << 3);
      s[2] = ((s[2] << 21) | (s[2] >>> 11)) + t;
      return t >>> 0;
    };
    this.next = next;
    const generators = this;
    const { random } = { random() {
      generators.drawn = true;
      return ((next() >>> 5) * 67108864 + (next() >>> 6)) / 9007199254740992;
    } };
    Object.defineProperty(Math, 'random', { ...Object.getOwnPropertyDescriptor(Math, 'random'), value: random });
  }

  reseed(seed) {
    this.host.reseed(seed, 0, seed.length);
    for (let n = 0; n < 4; n++) this.state[n] = seed.readUInt32LE(4 * n);
    for (let n = 0; n < 12; n++) this.next();
    this.contextSeed = 1 + seed.readUInt32LE(16) % 0x7ffffffe;
    for (const kept of this.kept) {
      if (!kept.used) continue;
      for (let n = 0; n < kept.calls; n++) kept.draw(); // what it kept is used up
      kept.used = false;
    }
    this.host.seeded();
  }
}

module.exports = { Generators };
