/*
 * fs_image_test.c: the root image's decoder: what it finds, and that damaged
 * images never make it read outside the image (the sanitizers watch).
 */
// link: ../fs/*.c
#include "fsimage.h"
#include "../fs/calls.h"

static const struct image_file files[] = {
	DIRECTORY("/bin"), DIRECTORY("/empty"), DIRECTORY("/usr"), DIRECTORY("/usr/lib"),
	BLOB("/bin/prog", 5000), HARDLINK("/bin/prog2", "/bin/prog"),
	SYMLINK("/lib", "usr/lib"), TEXT("/usr/lib/a", "alpha"), TEXT("/usr/lib/ab", "beta"), TEXT("/usr/lib/b", ""),
	{"/usr/lib/so", S_IFREG | 0755, NULL, 8192, NULL, true},
};

static void test_reads(void)
{
	struct image im = image_build(files, ARRAY_SIZE(files));
	CHECK(img_init(im.bytes, im.size) == NULL);
	CHECK_EQ(img_count(), ARRAY_SIZE(files)); /* the root, less the hard link */
	s64 usr = img_lookup(0, "usr", 3), lib = img_lookup((u32)usr, "lib", 3), so = img_lookup((u32)lib, "so", 2);
	CHECK(usr > 0 && lib > 0 && so > 0);
	CHECK_EQ(img_lookup(0, "us", 2), -ENOENT);
	CHECK_EQ(img_lookup(0, "usr2", 4), -ENOENT);
	CHECK_EQ(img_lookup((u32)so, "x", 1), -EIO); /* no directory */
	CHECK_EQ(img_lookup(1000, "x", 1), -EIO);
	u32 a = (u32)img_lookup((u32)lib, "a", 1), ab = (u32)img_lookup((u32)lib, "ab", 2);
	CHECK(memcmp(img_content(a), "alpha", 5) == 0 && memcmp(img_content(ab), "beta", 4) == 0);
	struct img_name self;
	CHECK_EQ(img_parent((u32)lib, &self), usr);
	CHECK(self.len == 3 && memcmp(self.name, "lib", 3) == 0);
	CHECK_EQ(img_parent(0, &self), -EIO);
	CHECK_EQ(img_lookup((u32)img_lookup(0, "bin", 3), "prog", 4), img_lookup((u32)img_lookup(0, "bin", 3), "prog2", 5));
	u32 prog = (u32)img_lookup((u32)img_lookup(0, "bin", 3), "prog", 4);
	CHECK(img_direct(prog, 0, 5000) == img_content(prog));
	CHECK(img_direct(prog, 4096, 4096) == img_content(prog) + 4096);
	CHECK(img_direct(prog, 4096, 4097) == NULL); /* behind the last page */
	CHECK(img_direct(prog, 100, 100) == NULL);
	CHECK(img_direct(a, 0, 5) == NULL); /* not page aligned in the image */
	u8 *tail = (u8 *)img_content(prog) + 5000;
	*tail = 1; /* something else lies behind the end: a mapping would show it */
	CHECK(img_direct(prog, 0, 8192) == NULL);
	CHECK(img_direct(prog, 0, 4096) == img_content(prog));
	struct file_layout at;
	CHECK(img_loaded((u32)so, &at));
	CHECK(*(u8 *)at.base == 'L' && at.bytes == 8192 && at.content == img_content((u32)so) && at.size == 8192);
	CHECK(!img_loaded(a, &at));
	struct abi_image_inode *object = (void *)img_inode((u32)so), before = *object;
	u8 both[8192], *rest = (u8 *)img_content((u32)so);
	object->head = 4096; /* its first page is the layout's, and the second lies alone */
	CHECK(img_read((u32)so, both, 8192, 0) && both[0] == 'L' && both[4095] == 'L' && !memcmp(both + 4096, rest, 4096));
	CHECK(img_read((u32)so, both, 2, 4095) && both[0] == 'L' && both[1] == *rest);
	CHECK(!img_read((u32)so, both, 8192, 1) && !img_read((u32)so, both, 1, 8192));
	CHECK(img_loaded((u32)so, &at) && at.head == 4096 && at.content == rest && at.size == 8192);
	CHECK(img_shows((u32)so, at.base) && !img_shows((u32)so, at.base + 4096) && !img_shows(prog, at.base));
	CHECK(!img_direct((u32)so, 0, 4096) && img_direct((u32)so, 4096, 4096) == rest);
	object->head = 4095;
	CHECK(!img_content((u32)so) && !img_read((u32)so, both, 1, 0) && !img_loaded((u32)so, &at));
	object->head = 12288; /* more than there is */
	CHECK(!img_content((u32)so) && !img_loaded((u32)so, &at));
	*object = before;
	u64 content = (u64)img_content(prog), pages = 0;
	CHECK(img_holds(prog, content + 4096, 4096, &pages) && pages == 1);
	CHECK(img_holds(prog, content - 4096, 5 * 4096, &pages) && pages == 2);
	CHECK(!img_holds(prog, content + 8192, 4096, &pages) && !img_holds(prog, content - 4096, 4096, &pages));
	CHECK(!img_holds(a, (u64)img_content(a) & -4096ull, 4096, &pages)); /* shares its page with others */
	free(im.bytes);
}

