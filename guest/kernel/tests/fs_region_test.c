/*
 * fs_region_test.c: /dev/seuss/region as files, of which another machine makes and removes
 * some meanwhile.
 */
// link: ../fs/*.c
#include "fsimage.h"
#include "../fs/calls.h"
#include "../region.h"

#define DIR "/dev/seuss/region/"

static const struct image_file files[] = {DIRECTORY("/proc"), DIRECTORY("/dev"), DIRECTORY("/tmp")};

/* The host's one region, "x". */
static u64 has;
static long denied, removals;

long region_open(const char *name, u64 len, u32 flags, u64 *size)
{
	CHECK(len == 1 && *name == 'x');
	if (flags & (ABI_REGION_WRITE | ABI_REGION_CREATE) && denied)
		return denied;
	if (has && flags & ABI_REGION_CREATE && flags & ABI_REGION_EXCL)
		return -EEXIST;
	if (!has && !(flags & ABI_REGION_CREATE && *size))
		return -ENOENT;
	if (has && flags & ABI_REGION_CREATE && *size && *size != has)
		return -EINVAL;
	*size = has = has ? has : *size;
	return 0;
}

long region_remove(const char *name, u64 len)
{
	CHECK(len == 1 && *name == 'x');
	removals++;
	has = 0;
	return 0;
}

static int opens(u32 flags) { return (int)sys_open(DIR "x", flags, 0666); }

static void test_making(void)
{
	CHECK_EQ(opens(O_RDWR), -ENOENT);
	CHECK_EQ(opens(O_RDONLY | O_CREAT), -ENOENT); /* it could never be made */
	int fd = opens(O_RDWR | O_CREAT | O_TRUNC);
	CHECK_EQ(sys_ftruncate(fd, 4096), 0);
	CHECK_EQ(sys_ftruncate(fd, 8192), -EINVAL);
	CHECK_EQ(has, 4096);
	sys_close(fd);
	CHECK_EQ(opens(O_RDWR | O_CREAT | O_EXCL), -EEXIST);
	CHECK_EQ(opens(O_RDWR | O_TRUNC), -EINVAL); /* it keeps its size */
	CHECK_EQ(sys_open("/dev/seuss/region", O_TMPFILE | O_RDWR, 0600), -EOPNOTSUPP);
	fd = opens(O_RDWR | O_CREAT);
	CHECK_EQ(sys_ftruncate(fd, 4096), 0);
	sys_close(fd);
	CHECK_EQ(sys_unlink(DIR "x"), 0);
	CHECK(!has && removals == 1);
}

/* O_EXCL holds among machines: of two that have opened it, one makes it. */
static void test_exclusive(void)
{
	int mine = opens(O_RDWR | O_CREAT | O_EXCL), plain = opens(O_RDWR | O_CREAT);
	CHECK(mine >= 0 && plain >= 0);
	has = 4096; /* another machine's */
	CHECK_EQ(sys_ftruncate(mine, 4096), -EEXIST);
	CHECK_EQ(sys_ftruncate(plain, 4096), 0);
	sys_close(mine);
	sys_close(plain);
	has = 0;
	mine = opens(O_RDWR | O_CREAT | O_EXCL);
	CHECK_EQ(sys_ftruncate(mine, 4096), 0);
	sys_close(mine);
	CHECK_EQ(sys_unlink(DIR "x"), 0);
}

/* To open one in vain removes none. */
static void test_failed(void)
{
	removals = 0;
	denied = -EACCES;
	CHECK_EQ(opens(O_RDWR | O_CREAT), -EACCES);
	denied = 0;
	CHECK_EQ(removals, 0);
	CHECK_EQ(opens(O_RDWR), -ENOENT);
}

int main(void)
{
	struct image im = image_build(files, ARRAY_SIZE(files));
	vfs_init(im.bytes, im.size);
	test_making();
	test_exclusive();
	test_failed();
	return 0;
}
