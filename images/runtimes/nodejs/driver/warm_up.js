// What the Node.js driver does before the base snapshot is taken, so that whatever
// is compiled or built at first use is in the base, neither in every function's
// snapshot nor in every request's way.
//
// There is a warm-up of the driver's own, and one that the image's builder
// configured (image build --warm-up).
'use strict';

const fs = require('fs');
const path = require('path');
const p = require('./protocol.js');

const ROUNDS = 30;

const CODE = `
exports.handler = async (event, context) => {
  if (event.fail) throw new Error(event.fail);
  return { echo: event.text, id: context.awsRequestId, list: [1, 2.5, null, true, { key: 'value' }] };
};
`;
const STREAM = `
exports.handler = awslambda.streamifyResponse(async (event, stream) => {
  stream = awslambda.HttpResponseStream.from(stream, { statusCode: 200, headers: { 'Content-Type': 'text/plain' } });
  stream.write(event.text);
  stream.end();
});
`;
const MODULE = 'export const handler = async () => 1;';

// As dispatcher/surroundings gives them to every function.
const SURROUNDINGS = { AWS_LAMBDA_FUNCTION_VERSION: '$LATEST', AWS_LAMBDA_FUNCTION_MEMORY_SIZE: '128' };
const CONTEXT = '{"aws_request_id":"0","function_version":"$LATEST","memory_limit_in_mb":"128","deadline_ms":0}';

const CONFIGURED = path.join(__dirname, 'warm_up.json');

const base64 = (text) => Buffer.from(text).toString('base64');

function invoke(driver, event) {
  const context = Buffer.from(CONTEXT);
  const head = Buffer.alloc(p.SEED_BYTES + 4);
  head.writeUInt32LE(context.length, p.SEED_BYTES);
  return driver.invoke(false, Buffer.concat([head, context, Buffer.from(event)]));
}

// builtIn loads and invokes a function of the driver's own.
async function builtIn(driver) {
  for (let n = 0; n < ROUNDS; n++) {
    await driver.load({ handler: 'seuss_warm_up.handler', surroundings: SURROUNDINGS, files: { 'seuss_warm_up.js': base64(CODE) } });
    for (let m = 0; m < 8; m++) await invoke(driver, '{"text": "warm", "more": [1, 2]}');
    await invoke(driver, '{"fail": "warm"}');
    driver.forget();
  }
  await streamed(driver);
  await driver.load({ handler: 'seuss_warm_up.handler', files: { 'seuss_warm_up.mjs': base64(MODULE) } }); // the loader of ES modules
  driver.forget();
}

// streamed does so with a function that streams its answer, which nobody is sent.
async function streamed(driver) {
  driver.link.send = () => {};
  await driver.load({ handler: 'seuss_warm_up.handler', files: { 'seuss_warm_up.js': base64(STREAM) } });
  for (let m = 0; m < 8; m++) await invoke(driver, '{"text": "warm"}');
  driver.forget();
  delete driver.link.send;
}

// configured loads the function that the image was built with and invokes it on
// its events. The function goes, the modules that it loaded stay. An image whose
// warm-up fails does not start.
async function configured(driver) {
  if (!fs.existsSync(CONFIGURED)) return;
  const request = JSON.parse(fs.readFileSync(CONFIGURED, 'utf8'));
  await driver.load(request);
  for (const [n, event] of request.warm_up.entries()) {
    const [kind, answer] = await invoke(driver, JSON.stringify(event));
    if (kind !== p.MSG_RESULT) {
      fs.writeSync(2, `warm-up event ${n + 1} of the image failed: ${answer}\n`);
      process.reallyExit(1);
    }
  }
  driver.forget();
}

module.exports = { builtIn, configured };
