# Fills memory when it is imported, so that its snapshot's file lies there, and then has
# the monitor look at all of it, again and again, for as long as it is let.
GIVE, GIVE_GPA, RANGES = 0x30, 20, 256
hoard = bytearray(os.urandom(24 << 20))
def handler(event, context):
    at = ctypes.addressof(ctypes.c_char.from_buffer(hoard))
    first, count = (at + 4095) // 4096, (len(hoard) - 4096) // 4096
    ctypes.memmove(control(GIVE_GPA), struct.pack("<QQ", first, count) * RANGES, 16 * RANGES)
    for i in range(event["rings"]): ring(GIVE, RANGES)
    return "done"
