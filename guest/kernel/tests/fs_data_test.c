/*
 * fs_data_test.c: content of files in memory: growth, holes, truncation,
 * shared mappings and their end; and the calls that move content.
 */
// link: ../fs/*.c
#include "fsimage.h"
#include "../fs/calls.h"

#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/memfd.h>

static int created(const char *path)
{
	long fd = sys_open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);
	CHECK(fd >= 0);
	return (int)fd;
}

static u64 size_of(int fd)
{
	struct stat st;
	CHECK_EQ(sys_fstat(fd, &st), 0);
	return (u64)st.st_size;
}

/* Random writes, truncations and mappings against a plain array. */
static void test_content(void)
{
	enum { MAX = 400 << 10 };
	static u8 want[MAX], got[MAX + 1];
	for (int round = 0; round < 60; round++) {
		int fd = created("/tmp/content");
		struct file *f = fd_get(fd);
		u64 size = 0, mapped_off = 0, mapped = 0;
		u8 *map = NULL;
		u64 limit = round % 3 == 0 ? 3000 : round % 3 == 1 ? 40000 : MAX;
		memset(want, 0, sizeof want);
		for (int step = 0; step < 120; step++) {
			u64 off = host_random((u32)limit), n = host_random(host_random(4) ? 600 : 60000);
			n = MIN(n, limit - off);
			switch (host_random(6)) {
			case 0:
			case 1:
			case 2:
				for (u64 i = 0; i < n; i++)
					got[i] = (u8)host_random(256);
				CHECK_EQ(sys_pwrite64(fd, got, n, (s64)off), n);
				memcpy(want + off, got, n);
				if (n)
					size = MAX(size, off + n);
				break;
			case 3:
				CHECK_EQ(sys_ftruncate(fd, (s64)off), 0);
				if (off < size)
					memset(want + off, 0, size - off);
				size = off;
				break;
			case 4:
				if (off < size) {
					n = MIN(n, size - off);
					CHECK_EQ(sys_fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (s64)off, (s64)n + 1), 0);
					memset(want + off, 0, MIN(n + 1, size - off));
				}
				break;
			default:
				if (map || host_random(3) || size < 4096)
					break;
				mapped_off = PAGE_DOWN(host_random((u32)size));
				mapped = PAGE_SIZE * (1 + host_random(4));
				map = f->ops->map_shared(f, mapped_off, mapped);
				CHECK(map != NULL);
			}
			CHECK_EQ(size_of(fd), size);
			CHECK_EQ(sys_pread64(fd, got, size + 1, 0), size);
			CHECK(memcmp(got, want, size) == 0);
			if (map) { /* what one side stores the other sees */
				u64 at = mapped_off + host_random((u32)mapped);
				map[at - mapped_off] = (u8)step;
				if (at < size) /* behind the end it must not show, however the file grows */
					want[at] = (u8)step;
				u64 end = MIN(size, mapped_off + mapped);
				if (end > mapped_off)
					CHECK(memcmp(map, want + mapped_off, end - mapped_off) == 0);
			}
		}
		bool file;
		if (map) {
			CHECK_EQ(fs_unmap((u64)map, mapped, &file), mapped);
			CHECK(file);
		}
		CHECK_EQ(sys_close(fd), 0);
		CHECK_EQ(sys_unlink("/tmp/content"), 0);
		CHECK_EQ(host_pages_out, 0);
	}
}

static void test_holes(void)
{
	u8 buf[64];
	int fd = created("/tmp/hole");
	CHECK_EQ(sys_ftruncate(fd, 1ll << 40), 0); /* a size costs nothing */
	CHECK_EQ(host_pages_out, 0);
	memset(buf, 1, sizeof buf);
	CHECK_EQ(sys_pread64(fd, buf, 64, 1ll << 39), 64);
	CHECK(buf[0] == 0 && buf[63] == 0);
	CHECK_EQ(sys_pwrite64(fd, buf, 1, 1ll << 39), -ENOSPC);
	CHECK_EQ(sys_ftruncate(fd, -1), -EINVAL);
	CHECK_EQ(sys_pwrite64(fd, buf, 1, 0x7fffffffffffffff), -EFBIG);
	CHECK_EQ(sys_fallocate(fd, 0, 0, 1ll << 40), -ENOSPC);
	CHECK_EQ(sys_fallocate(fd, 0, -1, 5), -EINVAL);
	CHECK_EQ(sys_fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, 5), -EOPNOTSUPP);
	CHECK_EQ(sys_ftruncate(fd, 0), 0);
	CHECK_EQ(sys_fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 10000), 0);
	CHECK_EQ(size_of(fd), 0);
	CHECK_EQ(sys_fallocate(fd, 0, 0, 10000), 0);
	CHECK_EQ(size_of(fd), 10000);
	host_fail_after = 0; /* no memory: nothing changes */
	CHECK_EQ(sys_pwrite64(fd, buf, 1, 1 << 20), -ENOSPC);
	host_fail_after = -1;
	CHECK_EQ(size_of(fd), 10000);
	sys_close(fd), sys_unlink("/tmp/hole");
	CHECK_EQ(host_pages_out, 0);
}

