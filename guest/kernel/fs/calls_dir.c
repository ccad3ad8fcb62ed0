/*
 * calls_dir.c: directories and names.
 */
#include "calls.h"
#include "fs.h"

#include <linux/fs.h>

/* ---- getdents ------------------------------------------------------------------------- */

long sys_getdents64(int fd, void *buf, u32 n)
{
	struct file *f = fd_io(fd);
	if (!f)
		return -EBADF;
	if (!f->ops->getdents)
		return -ENOTDIR;
	if (!user_writable(buf, n))
		return -EFAULT;
	return f->ops->getdents(f, buf, n);
}

/* struct linux_dirent has the same size as linux_dirent64 for every name: the
 * type moves from before the name to the last byte. */
long sys_getdents(int fd, void *buf, u32 n)
{
	enum { RECLEN = 16, TYPE = 18 };
	long r = sys_getdents64(fd, buf, n);
	u16 len;
	for (u8 *p = buf; r > 0 && p < (u8 *)buf + r; p += len) {
		memcpy(&len, p + RECLEN, sizeof len);
		u8 type = p[TYPE];
		memmove(p + TYPE, p + TYPE + 1, (u64)len - TYPE - 1);
		p[len - 1] = type;
	}
	return r;
}

/* ---- making names ------------------------------------------------------------------------ */

static u32 masked(u32 mode, u32 bits) { return mode & bits & ~file_umask; }

long sys_mkdirat(int dirfd, const char *path, u32 mode)
{
	struct place at;
	long err = walk_at(dirfd, path, WALK_CREATE, &at, NULL);
	return err ? err : tree_mkdir(&at, masked(mode, 01777));
}

long sys_mkdir(const char *path, u32 mode) { return sys_mkdirat(AT_FDCWD, path, mode); }

static long make(struct place *at, u32 mode, u64 *ino)
{
	struct inode *ip = inode_in(at->dir, mode);
	if (!ip)
		return -ENOMEM;
	inode_get(ip);
	*ino = ip->ino;
	long err = tree_create(at, ip);
	inode_put(ip);
	return err;
}

long sys_mknodat(int dirfd, const char *path, u32 mode, u64 dev)
{
	(void)dev;
	struct place at;
	u64 ino;
	u32 type = mode & S_IFMT;
	if (type == S_IFDIR)
		return -EPERM;
	if (type != 0 && type != S_IFREG) /* named pipes, sockets, devices: only what the system makes */
		return type == S_IFIFO || type == S_IFSOCK || type == S_IFCHR || type == S_IFBLK ? -EPERM : -EINVAL;
	long err = walk_at(dirfd, path, WALK_CREATE, &at, NULL);
	return err ? err : make(&at, S_IFREG | masked(mode, 07777), &ino);
}

long sys_mknod(const char *path, u32 mode, u64 dev) { return sys_mknodat(AT_FDCWD, path, mode, dev); }

long sys_symlinkat(const char *target, int dirfd, const char *path)
{
	struct place at;
	long len = user_strlen(target, PATH_LEN_MAX);
	if (len <= 0)
		return len ? len : -ENOENT;
	long err = walk_at(dirfd, path, WALK_CREATE, &at, NULL);
	if (err)
		return err;
	struct inode *ip = inode_in(at.dir, S_IFLNK | 0777);
	if (!ip)
		return -ENOMEM;
	inode_get(ip);
	ip->size = (u64)len;
	ip->target = kmalloc((u64)len + 1);
	if (ip->target) {
		memcpy(ip->target, target, (u64)len);
		ip->target[len] = 0;
	}
	err = ip->target ? tree_create(&at, ip) : -ENOMEM;
	inode_put(ip);
	return err;
}

long sys_symlink(const char *target, const char *path) { return sys_symlinkat(target, AT_FDCWD, path); }

long sys_linkat(int fromfd, const char *from, int tofd, const char *to, u32 flags)
{
	struct place a, b;
	if (flags & ~(u32)(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH))
		return -EINVAL;
	long err = walk_at(fromfd, from, (flags & AT_SYMLINK_FOLLOW ? WALK_FOLLOW : 0) | (flags & AT_EMPTY_PATH ? WALK_EMPTY : 0), &a,
			   NULL);
	if (!err)
		err = walk_at(tofd, to, WALK_CREATE, &b, NULL);
	if (err)
		return err;
	if (b.last != LAST_NAME || b.node.v)
		return -EEXIST;
	if (b.slash)
		return -ENOENT; /* only a directory can be made under such a name */
	if (a.file || node_kind(a.node) == NODE_PROC || node_kind(b.dir) == NODE_PROC || node_dev(a.node) != node_dev(b.dir))
		return -EXDEV;
	if (node_is_dir(a.node))
		return -EPERM;
	struct inode *ip = copy_up(a.node);
	if (!ip)
		return -ENOMEM;
	if (ip->nlink == 0 && !(ip->flags & INODE_LINKABLE))
		return -ENOENT;
	err = tree_create(&b, ip);
	if (!err)
		inode_changed(ip);
	return err;
}

long sys_link(const char *from, const char *to) { return sys_linkat(AT_FDCWD, from, AT_FDCWD, to, 0); }

/* ---- taking and moving names ---------------------------------------------------------------- */

long sys_unlinkat(int dirfd, const char *path, u32 flags)
{
	struct place at;
	if (flags & ~(u32)AT_REMOVEDIR)
		return -EINVAL;
	long err = walk_at(dirfd, path, WALK_CREATE, &at, NULL);
	return err ? err : tree_unlink(&at, flags & AT_REMOVEDIR);
}

long sys_unlink(const char *path) { return sys_unlinkat(AT_FDCWD, path, 0); }
long sys_rmdir(const char *path) { return sys_unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }

long sys_renameat2(int fromfd, const char *from, int tofd, const char *to, u32 flags)
{
	struct place a, b;
	if (flags & ~(u32)RENAME_NOREPLACE) /* exchange and whiteout: as a file system that lacks them */
		return -EINVAL;
	long err = walk_at(fromfd, from, WALK_CREATE, &a, NULL);
	if (!err)
		err = walk_at(tofd, to, WALK_CREATE, &b, NULL);
	if (err)
		return err;
	if (flags & RENAME_NOREPLACE && a.last == LAST_NAME && (b.last != LAST_NAME || (a.node.v && b.node.v)))
		return -EEXIST;
	return tree_rename(&a, &b);
}

long sys_renameat(int fromfd, const char *from, int tofd, const char *to)
{
	return sys_renameat2(fromfd, from, tofd, to, 0);
}

long sys_rename(const char *from, const char *to) { return sys_renameat2(AT_FDCWD, from, AT_FDCWD, to, 0); }

/* ---- names of sockets (kernel.h) --------------------------------------------------------------- */

long vfs_socket_create(const char *path, u64 *ino)
{
	struct place at;
	long err = walk_at(AT_FDCWD, path, WALK_CREATE, &at, NULL);
	if (!err)
		err = make(&at, S_IFSOCK | masked(0777, 0777), ino);
	return err == -EEXIST ? -EADDRINUSE : err;
}

long vfs_socket_find(const char *path, u64 *ino)
{
	struct place at;
	long err = walk_at(AT_FDCWD, path, WALK_FOLLOW, &at, NULL);
	if (err)
		return err;
	if ((node_mode(at.node) & S_IFMT) != S_IFSOCK || node_kind(at.node) != NODE_INODE)
		return -ECONNREFUSED;
	if (!node_may(at.node, MAY_WRITE))
		return -EACCES;
	*ino = inode_of(at.node)->ino;
	return 0;
}
