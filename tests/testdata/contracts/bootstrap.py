#!/usr/bin/python3
"""A bootstrap that does what its event says, wrong things among them."""
import base64, http.client, json, os, socket, sys, time

API = os.environ["AWS_LAMBDA_RUNTIME_API"]


def call(method, path, body=None, headers={}):
    c = http.client.HTTPConnection(API)
    c.request(method, "/2018-06-01/runtime/" + path, body, headers)
    r = c.getresponse()
    return r, r.read()


def raw(text):
    host, port = API.split(":")
    s = socket.create_connection((host, int(port)))
    s.sendall(text)
    return s


def chunks(id, parts, trailers=b""):
    s = raw(b"POST /2018-06-01/runtime/invocation/" + id.encode() + b"/response HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nLambda-Runtime-Function-Response-Mode: streaming\r\n\r\n")
    for part in parts:
        s.sendall(b"%x\r\n%s\r\n" % (len(part), part))
    s.sendall(b"0\r\n" + trailers + b"\r\n")
    return s.recv(1000)


def endless():
    while True:
        yield b'"' + b"x" * 9000


def begun():
    yield b"\xff one"
    time.sleep(1000)


start = os.environ.get("START", "")
if start == "exit":
    print("no way", file=sys.stderr)
    sys.exit(4)
if start == "never":
    time.sleep(1000)
if start == "error":
    call("POST", "init/error", json.dumps({"errorType": "Init.Broken", "errorMessage": "it is broken"}))
    sys.exit(1)
restored = False
if start == "restore":
    call("GET", "restore/next")
    restored = True
count = 0
while True:
    r, event = call("GET", "invocation/next")
    id = r.getheader("Lambda-Runtime-Aws-Request-Id")
    event = json.loads(event)
    do = event.get("do") if isinstance(event, dict) else None
    count += 1
    if do == "exit":
        os._exit(9)
    if do == "twice":
        call("GET", "invocation/next")
        time.sleep(1000)
    if do == "fork":
        try:
            os.fork()
        except OSError as e:
            call("POST", "invocation/%s/error" % id, json.dumps({"errorType": "Fork.Refused", "errorMessage": e.strerror}))
            continue
    if do == "never":
        time.sleep(1000)
    if do == "error":
        call("POST", "invocation/%s/error" % id, json.dumps({"errorType": "Own.Error", "errorMessage": "as asked", "stackTrace": ["a", {"path": "f.go", "line": 3, "label": "main"}]}))
        continue
    if do == "endless":
        chunks(id, endless())
    if do == "stream":
        chunks(id, [b'{"parts"', b": 2}"])
    if do == "slow stream":
        chunks(id, begun())
    if do == "broken stream":
        body = base64.b64encode(json.dumps({"errorMessage": "half way"}).encode())
        chunks(id, [b'{"half'], b"Lambda-Runtime-Function-Error-Type: Stream.Broken\r\nLambda-Runtime-Function-Error-Body: " + body + b"\r\n")
    if do == "two answers":
        half = raw(b"POST /2018-06-01/runtime/invocation/%s/response HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nLambda-Runtime-Function-Response-Mode: streaming\r\n\r\n4\r\nhalf\r\n" % id.encode())
    statuses = []
    if do == "other":
        statuses.append(call("POST", "invocation/00000000-0000-0000-0000-000000000000/response", '"stolen"')[0].status)
        statuses.append(call("GET", "no/such")[0].status)
        c = http.client.HTTPConnection(API)
        c.request("POST", "/2020-01-01/extension/register", "{}", {"Lambda-Extension-Name": "x"})
        statuses.append(c.getresponse().status)
        statuses.append(call("POST", "init/error", "{}")[0].status)
    answer = {"count": count, "statuses": statuses, "restored": restored, "client": r.getheader("Lambda-Runtime-Client-Context"), "name": os.environ["AWS_LAMBDA_FUNCTION_NAME"], "mine": os.environ.get("MINE"), "random": os.urandom(8).hex(), "arn": r.getheader("Lambda-Runtime-Invoked-Function-Arn"), "late": int(r.getheader("Lambda-Runtime-Deadline-Ms")) < time.time() * 1000}
    if do == "big":
        answer = "x" * (7 << 20)
    if do == "text":
        call("POST", "invocation/%s/response" % id, "plain text")
    call("POST", "invocation/%s/response" % id, json.dumps(answer))
