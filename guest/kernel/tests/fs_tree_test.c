/*
 * fs_tree_test.c: the merged tree: paths, copy-up, whiteouts, renames, links,
 * open flags, directories that change while they are read.
 */
// link: ../fs/*.c
#include "fsimage.h"
#include "../fs/calls.h"

#include <linux/fs.h>

static const struct image_file files[] = {
	DIRECTORY("/d"),          DIRECTORY("/d/empty"),    DIRECTORY("/d/sub"),       DIRECTORY("/d/here"),    TEXT("/d/open", "open"),       DIRECTORY("/d/sub/deep"),
	DIRECTORY("/proc"),       DIRECTORY("/tmp"),        TEXT("/d/f", "content"),   TEXT("/d/g", "other"),
	BLOB("/d/big", 20000),    HARDLINK("/d/hard", "/d/g"), SYMLINK("/link", "d/sub"), SYMLINK("/abs", "/d/f"),
	SYMLINK("/loop1", "loop2"), SYMLINK("/loop2", "/loop1"), SYMLINK("/dangling", "d/nothing"), TEXT("/d/sub/deep/x", "x"),
	SYMLINK("/d/sub/up", "../f"), {"/d/run", S_IFREG | 0755, "#!", 0, NULL, false},
};

static int opened(const char *path, u32 flags)
{
	long fd = sys_open(path, flags, 0644);
	if (fd < 0)
		fprintf(stderr, "open %s: %ld\n", path, fd);
	CHECK(fd >= 0);
	return (int)fd;
}

static const char *content(const char *path)
{
	static char buf[256];
	int fd = opened(path, O_RDONLY);
	long n = sys_read(fd, buf, sizeof buf - 1);
	CHECK(n >= 0);
	buf[n] = 0;
	sys_close(fd);
	return buf;
}

static void put(const char *path, const char *text)
{
	int fd = opened(path, O_WRONLY | O_CREAT | O_TRUNC);
	CHECK_EQ(sys_write(fd, text, strlen(text)), strlen(text));
	sys_close(fd);
}

static long exists(const char *path)
{
	struct stat st;
	return sys_lstat(path, &st);
}

static u64 ino(const char *path)
{
	struct stat st;
	CHECK_EQ(sys_lstat(path, &st), 0);
	return st.st_ino;
}

static u32 nlink_of(const char *path)
{
	struct stat st;
	CHECK_EQ(sys_lstat(path, &st), 0);
	return (u32)st.st_nlink;
}

/* Names in a directory, in order, each followed by a blank. */
static const char *listing(const char *path, u32 chunk)
{
	static char out[8192];
	u8 buf[4096];
	int fd = opened(path, O_RDONLY | O_DIRECTORY);
	long n;
	out[0] = 0;
	while ((n = sys_getdents64(fd, buf, chunk)) > 0)
		for (long at = 0; at < n; at += *(u16 *)(buf + at + 16)) {
			strcat(out, (char *)buf + at + 19);
			strcat(out, " ");
		}
	CHECK_EQ(n, 0);
	sys_close(fd);
	return out;
}

