/*
 * calls_io.c: reading, writing and seeking. A file is held for the time of a
 * call, since another thread may close the descriptor while it blocks.
 */
#include "calls.h"
#include "fs.h"

#include <linux/eventpoll.h>
#include <linux/fs.h>
#include <linux/uio.h>

#define RW_MAX 0x7ffff000ull /* include/linux/fs.h's MAX_RW_COUNT for 4 KiB pages */

static struct file *file_for(int fd, bool write)
{
	struct file *f = fd_io(fd);
	return f && (f->flags & O_ACCMODE) != (write ? O_RDONLY : O_WRONLY) ? f : NULL;
}

/* One checked buffer. pos NULL: at the file's own position. */
static long rw(struct file *f, void *buf, u64 n, u64 *pos, bool write)
{
	if (!pos)
		pos = &f->pos;
	n = MIN(n, RW_MAX);
	if (write ? !f->ops->write : !f->ops->read)
		return -EINVAL;
	u8 nothing;
	if (n == 0)
		buf = &nothing; /* the program may pass NULL with no bytes */
	else if (!(write ? user_readable(buf, n) : user_writable(buf, n)))
		return -EFAULT;
	return write ? f->ops->write(f, buf, n, pos) : f->ops->read(f, buf, n, pos);
}

static long rw_fd(int fd, void *buf, u64 n, u64 *pos, bool write)
{
	struct file *f = file_for(fd, write);
	if (!f)
		return -EBADF;
	if (pos && (s64)*pos < 0)
		return -EINVAL;
	if (pos && !f->ops->seek)
		return -ESPIPE;
	file_get(f);
	long r = rw(f, buf, n, pos, write);
	file_put(f);
	return r;
}

long sys_read(int fd, void *buf, u64 n) { return rw_fd(fd, buf, n, NULL, false); }
long sys_write(int fd, const void *buf, u64 n) { return rw_fd(fd, (void *)buf, n, NULL, true); }

long sys_pread64(int fd, void *buf, u64 n, s64 pos)
{
	u64 at = (u64)pos;
	return rw_fd(fd, buf, n, &at, false);
}

long sys_pwrite64(int fd, const void *buf, u64 n, s64 pos)
{
	u64 at = (u64)pos;
	return rw_fd(fd, (void *)buf, n, &at, true);
}

/* ---- vectors --------------------------------------------------------------------- */

enum { FEW = 8, GATHER_MAX = 4096 /* PIPE_BUF, pipe(7) */ };

/* The kernel library's own copy: the program could change its vector while the call blocks. */
static long copy_iov(const struct iovec_k *iov, u64 count, bool write, struct iovec_k few[FEW], struct iovec_k **out,
		     u64 *total)
{
	if (count > UIO_MAXIOV)
		return -EINVAL;
	if (count && !user_readable(iov, count * sizeof *iov))
		return -EFAULT;
	*out = count <= FEW ? few : kmalloc(count * sizeof *iov);
	if (!*out)
		return -ENOMEM;
	memcpy(*out, iov, count * sizeof *iov);
	long err = 0;
	*total = 0;
	for (u64 i = 0; i < count && !err; i++) {
		struct iovec_k *v = &(*out)[i];
		if ((s64)v->len < 0 || __builtin_add_overflow(*total, v->len, total) || (s64)*total < 0)
			err = -EINVAL;
		else if (v->len && !(write ? user_readable(v->base, v->len) : user_writable(v->base, v->len)))
			err = -EFAULT;
	}
	if (err && *out != few)
		kfree(*out);
	return err;
}

/* A stream takes a short vector as one write: pipes promise that up to
 * PIPE_BUF, and a line for the console stays a line. */
static __attribute__((noinline)) long write_gathered(struct file *f, const struct iovec_k *iov, u64 count, u64 total)
{
	u8 buf[GATHER_MAX];
	u64 n = 0;
	for (u64 i = 0; i < count; n += iov[i++].len)
		if (iov[i].len)
			memcpy(buf + n, iov[i].base, iov[i].len);
	return f->ops->write(f, buf, total, &f->pos);
}

