/*
 * stub.h: the contract between the monitor's process platform and the stub
 * that runs a guest in a process of its own.
 *
 * The stub's code and one shared area lie above all guest memory, at the same
 * addresses in every stub process. The area is mapped by both sides. While the
 * guest runs it can write there as well: the monitor trusts nothing in it until
 * the stub is known to be parked, which the kernel itself attests (seccomp.go).
 * Fields are marked IN (monitor writes) or OUT (stub writes). The Go side is
 * generated from this file by `go generate ./vmm/platform/process/stub`.
 */
#ifndef SEUSS_STUB_H
#define SEUSS_STUB_H

#define ABI_TEXT 0x10000000000   /* the stub's code, read and execute only */
#define ABI_TEXT_SIZE 0x10000
#define ABI_SHARED 0x10000010000 /* struct abi_area, then what follows */
#define ABI_SHARED_SIZE 0x10000
#define ABI_XSAVE_OFFSET 0x2000  /* extended state of the guest, standard format */
#define ABI_XSAVE_MAX 0x3000
#define ABI_STACK_OFFSET 0x8000  /* top of the stub's stack, which begins behind the extended state */
#define ABI_SIGNAL_OFFSET 0x8000 /* alternate signal stack */
#define ABI_SIGNAL_SIZE 0x8000

/* File descriptors of the stub. Once it is sealed none is open, but for those
 * that the monitor lends it for a moment: see seccomp.go. */
#define ABI_FD_MEMORY 3 /* guest memory, until it is mapped */
#define ABI_FD_AREA 4   /* the shared area, until it is mapped */
#define ABI_FD_SOCKET 5 /* carries the notification descriptor out, until sealed */
#define ABI_FD_WINDOW 8 /* first of those that the monitor lends for a batch of mappings */
#define ABI_WINDOW_FDS 16

/* abi_area.turn: whose turn it is. */
#define ABI_TURN_MONITOR 0 /* the stub waits, spinning */
#define ABI_TURN_STUB 1
#define ABI_TURN_PARKED 2  /* the stub waits in the kernel */

/* abi_area.command */
#define ABI_COMMAND_PARK 0  /* go to wait in the kernel at once */
#define ABI_COMMAND_RUN 1   /* load the registers and enter the guest */
#define ABI_COMMAND_CALLS 2 /* make abi_area.calls */
#define ABI_COMMAND_SAVE 3  /* put the extended state into the area, if it is in the CPU */

/* abi_area.reason: why the stub gave the turn back. */
#define ABI_REASON_DONE 1        /* the calls are made, the state is saved */
#define ABI_REASON_DEVICE 2      /* the guest called device_store: device_offset, device_value */
#define ABI_REASON_SIGNAL 3      /* a fault of the guest: signal, trap, error, address */
#define ABI_REASON_INTERRUPTED 4 /* kicked */
#define ABI_REASON_BROKEN 5      /* a fault within the stub: what it was to load was refused */

#define ABI_CALLS 64

#ifndef __ASSEMBLER__
#include <stddef.h>
#include <stdint.h>

struct abi_call {
	uint64_t number;  /* IN */
	uint64_t args[6]; /* IN */
	int64_t result;   /* OUT as the kernel returns it */
};

struct abi_area {
	/* Words that both sides watch. */
	uint32_t turn;
	uint32_t asleep;  /* IN  the monitor sleeps: park when giving the turn back */
	uint32_t kick;    /* IN  do not enter the guest */
	uint32_t signalled; /* IN the signal of a kick is under way, until the stub takes it */
	uint32_t command; /* IN */
	uint32_t sealed;  /* IN  the filter is in place: parking works */
	uint64_t spin;    /* IN  time-stamp counter ticks to spin before parking */

	/* What it needs to know of the guest. */
	uint64_t xsave_mask;
	uint64_t xsave_bytes;
	uint64_t syscall_entry; /* LSTAR */

	/* Why it stopped. */
	uint32_t reason;
	uint32_t signal;
	uint64_t trap, error, address;
	uint64_t device_offset, device_value;

	/* The guest's registers, in the order of the monitor's. */
	uint64_t rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp;
	uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
	uint64_t rip, rflags, fs_base, gs_base;
	uint16_t ds, es, fs, gs; /* selectors */
	uint32_t load_segments;  /* IN  load those, too: a fresh instance has none of the old one's */
	uint32_t reserved;
	uint32_t load_xsave; /* the extended state is in the area, not in the CPU */
	uint32_t call_count;
	struct abi_call calls[ABI_CALLS];
	uint8_t usage[144]; /* OUT struct rusage */
};

_Static_assert(sizeof(struct abi_area) <= ABI_XSAVE_OFFSET, "abi_area");

#define AREA ((volatile struct abi_area *)ABI_SHARED)
#endif
#endif
