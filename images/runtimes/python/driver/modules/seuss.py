"""What functions share: state by key, locks, and memory; and how they call each other.
docs/state.md, docs/regions.md and docs/chaining.md say what is promised.

    from seuss import state

    state.set("orders/today", b"...")
    with state.lock("orders/today"):
        ...
    counts = memoryview(seuss.region("orders/counts", 4096)).cast("Q")

    import seuss

    call = seuss.chain_call("thumbnail", {"image": "a.png"})
    small = seuss.await_call(call)

A key is SHARE/NAME; the function's deployment names its shares (--share orders:rw), and the
functions that it calls (--call thumbnail).
Everything here is asked of the host when it is called, and nothing is kept.
"""

import builtins as _builtins
import errno as _errno
import json as _json
import mmap as _mmap
import os as _os
from _thread import get_ident as _get_ident

import _seuss_host as _host
import _seuss_protocol as _p


class Error(Exception):
    """What the host says; its subclasses tell errors apart."""


class Forbidden(Error):
    """The deployment does not name the share, or names it for reading."""


class NotFound(Error):
    """There is no value of that key."""


class Changed(Error):
    """The value has another version than was given."""


class Fenced(Error):
    """The lock whose token was given is not held any more."""


class Deadlock(Error):
    """To wait for the lock would be to wait for ever; the message names the circle."""


class NotHeld(Error):
    """The lock is not held: its lease may have ended."""


class TooLarge(Error):
    """The value, or what one operation moves, is larger than is allowed."""


class Full(Error):
    """State, or the memory of regions, takes all that it may."""


class DiskFull(Error):
    """The host's disk has no room for what was to be pushed."""


class Damaged(Error):
    """What was pushed cannot be read any more."""


class TooMany(Error):
    """More at a time than is allowed."""


class Invalid(Error):
    """The key, an offset, or another argument cannot be."""


class Timeout(Error):
    """What was waited for has not come in time."""


class TooDeep(Error):
    """The chain of functions, one called by the other, is as long as it may be."""


class Mismatch(Error):
    """The idempotency key was given with another event."""


class Cancelled(Error):
    """The call was cancelled."""


class Refused(Error):
    """The service does not run the function now."""


class CallError(Error):
    """A function that was called has failed. The exception's class is called as that of the
    function's own exception, and is a subclass of it where it is one of Python's. type is its
    name, and called_trace its stack trace."""

    type = "Error"
    called_trace = ()

    def __str__(self):
        return str(self.args[0])


class Unavailable(Error):
    """There is nobody to ask: while a function is loaded, or outside of a service."""


_errors = {c.__name__: c for c in Error.__subclasses__()}
_safe = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~/")


def _quote(text):
    raw = text.encode()
    if _safe.issuperset(raw):
        return text
    return "".join(chr(b) if b in _safe else f"%{b:02X}" for b in raw)


def _query(**arguments):
    parts = [f"{name}={_quote(str(value)) if value is not True else ''}" for name, value in arguments.items() if value is not None and value is not False]
    return "?" + "&".join(parts) if parts else ""


