"""What the Python driver puts around a function: its files in the task root, and the
variables of its environment."""

import binascii
import os
import re

ROOT = "/var/task"

# Variables of AWS Lambda that may be others at each invocation (a published version starts
# from the snapshot of its code, whatever its number), by the field of the context that says so.
VARYING = {b"function_version": "AWS_LAMBDA_FUNCTION_VERSION", b"memory_limit_in_mb": "AWS_LAMBDA_FUNCTION_MEMORY_SIZE"}


class Task:
    def __init__(self):
        self._files = []
        self._directories = []
        # What a context says of VARYING if the environment says the same.
        self.marks = ()

    def enter(self, request):
        surroundings = request.get("surroundings", {})
        for variables in surroundings, request.get("environment", {}):
            for name, value in variables.items():
                os.environ[name] = value
        self.marks = tuple(b'"%s":"%s"' % (field, surroundings[name].encode())
                           for field, name in VARYING.items() if name in surroundings)
        for path, content in request["files"].items():
            target = f"{ROOT}/{path}"
            if "/" in path:
                self._make(os.path.dirname(target))
            with open(target, "wb") as f:
                f.write(binascii.a2b_base64(content))
            self._files.append(target)

    def _make(self, directory):
        if not os.path.isdir(directory):
            self._make(os.path.dirname(directory))
            os.mkdir(directory)
            self._directories.append(directory)

    def leave(self):
        """Removes what enter() has put into the task root; what an image has there stays.
        Returns the directories that a function of before may have been imported from."""
        for path in self._files:
            os.unlink(path)
        for directory in reversed(self._directories):
            try:
                os.rmdir(directory)
            except OSError:
                pass  # the function has put something there
        left, self._files, self._directories = [ROOT, *self._directories], [], []
        return left


_loaded = {}


def part(name):
    """The function run of a part of the driver that is loaded when it is first asked for:
    functions that are only invoked have none of it."""
    if name not in _loaded:
        path = f"{os.path.dirname(os.path.abspath(__file__))}/{name}.py"
        namespace = {"__name__": name, "__file__": path}
        with open(path, "rb") as f:
            exec(compile(f.read(), path, "exec"), namespace)
        _loaded[name] = namespace["run"]
    return _loaded[name]


def adopt(raw):
    """Sets the variables of VARYING to what a context says."""
    for field, name in VARYING.items():
        said = re.search(rb'"%s":"([^"\\]*)"' % field, raw)
        if said:
            os.environ[name] = said[1].decode()
