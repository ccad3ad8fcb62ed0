/*
 * kernel.h: the contract between the monitor (host, Go) and the kernel library
 * (guest, C and assembly): memory map, doorbells, shared pages.
 *
 * Every address, register, structure and constant that both sides use is here
 * and nowhere else. The Go side (guest/abi_kernel_gen.go) is generated from this file
 * by `go generate ./guest`; assembly includes it for the #defines. It includes
 * nothing but stdint.h and stddef.h. Fields are marked IN (host writes, guest
 * reads) or OUT (guest writes, host reads and does not trust). All integers
 * are little endian; all addresses are guest-physical, which in this flat,
 * identity-mapped guest equals virtual.
 *
 * Each side refuses another version: the monitor reads the kernel library's from
 * struct abi_entries and, before that, from the header of the image that holds it
 * (image.h); the kernel library reads the monitor's from struct abi_boot.
 */
#ifndef SEUSS_ABI_KERNEL_H
#define SEUSS_ABI_KERNEL_H

#define ABI_KERNEL_VERSION 4

/* ---- Guest-physical memory map ----------------------------------------- */

#define ABI_PAGE_SIZE 0x1000
#define ABI_LOW_GPA 0x10000      /* below it nothing is mapped: null pointers fault, and Linux
                                  * lets no unprivileged process map it (vm.mmap_min_addr) */
#define ABI_BOOT_GPA 0x11000      /* struct abi_boot, written once at cold boot */
#define ABI_IDENTITY_GPA 0x12000  /* struct abi_identity, fresh at every restore */
#define ABI_CONTROL_GPA 0x13000   /* struct abi_control */
#define ABI_GDT_GPA 0x14000       /* GDT; the TSS follows at ABI_TSS_GPA */
#define ABI_TSS_GPA 0x14800
#define ABI_IDT_GPA 0x15000       /* 256 gates of 16 bytes */
#define ABI_PML4_GPA 0x16000
#define ABI_PDPT_GPA 0x17000
#define ABI_GUARDS_GPA 0x18000    /* struct abi_guards */
#define ABI_PD_DEVICE_GPA 0x19000 /* page directory of the device window */
#define ABI_PD_GPA 0x1a000        /* ABI_MAX_GIB page directories: an entry names its table at
                                   * abi_boot.tables_gpa, or maps the same 2 MiB itself, read-only, where
                                   * the table's entries say no more; nothing but these two ever changes */
#define ABI_MAX_GIB 8            /* RAM and root image together */
#define ABI_ARGS_GPA 0x22000     /* argv then envp, NUL-terminated strings */
#define ABI_ARGS_SIZE 0xe000
#define ABI_KERNEL_GPA 0x30000   /* the kernel library is linked here ... */
#define ABI_PROGRAM_GPA 0x400000 /* ... and ends below the first ET_EXEC program */

/* The device window: mapped by the guest's page tables, backed by no memslot,
 * so a store exits to the monitor on every KVM. It lies at 511 GiB. */
#define ABI_DEVICE_GPA 0x7fc0000000
#define ABI_DEVICE_SIZE 0x2000
#define ABI_DOORBELL_GPA 0x7fc0000000
#define ABI_VSOCK_MMIO_GPA 0x7fc0001000 /* virtio-mmio v2 registers, virtio-vsock */
#define ABI_VSOCK_MAGIC 0x74726976      /* their MagicValue, VIRTIO 1.2, section 4.2.2: "virt" */
#define ABI_VSOCK_VERSION 2             /* their Version */

/* The far window: addresses, not memory. What a program sets aside and RAM cannot
 * hold lies here; parts that it opens are pages of RAM, mapped here a second time
 * (struct abi_far). The window is a number of whole entries of the PML4. Its page
 * tables are the monitor's: they lie behind all memory and are no part of a snapshot. */
#define ABI_FAR_BASE 0x100000000000
#define ABI_FAR_BYTES 0x100000000000 /* 16 TiB, up to 32 TiB */
#define ABI_FAR_TABLES_GPA 0x200000000 /* at ABI_MAX_GIB: first the table of each PML4 entry */
#define ABI_FAR_TABLES_BYTES 0x4000000

