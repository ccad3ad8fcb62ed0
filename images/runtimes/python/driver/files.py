"""Files that the host puts into the instance and takes out of it: small steps, each of
which does a little. What one does wrong is its own answer's; none touches the runtime."""

import binascii
import os
import stat

_MOST_ENTRIES = 20_000  # of a directory, in one answer


def _describe(path, name):
    s = os.lstat(path)
    kind = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "link"}.get(stat.S_IFMT(s.st_mode), "other")
    entry = {"name": name, "type": kind, "mode": stat.S_IMODE(s.st_mode), "size": s.st_size, "time": int(s.st_mtime)}
    if kind == "link":
        entry["link"] = os.readlink(path)
    return entry


def _list(path):
    names = os.listdir(path)
    if len(names) > _MOST_ENTRIES:
        raise ValueError(f"{path} has {len(names)} entries, at most {_MOST_ENTRIES} are told at once")
    return {"entries": [_describe(f"{path}/{name}", name) for name in sorted(names)]}


def _read(step):
    with open(step["path"], "rb") as f:
        f.seek(step.get("at", 0))
        return {"data": binascii.b2a_base64(f.read(step["bytes"]), newline=False).decode()}


def _write(step):
    path, at = step["path"], step.get("at", 0)
    if at == 0 and os.path.islink(path):
        os.unlink(path)
    with open(path, "r+b" if at else "wb") as f:
        f.seek(at)
        f.write(binascii.a2b_base64(step.get("data", "")))
    if at == 0:
        os.chmod(path, step["mode"])
    return {}


def _make(step):
    path = step["path"]
    if not os.path.isdir(path):
        os.mkdir(path)
        os.chmod(path, step["mode"])
    return {}


def _link(step):
    try:
        os.unlink(step["path"])
    except FileNotFoundError:
        pass
    os.symlink(step["link"], step["path"])
    return {}


_STEPS = {
    "stat": lambda step: {"entries": [_describe(step["path"], "")]},
    "follow": lambda step: {"entries": [_describe(os.path.realpath(step["path"]), "")]},
    "list": lambda step: _list(step["path"]),
    "read": _read, "write": _write, "make": _make, "link": _link,
}


def run(steps):
    """Returns what came of each step, up to the first that failed."""
    answers = []
    for step in steps:
        try:
            answers.append(_STEPS[step["do"]](step))
        except (OSError, ValueError, UnicodeError) as e:
            answers.append({"error": e.strerror or str(e) if isinstance(e, OSError) else str(e)})
            break
    return answers
