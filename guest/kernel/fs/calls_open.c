/*
 * calls_open.c: opening files, files without a name, the working directory
 * and the file mode mask.
 */
#include "calls.h"
#include "fs.h"

#include <linux/memfd.h>

long sys_openat(int dirfd, const char *path, u32 flags, u32 mode)
{
	long err = fd_reserve(); /* before a file is created or emptied */
	if (err)
		return err;
	struct file *f = open_at(dirfd, path, flags, mode, &err);
	return f ? fd_install(f, flags & O_CLOEXEC, 0) : err;
}

long sys_open(const char *path, u32 flags, u32 mode) { return sys_openat(AT_FDCWD, path, flags, mode); }
long sys_creat(const char *path, u32 mode) { return sys_openat(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }

enum { MEMFD_NAME_MAX = 249 }; /* memfd_create(2) */

long sys_memfd_create(const char *name, u32 flags)
{
	static const char prefix[] = "/memfd:";
	if (flags & ~(u32)(MFD_CLOEXEC | MFD_ALLOW_SEALING))
		return -EINVAL;
	long len = user_strlen(name, MEMFD_NAME_MAX + 1);
	if (len < 0)
		return len == -EFAULT ? -EFAULT : -EINVAL;
	struct inode *ip = inode_new(S_IFREG | 0777, DEV_MEMFD);
	if (!ip)
		return -ENOMEM;
	inode_get(ip);
	ip->seals = flags & MFD_ALLOW_SEALING ? 0 : F_SEAL_SEAL;
	struct file *f = open_inode(ip, O_RDWR | O_LARGEFILE);
	inode_put(ip);
	if (!f)
		return -ENOMEM;
	f->path = kmalloc(sizeof prefix + (u64)len);
	if (!f->path) {
		file_put(f);
		return -ENOMEM;
	}
	memcpy(f->path, prefix, sizeof prefix - 1);
	memcpy(f->path + sizeof prefix - 1, name, (u64)len);
	f->path[sizeof prefix - 1 + (u64)len] = 0;
	return fd_install(f, flags & MFD_CLOEXEC, 0);
}

long sys_getcwd(char *buf, u64 size)
{
	char tmp[PATH_LEN_MAX];
	if (dir_is_dead(cwd))
		return -ENOENT;
	/* The path it was reached by, unless a directory on the way was moved. */
	const char *path = cwd_text();
	if (!path || !path_leads_to(path, cwd))
		path = dir_path(cwd, tmp, sizeof tmp);
	if (!path)
		return -ENAMETOOLONG;
	u64 n = strlen(path) + 1;
	if (n > size)
		return -ERANGE;
	if (!user_writable(buf, n))
		return -EFAULT;
	memcpy(buf, path, n);
	return (long)n;
}

static long enter(struct place *at, struct path_text *text)
{
	if (!node_is_dir(at->node))
		return -ENOTDIR;
	if (!node_may(at->node, MAY_EXEC))
		return -EACCES;
	text->buf[text->lost ? 0 : text->len] = 0; /* a walk leaves room for it */
	return cwd_set(at->node, text->lost ? NULL : text->buf);
}

long sys_chdir(const char *path)
{
	char buf[PATH_LEN_MAX];
	struct path_text text = {buf, 0, false};
	struct place at;
	long err = walk_at(AT_FDCWD, path, WALK_FOLLOW, &at, &text);
	return err ? err : enter(&at, &text);
}

void fs_start_in(const char *path)
{
	char buf[PATH_LEN_MAX];
	struct path_text text = {buf, 0, false};
	struct place at;
	long err = walk(cwd, path, strlen(path), WALK_FOLLOW, &at, &text);
	if (!err)
		err = enter(&at, &text);
	if (err)
		panic("working directory %s: error %ld", path, -err);
}

long sys_fchdir(int fd)
{
	struct file *f = fd_get(fd);
	if (!f)
		return -EBADF;
	struct node n = file_node(f);
	if (!n.v || !node_is_dir(n))
		return -ENOTDIR;
	return node_may(n, MAY_EXEC) ? cwd_set(canon(n), f->path) : -EACCES;
}

long sys_umask(u32 mask)
{
	u32 old = file_umask;
	file_umask = mask & 0777;
	return old;
}
