/*
 * ipc.h: what the files of ipc/ share: byte rings, message queues, the state
 * that all sockets have, connected byte streams, and control messages.
 *
 * Who owns what: a struct file owns its private state and frees it in
 * release. Two connected sockets point at each other without holding
 * references; the one that is released first clears the other's pointer. A
 * call that may block holds a reference to its own file, never to the peer's,
 * and looks at the peer again after every wait.
 *
 * Wake-ups are exact, for edge-triggered epoll: a file's queue is woken when
 * input arrives, when its room for output grows past the mark at which poll
 * says EPOLLOUT, and when an error or hang-up appears; never because of what
 * the file's own reader or writer did.
 */
#ifndef SEUSS_IPC_H
#define SEUSS_IPC_H

#include "../cred.h"
#include "../filetype.h"
#include "../kernel.h"

#include <asm/socket.h>
#include <linux/eventpoll.h>
#include <linux/fcntl.h>
#include <linux/time_types.h>

/* Linux keeps these out of the headers it exports: include/linux/socket.h,
 * include/linux/net.h and include/linux/eventfd.h of the kernel's source. */
enum { AF_UNSPEC = 0, AF_UNIX = 1, AF_INET = 2, AF_INET6 = 10 };
enum { SOCK_STREAM = 1, SOCK_DGRAM = 2, SOCK_RAW = 3, SOCK_SEQPACKET = 5 };
#define SOCK_TYPE_MASK 0xf
#define SOCK_CLOEXEC O_CLOEXEC
#define SOCK_NONBLOCK O_NONBLOCK
enum { SHUT_RD = 0, SHUT_WR = 1, SHUT_RDWR = 2 };
enum { SCM_RIGHTS = 1, SCM_CREDENTIALS = 2, SCM_MAX_FD = 253 };
enum {
	MSG_OOB = 1,
	MSG_PEEK = 2,
	MSG_CTRUNC = 8,
	MSG_TRUNC = 0x20,
	MSG_DONTWAIT = 0x40,
	MSG_EOR = 0x80,
	MSG_WAITALL = 0x100,
	MSG_ERRQUEUE = 0x2000,
	MSG_NOSIGNAL = 0x4000,
	MSG_WAITFORONE = 0x10000,
	MSG_FASTOPEN = 0x20000000,
	MSG_CMSG_CLOEXEC = 0x40000000,
};
#define SOMAXCONN 4096u      /* net.core.somaxconn */
#define SOCK_BUF 212992u     /* net.core.{r,w}mem_default and _max, bytes */
#define OUT_MARK 4096u       /* room at which poll says EPOLLOUT: PIPE_BUF, pipe(7) */
#define EPOLL_READ (EPOLLIN | EPOLLRDNORM)
#define EPOLL_WRITE (EPOLLOUT | EPOLLWRNORM)

/* ---- time -------------------------------------------------------------------- */

static inline bool timespec_valid(const struct __kernel_timespec *t)
{
	return t->tv_sec >= 0 && t->tv_nsec >= 0 && (u64)t->tv_nsec < NS_PER_SEC;
}
/* Saturates: 285 years from now is for ever. */
static inline u64 timespec_to_ns(const struct __kernel_timespec *t)
{
	return (u64)t->tv_sec > 9000000000ull ? NO_DEADLINE / 2 : (u64)t->tv_sec * NS_PER_SEC + (u64)t->tv_nsec;
}
static inline u64 deadline_in(u64 ns)
{
	u64 now = mono_ns();
	return ns >= NO_DEADLINE - now ? NO_DEADLINE : now + ns;
}

/* ---- lists --------------------------------------------------------------------- */

struct list { struct list *next, *prev; }; /* circular; all zero: not in a list */

static inline void list_init(struct list *l) { l->next = l->prev = l; }
static inline bool list_empty(const struct list *l) { return l->next == l; }
static inline bool list_linked(const struct list *l) { return l->next != NULL; }
static inline void list_add_tail(struct list *head, struct list *l)
{
	l->next = head;
	l->prev = head->prev;
	head->prev->next = l;
	head->prev = l;
}
static inline void list_del(struct list *l)
{
	l->next->prev = l->prev;
	l->prev->next = l->next;
	l->next = l->prev = NULL;
}