static void test_paths(void)
{
	char buf[5000];
	CHECK_STR(content("/d/f"), "content");
	CHECK_STR(content("d//./sub/../f"), "content");
	CHECK_STR(content("/link/../f"), "content"); /* the link's target's parent */
	CHECK_STR(content("/link/up"), "content");
	CHECK_STR(content("/abs"), "content");
	CHECK_STR(content("/../../d/f"), "content");
	CHECK_EQ(sys_open("", 0, 0), -ENOENT);
	CHECK_EQ(sys_open("/d/f/x", 0, 0), -ENOTDIR);
	CHECK_EQ(sys_open("/d/f/", 0, 0), -ENOTDIR);
	CHECK_EQ(sys_open("/d/no/x", 0, 0), -ENOENT);
	CHECK_EQ(sys_open("/loop1", 0, 0), -ELOOP);
	CHECK_EQ(sys_open("/loop1/x", 0, 0), -ELOOP);
	CHECK_EQ(sys_open("/abs", O_NOFOLLOW, 0), -ELOOP);
	CHECK_EQ(sys_open("/dangling", 0, 0), -ENOENT);
	CHECK_EQ(sys_open((char *)8, 0, 0), -EFAULT);
	memset(buf, 'a', sizeof buf);
	buf[256] = 0;
	CHECK_EQ(sys_open(buf, O_CREAT, 0), -ENAMETOOLONG);
	buf[255] = 0;
	CHECK_EQ(sys_open(buf, 0, 0), -ENOENT);
	buf[255] = 'a', buf[4096] = 0;
	CHECK_EQ(sys_open(buf, 0, 0), -ENAMETOOLONG);
	for (int i = 0; i < 4095; i++)
		buf[i] = i % 2 ? '.' : '/';
	buf[4094] = 0;
	CHECK_EQ(sys_chdir(buf), 0); /* 2047 components */
	CHECK_EQ(sys_chdir("/d/f"), -ENOTDIR);
	CHECK_EQ(sys_chdir("/link"), 0);
	CHECK_EQ(sys_getcwd(buf, sizeof buf), 7);
	CHECK_STR(buf, "/d/sub");
	CHECK_EQ(sys_getcwd(buf, 6), -ERANGE);
	CHECK_STR(content("deep/x"), "x");
	CHECK_EQ(sys_rename("/d", "/moved"), 0); /* an image directory above the working directory */
	CHECK_EQ(sys_getcwd(buf, sizeof buf), 11);
	CHECK_STR(buf, "/moved/sub");
	CHECK_STR(content("../f"), "content");
	CHECK_EQ(sys_rename("/moved", "/d"), 0);
	CHECK_STR(content("../f"), "content");
	CHECK_EQ(sys_chdir("/"), 0);
	int fd = opened("/d", O_RDONLY | O_DIRECTORY);
	CHECK(sys_openat(fd, "f", 0, 0) == fd + 1);
	CHECK_EQ(sys_openat(fd + 1, "f", 0, 0), -ENOTDIR);
	CHECK_EQ(sys_openat(99, "f", 0, 0), -EBADF);
	CHECK_EQ(sys_close(fd + 1), 0);
	CHECK_EQ(sys_fchdir(fd), 0);
	CHECK_EQ(sys_getcwd(buf, sizeof buf), 3);
	sys_chdir("/"), sys_close(fd);
	CHECK_EQ(sys_readlink("/link", buf, 3), 3);
	CHECK(memcmp(buf, "d/s", 3) == 0);
	CHECK_EQ(sys_readlink("/d/f", buf, 10), -EINVAL);
	CHECK_EQ(sys_readlink("/link", buf, 0), -EINVAL);
}

