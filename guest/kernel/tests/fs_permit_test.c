/*
 * fs_permit_test.c: what another user than root may do to files, who owns what he makes,
 * and who may become whom.
 */
// link: ../fs/*.c ../cred.c
#include "fsimage.h"
#include "../fs/calls.h"

enum { USER = 1000, OTHER = 1001, STAFF = 50 };

static const struct image_file files[] = {
	DIRECTORY("/proc"), {"/root", S_IFDIR | 0700, NULL, 0, NULL, false}, TEXT("/root/secret", "s"),
	{"/tmp", S_IFDIR | 01777, NULL, 0, NULL, false}, DIRECTORY("/etc"), TEXT("/etc/passwd", "root:x:0:0"),
	{"/etc/shadow", S_IFREG | 0640, "x", 0, NULL, false}, {"/hidden", S_IFREG | 0711, "\x7f", 0, NULL, false},
	{"/su", S_IFREG | 06755, "\x7f", 0, NULL, false}, {"/list", S_IFDIR | 0744, NULL, 0, NULL, false}, TEXT("/list/x", "x"),
};

static long opens(const char *path, u32 flags, u32 mode)
{
	long fd = sys_open(path, flags, mode);
	if (fd < 0)
		return fd;
	sys_close((int)fd);
	return 0;
}

static struct stat stat_of(const char *path)
{
	struct stat st;
	CHECK_EQ(sys_lstat(path, &st), 0);
	return st;
}

static void become(u32 uid, u32 gid)
{
	cred_restore(&(struct cred){0});
	CHECK_EQ(sys_setgroups(0, NULL), 0);
	CHECK_EQ(sys_setresgid(gid, gid, gid), 0);
	CHECK_EQ(sys_setresuid(uid, uid, uid), 0);
}

static void test_reading(void)
{
	become(USER, USER);
	CHECK_EQ(opens("/root/secret", O_RDONLY, 0), -EACCES);
	CHECK_EQ(opens("/root", O_RDONLY | O_DIRECTORY, 0), -EACCES);
	CHECK_EQ(opens("/root", O_PATH, 0), 0);
	CHECK_EQ(opens("/root/none", O_RDONLY | O_CREAT, 0600), -EACCES);
	CHECK_EQ(sys_chdir("/root"), -EACCES);
	CHECK_EQ(opens("/etc/passwd", O_RDONLY, 0), 0);
	CHECK_EQ(opens("/etc/passwd", O_RDWR, 0), -EACCES);
	CHECK_EQ(opens("/etc/passwd", O_RDONLY | O_TRUNC, 0), -EACCES);
	CHECK_EQ(sys_truncate("/etc/passwd", 0), -EACCES);
	CHECK_EQ(opens("/etc/shadow", O_RDONLY, 0), -EACCES);
	CHECK_EQ(opens("/list", O_RDONLY | O_DIRECTORY, 0), 0);
	CHECK_EQ(opens("/list/x", O_RDONLY, 0), -EACCES);
	CHECK_EQ(opens("/etc", O_WRONLY, 0), -EISDIR);
	CHECK_EQ(sys_access("/etc/shadow", 0), 0);
	CHECK_EQ(sys_access("/etc/shadow", 4), -EACCES);
	CHECK_EQ(sys_access("/hidden", 1), 0);
	CHECK_EQ(sys_access("/hidden", 4), -EACCES);
	CHECK_EQ(sys_access("/root/secret", 0), -EACCES);
	CHECK_EQ(opens("/proc/self/status", O_RDONLY, 0), 0);
	CHECK_EQ(opens("/proc/self/fd", O_RDONLY | O_DIRECTORY, 0), 0);
	CHECK_EQ(stat_of("/proc/self/status").st_uid, USER);
	long err;
	struct file *f = vfs_open_program("/hidden", &err); /* executed, and not read */
	CHECK(f != NULL);
	file_put(f);
	CHECK(vfs_open_program("/etc/passwd", &err) == NULL);
	CHECK_EQ(err, -EACCES);
	CHECK_EQ(opens("/hidden", O_RDONLY, 0), -EACCES);
}

