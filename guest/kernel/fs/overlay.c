/*
 * overlay.c: the root image and the inodes in memory seen as one tree.
 *
 * An image inode that was copied up is found by its number in a hash table.
 * A directory in memory that stands for an image directory shows both: its
 * entries hide the image's of the same name, and an entry without a node is a
 * whiteout.
 */
#include "fs.h"

struct inode *root_inode;
static struct inode **table; /* by lower, chained by map_next */
static u32 buckets, copied_count;

static struct inode *copied(u32 image)
{
	struct inode *ip = table ? table[image & (buckets - 1)] : NULL;
	while (ip && ip->lower != image + 1)
		ip = ip->map_next;
	return ip;
}

static bool table_room(void)
{
	if (table && copied_count < 2 * buckets)
		return true;
	u32 n = table ? buckets * 4 : 16;
	struct inode **t = kzalloc(n * sizeof *t);
	if (!t)
		return table != NULL;
	for (u32 b = 0; b < buckets; b++)
		for (struct inode *ip = table[b], *next; ip; ip = next) {
			next = ip->map_next;
			struct inode **to = &t[(ip->lower - 1) & (n - 1)];
			ip->map_next = *to;
			*to = ip;
		}
	kfree(table);
	table = t;
	buckets = n;
	return true;
}

struct node canon(struct node n)
{
	if (node_kind(n) != NODE_IMAGE)
		return n;
	struct inode *ip = copied(image_of(n));
	return ip ? node_inode(ip) : n;
}

struct inode *copy_up(struct node n)
{
	n = canon(n);
	if (node_kind(n) == NODE_INODE)
		return inode_of(n);
	const struct abi_image_inode *i = img_inode(image_of(n));
	struct inode *ip = i && table_room() ? inode_new(i->mode, DEV_ROOT) : NULL;
	if (!ip)
		return NULL;
	u32 image = image_of(n);
	ip->lower = image + 1;
	ip->ino = image + 1;
	ip->atime = ip->mtime = ip->ctime = i->mtime * NS_PER_SEC;
	ip->owner = OWNER_LOWER;
	ip->nlink = MAX(i->nlink, inode_is_dir(ip) ? 2u : 1u);
	if (!inode_is_dir(ip))
		ip->size = i->size;
	if ((ip->mode & S_IFMT) == S_IFREG)
		ip->flags = INODE_BORROWED;
	struct inode **b = &table[image & (buckets - 1)];
	ip->map_next = *b;
	*b = ip;
	copied_count++;
	files_copied_up(image, ip);
	return ip;
}

void copy_up_forget(struct inode *ip)
{
	struct inode **p = &table[(ip->lower - 1) & (buckets - 1)];
	while (*p != ip)
		p = &(*p)->map_next;
	*p = ip->map_next;
	copied_count--;
}

/* ---- nodes ------------------------------------------------------------------------ */

u32 node_mode(struct node n)
{
	n = canon(n);
	switch (node_kind(n)) {
	case NODE_IMAGE: {
		const struct abi_image_inode *i = img_inode(image_of(n));
		return i ? i->mode : 0;
	}
	case NODE_INODE:
		return inode_of(n)->mode;
	case NODE_PROC:
		return proc_mode(n);
	default:
		return 0;
	}
}

u32 node_dev(struct node n)
{
	return node_kind(n) == NODE_INODE ? inode_of(n)->dev : node_kind(n) == NODE_PROC ? proc_dev(n) : DEV_ROOT;
}

/* Of what /proc shows of the process the program is the owner. */
void node_owner(struct node n, u32 *uid, u32 *gid)
{
	n = canon(n);
	*uid = *gid = 0;
	if (node_kind(n) == NODE_INODE) {
		inode_owner(inode_of(n), uid, gid);
	} else if (node_kind(n) == NODE_IMAGE) {
		const struct abi_image_inode *i = img_inode(image_of(n));
		*uid = i ? i->uid : 0;
		*gid = i ? i->gid : 0;
	} else if (node_kind(n) == NODE_PROC && proc_of_process(n)) {
		*uid = cred.euid;
		*gid = cred.egid;
	}
}

void node_get(struct node n)
{
	if (node_kind(n) == NODE_INODE)
		inode_get(inode_of(n));
}

