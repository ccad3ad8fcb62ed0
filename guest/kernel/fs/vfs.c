/*
 * vfs.c: opening, and the operations of files that have a node in the tree.
 * Such a file keeps its node in priv; an inode in memory is held by it.
 */
#include "fs.h"

#include <linux/fs.h>

u32 file_umask = 022;

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
	const u8 *content = img_content(ino);
	if (!content)
		return -EIO;
	u64 size = img_inode(ino)->size;
	if (*pos >= size)
		return 0;
	n = MIN(n, size - *pos);
	memcpy(buf, content + *pos, n);
	*pos += n;
	return (long)n;
}

static void *image_map_direct(struct file *f, u64 off, u64 n) { return img_direct(image_of(file_node(f)), off, n); }
static void *image_map_loaded(struct file *f, u64 *bytes) { return img_loaded(image_of(file_node(f)), bytes); }

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
	if (r > 0)
		*pos += (u64)r;
	return r;
}

static long inode_truncate(struct file *f, u64 size) { return data_resize(inode_of(file_node(f)), size); }

static void *inode_map_direct(struct file *f, u64 off, u64 n)
{
	struct inode *ip = inode_of(file_node(f));
	return ip->flags & INODE_BORROWED ? img_direct(ip->lower - 1, off, n) : NULL;
}

