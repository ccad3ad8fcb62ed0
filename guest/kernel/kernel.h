/*
 * kernel.h: what the kernel library's files share.
 *
 * One address space, one CPU, one privilege level. The kernel library is never
 * preempted (a kick that lands inside it only sets control.attention), so
 * nothing here needs a lock: state changes hands only where schedule() is
 * called, that is in wait_on() and at the return to the program.
 *
 * Dependencies point downwards: syscall.c and boot.c use everything;
 * fs/ and ipc/ use files, wait queues and memory; memory, wait queues and the
 * string functions use nothing of the others. fs/ and ipc/ compile as host
 * programs too, for unit tests with sanitizers (SEUSS_HOST_TEST).
 */
#ifndef SEUSS_KERNEL_H
#define SEUSS_KERNEL_H

#include "../abi/driver.h"
#include "../abi/image.h"
#include "../abi/kernel.h"
#include "units.h"

#include <asm/errno.h>
#include <stdbool.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int32_t s32;
typedef int64_t s64;

#define PAGE_SIZE ((u64)ABI_PAGE_SIZE)
#define PAGE_DOWN(x) ((u64)(x) & ~(PAGE_SIZE - 1))
#define PAGE_UP(x) PAGE_DOWN((u64)(x) + PAGE_SIZE - 1)
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define container_of(p, type, member) ((type *)((char *)(p) - offsetof(type, member)))

/* Internal results that never reach the program (numbers as in Linux). */
#define ERESTARTSYS 512 /* interrupted by a signal: restart if SA_RESTART, else EINTR */

#ifndef SEUSS_HOST_TEST
#define boot_info ((const volatile struct abi_boot *)ABI_BOOT_GPA)
#define identity ((const volatile struct abi_identity *)ABI_IDENTITY_GPA)
#define control ((volatile struct abi_control *)ABI_CONTROL_GPA)
#define boot_args ((const char *)ABI_ARGS_GPA)
#else /* tests/host.c */
extern struct abi_boot host_boot;
extern struct abi_identity host_identity;
extern struct abi_control host_control;
extern char host_args[ABI_ARGS_SIZE];
#define boot_info ((const volatile struct abi_boot *)&host_boot)
#define identity ((const volatile struct abi_identity *)&host_identity)
#define control ((volatile struct abi_control *)&host_control)
#define boot_args ((const char *)host_args)
#endif

#define KERNEL_PID 1                  /* the one process */
#define KERNEL_RELEASE "6.1.0-seuss"  /* uname, /proc/version */
#define KERNEL_VERSION "#1 seuss"

/* ---- lib.c: freestanding memory and string functions --------------------- */