/* Its last 4 TiB are for regions, memory that guests share (struct abi_region). */
#define ABI_REGION_BASE 0x1c0000000000
#define ABI_REGION_WINDOW 0x40000000000

/* Doorbell registers: a 4-byte store at ABI_DOORBELL_GPA + offset. */
#define ABI_DOORBELL_IDLE 0x00    /* nothing runnable; service queues, wake at control.deadline_ns */
#define ABI_DOORBELL_CONSOLE 0x08 /* the console ring is full: drain it */
#define ABI_DOORBELL_EXIT 0x10    /* exit_group(value) */
#define ABI_DOORBELL_FAULT 0x18   /* the program died; struct abi_fault at control.fault_gpa, value = signal */
#define ABI_DOORBELL_CR2 0x28     /* an 8-byte load: the last page fault's address, which CPL 3 cannot read */
#define ABI_DOORBELL_GIVE 0x30    /* value: how many ranges at control.give_gpa hold nothing that counts:
                                   * afterwards they are zero, and their memory is the host's where it can be */
#define ABI_DOORBELL_OFFER 0x38   /* the same for memory that is free; of each range the monitor leaves what it
                                   * keeps, which is as it was, and count 0 if that is nothing */
#define ABI_DOORBELL_PROTECT 0x40 /* pages at control.protect may be used for less than before: whoever keeps
                                   * copies of their entries looks at them anew */
#define ABI_DOORBELL_FAR 0x48     /* the list of far mappings has changed: map what it says */
#define ABI_DOORBELL_REGION 0x50  /* struct abi_region_call at control.region_call_gpa: do what it asks for */
#define ABI_DOORBELL_CONTENT 0x58 /* struct abi_content_call at control.content_gpa: put there what it asks for */
#define ABI_DOORBELL_API 0x60     /* struct abi_api_call at control.api_gpa: answer it */
#define ABI_DOORBELL_PANIC 0x20   /* the kernel library gives up; message at control.panic_gpa */

/* ---- The way into the machine ---------------------------------------------
 *
 * A stream of the monitor to ABI_INBOUND_PORT + n of the guest is a connection from
 * 127.0.0.1 to TCP port n: of a listener there, for IPv4 or else for ::1. Where there
 * is none, or its queue is full, the stream is reset. abi_control says who listens.
 */
#define ABI_INBOUND_PORT 0x5e550000
#define ABI_INBOUND_PORTS 0x10000

/* What abi_control says of standard input. */
#define ABI_INPUT_TAKEN 0x0fffffff  /* bytes that were read of it, of which these bits are left */
#define ABI_INPUT_WAITED 0x40000000 /* there is none, and a thread waits for some, in read, poll, select or epoll_wait */
#define ABI_INPUT_OPEN 0x80000000   /* its stream is open: what is sent is read some time */

#define ABI_LISTENERS_MAX 32
#define ABI_LISTENER_WAITED 1 /* a thread waits for its connections: in accept, poll, select or epoll_wait */
#define ABI_LISTENER_INBOUND 2 /* a connection to its port would reach it */

/* ---- The way out of the machine ------------------------------------------
 *
 * A socket that leaves the machine is a stream to ABI_NET_PORT of CID 2. It
 * begins with a struct abi_net_request. ABI_NET_KIND_STREAM is answered by a uint32_t:
 * 0, after which the stream is that of the TCP connection, or an errno, after
 * which it ends. ABI_NET_KIND_DATAGRAM is not answered: struct abi_net_datagram, each
 * with its payload behind it, then go both ways. The monitor resets streams of a
 * machine that has no way out.
 */
#define ABI_NET_PORT 2
#define ABI_NET_KIND_STREAM 1
#define ABI_NET_KIND_DATAGRAM 2
#define ABI_NET_DATAGRAM_BYTES 4096 /* longest payload */
#define ABI_NET_DNS_PORT 53         /* of any address: the monitor's own resolver answers */

