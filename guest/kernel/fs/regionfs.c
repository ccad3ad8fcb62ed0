/*
 * regionfs.c: /dev/seuss/region, whose files are regions: memory that guests share
 * (region.c). A file is opened as any other; where there is none yet O_CREAT and a first
 * ftruncate make it, with O_EXCL only if nobody else has meanwhile, and from then on it
 * keeps its size. It can be mapped, MAP_SHARED, and not read or written otherwise. Removing
 * one removes the region for all.
 *
 * The monitor is asked each time whether there is a region and who may use it. The inodes
 * here only give it a name in the tree; the directory shows those that were looked up.
 */
#include "../region.h"
#include "fs.h"

struct region_file {
	u64 size;   /* 0: it is to be made ... */
	u32 create; /* ... so, ABI_REGION_* */
	struct inode *ip;
	u64 len;
	char name[];
};

bool regionfs_dir(struct node n) { return node_kind(n) == NODE_INODE && inode_of(n)->device == DEVICE_REGIONS; }
bool regionfs_is(struct node n) { return node_kind(n) == NODE_INODE && inode_of(n)->device == DEVICE_REGION; }

long regionfs_lookup(struct inode *dir, const char *name, u32 len, struct node *out)
{
	struct entry *e = entry_find(dir, name, len);
	u64 size = 0;
	long err = region_open(name, len, 0, &size);
	if (err == -ENOENT && e) { /* somebody has removed it */
		struct node gone = e->node;
		entry_del(dir, e);
		inode_unlinked(inode_of(gone));
	}
	if (err)
		return err;
	struct inode *ip = e ? inode_of(e->node) : inode_new(S_IFREG | 0666, DEV_REGION);
	if (!ip)
		return -ENOMEM;
	if (!e) {
		ip->device = DEVICE_REGION;
		inode_get(ip);
		if (!(err = entry_set(dir, name, len, node_inode(ip))))
			ip->nlink++;
		inode_put(ip);
		if (err)
			return err;
	}
	ip->size = size;
	*out = node_inode(ip);
	return 0;
}

/* What has no size was named just now and could not be opened: the region, if there is one, is
 * another machine's. */
long regionfs_unlink(struct place *at) { return inode_of(at->node)->size ? region_remove(at->name, at->len) : 0; }

static struct region_file *of(struct file *f) { return f->priv; }

static u32 access_of(struct file *f) { return (f->flags & O_ACCMODE) == O_RDONLY ? 0 : ABI_REGION_WRITE; }

static long region_stat(struct file *f, struct stat *st)
{
	node_stat(node_inode(of(f)->ip), st);
	st->st_size = (long)of(f)->size;
	return 0;
}

static long region_truncate(struct file *f, u64 size)
{
	struct region_file *r = of(f);
	if (size == r->size)
		return 0;
	if (r->size)
		return -EINVAL; /* it keeps its size */
	long err = region_open(r->name, r->len, access_of(f) | r->create, &size);
	if (!err)
		r->ip->size = r->size = size;
	return err;
}

static long region_map_file(struct file *f, u64 off, u64 bytes, bool write)
{
	struct region_file *r = of(f);
	if ((f->flags & O_ACCMODE) == O_WRONLY || (write && !access_of(f)))
		return -EACCES;
	if (bytes > PAGE_UP(r->size) || off > PAGE_UP(r->size) - bytes)
		return -ENXIO;
	return region_map(r->name, r->len, off, bytes, write);
}

static void region_release(struct file *f)
{
	inode_put(of(f)->ip);
	kfree(f->priv);
}

static const struct file_ops region_ops = {
	.name = "region",
	.seek = vfs_seek_op,
	.stat = region_stat,
	.truncate = region_truncate,
	.map_window = region_map_file,
	.release = region_release,
};

struct file *regionfs_open(struct inode *ip, const char *path, u32 flags, u32 kept, long *err)
{
	u64 end = path ? strlen(path) : 0, start = end;
	while (start && path[start - 1] != '/')
		start--;
	struct region_file *r = kzalloc(sizeof *r + end - start);
	struct file *f = r ? file_new(&region_ops, kept, r) : NULL;
	*err = -ENOMEM;
	if (!f) {
		kfree(r);
		return NULL;
	}
	inode_get(ip);
	r->ip = ip;
	r->len = end - start;
	memcpy(r->name, path + start, r->len);
	u32 exclusive = flags & O_EXCL && !ip->size ? ABI_REGION_CREATE | ABI_REGION_EXCL : 0;
	r->create = ABI_REGION_CREATE | exclusive;
	*err = region_open(r->name, r->len, access_of(f) | exclusive, &r->size);
	if (*err == -ENOENT && !ip->size && access_of(f)) /* it was created here just now */
		*err = 0;
	if (!*err && r->size && flags & O_TRUNC)
		*err = -EINVAL; /* it keeps its size */
	if (*err) {
		file_put(f);
		return NULL;
	}
	ip->size = r->size;
	return f;
}
