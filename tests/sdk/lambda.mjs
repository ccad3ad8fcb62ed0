// AWS SDK for JavaScript v3 against an endpoint that claims to be Lambda.
// Usage: node lambda.mjs URL, beside a node_modules with @aws-sdk/client-lambda.
import assert from "node:assert/strict";
import { deflateRawSync, crc32 } from "node:zlib";
import * as sdk from "@aws-sdk/client-lambda";

const client = new sdk.LambdaClient({
  endpoint: process.argv[2],
  region: "us-east-1",
  maxAttempts: 1,
  credentials: { accessKeyId: "any", secretAccessKey: process.env.AWS_SECRET_ACCESS_KEY },
});
const text = (bytes) => Buffer.from(bytes).toString();
const refused = async (promise, name) => {
  try {
    await promise;
  } catch (e) {
    assert.equal(e.name, name, e.message);
    return e;
  }
  assert.fail(`expected ${name}`);
};

// zip writes an archive with one file (APPNOTE 4.3).
function zip(name, content) {
  const data = Buffer.from(content), packed = deflateRawSync(data), crc = checksum(data);
  const common = Buffer.alloc(26);
  common.writeUInt16LE(20, 0);
  common.writeUInt16LE(8, 4);
  common.writeUInt16LE(0x21, 8);
  common.writeUInt32LE(crc, 10);
  common.writeUInt32LE(packed.length, 14);
  common.writeUInt32LE(data.length, 18);
  common.writeUInt16LE(name.length, 22);
  const local = Buffer.concat([Buffer.from("PK\x03\x04", "latin1"), common, Buffer.from(name), packed]);
  const central = Buffer.concat([Buffer.from("PK\x01\x02\x14\x03", "latin1"), common, Buffer.alloc(14), Buffer.from(name)]);
  central.writeUInt32LE((0o100644 << 16) >>> 0, 38);
  const end = Buffer.alloc(22);
  end.write("PK\x05\x06", 0, "latin1");
  end.writeUInt16LE(1, 8);
  end.writeUInt16LE(1, 10);
  end.writeUInt32LE(central.length, 12);
  end.writeUInt32LE(local.length, 16);
  return Buffer.concat([local, central, end]);
}

function checksum(data) {
  if (crc32) return crc32(data); // Node 22
  let c = ~0;
  for (const byte of data) {
    c ^= byte;
    for (let k = 0; k < 8; k++) c = (c >>> 1) ^ (0xedb88320 & -(c & 1));
  }
  return ~c >>> 0;
}

const source = `
def handler(event, context):
    if "fail" in event:
        raise ValueError(event["fail"])
    print("version", context.function_version)
    return {"echo": event, "version": context.function_version}
`;
const FunctionName = `js-${process.pid}`;
const created = await client.send(new sdk.CreateFunctionCommand({
  FunctionName, Runtime: "python3.11", Handler: "main.handler", Role: "arn:aws:iam::000000000000:role/any",
  Code: { ZipFile: zip("main.py", source) }, Timeout: 10, Description: "from JavaScript",
}));
assert.equal(created.State, "Active");
assert.equal(created.Version, "$LATEST");
await sdk.waitUntilFunctionActiveV2({ client, maxWaitTime: 30 }, { FunctionName });
await refused(client.send(new sdk.CreateFunctionCommand({
  FunctionName, Runtime: "python3.11", Handler: "main.handler", Role: "r", Code: { ZipFile: zip("main.py", source) },
})), "ResourceConflictException");

const out = await client.send(new sdk.InvokeCommand({ FunctionName, Payload: JSON.stringify({ a: "ü" }), LogType: "Tail" }));
assert.equal(out.StatusCode, 200);
assert.deepEqual(JSON.parse(text(out.Payload)), { echo: { a: "ü" }, version: "$LATEST" });
assert.match(Buffer.from(out.LogResult, "base64").toString(), /version \$LATEST\nEND RequestId/);
assert.equal(out.ExecutedVersion, "$LATEST");

const failed = await client.send(new sdk.InvokeCommand({ FunctionName, Payload: JSON.stringify({ fail: "no" }) }));
assert.equal(failed.FunctionError, "Unhandled");
assert.equal(JSON.parse(text(failed.Payload)).errorType, "ValueError");