static void test_open_flags(void)
{
	struct stat st;
	CHECK_EQ(sys_open("/d", O_WRONLY, 0), -EISDIR);
	CHECK_EQ(sys_open("/d", O_CREAT, 0), -EISDIR);
	CHECK_EQ(sys_open("/d/f", O_DIRECTORY, 0), -ENOTDIR);
	CHECK_EQ(sys_open("/d/f", O_CREAT | O_EXCL, 0), -EEXIST);
	CHECK_EQ(sys_open("/abs", O_CREAT | O_EXCL, 0), -EEXIST);
	CHECK_EQ(sys_open("/dangling", O_CREAT | O_EXCL, 0), -EEXIST);
	CHECK_EQ(sys_open("/tmp/new/", O_CREAT, 0), -EISDIR);
	CHECK_EQ(sys_open("/tmp/a/b", O_CREAT, 0), -ENOENT);
	CHECK_EQ(sys_open("/proc/new", O_CREAT, 0), -ENOENT);
	sys_close(opened("/dangling", O_CREAT | O_WRONLY)); /* through the link */
	CHECK_EQ(exists("/d/nothing"), 0);
	CHECK_EQ(sys_unlink("/d/nothing"), 0);
	int fd = opened("/tmp/x", O_RDWR | O_CREAT | O_APPEND);
	CHECK_EQ(sys_fstat(fd, &st), 0);
	CHECK_EQ(st.st_mode, S_IFREG | 0644);
	CHECK_EQ(sys_fcntl(fd, F_GETFL, 0), O_RDWR | O_APPEND | O_LARGEFILE);
	CHECK_EQ(sys_write(fd, "abc", 3), 3);
	CHECK_EQ(sys_lseek(fd, 0, SEEK_SET), 0);
	CHECK_EQ(sys_write(fd, "def", 3), 3);
	CHECK_STR(content("/tmp/x"), "abcdef");
	CHECK_EQ(sys_unlink("/tmp/x"), 0);
	char buf[16] = "";
	CHECK_EQ(sys_pread64(fd, buf, 16, 2), 4); /* lives on */
	CHECK_STR(buf, "cdef");
	CHECK_EQ(sys_fstat(fd, &st), 0);
	CHECK_EQ(st.st_nlink, 0);
	CHECK_EQ(sys_linkat(fd, "", AT_FDCWD, "/tmp/back", AT_EMPTY_PATH), -ENOENT); /* had its name */
	sys_close(fd);
	fd = opened("/tmp", O_TMPFILE | O_RDWR);
	CHECK_EQ(sys_write(fd, "tmp", 3), 3);
	CHECK_EQ(sys_linkat(fd, "", AT_FDCWD, "/tmp/named", AT_EMPTY_PATH), 0);
	sys_close(fd);
	CHECK_STR(content("/tmp/named"), "tmp");
	CHECK_EQ(sys_unlink("/tmp/named"), 0);
	CHECK_EQ(sys_open("/tmp", O_TMPFILE, 0), -EINVAL);
	fd = opened("/link", O_PATH | O_NOFOLLOW);
	CHECK_EQ(sys_read(fd, buf, 1), -EBADF);
	CHECK_EQ(sys_fstat(fd, &st), 0);
	CHECK_EQ(st.st_mode & S_IFMT, S_IFLNK);
	CHECK_EQ(sys_readlinkat(fd, "", buf, 16), 5);
	sys_close(fd);
	CHECK_EQ(sys_access("/d/run", 1), 0);
	CHECK_EQ(sys_access("/d/f", 1), -EACCES);
	CHECK_EQ(sys_access("/d/f", 6), 0);
	CHECK_EQ(sys_access("/d/f", 8), -EINVAL);
}

