/*
 * tree.c: giving, taking and moving names in the merged tree. Whatever can
 * run out of memory comes first, so a call that fails has changed nothing
 * that the program could see.
 */
#include "fs.h"

/* The directory of a place, ready to take or lose names. */
static long writable_dir(struct node dir, struct inode **ip)
{
	if (node_kind(dir) == NODE_PROC)
		return -EPERM;
	if (dir_is_dead(dir))
		return -ENOENT;
	*ip = copy_up(dir);
	return *ip ? 0 : -ENOMEM;
}

long tree_create(struct place *at, struct inode *ip)
{
	struct inode *dir;
	if (at->last != LAST_NAME || at->node.v)
		return -EEXIST;
	if (at->slash && !inode_is_dir(ip))
		return -ENOENT;
	if (node_kind(at->dir) == NODE_PROC)
		return -ENOENT; /* as Linux says for new names in /proc */
	bool region = regionfs_dir(at->dir);
	if (region && ((ip->mode & S_IFMT) != S_IFREG || ip->nlink))
		return -EPERM; /* only regions are there, by one name each */
	long err = permit_names(at->dir);
	if (!err)
		err = writable_dir(at->dir, &dir);
	if (!err)
		err = entry_set(dir, at->name, at->len, node_inode(ip));
	if (err)
		return err;
	ip->dev = dir->dev;
	if (region)
		ip->device = DEVICE_REGION;
	if (inode_is_dir(ip)) {
		ip->nlink = 2;
		ip->dir.parent = dir;
		inode_get(dir);
		dir->nlink++;
	} else {
		ip->nlink++;
	}
	inode_modified(dir);
	return 0;
}

long tree_mkdir(struct place *at, u32 mode)
{
	struct inode *ip = inode_in(at->dir, S_IFDIR | mode);
	if (!ip)
		return -ENOMEM;
	inode_get(ip);
	long err = tree_create(at, ip);
	inode_put(ip);
	return err;
}

/* Does an open file or the working directory hold this image node? */
static bool held(struct node n)
{
	struct file *f;
	if (same(cwd, n))
		return true;
	for (int fd = 0; (f = fd_next(&fd)); fd++)
		if (f->ops->stat == vfs_stat_op && same(file_node(f), n))
			return true;
	return false;
}

/* Before a node loses a name: an image node that somebody could still look at
 * gets an inode, to be marked as removed. */
static long before_unlink(struct node *n)
{
	*n = canon(*n);
	if (node_kind(*n) != NODE_IMAGE)
		return 0;
	bool more = !node_is_dir(*n) && img_inode(image_of(*n))->nlink > 1;
	if (!more && !held(*n))
		return 0;
	struct inode *ip = copy_up(*n);
	if (!ip)
		return -ENOMEM;
	*n = node_inode(ip);
	return 0;
}

static void after_unlink(struct node n)
{
	if (node_kind(n) == NODE_INODE)
		inode_unlinked(inode_of(n));
}

long tree_unlink(struct place *at, bool dir)
{
	if (at->last != LAST_NAME) {
		if (!dir)
			return -EISDIR;
		return at->last == LAST_DOT ? -EINVAL : at->last == LAST_DOTDOT ? -ENOTEMPTY : -EBUSY;
	}
	if (!at->node.v)
		return -ENOENT;
	bool is_dir = node_is_dir(at->node);
	long err = permit_unlink(at->dir, at->node);
	if (err)
		return err;
	if (dir != is_dir)
		return is_dir ? -EISDIR : -ENOTDIR;
	if (at->slash && !is_dir)
		return -ENOTDIR;
	if (node_is_mount(at->node))
		return -EBUSY;
	struct inode *parent;
	err = writable_dir(at->dir, &parent);
	if (!err && dir && !dir_is_empty(at->node))
		err = -ENOTEMPTY;
	if (!err && regionfs_dir(at->dir))
		err = regionfs_unlink(at);
	if (!err)
		err = before_unlink(&at->node);
	if (!err)
		err = dir_hide(parent, at->name, at->len);
	if (err)
		return err;
	if (dir && parent->nlink > 2)
		parent->nlink--;
	inode_modified(parent);
	after_unlink(at->node);
	return 0;
}

/* Is dir the directory top, or below it? */
static bool within(struct node dir, struct node top)
{
	struct node root = node_inode(root_inode);
	dir = canon(dir);
	for (u32 depth = 0; depth < PATH_LEN_MAX && !same(dir, root); depth++) {
		if (same(dir, top))
			return true;
		dir = dir_parent(dir);
	}
	return same(dir, top);
}

static long check_rename(struct place *from, struct place *to)
{
	if (from->last != LAST_NAME || to->last != LAST_NAME)
		return -EBUSY;
	if (node_dev(from->dir) != node_dev(to->dir))
		return -EXDEV;
	if (regionfs_dir(from->dir))
		return -EPERM; /* a region keeps its name */
	if (!from->node.v)
		return -ENOENT;
	from->node = canon(from->node);
	to->node = canon(to->node);
	bool is_dir = node_is_dir(from->node);
	long err = permit_unlink(from->dir, from->node);
	if (!err)
		err = to->node.v ? permit_unlink(to->dir, to->node) : permit_names(to->dir);
	if (!err && is_dir && !same(canon(from->dir), canon(to->dir)) && !node_may(from->node, MAY_WRITE))
		err = -EACCES; /* its ".." changes */
	if (err)
		return err;
	if (!is_dir && (from->slash || to->slash))
		return -ENOTDIR;
	if (is_dir && within(to->dir, from->node))
		return -EINVAL;
	if (to->node.v && node_is_dir(to->node) && within(from->dir, to->node))
		return -ENOTEMPTY;
	if (node_is_mount(from->node) || (to->node.v && node_is_mount(to->node)))
		return -EBUSY;
	if (to->node.v && !same(from->node, to->node)) {
		if (is_dir && !node_is_dir(to->node))
			return -ENOTDIR;
		if (!is_dir && node_is_dir(to->node))
			return -EISDIR;
		if (is_dir && !dir_is_empty(to->node))
			return -ENOTEMPTY;
	}
	return 0;
}

static void set_parent(struct inode *ip, struct inode *parent)
{
	struct inode *old = ip->dir.parent;
	inode_get(parent);
	ip->dir.parent = parent;
	if (old)
		inode_put(old);
}

long tree_rename(struct place *from, struct place *to)
{
	struct inode *source, *target, *ip;
	long err = check_rename(from, to);
	if (err)
		return err;
	if (same(from->node, to->node))
		return 0; /* two names of one file: both stay, as POSIX wants */
	if ((err = writable_dir(from->dir, &source)) || (err = writable_dir(to->dir, &target)))
		return err;
	if (!(ip = copy_up(from->node)))
		return -ENOMEM;
	to->node = canon(to->node);
	if (to->node.v && (err = before_unlink(&to->node)))
		return err;
	/* An entry for the old name now, so that hiding it needs no memory then. */
	if (!entry_find(source, from->name, from->len) &&
	    (err = entry_set(source, from->name, from->len, node_inode(ip))))
		return err;
	if ((err = entry_set(target, to->name, to->len, node_inode(ip))))
		return err;
	dir_hide(source, from->name, from->len);
	if (inode_is_dir(ip)) {
		if (source->nlink > 2)
			source->nlink--;
		if (!to->node.v)
			target->nlink++;
		set_parent(ip, target);
	}
	inode_changed(ip);
	inode_modified(source);
	inode_modified(target);
	after_unlink(to->node);
	return 0;
}