static u64 asked_at, asked; /* of the content that is not mapped */

void content_read(u64 offset, void *buf, u64 n)
{
	asked_at = offset;
	asked += n;
	memset(buf, 'C', n);
}

/* Of an image of which parts are mapped files are read from there, and the rest from the monitor. */
static void test_parts(void)
{
	struct image im = image_build(files, ARRAY_SIZE(files));
	struct abi_image_header *h = (void *)im.bytes;
	CHECK(img_init(im.bytes, im.size) == NULL);
	s64 usr = img_lookup(0, "usr", 3), lib = img_lookup((u32)usr, "lib", 3), so = img_lookup((u32)lib, "so", 2);
	u32 prog = (u32)img_lookup((u32)img_lookup(0, "bin", 3), "prog", 4);
	struct abi_image_inode *object = (void *)img_inode((u32)so), *program = (void *)img_inode(prog);
	u64 away = 20ull << 30; /* the program's content; that of the object appears a page earlier than it lies */
	u64 first = MIN(object->off, object->load_off), end = MAX(object->off + PAGE_UP(object->size), object->load_off + object->load_bytes);
	u8 *copy = aligned_alloc(PAGE_SIZE, im.size + 2 * PAGE_SIZE);
	memcpy(copy, im.bytes, im.size);
	h = (void *)copy;
	object = (void *)(copy + ((u8 *)object - im.bytes));
	program = (void *)(copy + ((u8 *)program - im.bytes));
	struct abi_image_shown *parts = (void *)(copy + im.size);
	parts[0] = (struct abi_image_shown){0, 0, first};
	parts[1] = (struct abi_image_shown){first + PAGE_SIZE, first, end - first};
	object->off += PAGE_SIZE;
	object->load_off += PAGE_SIZE;
	program->off = away;
	h->version = ABI_IMAGE_PARTS_VERSION;
	h->shown_off = im.size;
	h->shown_count = 2;
	h->shown_bytes = im.size + PAGE_SIZE;
	h->total_bytes = away + PAGE_UP(program->size);
	CHECK(img_init(copy, h->shown_bytes) == NULL);
	struct file_layout at;
	CHECK(img_loaded((u32)so, &at) && *(u8 *)at.base == 'L' && at.content == img_content((u32)so) && at.content == copy + object->off - PAGE_SIZE);
	CHECK(img_direct((u32)so, 0, 4096) == at.content);
	u8 buf[5000];
	CHECK(img_read((u32)so, buf, 5000, 0) && buf[0] == image_pattern(0) && asked == 0);
	CHECK(img_sound(prog) && !img_content(prog) && !img_direct(prog, 0, 4096));
	CHECK(img_read(prog, buf, 5000, 0) && asked == 5000 && asked_at == away && buf[4999] == 'C');
	CHECK(!img_read(prog, buf, 5000, 1));
	program->off = h->total_bytes;
	CHECK(!img_sound(prog) && !img_read(prog, buf, 1, 0) && asked == 5000);
	parts[1].at = ~0ull - 4095; /* nothing is mapped there, so the monitor is asked */
	CHECK(!img_loaded((u32)so, &at) && !img_content((u32)so) && img_read((u32)so, buf, 1, 0) && asked == 5001);
	h->shown_bytes = im.size + 2 * PAGE_SIZE;
	CHECK(img_init(copy, im.size + PAGE_SIZE) != NULL);
	free(copy);
	free(im.bytes);
}

