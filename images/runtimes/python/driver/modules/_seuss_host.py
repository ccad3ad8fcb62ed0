"""How the module seuss asks the host: in one exit of the guest where that is possible, else by
HTTP. It raises OSErrors, and what is wrong with a request is in its answer."""

import os
import socket
import struct

import _seuss_protocol as _p

_free = []  # connections that nobody uses


class Unreachable(OSError):
    """Nobody is there."""


def _connection():
    while _free:
        sock = _free.pop()
        try:
            sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return sock  # nothing has come, not even its end
        except OSError:
            pass
        sock.close()  # this is another instance than the one that has opened it
    host, _, port = os.environ.get("SEUSS_API", "127.0.0.1:9002").rpartition(":")
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.connect((host, int(port)))
    except OSError as e:
        sock.close()
        raise Unreachable(e.errno, e.strerror) from None
    return sock


def ask(method, path, body=b""):
    """Returns (status, headers, body) of the answer; headers by their names in lower case."""
    sock = _connection()
    try:
        body = memoryview(body).cast("B")
        head = f"{method} {path} HTTP/1.1\r\nHost: seuss\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        if len(body) <= 65536:
            sock.sendall(head + body)
        else:
            sock.sendall(head)
            sock.sendall(body)
        answer = bytearray()
        while (end := answer.find(b"\r\n\r\n")) < 0:
            part = sock.recv(65536)
            if not part:
                raise ConnectionResetError("the host has ended the connection")
            answer += part
        status, *lines = str(answer[:end], "latin-1").split("\r\n")
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        length = 0 if method == "HEAD" else int(headers["content-length"])
        content = bytearray(length)
        got = min(length, len(answer) - end - 4)
        content[:got] = answer[end + 4:end + 4 + got]
        view = memoryview(content)
        while got < length:
            n = sock.recv_into(view[got:])
            if n == 0:
                raise ConnectionResetError("the host has ended the connection")
            got += n
        view.release()
    except BaseException:
        sock.close()
        raise
    if headers.get("connection") == "close":
        sock.close()
    else:
        _free.append(sock)
    return status.split(" ", 1)[1], headers, bytes(content)


# A frame is a request that an ioctl of a device takes to the host, and the answer, in its place
# when that returns. guest/abi/driver.h says what is where.
_IOCTL_HEAD = 8
_pack = struct.Struct("<IIBBHIQQQQ")  # the ioctl's head and the request's, or the answer's
_HEADS = _IOCTL_HEAD + _p.ASK_HEAD
_buffers = []  # that nobody uses
_ioctl = _device = None


def _open():
    global _ioctl, _device
    _device = -1
    try:
        from fcntl import ioctl as _ioctl

        _device = os.open("/dev/seuss/api", os.O_RDWR | os.O_CLOEXEC)
    except (ImportError, OSError):
        pass


def frame(what, key, value=b"", flags=0, at=0, version=0, token=0, thread=0):
    """Returns (size, version, body, how, at, id) of the answer, at and id being the place in a
    window; None: it is to be asked by HTTP, and nothing was done."""
    if _device is None:
        _open()
    if _device < 0:
        return None
    key = key.encode()
    middle = _HEADS + len(key)
    end = middle + len(value)
    if end > _IOCTL_HEAD + _p.API_BYTES:
        return None
    buffer = _buffers.pop() if _buffers else bytearray(_IOCTL_HEAD + _p.API_BYTES)
    try:
        _pack.pack_into(buffer, 0, end - _IOCTL_HEAD, _p.API_BYTES, _p.ASK_VERSION, what, flags, len(key), at, version, token, thread)
        buffer[_HEADS:middle] = key
        buffer[middle:end] = value
        _ioctl(_device, _p.API_IOCTL, buffer)
        length, _, form, how, _, _, size, version, at, id = _pack.unpack_from(buffer)
        if form != _p.ASK_VERSION or how == _p.ASK_LATER:
            return None
        return size, version, bytes(memoryview(buffer)[_HEADS:_IOCTL_HEAD + length]) if length > _p.ASK_HEAD else b"", how, at, id
    except (OSError, struct.error):
        return None  # nobody answers, or a number is none: HTTP says so
    finally:
        _buffers.append(buffer)


# A window is memory that the host has of a share, where values that are read often lie: what is
# there is read without asking. guest/abi/driver.h says how.
_OFTEN = 16  # gets of a share, after which its window is worth opening
_MOST = 4096  # places that are known
_STAMP, _ID, _VERSION, _SIZE = _p.WINDOW_STAMP, _p.WINDOW_ID, _p.WINDOW_VERSION, _p.WINDOW_SIZE
_gets = {}  # by share
_windows = {}  # (words, bytes) by share; None: it cannot be had
_places = {}  # (words, bytes, index of the head, offset of the value, id) by key


def seen(key):
    """Returns (bytes, version) of a value that is in its share's window; None: it is to be asked for."""
    place = _places.get(key)
    if place is None:
        return None
    words, memory, head, at, id = place
    stamp = words[head + _STAMP]
    if stamp & 1 or words[head + _ID] != id:
        _places.pop(key, None)  # another thread may have been here
        return None
    value = memory[at:at + words[head + _SIZE]]
    version = words[head + _VERSION]
    if words[head + _STAMP] != stamp or words[head + _ID] != id:
        return None  # it was written meanwhile
    return value, version


def often(key):
    """The flags with which a value is asked for that is in no window."""
    share = key.partition("/")[0]
    _gets[share] = n = _gets.get(share, 0) + 1
    return _p.ASK_SHOW if n > _OFTEN and _windows.get(share, True) else 0


def show(key, at, id):
    """Has a value that is in a window read from there from now on."""
    share = key.partition("/")[0]
    if share not in _windows:
        _windows[share] = _window(share)
    if (window := _windows[share]) and at + _p.WINDOW_HEAD <= len(window[1]):
        if len(_places) >= _MOST:
            _places.clear()
        _places[key] = (*window, at // 8, at + _p.WINDOW_HEAD, id)


def _window(share):
    import mmap

    try:
        fd = os.open(f"/dev/seuss/region/{share}%2F\x01", os.O_RDONLY | os.O_CLOEXEC)
        try:
            memory = mmap.mmap(fd, os.fstat(fd).st_size, prot=mmap.PROT_READ)
        finally:
            os.close(fd)
    except OSError:
        return None
    return memoryview(memory).cast("Q"), memory