static void test_copy_up(void)
{
	struct stat before, after;
	u64 n = ino("/d/f");
	int old = opened("/d/f", O_RDONLY), fd = opened("/d/f", O_RDWR);
	char buf[32] = "";
	u64 pages = host_pages_out;
	sys_stat("/d/big", &before);
	CHECK_EQ(sys_chmod("/d/big", 0600), 0);
	sys_stat("/d/big", &after);
	CHECK_EQ(after.st_mode, S_IFREG | 0600);
	CHECK_EQ(after.st_ino, before.st_ino);
	CHECK_EQ(after.st_mtime, IMAGE_MTIME);
	CHECK_EQ(after.st_dev, before.st_dev);
	CHECK_EQ(host_pages_out, pages); /* the content stayed in the image */
	CHECK_EQ(sys_write(fd, "CON", 3), 3);
	CHECK_EQ(sys_read(old, buf, 32), 7);
	CHECK_STR(buf, "CONtent"); /* who had it open sees the write */
	CHECK_EQ(ino("/d/f"), n);
	CHECK_EQ(sys_unlink("/d/f"), 0);
	CHECK_EQ(exists("/d/f"), -ENOENT);
	CHECK_EQ(sys_pread64(old, buf, 32, 0), 7);
	sys_close(fd), sys_close(old);
	put("/d/f", "content");
	CHECK_STR(content("/d/f"), "content");
	/* A hard link in the image stays one. */
	CHECK_EQ(ino("/d/hard"), ino("/d/g"));
	put("/d/g", "changed");
	CHECK_STR(content("/d/hard"), "changed");
	CHECK_EQ(nlink_of("/d/hard"), 2);
	CHECK_EQ(sys_unlink("/d/g"), 0);
	CHECK_EQ(nlink_of("/d/hard"), 1);
	CHECK_STR(content("/d/hard"), "changed");
	CHECK_EQ(sys_rename("/d/hard", "/d/g"), 0);
	CHECK_STR(content("/d/g"), "changed");
	fd = opened("/d/big", O_RDONLY); /* borrowed content can still be mapped in place */
	struct file *f = fd_get(fd);
	CHECK(f->ops->map_direct(f, 4096, 4096) != NULL);
	int w = opened("/d/big", O_RDWR);
	CHECK_EQ(sys_ftruncate(w, 10000), 0);
	CHECK(f->ops->map_direct(f, 4096, 4096) == NULL);
	u8 big[16];
	CHECK_EQ(sys_pread64(fd, big, 16, 9990), 10);
	CHECK_EQ(big[0], image_pattern(9990));
	CHECK_EQ(sys_pwrite64(w, "z", 1, 30000), 1);
	CHECK_EQ(sys_pread64(fd, big, 16, 9999), 16);
	CHECK(big[0] == image_pattern(9999) && big[1] == 0 && big[15] == 0);
	sys_close(fd), sys_close(w);
}

static void test_directories(void)
{
	CHECK_EQ(sys_mkdir("/d", 0755), -EEXIST);
	CHECK_EQ(sys_mkdir("/", 0755), -EEXIST);
	CHECK_EQ(sys_mkdir("/link", 0755), -EEXIST);
	CHECK_EQ(sys_mkdir("/d/f/x", 0755), -ENOTDIR);
	CHECK_EQ(sys_mkdir("/no/x", 0755), -ENOENT);
	CHECK_EQ(sys_rmdir("/d"), -ENOTEMPTY);
	CHECK_EQ(sys_rmdir("/d/f"), -ENOTDIR);
	CHECK_EQ(sys_rmdir("/link"), -ENOTDIR);
	CHECK_EQ(sys_rmdir("/d/empty/."), -EINVAL);
	CHECK_EQ(sys_rmdir("/d/empty/.."), -ENOTEMPTY);
	CHECK_EQ(sys_rmdir("/"), -EBUSY);
	CHECK_EQ(sys_rmdir("/proc"), -EBUSY);
	CHECK_EQ(sys_rmdir("/dev/shm"), -EBUSY);
	CHECK_EQ(sys_unlink("/d"), -EISDIR);
	CHECK_EQ(sys_unlink("/d/f/"), -ENOTDIR);
	CHECK_EQ(sys_unlink("/nothing"), -ENOENT);
	u32 links = nlink_of("/d");
	CHECK_EQ(sys_rmdir("/d/empty"), 0);
	CHECK_EQ(exists("/d/empty"), -ENOENT);
	CHECK_EQ(nlink_of("/d"), links - 1);
	CHECK_EQ(sys_mkdir("/d/empty/", 0700), 0);
	CHECK_EQ(nlink_of("/d"), links);
	CHECK_STR(listing("/d/empty", 4096), ". .. ");
	/* A directory that is removed while somebody is in it. */
	CHECK_EQ(sys_chdir("/d/sub/deep"), 0);
	CHECK_EQ(sys_unlink("x"), 0);
	CHECK_EQ(sys_rmdir("/d/sub/deep"), 0);
	char buf[64];
	CHECK_EQ(sys_getcwd(buf, sizeof buf), -ENOENT);
	CHECK_EQ(sys_open("new", O_CREAT | O_RDWR, 0644), -ENOENT);
	CHECK_EQ(sys_mkdir("new", 0755), -ENOENT);
	CHECK_EQ(exists("x"), -ENOENT);
	CHECK_EQ(sys_chdir(".."), 0);
	CHECK_EQ(sys_getcwd(buf, sizeof buf), 7);
	CHECK_EQ(sys_mkdir("deep", 0755), 0);
	CHECK_STR(listing("deep", 4096), ". .. "); /* nothing of the image's shows through */
	put("deep/x", "x");
	CHECK_EQ(sys_chdir("/"), 0);
	/* Image names, hidden ones, new ones. */
	CHECK_STR(listing("/d", 4096), listing("/d", 48));
	CHECK(strstr(listing("/", 4096), "proc ") && strstr(listing("/", 4096), "dev "));
	CHECK_EQ(sys_getdents64(0, buf, 1), -EBADF);
	int fd = opened("/d", O_RDONLY);
	CHECK_EQ(sys_getdents64(fd, buf, 10), -EINVAL);
	u8 both[2][512];
	long n = sys_getdents64(fd, both[0], 512);
	CHECK_EQ(sys_lseek(fd, 0, SEEK_SET), 0);
	CHECK_EQ(sys_getdents(fd, both[1], 512), n);
	for (long at = 0; at < n; at += *(u16 *)(both[0] + at + 16)) {
		CHECK_STR((char *)both[1] + at + 18, (char *)both[0] + at + 19);
		CHECK_EQ(both[1][at + *(u16 *)(both[1] + at + 16) - 1], both[0][at + 18]);
	}
	CHECK_EQ(sys_read(fd, buf, 1), -EISDIR);
	sys_close(fd);
}

