/* files.c: the tree, its links and attributes, descriptors, locks, devices and /proc. */
#include "abi.h"
#include <dirent.h>
#include <sys/file.h>
#include <sys/statfs.h>

#define D "/tmp/abi-files"

static void attributes(const char *path)
{
	struct stat st;
	errno = 0;
	int r = lstat(path, &st);
	if (r)
		printf("%s: %s\n", path, strerrorname_np(errno));
	else
		printf("%s: mode %o links %lu size %ld uid %u gid %u\n", path, st.st_mode, S_ISDIR(st.st_mode) ? 0 : (long)st.st_nlink,
		       S_ISDIR(st.st_mode) ? 0 : (long)st.st_size, st.st_uid, st.st_gid);
}

static void tree(void)
{
	R(mkdir(D, 0755));
	R(mkdir(D, 0755));
	R(chdir(D));
	int fd = open("a", O_RDWR | O_CREAT | O_EXCL, 0640);
	R(fd >= 0);
	R(open("a", O_RDWR | O_CREAT | O_EXCL, 0640));
	R(open("a/b", O_RDONLY));
	R(open("none/b", O_CREAT | O_RDWR, 0600));
	R(open(".", O_WRONLY));
	R(open("a", O_DIRECTORY | O_RDONLY));
	R(write(fd, "0123456789", 10));
	R(lseek(fd, -3, SEEK_END));
	R(lseek(fd, -30, SEEK_CUR));
	R(lseek(fd, 0, 77));
	R(lseek(fd, 3, SEEK_DATA));
	R(lseek(fd, 3, SEEK_HOLE));
	R(lseek(fd, 30, SEEK_DATA));
	R(ftruncate(fd, 5));
	R(truncate("a", -1));
	R(truncate(".", 1));
	R(link("a", "b"));
	R(link(".", "c"));
	R(symlink("a", "s"));
	R(symlink("", "s2"));
	R(symlink("loop", "loop"));
	R(open("loop", O_RDONLY));
	R(open("s", O_RDONLY | O_NOFOLLOW));
	attributes("a"), attributes("s"), attributes("."), attributes("nothing");
	char buf[64] = "";
	R(readlink("s", buf, sizeof buf));
	R(readlink("a", buf, sizeof buf));
	R(readlink("s", buf, 0));
	R(rename("a", "a2"));
	R(rename("none", "x"));
	R(mkdir("d", 0700));
	R(mkdir("d/e", 0700));
	R(rename("a2", "d"));
	R(rename("d", "a2"));
	R(rename("d", "d/e/f"));
	R(rename("a2", "d/a"));
	R(rmdir("d"));
	R(rmdir("d/a"));
	R(unlink("d"));
	R(unlink("d/a"));
	R(rmdir("."));
	R(rmdir("d/e"));
	R(rmdir("d"));
	R(access("b", R_OK | W_OK));
	R(access("nothing", F_OK));
	R(access("b", 99));
	R(chmod("b", 04711));
	R(chown("b", 12, 34));
	attributes("b");
	R(chown("b", -1, 0));
	attributes("b");
	R(lchown("s", 5, 6));
	attributes("s");
	R(umask(027));
	R(mkdir("m", 0777));
	attributes("m");
	R(umask(022));
	char name[300];
	memset(name, 'x', 299), name[299] = 0;
	R(open(name, O_RDONLY));
	R(open("", O_RDONLY));
	R(mknod("fifo", S_IFIFO | 0600, 0) <= 0);
	R(unlink("fifo") <= 0);
	struct timespec t[2] = {{1, 2}, {3, 4}}, bad[2] = {{0, -5}, {0, 0}};
	R(utimensat(AT_FDCWD, "b", t, 0));
	R(utimensat(AT_FDCWD, "b", bad, 0));
	R(utimensat(AT_FDCWD, "b", t, 0x4000));
	struct stat st;
	R(stat("b", &st));
	R(st.st_atim.tv_sec + st.st_atim.tv_nsec + st.st_mtim.tv_sec + st.st_mtim.tv_nsec);
	R(close(fd));
	R(close(fd));
}

