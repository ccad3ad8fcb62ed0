/*
 * fs_proc_test.c: /proc, /sys and /dev.
 */
// link: ../fs/*.c
#include "fsimage.h"
#include "../fs/calls.h"

static char text[16384];

static long slurp(const char *path)
{
	long fd = sys_open(path, O_RDONLY, 0), total = 0, n;
	if (fd < 0)
		return fd;
	while ((n = sys_read((int)fd, text + total, 100)) > 0)
		total += n;
	CHECK_EQ(n, 0);
	text[total] = 0;
	sys_close((int)fd);
	return total;
}

static const char *link_of(const char *path)
{
	static char buf[256];
	long n = sys_readlink(path, buf, sizeof buf - 1);
	if (n < 0)
		return "error";
	buf[n] = 0;
	return buf;
}

/* Reads every file and lists every directory below path. */
static int visit(const char *path)
{
	u8 buf[2048];
	char below[300];
	int count = 0;
	long fd = sys_open(path, O_RDONLY | O_DIRECTORY, 0), n;
	if (fd < 0)
		fprintf(stderr, "%s: %ld\n", path, fd);
	CHECK(fd >= 0);
	while ((n = sys_getdents64((int)fd, buf, sizeof buf)) > 0)
		for (long at = 0; at < n; at += *(u16 *)(buf + at + 16)) {
			const char *name = (char *)buf + at + 19;
			struct stat st;
			if (name[0] == '.')
				continue;
			snprintf(below, sizeof below, "%s/%s", path, name);
			CHECK_EQ(sys_lstat(below, &st), 0);
			CHECK_EQ(st.st_ino, *(u64 *)(buf + at));
			CHECK_EQ((st.st_mode & S_IFMT) >> 12, buf[at + 18]);
			count++;
			if ((st.st_mode & S_IFMT) == S_IFDIR)
				count += visit(below);
			else if ((st.st_mode & S_IFMT) == S_IFREG)
				CHECK(slurp(below) >= 0);
			else
				CHECK(strcmp(link_of(below), "error"));
		}
	CHECK_EQ(n, 0);
	sys_close((int)fd);
	return count;
}

static void test_proc(void)
{
	char cwd_buf[64];
	CHECK(visit("/proc") > 60);
	CHECK(visit("/sys") > 10);
	CHECK_STR(link_of("/proc/self"), "1");
	CHECK_STR(link_of("/proc/thread-self"), "1/task/1");
	CHECK_STR(link_of("/proc/self/exe"), "/bin/prog");
	CHECK_EQ(slurp("/proc/self/exe"), 4);
	CHECK_STR(text, "prog");
	proc_set_exe("/bin/other");
	CHECK_STR(link_of("/proc/self/exe"), "/bin/other");
	CHECK_EQ(slurp("/proc/self/cmdline"), 13);
	CHECK(memcmp(text, "/bin/prog\0-v\0", 13) == 0);
	CHECK_EQ(slurp("/proc/self/environ"), 8);
	CHECK(memcmp(text, "A=1\0B=2\0", 8) == 0);
	CHECK_EQ(slurp("/proc/self/auxv"), 32);
	CHECK(slurp("/proc/self/task/7/comm") == 7 && !strcmp(text, "worker\n"));
	CHECK(slurp("/proc/thread-self/comm") == 5 && !strcmp(text, "main\n"));
	CHECK_EQ(slurp("/proc/self/task/8/comm"), -ENOENT);
	CHECK_EQ(slurp("/proc/self/task/07/comm"), -ENOENT);
	CHECK_EQ(slurp("/proc/2/comm"), -ENOENT);
	CHECK_EQ(slurp("/proc/self/task/7/task"), -ENOENT);
	CHECK(slurp("/proc/self/status") > 100 && strstr(text, "Threads:\t2\n") && strstr(text, "Pid:\t1\n"));
	CHECK(slurp("/proc/meminfo") > 100 && strstr(text, "MemTotal:         262144 kB\n"));
	CHECK(slurp("/proc/mounts") > 10 && strstr(text, "tmpfs /dev/shm tmpfs rw 0 0\n"));
	CHECK(slurp("/proc/self/maps") > 10 && strstr(text, "[heap]"));
	CHECK(slurp("/proc/sys/kernel/osrelease") > 3 && !strcmp(text, KERNEL_RELEASE "\n"));
	CHECK(slurp("/sys/devices/system/cpu/online") == 2 && !strcmp(text, "0\n"));
	slurp("/proc/self/stat");
	int fields = 0;
	for (char *p = strchr(text, ')'); p && *p; p++)
		fields += *p == ' ';
	CHECK_EQ(fields + 2, 52);
	CHECK_EQ(sys_open("/proc/version", O_RDWR, 0), -EACCES);
	CHECK_EQ(sys_unlink("/proc/version"), -EPERM);
	CHECK_EQ(sys_mkdir("/proc/x", 0755), -ENOENT);
	CHECK_EQ(sys_chdir("/proc/self/task"), 0);
	CHECK(sys_getcwd(cwd_buf, sizeof cwd_buf) > 0);
	CHECK_STR(cwd_buf, "/proc/1/task");
	CHECK_EQ(slurp("7/../../../../bin/prog"), 4);
	CHECK_STR(link_of("/proc/self/cwd"), "/proc/1/task");
	CHECK_EQ(slurp("/proc/self/cwd/1/comm"), 5);
	CHECK_EQ(sys_chdir("/"), 0);
}