/* ---- Contracts with programs -----------------------------------------------
 *
 * A program that is no driver says in a way of its own that it is ready, and the kernel
 * library tells the monitor with a stream to a port of CID 2. That stream is in the
 * snapshot, and the request comes on it.
 *
 * ABI_STDIN_PORT: the program reads its standard input, or asks whether it could, for the
 * first time. What comes on the stream is what it reads, and the stream's end is its end.
 * A monitor that resets the stream has none: the input is empty, as /dev/null is.
 *
 * ABI_RUNTIME_API_PORT: the program connects to ABI_RUNTIME_API_TCP of loopback, where
 * nobody in the guest listens. The stream is that of the connection, from its first byte.
 * A monitor that resets it at once has refused the connection.
 *
 * ABI_FUNCTION_API_PORT: the same for ABI_FUNCTION_API_TCP, where functions of any contract
 * reach what they share and call (docs/state.md).
 */
#define ABI_STDIN_PORT 3
#define ABI_RUNTIME_API_PORT 4
#define ABI_RUNTIME_API_TCP 9001 /* AWS's runtime interface emulator has it there */
#define ABI_FUNCTION_API_PORT 5
#define ABI_FUNCTION_API_TCP 9002

/* ---- Segments and control bits ------------------------------------------ */

#define ABI_SEL_CODE0 0x08 /* ring 0 code; STAR points here on hardware KVM */
#define ABI_SEL_DATA0 0x10
#define ABI_SEL_DATA3 0x1b /* ring 3, RPL 3 */
#define ABI_SEL_CODE3 0x23
#define ABI_SEL_TSS 0x28

#define ABI_ENTRIES_MAGIC 0x5952544e45535553 /* "SUSENTRY" */
#define ABI_FEATURE_DIRECTORY 1 /* abi_boot.dirc */
#define ABI_FEATURE_USER 2      /* abi_boot.uid, gid, groupc */

#define ABI_EXCEPTIONS 32           /* vectors that have a stub ... */
#define ABI_EXCEPTION_STUB_BYTES 16 /* ... so far apart, from abi_entries.exceptions */

/* abi_frame.vector of what is no exception. */
#define ABI_VEC_SYSCALL 256
#define ABI_VEC_UPCALL 257

/* Offsets that assembly needs; asserted below. */
#define ABI_IDENTITY_SET_BASE 120
#define ABI_CONTROL_UPCALL_RIP 136
#define ABI_CONTROL_UPCALL_RSP 144
#define ABI_CONTROL_UPCALL_RFLAGS 152

#define ABI_IST_STACK 1 /* exceptions use this IST slot: the program's red zone survives */
#define ABI_TSS_IST1 36 /* where the TSS has it, SDM vol. 3, 8.7 */

#ifndef __ASSEMBLER__
#include <stddef.h>
#include <stdint.h>

/* ---- Boot information --------------------------------------------------- */

/* Table at ABI_KERNEL_GPA: where the monitor enters the kernel library. */
struct abi_entries {
	uint64_t magic;       /* OUT ABI_ENTRIES_MAGIC */
	uint32_t abi_version; /* OUT ABI_KERNEL_VERSION */
	uint32_t features;    /* OUT ABI_FEATURE_*: what of struct abi_boot it honours beyond argc and envc */
	uint64_t boot;        /* OUT first instruction at cold boot */
	uint64_t syscall;     /* OUT LSTAR */
	uint64_t exceptions;  /* OUT ABI_EXCEPTIONS stubs, by vector */
	uint64_t kernel_end;  /* OUT kernel library is [ABI_KERNEL_GPA, kernel_end) */
	uint64_t data;        /* OUT nothing below it, a page, is ever written */
};

#define ABI_BOOT_MAGIC 0x544f4f4253535545 /* "EUSSBOOT" */
#define ABI_GROUPS_MAX 32