void *memcpy(void *dst, const void *src, size_t n);
void *memmove(void *dst, const void *src, size_t n);
void *memset(void *dst, int c, size_t n);
int memcmp(const void *a, const void *b, size_t n);
void *memchr(const void *s, int c, size_t n);
size_t strlen(const char *s);
size_t strnlen(const char *s, size_t max);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t n);
char *strchr(const char *s, int c);
/* %s %d %u %x %lu %ld %lx %lo %c %p %% with width and zero padding; returns the length it wanted. */
int ksnprintf(char *buf, size_t size, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Writes to the console as the kernel library's own message (fd 0). */
void kprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Reports text to the monitor and never returns. */
void panic(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* ---- mm.c, heap.c: memory -------------------------------------------------- */

/* Whole zeroed pages, contiguous; NULL when memory is exhausted. */
void *page_alloc(u64 pages);
void page_free(void *addr, u64 pages);
/* Small objects, 16-byte aligned; NULL when memory is exhausted. kzalloc zeroes. */
void *kmalloc(size_t bytes);
void *kzalloc(size_t bytes);
void *krealloc(void *p, size_t old_bytes, size_t bytes);
void kfree(void *p);

/* A range of program memory that a call may touch: in RAM above page 0 and
 * outside the kernel library, or (for reads) in the root image. */
bool user_readable(const void *p, u64 n);
bool user_writable(void *p, u64 n);
/* A NUL-terminated program string of less than max bytes: its length, -EFAULT or -ENAMETOOLONG. */
long user_strlen(const char *s, size_t max);

u64 ram_pages_total(void);
u64 ram_pages_free(void);

/* ---- time.c ----------------------------------------------------------------- */

u64 mono_ns(void); /* CLOCK_MONOTONIC, from TSC and identity page; not counted as impure */
u64 wall_ns(void); /* CLOCK_REALTIME */
void purity_clock(void);   /* the program read a clock */
void purity_entropy(void); /* the program drew randomness */
void purity_socket(void);  /* the program received from a socket that is not the driver's */
void random_bytes(void *buf, size_t n); /* ChaCha20 keyed from the identity page; not counted */

#define NO_DEADLINE (~0ull)

/* A one-shot timer; fire runs in the kernel library, not in any thread's context, and must not block. */
struct timer {
	struct timer *next;
	u64 deadline; /* monotonic ns */
	void (*fire)(struct timer *);
	bool armed;
};
void timer_arm(struct timer *t, u64 deadline);
void timer_cancel(struct timer *t);

/* ---- sched.c: threads and wait queues ---------------------------------------- */

struct thread;
struct waiter {
	struct waiter *next, *prev;
	struct thread *thread;
	struct waitq *q;
	bool woken;
	void (*notify)(struct waiter *); /* not NULL: called instead of waking a thread (epoll) */
};
struct waitq {
	struct waiter *head; /* circular list, first come first served */
};

/* Blocks the current thread until q is woken, a signal is pending or the
 * monotonic deadline passes: 0, -ERESTARTSYS or -ETIMEDOUT. The caller checks
 * its condition again: wake-ups may be spurious. */
long wait_on(struct waitq *q, u64 deadline);
/* For poll: enqueue on many queues, then wait_queued(), then dequeue all. */
void waitq_add(struct waitq *q, struct waiter *w);
void waitq_remove(struct waiter *w);
long wait_queued(u64 deadline); /* blocks until any waiter of this thread is woken; results as wait_on */
void wake_all(struct waitq *q);
void wake_one(struct waitq *q);

/* ---- signal.c: as much as blocking calls need ---------------------------------- */

void signal_self(int sig); /* sends sig to the current thread */
/* The mask argument of ppoll, pselect6 and epoll_pwait: in force from push to
 * pop; if a signal ended the wait, until its handler's frame is built. */
void sigmask_push(const u64 *mask);
void sigmask_pop(void);

/* ---- files (fs/file.c) -------------------------------------------------------- */

struct stat;   /* asm/stat.h */
struct iovec_k { void *base; u64 len; }; /* struct iovec */
struct file;

/* Where the root image has a shared object as loaded, and the file's bytes: of size bytes
 * the first head at base, what follows at content. */
struct file_layout { u64 base, bytes; const u8 *content; u64 size, head; };

/* Every operation may be NULL; the comment says what the program gets then. */
struct file_ops {
	const char *name; /* for reports: "pipe", "tmpfs", ... */
	bool bytes;       /* a stream without records: readv goes on while there is more */
	/* pos: where to read or write, and it is advanced. Streams ignore it. NULL: -EINVAL. */
	long (*read)(struct file *f, void *buf, size_t n, u64 *pos);
	long (*write)(struct file *f, const void *buf, size_t n, u64 *pos);
	long (*seek)(struct file *f, s64 off, int whence);           /* -ESPIPE */
	long (*stat)(struct file *f, struct stat *st);               /* zeroed stat of an anonymous inode */
	/* fcntl's F_GETPIPE_SZ and F_SETPIPE_SZ arrive here too, as requests of those numbers. */
	long (*ioctl)(struct file *f, u32 request, u64 arg);         /* -ENOTTY */
	u32 (*poll)(struct file *f);                                 /* EPOLLIN | EPOLLOUT always */
	long (*truncate)(struct file *f, u64 size);                  /* -EINVAL */
	long (*getdents)(struct file *f, void *buf, size_t n);       /* -ENOTDIR */
	/* Content for a mapping: if the bytes [off, off+n) lie contiguous and
	 * page aligned in the root image, their address, else NULL: the caller
	 * reads into fresh memory. */
	void *(*map_direct)(struct file *f, u64 off, u64 n);
	/* An ET_DYN object that the root image holds laid out as loaded; false: it holds none. */
	bool (*map_loaded)(struct file *f, struct file_layout *out);
	/* Memory that stays the file's content under MAP_SHARED; NULL: -ENODEV. */
	void *(*map_shared)(struct file *f, u64 off, u64 n);
	/* Maps memory of the host's, MAP_SHARED: an address or an error. NULL: it has none. */
	long (*map_window)(struct file *f, u64 off, u64 bytes, bool write);
	void (*release)(struct file *f); /* last reference gone */
	const struct sock_ops *sock;     /* not NULL: a socket */
};

struct file {
	const struct file_ops *ops;
	u32 refs;
	u32 flags;        /* O_ACCMODE | O_APPEND | O_NONBLOCK | O_PATH ... as fcntl F_GETFL gives them */
	u64 pos;
	void *priv;       /* of the ops */
	struct waitq wq;  /* woken on every change that poll could see */
	char *path;       /* absolute path it was opened by, or NULL; owned */
};

struct file *file_new(const struct file_ops *ops, u32 flags, void *priv); /* one reference; NULL: no memory */
void file_get(struct file *f);
/* The last reference: wakes wq, so that epoll sets (whose waiters hold no
 * reference and see refs == 0) forget the file, and then calls release. */
void file_put(struct file *f);

/* Descriptors (one table: one process). */
struct file *fd_get(int fd);                 /* borrowed, NULL: EBADF. Take file_get before blocking. */
long fd_install(struct file *f, bool cloexec, int lowest); /* takes over the reference, also on failure; fd or -EMFILE */
long fd_close(int fd);
long file_stat(struct file *f, struct stat *st);
void fd_close_on_exec(void);
void file_init(void);                        /* descriptors 0 (ipc/stdin.c), 1 and 2 (console) */
long stdin_read(struct file *f, void *buf, size_t n, u64 *pos);
u32 stdin_poll(struct file *f);
long stdin_ioctl(struct file *f, u32 request, u64 arg);
void stdin_release(struct file *f);
/* wait until poll(f) & events, with the file's O_NONBLOCK: 0, -EAGAIN, -ERESTARTSYS, -ETIMEDOUT */
long file_wait(struct file *f, u32 events, u64 deadline);

/* ---- vfs (fs/vfs.c): used by exec and boot -------------------------------------- */

void vfs_init(const void *image, u64 bytes);
void fs_start_in(const char *path); /* makes it the working directory */
/* Opens what is to be executed, which the program need not be allowed to read. NULL: *err */
struct file *vfs_open_program(const char *path, long *err);
/* For AF_UNIX names: makes (or finds) a socket node; *ino names it for as long
 * as it exists. Paths are the program's; 0, -EADDRINUSE, -ECONNREFUSED (not a socket), -ENOENT, ... */
long vfs_socket_create(const char *path, u64 *ino);
long vfs_socket_find(const char *path, u64 *ino);
/* The program at /proc/self/exe; argv[0] until this was called. The string is copied. */
void proc_set_exe(const char *path);
/* The strings at boot_args are now those of another program. */
void proc_set_args(u32 argc, u32 envc);
/* munmap of a range that may hold files mapped with map_shared: ends the
 * mapping of a prefix of [addr, addr+bytes) and returns the prefix's length.
 * *file: the prefix is a file's memory and stays with the file, else the
 * caller gives it back. */
u64 fs_unmap(u64 addr, u64 bytes, bool *file);
/* Pages of the root image are about to be written to: files whose content they are
 * get memory of their own. -ENOMEM: some are no file's, or there is no memory. */
long fs_disown(u64 addr, u64 bytes);
/* The same for a layout whose text is about to be written to. */
long fs_disown_layout(u64 layout);
void fs_unmap_all(void); /* ends all of them */
bool fs_owns(u64 addr); /* is this address in a file's shared mapping? */
/* Highest number of descriptors (RLIMIT_NOFILE, at most FD_MAX): 1024 until set. */
#define FD_MAX 4096u
void fd_set_limit(u32 limit);
void limit_get(int resource, u64 out[2]); /* process.c: soft and hard limit, ~0: none */

/* What /proc shows of memory and threads; the core implements it. */
bool mm_mapped(u64 addr, u64 bytes); /* is all of it mapped, or of the image? */
long mm_maps(char *buf, size_t n, bool sizes); /* /proc/self/maps, or smaps: the length it wanted */
extern u64 exec_auxv[];                /* pairs; AT_NULL ends them */
u32 thread_tids(u32 *tids, u32 max);   /* live threads: writes at most max, returns how many there are */
u32 thread_self(void);                 /* tid of the current thread */
const char *thread_name(u32 tid);      /* NULL: no such thread */

/* ---- sockets (ipc/socket.c) -------------------------------------------------------- */

struct sockaddr_k { u16 family; u8 data[126]; }; /* struct sockaddr_storage */
struct msghdr_k {  /* struct msghdr */
	void *name; u32 namelen; u32 pad0;
	struct iovec_k *iov; u64 iovlen;
	void *ctl; u64 ctllen; s32 flags; u32 pad1;
};
struct sock_ops {
	long (*bind)(struct file *f, const struct sockaddr_k *a, u32 len);
	long (*connect)(struct file *f, const struct sockaddr_k *a, u32 len);
	long (*listen)(struct file *f, int backlog);
	struct file *(*accept)(struct file *f, long *err); /* blocks unless O_NONBLOCK */
	long (*sendmsg)(struct file *f, const struct msghdr_k *m, int flags);
	long (*recvmsg)(struct file *f, struct msghdr_k *m, int flags);
	long (*shutdown)(struct file *f, int how);
	long (*getname)(struct file *f, struct sockaddr_k *a, bool peer); /* length or error */
	long (*setsockopt)(struct file *f, int level, int opt, const void *v, u32 len);
	long (*getsockopt)(struct file *f, int level, int opt, void *v, u32 *len);
};
/* One row a family: socket.c holds the table. */
struct sock_family {
	int family;
	struct file *(*create)(int type, int protocol, u32 flags, long *err);
	long (*pair)(int type, int protocol, u32 flags, struct file *out[2]); /* NULL: -EOPNOTSUPP */
};
extern const struct sock_family unix_family, vsock_family, inet_family, inet6_family, netlink_family;

void stdin_publish(void);         /* the same of standard input */
void tcp_publish_listeners(void); /* before the CPU idles: the monitor may look */

/* ---- console.c ---------------------------------------------------------------------- */
/* Copies content of the image that is not mapped (content.c); what it has none of is zero. */
void content_read(u64 offset, void *buf, u64 n);
void console_write(u16 fd, const void *buf, size_t n); /* never fails; rings the doorbell when full */

#endif
