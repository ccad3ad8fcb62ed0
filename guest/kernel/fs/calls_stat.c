/*
 * calls_stat.c: what a path or a descriptor is: stat and its relatives,
 * access, readlink, statfs.
 */
#include "calls.h"
#include "fs.h"

#include <linux/magic.h>

static void place_stat(const struct place *at, struct stat *st)
{
	if (at->file)
		file_stat(at->file, st);
	else
		node_stat(at->node, st);
}

static long put_stat(const struct stat *st, struct stat *user)
{
	if (!user_writable(user, sizeof *st))
		return -EFAULT;
	memcpy(user, st, sizeof *st);
	return 0;
}

static u32 at_flags(u32 flags)
{
	return (flags & AT_SYMLINK_NOFOLLOW ? 0 : WALK_FOLLOW) | (flags & AT_EMPTY_PATH ? WALK_EMPTY : 0);
}

long sys_newfstatat(int dirfd, const char *path, struct stat *user, u32 flags)
{
	struct place at;
	struct stat st;
	if (flags & ~(u32)(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | AT_NO_AUTOMOUNT))
		return -EINVAL;
	long err = walk_at(dirfd, path, at_flags(flags), &at, NULL);
	if (err)
		return err;
	place_stat(&at, &st);
	return put_stat(&st, user);
}

long sys_stat(const char *path, struct stat *st) { return sys_newfstatat(AT_FDCWD, path, st, 0); }
long sys_lstat(const char *path, struct stat *st) { return sys_newfstatat(AT_FDCWD, path, st, AT_SYMLINK_NOFOLLOW); }

long sys_fstat(int fd, struct stat *user)
{
	struct stat st;
	struct file *f = fd_get(fd);
	if (!f)
		return -EBADF;
	long err = file_stat(f, &st);
	return err ? err : put_stat(&st, user);
}

static struct statx_timestamp timestamp(u64 sec, u64 nsec)
{
	return (struct statx_timestamp){.tv_sec = (s64)sec, .tv_nsec = (u32)nsec};
}

long sys_statx(int dirfd, const char *path, u32 flags, u32 mask, struct statx *user)
{
	struct place at;
	struct stat st;
	if (flags & ~(u32)(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | AT_NO_AUTOMOUNT | AT_STATX_SYNC_TYPE) ||
	    (flags & AT_STATX_SYNC_TYPE) == AT_STATX_SYNC_TYPE || mask & STATX__RESERVED)
		return -EINVAL;
	long err = walk_at(dirfd, path, at_flags(flags), &at, NULL);
	if (err)
		return err;
	if (!user_writable(user, sizeof *user))
		return -EFAULT;
	place_stat(&at, &st);
	struct statx x = {
		.stx_mask = STATX_BASIC_STATS,
		.stx_blksize = (u32)st.st_blksize,
		.stx_uid = st.st_uid,
		.stx_gid = st.st_gid,
		.stx_nlink = (u32)st.st_nlink,
		.stx_mode = (u16)st.st_mode,
		.stx_ino = st.st_ino,
		.stx_size = (u64)st.st_size,
		.stx_blocks = (u64)st.st_blocks,
		.stx_atime = timestamp(st.st_atime, st.st_atime_nsec),
		.stx_mtime = timestamp(st.st_mtime, st.st_mtime_nsec),
		.stx_ctime = timestamp(st.st_ctime, st.st_ctime_nsec),
		.stx_rdev_major = (u32)st.st_rdev >> 8,
		.stx_rdev_minor = (u32)st.st_rdev & 0xff,
		.stx_dev_major = (u32)st.st_dev >> 8,
		.stx_dev_minor = (u32)st.st_dev & 0xff,
	};
	memcpy(user, &x, sizeof x);
	return 0;
}

/* ---- access -------------------------------------------------------------------------- */

enum { X_OK = 1, W_OK = 2, R_OK = 4 };