/* As sqlite's wal-index does: size set, 32 KiB regions mapped one by one. */
static void test_shared(void)
{
	enum { REGION = 32 << 10 };
	bool file;
	int fd = created("/tmp/shm");
	struct file *f = fd_get(fd);
	CHECK_EQ(sys_ftruncate(fd, REGION), 0);
	u8 *a = f->ops->map_shared(f, 0, REGION);
	CHECK(a && (u64)a % PAGE_SIZE == 0);
	CHECK_EQ(sys_ftruncate(fd, 2 * REGION), 0);
	u8 *b = f->ops->map_shared(f, REGION, REGION);
	CHECK(b != NULL);
	CHECK(f->ops->map_shared(f, 0, REGION) == a); /* the first did not move */
	CHECK(f->ops->map_shared(f, 0, 2 * REGION) == NULL || b == a + REGION);
	a[5] = 'a', b[7] = 'b';
	u8 c[2];
	CHECK_EQ(sys_pread64(fd, c, 1, 5), 1);
	CHECK_EQ(sys_pread64(fd, c + 1, 1, REGION + 7), 1);
	CHECK(c[0] == 'a' && c[1] == 'b');
	CHECK_EQ(sys_unlink("/tmp/shm"), 0);
	CHECK_EQ(sys_close(fd), 0);
	CHECK_EQ(a[5], 'a'); /* the mappings hold the file */
	/* munmap of a middle page of one mapping; the rest, and the second mapping, stay. */
	CHECK_EQ(fs_unmap((u64)a + PAGE_SIZE, PAGE_SIZE, &file), PAGE_SIZE);
	CHECK(file);
	for (int layer = 0; layer < 2; layer++)
		for (u64 at = 0, n; at < REGION; at += n) {
			n = fs_unmap((u64)a + at, REGION - at, &file);
			CHECK(n > 0 && n <= REGION - at);
			if (layer == 0)
				CHECK(file);
		}
	CHECK_EQ(b[7], 'b');
	u64 other = (u64)b & ~0xffffffull; /* memory of no file before it is left to the caller */
	CHECK_EQ(fs_unmap(other - PAGE_SIZE, PAGE_SIZE, &file), PAGE_SIZE);
	CHECK(!file);
	CHECK_EQ(fs_unmap((u64)b, REGION, &file), REGION);
	CHECK(file);
	CHECK_EQ(host_pages_out, 0);
	/* Stored behind the end, unmapped, grown: zero. */
	fd = created("/tmp/tail");
	f = fd_get(fd);
	CHECK_EQ(sys_ftruncate(fd, 10), 0);
	a = f->ops->map_shared(f, 0, PAGE_SIZE);
	a[9] = a[10] = 1;
	CHECK_EQ(fs_unmap((u64)a, PAGE_SIZE, &file), PAGE_SIZE);
	CHECK_EQ(sys_ftruncate(fd, 12), 0);
	CHECK_EQ(sys_pread64(fd, c, 2, 9), 2);
	CHECK(c[0] == 1 && c[1] == 0);
	sys_close(fd), sys_unlink("/tmp/tail");
	CHECK_EQ(host_pages_out, 0);
}

static void test_memfd(void)
{
	char buf[64] = "";
	CHECK_EQ(sys_memfd_create("x", 0x40), -EINVAL);
	int fd = (int)sys_memfd_create("name", MFD_ALLOW_SEALING);
	CHECK(fd >= 0);
	CHECK_EQ(sys_write(fd, "abc", 3), 3);
	CHECK_EQ(sys_fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK), 0);
	CHECK_EQ(sys_ftruncate(fd, 2), -EPERM);
	CHECK_EQ(sys_ftruncate(fd, 4), -EPERM);
	CHECK_EQ(sys_write(fd, "d", 1), -EPERM);
	CHECK_EQ(sys_pwrite64(fd, "x", 1, 0), 1);
	CHECK_EQ(sys_fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SEAL), 0);
	CHECK_EQ(sys_pwrite64(fd, "x", 1, 0), -EPERM);
	CHECK_EQ(sys_fcntl(fd, F_ADD_SEALS, 0), -EPERM);
	snprintf(buf, sizeof buf, "/proc/self/fd/%d", fd);
	long n = sys_readlink(buf, buf, sizeof buf);
	CHECK(n > 0);
	buf[n] = 0;
	CHECK_STR(buf, "/memfd:name (deleted)");
	snprintf(buf, sizeof buf, "/proc/self/fd/%d", fd);
	int again = (int)sys_open(buf, O_RDONLY, 0); /* another open file of the same content */
	CHECK(again >= 0);
	CHECK_EQ(sys_read(again, buf, 10), 3);
	sys_close(again), sys_close(fd);
	fd = (int)sys_memfd_create("", 0);
	CHECK_EQ(sys_fcntl(fd, F_GET_SEALS, 0), F_SEAL_SEAL);
	sys_close(fd);
}

