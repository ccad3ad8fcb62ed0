# What another user than root may do: as a function in a guest, and by itself as the oracle.
import errno, json, os, socket, stat, sys, threading


def attempt(call):
    try:
        value = call()
    except OSError as e:
        return errno.errorcode[e.errno]
    if isinstance(value, int) and not isinstance(value, bool) and value > 2:
        try:
            os.close(value)  # a descriptor
        except OSError:
            return value
        return "opened"
    return value if value is None or isinstance(value, (bool, int, str, list)) else list(value)


def prepare(base):
    os.umask(0o022)
    for name, mode, uid, gid in (
        ("private", 0o700, 0, 0), ("sticky", 0o1777, 0, 0), ("open", 0o777, 0, 0), ("mine", 0o755, 1000, 1000),
        ("grouped", 0o2775, 0, 1003), ("through", 0o711, 0, 0), ("listed", 0o744, 0, 0),
    ):
        os.mkdir(f"{base}/{name}")
        os.chown(f"{base}/{name}", uid, gid)
        os.chmod(f"{base}/{name}", mode)
    for name, mode, uid, gid in (
        ("private/x", 0o666, 0, 0), ("through/x", 0o644, 0, 0), ("listed/x", 0o644, 0, 0), ("sticky/x", 0o666, 0, 0), ("open/x", 0o600, 0, 0),
        ("shadow", 0o640, 0, 1003), ("shadow2", 0o640, 0, 1004), ("own", 0o200, 1000, 1000), ("others", 0o604, 1000, 0), ("set", 0o6777, 0, 1003),
        ("run", 0o711, 0, 0), ("norun", 0o644, 0, 0),
    ):
        with open(f"{base}/{name}", "w") as f:
            f.write("x")
        os.chown(f"{base}/{name}", uid, gid)
        os.chmod(f"{base}/{name}", mode)
    os.symlink("private/x", f"{base}/link")


def owner(path):
    st = os.stat(path)
    return [st.st_uid, st.st_gid, oct(stat.S_IMODE(st.st_mode))]


