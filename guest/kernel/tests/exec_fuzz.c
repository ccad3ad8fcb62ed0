/*
 * exec_fuzz.c: programs that are anything: whatever their headers say, the
 * loader writes only to memory that it has taken, or refuses them with a reason;
 * and whatever a script says, its words stay within the strings' memory.
 */
// link: ../fs/file.c ../fs/imagefs.c
#include "fuzz.h"

#include "../object.c"
#include "../placed.c"
#include "../script.c"

enum { RAM = 64 << 20 };
static u8 taken[RAM / ABI_PAGE_SIZE];
static const u8 *content;
static u64 content_bytes;

void protect_segments(const Elf64_Phdr *ph, u32 n, u64 bias, bool copied) { (void)ph, (void)n, (void)bias, (void)copied; }
void mm_own(u64 addr, u64 pages, bool is) { (void)addr, (void)pages, (void)is; }

static long program_read(struct file *f, void *buf, size_t n, u64 *pos)
{
	(void)f;
	if (*pos >= content_bytes)
		return 0;
	n = MIN(n, content_bytes - *pos);
	memcpy(buf, content + *pos, n);
	*pos += n;
	return (long)n;
}

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

static void one_script(u8 *data, u64 n)
{
	static char text[ABI_ARGS_SIZE];
	struct exec_strings s = {text, 0, 1, 1};
	char head[SCRIPT_HEAD] = "#!", interp[SCRIPT_HEAD];
	memcpy(head + 2, data, MIN(n, sizeof head - 2));
	for (int i = 0; i < 2; i++) /* an argument and a variable: the more of them the longer data is */
		s.len += (u64)snprintf(text + s.len, sizeof text - s.len, "%0*d", (int)(n * 64 % 28000), i) + 1;
	u64 before = s.len;
	long r = script_expand(head, "/script", &s, interp);
	CHECK(r == 1 || r == -ENOEXEC || r == -E2BIG);
	if (r != 1) {
		CHECK(s.len == before && s.argc == 1);
		return;
	}
	CHECK(s.len <= sizeof text && (s.argc == 2 || s.argc == 3) && !strcmp(text, interp) && *interp);
	u64 strings = 0;
	for (u64 i = 0; i < s.len; i++)
		strings += !text[i];
	CHECK(strings == s.argc + 1u);
}

void fuzz_one(u8 *data, u64 n)
{
	static struct object o;
	static struct abi_image_header image;
	static const struct file_ops ops = {.name = "program", .read = program_read};
	char interp[64];
	host_boot.image_gpa = (u64)&image;
	memset(taken, 0, sizeof taken);
	content = data;
	content_bytes = n;
	struct file *f = file_new(&ops, 0, NULL);
	long err = object_read(&o, f, interp, sizeof interp);
	CHECK(memchr(interp, 0, sizeof interp));
	CHECK(err == 0 || err == -ENOEXEC);
	if (!err)
		err = object_place(&o, f);
	CHECK(!err || *object_reason);
	file_put(f);
	one_script(data, n);
}