/* Image files and directories that lose their last name while somebody holds them. */
static void test_removed_from_image(void)
{
	struct stat st;
	char buf[8] = "";
	int fd = opened("/d/open", O_RDONLY);
	CHECK_EQ(sys_unlink("/d/open"), 0);
	CHECK_EQ(sys_fstat(fd, &st), 0);
	CHECK_EQ(st.st_nlink, 0);
	CHECK_EQ(sys_read(fd, buf, 8), 4);
	CHECK_STR(buf, "open");
	sys_close(fd);
	CHECK_EQ(sys_chdir("/d/here"), 0);
	CHECK_EQ(sys_rmdir("/d/here"), 0);
	CHECK_EQ(sys_mkdir("/d/here/new", 0755), -ENOENT);
	CHECK_EQ(sys_mkdir("new", 0755), -ENOENT);
	CHECK_EQ(sys_chdir(".."), 0);
	CHECK_STR(content("f"), "content");
	CHECK_EQ(sys_chdir("/"), 0);
}

/* Deeper than a walk remembers, up again, and a path too long to remember. */
static void test_deep(void)
{
	char path[400] = "/tmp", buf[PATH_LEN_MAX], up[400] = "";
	for (int i = 0; i < 40; i++) {
		sprintf(path + strlen(path), "/%c%d", 'a' + i % 26, i);
		CHECK_EQ(sys_mkdir(path, 0755), 0);
		if (i)
			strcat(up, "../");
	}
	put("/tmp/a0/mark", "here");
	snprintf(buf, sizeof buf, "%s/%smark", path, up);
	CHECK_STR(content(buf), "here");
	CHECK_EQ(sys_chdir(path), 0);
	CHECK_EQ(sys_getcwd(buf, sizeof buf), strlen(path) + 1);
	CHECK_STR(buf, path);
	CHECK_EQ(sys_rename("/tmp/a0", "/tmp/z"), 0);
	CHECK_EQ(sys_getcwd(buf, sizeof buf), strlen(path));
	CHECK(strncmp(buf, "/tmp/z/b1/", 10) == 0);
	CHECK_EQ(sys_rename("/tmp/z", "/tmp/a0"), 0);
	char name[256];
	memset(name, 'n', 255);
	name[255] = 0;
	CHECK_EQ(sys_chdir("/tmp"), 0);
	for (int i = 0; i < 17; i++) { /* 17 * 256 > PATH_MAX */
		CHECK_EQ(sys_mkdir(name, 0755), 0);
		CHECK_EQ(sys_chdir(name), 0);
	}
	CHECK_EQ(sys_getcwd(buf, sizeof buf), -ENAMETOOLONG);
	put("file", "deep");
	CHECK_STR(content("file"), "deep");
	int fd = opened("file", O_RDONLY); /* it has no path that could be shown */
	CHECK(fd_get(fd)->path == NULL);
	sys_close(fd);
	for (int i = 0; i < 16; i++)
		CHECK_EQ(sys_chdir(".."), 0);
	CHECK_EQ(sys_getcwd(buf, sizeof buf), 5 + 255 + 1);
	CHECK_EQ(sys_chdir("/"), 0);
}

