/*
 * calls_xattr.c: extended attributes, which no file here has: reading finds
 * none, setting is not supported, both as on a file system without them.
 */
#include "calls.h"
#include "fs.h"

enum { XATTR_NAME_MAX = 255 }; /* linux/limits.h */

static long check_path(const char *path, bool follow)
{
	struct place at;
	return walk_at(AT_FDCWD, path, follow ? WALK_FOLLOW : 0, &at, NULL);
}

static long check_fd(int fd) { return fd_io(fd) ? 0 : -EBADF; }

/* err: of finding the file; then the name is looked at; none: the answer. */
static long with_name(const char *name, long err, long none)
{
	if (err)
		return err;
	long len = user_strlen(name, XATTR_NAME_MAX + 1);
	if (len == -EFAULT)
		return len;
	if (len <= 0)
		return -ERANGE;
	static const char *const spaces[] = {"user.", "trusted.", "security."};
	for (u32 i = 0; i < ARRAY_SIZE(spaces); i++)
		if (strncmp(name, spaces[i], strlen(spaces[i])) == 0)
			return none;
	return -EOPNOTSUPP; /* no such name space */
}

long sys_getxattr(const char *path, const char *name, void *value, u64 size)
{
	(void)value, (void)size;
	return with_name(name, check_path(path, true), -ENODATA);
}

long sys_lgetxattr(const char *path, const char *name, void *value, u64 size)
{
	(void)value, (void)size;
	return with_name(name, check_path(path, false), -ENODATA);
}

long sys_fgetxattr(int fd, const char *name, void *value, u64 size)
{
	(void)value, (void)size;
	return with_name(name, check_fd(fd), -ENODATA);
}

long sys_setxattr(const char *path, const char *name, const void *value, u64 size, u32 flags)
{
	(void)value, (void)size, (void)flags;
	return with_name(name, check_path(path, true), -EOPNOTSUPP);
}

long sys_lsetxattr(const char *path, const char *name, const void *value, u64 size, u32 flags)
{
	(void)value, (void)size, (void)flags;
	return with_name(name, check_path(path, false), -EOPNOTSUPP);
}

long sys_fsetxattr(int fd, const char *name, const void *value, u64 size, u32 flags)
{
	(void)value, (void)size, (void)flags;
	return with_name(name, check_fd(fd), -EOPNOTSUPP);
}

long sys_listxattr(const char *path, char *list, u64 size)
{
	(void)list, (void)size;
	return check_path(path, true);
}

long sys_llistxattr(const char *path, char *list, u64 size)
{
	(void)list, (void)size;
	return check_path(path, false);
}

long sys_flistxattr(int fd, char *list, u64 size)
{
	(void)list, (void)size;
	return check_fd(fd);
}

long sys_removexattr(const char *path, const char *name)
{
	return with_name(name, check_path(path, true), -ENODATA);
}

long sys_lremovexattr(const char *path, const char *name)
{
	return with_name(name, check_path(path, false), -ENODATA);
}

long sys_fremovexattr(int fd, const char *name) { return with_name(name, check_fd(fd), -ENODATA); }
