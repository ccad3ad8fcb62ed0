/*
 * shared.c: which ranges of file memory the program has mapped MAP_SHARED. In
 * one flat address space such a mapping is the file's own memory: mapping the
 * same range twice gives the same address. A record holds its inode, so a
 * file that was closed and removed lives until the last munmap.
 */
#include "fs.h"

struct shared {
	struct shared *next;
	struct inode *ip;
	u64 addr, bytes;
};
static struct shared *list;

void *shared_map(struct inode *ip, u64 off, u64 n)
{
	if (off % PAGE_SIZE || n == 0)
		return NULL;
	n = PAGE_UP(n);
	struct shared *s = kmalloc(sizeof *s);
	u8 *p = s && n ? data_map(ip, off, n) : NULL;
	if (!p) {
		kfree(s);
		return NULL;
	}
	*s = (struct shared){list, ip, (u64)p, n};
	list = s;
	ip->file.maps++;
	ip->flags |= INODE_MAPPED;
	inode_get(ip);
	return p;
}

bool fs_owns(u64 addr)
{
	for (struct shared *s = list; s; s = s->next)
		if (addr - s->addr < s->bytes)
			return true;
	return false;
}

void fs_unmap_all(void)
{
	for (struct shared *s; (s = list);) {
		list = s->next;
		s->ip->file.maps--;
		inode_put(s->ip);
		kfree(s);
	}
}

u64 fs_unmap(u64 addr, u64 bytes, bool *file)
{
	u64 end = addr + bytes, gap = end;
	struct shared **p = &list, *s;
	for (; (s = *p); p = &s->next) {
		if (s->addr <= addr && addr - s->addr < s->bytes)
			break;
		if (s->addr > addr)
			gap = MIN(gap, s->addr);
	}
	*file = s != NULL;
	if (!s)
		return gap - addr;
	u64 s_end = s->addr + s->bytes, cut = MIN(end, s_end);
	if (addr == s->addr && cut == s_end) {
		*p = s->next;
		s->ip->file.maps--;
		inode_put(s->ip);
		kfree(s);
	} else if (addr == s->addr) {
		s->addr = cut;
		s->bytes = s_end - cut;
	} else if (cut == s_end) {
		s->bytes = addr - s->addr;
	} else {
		struct shared *tail = kmalloc(sizeof *tail);
		if (tail) { /* else the hole stays mapped, which harms nobody */
			*tail = (struct shared){s->next, s->ip, cut, s_end - cut};
			s->next = tail;
			s->bytes = addr - s->addr;
			s->ip->file.maps++;
			inode_get(s->ip);
		}
	}
	return cut - addr;
}