void node_put(struct node n)
{
	if (node_kind(n) == NODE_INODE)
		inode_put(inode_of(n));
}

bool node_is_mount(struct node n)
{
	return node_kind(n) == NODE_INODE ? inode_of(n)->flags & INODE_MOUNT : proc_is_root(n);
}

static void stat_times(struct stat *st, u64 atime, u64 mtime, u64 ctime)
{
	st->st_atime = atime / NS_PER_SEC, st->st_atime_nsec = atime % NS_PER_SEC;
	st->st_mtime = mtime / NS_PER_SEC, st->st_mtime_nsec = mtime % NS_PER_SEC;
	st->st_ctime = ctime / NS_PER_SEC, st->st_ctime_nsec = ctime % NS_PER_SEC;
}

void node_stat(struct node n, struct stat *st)
{
	n = canon(n);
	memset(st, 0, sizeof *st);
	st->st_mode = node_mode(n);
	st->st_dev = node_dev(n);
	st->st_blksize = (s64)PAGE_SIZE;
	node_owner(n, &st->st_uid, &st->st_gid);
	switch (node_kind(n)) {
	case NODE_IMAGE: {
		const struct abi_image_inode *i = img_inode(image_of(n));
		if (!i)
			return;
		st->st_ino = (u64)image_of(n) + 1;
		st->st_nlink = i->nlink;
		st->st_size = (s64)i->size;
		stat_times(st, i->mtime * NS_PER_SEC, i->mtime * NS_PER_SEC, i->mtime * NS_PER_SEC);
		break;
	}
	case NODE_INODE: {
		struct inode *ip = inode_of(n);
		st->st_ino = ip->ino;
		st->st_nlink = ip->nlink;
		st->st_size = (s64)ip->size;
		st->st_rdev = dev_rdev(ip);
		stat_times(st, ip->atime, ip->mtime, ip->ctime);
		break;
	}
	default: /* /proc has no times of its own: boot's would make every stat an outside input */
		st->st_ino = (n.v >> 2 & 0x3fffffff) + ((u64)proc_arg(n) << 16) + 1;
		st->st_nlink = node_is_dir(n) ? 2 : 1;
	}
	if (node_is_dir(n) && node_kind(n) != NODE_PROC)
		st->st_size = (s64)PAGE_SIZE;
	st->st_blocks = st->st_size / 512 + (st->st_size % 512 != 0); /* an image may say any size */
}

long node_link(struct node n, const char **text, u64 *len)
{
	n = canon(n);
	struct inode *ip = node_kind(n) == NODE_INODE ? inode_of(n) : NULL;
	u32 image = ip ? ip->lower - 1 : image_of(n);
	if (ip && ip->target) {
		*text = ip->target;
		*len = ip->size;
		return 0;
	}
	*text = (const char *)img_content(image);
	if (!*text)
		return -EIO;
	*len = img_inode(image)->size;
	return *len < PATH_LEN_MAX && !memchr(*text, 0, *len) ? 0 : -EIO;
}

/* ---- directories -------------------------------------------------------------------- */

bool dir_is_dead(struct node dir)
{
	dir = canon(dir);
	return node_kind(dir) == NODE_INODE && inode_of(dir)->flags & INODE_DEAD;
}

long dir_lookup(struct node dir, const char *name, u32 len, struct node *out)
{
	dir = canon(dir);
	if (node_kind(dir) == NODE_PROC)
		return proc_lookup(dir, name, len, out);
	u32 image = image_of(dir);
	if (node_kind(dir) == NODE_INODE) {
		struct inode *ip = inode_of(dir);
		if (ip->flags & INODE_DEAD)
			return -ENOENT;
		if (ip->device == DEVICE_REGIONS)
			return regionfs_lookup(ip, name, len, out);
		struct entry *e = entry_find(ip, name, len);
		if (e) {
			*out = canon(e->node);
			return out->v ? 0 : -ENOENT;
		}
		if (!ip->lower)
			return -ENOENT;
		image = ip->lower - 1;
	}
	s64 ino = img_lookup(image, name, len);
	if (ino < 0)
		return ino;
	*out = canon(node_image((u32)ino));
	return 0;
}

