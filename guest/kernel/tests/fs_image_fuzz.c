/*
 * fs_image_fuzz.c: root images that are anything: every table is walked, every
 * name looked up, every content read.
 */
// link: ../fs/*.c
#include "fuzz.h"
#include "fsimage.h"

static u64 sum;

static void read_all(const void *p, u64 n)
{
	for (u64 i = 0; p && i < n; i++)
		sum += ((const u8 *)p)[i];
}

static void inode(u32 ino)
{
	const struct abi_image_inode *i = img_inode(ino);
	struct img_name name;
	u64 bytes = 0;
	CHECK(i);
	for (u64 k = 0; k < 64 && img_dirent(ino, k, &name) > 0; k++) {
		read_all(name.name, name.len);
		s64 found = img_lookup(ino, name.name, name.len);
		CHECK(found == -ENOENT || found == -EIO || (found >= 0 && found < img_count()));
		img_parent(ino, &name);
	}
	read_all(img_content(ino), img_content(ino) ? i->size - i->head : 0);
	read_all(img_direct(ino, 0, i->size), i->size);
	read_all(img_direct(ino, PAGE_SIZE, 1), 1);
	struct file_layout at;
	if (img_loaded(ino, &at)) {
		read_all((void *)at.base, at.bytes);
		read_all(at.content, at.size);
	}
	img_holds(ino, (u64)img_content(0), PAGE_SIZE, &bytes);
}

void fuzz_seed(void)
{
	static const struct image_file files[] = {
		DIRECTORY("/bin"), DIRECTORY("/usr"), DIRECTORY("/usr/lib"), BLOB("/bin/prog", 5000), HARDLINK("/bin/prog2", "/bin/prog"),
		SYMLINK("/lib", "usr/lib"), TEXT("/usr/lib/a", "alpha"), TEXT("/usr/lib/b", ""), {"/usr/lib/so", S_IFREG | 0755, NULL, 8192, NULL, true},
	};
	struct image im = image_build(files, ARRAY_SIZE(files));
	fwrite(im.bytes, im.size, 1, stdout);
	free(im.bytes);
}

void fuzz_one(u8 *data, u64 n)
{
	if (img_init(data, n))
		return;
	for (u32 ino = 0; ino < img_count() && ino < 64; ino++)
		inode(ino);
	CHECK(!img_inode(img_count()));
	CHECK(img_init(NULL, 0)); /* nothing points into the input any more */
}
