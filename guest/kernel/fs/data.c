/*
 * data.c: the content of regular files in memory.
 *
 * A file's bytes lie in runs, each contiguous. A small file is one object of
 * the heap; up to BIG it is one run that is replaced when it grows; beyond, or
 * while the program has it mapped, growth appends runs, so nothing is copied
 * and mapped memory never moves. The bytes between size and cap are zero,
 * unless the program stored there through a mapping: then growing clears them.
 * Capacity that was never written costs the host nothing; a size beyond the
 * capacity is a hole that reads as zero.
 */
#include "fs.h"

#include <linux/fcntl.h>

enum { SMALL = 2032, BIG = 64 << 10, STEP_MAX = 4 << 20 }; /* SMALL: what heap.c's largest class holds */

static u8 *mem_alloc(u64 bytes) { return bytes < PAGE_SIZE ? kzalloc(bytes) : page_alloc(bytes / PAGE_SIZE); }

static void mem_free(u8 *mem, u64 bytes)
{
	if (mem && bytes < PAGE_SIZE)
		kfree(mem);
	else if (mem)
		page_free(mem, bytes / PAGE_SIZE);
}

/* The byte at off and how many follow it in the same run; NULL: beyond the capacity. */
static u8 *at(struct inode *ip, u64 off, u64 *avail)
{
	for (struct run *r = &ip->file.run; r; r = r->next) {
		if (off < r->bytes) {
			*avail = r->bytes - off;
			return r->mem + off;
		}
		off -= r->bytes;
	}
	*avail = ~0ull;
	return NULL;
}

static void drop_runs(struct run *r)
{
	while (r) {
		struct run *next = r->next;
		mem_free(r->mem, r->bytes);
		kfree(r);
		r = next;
	}
}

void data_free(struct inode *ip)
{
	drop_runs(ip->file.run.next);
	mem_free(ip->file.run.mem, ip->file.run.bytes);
	ip->file.run = (struct run){NULL, NULL, 0};
	ip->file.cap = 0;
}

/* One run of bytes in place of all of them. */
static long replace_runs(struct inode *ip, u64 bytes)
{
	u8 *mem = mem_alloc(bytes);
	if (!mem)
		return -ENOSPC;
	u64 keep = MIN(ip->size, ip->file.cap), avail;
	for (u64 off = 0; off < keep; off += avail) {
		u8 *p = at(ip, off, &avail);
		avail = MIN(avail, keep - off);
		memcpy(mem + off, p, avail);
	}
	data_free(ip);
	ip->file.run = (struct run){NULL, mem, bytes};
	ip->file.cap = bytes;
	return 0;
}

static long append_run(struct inode *ip, u64 need)
{
	struct run *r = kmalloc(sizeof *r), *last = &ip->file.run;
	if (!r)
		return -ENOSPC;
	u64 least = PAGE_UP(need - ip->file.cap), want = MAX(least, MIN(PAGE_UP(ip->file.cap / 2), (u64)STEP_MAX));
	u8 *mem = page_alloc(want / PAGE_SIZE);
	if (!mem && want > least)
		mem = page_alloc((want = least) / PAGE_SIZE);
	if (!mem) {
		kfree(r);
		return -ENOSPC;
	}
	*r = (struct run){NULL, mem, want};
	while (last->next)
		last = last->next;
	last->next = r;
	ip->file.cap += want;
	return 0;
}

static long grow(struct inode *ip, u64 need)
{
	u64 cap = ip->file.cap;
	if (need <= cap)
		return 0;
	if (need > ram_pages_total() * PAGE_SIZE)
		return -ENOSPC;
	if (ip->file.maps || ip->file.run.next || cap >= BIG)
		return append_run(ip, need);
	if (need <= SMALL) {
		u64 object = 64; /* heap classes are powers of two with a 16-byte header */
		while (object - 16 < need)
			object *= 2;
		return replace_runs(ip, object - 16);
	}
	u64 want = PAGE_UP(MAX(need, 2 * cap));
	if (replace_runs(ip, want) == 0)
		return 0;
	return want > PAGE_UP(need) ? replace_runs(ip, PAGE_UP(need)) : -ENOSPC;
}

static void zero(struct inode *ip, u64 off, u64 end)
{
	end = MIN(end, ip->file.cap);
	while (off < end) {
		u64 avail;
		u8 *p = at(ip, off, &avail);
		avail = MIN(avail, end - off);
		for (u64 i = 0; i < avail;) { /* a page that is zero already stays clean */
			u64 n = MIN(avail - i, PAGE_SIZE - (u64)(p + i) % PAGE_SIZE), k = 0;
			while (k < n && !p[i + k])
				k++;
			if (k < n)
				memset(p + i + k, 0, n - k);
			i += n;
		}
		off += avail;
	}
}

