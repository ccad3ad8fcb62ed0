/*
 * calls_attr.c: changing what stat shows: size, mode, owner, times.
 */
#include "calls.h"
#include "fs.h"

#include <linux/falloc.h>

/* The inode of a path or descriptor, copied up, to be changed. */
static long inode_for(struct node n, struct inode **ip)
{
	if (!n.v || node_kind(n) == NODE_PROC)
		return -EPERM;
	*ip = copy_up(n);
	return *ip ? 0 : -ENOMEM;
}

static long inode_by_path(int dirfd, const char *path, u32 flags, struct inode **ip)
{
	struct place at;
	u32 walk_flags = (flags & AT_SYMLINK_NOFOLLOW ? 0 : WALK_FOLLOW) | (flags & AT_EMPTY_PATH ? WALK_EMPTY : 0);
	long err = walk_at(dirfd, path, walk_flags, &at, NULL);
	if (err)
		return err;
	if (flags & AT_EMPTY_PATH && at.file && at.file->flags & O_PATH && !at.node.v)
		return -EBADF;
	return inode_for(at.node, ip);
}

static long inode_by_fd(int fd, struct inode **ip)
{
	struct file *f = fd_io(fd);
	return f ? inode_for(file_node(f), ip) : -EBADF;
}

/* ---- size ---------------------------------------------------------------------------- */

long sys_truncate(const char *path, s64 size)
{
	struct inode *ip;
	struct place at;
	if (size < 0)
		return -EINVAL;
	long err = walk_at(AT_FDCWD, path, WALK_FOLLOW, &at, NULL);
	if (err)
		return err;
	u32 type = node_mode(at.node) & S_IFMT;
	if (type != S_IFREG)
		return type == S_IFDIR ? -EISDIR : -EINVAL;
	if (regionfs_is(at.node))
		return -EINVAL; /* a region keeps its size */
	if (!node_may(at.node, MAY_WRITE))
		return -EACCES;
	err = inode_for(at.node, &ip);
	if (!err)
		err = data_resize(ip, (u64)size);
	if (!err)
		permit_written(ip);
	return err;
}

long sys_ftruncate(int fd, s64 size)
{
	struct file *f = fd_io(fd);
	if (!f)
		return -EBADF;
	if (size < 0 || (f->flags & O_ACCMODE) == O_RDONLY || !f->ops->truncate)
		return -EINVAL;
	return f->ops->truncate(f, (u64)size);
}

static long zero_range(struct inode *ip, u64 off, u64 n)
{
	if (ip->seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE))
		return -EPERM;
	long err = data_own(ip, ip->size);
	if (!err)
		data_zero(ip, off, n);
	return err;
}

long sys_fallocate(int fd, u32 mode, s64 off, s64 n)
{
	struct file *f = fd_io(fd);
	bool keep = mode & FALLOC_FL_KEEP_SIZE, punch = mode & FALLOC_FL_PUNCH_HOLE, zero = mode & FALLOC_FL_ZERO_RANGE;
	s64 end;
	if (!f)
		return -EBADF;
	if (off < 0 || n <= 0)
		return -EINVAL;
	if (mode & ~(u32)(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE) || (punch && (zero || !keep)))
		return -EOPNOTSUPP;
	if ((f->flags & O_ACCMODE) == O_RDONLY)
		return -EBADF;
	if (f->ops != &inode_ops)
		return f->ops->seek ? -ENODEV : -ESPIPE;
	if (__builtin_add_overflow(off, n, &end))
		return -EFBIG;
	struct inode *ip = inode_of(file_node(f));
	long err = 0;
	if (!punch && (u64)end > ip->size && ip->seals & F_SEAL_GROW && !keep)
		return -EPERM;
	if (punch || zero)
		err = zero_range(ip, (u64)off, (u64)n);
	if (!err && !punch)
		err = data_reserve(ip, (u64)end);
	if (!err && !punch && !keep && (u64)end > ip->size)
		err = data_resize(ip, (u64)end);
	return err;
}

/* ---- mode and owner ------------------------------------------------------------------------ */

static long set_mode(struct inode *ip, u32 mode)
{
	u32 uid, gid;
	if ((ip->mode & S_IFMT) == S_IFLNK)
		return -EOPNOTSUPP;
	if (!permit_owner(node_inode(ip)))
		return -EPERM;
	inode_owner(ip, &uid, &gid);
	if (cred.fsuid && !cred_in_group(gid))
		mode &= ~02000u;
	ip->mode = (u16)((ip->mode & S_IFMT) | (mode & 07777));
	inode_changed(ip);
	return 0;
}

