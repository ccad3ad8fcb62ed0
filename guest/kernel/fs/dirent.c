/*
 * dirent.c: the names in a directory in memory. A list in order of creation,
 * whose sequence numbers make getdents stable while names come and go, and a
 * hash table over it once there are more than a few names.
 */
#include "fs.h"

enum { LINEAR_MAX = 8 }; /* a list this short is searched without a table */

static u32 hash(const char *name, u32 len)
{
	u32 h = 2166136261u; /* FNV-1a */
	for (u32 i = 0; i < len; i++)
		h = (h ^ (u8)name[i]) * 16777619u;
	return h;
}

static struct entry **bucket(struct inode *dir, const char *name, u32 len)
{
	return &dir->dir.table[hash(name, len) & (dir->dir.buckets - 1)];
}

struct entry *entry_find(struct inode *dir, const char *name, u32 len)
{
	bool hashed = dir->dir.table != NULL;
	struct entry *e = hashed ? *bucket(dir, name, len) : dir->dir.first;
	for (; e; e = hashed ? e->hash_next : e->next)
		if (e->len == len && memcmp(e->name, name, len) == 0)
			return e;
	return NULL;
}

/* Without memory the old table stays: slower, not wrong. */
static void rehash(struct inode *dir)
{
	u32 n = dir->dir.buckets ? dir->dir.buckets * 4 : 16;
	struct entry **t = kzalloc(n * sizeof *t);
	if (!t)
		return;
	kfree(dir->dir.table);
	dir->dir.table = t;
	dir->dir.buckets = n;
	for (struct entry *e = dir->dir.first; e; e = e->next) {
		struct entry **b = bucket(dir, e->name, e->len);
		e->hash_next = *b;
		*b = e;
	}
}

long entry_set(struct inode *dir, const char *name, u32 len, struct node n)
{
	struct entry *e = entry_find(dir, name, len);
	if (e) {
		dir->dir.live += (n.v != 0) - (e->node.v != 0);
		e->node = n;
		return 0;
	}
	e = kmalloc(sizeof *e + len);
	if (!e)
		return -ENOMEM;
	*e = (struct entry){NULL, NULL, dir->dir.last, n, ++dir->dir.seq, (u8)len};
	memcpy(e->name, name, len);
	if (dir->dir.last)
		dir->dir.last->next = e;
	else
		dir->dir.first = e;
	dir->dir.last = e;
	dir->dir.live += n.v != 0;
	if (dir->dir.table) {
		struct entry **b = bucket(dir, name, len);
		e->hash_next = *b;
		*b = e;
	}
	if (++dir->dir.entries > MAX(2 * dir->dir.buckets, (u32)LINEAR_MAX))
		rehash(dir);
	return 0;
}

void entry_del(struct inode *dir, struct entry *e)
{
	if (dir->dir.table) {
		struct entry **b = bucket(dir, e->name, e->len);
		while (*b != e)
			b = &(*b)->hash_next;
		*b = e->hash_next;
	}
	*(e->prev ? &e->prev->next : &dir->dir.first) = e->next;
	*(e->next ? &e->next->prev : &dir->dir.last) = e->prev;
	dir->dir.live -= e->node.v != 0;
	dir->dir.entries--;
	kfree(e);
}

void entries_free(struct inode *dir)
{
	while (dir->dir.first)
		entry_del(dir, dir->dir.first);
	kfree(dir->dir.table);
	dir->dir.table = NULL;
}
