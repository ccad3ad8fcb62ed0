/*
 * object.c: reads the headers of a program or dynamic loader and places its segments.
 * An ET_EXEC that the image names as its program was put at its link addresses by the
 * monitor (placed.c); everything else is mapped as mmap would.
 */
#include "object.h"
#include "map.h"
#include "protect.h"

char object_reason[160];

#define REFUSE(err, ...) (ksnprintf(object_reason, sizeof object_reason, __VA_ARGS__), (err))

static bool read_exactly(struct file *f, void *buf, u64 n, u64 off)
{
	for (u64 done = 0; done < n;) {
		long r = f->ops->read ? f->ops->read(f, (u8 *)buf + done, n - done, &off) : 0;
		if (r <= 0)
			return false;
		done += (u64)r;
	}
	return true;
}

static long read_interp(const Elf64_Phdr *p, struct file *f, char *interp, size_t size)
{
	if (p->p_filesz < 2 || p->p_filesz > size || !read_exactly(f, interp, p->p_filesz, p->p_offset) || interp[p->p_filesz - 1]) {
		interp[0] = 0;
		return REFUSE(-ENOEXEC, "the dynamic loader's path is no string of at most %lu bytes", size);
	}
	return 0;
}

long object_read(struct object *o, struct file *f, char *interp, size_t interp_size)
{
	memset(o, 0, sizeof *o);
	if (interp)
		interp[0] = 0;
	if (!read_exactly(f, &o->eh, sizeof o->eh, 0))
		return REFUSE(-ENOEXEC, "the file ends within its headers");
	if (memcmp(o->eh.e_ident, ELFMAG, SELFMAG) || o->eh.e_machine != EM_X86_64 ||
	    (o->eh.e_type != ET_EXEC && o->eh.e_type != ET_DYN))
		return REFUSE(-ENOEXEC, "it is not an x86-64 ELF program");
	if (o->eh.e_phentsize != sizeof(Elf64_Phdr) || o->eh.e_phnum == 0 || o->eh.e_phnum > MAX_PHDRS)
		return REFUSE(-ENOEXEC, "%u program headers, at most %u can be loaded", o->eh.e_phnum, MAX_PHDRS);
	if (!read_exactly(f, o->ph, o->eh.e_phnum * sizeof(Elf64_Phdr), o->eh.e_phoff))
		return REFUSE(-ENOEXEC, "the file ends within its headers");
	o->low = ~0ull;
	for (int i = 0; i < o->eh.e_phnum; i++) {
		const Elf64_Phdr *p = &o->ph[i];
		long err = p->p_type == PT_INTERP && interp ? read_interp(p, f, interp, interp_size) : 0;
		if (err)
			return err;
		if (p->p_type != PT_LOAD)
			continue;
		if (p->p_filesz > p->p_memsz || p->p_memsz > ABI_MAX_GIB * 1ull << 30 || p->p_vaddr > ~0ull - p->p_memsz - PAGE_SIZE)
			return REFUSE(-ENOEXEC, "segment %d of %lu bytes, of which the file has %lu, at %lx", i, p->p_memsz, p->p_filesz, p->p_vaddr);
		o->low = MIN(o->low, PAGE_DOWN(p->p_vaddr));
		o->high = MAX(o->high, PAGE_UP(p->p_vaddr + p->p_memsz));
		if (o->eh.e_phoff >= p->p_offset && o->eh.e_phoff < p->p_offset + p->p_filesz)
			o->phdrs = p->p_vaddr + o->eh.e_phoff - p->p_offset;
	}
	if (o->high <= o->low)
		return REFUSE(-ENOEXEC, "it has nothing to load");
	return 0;
}

/* Takes the pages of an ET_EXEC, each once: two segments may meet in one. */
static long take_pages(const struct object *o)
{
	for (int i = 0; i < o->eh.e_phnum; i++) {
		const Elf64_Phdr *p = &o->ph[i];
		u64 start = PAGE_DOWN(p->p_vaddr), end = PAGE_UP(p->p_vaddr + p->p_memsz);
		if (p->p_type != PT_LOAD)
			continue;
		if (!mm_in_ram(start, end - start))
			return REFUSE(-ENOMEM, "segment %lx-%lx lies outside the guest's memory", start, end);
		for (u64 n; start < end; start += n * PAGE_SIZE) {
			for (n = 1; start + n * PAGE_SIZE < end && mm_is_used(start, 1) == mm_is_used(start + n * PAGE_SIZE, 1); n++)
				;
			if (!mm_is_used(start, 1))
				mm_take(start, n);
		}
	}
	return 0;
}

long object_place(struct object *o, struct file *f)
{
	bool in_place = o->eh.e_type == ET_EXEC && placed_holds(f), from_image = false;
	if (in_place)
		placed_hand_out();
	else if (o->eh.e_type == ET_EXEC && o->low < placed_end())
		placed_drop();
	long err = 0;
	if (o->eh.e_type == ET_DYN) {
		u64 base;
		from_image = mm_map_elf(f, o->high - o->low, &base) > 0;
		if (!from_image && !(base = mm_map_anywhere((o->high - o->low) / PAGE_SIZE)))
			return REFUSE(-ENOMEM, "no %lu bytes of memory for it", o->high - o->low);
		o->bias = base - o->low;
	} else {
		err = take_pages(o);
	}
	for (int i = 0; i < o->eh.e_phnum && !err && !in_place && !from_image; i++) {
		const Elf64_Phdr *p = &o->ph[i];
		if (p->p_type == PT_LOAD && mm_load_segment(f, o->bias + p->p_vaddr, p->p_filesz, p->p_offset))
			err = REFUSE(-EIO, "cannot read its segments");
	}
	if (err)
		return err;
	if (o->phdrs)
		o->phdrs += o->bias;
	if (!from_image)
		protect_segments(o->ph, o->eh.e_phnum, o->bias, !in_place);
	o->end = o->bias + o->high;
	return 0;
}
