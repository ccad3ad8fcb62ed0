/*
 * open.c: from a path or a node to an open file: flags, creation, files
 * without a name.
 */
#include "fs.h"

u32 file_umask = 022;

#define OPEN_EXECUTES (1u << 31) /* a flag of our own: to be executed, not read */

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
	return (flags & ~(u32)(OPEN_EXECUTES | O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_CLOEXEC)) | O_LARGEFILE;
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
	if (f && flags & O_TRUNC)
		permit_written(ip);
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
	else if (regionfs_is(n))
		f = regionfs_open(inode_of(n), path, flags, kept_flags(flags), err);
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

/* May the program open what is there already? What open_node() refuses by itself is its to name. */
static long may_open(struct node n, u32 flags)
{
	u32 type = node_mode(n) & S_IFMT, mode = flags & O_ACCMODE;
	if (cred_plain || flags & O_PATH || type == S_IFLNK || (type == S_IFDIR && mode != O_RDONLY) || (type != S_IFDIR && flags & O_DIRECTORY))
		return 0;
	u32 want = flags & OPEN_EXECUTES ? MAY_EXEC : (mode != O_WRONLY ? MAY_READ : 0) | (mode != O_RDONLY || flags & O_TRUNC ? MAY_WRITE : 0);
	return permitted(n, want) ? 0 : -EACCES;
}

/* A file without a name in directory dir. */
static struct file *open_tmpfile(struct node dir, u32 flags, u32 mode, long *err)
{
	*err = -EINVAL;
	if ((flags & O_ACCMODE) == O_RDONLY)
		return NULL;
	*err = node_kind(dir) == NODE_PROC || regionfs_dir(dir) ? -EOPNOTSUPP : dir_is_dead(dir) ? -ENOENT : permit_names(dir);
	if (*err)
		return NULL;
	*err = -ENOMEM;
	struct inode *ip = inode_in(dir, S_IFREG | (mode & 07777 & ~file_umask));
	if (!ip)
		return NULL;
	ip->dev = (u8)node_dev(dir);
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
	struct inode *ip = inode_in(at->dir, S_IFREG | (mode & 07777 & ~file_umask));
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
	if (flags & O_CREAT && at->slash && at->last == LAST_NAME)
		*err = -EISDIR;
	else if (flags & O_CREAT && flags & O_EXCL && at->node.v)
		*err = -EEXIST;
	else if (flags & (O_CREAT | O_TRUNC) && at->node.v && node_is_dir(at->node))
		*err = -EISDIR;
	if (*err)
		return NULL;
	char *path = text->lost ? NULL : copy_text(text);
	bool created = !at->node.v;
	*err = !text->lost && !path ? -ENOMEM : created ? create(at, mode) : may_open(at->node, flags);
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
	return open_place(&at, &text, flags & ~OPEN_EXECUTES, mode, err);
}

struct file *vfs_open_program(const char *path, long *err)
{
	u32 flags = O_RDONLY | OPEN_EXECUTES;
	char buf[PATH_LEN_MAX];
	struct path_text text = {buf, 0, false};
	struct place at;
	u64 len = strnlen(path, PATH_LEN_MAX);
	*err = len == PATH_LEN_MAX ? -ENAMETOOLONG : 0;
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
	return open_place(&at, &text, flags, 0, err);
}
