// What the Node.js driver puts around a function: its files in the task root, and the
// variables of its environment.
'use strict';

const fs = require('fs');
const path = require('path');

const ROOT = '/var/task';

// Variables of AWS Lambda that may be others at each invocation (a published version starts
// from the snapshot of its code, whatever its number), by the field of the context that says
// so.
const VARYING = { function_version: 'AWS_LAMBDA_FUNCTION_VERSION', memory_limit_in_mb: 'AWS_LAMBDA_FUNCTION_MEMORY_SIZE' };

let files = [];
let directories = [];

function make(directory) {
  if (fs.existsSync(directory)) return;
  make(path.dirname(directory));
  fs.mkdirSync(directory);
  directories.push(directory);
}

// enter returns what a context says of VARYING if the environment says the same.
function enter(request) {
  const surroundings = request.surroundings ?? {};
  Object.assign(process.env, surroundings, request.environment);
  for (const [name, content] of Object.entries(request.files)) {
    const target = path.join(ROOT, name);
    if (name.includes('/')) make(path.dirname(target));
    fs.writeFileSync(target, Buffer.from(content, 'base64'));
    files.push(target);
  }
  return Object.entries(VARYING).filter(([, name]) => name in surroundings).map(([field, name]) => `"${field}":"${surroundings[name]}"`);
}

// leave removes what enter has put into the task root; what an image has there stays.
function leave() {
  for (const file of files) fs.unlinkSync(file);
  for (const directory of directories.reverse()) {
    try {
      fs.rmdirSync(directory);
    } catch {
      // the function has put something there
    }
  }
  files = [];
  directories = [];
}

// adopt sets the variables of VARYING to what a context says.
function adopt(raw) {
  for (const [field, name] of Object.entries(VARYING)) {
    const said = new RegExp(`"${field}":"([^"\\\\]*)"`).exec(raw);
    if (said) process.env[name] = said[1];
  }
}

module.exports = { ROOT, enter, leave, adopt };