long sys_faccessat2(int dirfd, const char *path, u32 mode, u32 flags)
{
	struct place at;
	struct stat st;
	if (mode & ~(u32)(X_OK | W_OK | R_OK) || flags & ~(u32)(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
		return -EINVAL;
	struct cred effective = cred;
	if (!(flags & AT_EACCESS))
		effective = cred_as_real();
	long err = walk_at(dirfd, path, at_flags(flags), &at, NULL);
	if (!err && !at.file && !node_may(at.node, mode))
		err = -EACCES;
	bool root = cred.fsuid == 0;
	cred_restore(&effective);
	if (err)
		return err;
	place_stat(&at, &st);
	bool dir = (st.st_mode & S_IFMT) == S_IFDIR;
	if (root && mode & X_OK && !dir && !(st.st_mode & 0111)) /* root may all but run what nobody may run */
		return -EACCES;
	return mode & W_OK && node_kind(at.node) == NODE_PROC && !dir && !at.file ? -EACCES : 0;
}

long sys_faccessat(int dirfd, const char *path, u32 mode) { return sys_faccessat2(dirfd, path, mode, 0); }
long sys_access(const char *path, u32 mode) { return sys_faccessat2(AT_FDCWD, path, mode, 0); }

/* ---- readlink ---------------------------------------------------------------------------- */

long sys_readlinkat(int dirfd, const char *path, char *buf, int size)
{
	char tmp[PATH_LEN_MAX];
	const char *text = tmp;
	u64 len = 0;
	struct place at;
	if (size <= 0)
		return -EINVAL;
	long r = walk_at(dirfd, path, WALK_EMPTY, &at, NULL);
	if (r)
		return r;
	if ((node_mode(at.node) & S_IFMT) != S_IFLNK)
		return at.last == LAST_JUMP ? -ENOENT : -EINVAL;
	if (node_kind(at.node) == NODE_PROC) {
		r = proc_readlink(at.node, tmp, sizeof tmp);
		len = r < 0 ? 0 : MIN((u64)r, sizeof tmp - 1);
	} else {
		r = node_link(at.node, &text, &len);
	}
	if (r < 0)
		return r;
	len = MIN(len, (u64)size);
	if (len && !user_writable(buf, len))
		return -EFAULT;
	memcpy(buf, text, len);
	return (long)len;
}

long sys_readlink(const char *path, char *buf, int size) { return sys_readlinkat(AT_FDCWD, path, buf, size); }

/* ---- statfs ---------------------------------------------------------------------------------- */

static long put_statfs(u32 dev, struct statfs *user)
{
	if (!user_writable(user, sizeof *user))
		return -EFAULT;
	bool virtual = dev == DEV_PROC || dev == DEV_SYS;
	struct statfs s = {
		.f_type = dev == DEV_PROC ? PROC_SUPER_MAGIC : dev == DEV_SYS ? SYSFS_MAGIC : dev == DEV_ROOT ? OVERLAYFS_SUPER_MAGIC : TMPFS_MAGIC,
		.f_bsize = (s64)PAGE_SIZE,
		.f_frsize = (s64)PAGE_SIZE,
		.f_namelen = NAME_LEN_MAX,
		.f_blocks = virtual ? 0 : (s64)ram_pages_total(),
		.f_bfree = virtual ? 0 : (s64)ram_pages_free(),
		.f_bavail = virtual ? 0 : (s64)ram_pages_free(),
		.f_fsid = {{(int)dev, 0}},
	};
	memcpy(user, &s, sizeof s);
	return 0;
}

long sys_statfs(const char *path, struct statfs *out)
{
	struct place at;
	long err = walk_at(AT_FDCWD, path, WALK_FOLLOW, &at, NULL);
	return err ? err : put_statfs(node_dev(at.node), out);
}

long sys_fstatfs(int fd, struct statfs *out)
{
	struct file *f = fd_get(fd);
	if (!f)
		return -EBADF;
	struct node n = file_node(f);
	return put_statfs(n.v ? node_dev(n) : DEV_MEMFD, out);
}
