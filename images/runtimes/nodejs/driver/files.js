// Files that the host puts into the instance and takes out of it: small steps, each of
// which does a little. What one does wrong is its own answer's; none touches the program.
'use strict';

const fs = require('fs');

const MOST_ENTRIES = 20000; // of a directory, in one answer

function describe(path, name) {
  const s = fs.lstatSync(path);
  const type = s.isFile() ? 'file' : s.isDirectory() ? 'directory' : s.isSymbolicLink() ? 'link' : 'other';
  const entry = { name, type, mode: s.mode & 0o7777, size: s.size, time: Math.floor(s.mtimeMs / 1000) };
  if (type === 'link') entry.link = fs.readlinkSync(path);
  return entry;
}

function withFile(path, flags, f) {
  const fd = fs.openSync(path, flags);
  try {
    return f(fd);
  } finally {
    fs.closeSync(fd);
  }
}

const steps = {
  stat: (step) => ({ entries: [describe(step.path, '')] }),
  follow: (step) => ({ entries: [describe(fs.realpathSync(step.path), '')] }),
  list: ({ path }) => {
    const names = fs.readdirSync(path).sort();
    if (names.length > MOST_ENTRIES) throw new Error(`${path} has ${names.length} entries, at most ${MOST_ENTRIES} are told at once`);
    return { entries: names.map((name) => describe(`${path}/${name}`, name)) };
  },
  read: (step) => withFile(step.path, 'r', (fd) => {
    const data = Buffer.alloc(step.bytes);
    let got = 0;
    for (let n = 1; n > 0 && got < data.length; got += n) n = fs.readSync(fd, data, got, data.length - got, (step.at ?? 0) + got);
    return { data: data.toString('base64', 0, got) };
  }),
  write: (step) => {
    const at = step.at ?? 0;
    if (at === 0 && fs.lstatSync(step.path, { throwIfNoEntry: false })?.isSymbolicLink()) fs.unlinkSync(step.path);
    withFile(step.path, at ? 'r+' : 'w', (fd) => {
      const data = Buffer.from(step.data ?? '', 'base64');
      for (let put = 0; put < data.length;) put += fs.writeSync(fd, data, put, data.length - put, at + put);
    });
    if (at === 0) fs.chmodSync(step.path, step.mode);
    return {};
  },
  make: (step) => {
    if (!fs.statSync(step.path, { throwIfNoEntry: false })?.isDirectory()) {
      fs.mkdirSync(step.path);
      fs.chmodSync(step.path, step.mode);
    }
    return {};
  },
  link: (step) => {
    fs.rmSync(step.path, { force: true });
    fs.symlinkSync(step.link, step.path);
    return {};
  },
};

// run returns what came of each step, up to the first that failed.
function run(list) {
  const answers = [];
  for (const step of list) {
    try {
      answers.push(steps[step.do](step));
    } catch (e) {
      answers.push({ error: String(e.message).replace(/^[A-Z]+: /, '') });
      break;
    }
  }
  return answers;
}

module.exports = { run };
