/*
 * calls_fd.c: what concerns descriptors and open files rather than content.
 * There is one process, so a lock is never held by anybody else; and nothing
 * is behind memory, so synchronising has happened when it is asked for.
 */
#include "../region.h"
#include "calls.h"
#include "fs.h"

#include <asm/ioctls.h>
#include <linux/close_range.h>
#include <linux/fadvise.h>
#include <linux/mman.h>

long sys_close(int fd) { return fd_close(fd); }

long sys_close_range(u32 first, u32 last, u32 flags)
{
	if (flags & ~(u32)(CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC) || first > last)
		return -EINVAL;
	for (int fd = (int)MIN(first, FD_MAX); fd_next(&fd) && (u32)fd <= last; fd++) {
		if (flags & CLOSE_RANGE_CLOEXEC)
			fd_set_cloexec(fd, true);
		else
			fd_close(fd);
	}
	return 0;
}

static long dup_from(int fd, int lowest, bool cloexec)
{
	struct file *f = fd_get(fd);
	if (!f)
		return -EBADF;
	file_get(f);
	return fd_install(f, cloexec, lowest);
}

long sys_dup(int fd) { return dup_from(fd, 0, false); }

long sys_dup3(int fd, int to, u32 flags)
{
	if (flags & ~(u32)O_CLOEXEC || fd == to)
		return -EINVAL;
	struct file *f = fd_get(fd);
	return f ? fd_dup_to(f, to, flags & O_CLOEXEC) : -EBADF;
}

long sys_dup2(int fd, int to)
{
	if (fd == to)
		return fd_get(fd) ? fd : -EBADF;
	return sys_dup3(fd, to, 0);
}

/* ---- fcntl ------------------------------------------------------------------------ */

static long lock(struct file *f, u32 cmd, struct flock *user)
{
	struct flock l;
	bool get = cmd == F_GETLK || cmd == F_OFD_GETLK;
	if (!(get ? user_writable(user, sizeof l) : user_readable(user, sizeof l)))
		return -EFAULT;
	memcpy(&l, user, sizeof l);
	if (l.l_type != F_RDLCK && l.l_type != F_WRLCK && (get || l.l_type != F_UNLCK))
		return -EINVAL;
	if (cmd >= F_OFD_GETLK && l.l_pid != 0)
		return -EINVAL;
	struct stat st;
	file_stat(f, &st);
	s64 base = 0, start, end;
	switch (l.l_whence) {
	case 0 /* SEEK_SET */:
		break;
	case 1 /* SEEK_CUR */:
		base = (s64)f->pos;
		break;
	case 2 /* SEEK_END */:
		base = st.st_size;
		break;
	default:
		return -EINVAL;
	}
	if (__builtin_add_overflow(base, l.l_start, &start) || __builtin_add_overflow(start, l.l_len, &end))
		return -EOVERFLOW;
	if (start < 0 || end < 0)
		return -EINVAL;
	u32 access = f->flags & O_ACCMODE;
	if (!get && ((l.l_type == F_RDLCK && access == O_WRONLY) || (l.l_type == F_WRLCK && access == O_RDONLY)))
		return -EBADF;
	if (get)
		user->l_type = F_UNLCK;
	return 0;
}

static long seals(struct file *f, u32 cmd, u64 arg)
{
	struct node n = file_node(f);
	if (node_kind(n) != NODE_INODE || inode_of(n)->dev != DEV_MEMFD)
		return -EINVAL;
	struct inode *ip = inode_of(n);
	if (cmd == F_GET_SEALS)
		return ip->seals;
	if (arg & ~(u64)(F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_FUTURE_WRITE))
		return -EINVAL;
	if ((f->flags & O_ACCMODE) == O_RDONLY || ip->seals & F_SEAL_SEAL)
		return -EPERM;
	if (arg & F_SEAL_WRITE && ip->file.maps)
		return -EBUSY;
	ip->seals |= (u8)arg;
	return 0;
}

/* Flags that F_SETFL changes: fs/fcntl.c's SETFL_MASK, without O_DIRECT and FASYNC, which nothing here serves. */
enum { SETFL = O_APPEND | O_NONBLOCK | O_NOATIME };