struct abi_boot {
	uint64_t magic;       /* IN  ABI_BOOT_MAGIC */
	uint32_t abi_version; /* IN  ABI_KERNEL_VERSION */
	uint32_t argc;        /* IN  strings in ABI_ARGS_GPA that are argv */
	uint32_t envc;        /* IN  strings that follow and are envp */
	uint32_t dirc;        /* IN  1: the string behind them is the working directory; 0: it is the root */
	uint64_t xsave_mask;  /* IN  components that XSAVE saves; XCR0 may hold more */
	uint64_t ram_bytes;   /* IN  RAM is [ABI_LOW_GPA, ram_bytes) */
	uint64_t image_gpa;   /* IN  root image, ABI_IMAGE_ALIGN aligned, above RAM */
	uint64_t image_bytes; /* IN */
	uint64_t tables_gpa;  /* IN  page table entries, 8 bytes for each page of RAM and image, in order */
	uint32_t uid;         /* IN  whom the program runs as; 0: root */
	uint32_t gid;         /* IN */
	uint32_t groupc;      /* IN  how many further groups it is in */
	uint32_t reserved;
	uint32_t groups[ABI_GROUPS_MAX]; /* IN */
};

/* Page table entries. Accessed and dirty are set from the start, so that the CPU
 * never writes to the tables. */
#define ABI_PTE_PRESENT 1
#define ABI_PTE_WRITABLE 2
#define ABI_PTE_BITS 0x67 /* present, writable, for all levels, accessed, dirty */
#define ABI_PTE_TABLE 0x27 /* the same of a directory's entry that names a table */
#define ABI_PTE_LARGE 0x80 /* a directory's entry maps 2 MiB */

/* ---- Identity page: what makes a clone itself --------------------------- */

struct abi_identity {
	uint64_t generation;  /* IN  changes at every restore, never 0 */
	uint8_t entropy[64];  /* IN  fresh from the host's getrandom */
	uint64_t wall_ns;     /* IN  CLOCK_REALTIME at tsc, ns since 1970 */
	uint64_t mono_ns;     /* IN  CLOCK_MONOTONIC at tsc, ns; continues over a capture */
	uint64_t tsc;         /* IN  time-stamp counter at which the two hold */
	uint64_t tsc_mult;    /* IN  ns = (tsc delta * tsc_mult) >> 32 */
	uint32_t cid;         /* IN  vsock context id */
	uint32_t protect;     /* IN  != 0: ring ABI_DOORBELL_PROTECT whenever pages may be used for less */
	uint64_t device_store; /* IN  0, or code to call in place of a 4-byte store to the device
	                        * window: edx = offset in the window, eax = value, all registers kept */
	uint64_t set_base;     /* IN  0, or code to call in place of wrfsbase and wrgsbase: edi =
	                        * ARCH_SET_FS or ARCH_SET_GS, rsi = value; rax, rcx and r11 are lost */
	uint64_t api;          /* IN  != 0: ABI_DOORBELL_API is answered */
};

/* ---- Control page: live words shared while the guest runs --------------- */

struct abi_range { /* of pages */
	uint64_t first; /* OUT; IN after ABI_DOORBELL_OFFER */
	uint64_t count; /* OUT; IN after ABI_DOORBELL_OFFER */
};

struct abi_purity { /* outside input seen since boot; the host takes differences */
	uint64_t entropy; /* OUT getrandom, /dev/urandom reads */
	uint64_t clock;   /* OUT clock reads by the program */
	uint64_t socket;  /* OUT receives on sockets other than the driver's */
};

struct abi_listener { /* a TCP socket that listens */
	uint16_t port;   /* OUT */
	uint16_t flags;  /* OUT ABI_LISTENER_* */
	uint32_t queued; /* OUT connections that wait to be accepted */
};