def _ms(seconds):
    return None if seconds is None else max(0, -int(-seconds * 1000 // 1))  # rounded up: less than 1 ms is no 0


def _ask(method, path, body=b""):
    """Returns (headers, body) of the answer; headers by their names in lower case."""
    try:
        status, headers, content = _host.ask(method, path, body)
    except _host.Unreachable as e:
        raise Unavailable(f"what functions share cannot be reached ({e.strerror}): a function is loaded without it, since the snapshot would hold what is there at that moment; ask in the handler") from None
    except OSError as e:
        raise Error(f"{method} {path}: {e}: whether it was done is not known") from e
    code = int(status.split(" ", 1)[0])
    if code < 400:
        return headers, content
    try:
        problem = _json.loads(content)
    except ValueError:  # HEAD has no body
        kind = NotFound if code == 404 else Forbidden if code == 403 else Error
        raise kind(f"{method} {path}: {status}") from None
    raise _problem(problem)


def _frame(what, key, value=b"", **more):
    """Returns (size, version, body) of the answer; None: it is to be asked by HTTP."""
    told = _host.frame(what, key, value, **more)
    if told and told[3] != _p.ASK_DONE:
        raise _problem(_json.loads(told[2]))
    return told


def _problem(problem):
    """The exception that an answer is."""
    kind = _errors.get(problem["error"], Error)
    return _failure(problem) if kind is CallError else kind(problem["message"])


def _failure(problem):
    """The exception of a function that was called."""
    name = problem.get("type", CallError.type)
    own = TimeoutError if name == "Sandbox.Timedout" else getattr(_builtins, name, None)
    known = isinstance(own, type) and issubclass(own, Exception) and own not in (Exception, StopIteration, StopAsyncIteration)
    try:
        error = type(name, (CallError, own) if known else (CallError,), {})(problem["message"])
    except (TypeError, ValueError):  # it has a form of its own
        error = CallError(problem["message"])
    error.type, error.called_trace = name, problem.get("trace", [])
    return error


class Value(bytes):
    """The bytes of a value, with its version and its whole size."""

    version = 0
    size = 0


def _value(answer):
    headers, content = answer
    value = Value(content)
    value.version, value.size = int(headers["seuss-version"]), int(headers["seuss-size"])
    return value


def _version(answer):
    return int(answer[0]["seuss-version"])


def _raw(value):
    return value.encode() if isinstance(value, str) else value


def _read(told):
    value = Value(told[2])
    value.size, value.version = told[0], told[1]
    return value


def _write(what, key, value, at, version, fence):
    """The version that the value has then; None: it is to be asked by HTTP."""
    told = _frame(what, key, value if isinstance(value, bytes) else memoryview(value).cast("B"), at=at, flags=0 if version is None else _p.ASK_IF, version=version or 0, token=fence or 0)
    return told and told[1]


class Lock:
    """A lock that is held, from the beginning of its with statement to its end, or to the
    end of its lease. token is larger than that of all who have held it before."""

    def __init__(self, key, shared, lease, wait):
        self.key, self._shared, self._lease, self._wait = key, shared, lease, wait
        self.token = None

    def acquire(self):
        if self._lease is None or self._lease > 0:
            told = _frame(_p.ASK_LOCK, self.key, flags=_p.ASK_SHARED if self._shared else 0, at=_ms(self._lease) or 0, thread=_get_ident())
            if told:
                self.token = told[1]
                return self
        _, answer = _ask("POST", f"/v1/locks/{_quote(self.key)}" + _query(shared=self._shared, thread=_get_ident(), lease_ms=_ms(self._lease), wait_ms=_ms(self._wait)))
        self.token = _json.loads(answer)["token"]
        return self

    def renew(self, lease=None):
        lease = self._lease if lease is None else lease
        if (lease is None or lease > 0) and _frame(_p.ASK_RENEW, self.key, at=_ms(lease) or 0, token=self.token or 0):
            return
        _ask("PUT", f"/v1/locks/{_quote(self.key)}" + _query(token=self.token, lease_ms=_ms(lease)))

    def release(self):
        token, self.token = self.token, None
        if _frame(_p.ASK_UNLOCK, self.key, token=token or 0):
            return
        _ask("DELETE", f"/v1/locks/{_quote(self.key)}" + _query(token=token))

    __enter__ = acquire

    def __exit__(self, kind, error, trace):
        try:
            self.release()
        except NotHeld:
            if kind is None:  # else what has gone wrong first is what counts
                raise


class State:
    """State by key. Values are bytes; text is written in UTF-8. version, where a write takes
    it, is the one that the value must have (0: there must be none), else it raises Changed;
    fence is the token of the key's lock, which must still be held. Writes return the new
    version. Times are in seconds."""

    def _at(self, key):
        return "/v1/state/" + _quote(key)

    def get(self, key, default=None):
        """The whole value, or default where there is none."""
        if seen := _host.seen(key):
            value = Value(seen[0])
            value.size, value.version = len(value), seen[1]
            return value
        try:
            told = _frame(_p.ASK_GET, key, flags=_host.often(key))
            if told and told[4]:
                _host.show(key, told[4], told[5])
            return _read(told) if told else _value(_ask("GET", self._at(key)))
        except NotFound:
            return default

    def get_range(self, key, offset, length):
        """At most length bytes from offset on."""
        told = _frame(_p.ASK_RANGE, key, at=offset, version=length)
        if told:
            return _read(told)
        return _value(_ask("GET", self._at(key) + _query(offset=offset, length=length)))

    def stat(self, key):
        """(size, version)"""
        told = _frame(_p.ASK_STAT, key)
        if told:
            return told[:2]
        headers, _ = _ask("HEAD", self._at(key))
        return int(headers["seuss-size"]), int(headers["seuss-version"])

    def set(self, key, value, version=None, fence=None):
        value = _raw(value)
        done = _write(_p.ASK_SET, key, value, 0, version, fence)
        return done or _version(_ask("PUT", self._at(key) + _query(version=version, fence=fence), value))

    def set_range(self, key, offset, value, version=None, fence=None):
        """Writes at an offset; what lies between the value's end and that is zeros."""
        value = _raw(value)
        done = _write(_p.ASK_SET_RANGE, key, value, offset, version, fence)
        return done or _version(_ask("PUT", self._at(key) + _query(offset=offset, version=version, fence=fence), value))

    def append(self, key, value, version=None, fence=None):
        value = _raw(value)
        done = _write(_p.ASK_APPEND, key, value, 0, version, fence)
        return done or _version(_ask("POST", self._at(key) + _query(version=version, fence=fence), value))

    def read_appended(self, key, offset, wait=None):
        """What lies behind an offset, as soon as there is something."""
        return _value(_ask("GET", self._at(key) + _query(appended=offset, wait_ms=_ms(wait))))

    def delete(self, key, version=None, fence=None):
        if _write(_p.ASK_DELETE, key, b"", 0, version, fence) is not None:
            return
        _ask("DELETE", self._at(key) + _query(version=version, fence=fence))

    def list(self, prefix):
        """Yields (key, size, version) of the values whose keys begin so, in order."""
        after = None
        while True:
            page = _json.loads(_ask("GET", "/v1/state" + _query(prefix=prefix, after=after))[1])
            for item in page["items"]:
                yield item["key"], item["size"], item["version"]
            after = page.get("next")
            if not after:
                return

    def watch(self, key, version=0, wait=None):
        """Waits until the value has another version than this, and returns it; 0: there is none."""
        return _version(_ask("GET", self._at(key) + _query(known=version, wait_ms=_ms(wait))))

    def push(self, key):
        """Has the value kept as it is now: it survives the host's power cut. Its version."""
        return _version(_ask("POST", "/v1/push/" + _quote(key)))

    def pull(self, key, version=None):
        """Makes the value what was pushed last. Its version."""
        return _version(_ask("POST", "/v1/pull/" + _quote(key) + _query(version=version)))

    def forget(self, key):
        """Drops what was pushed of it; the value stays."""
        _ask("DELETE", "/v1/push/" + _quote(key))

    def lock(self, key, lease=None, wait=None):
        """A lock that nobody else holds at the time; wait=0: not at all."""
        return Lock(key, False, lease, wait)

    def rlock(self, key, lease=None, wait=None):
        """A lock that others may hold so, too."""
        return Lock(key, True, lease, wait)


state = State()


class Region(_mmap.mmap):
    """Memory that is shared: a buffer, which NumPy's frombuffer() and memoryview() look at
    without a copy. What one instance stores the others load. key, read_only."""

    def push(self):
        """Has its content kept, as state.push() does with the value of the key."""
        _ask("POST", "/v1/push/" + _quote(self.key) + "?region")

    def pull(self):
        """Makes its content what was pushed of the key last, for all who have it open."""
        _ask("POST", "/v1/pull/" + _quote(self.key) + "?region")

    def flush(self, *_):
        self.push()

    def unlink(self):
        """Removes it: who opens the key next finds none, and who has it mapped keeps it."""
        try:
            _os.unlink(_path(self.key))
        except OSError as e:
            _refuse(e, self.key, len(self), self.read_only)


# What the host says of a region is an error number; its log says more.
_refused = {
    _errno.EACCES: (Forbidden, "the function's deployment does not name the share, or names it for reading: deploy it with --share {share}:{right}, and open it in the handler, since a function is loaded without shares"),
    _errno.ENOENT: (NotFound, "there is none: whoever may write makes it, by giving its size"),
    _errno.EINVAL: (Invalid, "it has another size than {bytes}"),
    _errno.ENAMETOOLONG: (Invalid, "the key is too long"),
    _errno.ENOSPC: (Full, "the function, its owner or the host has too much shared memory: remove some, or allow more (serve --region-memory)"),
    _errno.EDQUOT: (Full, "the function, its owner or the host has too many regions: remove some"),
    _errno.ENOMEM: (TooMany, "the instance has mapped as much as it may: close some"),
    _errno.ESTALE: (Changed, "it was removed and made anew, and the instance has the one before open: close that first"),
}


def _path(key):
    return "/dev/seuss/region/" + key.replace("%", "%25").replace("/", "%2F")


def _refuse(error, key, size, read_only):
    kind, why = _refused.get(error.errno, (Error, None))
    right, bytes_ = "r" if read_only else "rw", "it had" if size is None else f"{size} bytes"
    why = str(error) if why is None else why.format(share=key.split("/")[0], right=right, bytes=bytes_)
    raise kind(f"region {key!r}: {why}") from None


def region(key, size=None, read_only=False):
    """The region of a key, as a Region. With a size it is made where there is none, zeros; one
    that there is has that size. read_only: nobody can write to it by this Region."""
    share, _, name = key.partition("/")
    if not share or not name or "\0" in key:
        raise Invalid(f"region {key!r}: want SHARE/NAME, as in orders/today")
    if size is not None and size <= 0:
        raise Invalid(f"region {key!r}: {size} bytes: want at least one")
    try:
        fd = _os.open(_path(key), (_os.O_RDONLY if read_only else _os.O_RDWR | (_os.O_CREAT if size else 0)) | _os.O_CLOEXEC)
        try:
            if size and not read_only:
                _os.ftruncate(fd, size)
            has = _os.fstat(fd).st_size
            if size and has != size:
                raise OSError(_errno.EINVAL, "size")
            memory = Region(fd, has, prot=_mmap.PROT_READ | (0 if read_only else _mmap.PROT_WRITE))
        finally:
            _os.close(fd)
    except OSError as e:
        _refuse(e, key, size, read_only)
    memory.key, memory.read_only = key, read_only
    return memory


def chain_call(function, event=None, timeout=None, key=None):
    """Has a function called, and returns the call's id at once. It has timeout seconds, and no
    longer than the caller has; 0 is refused. With a key (of idempotency) it is called once, however often
    this is done. What was not awaited when the caller ends is cancelled."""
    event = _json.dumps(event).encode()
    told = _frame(_p.ASK_CALL, function, event, at=_ms(timeout) or 0) if key is None and (timeout is None or timeout > 0) else None
    if told:
        return told[2].decode()
    _, answer = _ask("POST", "/v1/calls/" + _quote(function) + _query(timeout_ms=_ms(timeout), key=key), event)
    return _json.loads(answer)["id"]


def call(function, event=None, timeout=None, key=None):
    """chain_call and await_call in one request."""
    return _json.loads(_ask("POST", "/v1/calls/" + _quote(function) + "?await" + _query(timeout_ms=_ms(timeout), key=key).replace("?", "&", 1), _json.dumps(event).encode())[1])


def await_call(call, wait=None):
    """The result of a call, once; an error of the function is raised, as a CallError. After
    wait seconds it raises Timeout, and the call goes on."""
    told = _frame(_p.ASK_RESULT, call)
    return _json.loads(told[2] if told else _ask("GET", "/v1/calls/" + _quote(call) + _query(wait_ms=_ms(wait)))[1])


def await_any(calls, wait=None):
    """The id of the first of several calls that is over: await it for its result."""
    return _json.loads(_ask("POST", "/v1/calls" + _query(wait_ms=_ms(wait)), _json.dumps(list(calls)).encode())[1])["id"]


def await_all(calls):
    """The results of several calls, in their order. The first error is raised; the other calls
    go on."""
    return [await_call(call) for call in calls]


def cancel(call):
    """Cancels a call, which is not to be awaited any more."""
    _ask("DELETE", "/v1/calls/" + _quote(call))
