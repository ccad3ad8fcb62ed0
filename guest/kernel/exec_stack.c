/*
 * exec_stack.c: the stack that a program starts on: its strings, the auxiliary vector,
 * and the clocks for programs whose system calls are not patched.
 */
#include "cred.h"
#include "exec.h"
#include "extended.h"
#include "protect.h"

enum { STACK_BYTES = 8 << 20, GUARD_BYTES = 1 << 20 };

u64 exec_auxv[48];

/* The main stack ends in a guard as large as Linux's stack_guard_gap. */
static u64 make_stack(void)
{
	u64 base = mm_map_anywhere((GUARD_BYTES + STACK_BYTES) / PAGE_SIZE);
	if (!base)
		return 0;
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

u64 exec_stack_pages(void) { return (GUARD_BYTES + STACK_BYTES + PAGE_UP((u64)(vdso_end - vdso_start))) / PAGE_SIZE; }

u64 exec_stack(const struct object *prog, const struct object *interp, const char *path, u32 argc, u32 envc, bool secure)
{
	u64 sp = make_stack();
	if (!sp)
		return 0;
	const char *args = (const char *)ABI_ARGS_GPA;
	u64 n = argc + envc, len = 0;
	for (u64 i = 0; i < n; i++)
		len += strlen(args + len) + 1;
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
		AT_UID, cred.uid, AT_EUID, cred.euid, AT_GID, cred.gid, AT_EGID, cred.egid, AT_SECURE, secure,
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