struct abi_control {
	/* Set once by the kernel library before the first IDLE. */
	uint64_t kernel_end;   /* OUT kernel library is [ABI_KERNEL_GPA, kernel_end) */
	uint64_t upcall_entry; /* OUT where a kick outside the kernel library continues */
	uint64_t used_bitmap;  /* OUT GPA, one bit a RAM page: allocated */
	uint64_t clean_bitmap; /* OUT GPA, one bit a RAM page: known to be zero; free, or set aside and never touched */
	uint64_t bitmap_pages; /* OUT bits in each bitmap */
	uint64_t console_gpa;  /* OUT ring of ABI_CONSOLE_BYTES */
	uint64_t fault_gpa;    /* OUT struct abi_fault */
	uint64_t panic_gpa;    /* OUT NUL-terminated text */
	uint64_t enosys_gpa;   /* OUT uint32_t[ABI_SYSCALLS]: unsupported calls by number */

	/* Live. */
	uint64_t console_head; /* OUT bytes ever written to the ring */
	uint64_t console_tail; /* IN  bytes ever taken from the ring */
	uint64_t deadline_ns;  /* OUT earliest timer, monotonic ns; 0 = none */
	uint32_t runnable;     /* OUT threads that wait for the CPU: != 0 asks for preemption */
	uint32_t attention;    /* IN  != 0: look at queues and timers before returning to the program */
	uint32_t tid;          /* OUT thread that runs */
	uint32_t driver_port;  /* IN  vsock port of the driver's own stream, outside the purity count */
	struct abi_purity purity;

	/* Upcall frame, written by the host together with RIP = upcall_entry. */
	uint64_t upcall_rip;    /* IN */
	uint64_t upcall_rsp;    /* IN */
	uint64_t upcall_rflags; /* IN */

	uint64_t give_gpa; /* OUT struct abi_range[ABI_GIVE_RANGES], set once */
	struct abi_range protect; /* OUT see ABI_DOORBELL_PROTECT */

	uint64_t far_gpa;   /* OUT struct abi_far[ABI_FAR_MAX], set once */
	uint32_t far_count; /* OUT how many of them count */
	uint32_t far_used;  /* OUT != 0: some have at some time */

	/* As of the last ABI_DOORBELL_IDLE. */
	uint32_t listener_count; /* OUT how many of them count; those that find no room are missing */
	uint32_t input;          /* OUT ABI_INPUT_*: of descriptor 0; kernel libraries of earlier releases leave it zero */
	struct abi_listener listeners[ABI_LISTENERS_MAX]; /* OUT */

	/* Kernel libraries before there were regions leave these zero. */
	uint64_t region_gpa;      /* OUT struct abi_region[ABI_REGIONS_MAX], set once */
	uint64_t region_call_gpa; /* OUT struct abi_region_call, set once */
	uint32_t region_count;    /* OUT how many regions[] count */
	uint32_t regions_opened;  /* OUT how often one was: outside input, as purity counts it */

	uint64_t content_gpa; /* OUT struct abi_content_call, once one was made; 0 before */

	uint64_t api_gpa; /* OUT struct abi_api_call, once one was made; 0 before */
};

#define ABI_GIVE_RANGES 256

/* ---- Guards: pages that nothing may touch ----------------------------------
 *
 * The page tables say so; this list says where to look. It is part of every
 * snapshot: whoever moves a machine to another node learns from it what the
 * machine has to lose access to. */

#define ABI_GUARDS_MAX 255

struct abi_guards {
	uint32_t count;    /* OUT */
	uint32_t reserved;
	uint64_t reserved2;
	struct abi_range ranges[ABI_GUARDS_MAX]; /* OUT not in order, not overlapping */
};

/* ---- Far mappings: pages of RAM in the far window ----------------------------
 *
 * The monitor maps what the list says, when ABI_DOORBELL_FAR is rung and after every
 * restore. The pages are ordinary RAM otherwise. */

#define ABI_FAR_MAX 680

struct abi_far { /* consecutive pages, in ascending order, not overlapping */
	uint64_t first; /* OUT page in the far window: address / ABI_PAGE_SIZE */
	uint64_t ram;   /* OUT page of RAM */
	uint32_t count; /* OUT pages */
	uint32_t open;  /* OUT != 0: mapped; 0: PROT_NONE, content kept */
};