bool dir_lower_has(struct inode *dir, const char *name, u32 len)
{
	return dir->lower && img_lookup(dir->lower - 1, name, len) >= 0;
}

bool dir_is_empty(struct node dir)
{
	dir = canon(dir);
	struct inode *ip = node_kind(dir) == NODE_INODE ? inode_of(dir) : NULL;
	if (ip && ip->dir.live)
		return false;
	if (ip && !ip->lower)
		return true;
	struct img_name e;
	for (u64 i = 0;; i++) {
		long r = img_dirent(ip ? ip->lower - 1 : image_of(dir), i, &e);
		if (r <= 0)
			return r == 0;
		if (!ip || !entry_find(ip, e.name, e.len))
			return false;
	}
}

long dir_hide(struct inode *dir, const char *name, u32 len)
{
	if (dir_lower_has(dir, name, len))
		return entry_set(dir, name, len, (struct node){0});
	struct entry *e = entry_find(dir, name, len);
	if (e)
		entry_del(dir, e);
	return 0;
}

/* Where the image has a directory, and its name there. */
static struct node lower_parent(u32 image, struct img_name *self)
{
	s64 parent = img_parent(image, self);
	return parent < 0 ? (struct node){0} : canon(node_image((u32)parent));
}

struct node dir_parent(struct node dir)
{
	struct node root = node_inode(root_inode), up;
	struct img_name self;
	dir = canon(dir);
	if (node_kind(dir) == NODE_PROC)
		return proc_is_root(dir) ? root : proc_parent(dir);
	if (same(dir, root))
		return root;
	if (node_kind(dir) == NODE_INODE) {
		struct inode *ip = inode_of(dir);
		if (ip->dir.parent)
			return node_inode(ip->dir.parent);
		up = ip->lower ? lower_parent(ip->lower - 1, &self) : root;
	} else {
		up = lower_parent(image_of(dir), &self);
	}
	return up.v ? up : root;
}

/* The name of a directory that is neither the root nor removed. */
static bool dir_name(struct node dir, const char **name, u32 *len, char tmp[16])
{
	struct img_name self;
	if (node_kind(dir) == NODE_PROC) {
		*name = proc_name(dir, tmp);
		*len = (u32)strlen(*name);
		return true;
	}
	struct inode *ip = node_kind(dir) == NODE_INODE ? inode_of(dir) : NULL;
	if (ip && ip->dir.parent) {
		struct entry *e = ip->dir.parent->dir.first;
		while (e && !same(e->node, dir))
			e = e->next;
		if (!e)
			return false;
		*name = e->name;
		*len = e->len;
		return true;
	}
	if ((ip && !ip->lower) || !lower_parent(ip ? ip->lower - 1 : image_of(dir), &self).v)
		return false;
	*name = self.name;
	*len = self.len;
	return true;
}

char *dir_path(struct node dir, char *buf, u64 size)
{
	char *p = buf + size - 1, tmp[16];
	*p = 0;
	for (dir = canon(dir); !same(dir, node_inode(root_inode)); dir = dir_parent(dir)) {
		const char *name;
		u32 len;
		if (dir_is_dead(dir) || !dir_name(dir, &name, &len, tmp) || (u64)(p - buf) < len + 1)
			return NULL;
		p -= len;
		memcpy(p, name, len);
		*--p = '/';
	}
	if (!*p)
		*--p = '/';
	return p;
}

void overlay_init(void)
{
	root_inode = img_count() ? copy_up(node_image(0)) : inode_new(S_IFDIR | 0755, DEV_ROOT);
	struct inode *dev = inode_new(S_IFDIR | 0755, DEV_DEV);
	if (!root_inode || !dev)
		panic("no memory for the root directory");
	root_inode->flags |= INODE_MOUNT;
	root_inode->nlink = MAX(root_inode->nlink, 2u);
	dev->flags |= INODE_MOUNT;
	dev->nlink = 2;
	dev->dir.parent = root_inode;
	inode_get(root_inode);
	if (entry_set(root_inode, "dev", 3, node_inode(dev)) || entry_set(root_inode, "proc", 4, proc_root()) ||
	    entry_set(root_inode, "sys", 3, sys_root()) || dev_init(dev))
		panic("no memory for /dev, /proc and /sys");
}
