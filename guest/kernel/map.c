/*
 * map.c: mmap and its relatives. A file mapping that the root image can serve
 * in place (page-aligned content, or a shared object laid out as loaded) costs
 * nothing; any other is a copy. Of protections these are enforced: what is in
 * the image can be written only where a program has asked for that, and small
 * PROT_NONE ranges are guards (protect.c). A large PROT_NONE range, or one that RAM
 * has no room for, gets addresses of the far window (far.c).
 */
#include "core.h"
#include "far.h"
#include "inplace.h"
#include "map.h"
#include "protect.h"
#include "region.h"

#include <asm/stat.h>
#include <linux/fcntl.h>
#include <linux/mman.h>

static long read_into(struct file *f, u64 addr, u64 bytes, u64 off)
{
	if (!f->ops->read)
		return -ENODEV;
	while (bytes) {
		long n = f->ops->read(f, (void *)addr, bytes, &off);
		if (n < 0)
			return n;
		if (n == 0)
			break; /* past the end: zero, as it is */
		addr += (u64)n;
		bytes -= (u64)n;
	}
	return 0;
}

/* Does a dynamic loader map the whole span of an object, whose segments it maps in
 * their places next? Anybody else maps as much as the file has. */
static bool is_loader(struct file *f, int flags, u64 off, u64 bytes)
{
	u8 magic[4];
	u64 pos = 0;
	struct stat st;
	if (off != 0 || bytes <= PAGE_SIZE || !f->ops->read || !f->ops->stat || f->ops->read(f, magic, 4, &pos) != 4 || memcmp(magic, "\177ELF", 4))
		return false;
	return flags & MAP_DENYWRITE || (f->ops->stat(f, &st) == 0 && PAGE_UP(st.st_size) != bytes);
}

/* Frees a range of RAM; pages of tmpfs files that are mapped shared stay the files'. */
static void unmap(u64 addr, u64 bytes)
{
	for (u64 n; bytes; addr += n, bytes -= n) {
		bool file;
		n = fs_unmap(addr, bytes, &file);
		if (!file)
			mm_give(addr, n / PAGE_SIZE);
	}
}

/* Takes free pages for a mapping. */
static void take(u64 addr, u64 bytes, int prot, const struct file *f)
{
	if (prot == PROT_NONE && !f) {
		mm_reserve(addr, bytes / PAGE_SIZE);
		if (bytes / PAGE_SIZE <= GUARD_PAGES)
			mm_close(addr, bytes / PAGE_SIZE);
	}
	else
		mm_take(addr, bytes / PAGE_SIZE);
}

static long map_fixed(u64 addr, u64 bytes, int prot, int flags, struct file *f, u64 off)
{
	if (region_address(addr))
		return -ENOMEM; /* where regions lie is not the program's to say */
	if (far_address(addr))
		return far_mmap_fixed(addr, bytes, prot, flags, f, off);
	bool image = mm_in_image(addr, bytes);
	if (!image && !mm_in_ram(addr, bytes))
		return -ENOMEM;
	if (flags & MAP_FIXED_NOREPLACE && (image || !mm_is_free(addr, bytes / PAGE_SIZE)))
		return -EEXIST;
	if (image && inplace_placed(addr, bytes, f, off))
		return (long)addr;
	if (image) {
		long err = inplace_disown(addr, bytes, true);
		if (err)
			return err;
		protect_set(addr, bytes, true);
		memset((void *)addr, 0, bytes);
	} else {
		unmap(addr, bytes); /* what was there goes; it comes back zeroed */
		if (!mm_is_free(addr, bytes / PAGE_SIZE))
			return -ENOMEM; /* a file's memory lies there */
		take(addr, bytes, prot, f);
	}
	long err = f ? read_into(f, addr, bytes, off) : 0;
	return err ? err : (long)addr;
}

static long map_window(struct file *f, u64 off, u64 bytes, int prot, int flags)
{
	if ((flags & MAP_TYPE) == MAP_PRIVATE || flags & (MAP_FIXED | MAP_FIXED_NOREPLACE))
		return -EINVAL;
	return prot == PROT_NONE ? -EACCES : f->ops->map_window(f, off, bytes, prot & PROT_WRITE);
}

/* A reservation of so many pages is a large one. */
#define LARGE_PAGES (32u * 256)

/* A reservation in RAM takes as much of it, and leaves the less to open parts of it: so one
 * that is larger than half of RAM lies in the far window, and a large one once half of RAM
 * would be used with it. Threads bring such: each of V8's a range for code, each of glibc's
 * an arena. What is opened in the far window costs an exit, so the first ones lie in RAM. */
