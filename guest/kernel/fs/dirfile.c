/*
 * dirfile.c: reading directories. The position of a directory file is a
 * cookie: 0 and 1 are "." and "..", then the image's entries by index, then
 * those in memory by sequence number. So a name that exists all the time is
 * returned once, whatever comes and goes meanwhile.
 */
#include "fs.h"

struct dirent64 { /* struct linux_dirent64 */
	u64 ino;
	s64 off;
	u16 reclen;
	u8 type;
	char name[];
};

struct fill {
	u8 *buf;
	u64 room, used;
	u64 pos;   /* of the next entry */
	bool full;
};

enum { DOTS = 2 };
static const u64 MEMORY_BASE = 1ull << 32; /* image indexes are below */

static bool add(struct fill *f, struct node n, const char *name, u32 len, u64 next)
{
	u64 need = (offsetof(struct dirent64, name) + len + 1 + 7) & ~7ull;
	if (need > f->room - f->used) {
		f->full = true;
		return false;
	}
	struct stat st;
	node_stat(n, &st);
	struct dirent64 d = {.ino = st.st_ino, .off = (s64)next, .reclen = (u16)need, .type = (u8)((st.st_mode & S_IFMT) >> 12)};
	u8 *p = f->buf + f->used;
	memset(p, 0, need);
	memcpy(p, &d, offsetof(struct dirent64, name));
	memcpy(p + offsetof(struct dirent64, name), name, len);
	f->used += need;
	f->pos = next;
	return true;
}

static long fill_image(struct fill *f, struct inode *ip, u32 image)
{
	struct img_name e;
	for (;;) {
		long r = img_dirent(image, f->pos - DOTS, &e);
		if (r <= 0)
			return r;
		if (ip && entry_find(ip, e.name, e.len)) {
			f->pos++; /* hidden, or listed with those in memory */
			continue;
		}
		if (!add(f, node_image(e.ino), e.name, e.len, f->pos + 1))
			return 0;
	}
}

static void fill_memory(struct fill *f, struct inode *ip)
{
	for (struct entry *e = ip->dir.first; e; e = e->next)
		if (e->node.v && e->seq > f->pos - MEMORY_BASE && !add(f, e->node, e->name, e->len, MEMORY_BASE + e->seq))
			return;
}

static void fill_proc(struct fill *f, struct node dir)
{
	char name[PROC_NAME_MAX];
	struct node n;
	u64 key = f->pos - DOTS;
	for (; proc_dirent(dir, &key, &n, name); key++)
		if (!add(f, n, name, (u32)strlen(name), DOTS + key + 1))
			return;
}

long dir_getdents(struct file *file, void *buf, size_t n)
{
	struct node dir = canon(file_node(file));
	struct fill f = {buf, n, 0, file->pos, false};
	struct inode *ip = node_kind(dir) == NODE_INODE ? inode_of(dir) : NULL;
	long err = 0;
	if (dir_is_dead(dir))
		return -ENOENT;
	if (f.pos == 0)
		add(&f, dir, ".", 1, 1);
	if (f.pos == 1)
		add(&f, dir_parent(dir), "..", 2, DOTS);
	if (!f.full && node_kind(dir) == NODE_PROC) {
		fill_proc(&f, dir);
	} else if (!f.full) {
		if (f.pos < MEMORY_BASE && (!ip || ip->lower))
			err = fill_image(&f, ip, ip ? ip->lower - 1 : image_of(dir));
		if (!f.full && !err && ip) {
			f.pos = MAX(f.pos, MEMORY_BASE);
			fill_memory(&f, ip);
		}
	}
	file->pos = f.pos;
	if (f.used)
		return (long)f.used;
	return err ? err : f.full ? -EINVAL : 0;
}