/* Deleting while reading, as rm -r does, finds every name once. */
static void test_changing_directory(void)
{
	char name[64];
	u8 buf[128], seen[300] = {0};
	CHECK_EQ(sys_mkdir("/tmp/many", 0755), 0);
	for (int i = 0; i < 200; i++) {
		snprintf(name, sizeof name, "/tmp/many/%d", i);
		put(name, "");
	}
	int fd = opened("/tmp/many", O_RDONLY), count = 0;
	long n;
	while ((n = sys_getdents64(fd, buf, sizeof buf)) > 0)
		for (long at = 0; at < n; at += *(u16 *)(buf + at + 16)) {
			const char *entry = (char *)buf + at + 19;
			if (entry[0] == '.')
				continue;
			CHECK_EQ(seen[atoi(entry)]++, 0);
			snprintf(name, sizeof name, "/tmp/many/%s", entry);
			CHECK_EQ(sys_unlink(name), 0);
			if (count++ < 50) {
				snprintf(name, sizeof name, "/tmp/many/%d", 200 + count);
				put(name, "");
			}
		}
	for (int i = 0; i < 200; i++)
		CHECK_EQ(seen[i], 1);
	sys_close(fd);
	CHECK_EQ(sys_rmdir("/tmp/many"), 0);
}