static bool takes_too_much(u64 n)
{
	u64 half = ram_pages_total() / 2, left = ram_pages_free();
	return n > half || (n >= LARGE_PAGES && (left < n || left - n < half));
}

long sys_mmap(u64 addr, u64 len, int prot, int flags, int fd, u64 off)
{
	u64 bytes = PAGE_UP(len);
	if (len == 0 || off % PAGE_SIZE)
		return -EINVAL;
	if (bytes < len)
		return -ENOMEM;
	int type = flags & MAP_TYPE;
	if (type != MAP_PRIVATE && type != MAP_SHARED && type != MAP_SHARED_VALIDATE)
		return -EINVAL;
	struct file *f = NULL;
	if (!(flags & MAP_ANONYMOUS)) {
		f = fd_get(fd);
		if (!f)
			return -EBADF;
		if (f->ops->map_window)
			return map_window(f, off, bytes, prot, flags);
		/* Streams have no content to map: reading one might wait for ever. */
		if (!f->ops->read || !f->ops->seek || f->ops->getdents)
			return -ENODEV;
		if ((f->flags & O_ACCMODE) == O_WRONLY)
			return -EACCES;
	} else if (off > ~bytes) {
		return -EINVAL;
	}
	if (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) {
		if (addr % PAGE_SIZE)
			return -EINVAL;
		return map_fixed(addr, bytes, prot, flags, f, off);
	}
	if (f) {
		void *p = NULL;
		if ((flags & MAP_TYPE) == MAP_SHARED && prot & PROT_WRITE && (f->flags & O_ACCMODE) != O_RDWR)
			return -EACCES;
		if ((flags & MAP_TYPE) == MAP_SHARED && (prot & PROT_WRITE))
			return f->ops->map_shared && (p = f->ops->map_shared(f, off, bytes)) ? (long)p : -ENODEV;
		if ((flags & MAP_TYPE) == MAP_SHARED && f->ops->map_shared && (p = f->ops->map_shared(f, off, bytes)))
			return (long)p;
		bool loader = is_loader(f, flags, off, bytes);
		if (loader && (p = (void *)inplace_load(f, bytes)))
			return (long)p;
		if (!loader && !(prot & PROT_WRITE) && f->ops->map_direct && (p = f->ops->map_direct(f, off, len)))
			return (long)p;
	}
	u64 at = 0;
	bool aside = prot == PROT_NONE && !f;
	if (aside && flags & MAP_STACK && (at = far_stack(bytes)))
		return (long)at;
	if (aside && takes_too_much(bytes / PAGE_SIZE) && (at = far_reserve(bytes, FAR_PLAIN)))
		return (long)at;
	if (addr && mm_in_ram(PAGE_DOWN(addr), bytes) && mm_is_free(PAGE_DOWN(addr), bytes / PAGE_SIZE))
		at = PAGE_DOWN(addr);
	else
		at = mm_find(bytes / PAGE_SIZE, ram_pages_total() * PAGE_SIZE, PAGE_SIZE);
	if (!at && aside)
		at = far_reserve(bytes, FAR_PLAIN);
	if (!at)
		return -ENOMEM;
	if (far_address(at))
		return (long)at;
	take(at, bytes, prot, f);
	long err = f ? read_into(f, at, bytes, off) : 0;
	if (err) {
		mm_give(at, bytes / PAGE_SIZE);
		return err;
	}
	return (long)at;
}

long mm_load_segment(struct file *f, u64 addr, u64 bytes, u64 off) { return read_into(f, addr, bytes, off); }

long mm_map_elf(struct file *f, u64 total, u64 *base)
{
	*base = inplace_load(f, total);
	return *base ? 1 : 0;
}

long sys_munmap(u64 addr, u64 len)
{
	u64 bytes = PAGE_UP(len);
	if (addr % PAGE_SIZE || len == 0 || bytes < len)
		return -EINVAL;
	if (region_address(addr))
		return region_unmap(addr, bytes);
	if (far_window(addr, bytes))
		return far_release(addr, bytes);
	if (mm_in_ram(addr, bytes))
		unmap(addr, bytes);
	else if (mm_in_image(addr, bytes)) /* stays: nothing else can use its addresses */
		inplace_unload(addr, bytes);
	return 0;
}

