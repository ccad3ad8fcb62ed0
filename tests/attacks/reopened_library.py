# Opens a library, closes it, opens it again and uses it.
import _ctypes, ctypes
def handler(event, context):
    out = []
    for round in range(3):
        for name in ("libsqlite3.so.0", "libssl.so.3", "libz.so.1"):
            try:
                library = ctypes.CDLL(name)
            except OSError as e:
                out.append(str(e))
                continue
            if name == "libsqlite3.so.0":
                library.sqlite3_libversion.restype = ctypes.c_char_p
                assert library.sqlite3_initialize() == 0 and library.sqlite3_libversion()
            if name == "libz.so.1":
                assert library.crc32(0, b"123456789", 9) & 0xFFFFFFFF == 0xCBF43926
            _ctypes.dlclose(library._handle)
    return out