static void *inode_map_loaded(struct file *f, u64 *bytes)
{
	struct inode *ip = inode_of(file_node(f));
	return ip->flags & INODE_BORROWED ? img_loaded(ip->lower - 1, bytes) : NULL;
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

/* ---- opening ------------------------------------------------------------------------------ */

static struct file *new_file(const struct file_ops *ops, u32 flags, struct node n)
{
	struct file *f = file_new(ops, flags, (void *)n.v);
	if (f)
		node_get(n);
	return f;
}

struct file *open_inode(struct inode *ip, u32 flags) { return new_file(&inode_ops, flags, node_inode(ip)); }

/* What F_GETFL gives: the flags of the open file, not those of the opening. */
static u32 kept_flags(u32 flags)
{
	if (flags & O_PATH)
		return flags & (O_PATH | O_DIRECTORY | O_NOFOLLOW);
	return (flags & ~(u32)(O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_CLOEXEC)) | O_LARGEFILE;
}

static struct file *open_regular(struct node n, u32 flags, long *err)
{
	if ((flags & O_ACCMODE) == O_RDONLY && !(flags & O_TRUNC) && node_kind(n) == NODE_IMAGE)
		return new_file(&image_ops, kept_flags(flags), n);
	struct inode *ip = copy_up(n);
	if (!ip)
		return NULL;
	struct file *f = new_file(&inode_ops, kept_flags(flags), node_inode(ip));
	if (f && flags & O_TRUNC && (*err = data_resize(ip, 0))) {
		file_put(f);
		return NULL;
	}
	return f;
}

struct file *open_node(struct node n, u32 flags, char *path, long *err)
{
	struct file *f = NULL;
	bool writes = (flags & O_ACCMODE) != O_RDONLY;
	n = canon(n);
	u32 type = node_mode(n) & S_IFMT;
	*err = -ENOMEM;
	if (flags & O_DIRECTORY && type != S_IFDIR)
		*err = -ENOTDIR;
	else if (flags & O_PATH)
		f = new_file(&path_ops, kept_flags(flags), n);
	else if (type == S_IFLNK)
		*err = -ELOOP;
	else if (type == S_IFDIR && (writes || flags & O_CREAT))
		*err = -EISDIR;
	else if (type == S_IFDIR)
		f = new_file(&dir_ops, kept_flags(flags), n);
	else if (node_kind(n) == NODE_PROC)
		f = writes ? (*err = -EACCES, NULL) : proc_open(n, kept_flags(flags), err);
	else if (type == S_IFCHR)
		f = dev_open(inode_of(n), kept_flags(flags), err);
	else if (type == S_IFREG)
		f = open_regular(n, flags, err);
	else
		*err = -ENXIO; /* a socket's name */
	if (f) {
		f->path = path;
		*err = 0;
	} else {
		kfree(path);
	}
	return f;
}

static u32 walk_flags(u32 flags)
{
	u32 w = flags & O_CREAT ? WALK_CREATE : 0;
	return flags & O_NOFOLLOW || (flags & O_CREAT && flags & O_EXCL) ? w : w | WALK_FOLLOW;
}

/* A file without a name in directory dir. */
static struct file *open_tmpfile(struct node dir, u32 flags, u32 mode, long *err)
{
	*err = -EINVAL;
	if ((flags & O_ACCMODE) == O_RDONLY)
		return NULL;
	*err = node_kind(dir) == NODE_PROC ? -EOPNOTSUPP : dir_is_dead(dir) ? -ENOENT : -ENOMEM;
	struct inode *ip = *err == -ENOMEM ? inode_new(S_IFREG | (mode & 07777 & ~file_umask), node_dev(dir)) : NULL;
	if (!ip)
		return NULL;
	inode_get(ip);
	if (!(flags & O_EXCL))
		ip->flags |= INODE_LINKABLE;
	struct file *f = new_file(&inode_ops, kept_flags(flags), node_inode(ip));
	inode_put(ip);
	if (f)
		*err = 0;
	return f;
}

/* O_CREAT where there is nothing. */
static long create(struct place *at, u32 mode)
{
	struct inode *ip = inode_new(S_IFREG | (mode & 07777 & ~file_umask), DEV_ROOT);
	if (!ip)
		return -ENOMEM;
	inode_get(ip);
	long err = tree_create(at, ip);
	if (!err)
		at->node = node_inode(ip);
	inode_put(ip); /* its name holds it now, or it goes */
	return err;
}

static char *copy_text(const struct path_text *text)
{
	u32 n = MAX(text->len, 1u);
	char *path = kmalloc(n + 1);
	if (path) {
		memcpy(path, text->len ? text->buf : "/", n);
		path[n] = 0;
	}
	return path;
}

static struct file *open_place(struct place *at, struct path_text *text, u32 flags, u32 mode, long *err)
{
	if (at->file && !(flags & O_PATH)) { /* /proc/self/fd/N of a pipe, socket, ...: the same open file */
		file_get(at->file);
		return at->file;
	}
	if ((flags & O_TMPFILE) == O_TMPFILE) {
		*err = -ENOTDIR;
		return node_is_dir(at->node) ? open_tmpfile(at->node, flags, mode, err) : NULL;
	}
	*err = 0;
	if (flags & O_CREAT && flags & O_EXCL && at->node.v)
		*err = -EEXIST;
	else if (flags & O_CREAT && at->slash && at->last == LAST_NAME)
		*err = -EISDIR;
	if (*err)
		return NULL;
	char *path = text->lost ? NULL : copy_text(text);
	bool created = !at->node.v;
	*err = !text->lost && !path ? -ENOMEM : created ? create(at, mode) : 0;
	if (*err) {
		kfree(path);
		return NULL;
	}
	if (created)
		flags &= ~(u32)(O_CREAT | O_TRUNC);
	struct file *f = open_node(at->node, flags, path, err);
	if (!f && created) /* its entry is there, so this needs no memory */
		tree_unlink(at, false);
	return f;
}

/* Before the walk: flags that contradict each other. */
static long check_flags(u32 *flags)
{
	if (*flags & O_PATH) {
		*flags &= O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
		return 0;
	}
	if ((*flags & __O_TMPFILE && !(*flags & O_DIRECTORY)) || (*flags & O_CREAT && *flags & O_DIRECTORY))
		return -EINVAL;
	return 0;
}

struct file *open_at(int dirfd, const char *path, u32 flags, u32 mode, long *err)
{
	char buf[PATH_LEN_MAX];
	struct path_text text = {buf, 0, false};
	struct place at;
	if ((*err = check_flags(&flags)) || (*err = walk_at(dirfd, path, walk_flags(flags), &at, &text)))
		return NULL;
	return open_place(&at, &text, flags, mode, err);
}

struct file *vfs_open(const char *path, u32 flags, u32 mode, long *err)
{
	char buf[PATH_LEN_MAX];
	struct path_text text = {buf, 0, false};
	struct place at;
	u64 len = strnlen(path, PATH_LEN_MAX);
	*err = len == PATH_LEN_MAX ? -ENAMETOOLONG : check_flags(&flags);
	if (*err)
		return NULL;
	const char *from = cwd_text();
	text.lost = !from;
	if (from && from[1]) { /* not "/", which is no text */
		text.len = (u32)strlen(from);
		memcpy(buf, from, text.len);
	}
	if ((*err = walk(cwd, path, len, walk_flags(flags), &at, &text)))
		return NULL;
	return open_place(&at, &text, flags, mode, err);
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
