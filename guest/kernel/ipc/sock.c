/*
 * sock.c: what all sockets of this folder have in common: the pending error,
 * waiting, reading and writing as files, and the SOL_SOCKET options.
 */
#include "ipc.h"

#include <asm/signal.h>
#include <asm/stat.h>

void sock_init(struct sock *s, struct file *f, int family, int type, int protocol)
{
	*s = (struct sock){
		.file = f, .family = (u8)family, .type = (u8)type, .protocol = protocol, .linger = -1,
		.rcvbuf = SOCK_BUF, .sndbuf = SOCK_BUF, .rcvlowat = 1,
	};
}

long sock_take_error(struct sock *s)
{
	s32 e = s->error;
	s->error = 0;
	return -e;
}

void sock_fail(struct sock *s, int error) { s->error = error; }

long sock_wait(struct sock *s, u32 events, bool nonblock, u64 deadline)
{
	struct file *f = s->file;
	while (!(f->ops->poll(f) & (events | EPOLLERR | EPOLLHUP))) {
		if (nonblock)
			return -EAGAIN;
		long r = wait_on(&f->wq, deadline);
		if (r == -ETIMEDOUT)
			return -EAGAIN;
		if (r)
			return deadline == NO_DEADLINE ? r : -EINTR;
	}
	return 0;
}

long sock_pipe_error(struct sock *s, int flags)
{
	long e = sock_take_error(s);
	if (!e)
		e = -EPIPE;
	if (e == -EPIPE && !(flags & MSG_NOSIGNAL))
		signal_self(SIGPIPE);
	return e;
}

void waitq_drain(struct waitq *q)
{
	wake_all(q);
	while (q->head)
		waitq_remove(q->head);
}

u32 poll_mask(struct file *f) { return f->ops->poll ? f->ops->poll(f) : EPOLL_READ | EPOLL_WRITE; }

/* ---- as files -------------------------------------------------------------------- */

long sock_read(struct file *f, void *buf, size_t n, u64 *pos)
{
	(void)pos;
	if (n == 0)
		return 0;
	struct iovec_k v = {buf, n};
	struct msghdr_k m = {.iov = &v, .iovlen = 1};
	file_get(f);
	long r = f->ops->sock->recvmsg(f, &m, 0);
	file_put(f);
	return r;
}

long sock_write(struct file *f, const void *buf, size_t n, u64 *pos)
{
	(void)pos;
	struct iovec_k v = {(void *)buf, n};
	struct msghdr_k m = {.iov = &v, .iovlen = 1};
	file_get(f);
	long r = f->ops->sock->sendmsg(f, &m, 0);
	file_put(f);
	return r;
}

long sock_stat(struct file *f, struct stat *st)
{
	st->st_mode = S_IFSOCK | 0777;
	st->st_nlink = 1;
	st->st_ino = (u64)f >> 4;
	st->st_blksize = (s64)PAGE_SIZE;
	return 0;
}

long user_put_int(u64 arg, int v)
{
	int *p = (int *)arg;
	if (!user_writable(p, sizeof *p))
		return -EFAULT;
	*p = v;
	return 0;
}

/* ---- SOL_SOCKET -------------------------------------------------------------------- */

struct linger_k { int on, seconds; };              /* struct linger */
#define BUF_MIN 4608u /* SOCK_MIN_SNDBUF, as Linux rounds it */

/* Options that are one bit. Those without an effect here have none on a Linux loopback either. */
#define FLAG_OPTS                                                                                         \
	(1u << SO_DEBUG | 1u << SO_REUSEADDR | 1u << SO_DONTROUTE | 1u << SO_BROADCAST | 1u << SO_KEEPALIVE | \
	 1u << SO_OOBINLINE | 1u << SO_REUSEPORT | 1u << SO_PASSCRED)

static bool is_flag(int opt) { return opt > 0 && opt < 32 && FLAG_OPTS >> opt & 1; }

long opt_get_int(const void *v, u32 len, int *out)
{
	if (len < sizeof *out)
		return -EINVAL;
	memcpy(out, v, sizeof *out);
	return 0;
}

long opt_put(void *v, u32 *len, const void *value, u32 n)
{
	*len = MIN(*len, n);
	memcpy(v, value, *len);
	return 0;
}

