"""The Python driver: the first program of a Python guest.

It connects to the host once and then serves one request after the other on
that stream: import modules, load a function, invoke it. Whatever the host
captures, it captures while this program waits in Link.receive(), so every
request starts in a memory that has seen no other request.

A handler has the signature of AWS Lambda's Python model,
handler(event, context); results and errors have Lambda's JSON forms.
"""

import faulthandler
import gc
import importlib
import importlib.machinery
import json
import os
import socket
import struct
import sys
import traceback
import types

import holes
import imported
import protocol as p
import task
import warm_up

# A function may have modules of these names, and finds none of the driver's.
sys.path.remove(_here := os.path.dirname(os.path.abspath(__file__)))
sys.path.append(_here + "/modules")  # last: only who imports seuss looks there
for name in "holes", "imported", "protocol", "task", "warm_up":
    del sys.modules[name]

TASK_ROOT = task.ROOT
_header = struct.Struct("<IB")
_u32 = struct.Struct("<I")


class Link:
    """The stream to the host: frames of a length, a type and a payload."""

    def __init__(self):
        self.sock = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
        self.sock.connect((socket.VMADDR_CID_HOST if hasattr(socket, "VMADDR_CID_HOST") else 2, p.DRIVER_PORT))
        self.buffer = memoryview(bytearray(65536))
        # Where CPython reads the clock for a lock; the image's builder knows.
        for site in filter(None, os.environ.pop("SEUSS_LOCK_CODE", "").split(",")):
            self.sock.setsockopt(socket.AF_VSOCK, p.SO_DRIVER, int(site, 16))
        self.own()

    def own(self):
        """Declares the stream the driver's own and starts the purity counters at zero."""
        self.sock.setsockopt(socket.AF_VSOCK, p.SO_DRIVER, 0)

    def seeded(self):
        """Lets other threads run after a restore: they have had to wait for this."""
        self.sock.setsockopt(socket.AF_VSOCK, p.SO_SEEDED, 0)

    def send(self, kind, payload):
        self.sock.sendall(_header.pack(len(payload), kind) + payload)

    def receive(self):
        """Returns (type, payload). The payload's memory is reused by the next call."""
        buf = self.buffer
        got = self.sock.recv_into(buf)
        while got < p.FRAME_HEADER:
            if got == 0:
                os._exit(0)
            got += self.sock.recv_into(buf[got:])
        length, kind = _header.unpack_from(buf)
        end = p.FRAME_HEADER + length
        if end > len(buf):
            big = memoryview(bytearray(end))
            big[:got] = buf[:got]
            buf = big
        while got < end:
            n = self.sock.recv_into(buf[got:end])
            if n == 0:
                os._exit(0)
            got += n
        return kind, buf[p.FRAME_HEADER:end]


class Context:
    """Lambda's context object. Its fields are parsed when first read, and that is noted."""

    def __init__(self):
        self._raw = b"{}"
        self._fields = None
        self._used = False
        self._adopted = False  # the environment has what this invocation's context says
        self._marks = ()

    def _renew(self, raw):
        self._raw = raw
        self._fields = None
        for mark in self._marks:
            if mark not in raw:
                task.adopt(raw)
                self._adopted = True

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        self._used = True
        if self._fields is None:
            self._fields = json.loads(self._raw)
        try:
            return self._fields[name]
        except KeyError:
            raise AttributeError(f"the context has no {name!r}") from None

    def get_remaining_time_in_millis(self):
        import time

        return max(0, int(self.deadline_ms - time.time() * 1000))

    def log(self, message):
        sys.stdout.write(str(message))