static void test_names(void)
{
	become(USER, USER);
	CHECK_EQ(opens("/etc/new", O_WRONLY | O_CREAT, 0644), -EACCES);
	CHECK_EQ(sys_mkdir("/etc/dir", 0755), -EACCES);
	CHECK_EQ(sys_mkdir("/etc", 0755), -EEXIST);
	CHECK_EQ(sys_symlink("x", "/etc/link"), -EACCES);
	CHECK_EQ(sys_link("/etc/passwd", "/etc/other"), -EACCES);
	CHECK_EQ(sys_unlink("/etc/passwd"), -EACCES);
	CHECK_EQ(sys_unlink("/etc/none"), -ENOENT);
	CHECK_EQ(sys_rename("/etc/passwd", "/tmp/passwd"), -EACCES);
	CHECK_EQ(opens("/tmp/mine", O_WRONLY | O_CREAT, 0400), 0);
	CHECK_EQ(stat_of("/tmp/mine").st_uid, USER);
	CHECK_EQ(stat_of("/tmp/mine").st_gid, USER);
	CHECK_EQ(opens("/tmp/mine", O_WRONLY, 0), -EACCES); /* its owner, too */
	CHECK_EQ(sys_mkdir("/tmp/dir", 0755), 0);
	CHECK_EQ(stat_of("/tmp/dir").st_uid, USER);
	CHECK_EQ(opens("/etc", O_TMPFILE | O_RDWR, 0600), -EACCES);
	CHECK_EQ(opens("/tmp", O_TMPFILE | O_RDWR, 0600), 0);
	u64 ino;
	CHECK_EQ(vfs_socket_create("/etc/sock", &ino), -EACCES);
	CHECK_EQ(vfs_socket_create("/tmp/sock", &ino), 0);
	become(OTHER, OTHER);
	CHECK_EQ(vfs_socket_find("/tmp/sock", &ino), -EACCES);
	CHECK_EQ(sys_unlink("/tmp/mine"), -EPERM); /* the directory is sticky */
	CHECK_EQ(sys_rename("/tmp/mine", "/tmp/theirs"), -EPERM);
	CHECK_EQ(opens("/tmp/dir/x", O_WRONLY | O_CREAT, 0644), -EACCES);
	CHECK_EQ(opens("/tmp/bait", O_WRONLY | O_CREAT, 0644), 0);
	become(USER, USER);
	CHECK_EQ(sys_rename("/tmp/mine", "/tmp/bait"), -EPERM);
	CHECK_EQ(sys_rename("/tmp/mine", "/tmp/dir/mine"), 0);
	CHECK_EQ(sys_unlink("/tmp/dir/mine"), 0);
	become(0, 0);
	CHECK_EQ(sys_chown("/tmp/dir", 0, 0), 0);
	CHECK_EQ(sys_chmod("/tmp/dir", 0777), 0);
	become(USER, USER);
	CHECK_EQ(sys_mkdir("/tmp/own", 0755), 0);
	CHECK_EQ(sys_rename("/tmp/dir", "/tmp/own/dir"), -EPERM);
	CHECK_EQ(sys_rmdir("/tmp/own"), 0);
}

static void test_attributes(void)
{
	const struct __kernel_timespec at[2] = {{1, 0}, {1, 0}};
	become(USER, STAFF);
	CHECK_EQ(opens("/tmp/f", O_WRONLY | O_CREAT, 0666), 0);
	CHECK_EQ(sys_chmod("/tmp/f", 06777), 0);
	CHECK_EQ(sys_chown("/tmp/f", OTHER, ~0u), -EPERM);
	CHECK_EQ(sys_chown("/tmp/f", USER, OTHER), -EPERM);
	CHECK_EQ(sys_chown("/tmp/f", USER, STAFF), 0);
	CHECK_EQ(stat_of("/tmp/f").st_mode & 07777, 0777); /* without the set-id bits */
	CHECK_EQ(sys_chmod("/tmp/f", 04777), 0);
	become(OTHER, OTHER);
	CHECK_EQ(sys_chmod("/tmp/f", 0700), -EPERM);
	CHECK_EQ(sys_chown("/tmp/f", OTHER, ~0u), -EPERM);
	CHECK_EQ(sys_utimensat(AT_FDCWD, "/tmp/f", at, 0), -EPERM);
	CHECK_EQ(sys_utimensat(AT_FDCWD, "/tmp/f", NULL, 0), 0); /* who may write may say now */
	CHECK_EQ(sys_utimensat(AT_FDCWD, "/etc/passwd", NULL, 0), -EACCES);
	int fd = (int)sys_open("/tmp/f", O_WRONLY, 0);
	CHECK_EQ(sys_write(fd, "x", 1), 1);
	sys_close(fd);
	CHECK_EQ(stat_of("/tmp/f").st_mode & 07777, 0777);
	CHECK_EQ(sys_chmod("/etc/passwd", 0666), -EPERM);
	become(0, 0);
	CHECK_EQ(sys_mkdir("/tmp/shared", 0777), 0);
	CHECK_EQ(sys_chown("/tmp/shared", 0, STAFF), 0);
	CHECK_EQ(sys_chmod("/tmp/shared", 02777), 0);
	become(USER, USER);
	CHECK_EQ(opens("/tmp/shared/f", O_WRONLY | O_CREAT, 0644), 0);
	CHECK_EQ(sys_mkdir("/tmp/shared/d", 0755), 0);
	CHECK_EQ(stat_of("/tmp/shared/f").st_gid, STAFF);
	CHECK_EQ(stat_of("/tmp/shared/d").st_gid, STAFF);
	CHECK(stat_of("/tmp/shared/d").st_mode & S_ISGID);
}

