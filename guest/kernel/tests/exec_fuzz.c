/*
 * exec_fuzz.c: programs that are anything: whatever their headers say, the
 * loader writes only to memory that it has taken, or refuses them with a reason.
 */
// link: ../fs/file.c
#include "fuzz.h"

#include <setjmp.h>

#include "../exec.c"

enum { RAM = 64 << 20 };
static u8 taken[RAM / ABI_PAGE_SIZE];
static jmp_buf refused;
static const u8 *content;
static u64 content_bytes;

struct thread *current;
u32 xsave_bytes;
void proc_set_exe(const char *path) { (void)path; }
void mm_set_brk(u64 start) { (void)start; }
void mm_guard(u64 addr, u64 bytes) { (void)addr, (void)bytes; }
const char vdso_start[1], vdso_end[1];
void protect_set(u64 addr, u64 bytes, bool write) { (void)addr, (void)bytes, (void)write; }
void protect_segments(const Elf64_Phdr *ph, u32 n, u64 bias, bool copied) { (void)ph, (void)n, (void)bias, (void)copied; }
void random_bytes(void *buf, size_t n) { memset(buf, 0, n); }

void panic(const char *fmt, ...)
{
	CHECK(fmt && *fmt);
	longjmp(refused, 1);
}

static long content_read(struct file *f, void *buf, size_t n, u64 *pos)
{
	(void)f;
	if (*pos >= content_bytes)
		return 0;
	n = MIN(n, content_bytes - *pos);
	memcpy(buf, content + *pos, n);
	*pos += n;
	return (long)n;
}

struct file *vfs_open(const char *path, u32 flags, u32 mode, long *err)
{
	static const struct file_ops ops = {.name = "program", .read = content_read};
	(void)path, (void)flags, (void)mode, (void)err;
	return file_new(&ops, O_RDONLY, NULL);
}

void fs_start_in(const char *path) { (void)path; }

bool mm_in_ram(u64 addr, u64 bytes) { return addr >= ABI_PROGRAM_GPA && bytes <= RAM && addr <= RAM - bytes; }
bool mm_is_used(u64 addr, u64 pages)
{
	for (u64 i = addr / PAGE_SIZE; pages && i < ARRAY_SIZE(taken); i++, pages--)
		if (!taken[i])
			return false;
	return pages == 0;
}
static void mark(u64 addr, u64 pages)
{
	CHECK(addr % PAGE_SIZE == 0 && mm_in_ram(addr, pages * PAGE_SIZE) && pages <= RAM / PAGE_SIZE);
	memset(taken + addr / PAGE_SIZE, 1, pages);
}
void mm_take(u64 addr, u64 pages) { mark(addr, pages); }
long mm_claim(u64 addr, u64 pages)
{
	mark(addr, pages);
	return 0;
}
void mm_give(u64 addr, u64 pages) { (void)addr, (void)pages; }
u64 mm_map_anywhere(u64 pages)
{
	u64 limit = (RAM - 2 * ABI_PROGRAM_GPA) / PAGE_SIZE;
	if (pages == 0 || pages > limit)
		return 0;
	mark(2 * ABI_PROGRAM_GPA, pages);
	return 2 * ABI_PROGRAM_GPA;
}
long mm_map_elf(struct file *f, u64 total, u64 *base)
{
	(void)f, (void)total, (void)base;
	return 0;
}
/* The loader's only store to the program's memory. */
long mm_load_segment(struct file *f, u64 addr, u64 bytes, u64 off)
{
	(void)f, (void)off;
	u64 start = PAGE_DOWN(addr), pages = (PAGE_UP(addr + bytes) - start) / PAGE_SIZE;
	CHECK(addr + bytes >= addr);
	CHECK(bytes == 0 || (mm_in_ram(start, pages * PAGE_SIZE) && mm_is_used(start, pages)));
	return 0;
}

void fuzz_seed(void)
{
	Elf64_Ehdr e = {.e_ident = ELFMAG, .e_type = ET_DYN, .e_machine = EM_X86_64, .e_phoff = sizeof e, .e_phentsize = sizeof(Elf64_Phdr), .e_phnum = 3};
	Elf64_Phdr p[] = {
		{.p_type = PT_INTERP, .p_offset = sizeof e + 3 * sizeof(Elf64_Phdr), .p_filesz = 8},
		{.p_type = PT_LOAD, .p_filesz = 0x300, .p_memsz = 0x1234},
		{.p_type = PT_LOAD, .p_vaddr = 0x5678, .p_offset = 0x678, .p_filesz = 0x100, .p_memsz = 0x4000},
	};
	fwrite(&e, sizeof e, 1, stdout);
	fwrite(p, sizeof p, 1, stdout);
	fwrite("/ld.so\0\0", 8, 1, stdout);
}

void fuzz_one(u8 *data, u64 n)
{
	static struct object o;
	static struct abi_image_header image;
	char interp[64] = "";
	host_boot.image_gpa = (u64)&image;
	memset(&o, 0, sizeof o);
	memset(taken, 0, sizeof taken);
	content = data;
	content_bytes = n;
	if (!setjmp(refused)) {
		load(&o, "/program", interp, sizeof interp);
		CHECK(memchr(interp, 0, sizeof interp));
	}
}