static void unnamed(void)
{
	int fd = open(D, O_TMPFILE | O_RDWR, 0600);
	R(fd >= 0);
	R(write(fd, "tmp", 3));
	char path[64];
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	R(linkat(AT_FDCWD, path, AT_FDCWD, D "/named", AT_SYMLINK_FOLLOW));
	attributes(D "/named");
	R(unlink(D "/named"));
	R(open(D, O_TMPFILE | O_RDONLY, 0600));
	fd = open(D "/gone", O_RDWR | O_CREAT, 0600);
	R(unlink(D "/gone"));
	R(write(fd, "x", 1));
	struct stat st;
	R(fstat(fd, &st));
	R(st.st_nlink);
	R(close(fd));
}

static int by_name(const void *a, const void *b) { return strcmp(a, b); }

static void directory(void)
{
	DIR *d = opendir(D);
	char names[64][32];
	int n = 0;
	for (struct dirent *e; (e = readdir(d));)
		snprintf(names[n++], 32, "%.20s %d", e->d_name, e->d_type);
	qsort(names, (size_t)n, 32, by_name);
	for (int i = 0; i < n; i++)
		puts(names[i]);
	closedir(d);
}

static void descriptors(void)
{
	int fd = open(D "/b", O_RDWR | O_CLOEXEC);
	R(fcntl(fd, F_GETFD));
	R(fcntl(fd, F_SETFD, 0));
	R(fcntl(fd, F_GETFL) & ~0100000);
	R(fcntl(fd, F_SETFL, O_APPEND | O_NONBLOCK));
	R(fcntl(fd, F_GETFL) & ~0100000);
	R(fcntl(fd, 9999));
	R(fcntl(99, F_GETFD));
	R(fcntl(fd, F_DUPFD, 50));
	R(fcntl(fd, F_DUPFD_CLOEXEC, 50));
	R(fcntl(fd, F_DUPFD, -1));
	R(fcntl(fd, F_DUPFD, 1 << 30));
	R(dup2(fd, 60));
	R(dup2(fd, -1));
	R(dup2(99, 61));
	R(dup3(fd, fd, 0));
	R(dup3(fd, 62, 1));
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 10};
	R(fcntl(fd, F_SETLK, &l));
	R(fcntl(fd, F_GETLK, &l));
	R(l.l_type);
	l.l_type = 77;
	R(fcntl(fd, F_SETLK, &l));
	l.l_type = F_UNLCK;
	R(fcntl(fd, F_SETLKW, &l));
	l = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET};
	R(fcntl(fd, F_OFD_SETLK, &l));
	R(flock(fd, LOCK_EX | LOCK_NB));
	R(flock(fd, LOCK_UN));
	for (int op = 0; op < 80; op++)
		R(flock(fd, op));
	R(flock(99, 77));
	R(flock(99, LOCK_EX));
	R(pread(fd, NULL, 1, 0));
	R(pread(fd, &l, 1, -1));
	R(pwrite(fd, "z", 1, -1));
	R(posix_fallocate(fd, 0, 100));
	R(fallocate(fd, 0, -1, 5));
	R(fallocate(fd, 0, 0, 0));
	R(fallocate(fd, 3, 0, 10));
	R(lseek(fd, 0, SEEK_END));
	R(write(fd, NULL, 0));
	struct iovec v[2] = {{"ab", 2}, {"cd", 2}};
	R(writev(fd, v, 2));
	R(writev(fd, v, -1));
	R(writev(fd, v, 2000));
	R(syscall(SYS_close_range, 50, 70, 0));
	R(fcntl(60, F_GETFD));
	R(syscall(SYS_close_range, 5, 2, 0));
	R(close(fd));
}

