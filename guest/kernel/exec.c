/*
 * exec.c: loads the one program: its segments, its dynamic loader, its stack.
 * An ET_EXEC that the image names as its program was put at its link
 * addresses by the monitor; everything else is mapped as mmap would.
 */
#include "core.h"
#include "extended.h"
#include "map.h"
#include "protect.h"

#include <linux/fcntl.h>

enum { STACK_BYTES = 8 << 20, GUARD_BYTES = 1 << 20, MAX_PHDRS = 32 };

u64 exec_auxv[48];

struct object {
	Elf64_Ehdr eh;
	Elf64_Phdr ph[MAX_PHDRS];
	u64 bias;  /* added to every address of the file */
	u64 end;   /* after bss */
	u64 phdrs; /* address of the program headers in memory */
};

static void read_exactly(struct file *f, const char *path, void *buf, u64 n, u64 off)
{
	for (u64 done = 0; done < n;) {
		long r = f->ops->read(f, (u8 *)buf + done, n - done, &off);
		if (r <= 0)
			panic("%s: the file ends within its headers", path);
		done += (u64)r;
	}
}

static void place_segment(struct object *o, struct file *f, const char *path, const Elf64_Phdr *p, bool in_place)
{
	u64 start = PAGE_DOWN(o->bias + p->p_vaddr);
	u64 end = PAGE_UP(o->bias + p->p_vaddr + p->p_memsz);
	if (!mm_in_ram(start, end - start))
		panic("%s: segment %lx-%lx lies outside the guest's memory", path, start, end);
	if (in_place) {
		mm_claim(start, (end - start) / PAGE_SIZE);
		return; /* bss pages are fresh */
	}
	if (!mm_is_used(start, 1) || o->eh.e_type == ET_EXEC)
		mm_take(start, (end - start) / PAGE_SIZE);
	if (mm_load_segment(f, o->bias + p->p_vaddr, p->p_filesz, p->p_offset))
		panic("%s: cannot read its segments", path);
}

/* True if the monitor has placed this file's segments already. */
static bool placed_by_monitor(struct file *f)
{
	const struct abi_image_header *h = (void *)boot_info->image_gpa;
	const struct abi_image_inode *inodes = (void *)(boot_info->image_gpa + h->inodes_off);
	if (!h->program || !f->ops->map_direct)
		return false;
	void *content = f->ops->map_direct(f, 0, inodes[h->program].size);
	return content == (void *)(boot_info->image_gpa + inodes[h->program].off);
}

static void load(struct object *o, const char *path, char *interp, size_t interp_size)
{
	long err = 0;
	struct file *f = vfs_open(path, O_RDONLY, 0, &err);
	if (!f)
		panic("cannot open %s: error %ld", path, -err);
	read_exactly(f, path, &o->eh, sizeof o->eh, 0);
	if (memcmp(o->eh.e_ident, ELFMAG, SELFMAG) || o->eh.e_machine != EM_X86_64 ||
	    (o->eh.e_type != ET_EXEC && o->eh.e_type != ET_DYN))
		panic("%s is not an x86-64 ELF program", path);
	if (o->eh.e_phentsize != sizeof(Elf64_Phdr) || o->eh.e_phnum == 0 || o->eh.e_phnum > MAX_PHDRS)
		panic("%s: %u program headers, at most %u can be loaded", path, o->eh.e_phnum, MAX_PHDRS);
	read_exactly(f, path, o->ph, o->eh.e_phnum * sizeof(Elf64_Phdr), o->eh.e_phoff);

	u64 low = ~0ull, high = 0;
	for (int i = 0; i < o->eh.e_phnum; i++) {
		const Elf64_Phdr *p = &o->ph[i];
		if (p->p_type == PT_INTERP && interp) {
			if (p->p_filesz >= interp_size)
				panic("%s: the dynamic loader's path is too long", path);
			read_exactly(f, path, interp, p->p_filesz, p->p_offset);
		}
		if (p->p_type != PT_LOAD)
			continue;
		if (p->p_filesz > p->p_memsz || p->p_memsz > ABI_MAX_GIB * 1ull << 30 || p->p_vaddr > ~0ull - p->p_memsz - PAGE_SIZE)
			panic("%s: segment %d of %lu bytes, of which the file has %lu, at %lx", path, i, p->p_memsz, p->p_filesz, p->p_vaddr);
		low = MIN(low, PAGE_DOWN(p->p_vaddr));
		high = MAX(high, PAGE_UP(p->p_vaddr + p->p_memsz));
	}
	if (high <= low)
		panic("%s has nothing to load", path);

	bool in_place = o->eh.e_type == ET_EXEC && placed_by_monitor(f);
	bool from_image = false;
	if (o->eh.e_type == ET_DYN) {
		u64 base;
		from_image = mm_map_elf(f, high - low, &base) > 0;
		if (!from_image && !(base = mm_map_anywhere((high - low) / PAGE_SIZE)))
			panic("%s: no %lu bytes of memory for it", path, high - low);
		o->bias = base - low;
	}
	for (int i = 0; i < o->eh.e_phnum && !from_image; i++)
		if (o->ph[i].p_type == PT_LOAD)
			place_segment(o, f, path, &o->ph[i], in_place);
	for (int i = 0; i < o->eh.e_phnum; i++) {
		const Elf64_Phdr *p = &o->ph[i];
		if (p->p_type == PT_LOAD && o->eh.e_phoff >= p->p_offset && o->eh.e_phoff < p->p_offset + p->p_filesz)
			o->phdrs = o->bias + p->p_vaddr + o->eh.e_phoff - p->p_offset;
	}
	if (!from_image)
		protect_segments(o->ph, o->eh.e_phnum, o->bias, !in_place);
	o->end = o->bias + high;
	file_put(f);
}