/* ---- Regions: memory that guests share -----------------------------------------
 *
 * A region has a name and a size, and belongs to the host: its pages are no part of this
 * machine's memory, nor of a snapshot. What is mapped, and where, is in a list in the
 * machine's memory, and so in every snapshot: the monitor opens and maps what the list
 * names when a machine begins as an instance, and when ABI_REGION_MAP asks for it. Who may
 * open what is the monitor's affair, each time. */

#define ABI_REGIONS_MAX 256
#define ABI_REGION_NAME_MAX 224
#define ABI_REGION_PAGES_MAX 0x400000 /* of all mappings of a machine: 16 GiB */

#define ABI_REGION_WRITE 1  /* for writing; else for reading alone */
#define ABI_REGION_CREATE 2 /* of a call: make it, if there is none and size is not 0 */
#define ABI_REGION_EXCL 4   /* of a call, with ABI_REGION_CREATE: there must be none */

struct abi_region { /* a mapping; they do not overlap */
	uint64_t first;      /* OUT page in the far window, behind ABI_REGION_BASE */
	uint64_t count;      /* OUT pages */
	uint64_t offset;     /* OUT page of the region */
	uint32_t flags;      /* OUT ABI_REGION_WRITE */
	uint32_t name_bytes; /* OUT */
	uint8_t name[ABI_REGION_NAME_MAX]; /* OUT any bytes but NUL and '/' */
};

/* Of a call. */
#define ABI_REGION_OPEN 1   /* name, flags, size: may it be opened so? size is then the region's */
#define ABI_REGION_MAP 2    /* make what is mapped what the list says now, all of it or nothing new */
#define ABI_REGION_SYNC 3   /* name, offset, size in bytes: what was written there is to be kept */
#define ABI_REGION_REMOVE 4 /* name: it is gone for whoever opens it next */

struct abi_region_call {
	uint32_t what;       /* OUT ABI_REGION_OPEN ... */
	uint32_t flags;      /* OUT */
	uint64_t size;       /* OUT; IN */
	uint64_t offset;     /* OUT */
	int32_t result;      /* IN  0, or an errno below 0 */
	uint32_t name_bytes; /* OUT */
	uint8_t name[ABI_REGION_NAME_MAX]; /* OUT */
};

/* ---- Content of the image that is not mapped --------------------------------------
 *
 * It never changes, so what was read of it is as good after a restore. */

#define ABI_CONTENT_BYTES 0x10000 /* at once, at most */

struct abi_content_call {
	uint64_t offset; /* OUT in the image, page aligned */
	uint64_t bytes;  /* OUT page multiple; what lies behind the image's end is zero */
	uint64_t gpa;    /* OUT whole pages of RAM */
};

/* ---- The function's API in one exit -------------------------------------------
 *
 * What a function finds at ABI_FUNCTION_API_TCP it may also ask by an ioctl of a file, and
 * has the answer when that returns; driver.h says what the bytes mean. A
 * request that would have to wait is answered so at once. Nobody waits in the exit. */

struct abi_api_call { /* the request's bytes follow, then the answer's in their place */
	uint32_t bytes;  /* OUT of the request; IN of the answer */
	uint32_t room;   /* OUT that an answer may have, at most ABI_API_BYTES */
	int32_t result;  /* IN  0, or an errno below 0: nobody answers */
	uint32_t reserved;
};

struct abi_api_request { /* what ABI_API_IOCTL takes; the request's bytes follow, then the answer's in their place */
	uint32_t bytes; /* of the request; then of the answer */
	uint32_t room;  /* that an answer may have */
};

#define ABI_SYSCALLS 512

/* ---- The way out of the machine ------------------------------------------ */

struct abi_net_request {
	uint8_t kind;     /* OUT ABI_NET_KIND_STREAM or ABI_NET_KIND_DATAGRAM */
	uint8_t reserved; /* OUT 0 */
	uint16_t port;    /* OUT of a stream, host order */
	uint8_t addr[16]; /* OUT of a stream: IPv6, or IPv4 mapped into it */
};