/* ---- ring.c: a byte queue that costs no memory while it is empty ----------------- */

struct ring { u8 *buf; u32 cap, head, used; }; /* all zero: empty */

bool ring_reserve(struct ring *r, u32 n); /* room for n bytes more; false: no memory */
u32 ring_append(struct ring *r, const void *src, u32 n); /* bytes taken; 0: no memory */
void ring_peek(const struct ring *r, u32 off, void *dst, u32 n); /* off + n <= used */
void ring_drop(struct ring *r, u32 n);
void ring_free(struct ring *r);

/* ---- iov.c: scattered buffers of the program, already checked ----------------------- */

u64 iov_bytes(const struct iovec_k *iov, u64 n); /* sum of the lengths */
struct iov_cursor { const struct iovec_k *iov; u64 count, off; };
u64 iov_next(struct iov_cursor *c, u8 **p);      /* bytes at *p; 0 at the end */
void iov_gather(const struct msghdr_k *m, void *dst, u64 n);
void iov_scatter(const struct msghdr_k *m, const void *src, u64 n);

/* ---- sock.c: what all sockets of this folder have -------------------------------------- */

enum { SHUT_RX = 1, SHUT_TX = 2, SHUT_BOTH = 3 };

struct sock {
	struct file *file; /* whose priv this is; not a reference */
	u8 family, type, shut;
	int protocol;
	u32 opts;          /* bit n: boolean option SO_n is set */
	u8 ancillary;      /* AF_INET, AF_INET6: control messages that recvmsg adds (inet.h) */
	s32 error;         /* positive errno that the next call or SO_ERROR takes */
	s32 linger;        /* seconds; -1: off */
	u32 rcvbuf, sndbuf, rcvlowat; /* bytes */
	u64 rcvtimeo, sndtimeo; /* ns; 0: for ever */
};
void sock_init(struct sock *s, struct file *f, int family, int type, int protocol);
long sock_take_error(struct sock *s); /* -errno or 0 */
void sock_fail(struct sock *s, int error); /* sets the pending error */
static inline bool sock_opt(const struct sock *s, int opt) { return s->opts >> opt & 1; }
static inline bool sock_nonblock(const struct sock *s, int flags)
{
	return flags & MSG_DONTWAIT || s->file->flags & O_NONBLOCK;
}
static inline u64 sock_deadline(u64 timeo) { return timeo ? deadline_in(timeo) : NO_DEADLINE; }
/* Waits for any of events, EPOLLERR or EPOLLHUP: 0, -EAGAIN (also at the
 * deadline), -ERESTARTSYS, or -EINTR if there is a deadline, as Linux does. */
long sock_wait(struct sock *s, u32 events, bool nonblock, u64 deadline);
long sock_pipe_error(struct sock *s, int flags); /* the pending error or -EPIPE, which raises SIGPIPE */
void waitq_drain(struct waitq *q); /* wakes and removes all: the queue goes away */
u32 poll_mask(struct file *f);     /* of any file */

/* SOL_SOCKET. -ENOPROTOOPT: not known here. */
long sock_setsockopt(struct sock *s, int opt, const void *v, u32 len);
long sock_getsockopt(struct sock *s, int opt, bool listening, void *v, u32 *len);
long opt_put(void *v, u32 *len, const void *value, u32 n);
long opt_get_int(const void *v, u32 len, int *out);

/* For struct file_ops of every socket, on top of its sock_ops. */
long sock_read(struct file *f, void *buf, size_t n, u64 *pos);
long sock_write(struct file *f, const void *buf, size_t n, u64 *pos);
struct stat;
long sock_stat(struct file *f, struct stat *st);
long user_put_int(u64 arg, int v); /* of an ioctl: 0, -EFAULT */

/* ---- socket.c: between the program and the sockets ------------------------------------------ */

struct file *sock_get(int fd, long *err); /* with a reference; NULL: *err is -EBADF or -ENOTSOCK */
long addr_from_user(struct sockaddr_k *to, const void *addr, int len); /* the rest of *to is zero */
long addr_check(void *addr, int *len);    /* may addr_to_user() write there? */
void addr_to_user(void *addr, int *len, const struct sockaddr_k *from, u32 bytes);