class LazyEvent(dict):
    """The event of a function deployed with lazy arguments.

    A key's value is asked for when the key is first read. The host may take a
    snapshot at that moment and let later requests, equal so far, start there.
    Whatever needs all keys at once (iteration, len, copying) asks for the
    whole event.
    """

    def __init__(self, ask):
        super().__init__()
        self._ask = ask
        self._absent = set()
        self._whole = False

    def _bind(self, key):
        if self._whole or not isinstance(key, str) or dict.__contains__(self, key) or key in self._absent:
            return
        present, value = self._ask(key)
        if present:
            dict.__setitem__(self, key, value)
        else:
            self._absent.add(key)

    def _bind_all(self):
        if not self._whole:
            _, value = self._ask(None)
            for key, item in value.items():
                dict.setdefault(self, key, item)
            self._whole = True

    def __getitem__(self, key):
        self._bind(key)
        return dict.__getitem__(self, key)

    def get(self, key, default=None):
        self._bind(key)
        return dict.get(self, key, default)

    def __contains__(self, key):
        self._bind(key)
        return dict.__contains__(self, key)

    def pop(self, key, *default):
        self._bind(key)
        self._absent.add(key)
        return dict.pop(self, key, *default)

    def setdefault(self, key, default=None):
        self._bind(key)
        return dict.setdefault(self, key, default)


def _whole(name):
    plain = getattr(dict, name)

    def method(self, *args, **kwargs):
        self._bind_all()
        return plain(self, *args, **kwargs)

    method.__name__ = name
    return method


for _name in ("__iter__", "__len__", "__eq__", "__ne__", "__repr__", "__or__", "__ror__", "__reversed__",
              "items", "keys", "values", "copy", "popitem"):
    setattr(LazyEvent, _name, _whole(_name))
LazyEvent.__bool__ = lambda self: LazyEvent.__len__(self) > 0


class Generators:
    """The random generators that live in the runtime's memory.

    A snapshot carries their state, so each clone gets fresh entropy before
    the function sees control; and a function that has drawn from them before
    a capture has taken outside input in, which must be known.
    """

    def __init__(self, seeded):
        self._seeded = seeded
        self._before = None
        self._used = False

    def reseed(self, seed):
        modules = sys.modules
        random = modules.get("random")
        if random is not None:
            random.seed(int.from_bytes(seed, "little"))
        ssl = modules.get("_ssl")
        if ssl is not None:
            ssl.RAND_add(bytes(seed), 32.0)
        numpy_random = modules.get("numpy.random")
        if numpy_random is not None:
            numpy_random.seed([_u32.unpack_from(seed, i)[0] for i in range(0, len(seed), 4)])
        tempfile = modules.get("tempfile")
        if tempfile is not None:
            tempfile._name_sequence = None
        uuid = modules.get("uuid")
        if uuid is not None and (uuid._generate_time_safe or uuid._node is not None):
            # libuuid keeps node and clock sequence out of reach, and the node
            # is no device's here: both are drawn from random instead.
            uuid._generate_time_safe = uuid._node = None
            uuid._GETTERS = []
        self._seeded()

    def _states(self):
        random = sys.modules.get("random")
        numpy_random = sys.modules.get("numpy.random")
        return (
            random.getstate() if random is not None else None,
            repr(numpy_random.get_state()) if numpy_random is not None else None,
        )

    def begin(self):
        self._used = False
        self.mark()

    def mark(self):
        self._before = self._states()

    def drawn(self):
        """Whether the function has drawn from them since begin()."""
        self._used = self._used or self._before != self._states()
        return self._used


def error_document(exc, kind=None):
    """Lambda's error JSON; frames of this driver are left out."""
    frames = [f for f in traceback.extract_tb(exc.__traceback__) if f.filename != __file__ and not f.filename.startswith("<frozen importlib")]
    return json.dumps({
        "errorType": kind or type(exc).__name__,
        "errorMessage": str(exc),
        "stackTrace": traceback.format_list(frames) + list(map(str, getattr(exc, "called_trace", ()))),
    }).encode()