static void test_becoming(void)
{
	u32 r, e, s, list[3] = {7, 5, 6};
	become(0, 0);
	CHECK_EQ(sys_setgroups(3, list), 0);
	CHECK_EQ(sys_getgroups(0, NULL), 3);
	CHECK_EQ(sys_getgroups(2, list), -EINVAL);
	CHECK_EQ(sys_getgroups(3, list), 3);
	CHECK(list[0] == 5 && list[1] == 6 && list[2] == 7);
	CHECK_EQ(sys_setgroups(65537, list), -EINVAL);
	CHECK_EQ(sys_chown("/etc/shadow", 0, 6), 0);
	CHECK_EQ(sys_setresuid(USER, USER, 0), 0);
	CHECK_EQ(opens("/etc/shadow", O_RDONLY, 0), 0); /* as one of the group */
	CHECK_EQ(sys_setgroups(0, NULL), -EPERM);
	CHECK_EQ(sys_setuid(OTHER), -EPERM);
	CHECK_EQ(sys_setreuid(~0u, 0), 0); /* the saved id */
	CHECK_EQ(opens("/root/secret", O_RDONLY, 0), 0);
	CHECK_EQ(sys_access("/root/secret", 4), -EACCES); /* which asks for the real one */
	CHECK_EQ(sys_faccessat2(AT_FDCWD, "/root/secret", 4, AT_EACCESS), 0);
	CHECK_EQ(sys_setfsuid(USER), 0);
	CHECK_EQ(opens("/root/secret", O_RDONLY, 0), -EACCES);
	CHECK_EQ(sys_setfsuid(~0u), USER);
	CHECK_EQ(sys_setuid(USER), 0);
	CHECK_EQ(sys_getresuid(&r, &e, &s), 0);
	CHECK(r == USER && e == USER && s == USER);
	CHECK_EQ(sys_setuid(0), -EPERM);
	CHECK_EQ(sys_setgid(OTHER), -EPERM);
	CHECK_EQ(sys_getuid(), USER);
	CHECK(cred_exec(&(struct stat){.st_mode = S_IFREG | 04755}));
	CHECK(sys_geteuid() == 0 && sys_getuid() == USER);
	become(USER, USER);
	cred_no_new_privs = true;
	CHECK(!cred_exec(&(struct stat){.st_mode = S_IFREG | 06755}));
	CHECK_EQ(sys_geteuid(), USER);
	cred_no_new_privs = false;
}

/* As many owners as a file's row can say; then the next is refused. */
static void test_owners(void)
{
	become(0, 0);
	CHECK_EQ(opens("/tmp/given", O_WRONLY | O_CREAT, 0644), 0);
	for (u32 id = 1; id < 2000; id++)
		CHECK_EQ(sys_chown("/tmp/given", id, id), 0);
	CHECK_EQ(stat_of("/tmp/given").st_uid, 1999);
	CHECK_EQ(opens("/etc/passwd", O_RDWR, 0), 0); /* copied up: the image says whose it is */
	CHECK_EQ(stat_of("/etc/passwd").st_uid, 0);
}

int main(void)
{
	struct image im = image_build(files, ARRAY_SIZE(files));
	vfs_init(im.bytes, im.size);
	test_reading();
	test_names();
	test_attributes();
	test_becoming();
	test_owners();
	return 0;
}