static void test_descriptors(void)
{
	struct stat a, b;
	char path[64];
	int fd = (int)sys_open("/tmp/../tmp/x", O_RDWR | O_CREAT, 0644);
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	CHECK_STR(link_of(path), "/tmp/x");
	CHECK_EQ(sys_stat(path, &a), 0);
	CHECK_EQ(sys_fstat(fd, &b), 0);
	CHECK_EQ(a.st_ino, b.st_ino);
	int again = (int)sys_open(path, O_RDWR | O_APPEND, 0);
	CHECK_EQ(sys_write(again, "abc", 3), 3);
	CHECK_EQ(sys_lseek(fd, 0, 1), 0); /* a position of its own */
	CHECK_EQ(sys_unlink("/tmp/x"), 0);
	CHECK_STR(link_of(path), "/tmp/x (deleted)");
	CHECK_EQ(sys_linkat(AT_FDCWD, path, AT_FDCWD, "/tmp/y", AT_SYMLINK_FOLLOW), -ENOENT);
	sys_close(again), sys_close(fd);
	CHECK_STR(link_of(path), "error");
	CHECK_EQ(sys_open("/dev/fd/99", 0, 0), -ENOENT);
	int out = (int)sys_open("/dev/stdout", O_WRONLY, 0);
	CHECK(out > 2);
	CHECK_EQ(sys_write(out, "via stdout", 10), 10);
	CHECK_STR(host_console, "via stdout");
	CHECK(fd_get(out) == fd_get(1));
	sys_close(out);
	/* All are found even when each is closed as it is found. */
	for (int i = 0; i < 40; i++)
		CHECK(sys_dup(1) >= 0);
	u8 buf[100];
	int dir = (int)sys_open("/proc/self/fd", O_RDONLY, 0), closed = 0;
	long n;
	while ((n = sys_getdents64(dir, buf, sizeof buf)) > 0)
		for (long at = 0; at < n; at += *(u16 *)(buf + at + 16)) {
			const char *name = (char *)buf + at + 19;
			if (name[0] != '.' && atoi(name) > 2 && atoi(name) != dir)
				closed += sys_close(atoi(name)) == 0;
		}
	CHECK_EQ(closed, 40);
	sys_close(dir);
}

