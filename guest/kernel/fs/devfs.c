/*
 * devfs.c: /dev, a writable directory in memory with the devices that
 * programs expect, and what reading and writing those does.
 */
#include "../api.h"
#include "fs.h"

enum device { DEV_NULL = 1, DEV_ZERO, DEV_FULL, DEV_RANDOM, DEV_URANDOM, DEV_TTY, DEV_CONSOLE };

static const struct {
	const char *name;
	u8 major, minor; /* Documentation/admin-guide/devices.txt */
	u16 mode;
} devices[] = {
	[DEV_NULL] = {"null", 1, 3, 0666},     [DEV_ZERO] = {"zero", 1, 5, 0666},       [DEV_FULL] = {"full", 1, 7, 0666},
	[DEV_RANDOM] = {"random", 1, 8, 0666}, [DEV_URANDOM] = {"urandom", 1, 9, 0666}, [DEV_TTY] = {"tty", 5, 0, 0666},
	[DEV_CONSOLE] = {"console", 5, 1, 0600},
};

static const struct {
	const char *name, *target;
} links[] = {
	{"fd", "/proc/self/fd"},
	{"stdin", "/proc/self/fd/0"},
	{"stdout", "/proc/self/fd/1"},
	{"stderr", "/proc/self/fd/2"},
};

u32 dev_rdev(const struct inode *ip)
{
	return ip->device && ip->device <= DEV_CONSOLE ? (u32)devices[ip->device].major << 8 | devices[ip->device].minor : 0;
}

static enum device device(struct file *f) { return (enum device)inode_of(file_node(f))->device; }

static long dev_read(struct file *f, void *buf, size_t n, u64 *pos)
{
	(void)pos;
	switch (device(f)) {
	case DEV_ZERO:
	case DEV_FULL:
		memset(buf, 0, n);
		return (long)n;
	case DEV_RANDOM:
	case DEV_URANDOM:
		purity_entropy();
		random_bytes(buf, n);
		return (long)n;
	default:
		return 0;
	}
}

static long dev_write(struct file *f, const void *buf, size_t n, u64 *pos)
{
	(void)pos;
	switch (device(f)) {
	case DEV_FULL:
		return -ENOSPC;
	case DEV_CONSOLE:
		console_write(1, buf, n);
		return (long)n;
	default: /* what is written to the random devices is not used: every clone gets its own entropy */
		return (long)n;
	}
}

static long dev_seek(struct file *f, s64 off, int whence)
{
	(void)off;
	if ((u32)whence > 2)
		return -EINVAL;
	f->pos = 0;
	return 0;
}

static const struct file_ops dev_ops = {
	.name = "device",
	.read = dev_read,
	.write = dev_write,
	.seek = dev_seek,
	.stat = vfs_stat_op,
	.release = vfs_release_op,
};

/* See api.c. */
static const struct file_ops api_ops = {
	.name = "api",
	.ioctl = api_ioctl,
	.stat = vfs_stat_op,
	.release = vfs_release_op,
};

struct file *dev_open(struct inode *ip, u32 flags, long *err)
{
	if (ip->device == DEV_TTY) { /* there is no controlling terminal */
		*err = -ENXIO;
		return NULL;
	}
	struct file *f = file_new(ip->device == DEVICE_API ? &api_ops : &dev_ops, flags, (void *)node_inode(ip).v);
	if (f)
		inode_get(ip);
	else
		*err = -ENOMEM;
	return f;
}

static long add(struct inode *dir, const char *name, struct inode *ip)
{
	if (!ip)
		return -ENOMEM;
	ip->nlink = inode_is_dir(ip) ? 2 : 1;
	return entry_set(dir, name, (u32)strlen(name), node_inode(ip));
}

/* A directory that cannot be moved or removed. */
static struct inode *add_dir(struct inode *dir, const char *name, u32 mode, u32 dev)
{
	struct inode *ip = inode_new(S_IFDIR | mode, dev);
	if (add(dir, name, ip))
		return NULL;
	ip->flags |= INODE_MOUNT;
	ip->dir.parent = dir;
	inode_get(dir);
	dir->nlink++;
	return ip;
}

long dev_init(struct inode *dir)
{
	for (u32 d = DEV_NULL; d <= DEV_CONSOLE; d++) {
		struct inode *ip = inode_new(S_IFCHR | devices[d].mode, DEV_DEV);
		if (add(dir, devices[d].name, ip))
			return -ENOMEM;
		ip->device = (u8)d;
	}
	for (u32 i = 0; i < ARRAY_SIZE(links); i++) {
		struct inode *ip = inode_new(S_IFLNK | 0777, DEV_DEV);
		u64 n = strlen(links[i].target);
		if (add(dir, links[i].name, ip) || !(ip->target = kmalloc(n + 1)))
			return -ENOMEM;
		memcpy(ip->target, links[i].target, n + 1);
		ip->size = n;
	}
	struct inode *own, *regions, *api;
	if (!add_dir(dir, "shm", 01777, DEV_SHM) || !(own = add_dir(dir, "seuss", 0755, DEV_DEV)) || !(regions = add_dir(own, "region", 0777, DEV_REGION)))
		return -ENOMEM;
	regions->device = DEVICE_REGIONS;
	if (add(own, "api", api = inode_new(S_IFCHR | 0666, DEV_DEV)))
		return -ENOMEM;
	api->device = DEVICE_API;
	return 0;
}