static void test_rename(void)
{
	CHECK_EQ(sys_mkdir("/tmp/a", 0755), 0);
	CHECK_EQ(sys_mkdir("/tmp/b", 0755), 0);
	put("/tmp/f", "f");
	put("/tmp/b/full", "");
	CHECK_EQ(sys_rename("/tmp/none", "/tmp/x"), -ENOENT);
	CHECK_EQ(sys_rename("/tmp/a", "/tmp/a/b"), -EINVAL);
	CHECK_EQ(sys_rename("/tmp", "/tmp/a/b"), -EINVAL);
	CHECK_EQ(sys_rename("/tmp/a", "/tmp/b"), -ENOTEMPTY);
	CHECK_EQ(sys_rename("/tmp/a", "/tmp/f"), -ENOTDIR);
	CHECK_EQ(sys_rename("/tmp/f", "/tmp/a"), -EISDIR);
	CHECK_EQ(sys_rename("/tmp/f", "/tmp/x/"), -ENOTDIR);
	CHECK_EQ(sys_rename("/tmp/a/.", "/tmp/x"), -EBUSY);
	CHECK_EQ(sys_rename("/proc", "/tmp/x"), -EBUSY);
	CHECK_EQ(sys_rename("/tmp/f", "/dev/shm/f"), -EXDEV);
	CHECK_EQ(sys_link("/tmp/f", "/dev/shm/f"), -EXDEV);
	CHECK_EQ(sys_link("/tmp/a", "/tmp/x"), -EPERM);
	CHECK_EQ(sys_renameat2(AT_FDCWD, "/tmp/f", AT_FDCWD, "/tmp/a", RENAME_NOREPLACE), -EEXIST);
	CHECK_EQ(sys_renameat2(AT_FDCWD, "/tmp/f", AT_FDCWD, "/tmp/a", RENAME_EXCHANGE), -EINVAL);
	CHECK_EQ(sys_link("/tmp/f", "/tmp/f2"), 0);
	CHECK_EQ(sys_link("/tmp/f", "/tmp/f2"), -EEXIST);
	CHECK_EQ(sys_rename("/tmp/f", "/tmp/f2"), 0); /* one file: both names stay */
	CHECK_EQ(nlink_of("/tmp/f"), 2);
	CHECK_EQ(sys_rename("/tmp/a", "/tmp/a"), 0);
	CHECK_EQ(sys_rename("/d/sub", "/tmp/a"), 0); /* image directory over an empty one */
	CHECK_STR(content("/tmp/a/deep/x"), "x");
	CHECK_EQ(exists("/d/sub"), -ENOENT);
	CHECK_EQ(exists("/link/up"), -ENOENT);
	CHECK_STR(content("/tmp/a/../f"), "f");
	CHECK_EQ(sys_rename("/tmp/a", "/d/sub"), 0);
	CHECK_STR(content("/link/up"), "content");
	u32 links = nlink_of("/tmp");
	CHECK_EQ(sys_rename("/tmp/b/full", "/tmp/f"), 0); /* replaces; the other name keeps the file */
	CHECK_EQ(nlink_of("/tmp/f2"), 1);
	CHECK_EQ(sys_rmdir("/tmp/b"), 0);
	CHECK_EQ(nlink_of("/tmp"), links - 1);
	CHECK_EQ(sys_rename("/d/run", "/d/run2"), 0);
	CHECK_EQ(sys_rename("/d/run2", "/d/run"), 0);
	CHECK_STR(content("/d/run"), "#!");
	CHECK_EQ(sys_symlink("f", "/tmp/s"), 0);
	CHECK_EQ(sys_symlink("", "/tmp/s2"), -ENOENT);
	CHECK_EQ(sys_symlink("f", "/tmp/s"), -EEXIST);
	CHECK_EQ(sys_rename("/tmp/s", "/tmp/s3"), 0); /* the link itself */
	CHECK_EQ(sys_unlink("/tmp/s3"), 0);
	CHECK_EQ(exists("/tmp/f"), 0);
}

static void test_no_memory(void)
{
	/* Whatever fails, the old name or the new one is there, with its content. */
	for (int k = 0; k < 12; k++) {
		bool at_new = exists("/d/moving") == 0;
		if (!at_new && exists("/d/run") < 0)
			CHECK(!"both names are gone");
		const char *from = at_new ? "/d/moving" : "/d/run", *to = at_new ? "/d/run" : "/d/moving";
		host_fail_after = k;
		long err = sys_rename(from, to);
		host_fail_after = -1;
		CHECK(err == 0 || err == -ENOMEM);
		CHECK_EQ(exists(from), err ? 0 : -ENOENT);
		CHECK_STR(content(err ? from : to), "#!");
	}
	for (int k = 0; k < 8; k++) {
		host_fail_after = k;
		long fd = sys_open("/tmp/oom", O_CREAT | O_EXCL | O_RDWR, 0644);
		host_fail_after = -1;
		CHECK_EQ(exists("/tmp/oom"), fd < 0 ? -ENOENT : 0);
		if (fd >= 0) {
			sys_close((int)fd);
			CHECK_EQ(sys_unlink("/tmp/oom"), 0);
		}
	}
}

int main(void)
{
	struct image im = image_build(files, ARRAY_SIZE(files));
	vfs_init(im.bytes, im.size);
	test_paths();
	test_open_flags();
	test_copy_up();
	test_directories();
	test_removed_from_image();
	test_deep();
	test_changing_directory();
	test_rename();
	test_no_memory();
	return 0;
}
