/*
 * placed.c: the ET_EXEC program that the image names as its own. The monitor shows its
 * file's pages at its link addresses whatever the guest runs first. Until the program is
 * loaded they are held, so that it costs nothing then; who loads another ET_EXEC there,
 * or any other program in its place, gets them as ordinary memory.
 */
#include "object.h"
#include "fs/fs.h"
#include "map.h"

static bool held;

static const struct abi_image_header *header(void) { return (const void *)boot_info->image_gpa; }

static const struct abi_image_extent *extents(u64 *n)
{
	*n = header()->extent_count;
	return (const void *)(boot_info->image_gpa + header()->extents_off);
}

static void each(void (*do_it)(u64 addr, u64 pages))
{
	u64 n;
	const struct abi_image_extent *e = extents(&n);
	for (u64 i = 0; i < n; i++)
		if (e[i].gpa >= ABI_PROGRAM_GPA)
			do_it(e[i].gpa, e[i].bytes / PAGE_SIZE);
}

static void hold(u64 addr, u64 pages)
{
	mm_claim(addr, pages);
	mm_own(addr, pages, true);
}
static void release(u64 addr, u64 pages) { mm_own(addr, pages, false); }
static void give(u64 addr, u64 pages)
{
	mm_own(addr, pages, false);
	mm_give(addr, pages);
}

void placed_init(void)
{
	held = header()->program != 0;
	if (held)
		each(hold);
}

bool placed_holds(struct file *f)
{
	if (!held || !f->ops->map_direct)
		return false;
	const u8 *content = img_content(header()->program);
	return content && f->ops->map_direct(f, 0, img_inode(header()->program)->size) == content;
}

void placed_hand_out(void)
{
	each(release);
	held = false;
}

void placed_drop(void)
{
	if (held)
		each(give);
	held = false;
}

u64 placed_end(void)
{
	u64 n, end = 0;
	const struct abi_image_extent *e = extents(&n);
	for (u64 i = 0; held && i < n; i++)
		if (e[i].gpa >= ABI_PROGRAM_GPA)
			end = MAX(end, e[i].gpa + e[i].bytes);
	return end;
}