static void test_moving(void)
{
	char buf[64];
	int in = created("/tmp/in"), out = created("/tmp/out");
	struct iovec_k w[] = {{"one", 3}, {NULL, 0}, {" two", 4}}, r[] = {{buf, 2}, {buf + 10, 20}};
	CHECK_EQ(sys_writev(in, w, 3), 7);
	CHECK_EQ(sys_writev(in, w, 1025), -EINVAL);
	CHECK_EQ(sys_writev(in, (struct iovec_k *)8, 1), -EFAULT);
	struct iovec_k huge[] = {{buf, 1}, {buf, 1ull << 63}};
	CHECK_EQ(sys_writev(in, huge, 2), -EINVAL);
	CHECK_EQ(sys_preadv(in, r, 2, 1, 0), 6);
	CHECK(memcmp(buf, "ne", 2) == 0 && memcmp(buf + 10, " two", 4) == 0);
	CHECK_EQ(sys_pwritev2(in, w, 1, 0, 0, RWF_APPEND), 3);
	CHECK_EQ(size_of(in), 10);
	CHECK_EQ(sys_pwritev2(in, w, 1, 0, 0, 0x1000), -EOPNOTSUPP);
	CHECK_EQ(sys_pread64(in, buf, 1, -1), -EINVAL);
	CHECK_EQ(sys_pread64(in, (void *)8, 1, 0), -EFAULT);
	s64 off = 1;
	CHECK_EQ(sys_sendfile(out, in, &off, 100), 9);
	CHECK_EQ(off, 10);
	CHECK_EQ(sys_lseek(in, 0, SEEK_SET), 0);
	CHECK_EQ(sys_sendfile(out, in, NULL, 3), 3);
	CHECK_EQ(sys_lseek(in, 0, SEEK_CUR), 3);
	CHECK_EQ(sys_lseek(in, -1, SEEK_SET), -EINVAL);
	CHECK_EQ(sys_lseek(in, 3, SEEK_DATA), 3);
	CHECK_EQ(sys_lseek(in, 3, SEEK_HOLE), 10);
	CHECK_EQ(sys_lseek(in, 10, SEEK_DATA), -ENXIO);
	CHECK_EQ(sys_lseek(in, 0x7fffffffffffffff, SEEK_END), -EOVERFLOW);
	s64 from = 0, to = 2;
	CHECK_EQ(sys_copy_file_range(in, &from, in, &to, 5, 0), -EINVAL); /* overlap */
	CHECK_EQ(sys_copy_file_range(in, &from, out, &to, 5, 0), 5);
	CHECK(from == 5 && to == 7);
	CHECK_EQ(sys_pread64(out, buf, 64, 0), 12);
	CHECK(memcmp(buf, "neone tneone", 2) == 0 && memcmp(buf + 2, "one t", 5) == 0);
	/* A large copy, larger than the buffer. */
	CHECK_EQ(sys_ftruncate(in, 100000), 0);
	CHECK_EQ(sys_pwrite64(in, "end", 3, 99997), 3);
	off = 0;
	CHECK_EQ(sys_lseek(out, 0, SEEK_SET), 0);
	CHECK_EQ(sys_sendfile(out, in, &off, 1 << 20), 100000);
	CHECK_EQ(sys_pread64(out, buf, 64, 99996), 4);
	CHECK(memcmp(buf, "\0end", 4) == 0);
	int n = 0;
	CHECK_EQ(sys_ioctl(in, 0x541b /* FIONREAD */, (u64)&n), 0);
	CHECK_EQ(n, 99990); /* SEEK_HOLE moved the position to 10 */
	sys_close(in), sys_close(out);
	sys_unlink("/tmp/in"), sys_unlink("/tmp/out");
	CHECK_EQ(host_pages_out, 0);
}

