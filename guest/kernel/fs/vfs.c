/*
 * vfs.c: the operations of files that have a node in the tree. Such a file
 * keeps its node in priv; an inode in memory is held by it.
 */
#include "fs.h"

#include <linux/fs.h>

struct node file_node(struct file *f)
{
	if (f->ops == &proc_file_ops)
		return proc_file_node(f);
	return (struct node){f->ops->stat == vfs_stat_op ? (u64)f->priv : 0};
}

/* ---- operations --------------------------------------------------------------------- */

long vfs_stat_op(struct file *f, struct stat *st)
{
	node_stat(file_node(f), st);
	return 0;
}

void vfs_release_op(struct file *f) { node_put(file_node(f)); }

long vfs_seek_op(struct file *f, s64 off, int whence)
{
	struct stat st;
	file_stat(f, &st);
	s64 base = 0;
	switch (whence) {
	case SEEK_SET:
		break;
	case SEEK_CUR:
		base = (s64)f->pos;
		break;
	case SEEK_END:
		base = st.st_size;
		break;
	case SEEK_DATA: /* a file is one extent of data */
	case SEEK_HOLE:
		if (off < 0 || off >= st.st_size)
			return -ENXIO;
		if (whence == SEEK_HOLE)
			off = st.st_size;
		break;
	default:
		return -EINVAL;
	}
	s64 pos;
	if (__builtin_add_overflow(base, off, &pos))
		return -EOVERFLOW;
	if (pos < 0)
		return -EINVAL;
	f->pos = (u64)pos;
	return pos;
}

static long dir_seek(struct file *f, s64 off, int whence)
{
	return whence == SEEK_SET || whence == SEEK_CUR ? vfs_seek_op(f, off, whence) : -EINVAL;
}

static long image_read(struct file *f, void *buf, size_t n, u64 *pos)
{
	u32 ino = image_of(file_node(f));
	if (!img_sound(ino))
		return -EIO;
	u64 size = img_inode(ino)->size;
	if (*pos >= size)
		return 0;
	n = MIN(n, size - *pos);
	if (!img_read(ino, buf, n, *pos))
		return -EIO;
	*pos += n;
	return (long)n;
}

static void *image_map_direct(struct file *f, u64 off, u64 n) { return img_direct(image_of(file_node(f)), off, n); }
static bool image_map_loaded(struct file *f, struct file_layout *out) { return img_loaded(image_of(file_node(f)), out); }

static long inode_read(struct file *f, void *buf, size_t n, u64 *pos)
{
	long r = data_read(inode_of(file_node(f)), buf, n, *pos);
	if (r > 0)
		*pos += (u64)r;
	return r;
}

static long inode_write(struct file *f, const void *buf, size_t n, u64 *pos)
{
	struct inode *ip = inode_of(file_node(f));
	if (f->flags & O_APPEND)
		*pos = ip->size;
	long r = data_write(ip, buf, n, *pos);
	if (r > 0) {
		*pos += (u64)r;
		permit_written(ip);
	}
	return r;
}

static long inode_truncate(struct file *f, u64 size)
{
	struct inode *ip = inode_of(file_node(f));
	long err = data_resize(ip, size);
	if (!err)
		permit_written(ip);
	return err;
}

static void *inode_map_direct(struct file *f, u64 off, u64 n)
{
	struct inode *ip = inode_of(file_node(f));
	return ip->flags & INODE_BORROWED ? img_direct(ip->lower - 1, off, n) : NULL;
}

static bool inode_map_loaded(struct file *f, struct file_layout *out)
{
	struct inode *ip = inode_of(file_node(f));
	return ip->flags & INODE_BORROWED && img_loaded(ip->lower - 1, out);
}

static void *inode_map_shared(struct file *f, u64 off, u64 n)
{
	return shared_map(inode_of(file_node(f)), off, n);
}

static long dir_read(struct file *f, void *buf, size_t n, u64 *pos)
{
	(void)f, (void)buf, (void)n, (void)pos;
	return -EISDIR;
}

const struct file_ops image_ops = {
	.name = "image",
	.read = image_read,
	.seek = vfs_seek_op,
	.stat = vfs_stat_op,
	.map_direct = image_map_direct,
	.map_loaded = image_map_loaded,
	.release = vfs_release_op,
};
const struct file_ops inode_ops = {
	.name = "tmpfs",
	.read = inode_read,
	.write = inode_write,
	.seek = vfs_seek_op,
	.stat = vfs_stat_op,
	.truncate = inode_truncate,
	.map_direct = inode_map_direct,
	.map_loaded = inode_map_loaded,
	.map_shared = inode_map_shared,
	.release = vfs_release_op,
};
const struct file_ops dir_ops = {
	.name = "directory",
	.read = dir_read,
	.seek = dir_seek,
	.stat = vfs_stat_op,
	.getdents = dir_getdents,
	.release = vfs_release_op,
};
const struct file_ops path_ops = {.name = "path", .stat = vfs_stat_op, .release = vfs_release_op};

void files_copied_up(u32 image, struct inode *ip)
{
	struct file *f;
	for (int fd = 0; (f = fd_next(&fd)); fd++) {
		if (f->ops->stat != vfs_stat_op || !same(file_node(f), node_image(image)))
			continue;
		f->priv = (void *)node_inode(ip).v;
		inode_get(ip);
		if (f->ops == &image_ops)
			f->ops = &inode_ops;
	}
	if (same(cwd, node_image(image))) {
		cwd = node_inode(ip);
		inode_get(ip);
	}
}

long fs_disown(u64 addr, u64 bytes)
{
	u64 left = bytes / PAGE_SIZE, pages;
	for (u32 i = 0; i < img_count() && left; i++) {
		if (!img_holds(i, addr, bytes, &pages))
			continue;
		struct inode *ip = copy_up(node_image(i));
		if (!ip || data_own(ip, ip->size))
			return -ENOMEM;
		left -= pages;
	}
	return left ? -ENOMEM : 0;
}

long fs_disown_layout(u64 layout)
{
	for (u32 i = 0; i < img_count(); i++) {
		if (!img_shows(i, layout))
			continue;
		struct inode *ip = copy_up(node_image(i));
		if (!ip || data_own(ip, ip->size))
			return -ENOMEM;
	}
	return 0;
}

void vfs_init(const void *image, u64 bytes)
{
	const char *why = bytes ? img_init(image, bytes) : NULL;
	if (why)
		panic("root image of %lu bytes: %s", bytes, why);
	overlay_init();
	if (cwd_set(node_inode(root_inode), NULL))
		panic("no memory for the working directory");
}
