/*
 * inplace.c: mappings that are the root image's own pages.
 *
 * The image holds every shared object as loaded, before relocation: its layout.
 * Who maps an object first gets the layout itself, writes to its data there (the
 * monitor maps the image copy-on-write), and gives it back with munmap: then its
 * data is made what the file has, from the file's own content, which begins with the
 * layout's text and goes on beside it, and the next who maps the object gets the same layout. An object that is mapped
 * already, or whose layout has been changed where it is not data, is copied.
 *
 * Mappings of other files that are only read are the file's content in the image.
 * Before such pages may be written, the file gets memory of its own (fs_disown):
 * private changes show in no file.
 */
#include "core.h"
#include "inplace.h"
#include "map.h"
#include "protect.h"

/* An object whose layout was handed out at some time. */
struct object {
	struct object *next;
	struct file_layout at;
	const Elf64_Phdr *ph; /* a copy, once the object was handed out */
	u32 phnum;
	u64 bias;             /* added to every address of the file */
	u64 end;              /* behind the last segment */
	u64 placed, zeroed;   /* by segment: its file pages, its pages of bss were mapped by the loader */
	bool mapped;
	bool changed;         /* the layout is not what the image had, and is not handed out again */
};
static struct object *objects;

enum { SEGMENTS_MAX = 64 };

static u64 seg_start(const struct object *o, u32 i) { return o->bias + PAGE_DOWN(o->ph[i].p_vaddr); }
static u64 seg_file_end(const struct object *o, u32 i) { return o->bias + PAGE_UP(o->ph[i].p_vaddr + o->ph[i].p_filesz); }
static u64 seg_end(const struct object *o, u32 i) { return o->bias + PAGE_UP(o->ph[i].p_vaddr + o->ph[i].p_memsz); }
static bool loadable(const struct object *o, u32 i) { return o->ph[i].p_type == PT_LOAD && o->ph[i].p_memsz; }
static bool overlap(u64 addr, u64 bytes, u64 start, u64 end) { return addr < end && start < addr + bytes; }

/* Copies n bytes of the file, which lie within its size. */
static void file_bytes(const struct object *o, u64 off, void *out, u64 n)
{
	u64 first = off < o->at.head ? MIN(n, o->at.head - off) : 0;
	if (first)
		memcpy(out, (const void *)(o->at.base + off), first);
	if (first < n)
		memcpy((u8 *)out + first, o->at.content + (off + first - o->at.head), n - first);
}

/* Reads the program headers; false: this object is not loaded in place. */
static bool understand(struct object *o)
{
	const u8 *file = o->at.head ? (const u8 *)o->at.base : o->at.content;
	const Elf64_Ehdr *e = (const void *)file;
	u64 low = ~0ull, high = 0;
	if (o->at.size < sizeof *e || memcmp(e->e_ident, ELFMAG, SELFMAG) || e->e_phentsize != sizeof *o->ph || e->e_phnum > SEGMENTS_MAX ||
	    e->e_phoff % 8 || e->e_phoff > o->at.size || e->e_phnum * sizeof *o->ph > o->at.size - e->e_phoff ||
	    (o->at.head && e->e_phoff + e->e_phnum * sizeof *o->ph > o->at.head))
		return false;
	o->ph = (const void *)(file + e->e_phoff);
	o->phnum = e->e_phnum;
	for (u32 i = 0; i < o->phnum; i++) {
		const Elf64_Phdr *p = &o->ph[i];
		if (!loadable(o, i))
			continue;
		if (p->p_filesz > p->p_memsz || p->p_memsz > o->at.bytes || p->p_vaddr > ~0ull - p->p_memsz - PAGE_SIZE ||
		    p->p_offset > o->at.size || p->p_filesz > o->at.size - p->p_offset)
			return false;
		low = MIN(low, PAGE_DOWN(p->p_vaddr));
		high = MAX(high, PAGE_UP(p->p_vaddr + p->p_memsz));
	}
	if (high <= low || high - low > o->at.bytes)
		return false;
	o->bias = o->at.base - low;
	o->end = o->bias + high;
	return true;
}

static struct object *object_at(u64 base)
{
	struct object *o = objects;
	while (o && o->at.base != base)
		o = o->next;
	return o;
}

static struct object *remember(const struct object *new)
{
	struct object *o = kmalloc(sizeof *o);
	Elf64_Phdr *ph = kmalloc(new->phnum * sizeof *ph);
	if (!o || !ph) {
		kfree(o);
		kfree(ph);
		return NULL;
	}
	memcpy(ph, new->ph, new->phnum * sizeof *ph);
	*o = *new;
	o->ph = ph;
	o->next = objects;
	objects = o;
	return o;
}

u64 inplace_load(struct file *f, u64 bytes)
{
	struct object new = {0};
	if (!f->ops->map_loaded || !f->ops->map_loaded(f, &new.at))
		return 0;
	struct object *o = object_at(new.at.base);
	if (o && (o->mapped || o->changed))
		return 0;
	if (!o && (!understand(&new) || !(o = remember(&new))))
		return 0;
	if (bytes != o->end - o->at.base)
		return 0;
	o->mapped = true;
	o->placed = o->zeroed = 0;
	for (u32 i = 0; i < o->phnum; i++)
		if (loadable(o, i) && seg_start(o, i) == o->at.base)
			o->placed |= 1ull << i; /* by this very mapping */
	protect_segments(o->ph, o->phnum, o->bias, false);
	return o->at.base;
}