long sys_fcntl(int fd, u32 cmd, u64 arg)
{
	struct file *f = fd_get(fd);
	if (!f)
		return -EBADF;
	switch (cmd) { /* what an O_PATH descriptor allows, too */
	case F_DUPFD:
	case F_DUPFD_CLOEXEC:
		if (arg >= fd_limit())
			return -EINVAL;
		return dup_from(fd, (int)arg, cmd == F_DUPFD_CLOEXEC);
	case F_GETFD:
		return fd_cloexec(fd) ? FD_CLOEXEC : 0;
	case F_SETFD:
		fd_set_cloexec(fd, arg & FD_CLOEXEC);
		return 0;
	case F_GETFL:
		return f->flags;
	}
	if (f->flags & O_PATH)
		return -EBADF;
	switch (cmd) {
	case F_SETFL:
		f->flags = (f->flags & ~(u32)SETFL) | ((u32)arg & SETFL);
		return 0;
	case F_GETLK:
	case F_SETLK:
	case F_SETLKW:
	case F_OFD_GETLK:
	case F_OFD_SETLK:
	case F_OFD_SETLKW:
		return lock(f, cmd, (struct flock *)arg);
	case F_GETPIPE_SZ:
	case F_SETPIPE_SZ: {
		long r = f->ops->ioctl ? f->ops->ioctl(f, cmd, arg) : -ENOTTY;
		return r == -ENOTTY ? -EBADF : r;
	}
	case F_ADD_SEALS:
	case F_GET_SEALS:
		return seals(f, cmd, arg);
	case F_GETOWN:
	case F_GETSIG:
		return 0;
	case F_GETLEASE:
		return F_UNLCK;
	default: /* owners, leases, notification: no signals come from files */
		return -EINVAL;
	}
}

/* ---- ioctl -------------------------------------------------------------------------- */

long sys_ioctl(int fd, u32 request, u64 arg)
{
	struct file *f = fd_io(fd);
	if (!f)
		return -EBADF;
	switch (request) {
	case FIOCLEX:
	case FIONCLEX:
		fd_set_cloexec(fd, request == FIOCLEX);
		return 0;
	case FIONBIO:
		if (!user_readable((void *)arg, sizeof(int)))
			return -EFAULT;
		f->flags = (f->flags & ~(u32)O_NONBLOCK) | (*(int *)arg ? O_NONBLOCK : 0);
		return 0;
	case FIONREAD: {
		struct node n = file_node(f);
		if ((node_mode(n) & S_IFMT) != S_IFREG || node_kind(n) == NODE_PROC)
			break;
		struct stat st;
		node_stat(n, &st);
		if (!user_writable((void *)arg, sizeof(int)))
			return -EFAULT;
		*(int *)arg = (int)MIN((u64)st.st_size - MIN((u64)st.st_size, f->pos), 0x7fffffffull);
		return 0;
	}
	}
	if (!f->ops->ioctl)
		return -ENOTTY;
	file_get(f);
	long r = f->ops->ioctl(f, request, arg);
	file_put(f);
	return r;
}

/* ---- locks, synchronising, advice -------------------------------------------------------- */

enum { FLOCK_SH = 1, FLOCK_EX = 2, FLOCK_NB = 4, FLOCK_UN = 8, FLOCK_MAND = 32 }; /* flock(2); not in an exported header */

long sys_flock(int fd, u32 op)
{
	if (op & FLOCK_MAND)
		return 0; /* gone since Linux 5.17, and no error */
	op &= ~(u32)FLOCK_NB;
	if (op != FLOCK_SH && op != FLOCK_EX && op != FLOCK_UN)
		return -EINVAL;
	return fd_io(fd) ? 0 : -EBADF;
}

long sys_fsync(int fd)
{
	struct file *f = fd_io(fd);
	return !f ? -EBADF : f->ops->seek ? 0 : -EINVAL;
}

long sys_fdatasync(int fd) { return sys_fsync(fd); }
long sys_syncfs(int fd) { return fd_io(fd) ? 0 : -EBADF; }
long sys_sync(void) { return 0; }

long sys_sync_file_range(int fd, s64 off, s64 n, u32 flags)
{
	struct file *f = fd_io(fd);
	if (!f)
		return -EBADF;
	if (flags & ~7u || off < 0 || n < 0 || off + (u64)n > FILE_SIZE_MAX)
		return -EINVAL;
	return f->ops->seek ? 0 : -ESPIPE;
}

long sys_msync(void *addr, u64 n, int flags)
{
	if ((u64)addr % PAGE_SIZE || flags & ~(MS_ASYNC | MS_INVALIDATE | MS_SYNC) || (flags & MS_ASYNC && flags & MS_SYNC))
		return -EINVAL;
	u64 bytes = PAGE_UP(n);
	if (bytes < n)
		return -ENOMEM;
	if (bytes && region_address((u64)addr))
		return region_sync((u64)addr, bytes);
	return bytes == 0 || mm_mapped((u64)addr, bytes) ? 0 : -ENOMEM;
}

long sys_fadvise64(int fd, s64 off, s64 n, int advice)
{
	(void)off;
	struct file *f = fd_io(fd);
	if (!f)
		return -EBADF;
	if (!f->ops->seek)
		return -ESPIPE;
	return n < 0 || advice < POSIX_FADV_NORMAL || advice > POSIX_FADV_NOREUSE ? -EINVAL : 0;
}

long sys_readahead(int fd, s64 off, u64 n)
{
	(void)n;
	struct file *f = fd_io(fd);
	if (!f || (f->flags & O_ACCMODE) == O_WRONLY)
		return -EBADF;
	return off < 0 || (node_mode(file_node(f)) & S_IFMT) != S_IFREG ? -EINVAL : 0;
}