/* ---- scm.c: control messages --------------------------------------------------------------- */

struct cmsghdr_k { u64 len; int level, type; }; /* struct cmsghdr */
#define CMSG_ALIGN(n) (((u64)(n) + 7) & ~7ull)

struct rights { /* files on their way to another socket */
	struct rights *next;
	u64 start, end; /* in a byte stream: the bytes they travel with */
	u32 n;
	struct file *files[];
};
/* Reads the control messages of a send on AF_UNIX; *out may stay NULL. */
long scm_parse(const struct msghdr_k *m, struct rights **out);
void rights_free(struct rights *r);
/* Appends to the program's control buffer of cap bytes; m->ctllen is what was used so far. */
void cmsg_put(struct msghdr_k *m, u64 cap, int level, int type, const void *data, u32 n);
static inline void scm_put(struct msghdr_k *m, u64 cap, int type, const void *data, u32 n)
{
	cmsg_put(m, cap, SOL_SOCKET, type, data, n);
}
void scm_put_rights(struct msghdr_k *m, u64 cap, const struct rights *r, int flags);

/* ---- dgram.c: message queues ------------------------------------------------------------------ */

struct msg {
	struct msg *next;
	struct rights *rights;
	u32 namelen, len;
	bool v6;     /* AF_INET6: the packet's protocol ... */
	u8 tos, ttl; /* ... and its header */
	u8 bytes[]; /* the sender's address, then the payload */
};
struct msgq { struct msg *head, *tail; u32 bytes; }; /* bytes: memory, headers included */

struct msg *msg_new(const void *name, u32 namelen, const struct msghdr_k *m, u64 len); /* NULL: no memory */
void msg_free(struct msg *m);
void msgq_add(struct msgq *q, struct msg *m);
void msgq_free(struct msgq *q);
/* Receives one message. space: woken when the queue ceases to be full; NULL: nobody waits. */
long msgq_recv(struct sock *s, struct msgq *q, struct waitq *space, struct msghdr_k *m, int flags);
/* inet_option.c: what sock.ancillary asks for. */
void inet_put_control(const struct sock *s, const struct msg *msg, struct msghdr_k *m, u64 cap);
static inline bool msgq_full(const struct msgq *q, const struct sock *s) { return q->bytes >= s->rcvbuf; }

/* ---- stream.c: connected byte streams (AF_UNIX, TCP) ------------------------------------------- */

enum stream_state { STREAM_IDLE, STREAM_LISTENING, STREAM_CONNECTING, STREAM_CONNECTED };

struct stream {
	struct sock s;
	enum stream_state state;
	bool fin;    /* TCP: the peer ended its side in order; errors no longer reach the reader */
	bool embryo; /* waits in a listener's queue */
	struct ring rx;
	u64 rx_total; /* bytes ever put into rx */
	struct rights *rights; /* sorted by start */
	struct stream *peer;   /* NULL: none, or released */
	struct listener *listener;
	struct list link;      /* in a listener's queue */
};
struct listener {
	struct list ready;   /* connected, to be accepted */
	struct list pending; /* connecting: there was no room */
	u32 queued, backlog;
	struct waitq space;  /* woken when a connection is accepted */
};
void stream_join(struct stream *a, struct stream *b);
/* Takes *r over, if any, also on failure. The caller has checked that the state allows it. */
long stream_send(struct stream *s, const struct msghdr_k *m, int flags, struct rights *r);
long stream_recv(struct stream *s, struct msghdr_k *m, int flags);
u32 stream_poll(const struct stream *s);
long stream_ioctl(struct stream *s, u32 request, u64 arg);
void stream_clear(struct stream *s); /* frees what it holds */

/* interface.c: ioctls that every socket knows; -ENOTTY: not one of them */
long interface_ioctl(u32 request, u64 arg);

/* epoll.c: does a thread wait for the file, by itself or in a set? */
bool file_waited(const struct file *f);

/* listen.c */
long stream_listen(struct stream *s, int backlog);
static inline bool listener_full(const struct listener *l) { return l->queued > l->backlog; } /* sk_acceptq_is_full() */
void listener_add(struct stream *l, struct stream *child);
struct file *stream_accept(struct stream *s, long *err);
void listener_close(struct stream *s);

#endif