long sys_mprotect(u64 addr, u64 len, int prot)
{
	if (addr % PAGE_SIZE || prot & ~(PROT_READ | PROT_WRITE | PROT_EXEC | PROT_GROWSDOWN | PROT_GROWSUP))
		return -EINVAL;
	u64 bytes = PAGE_UP(len);
	if (bytes == 0)
		return 0;
	if (region_address(addr))
		return prot == PROT_NONE ? -EACCES : region_protect(addr, bytes, prot & PROT_WRITE);
	if (far_address(addr))
		return far_mprotect(addr, bytes, prot);
	if (mm_in_image(addr, bytes)) { /* never PROT_NONE: a loader closes gaps that other objects' files fill */
		long err = prot & PROT_WRITE ? inplace_disown(addr, bytes, false) : 0;
		if (!err)
			protect_set(addr, bytes, prot & PROT_WRITE);
		return err;
	}
	if (!mm_in_ram(addr, bytes) || !mm_is_used(addr, bytes / PAGE_SIZE))
		return -ENOMEM;
	if (prot & PROT_WRITE)
		protect_reset(addr / PAGE_SIZE, bytes / PAGE_SIZE);
	else if (prot != PROT_NONE)
		protect_text(addr, bytes);
	if (prot != PROT_NONE)
		mm_open(addr, bytes / PAGE_SIZE);
	else if (bytes / PAGE_SIZE <= GUARD_PAGES)
		mm_close(addr, bytes / PAGE_SIZE);
	return 0;
}

long sys_madvise(u64 addr, u64 len, int advice)
{
	u64 bytes = PAGE_UP(len);
	if (addr % PAGE_SIZE)
		return -EINVAL;
	if (bytes < len || advice < 0 || (advice > MADV_DONTNEED && advice < MADV_FREE) || advice > MADV_COLLAPSE)
		return -EINVAL;
	if (bytes == 0)
		return 0;
	if (!mm_mapped(addr, bytes))
		return -ENOMEM;
	if (region_address(addr))
		return 0; /* the content is not this machine's to drop */
	/* What MADV_FREE leaves may be lost at any time: it is at once. */
	if (advice != MADV_DONTNEED && advice != MADV_FREE)
		return 0;
	if (mm_in_image(addr, bytes))
		inplace_reset(addr, bytes);
	else if (far_address(addr))
		far_zero(addr, bytes);
	else
		mm_zero(addr, bytes / PAGE_SIZE);
	return 0;
}

long sys_mremap(u64 old, u64 old_len, u64 new_len, int flags, u64 new_addr)
{
	u64 from = PAGE_UP(old_len), to = PAGE_UP(new_len);
	if (old % PAGE_SIZE || to == 0 || from == 0 || flags & ~(MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP))
		return -EINVAL;
	if (flags & MREMAP_DONTUNMAP)
		return -EINVAL;
	if (region_address(old) || region_address(new_addr))
		return -EINVAL;
	if (far_address(old) || (flags & MREMAP_FIXED && far_address(new_addr)))
		return far_mremap(old, from, to, flags, new_addr);
	if (!mm_in_ram(old, from) || !mm_is_used(old, from / PAGE_SIZE))
		return -EFAULT;
	mm_open(old, from / PAGE_SIZE);
	if (!(flags & MREMAP_FIXED)) {
		if (to <= from) {
			unmap(old + to, from - to);
			return (long)old;
		}
		if (mm_in_ram(old, to) && mm_is_free(old + from, (to - from) / PAGE_SIZE)) {
			mm_take(old + from, (to - from) / PAGE_SIZE);
			return (long)old;
		}
	}
	if (!(flags & MREMAP_MAYMOVE))
		return flags & MREMAP_FIXED ? -EINVAL : -ENOMEM;
	u64 at;
	if (flags & MREMAP_FIXED) {
		if (new_addr % PAGE_SIZE || !mm_in_ram(new_addr, to) || (new_addr < old + from && old < new_addr + to))
			return -EINVAL;
		at = new_addr;
		unmap(at, to);
		if (!mm_is_free(at, to / PAGE_SIZE))
			return -ENOMEM;
	} else {
		at = mm_find(to / PAGE_SIZE, ram_pages_total() * PAGE_SIZE, PAGE_SIZE);
		if (!at)
			return -ENOMEM;
	}
	mm_take(at, to / PAGE_SIZE);
	memcpy((void *)at, (void *)old, MIN(from, to));
	unmap(old, from);
	return (long)at;
}

long sys_mincore(u64 addr, u64 len, u8 *vec)
{
	u64 n = PAGE_UP(len) / PAGE_SIZE;
	if (addr % PAGE_SIZE)
		return -EINVAL;
	if (!user_writable(vec, n))
		return -EFAULT;
	if (far_address(addr))
		return far_mincore(addr, n, vec);
	if (region_address(addr) ? !region_allows(addr, n * PAGE_SIZE, false) : !mm_in_image(addr, n * PAGE_SIZE) && (!mm_in_ram(addr, n * PAGE_SIZE) || !mm_is_used(addr, n)))
		return -ENOMEM;
	memset(vec, 1, n);
	return 0;
}