class Driver:
    def __init__(self):
        self.link = Link()
        self.context = Context()
        self.generators = Generators(self.link.seeded)
        self.handler = None
        self.blank = None
        self.task = task.Task()
        self.recorder = imported.Recorder()
        self.installed = imported.distributions(d for d in sys.path if d.endswith("-packages"))

    def load(self, request):
        self.task.enter(request)
        self.context._marks = self.task.marks
        if TASK_ROOT not in sys.path:
            sys.path.insert(0, TASK_ROOT)
        module_name, _, name = request["handler"].rpartition(".")
        if not module_name:
            raise LoadError("Runtime.MalformedHandlerName", f"Bad handler {request['handler']!r}: want module.function")
        self.recorder.begin()
        try:
            module = self.load_module(module_name.replace("/", "."))
        except SyntaxError as e:
            raise LoadError("Runtime.UserCodeSyntaxError", f"Syntax error in module {module_name!r}: {e}") from e
        except ImportError as e:
            raise LoadError("Runtime.ImportModuleError", f"Unable to import module {module_name!r}: {e}") from e
        finally:
            self.recorder.end()
        handler = getattr(module, name, None)
        if not callable(handler):
            raise LoadError("Runtime.HandlerNotFound", f"Handler {name!r} missing on module {module_name!r}")
        self.handler = handler
        gc.freeze()

    def load_module(self, name):
        """Imports the handler's module. One that is a plain file of the task
        root is executed here: the import system's own path, all Python, leaves
        its traces (specialised bytecode, caches) in dozens of pages, and each
        would be in the function's snapshot."""
        path = f"{TASK_ROOT}/{name}.py"
        code = None
        if "." not in name and name not in sys.modules:
            try:
                with open(path, "rb") as f:
                    code = f.read()
            except OSError:
                pass
        if code is None:
            importlib.invalidate_caches()
            return importlib.import_module(name)
        code = compile(code, path, "exec", dont_inherit=True)
        module, self.blank = self.blank or blank_module(), None
        spec, loader = module.__spec__, module.__loader__
        module.__name__ = spec.name = loader.name = name
        module.__file__ = spec.origin = loader.path = path
        sys.modules[name] = module
        try:
            exec(code, module.__dict__)
        except BaseException:
            sys.modules.pop(name, None)
            raise
        return module

    def ask(self, key):
        flags = (0 if key is not None else p.WANT_ALL) | (p.WANT_CONTEXT if self.context._used or self.context._adopted else 0)
        if self.generators.drawn():
            flags |= p.WANT_RANDOM
        sys.stdout.flush()
        self.link.send(p.MSG_WANT, bytes([flags]) + (key or "").encode())
        kind, payload = self.link.receive()
        if kind != p.MSG_ARG:
            raise RuntimeError(f"the host answered WANT with message {kind}")
        seed, raw_context, rest = split(payload)
        self.generators.reseed(seed)
        self.generators.mark()
        self.context._renew(raw_context)
        return rest[0] != 0, json.loads(bytes(rest[1:])) if rest[0] else None

    def invoke(self, lazy, payload):
        seed, raw_context, rest = split(payload)
        self.generators.reseed(seed)
        context = self.context
        context._renew(raw_context)
        try:
            if lazy:
                self.generators.begin()
                context._used = False
                self.link.own()
                event = LazyEvent(self.ask)
            else:
                event = json.loads(str(rest, "utf-8"))
            result = self.handler(event, context)
        except SystemExit as e:
            return p.MSG_ERROR, error_document(e, "Runtime.ExitError")
        except BaseException as e:
            return p.MSG_ERROR, error_document(e)
        try:
            if lazy and isinstance(result, LazyEvent):
                result._bind_all()
            body = json.dumps(result).encode()
        except BaseException as e:
            e.__traceback__ = None
            return p.MSG_ERROR, error_document(type(e)(f"Unable to marshal response: {e}"), "Runtime.MarshalError")
        if len(body) > p.RESULT_BYTES:
            return p.MSG_ERROR, json.dumps({
                "errorType": "Function.ResponseSizeTooLarge",
                "errorMessage": f"Response payload size ({len(body)} bytes) exceeded maximum allowed payload size ({p.RESULT_BYTES} bytes).",
                "stackTrace": [],
            }).encode()
        return p.MSG_RESULT, body

    def serve(self):
        link = self.link
        stdout, stderr = sys.stdout, sys.stderr
        while True:
            kind, payload = link.receive()
            if kind == p.MSG_INVOKE or kind == p.MSG_INVOKE_LAZY:
                reply = self.invoke(kind == p.MSG_INVOKE_LAZY, payload)
            else:
                reply = self.prepare(kind, payload)
            try:
                stdout.flush()
                stderr.flush()
            except ValueError:
                pass  # the function closed them
            link.send(*reply)
            del payload, reply

    def prepare(self, kind, payload):
        try:
            request = json.loads(str(payload, "utf-8"))
            # What modules draw as they are imported must not be what those of
            # another function drew: both come from one snapshot.
            self.generators.reseed(os.urandom(p.SEED_BYTES))
            if kind == p.MSG_LOAD:
                self.load(request)
                return p.MSG_DONE, self.recorder.tell(self.installed, TASK_ROOT, request["files"])
            elif kind == p.MSG_IMPORT:
                self.recorder.begin()
                try:
                    for name in request:
                        importlib.import_module(name)
                finally:
                    self.recorder.end()
                settle()
            elif kind == p.MSG_WATCH:
                if request:
                    self.recorder.begin()
                else:
                    self.recorder.end()
                    return p.MSG_DONE, self.recorder.tell_run(self.installed, TASK_ROOT)
            elif kind == p.MSG_EXEC:
                if "files" in request:
                    return p.MSG_RESULT, json.dumps({"value": task.part("files")(request["files"])}).encode()
                return task.part("execute")(self, request["code"])
            else:
                raise RuntimeError(f"message {kind} is not one of the host's")
        except LoadError as e:
            return p.MSG_ERROR, load_document(e)
        except BaseException as e:
            return p.MSG_ERROR, error_document(e)
        return p.MSG_DONE, b"{}"

    def forget(self):
        """Drops what load() brought, but not the modules from outside the task
        root that it imported."""
        self.handler = None
        self.recorder.forget()
        for name, module in list(sys.modules.items()):
            if str(getattr(module, "__file__", None) or "").startswith(TASK_ROOT + "/"):
                del sys.modules[name]
        for directory in self.task.leave():
            sys.path_importer_cache.pop(directory, None)
        gc.unfreeze()  # or the module and its functions, which name each other, stay
        sys.path.remove(TASK_ROOT)