bool inplace_placed(u64 addr, u64 bytes, struct file *f, u64 off)
{
	struct file_layout of = {0};
	for (struct object *o = objects; o; o = o->next) {
		if (!o->mapped || addr < o->at.base || addr + bytes > o->end)
			continue;
		if (f && (!f->ops->map_loaded || !f->ops->map_loaded(f, &of) || of.base != o->at.base))
			return false;
		for (u32 i = 0; i < o->phnum; i++) {
			u64 bit = 1ull << i;
			if (!loadable(o, i) || addr + bytes > seg_end(o, i))
				continue;
			if (f && addr == seg_start(o, i) && off == PAGE_DOWN(o->ph[i].p_offset) && !(o->placed & bit)) {
				o->placed |= bit;
				return true;
			}
			if (!f && addr == seg_file_end(o, i) && !(o->zeroed & bit)) {
				o->zeroed |= bit;
				return true;
			}
		}
		return false;
	}
	return false;
}

/* Is all of the range in segments that may be written? */
static bool is_data(const struct object *o, u64 addr, u64 bytes)
{
	for (u64 end = addr + bytes; addr < end; addr += PAGE_SIZE) {
		u32 i = 0;
		while (i < o->phnum && !(loadable(o, i) && o->ph[i].p_flags & PF_W && seg_start(o, i) <= addr && addr < seg_end(o, i)))
			i++;
		if (i == o->phnum)
			return false;
	}
	return true;
}

long inplace_disown(u64 addr, u64 bytes, bool fixed)
{
	for (struct object *o = objects; o; o = o->next) {
		if (o->at.base <= addr && addr + bytes <= o->end) {
			if (!fixed && !o->mapped)
				return -ENOMEM;
			bool data = is_data(o, addr, bytes);
			if (!data && o->at.head && o->at.content) { /* these pages are the file's, too */
				if (fs_disown_layout(o->at.base))
					return -ENOMEM;
				o->at.content = NULL;
			}
			o->changed |= fixed || !data;
			return 0;
		}
		if (o->at.content && overlap(addr, bytes, (u64)o->at.content, (u64)o->at.content + o->at.size - o->at.head)) {
			o->changed = true;
			o->at.content = NULL;
		}
	}
	return fs_disown(addr, bytes);
}

/* One page of an object as Linux maps it: whole pages of the file, later segments
 * over earlier ones, zero where a segment has more memory than file. */
static void fill(const struct object *o, u64 page, u8 *out)
{
	memset(out, 0, PAGE_SIZE);
	for (u32 i = 0; i < o->phnum; i++) {
		if (!loadable(o, i) || page < seg_start(o, i) || page >= seg_end(o, i))
			continue;
		u64 off = PAGE_DOWN(o->ph[i].p_offset) + (page - seg_start(o, i));
		u64 file_end = o->bias + o->ph[i].p_vaddr + o->ph[i].p_filesz;
		if (page < seg_file_end(o, i)) {
			u64 n = off < o->at.size ? MIN(o->at.size - off, PAGE_SIZE) : 0;
			file_bytes(o, off, out, n);
			memset(out + n, 0, PAGE_SIZE - n);
		}
		if (o->ph[i].p_memsz > o->ph[i].p_filesz && file_end < page + PAGE_SIZE) {
			u64 from = MAX(file_end, page) - page;
			memset(out + from, 0, PAGE_SIZE - from);
		}
	}
}

static void reset(const struct object *o, u64 start, u64 end)
{
	static u8 page[ABI_PAGE_SIZE];
	for (u32 i = 0; i < o->phnum; i++) {
		if (!loadable(o, i) || !(o->ph[i].p_flags & PF_W))
			continue;
		for (u64 at = MAX(start, seg_start(o, i)); at < MIN(end, seg_end(o, i)); at += PAGE_SIZE) {
			fill(o, at, page);
			if (!memcmp((void *)at, page, PAGE_SIZE))
				continue; /* do not dirty what was never written */
			bool open = protect_allows(at, PAGE_SIZE, true);
			protect_set(at, PAGE_SIZE, true);
			memcpy((void *)at, page, PAGE_SIZE);
			protect_set(at, PAGE_SIZE, open);
		}
	}
}

void inplace_unload(u64 addr, u64 bytes)
{
	for (struct object *o = objects; o; o = o->next) {
		if (!o->mapped || !overlap(addr, bytes, o->at.base, o->end))
			continue;
		if (addr > o->at.base || addr + bytes < o->end) {
			o->changed = true; /* a part of it is missing */
			continue;
		}
		o->mapped = false;
		if (!o->changed)
			reset(o, o->at.base, o->end);
		protect_set(o->at.base, o->end - o->at.base, false);
	}
}

void inplace_unload_all(void)
{
	for (struct object *o = objects; o; o = o->next)
		if (o->mapped)
			inplace_unload(o->at.base, o->end - o->at.base);
}

void inplace_reset(u64 addr, u64 bytes)
{
	for (struct object *o = objects; o; o = o->next)
		if (o->mapped && o->at.content && overlap(addr, bytes, o->at.base, o->end))
			reset(o, addr, addr + bytes);
}