/* What the program stored behind the end of the file through a mapping must
 * not show when the file grows. */
static void clear_tail(struct inode *ip, u64 new_size)
{
	if (ip->flags & INODE_MAPPED && new_size > ip->size)
		zero(ip, ip->size, new_size);
}

long data_own(struct inode *ip, u64 keep)
{
	if (!(ip->flags & INODE_BORROWED))
		return 0;
	keep = MIN(keep, ip->size);
	if (keep && !img_sound(ip->lower - 1))
		return -EIO;
	long err = grow(ip, keep);
	if (err)
		return err;
	if (keep && !img_read(ip->lower - 1, ip->file.run.mem, keep, 0)) /* from nothing, grow() makes one run */
		return -EIO;
	ip->flags &= (u8)~INODE_BORROWED;
	return 0;
}

long data_read(struct inode *ip, void *buf, u64 n, u64 pos)
{
	if (pos >= ip->size)
		return 0;
	n = MIN(n, ip->size - pos);
	if (ip->flags & INODE_BORROWED) {
		if (!img_read(ip->lower - 1, buf, n, pos))
			return -EIO;
		return (long)n;
	}
	u64 avail;
	for (u64 done = 0; done < n; done += avail) {
		const u8 *p = at(ip, pos + done, &avail);
		avail = MIN(avail, n - done);
		if (p)
			memcpy((u8 *)buf + done, p, avail);
		else
			memset((u8 *)buf + done, 0, avail);
	}
	return (long)n;
}

long data_write(struct inode *ip, const void *buf, u64 n, u64 pos)
{
	if (n == 0)
		return 0;
	if (pos >= FILE_SIZE_MAX)
		return -EFBIG;
	n = MIN(n, FILE_SIZE_MAX - pos);
	if (ip->seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE) || (ip->seals & F_SEAL_GROW && pos + n > ip->size))
		return -EPERM;
	long err = data_own(ip, ip->size);
	if (!err)
		err = grow(ip, pos + n);
	if (err)
		return err;
	clear_tail(ip, pos);
	u64 avail;
	for (u64 done = 0; done < n; done += avail) {
		u8 *p = at(ip, pos + done, &avail);
		avail = MIN(avail, n - done);
		memmove(p, (const u8 *)buf + done, avail); /* buf may be a mapping of this very file */
	}
	ip->size = MAX(ip->size, pos + n);
	inode_modified(ip);
	return (long)n;
}

/* Gives back whole pages behind size; the bytes that stay are zeroed. */
static void shrink(struct inode *ip, u64 size)
{
	u64 keep = PAGE_UP(size), off = 0;
	if (ip->file.maps || ip->file.cap < PAGE_SIZE) {
		zero(ip, size, ip->size);
		return;
	}
	if (size == 0) {
		data_free(ip);
		return;
	}
	struct run *last = &ip->file.run; /* the one that holds the byte before keep */
	while (last->next && off + last->bytes < keep) {
		off += last->bytes;
		last = last->next;
	}
	if (off + last->bytes > keep) {
		u64 stay = keep - off;
		page_free(last->mem + stay, (last->bytes - stay) / PAGE_SIZE);
		last->bytes = stay;
	}
	drop_runs(last->next);
	last->next = NULL;
	ip->file.cap = off + last->bytes;
	zero(ip, size, MIN(keep, ip->size));
}

long data_resize(struct inode *ip, u64 size)
{
	if (size > FILE_SIZE_MAX)
		return -EFBIG;
	if ((ip->seals & F_SEAL_SHRINK && size < ip->size) || (ip->seals & F_SEAL_GROW && size > ip->size))
		return -EPERM;
	long err = data_own(ip, size);
	if (err)
		return err;
	if (size < ip->size)
		shrink(ip, size);
	else
		clear_tail(ip, size);
	ip->size = size;
	inode_modified(ip);
	return 0;
}

long data_reserve(struct inode *ip, u64 bytes)
{
	long err = data_own(ip, ip->size);
	return err ? err : grow(ip, bytes);
}

void data_zero(struct inode *ip, u64 off, u64 n)
{
	if (off < ip->size)
		zero(ip, off, MIN(ip->size, off + n));
	inode_modified(ip);
}

u8 *data_map(struct inode *ip, u64 off, u64 n)
{
	u64 end = off + n, avail;
	if (end < off || end > ram_pages_total() * PAGE_SIZE || data_reserve(ip, end))
		return NULL;
	u8 *p = at(ip, off, &avail);
	if (avail < n && !ip->file.maps) {
		if (replace_runs(ip, ip->file.cap))
			return NULL;
		p = at(ip, off, &avail);
	}
	return p && avail >= n ? p : NULL;
}