static long set_timeout(u64 *out, const void *v, u32 len)
{
	struct __kernel_old_timeval tv;
	if (len < sizeof tv)
		return -EINVAL;
	memcpy(&tv, v, sizeof tv);
	if (tv.tv_usec < 0 || tv.tv_usec >= 1000000)
		return -EDOM;
	if (tv.tv_sec < 0) {
		*out = 1; /* at once */
		return 0;
	}
	*out = (u64)tv.tv_sec > 9000000000ull ? 0 : (u64)tv.tv_sec * NS_PER_SEC + (u64)tv.tv_usec * 1000;
	return 0;
}

static long get_timeout(u64 ns, void *v, u32 *len)
{
	struct __kernel_old_timeval tv = {(long)(ns / NS_PER_SEC), (long)(ns % NS_PER_SEC / 1000)};
	return opt_put(v, len, &tv, sizeof tv);
}

static u32 buffer_bytes(int v) { return MAX(MIN(v < 0 ? SOCK_BUF : (u32)v, SOCK_BUF) * 2, BUF_MIN); }

long sock_setsockopt(struct sock *s, int opt, const void *v, u32 len)
{
	if (opt == SO_RCVTIMEO || opt == SO_RCVTIMEO_NEW)
		return set_timeout(&s->rcvtimeo, v, len);
	if (opt == SO_SNDTIMEO || opt == SO_SNDTIMEO_NEW)
		return set_timeout(&s->sndtimeo, v, len);
	int value;
	long r = opt_get_int(v, len, &value);
	if (r)
		return r;
	if (is_flag(opt)) {
		s->opts = (s->opts & ~(1u << opt)) | (u32)(value != 0) << opt;
		return 0;
	}
	switch (opt) {
	case SO_LINGER: {
		struct linger_k l;
		if (len < sizeof l)
			return -EINVAL;
		memcpy(&l, v, sizeof l);
		s->linger = l.on ? MAX(l.seconds, 0) : -1;
		return 0;
	}
	case SO_SNDBUF:
	case SO_SNDBUFFORCE:
		s->sndbuf = buffer_bytes(value);
		wake_all(&s->file->wq); /* there may be room now */
		return 0;
	case SO_RCVBUF:
	case SO_RCVBUFFORCE:
		s->rcvbuf = buffer_bytes(value);
		return 0;
	case SO_RCVLOWAT:
		s->rcvlowat = value > 0 ? (u32)value : value ? 0x7fffffff : 1;
		return 0;
	case SO_PRIORITY: /* one queue, one CPU: nothing to order */
		return 0;
	case SO_TYPE:
	case SO_PROTOCOL:
	case SO_DOMAIN:
	case SO_ERROR:
	default:
		return -ENOPROTOOPT;
	}
}

long sock_getsockopt(struct sock *s, int opt, bool listening, void *v, u32 *len)
{
	int value;
	switch (opt) {
	case SO_RCVTIMEO:
	case SO_RCVTIMEO_NEW:
		return get_timeout(s->rcvtimeo, v, len);
	case SO_SNDTIMEO:
	case SO_SNDTIMEO_NEW:
		return get_timeout(s->sndtimeo, v, len);
	case SO_LINGER: {
		struct linger_k l = {s->linger >= 0, MAX(s->linger, 0)};
		return opt_put(v, len, &l, sizeof l);
	}
	case SO_PEERCRED: { /* AF_UNIX answers for connected sockets itself */
		s32 nobody[3] = {0, -1, -1};
		return opt_put(v, len, nobody, sizeof nobody);
	}
	case SO_ERROR:
		value = (int)-sock_take_error(s);
		break;
	case SO_TYPE:
		value = s->type;
		break;
	case SO_DOMAIN:
		value = s->family;
		break;
	case SO_PROTOCOL:
		value = s->protocol;
		break;
	case SO_ACCEPTCONN:
		value = listening;
		break;
	case SO_SNDBUF:
		value = (int)s->sndbuf;
		break;
	case SO_RCVBUF:
		value = (int)s->rcvbuf;
		break;
	case SO_RCVLOWAT:
		value = (int)s->rcvlowat;
		break;
	case SO_SNDLOWAT:
		value = 1;
		break;
	case SO_PRIORITY:
		value = 0;
		break;
	default:
		if (!is_flag(opt))
			return -ENOPROTOOPT;
		value = sock_opt(s, opt);
	}
	return opt_put(v, len, &value, sizeof value);
}