def calls(b):
    O = os
    yield "read private", lambda: O.open(f"{b}/private/x", O.O_RDONLY)
    yield "read through link", lambda: O.open(f"{b}/link", O.O_RDONLY)
    yield "readlink", lambda: O.readlink(f"{b}/link")
    yield "stat private", lambda: owner(f"{b}/private/x")
    yield "list private", lambda: O.listdir(f"{b}/private")
    yield "list through", lambda: O.listdir(f"{b}/through")
    yield "read through", lambda: O.open(f"{b}/through/x", O.O_RDONLY)
    yield "list listed", lambda: O.listdir(f"{b}/listed")
    yield "read listed", lambda: O.open(f"{b}/listed/x", O.O_RDONLY)
    for name in "shadow", "shadow2", "own", "others", "run", "norun", "set":
        for what, flag in ("r", O.O_RDONLY), ("w", O.O_WRONLY), ("rw", O.O_RDWR), ("trunc", O.O_RDONLY | O.O_TRUNC):
            yield f"open {name} {what}", lambda name=name, flag=flag: O.open(f"{b}/{name}", flag)
        for mode in 0, 1, 2, 4, 6:
            yield f"access {name} {mode}", lambda name=name, mode=mode: O.access(f"{b}/{name}", mode)
    yield "set-id bits of what was written", lambda: owner(f"{b}/set")
    yield "path only", lambda: O.open(f"{b}/open/x", O.O_PATH)
    yield "create", lambda: O.open(f"{b}/new", O.O_WRONLY | O.O_CREAT)
    yield "create mine", lambda: O.open(f"{b}/mine/new", O.O_RDWR | O.O_CREAT, 0o400)
    yield "its owner", lambda: owner(f"{b}/mine/new")
    yield "write it again", lambda: O.open(f"{b}/mine/new", O.O_WRONLY)
    yield "tmpfile", lambda: O.open(f"{b}/through", O.O_TMPFILE | O.O_RDWR)
    yield "mkdir", lambda: O.mkdir(f"{b}/dir")
    yield "mkdir there", lambda: O.mkdir(f"{b}/mine")
    yield "mkdir grouped", lambda: O.mkdir(f"{b}/grouped/dir")
    yield "owner grouped", lambda: owner(f"{b}/grouped/dir")
    yield "create grouped", lambda: O.open(f"{b}/grouped/file", O.O_WRONLY | O.O_CREAT, 0o644)
    yield "owner of that", lambda: owner(f"{b}/grouped/file")
    yield "symlink", lambda: O.symlink("x", f"{b}/s")
    yield "symlink mine", lambda: O.symlink("x", f"{b}/mine/s")
    yield "unlink", lambda: O.unlink(f"{b}/shadow")
    yield "unlink none", lambda: O.unlink(f"{b}/none")
    yield "unlink sticky", lambda: O.unlink(f"{b}/sticky/x")
    yield "unlink open", lambda: O.unlink(f"{b}/open/x")
    yield "rmdir", lambda: O.rmdir(f"{b}/private")
    yield "rename out", lambda: O.rename(f"{b}/own", f"{b}/mine/own")
    yield "rename sticky", lambda: O.rename(f"{b}/sticky/x", f"{b}/mine/x")
    yield "rename over sticky", lambda: O.rename(f"{b}/mine/s", f"{b}/sticky/x")
    yield "rename", lambda: O.rename(f"{b}/mine/s", f"{b}/open/s")
    yield "chmod", lambda: O.chmod(f"{b}/shadow", 0o666)
    yield "chmod own", lambda: O.chmod(f"{b}/own", 0o2755)
    yield "chmod others", lambda: O.chmod(f"{b}/others", 0o2755)
    yield "mode others", lambda: owner(f"{b}/others")
    yield "chown", lambda: O.chown(f"{b}/own", 1001, -1)
    yield "chown group", lambda: O.chown(f"{b}/own", -1, 1003)
    yield "chown foreign group", lambda: O.chown(f"{b}/own", -1, 1004)
    yield "owner own", lambda: owner(f"{b}/own")
    yield "chown none", lambda: O.chown(f"{b}/shadow", -1, -1)
    yield "utime", lambda: O.utime(f"{b}/shadow", (1, 1))
    yield "utime now", lambda: O.utime(f"{b}/shadow")
    yield "utime own", lambda: O.utime(f"{b}/own", (1, 1))
    yield "truncate", lambda: O.truncate(f"{b}/norun", 0)
    yield "chdir private", lambda: O.chdir(f"{b}/private")
    yield "chdir through", lambda: O.chdir(f"{b}/through")
    yield "cwd", lambda: O.getcwd() == f"{b}/through"
    yield "relative", lambda: O.open("x", O.O_RDONLY)
    yield "exec norun", lambda: O.execv(f"{b}/norun", ["x"])
    yield "exec private", lambda: O.execv(f"{b}/private/x", ["x"])
    yield "setuid 0", lambda: O.setuid(0)
    yield "setuid 1000", lambda: O.setuid(1000)
    yield "setgid 0", lambda: O.setgid(0)
    yield "setgroups", lambda: O.setgroups([0])
    yield "setresuid", lambda: O.setresuid(-1, 1001, -1)
    yield "setreuid", lambda: O.setreuid(1000, 1000)
    yield "ids", lambda: [O.getuid(), O.geteuid(), O.getgid(), O.getegid()]
    yield "groups", lambda: O.getgroups()
    yield "status", lambda: [l.split() for l in open("/proc/self/status") if l.split(":")[0] in ("Uid", "Gid", "Groups")]
    yield "socket", lambda: socket.socket(socket.AF_UNIX).bind(f"{b}/sock")
    yield "socket mine", lambda: socket.socket(socket.AF_UNIX).bind(f"{b}/mine/sock")


def handler(event, context=None):
    base = event["base"]
    os.makedirs(base, exist_ok=True)
    prepare(base)
    seen, go = [], threading.Event()

    def other():
        go.wait()
        seen.append(list(os.getresuid()) + list(os.getresgid()))

    thread = threading.Thread(target=other)
    thread.start()
    out = []
    os.setgroups([1003, 7])
    os.setresgid(1000, 1000, 1000)
    os.setresuid(1000, 1000, 0)
    out.append(["as 1000", attempt(lambda: os.open(f"{base}/private/x", os.O_RDONLY))])
    os.seteuid(0)
    out.append(["root again", attempt(lambda: os.open(f"{base}/private/x", os.O_RDONLY))])
    out.append(["access asks the real id", os.access(f"{base}/private/x", 4), os.access(f"{base}/private/x", 4, effective_ids=True)])
    os.setresuid(1000, 1000, 1000)
    go.set()
    thread.join()
    out.append(["thread", seen])
    for name, call in calls(base):
        out.append([name, attempt(call)])
    return out


if __name__ == "__main__":
    print(json.dumps(handler({"base": sys.argv[1]})))
