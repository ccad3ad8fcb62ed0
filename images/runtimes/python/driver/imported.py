"""What the load of a function imports, and its handler at the first runs, in which order,
and what that takes: a hint from which import nodes are planned.

Between begin() and end() each import that finds nothing in sys.modules passes a
function of this module, in the place of the import system's own. Afterwards that one
is back, so that invocations pay nothing.
"""

import _frozen_importlib as bootstrap
import _thread
import json
import os
import sys
import time

LIMIT = 2000  # modules that are told; further ones are counted
NAME_LIMIT = 200  # characters of a name; who has a longer one is counted too
RUNTIME, FUNCTION = -1, -2  # who a module is of that no distribution has
MS = 1_000_000

_free_pages = os.sysconf_names["SC_AVPHYS_PAGES"]


class Recorder:
    """The imports of the driver's own thread; those of other threads count for
    whoever waits for them. They stay until answer(), so that a function's are told
    with those of the import nodes above it."""

    def __init__(self):
        self.rows = []  # (module, depth, own ns, ns, own pages), in the order in which they were complete
        self.left_out = 0
        self._stack = []  # of those that are under way: [ns, pages] of what they have imported
        self._thread = None  # whose imports are recorded; None: nobody's
        self._original = bootstrap._find_and_load
        self._hook = self._make_hook()  # once: it would take pages of each function's snapshot

    def _make_hook(self):
        rows, stack, original = self.rows, self._stack, self._original
        modules, ident, clock, pages = sys.modules, _thread.get_ident, time.perf_counter_ns, os.sysconf
        free, recorder = _free_pages, self

        def _find_and_load(name, import_):
            if ident() != recorder._thread or name in modules:
                return original(name, import_)
            inner, depth = [0, 0], len(stack)
            stack.append(inner)
            used, began = pages(free), clock()
            try:
                module = original(name, import_)
            except BaseException:
                del stack[depth:]
                if stack:  # what it has imported stays, its own time is that of who has tried
                    stack[-1][0] += inner[0]
                    stack[-1][1] += inner[1]
                raise
            ns, used = clock() - began, used - pages(free)
            del stack[depth:]
            if stack:
                stack[-1][0] += ns
                stack[-1][1] += used
            if len(rows) < LIMIT and len(name) <= NAME_LIMIT:
                rows.append((name, depth, ns - inner[0], ns, used - inner[1]))
            else:
                recorder.left_out += 1
            return module

        # Tracebacks and warnings pass over the import system's own frames: over this one too.
        _find_and_load.__code__ = _find_and_load.__code__.replace(co_filename="<frozen importlib._bootstrap>")
        return _find_and_load

    def begin(self):
        self._thread = _thread.get_ident()
        bootstrap._find_and_load = self._hook

    def end(self):
        # A function may have put something of its own over the hook, which then does
        # nothing from here on.
        if bootstrap._find_and_load is self._hook:
            bootstrap._find_and_load = self._original
        self._thread = None
        self._stack.clear()

    def forget(self):
        self.rows.clear()
        self.left_out = 0

    def tell(self, installed, task_root, files):
        """Returns answer() for a function with files below task_root."""
        if not self.rows:
            return b"{}"
        try:
            if any(".dist-info/" in path or ".egg-info" in path for path in files):
                installed = installed | distributions([task_root])
            return self.answer(installed, {path.partition("/")[0].partition(".")[0] for path in files})
        except Exception:
            return b"{}"  # a hint, and the function is loaded

    def tell_run(self, installed, task_root):
        """Returns tell() for what the handler has imported: what the function came with is
        what lies there."""
        try:
            files = [name + "/" for name in os.listdir(task_root)] if self.rows else ()
        except OSError:
            files = ()
        return self.tell(installed, task_root, files)

    def answer(self, distributions, own):
        """Returns what there is of it as JSON and forgets it. distributions is by
        top-level module, own are the function's top-level modules."""
        if not self.rows:
            return b"{}"
        told, places, imports = [], {}, []
        for name, depth, self_ns, ns, pages in self.rows:
            top = name.partition(".")[0]
            d = distributions.get(top)
            if d is None:
                place = FUNCTION if top in own else RUNTIME
            elif (place := places.get(id(d))) is None:
                place = places[id(d)] = len(told)
                told.append(d)
            imports.append((name, place, depth, self_ns // 1000, ns // 1000, pages))
        document = {"distributions": told, "imports": imports, "left_out": self.left_out}
        self.forget()
        return json.dumps(document, separators=(",", ":")).encode()


def distributions(directories):
    """Returns the distributions that are installed there by the top-level modules that
    they bring, as importlib.metadata has it (whose import would take a hundred pages):
    {"name", "version", "requires"}. Of several with the same module it is the first."""
    found = {}
    for directory in directories:
        try:
            names = sorted(os.listdir(directory))
        except OSError:
            continue
        for name in names:
            if name.endswith((".dist-info", ".egg-info")):
                d = _metadata(f"{directory}/{name}")
                for module in _modules(f"{directory}/{name}", d) if d else ():
                    found.setdefault(module, d)
    return found


def _read(*paths):
    for path in paths:
        try:
            with open(path, encoding="utf-8", errors="replace") as f:
                return f.read().splitlines()
        except OSError:
            pass
    return []


def _metadata(path):
    fields, requires = {}, []
    for line in _read(f"{path}/METADATA", f"{path}/PKG-INFO", path):
        if not line:
            break  # its description follows
        key, _, value = line.partition(": ")
        if key == "Requires-Dist" and "extra ==" not in value:
            requires.append(_canonical(value))
        fields.setdefault(key, value.strip())
    if not fields.get("Name") or not fields.get("Version"):
        return None
    return {"name": fields["Name"], "version": fields["Version"], "requires": requires}


def _canonical(requirement):
    """The name in a requirement, as PEP 503 has it."""
    end = 0
    while end < len(requirement) and (requirement[end].isalnum() or requirement[end] in "._-"):
        end += 1
    return requirement[:end].lower().replace("_", "-").replace(".", "-")


def _modules(path, distribution):
    names = [line.strip() for line in _read(f"{path}/top_level.txt")]
    if not names:
        for line in _read(f"{path}/RECORD"):
            first, below, _ = line.partition(",")[0].partition("/")
            if below or first.endswith((".py", ".so")):
                names.append(first.partition(".")[0] if not below else first)
    names = {n for n in names if n.isidentifier() and n != "__pycache__"}
    return names or {_canonical(distribution["name"]).replace("-", "_")}