struct abi_net_datagram {
	uint8_t addr[16]; /* OUT whom it is for; IN whom it is from */
	uint16_t port;    /* OUT; IN */
	uint16_t bytes;   /* OUT; IN that follow */
};

/* ---- Console ------------------------------------------------------------ */

#define ABI_CONSOLE_BYTES 0x10000

/* A record in the console ring; len bytes follow, records may wrap. */
struct abi_console_record {
	uint16_t fd;  /* OUT 1 or 2; 0 = the kernel library's own messages */
	uint16_t len; /* OUT bytes that follow */
};

/* ---- Fault report --------------------------------------------------------- */

/* General registers in the order in which the guest's entry code pushes them. */
struct abi_frame {
	uint64_t r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8;
	uint64_t rax, rcx, rdx, rsi, rdi;
	uint64_t vector, error; /* exception vector and error code; syscall: number, 0 */
	uint64_t rip, cs, rflags, rsp, ss;
};

struct abi_fault {
	uint32_t signal;   /* OUT Linux signal number that killed the program */
	uint32_t tid;      /* OUT */
	uint64_t address;  /* OUT CR2 for a page fault */
	struct abi_frame frame; /* OUT */
	uint64_t fs_base;  /* OUT */
};

/* ---- Layout that must not move ------------------------------------------ */

_Static_assert(offsetof(struct abi_entries, abi_version) == 8, "abi_entries, whose version every monitor must find");
_Static_assert(offsetof(struct abi_entries, syscall) == 24, "abi_entries, at which images' trampolines jump");
_Static_assert(sizeof(struct abi_entries) == 56, "abi_entries");
_Static_assert(offsetof(struct abi_boot, abi_version) == 8, "abi_boot, whose version every kernel library must find");
_Static_assert(sizeof(struct abi_boot) == 208, "abi_boot");
_Static_assert(offsetof(struct abi_identity, wall_ns) == 72, "abi_identity");
_Static_assert(offsetof(struct abi_identity, set_base) == ABI_IDENTITY_SET_BASE, "set_base");
_Static_assert(sizeof(struct abi_identity) == 136, "abi_identity");
_Static_assert(offsetof(struct abi_control, console_head) == 72, "abi_control");
_Static_assert(offsetof(struct abi_control, upcall_rip) == ABI_CONTROL_UPCALL_RIP, "upcall_rip");
_Static_assert(offsetof(struct abi_control, upcall_rsp) == ABI_CONTROL_UPCALL_RSP, "upcall_rsp");
_Static_assert(offsetof(struct abi_control, upcall_rflags) == ABI_CONTROL_UPCALL_RFLAGS, "upcall_rflags");
_Static_assert(offsetof(struct abi_control, give_gpa) == 160, "give_gpa");
_Static_assert(offsetof(struct abi_control, listener_count) == 200, "listener_count");
_Static_assert(sizeof(struct abi_listener) == 8, "abi_listener");
_Static_assert(offsetof(struct abi_control, region_gpa) == 464 && sizeof(struct abi_control) == 504, "abi_control");
_Static_assert(sizeof(struct abi_region) == 256 && sizeof(struct abi_region_call) == 256, "abi_region");
_Static_assert(ABI_REGION_BASE + ABI_REGION_WINDOW == ABI_FAR_BASE + ABI_FAR_BYTES, "regions end the far window");
_Static_assert(sizeof(struct abi_far) == 24, "abi_far");
_Static_assert(ABI_FAR_BASE % (1ull << 39) == 0 && ABI_FAR_BYTES % (1ull << 39) == 0, "far window");
_Static_assert(sizeof(struct abi_guards) == ABI_PAGE_SIZE, "abi_guards");
_Static_assert(sizeof(struct abi_net_request) == 20, "abi_net_request");
_Static_assert(sizeof(struct abi_net_datagram) == 20, "abi_net_datagram");
_Static_assert(sizeof(struct abi_frame) == 176, "abi_frame");
_Static_assert(offsetof(struct abi_fault, frame) == 16 && sizeof(struct abi_fault) == 200, "abi_fault");

#endif /* !__ASSEMBLER__ */
#endif
