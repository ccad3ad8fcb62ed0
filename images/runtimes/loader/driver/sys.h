/* sys.h: the system calls that the loader makes. Results are the kernel's: negative errno. */
#ifndef LOADER_SYS_H
#define LOADER_SYS_H

#include <asm/errno.h>
#include <asm/stat.h>
#include <asm/unistd.h>
#include <linux/fcntl.h>
#include <linux/stat.h>

/* linux/vm_sockets.h needs a C library. */
#define AF_VSOCK 40
#define SOCK_STREAM 1
#define SOCK_CLOEXEC O_CLOEXEC
struct sockaddr_vm {
	unsigned short family, reserved;
	unsigned int port, cid;
	unsigned char zero[4];
};
#define VMADDR_CID_HOST 2

static inline long sys(long nr, long a, long b, long c, long d, long e)
{
	long r;
	register long r10 __asm__("r10") = d, r8 __asm__("r8") = e;
	__asm__ volatile("syscall" : "=a"(r) : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8) : "rcx", "r11", "memory");
	return r;
}

static inline long sys_read(int fd, void *p, unsigned long n) { return sys(__NR_read, fd, (long)p, (long)n, 0, 0); }
static inline long sys_write(int fd, const void *p, unsigned long n) { return sys(__NR_write, fd, (long)p, (long)n, 0, 0); }
static inline long sys_close(int fd) { return sys(__NR_close, fd, 0, 0, 0, 0); }
static inline long sys_openat(int dir, const char *path, int flags, int mode) { return sys(__NR_openat, dir, (long)path, flags, mode, 0); }
static inline long sys_mkdirat(int dir, const char *path, int mode) { return sys(__NR_mkdirat, dir, (long)path, mode, 0, 0); }
static inline long sys_fchmod(int fd, int mode) { return sys(__NR_fchmod, fd, mode, 0, 0, 0); }
static inline long sys_chdir(const char *path) { return sys(__NR_chdir, (long)path, 0, 0, 0, 0); }
static inline long sys_socket(int family, int type) { return sys(__NR_socket, family, type, 0, 0, 0); }
static inline long sys_connect(int fd, const void *to, int n) { return sys(__NR_connect, fd, (long)to, n, 0, 0); }
static inline long sys_setsockopt(int fd, int level, int opt, const void *v, int n) { return sys(__NR_setsockopt, fd, level, opt, (long)v, n); }
static inline long sys_execve(const char *path, char **argv, char **envp) { return sys(__NR_execve, (long)path, (long)argv, (long)envp, 0, 0); }

static inline long sys_mode(int fd)
{
	struct stat st;
	long err = sys(__NR_fstat, fd, (long)&st, 0, 0, 0);
	return err ? err : (long)st.st_mode;
}

static inline _Noreturn void sys_exit(int status)
{
	for (;;)
		sys(__NR_exit_group, status, 0, 0, 0, 0);
}

#endif