static void test_refuses(void)
{
	struct image im = image_build(files, ARRAY_SIZE(files));
	struct abi_image_header *h = (void *)im.bytes, good = *h;
#define REFUSED(change)                                      \
	do {                                                 \
		*h = good;                                   \
		change;                                      \
		CHECK(img_init(im.bytes, im.size) != NULL);  \
	} while (0)
	REFUSED(h->magic ^= 1);
	REFUSED(h->version++); /* mapped in parts, of which there are none */
	REFUSED(h->version += 2);
	CHECK(strcmp(img_init(im.bytes, im.size), "it has image format version 4, this kernel library reads 2 and 3: build the image anew") == 0);
	REFUSED(h->total_bytes = im.size + 1);
	REFUSED(h->total_bytes = 8);
	REFUSED(h->inode_count = 0);
	REFUSED(h->inode_count = ~0ull / 64);
	REFUSED(h->inodes_off = im.size - 8);
	REFUSED(h->inodes_off += 4);
	REFUSED(h->dirents_off = ~7ull);
	REFUSED(h->dirent_count = 1ull << 60);
	REFUSED(h->names_bytes = ~0ull);
	REFUSED(h->inodes_off = h->dirents_off); /* the root is no directory then */
	*h = good;
	CHECK(img_init(im.bytes, 100) != NULL);
	CHECK(img_init(im.bytes, im.size) == NULL);
	free(im.bytes);
}

static volatile u64 sum;

/* Touches everything that the decoder says is there. */
static void use_all(void)
{
	for (u32 ino = 0; ino < MIN(img_count(), 64u) + 1; ino++) {
		const struct abi_image_inode *i = img_inode(ino);
		struct img_name name;
		struct file_layout at;
		if (!i)
			continue;
		const u8 *content = img_content(ino), *p;
		if (content && i->size > i->head)
			sum += content[0] + content[i->size - i->head - 1];
		u8 byte;
		if (content && i->size && img_read(ino, &byte, 1, i->size - 1) && img_read(ino, &byte, 1, 0) && img_read(ino, &byte, 1, i->size / 2))
			sum += byte;
		for (u64 k = 0; k < 64 && img_dirent(ino, k, &name) == 1; k++)
			for (u32 c = 0; c < name.len; c++)
				sum += (u8)name.name[c];
		img_lookup(ino, "usr", 3);
		img_lookup(ino, "zz", 2);
		if (img_parent(ino, &name) >= 0)
			sum += (u8)name.name[name.len - 1];
		if ((p = img_direct(ino, 0, 4096)))
			sum += p[0] + p[4095];
		if ((p = img_direct(ino, 4096, 100)))
			sum += p[99];
		if (img_loaded(ino, &at))
			sum += *(u8 *)at.base + *(u8 *)(at.base + at.bytes - 1);
	}
}

/* The same through paths: whatever the image says, calls end and give a result or an error. */
static void use_tree(void)
{
	static const char *const paths[] = {"/usr/lib/../lib/a", "/lib/ab", "/bin/prog2", "/usr/lib/so", "/empty/../usr", "/lib/..", "/bin"};
	u8 buf[3000];
	for (u32 i = 0; i < ARRAY_SIZE(paths); i++) {
		struct stat st;
		sys_lstat(paths[i], &st);
		sys_readlink(paths[i], (char *)buf, sizeof buf);
		long fd = sys_open(paths[i], O_RDONLY, 0);
		if (fd < 0)
			continue;
		for (int k = 0; k < 3; k++)
			sys_read((int)fd, buf, sizeof buf), sys_getdents64((int)fd, buf, sizeof buf);
		if (sys_fchdir((int)fd) == 0) {
			sys_getcwd((char *)buf, sizeof buf);
			sys_stat("../lib/b", &st);
			sys_chdir("..");
		}
		CHECK_EQ(sys_close((int)fd), 0);
		CHECK_EQ(sys_chdir("/"), 0);
	}
}

static void test_damaged(void)
{
	struct image im = image_build(files, ARRAY_SIZE(files));
	vfs_init(im.bytes, im.size);
	use_tree();
	const struct abi_image_header *h = (void *)im.bytes;
	u64 tables = h->names_off + h->names_bytes;
	int accepted = 0;
	for (int round = 0; round < 30000; round++) {
		/* A heap object of exactly the image's size: a byte beyond is caught. */
		u8 *copy = aligned_alloc(PAGE_SIZE, im.size);
		memcpy(copy, im.bytes, im.size);
		for (u32 k = host_random(6) + 1; k; k--) {
			u64 at = host_random(2) ? host_random(sizeof *h) : PAGE_SIZE + host_random((u32)(tables - PAGE_SIZE));
			if (host_random(3))
				copy[at] ^= (u8)(1u << host_random(8));
			else
				memset(copy + (at & ~7ull), host_random(2) ? 0xff : 0, 8);
		}
		if (host_random(2)) { /* most damage to the header is refused at once: also try behind it */
			memcpy(copy, im.bytes, sizeof *h);
		}
		if (img_init(copy, im.size) == NULL) {
			accepted++;
			use_all();
			use_tree();
		}
		free(copy);
	}
	CHECK(accepted > 1000);
	free(im.bytes);
}

int main(void)
{
	test_reads();
	test_parts();
	test_refuses();
	test_damaged();
	return 0;
}
