"""What the Python driver does before the base snapshot is taken, so that whatever
is built, compiled or specialised at first use is in the base, neither in every
function's snapshot nor in every request's way.

There is a warm-up of the driver's own, and one that the image's builder
configured (image build --warm-up).
"""

import base64
import json
import os
import struct
import sys

import protocol as p

# Often enough for CPython to specialise the driver's own bytecode (PEP 659 does
# so after a few dozen executions) and to fill its type caches.
ROUNDS = 60

CODE = b"""
def handler(event, context):
    context.aws_request_id
    if "fail" in event:
        raise ValueError(event["fail"])
    return {"echo": event["text"], "list": [1, 2.5, None, True, {"key": "value"}]}
"""

MODULE = "seuss_warm_up"  # an image may have files in the task root

CONFIGURED = os.path.dirname(os.path.abspath(__file__)) + "/warm_up.json"

# As dispatcher/surroundings gives them to every function: where the values lie is in the
# base then, and those of a function take their places.
SURROUNDINGS = {
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128", "AWS_LAMBDA_FUNCTION_NAME": "seuss-warm-up", "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
    "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/seuss-warm-up", "_HANDLER": "seuss_warm_up.handler",
}

_context = b'{"aws_request_id":"0","function_version":"$LATEST","memory_limit_in_mb":"128","deadline_ms":0}'
_head = bytes(p.SEED_BYTES) + struct.pack("<I", len(_context)) + _context


def _load(driver, request):
    kind, answer = driver.prepare(p.MSG_LOAD, json.dumps(request).encode())
    if kind != p.MSG_DONE:
        sys.exit(f"the warm-up of the image was not loaded: {answer.decode()}")


def _invoke(driver, event):
    return driver.invoke(False, memoryview(_head + event))


def built_in(driver):
    """Loads and invokes a function of the driver's own."""
    for _ in range(ROUNDS):
        _load(driver, {"handler": MODULE + ".handler", "surroundings": SURROUNDINGS, "files": {MODULE + ".py": base64.b64encode(CODE).decode()}})
        for _ in range(4):
            _invoke(driver, b'{"text": "warm", "more": [1, 2]}')
        _invoke(driver, b'{"fail": "warm"}')
        driver.forget()


def configured(driver):
    """Loads the function that the image was built with and invokes it on its
    events. The function goes, the modules that it imported stay. An image whose
    warm-up fails does not start."""
    try:
        with open(CONFIGURED) as f:
            request = json.load(f)
    except FileNotFoundError:
        return
    _load(driver, request)
    for number, event in enumerate(request["warm_up"], 1):
        kind, answer = _invoke(driver, json.dumps(event).encode())
        if kind != p.MSG_RESULT:
            sys.exit(f"warm-up event {number} of the image failed: {answer.decode()}")
    driver.forget()