long sys_fchmodat2(int dirfd, const char *path, u32 mode, u32 flags)
{
	struct inode *ip;
	if (flags & ~(u32)(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
		return -EINVAL;
	long err = inode_by_path(dirfd, path, flags, &ip);
	return err ? err : set_mode(ip, mode);
}

long sys_fchmodat(int dirfd, const char *path, u32 mode) { return sys_fchmodat2(dirfd, path, mode, 0); }
long sys_chmod(const char *path, u32 mode) { return sys_fchmodat2(AT_FDCWD, path, mode, 0); }

long sys_fchmod(int fd, u32 mode)
{
	struct inode *ip;
	long err = inode_by_fd(fd, &ip);
	return err ? err : set_mode(ip, mode);
}

/* Only root gives a file away; its owner may give it to a group of his. As on Linux that
 * takes the set-id bits from a file that can be executed. */
static long set_owner(struct inode *ip, u32 uid, u32 gid)
{
	u32 old_uid, old_gid;
	inode_owner(ip, &old_uid, &old_gid);
	if (cred.fsuid && (uid & gid) != ~0u && (old_uid != cred.fsuid || (uid != ~0u && uid != old_uid) || (gid != ~0u && gid != old_gid && !cred_in_group(gid))))
		return -EPERM;
	long err = inode_set_owner(ip, uid == ~0u ? old_uid : uid, gid == ~0u ? old_gid : gid);
	if (err)
		return err;
	if ((ip->mode & S_IFMT) != S_IFDIR)
		ip->mode &= (u16)~(04000 | (ip->mode & 010 ? 02000 : 0));
	inode_changed(ip);
	return 0;
}

long sys_fchownat(int dirfd, const char *path, u32 uid, u32 gid, u32 flags)
{
	struct inode *ip;
	if (flags & ~(u32)(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
		return -EINVAL;
	long err = inode_by_path(dirfd, path, flags, &ip);
	return err ? err : set_owner(ip, uid, gid);
}

long sys_chown(const char *path, u32 uid, u32 gid) { return sys_fchownat(AT_FDCWD, path, uid, gid, 0); }
long sys_lchown(const char *path, u32 uid, u32 gid)
{
	return sys_fchownat(AT_FDCWD, path, uid, gid, AT_SYMLINK_NOFOLLOW);
}

long sys_fchown(int fd, u32 uid, u32 gid)
{
	struct inode *ip;
	long err = inode_by_fd(fd, &ip);
	return err ? err : set_owner(ip, uid, gid);
}

/* ---- times ------------------------------------------------------------------------------------ */

enum { UTIME_NOW = (1 << 30) - 1, UTIME_OMIT = (1 << 30) - 2 }; /* utimensat(2) */

static bool time_ok(const struct __kernel_timespec *t)
{
	return t->tv_nsec == UTIME_NOW || t->tv_nsec == UTIME_OMIT || (u64)t->tv_nsec < NS_PER_SEC;
}

/* Times before 1970 and after 2554 do not fit a count of ns since 1970: the nearest that does. */
static void set_time(u64 *to, const struct __kernel_timespec *t)
{
	if (t->tv_nsec == UTIME_OMIT)
		return;
	if (t->tv_nsec == UTIME_NOW)
		*to = wall_ns();
	else if (t->tv_sec < 0)
		*to = 0;
	else
		*to = MIN((u64)t->tv_sec, ~0ull / NS_PER_SEC - 1) * NS_PER_SEC + (u64)t->tv_nsec;
}

/* Only the owner sets any time; now, is for who may write, too. */
static long may_set_times(struct inode *ip, const struct __kernel_timespec t[2])
{
	struct node n = node_inode(ip);
	if (cred_plain || permit_owner(n))
		return 0;
	bool both_now = t[0].tv_nsec == UTIME_NOW && t[1].tv_nsec == UTIME_NOW;
	return !both_now ? -EPERM : permitted(n, MAY_WRITE) ? 0 : -EACCES;
}

/* path NULL: of the descriptor. t[0]: access, t[1]: modification. */
static long set_times(int dirfd, const char *path, const struct __kernel_timespec t[2], u32 flags)
{
	struct inode *ip;
	if (!time_ok(&t[0]) || !time_ok(&t[1]))
		return -EINVAL;
	if (t[0].tv_nsec == UTIME_OMIT && t[1].tv_nsec == UTIME_OMIT && !path)
		return fd_io(dirfd) ? 0 : -EBADF;
	long err = path ? inode_by_path(dirfd, path, flags, &ip) : inode_by_fd(dirfd, &ip);
	if (!err)
		err = may_set_times(ip, t);
	if (err)
		return err;
	set_time(&ip->atime, &t[0]);
	set_time(&ip->mtime, &t[1]);
	inode_changed(ip);
	return 0;
}

static const struct __kernel_timespec now[2] = {{.tv_nsec = UTIME_NOW}, {.tv_nsec = UTIME_NOW}};

long sys_utimensat(int dirfd, const char *path, const struct __kernel_timespec *times, u32 flags)
{
	struct __kernel_timespec t[2];
	if (flags & ~(u32)(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) || (!path && flags))
		return -EINVAL;
	if (times && !user_readable(times, sizeof t))
		return -EFAULT;
	memcpy(t, times ? times : now, sizeof t);
	return set_times(dirfd, path, t, flags);
}

long sys_futimesat(int dirfd, const char *path, const struct __kernel_old_timeval *times)
{
	struct __kernel_old_timeval v[2];
	struct __kernel_timespec t[2];
	if (!times)
		return set_times(dirfd, path, now, 0);
	if (!user_readable(times, sizeof v))
		return -EFAULT;
	memcpy(v, times, sizeof v);
	for (int i = 0; i < 2; i++) {
		if ((u64)v[i].tv_usec >= 1000000)
			return -EINVAL;
		t[i] = (struct __kernel_timespec){v[i].tv_sec, v[i].tv_usec * 1000};
	}
	return set_times(dirfd, path, t, 0);
}

long sys_utimes(const char *path, const struct __kernel_old_timeval *times)
{
	return path ? sys_futimesat(AT_FDCWD, path, times) : -EFAULT;
}

long sys_utime(const char *path, const struct utimbuf_k *times)
{
	if (!path || (times && !user_readable(times, sizeof *times)))
		return -EFAULT;
	if (!times)
		return set_times(AT_FDCWD, path, now, 0);
	struct __kernel_timespec t[2] = {{.tv_sec = times->actime}, {.tv_sec = times->modtime}};
	return set_times(AT_FDCWD, path, t, 0);
}