const streamed = await client.send(new sdk.InvokeWithResponseStreamCommand({ FunctionName, Payload: JSON.stringify({ a: "ü" }) }));
let chunks = "", complete;
for await (const event of streamed.EventStream) {
  if (event.PayloadChunk) chunks += text(event.PayloadChunk.Payload);
  complete ??= event.InvokeComplete;
}
assert.deepEqual(JSON.parse(chunks), { echo: { a: "ü" }, version: "$LATEST" });
assert.equal(complete.ErrorCode, undefined);

// A function of Node.js that streams, and its error behind what it has streamed.
const pieces = async (event) => {
  const out = await client.send(new sdk.InvokeWithResponseStreamCommand({ FunctionName: "streamer", Payload: JSON.stringify(event) }));
  const got = { text: "", end: undefined };
  for await (const e of out.EventStream) {
    if (e.PayloadChunk) got.text += text(e.PayloadChunk.Payload);
    got.end ??= e.InvokeComplete;
  }
  return got;
};
const slow = await pieces({ do: "slow" });
assert.deepEqual([slow.text, slow.end.ErrorCode], ["xyz", undefined]);
const half = await pieces({ do: "fails" });
assert.deepEqual([half.text, half.end.ErrorCode], ["half", "RangeError"]);

assert.equal((await client.send(new sdk.InvokeCommand({ FunctionName, InvocationType: "Event", Payload: "{}" }))).StatusCode, 202);
assert.equal((await client.send(new sdk.InvokeCommand({ FunctionName, InvocationType: "DryRun" }))).StatusCode, 204);

const version = await client.send(new sdk.PublishVersionCommand({ FunctionName }));
assert.equal(version.Version, "1");
await client.send(new sdk.CreateAliasCommand({ FunctionName, Name: "live", FunctionVersion: "1" }));
const aliased = await client.send(new sdk.InvokeCommand({ FunctionName, Qualifier: "live", Payload: "{}" }));
assert.equal(aliased.ExecutedVersion, "1");
assert.equal(JSON.parse(text(aliased.Payload)).version, "1");
await client.send(new sdk.UpdateFunctionCodeCommand({ FunctionName, ZipFile: zip("main.py", "def handler(e, c):\n    return 2\n") }));
assert.equal(text((await client.send(new sdk.InvokeCommand({ FunctionName }))).Payload), "2");
assert.equal((await client.send(new sdk.UpdateFunctionConfigurationCommand({ FunctionName, Timeout: 5 }))).Timeout, 5);

const big = await refused(client.send(new sdk.InvokeCommand({ FunctionName, Payload: JSON.stringify("x".repeat(6 << 20)) })), "RequestTooLargeException");
assert.equal(big.$metadata.httpStatusCode, 413);
await refused(client.send(new sdk.InvokeCommand({ FunctionName, Payload: "{" })), "InvalidRequestContentException");
await refused(client.send(new sdk.InvokeCommand({ FunctionName: "nobody-here" })), "ResourceNotFoundException");
await client.send(new sdk.PutFunctionConcurrencyCommand({ FunctionName, ReservedConcurrentExecutions: 0 }));
const throttled = await refused(client.send(new sdk.InvokeCommand({ FunctionName })), "TooManyRequestsException");
assert.equal(throttled.Reason, "ReservedFunctionConcurrentInvocationLimitExceeded");
await client.send(new sdk.DeleteFunctionConcurrencyCommand({ FunctionName }));

const names = [];
for await (const page of sdk.paginateListFunctions({ client }, {})) names.push(...page.Functions.map((f) => f.FunctionName));
assert.ok(names.includes(FunctionName));
assert.equal((await client.send(new sdk.ListVersionsByFunctionCommand({ FunctionName }))).Versions.length, 2);
assert.equal((await client.send(new sdk.ListAliasesCommand({ FunctionName }))).Aliases[0].Name, "live");
await client.send(new sdk.DeleteFunctionCommand({ FunctionName }));
await refused(client.send(new sdk.GetFunctionCommand({ FunctionName })), "ResourceNotFoundException");
console.log("ok");