static void test_purity(void)
{
	char first[64];
	u64 entropy = host_entropy_reads, clock = host_clock_reads;
	CHECK_EQ(slurp("/proc/sys/kernel/random/uuid"), 37);
	CHECK(text[14] == '4' && strchr("89ab", text[19]));
	strcpy(first, text);
	slurp("/proc/sys/kernel/random/uuid");
	CHECK(strcmp(first, text));
	CHECK(host_entropy_reads > entropy);
	slurp("/proc/sys/kernel/random/boot_id");
	strcpy(first, text);
	slurp("/proc/sys/kernel/random/boot_id");
	CHECK_STR(text, first);
	host_identity.generation++; /* a clone is another boot */
	slurp("/proc/sys/kernel/random/boot_id");
	CHECK(strcmp(first, text));
	CHECK_EQ(host_clock_reads, clock);
	slurp("/proc/uptime");
	CHECK(host_clock_reads > clock);
}

static void test_devices(void)
{
	u8 buf[32];
	struct stat st;
	int null = (int)sys_open("/dev/null", O_RDWR, 0), zero = (int)sys_open("/dev/zero", O_RDWR, 0),
	    full = (int)sys_open("/dev/full", O_RDWR, 0), random = (int)sys_open("/dev/urandom", O_RDONLY, 0);
	CHECK_EQ(sys_write(null, buf, 10), 10);
	CHECK_EQ(sys_read(null, buf, 10), 0);
	memset(buf, 1, sizeof buf);
	CHECK_EQ(sys_read(zero, buf, 32), 32);
	CHECK(buf[0] == 0 && buf[31] == 0);
	CHECK_EQ(sys_write(full, buf, 1), -ENOSPC);
	u64 entropy = host_entropy_reads;
	CHECK_EQ(sys_read(random, buf, 32), 32);
	CHECK(buf[0] | buf[1] | buf[2] | buf[3] | buf[4] | buf[5]);
	CHECK_EQ(host_entropy_reads, entropy + 1);
	CHECK_EQ(sys_open("/dev/tty", O_RDWR, 0), -ENXIO);
	CHECK_EQ(sys_fstat(null, &st), 0);
	CHECK(st.st_mode == (S_IFCHR | 0666) && st.st_rdev == (1 << 8 | 3));
	CHECK_EQ(sys_lseek(null, 100, 0), 0);
	CHECK_EQ(sys_ioctl(null, 0x5401, (u64)buf), -ENOTTY);
	CHECK_EQ(sys_close_range(3, ~0u, 0), 0);
	struct stat root, dev, shm, proc;
	CHECK_EQ(sys_stat("/", &root) | sys_stat("/dev", &dev) | sys_stat("/dev/shm", &shm) | sys_stat("/proc", &proc), 0);
	CHECK(root.st_dev != dev.st_dev && dev.st_dev != shm.st_dev && proc.st_dev != root.st_dev);
	CHECK_EQ(shm.st_mode, S_IFDIR | 01777);
	int fd = (int)sys_open("/dev/shm/sem", O_RDWR | O_CREAT | O_EXCL, 0600);
	CHECK(fd >= 0);
	CHECK_EQ(sys_fstat(fd, &st), 0);
	CHECK_EQ(st.st_dev, shm.st_dev);
	sys_close(fd);
	u64 one, two;
	CHECK_EQ(vfs_socket_create("/tmp/sock", &one), 0);
	CHECK_EQ(vfs_socket_create("/tmp/sock", &two), -EADDRINUSE);
	CHECK_EQ(vfs_socket_find("/tmp/sock", &two), 0);
	CHECK_EQ(one, two);
	CHECK_EQ(vfs_socket_find("/dev/null", &two), -ECONNREFUSED);
	CHECK_EQ(vfs_socket_find("/tmp/none", &two), -ENOENT);
	CHECK_EQ(sys_open("/tmp/sock", O_RDWR, 0), -ENXIO);
	CHECK_EQ(sys_unlink("/tmp/sock"), 0);
}

int main(void)
{
	static const struct image_file files[] = {DIRECTORY("/bin"), TEXT("/bin/prog", "prog"), DIRECTORY("/tmp")};
	struct image im = image_build(files, ARRAY_SIZE(files));
	memcpy(host_args, "/bin/prog\0-v\0A=1\0B=2\0", 21);
	host_boot.argc = 2, host_boot.envc = 2;
	vfs_init(im.bytes, im.size);
	file_init();
	test_proc();
	test_descriptors();
	test_purity();
	test_devices();
	return 0;
}