static void devices(void)
{
	char b[16];
	int null = open("/dev/null", O_RDWR), z = open("/dev/zero", O_RDWR), full = open("/dev/full", O_RDWR), u = open("/dev/urandom", O_RDONLY);
	R(read(null, b, 16));
	R(write(null, b, 16));
	R(read(z, b, 16) + b[3]);
	R(write(full, b, 1));
	R(read(full, b, 4));
	R(read(u, b, 16));
	R(lseek(null, 5, SEEK_SET));
	struct stat st;
	R(fstat(null, &st));
	R(S_ISCHR(st.st_mode) + (long)st.st_rdev);
	R(open("/proc/self/status", O_RDWR | O_CREAT | O_EXCL, 0600));
	R(open("/proc/self/none", O_RDONLY));
	R(mkdir("/proc/x", 0700));
	R(unlink("/proc/self/maps"));
	R(access("/proc/self/maps", R_OK) + access("/proc/meminfo", R_OK) + access("/proc/cpuinfo", R_OK) + access("/proc/stat", R_OK));
	R(access("/proc/sys/kernel/random/uuid", R_OK) + access("/sys/devices/system/cpu/online", R_OK) + access("/proc/self/fd", R_OK));
	R(access("/proc/self/task", R_OK) + access("/proc/mounts", R_OK) + access("/proc/loadavg", R_OK) + access("/proc/version", R_OK));
	R(access("/proc/self/cgroup", R_OK) + access("/proc/self/stat", R_OK) + access("/proc/uptime", R_OK));
	R(access("/proc/self/oom_score_adj", R_OK) + access("/proc/sys/vm/overcommit_memory", R_OK) + access("/proc/sys/net/core/somaxconn", R_OK));
	R(access("/sys/kernel/mm/transparent_hugepage/enabled", R_OK) + access("/proc/sys/kernel/osrelease", R_OK));
}

static void fuzz(void)
{
	static const char *const names[] = {"f1", "f2", "f3", "g", "g/x", "g/y", "nothing/z", "f1/q", ".", "..", "g/"};
	R(mkdir("z", 0755));
	R(chdir("z"));
	for (int i = 0; i < 500; i++) {
		const char *a = names[next() % 11], *b = names[next() % 11];
		printf("%d %s %s ", i, a, b);
		int fd;
		switch (next() % 10) {
		case 0: R((fd = open(a, (int)(PICK(O_RDONLY, O_WRONLY, O_RDWR) | PICK(0, O_CREAT, O_CREAT | O_EXCL, O_DIRECTORY, O_TRUNC)), 0644)) < 0 ? -1 : close(fd)); break;
		case 1: R(mkdir(a, 0755)); break;
		case 2: R(rmdir(a)); break;
		case 3: R(unlink(a)); break;
		case 4: R(rename(a, b)); break;
		case 5: R(link(a, b)); break;
		case 6: R(symlink(strcmp(a, "g/") ? a : "f1", b)); break;
		case 7: R(truncate(a, PICK(0, 5, 5000))); break;
		case 8: attributes(a); break;
		case 9: R(renameat2(AT_FDCWD, a, AT_FDCWD, b, 1)); break;
		}
	}
}

/* /proc/self/limits, after every limit was set: those that a machine starts with differ. */
static void limits(void)
{
	for (int i = 0; i < RLIM_NLIMITS; i++) {
		struct rlimit l = {50 + i, 100 + i}; /* less than anywhere: lowering is always allowed */
		if (i == RLIMIT_CPU || i == RLIMIT_FSIZE || i == RLIMIT_DATA || i == RLIMIT_STACK || i == RLIMIT_AS || i == RLIMIT_RSS)
			continue;
		if (i == RLIMIT_NICE || i == RLIMIT_RTPRIO)
			l = (struct rlimit){0, 0};
		R(setrlimit(i, &l));
	}
	char b[4096];
	int fd = open("/proc/self/limits", O_RDONLY), n;
	while ((n = read(fd, b, sizeof b - 1)) > 0) {
		b[n] = 0;
		for (char *line = strtok(b, "\n"); line; line = strtok(NULL, "\n"))
			if (!strstr(line, "stack size")) /* its hard limit is the host's */
				puts(line);
	}
	R(close(fd));
}

int main(int argc, char **argv)
{
	seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
	if (system(NULL) && access(D, F_OK) == 0) /* natively something may be left */
		(void)!system("rm -rf " D);
	tree(), unnamed(), directory(), descriptors(), devices(), fuzz(), limits();
	return 0;
}