/* The main stack ends in a guard as large as Linux's stack_guard_gap. */
static u64 make_stack(void)
{
	u64 base = mm_map_anywhere((GUARD_BYTES + STACK_BYTES) / PAGE_SIZE);
	if (!base)
		panic("no memory for a stack of %u bytes", STACK_BYTES);
	mm_guard(base, GUARD_BYTES);
	return base + GUARD_BYTES + STACK_BYTES;
}

/* The clocks for programs whose system calls are not patched. */
extern const char vdso_start[], vdso_end[];

static u64 map_vdso(void)
{
	u64 bytes = (u64)(vdso_end - vdso_start), base = mm_map_anywhere(PAGE_UP(bytes) / PAGE_SIZE);
	if (base) {
		memcpy((void *)base, vdso_start, bytes);
		protect_set(base, bytes, false);
	}
	return base;
}

static u64 push_bytes(u64 *sp, const void *p, u64 n)
{
	*sp -= n;
	memcpy((void *)*sp, p, n);
	return *sp;
}

static u64 build_stack(const struct object *prog, const struct object *interp, const char *path)
{
	u64 sp = make_stack();
	u64 argc = boot_info->argc, envc = boot_info->envc, n = argc + envc;
	const char *args = (const char *)ABI_ARGS_GPA;
	u64 len = 0;
	for (u64 i = 0; i < n; i++) {
		len += strnlen(args + len, ABI_ARGS_SIZE - len) + 1;
		if (len > ABI_ARGS_SIZE)
			panic("arguments and environment exceed %u bytes", ABI_ARGS_SIZE);
	}
	u8 random[16];
	random_bytes(random, sizeof random);
	u64 vdso = interp ? 0 : map_vdso();
	u64 execfn = push_bytes(&sp, path, strlen(path) + 1);
	u64 platform = push_bytes(&sp, "x86_64", 7);
	u64 text = push_bytes(&sp, args, len);
	sp &= ~15ull;
	u64 at_random = push_bytes(&sp, random, sizeof random);

	u32 a = 1, b, c, d;
	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "=c"(c), "=d"(d));
	const u64 auxv[] = {
		AT_HWCAP, d, AT_PAGESZ, PAGE_SIZE, AT_CLKTCK, 100,
		AT_PHDR, prog->phdrs, AT_PHENT, sizeof(Elf64_Phdr), AT_PHNUM, prog->eh.e_phnum,
		AT_BASE, interp ? interp->bias : 0, AT_FLAGS, 0, AT_ENTRY, prog->bias + prog->eh.e_entry,
		AT_UID, 0, AT_EUID, 0, AT_GID, 0, AT_EGID, 0, AT_SECURE, 0,
		AT_RANDOM, at_random, AT_HWCAP2, 0 /* no FSGSBASE: not every host keeps it */, AT_EXECFN, execfn, AT_PLATFORM, platform,
		AT_MINSIGSTKSZ, 2048 + xsave_bytes, vdso ? AT_SYSINFO_EHDR : AT_IGNORE, vdso, AT_NULL, 0,
	};
	_Static_assert(sizeof auxv <= sizeof exec_auxv, "exec_auxv");
	memcpy(exec_auxv, auxv, sizeof auxv);

	u64 words = 1 + argc + 1 + envc + 1 + ARRAY_SIZE(auxv);
	sp = (sp - words * 8) & ~15ull;
	u64 *w = (u64 *)sp;
	*w++ = argc;
	for (u64 i = 0; i < n; i++) {
		if (i == argc)
			*w++ = 0;
		*w++ = text;
		text += strlen((const char *)text) + 1;
	}
	if (n == argc)
		*w++ = 0;
	*w++ = 0;
	memcpy(w, auxv, sizeof auxv);
	return sp;
}

void exec_boot(struct abi_frame *frame)
{
	static struct object prog, loader;
	static char interp[256];
	if (boot_info->argc == 0)
		panic("nothing to run: argc is 0");
	const char *path = (const char *)ABI_ARGS_GPA;
	load(&prog, path, interp, sizeof interp);
	proc_set_exe(path);
	if (prog.eh.e_type == ET_EXEC)
		mm_set_brk(prog.end);
	else
		mm_set_brk(ABI_PROGRAM_GPA);
	if (interp[0])
		load(&loader, interp, NULL, 0);
	ksnprintf(current->name, sizeof current->name, "%s", path + (strlen(path) > 15 ? strlen(path) - 15 : 0));
	memset(frame, 0, sizeof *frame);
	frame->vector = ABI_VEC_UPCALL;
	frame->rip = interp[0] ? loader.bias + loader.eh.e_entry : prog.bias + prog.eh.e_entry;
	frame->rsp = build_stack(&prog, interp[0] ? &loader : NULL, path);
	frame->rflags = 2;
	if (boot_info->dirc) {
		const char *dir = path;
		for (u32 i = 0; i < boot_info->argc + boot_info->envc; i++)
			dir += strlen(dir) + 1;
		fs_start_in(dir);
	}
}