static long rw_vector(struct file *f, struct iovec_k *iov, u64 count, u64 total, u64 *pos, bool write)
{
	if (f->ops->sock) {
		struct msghdr_k m = {.iov = iov, .iovlen = count};
		return write ? f->ops->sock->sendmsg(f, &m, 0) : f->ops->sock->recvmsg(f, &m, 0);
	}
	if (write ? !f->ops->write : !f->ops->read)
		return -EINVAL;
	if (write && !f->ops->seek && count > 1 && total <= GATHER_MAX)
		return write_gathered(f, iov, count, total);
	long done = 0;
	for (u64 i = 0; i < count && (u64)done < RW_MAX; i++) {
		if (iov[i].len == 0)
			continue;
		if (done && !write && !f->ops->seek && !(f->ops->bytes && f->ops->poll(f) & EPOLLIN))
			return done; /* what came so far is an answer: do not block for more */
		long r = rw(f, iov[i].base, MIN(iov[i].len, RW_MAX - (u64)done), pos, write);
		if (r < 0)
			return done ? done : r;
		done += r;
		if ((u64)r < iov[i].len)
			break;
	}
	return done;
}

static long rw_iov(int fd, const struct iovec_k *iov, u64 count, u64 *pos, bool write, u32 append)
{
	struct iovec_k few[FEW], *own;
	u64 total;
	struct file *f = file_for(fd, write);
	if (!f)
		return -EBADF;
	if (pos && (s64)*pos < 0)
		return -EINVAL;
	if (pos && !f->ops->seek)
		return -ESPIPE;
	long r = copy_iov(iov, count, write, few, &own, &total);
	if (r)
		return r;
	file_get(f);
	u32 flags = f->flags;
	f->flags |= append; /* writes to files with positions do not block: nobody sees it */
	r = rw_vector(f, own, count, total, pos, write);
	if (append)
		f->flags = flags;
	file_put(f);
	if (own != few)
		kfree(own);
	return r;
}

long sys_readv(int fd, const struct iovec_k *iov, u64 count) { return rw_iov(fd, iov, count, NULL, false, 0); }
long sys_writev(int fd, const struct iovec_k *iov, u64 count) { return rw_iov(fd, iov, count, NULL, true, 0); }

long sys_preadv(int fd, const struct iovec_k *iov, u64 count, s64 pos, u64 pos_high)
{
	(void)pos_high; /* 64-bit programs pass the whole position in pos */
	u64 at = (u64)pos;
	return rw_iov(fd, iov, count, &at, false, 0);
}

long sys_pwritev(int fd, const struct iovec_k *iov, u64 count, s64 pos, u64 pos_high)
{
	(void)pos_high;
	u64 at = (u64)pos;
	return rw_iov(fd, iov, count, &at, true, 0);
}

/* Nothing here ever waits for a disk, so the flags about that are met. */
static long check_rwf(int fd, u32 flags, bool write)
{
	if (flags & ~(u32)(RWF_HIPRI | RWF_DSYNC | RWF_SYNC | RWF_NOWAIT | RWF_APPEND))
		return -EOPNOTSUPP;
	struct file *f = fd_io(fd);
	if (f && flags & (RWF_NOWAIT | RWF_APPEND) && (!f->ops->seek || (flags & RWF_APPEND && !write)))
		return -EOPNOTSUPP;
	return 0;
}

static long rw_iov2(int fd, const struct iovec_k *iov, u64 count, s64 pos, u32 flags, bool write)
{
	u64 at = (u64)pos;
	long err = check_rwf(fd, flags, write);
	if (err)
		return err;
	return rw_iov(fd, iov, count, pos == -1 ? NULL : &at, write, flags & RWF_APPEND ? O_APPEND : 0);
}

long sys_preadv2(int fd, const struct iovec_k *iov, u64 count, s64 pos, u64 pos_high, u32 flags)
{
	(void)pos_high;
	return rw_iov2(fd, iov, count, pos, flags, false);
}

long sys_pwritev2(int fd, const struct iovec_k *iov, u64 count, s64 pos, u64 pos_high, u32 flags)
{
	(void)pos_high;
	return rw_iov2(fd, iov, count, pos, flags, true);
}

long sys_lseek(int fd, s64 off, int whence)
{
	struct file *f = fd_io(fd);
	if (!f)
		return -EBADF;
	return f->ops->seek ? f->ops->seek(f, off, whence) : -ESPIPE;
}