def blank_module():
    """A module as the import system makes it for a file, before it has a name. A
    function's is made before the base is taken: what it names (its attributes' names,
    its type, ...) counts its references in many pages."""
    path = f"{TASK_ROOT}/.py"
    loader = importlib.machinery.SourceFileLoader("", path)
    module = types.ModuleType("")
    module.__file__, module.__loader__, module.__package__ = path, loader, ""
    module.__spec__ = importlib.machinery.ModuleSpec("", loader, origin=path)
    return module


class LoadError(Exception):
    def __init__(self, kind, message):
        super().__init__(message)
        self.kind = kind


def load_document(e):
    """The cause's stack trace under the load error's own words."""
    document = json.loads(error_document(e.__cause__ or e, e.kind))
    document["errorMessage"] = str(e)
    return json.dumps(document).encode()


def split(payload):
    """seed, context JSON and what follows them."""
    at = p.SEED_BYTES
    (length,) = _u32.unpack_from(payload, at)
    at += _u32.size
    return payload[:p.SEED_BYTES], bytes(payload[at:at + length]), payload[at + length:]


def settle():
    """Before a capture: garbage goes, and what stays is out of the collector's
    way, so that later collections do not touch (and so copy) its pages."""
    gc.collect()
    gc.freeze()


def main():
    host = os.environ.pop("SEUSS_DRIVER_PROTOCOL", None)
    if host not in (None, str(p.VERSION)):
        sys.exit(f"the monitor speaks driver protocol {host}, this driver {p.VERSION}: build the image anew")
    faulthandler.enable()
    os.chdir(TASK_ROOT)
    sys.stdout.reconfigure(line_buffering=True)
    driver = Driver()
    warm_up.built_in(driver)
    warm_up.configured(driver)
    driver.blank = blank_module()
    driver.replaced = [*os.environb.values(), driver.context._marks, driver.task.marks]  # freed, each would leave a hole
    gc.collect()
    driver.filler = holes.fill_objects()
    settle()
    driver.chunks = holes.fill_chunks()
    driver.link.send(p.MSG_READY, json.dumps({"protocol": p.VERSION, "runtime": "python", "version": sys.version.split()[0]}).encode())
    driver.serve()


main()