static void test_attributes(void)
{
	struct stat st;
	struct statx sx;
	struct statfs fs;
	int fd = created("/tmp/attr");
	struct __kernel_timespec t[2] = {{5, 6}, {7, 8}}, bad[2] = {{0, -1}, {0, 0}};
	CHECK_EQ(sys_utimensat(AT_FDCWD, "/tmp/attr", t, 0), 0);
	CHECK_EQ(sys_fstat(fd, &st), 0);
	CHECK(st.st_atime == 5 && st.st_atime_nsec == 6 && st.st_mtime == 7 && st.st_mtime_nsec == 8);
	t[0].tv_nsec = (1 << 30) - 2, t[1].tv_nsec = (1 << 30) - 1;
	CHECK_EQ(sys_utimensat(fd, NULL, t, 0), 0);
	CHECK_EQ(sys_statx(AT_FDCWD, "/tmp/attr", 0, STATX_BASIC_STATS, &sx), 0);
	CHECK(sx.stx_atime.tv_sec == 5 && sx.stx_mtime.tv_sec == 1700000000 && sx.stx_mode == (S_IFREG | 0644));
	CHECK_EQ(sys_utimensat(AT_FDCWD, "/tmp/attr", bad, 0), -EINVAL);
	CHECK_EQ(sys_statx(AT_FDCWD, "/tmp/attr", 0x8000000, 0, &sx), -EINVAL);
	CHECK_EQ(sys_statx(fd, "", AT_EMPTY_PATH, 0, &sx), 0);
	CHECK_EQ(sys_newfstatat(AT_FDCWD, "/tmp/attr", (struct stat *)8, 0), -EFAULT);
	CHECK_EQ(sys_chmod("/tmp/attr", 0100755), 0);
	CHECK_EQ(sys_fstat(fd, &st), 0);
	CHECK_EQ(st.st_mode, S_IFREG | 0755);
	CHECK_EQ(sys_chown("/tmp/attr", 0, ~0u), 0);
	CHECK_EQ(sys_fchmod(fd, 06755), 0);
	CHECK_EQ(sys_fchown(fd, 1000, ~0u), 0);
	CHECK_EQ(sys_fstat(fd, &st), 0);
	CHECK_EQ(st.st_uid, 1000);
	CHECK_EQ(st.st_gid, 0);
	CHECK_EQ(st.st_mode & 07777, 0755);
	CHECK_EQ(sys_fchown(fd, 0, 0), 0);
	CHECK_EQ(sys_chmod("/proc/version", 0600), -EPERM);
	CHECK_EQ(sys_getxattr("/tmp/attr", "user.x", NULL, 0), -ENODATA);
	CHECK_EQ(sys_getxattr("/tmp/none", "user.x", NULL, 0), -ENOENT);
	CHECK_EQ(sys_fsetxattr(fd, "user.x", "", 0, 0), -EOPNOTSUPP);
	CHECK_EQ(sys_flistxattr(fd, NULL, 0), 0);
	CHECK_EQ(sys_statfs("/proc", &fs), 0);
	CHECK_EQ(fs.f_type, 0x9fa0);
	CHECK_EQ(sys_fstatfs(fd, &fs), 0);
	CHECK_EQ(fs.f_bsize, 4096);
	struct flock l = {.l_type = F_WRLCK, .l_whence = 0, .l_start = 0, .l_len = 10};
	CHECK_EQ(sys_fcntl(fd, F_SETLK, (u64)&l), 0);
	CHECK_EQ(sys_fcntl(fd, F_GETLK, (u64)&l), 0);
	CHECK_EQ(l.l_type, F_UNLCK);
	l.l_type = F_RDLCK, l.l_pid = 3;
	CHECK_EQ(sys_fcntl(fd, F_OFD_SETLK, (u64)&l), -EINVAL);
	l.l_start = -5;
	CHECK_EQ(sys_fcntl(fd, F_SETLK, (u64)&l), -EINVAL);
	CHECK_EQ(sys_fcntl(fd, F_GETPIPE_SZ, 0), -EBADF);
	CHECK_EQ(sys_flock(fd, 2 | 4), 0);
	CHECK_EQ(sys_flock(fd, 3), -EINVAL);
	CHECK_EQ(sys_fsync(fd), 0);
	CHECK_EQ(sys_fdatasync(77), -EBADF);
	CHECK_EQ(sys_fadvise64(fd, 0, 0, 9), -EINVAL);
	sys_close(fd);
	CHECK_EQ(sys_umask(077), 022);
	fd = (int)sys_open("/tmp/masked", O_CREAT | O_RDWR, 0666);
	sys_fstat(fd, &st);
	CHECK_EQ(st.st_mode, S_IFREG | 0600);
	sys_close(fd);
}

int main(void)
{
	static const struct image_file files[] = {DIRECTORY("/tmp")};
	struct image im = image_build(files, ARRAY_SIZE(files));
	vfs_init(im.bytes, im.size);
	test_content();
	test_holes();
	test_shared();
	test_memfd();
	test_moving();
	test_attributes();
	return 0;
}
