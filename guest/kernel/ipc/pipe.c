/*
 * pipe.c: pipe and pipe2. Two files, one per end, share a byte ring; writes of
 * up to PIPE_BUF bytes are atomic (pipe(7)).
 */
#include "calls.h"
#include "ipc.h"

#include <asm/ioctls.h>
#include <asm/signal.h>
#include <asm/stat.h>
#include <linux/limits.h>

#define PIPE_DEFAULT 65536u  /* pipe(7) */
#define PIPE_MAX (1u << 20)  /* /proc/sys/fs/pipe-max-size */

struct pipe {
	struct ring ring;
	struct file *reader, *writer; /* NULL: that end is closed */
	u32 limit;                    /* bytes */
};
_Static_assert(PIPE_BUF == OUT_MARK, "EPOLLOUT means that an atomic write succeeds");

static u32 room(const struct pipe *p) { return p->limit - MIN(p->limit, p->ring.used); }

/* The writer's poll went from false to true? */
static void wake_writer(struct pipe *p, u32 room_before)
{
	if (p->writer && room_before < OUT_MARK && room(p) >= OUT_MARK)
		wake_all(&p->writer->wq);
}

static long pipe_read_held(struct file *f, void *buf, size_t n)
{
	struct pipe *p = f->priv;
	while (!p->ring.used) {
		if (!p->writer)
			return 0;
		long r = file_wait(f, EPOLLIN, NO_DEADLINE);
		if (r)
			return r;
	}
	u32 take = (u32)MIN(n, (size_t)p->ring.used), before = room(p);
	ring_peek(&p->ring, 0, buf, take);
	ring_drop(&p->ring, take);
	wake_writer(p, before);
	return take;
}

static long pipe_read(struct file *f, void *buf, size_t n, u64 *pos)
{
	(void)pos;
	if (n == 0)
		return 0;
	file_get(f);
	long r = pipe_read_held(f, buf, n);
	file_put(f);
	return r;
}

static long pipe_write_held(struct file *f, const u8 *buf, size_t n)
{
	struct pipe *p = f->priv;
	size_t done = 0;
	long r = 0;
	while (done < n) {
		if (!p->reader) {
			signal_self(SIGPIPE);
			r = -EPIPE;
			break;
		}
		u32 space = room(p);
		if (space == 0 || (n <= PIPE_BUF && space < n)) {
			r = file_wait(f, EPOLLOUT, NO_DEADLINE);
			if (r)
				break;
			continue;
		}
		u32 take = (u32)MIN(n - done, (size_t)space);
		if (n <= PIPE_BUF && !ring_reserve(&p->ring, take))
			take = 0;
		else
			take = ring_append(&p->ring, buf + done, take);
		if (!take) {
			r = -ENOMEM;
			break;
		}
		done += take;
		wake_all(&p->reader->wq);
	}
	return done ? (long)done : r;
}

static long pipe_write(struct file *f, const void *buf, size_t n, u64 *pos)
{
	(void)pos;
	file_get(f);
	long r = pipe_write_held(f, buf, n);
	file_put(f);
	return r;
}

static u32 reader_poll(struct file *f)
{
	struct pipe *p = f->priv;
	return (p->ring.used ? EPOLL_READ : 0) | (p->writer ? 0 : EPOLLHUP);
}

static u32 writer_poll(struct file *f)
{
	struct pipe *p = f->priv;
	return (room(p) >= OUT_MARK ? EPOLL_WRITE : 0) | (p->reader ? 0 : EPOLLERR);
}

static long set_size(struct pipe *p, u64 bytes)
{
	if (bytes > 1u << 31)
		return -EINVAL;
	u32 size = (u32)PAGE_SIZE;
	while (size < bytes)
		size *= 2;
	if (size > PIPE_MAX)
		return -EPERM;
	if (p->ring.used > size)
		return -EBUSY;
	u32 before = room(p);
	p->limit = size;
	wake_writer(p, before);
	return size;
}

static long pipe_ioctl(struct file *f, u32 request, u64 arg)
{
	struct pipe *p = f->priv;
	switch (request) {
	case FIONREAD:
		return user_put_int(arg, (int)p->ring.used);
	case F_GETPIPE_SZ:
		return p->limit;
	case F_SETPIPE_SZ:
		return set_size(p, arg);
	default:
		return -ENOTTY;
	}
}

static long pipe_stat(struct file *f, struct stat *st)
{
	st->st_mode = S_IFIFO | 0600;
	st->st_nlink = 1;
	st->st_ino = (u64)f->priv >> 4;
	st->st_blksize = (s64)PAGE_SIZE;
	return 0;
}

static void pipe_release(struct file *f)
{
	struct pipe *p = f->priv;
	struct file *other = f == p->reader ? p->writer : p->reader;
	if (f == p->reader) {
		p->reader = NULL;
		ring_free(&p->ring);
	} else {
		p->writer = NULL;
	}
	if (other) {
		wake_all(&other->wq);
	} else {
		ring_free(&p->ring);
		kfree(p);
	}
}

static const struct file_ops reader_ops = {
	.name = "pipe",
	.bytes = true,
	.read = pipe_read,
	.stat = pipe_stat,
	.ioctl = pipe_ioctl,
	.poll = reader_poll,
	.release = pipe_release,
};
static const struct file_ops writer_ops = {
	.name = "pipe",
	.write = pipe_write,
	.stat = pipe_stat,
	.ioctl = pipe_ioctl,
	.poll = writer_poll,
	.release = pipe_release,
};

static long pipe_new(u32 flags, struct pipe **out)
{
	struct pipe *p = kzalloc(sizeof *p);
	if (!p)
		return -ENOMEM;
	p->limit = PIPE_DEFAULT;
	p->reader = file_new(&reader_ops, O_RDONLY | flags, p);
	if (!p->reader) {
		kfree(p);
		return -ENOMEM;
	}
	p->writer = file_new(&writer_ops, O_WRONLY | flags, p);
	if (!p->writer) {
		file_put(p->reader); /* frees p */
		return -ENOMEM;
	}
	*out = p;
	return 0;
}

long sys_pipe2(int *fds, int flags)
{
	if (flags & ~(O_CLOEXEC | O_NONBLOCK)) /* O_DIRECT: packet mode is not served */
		return -EINVAL;
	if (!user_writable(fds, 2 * sizeof *fds))
		return -EFAULT;
	struct pipe *p;
	long r = pipe_new(flags & O_NONBLOCK, &p);
	if (r)
		return r;
	struct file *writer = p->writer;
	long rd = fd_install(p->reader, flags & O_CLOEXEC, 0);
	if (rd < 0) {
		file_put(writer);
		return rd;
	}
	long wr = fd_install(writer, flags & O_CLOEXEC, 0);
	if (wr < 0) {
		fd_close((int)rd);
		return wr;
	}
	fds[0] = (int)rd;
	fds[1] = (int)wr;
	return 0;
}

long sys_pipe(int *fds) { return sys_pipe2(fds, 0); }
