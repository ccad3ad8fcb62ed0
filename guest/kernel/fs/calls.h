/*
 * calls.h: the system calls on files. Arguments are the program's: every
 * pointer is checked before use. Results are Linux's: a count, or -errno.
 */
#ifndef SEUSS_FS_CALLS_H
#define SEUSS_FS_CALLS_H

#include "../kernel.h"

#include <asm/stat.h>
#include <asm/statfs.h>
#include <linux/stat.h>
#include <linux/time_types.h>

struct utimbuf_k { s64 actime, modtime; }; /* struct utimbuf */

/* calls_io.c */
long sys_read(int fd, void *buf, u64 n);
long sys_write(int fd, const void *buf, u64 n);
long sys_pread64(int fd, void *buf, u64 n, s64 pos);
long sys_pwrite64(int fd, const void *buf, u64 n, s64 pos);
long sys_readv(int fd, const struct iovec_k *iov, u64 count);
long sys_writev(int fd, const struct iovec_k *iov, u64 count);
long sys_preadv(int fd, const struct iovec_k *iov, u64 count, s64 pos, u64 pos_high);
long sys_pwritev(int fd, const struct iovec_k *iov, u64 count, s64 pos, u64 pos_high);
long sys_preadv2(int fd, const struct iovec_k *iov, u64 count, s64 pos, u64 pos_high, u32 flags);
long sys_pwritev2(int fd, const struct iovec_k *iov, u64 count, s64 pos, u64 pos_high, u32 flags);
long sys_lseek(int fd, s64 off, int whence);

/* calls_copy.c */
long sys_sendfile(int out, int in, s64 *off, u64 n);
long sys_copy_file_range(int in, s64 *off_in, int out, s64 *off_out, u64 n, u32 flags);
long sys_splice(void);

/* calls_open.c */
long sys_open(const char *path, u32 flags, u32 mode);
long sys_openat(int dirfd, const char *path, u32 flags, u32 mode);
long sys_creat(const char *path, u32 mode);
long sys_memfd_create(const char *name, u32 flags);
long sys_getcwd(char *buf, u64 size);
long sys_chdir(const char *path);
long sys_fchdir(int fd);
long sys_umask(u32 mask);

/* calls_fd.c */
long sys_close(int fd);
long sys_close_range(u32 first, u32 last, u32 flags);
long sys_dup(int fd);
long sys_dup2(int fd, int to);
long sys_dup3(int fd, int to, u32 flags);
long sys_fcntl(int fd, u32 cmd, u64 arg);
long sys_ioctl(int fd, u32 request, u64 arg);
long sys_flock(int fd, u32 op);
long sys_fsync(int fd);
long sys_fdatasync(int fd);
long sys_syncfs(int fd);
long sys_sync(void);
long sys_sync_file_range(int fd, s64 off, s64 n, u32 flags);
long sys_msync(void *addr, u64 n, int flags);
long sys_fadvise64(int fd, s64 off, s64 n, int advice);
long sys_readahead(int fd, s64 off, u64 n);

/* calls_stat.c */
long sys_stat(const char *path, struct stat *st);
long sys_lstat(const char *path, struct stat *st);
long sys_fstat(int fd, struct stat *st);
long sys_newfstatat(int dirfd, const char *path, struct stat *st, u32 flags);
long sys_statx(int dirfd, const char *path, u32 flags, u32 mask, struct statx *stx);
long sys_access(const char *path, u32 mode);
long sys_faccessat(int dirfd, const char *path, u32 mode);
long sys_faccessat2(int dirfd, const char *path, u32 mode, u32 flags);
long sys_readlink(const char *path, char *buf, int size);
long sys_readlinkat(int dirfd, const char *path, char *buf, int size);
long sys_statfs(const char *path, struct statfs *out);
long sys_fstatfs(int fd, struct statfs *out);

/* calls_dir.c */
long sys_getdents(int fd, void *buf, u32 n);
long sys_getdents64(int fd, void *buf, u32 n);
long sys_mkdir(const char *path, u32 mode);
long sys_mkdirat(int dirfd, const char *path, u32 mode);
long sys_rmdir(const char *path);
long sys_unlink(const char *path);
long sys_unlinkat(int dirfd, const char *path, u32 flags);
long sys_rename(const char *from, const char *to);
long sys_renameat(int fromfd, const char *from, int tofd, const char *to);
long sys_renameat2(int fromfd, const char *from, int tofd, const char *to, u32 flags);
long sys_link(const char *from, const char *to);
long sys_linkat(int fromfd, const char *from, int tofd, const char *to, u32 flags);
long sys_symlink(const char *target, const char *path);
long sys_symlinkat(const char *target, int dirfd, const char *path);
long sys_mknod(const char *path, u32 mode, u64 dev);
long sys_mknodat(int dirfd, const char *path, u32 mode, u64 dev);

/* calls_attr.c */
long sys_truncate(const char *path, s64 size);
long sys_ftruncate(int fd, s64 size);
long sys_fallocate(int fd, u32 mode, s64 off, s64 n);
long sys_chmod(const char *path, u32 mode);
long sys_fchmod(int fd, u32 mode);
long sys_fchmodat(int dirfd, const char *path, u32 mode);
long sys_fchmodat2(int dirfd, const char *path, u32 mode, u32 flags);
long sys_chown(const char *path, u32 uid, u32 gid);
long sys_lchown(const char *path, u32 uid, u32 gid);
long sys_fchown(int fd, u32 uid, u32 gid);
long sys_fchownat(int dirfd, const char *path, u32 uid, u32 gid, u32 flags);
long sys_utime(const char *path, const struct utimbuf_k *times);
long sys_utimes(const char *path, const struct __kernel_old_timeval *times);
long sys_futimesat(int dirfd, const char *path, const struct __kernel_old_timeval *times);
long sys_utimensat(int dirfd, const char *path, const struct __kernel_timespec *times, u32 flags);

/* calls_xattr.c: there are no extended attributes */
long sys_getxattr(const char *path, const char *name, void *value, u64 size);
long sys_lgetxattr(const char *path, const char *name, void *value, u64 size);
long sys_fgetxattr(int fd, const char *name, void *value, u64 size);
long sys_setxattr(const char *path, const char *name, const void *value, u64 size, u32 flags);
long sys_lsetxattr(const char *path, const char *name, const void *value, u64 size, u32 flags);
long sys_fsetxattr(int fd, const char *name, const void *value, u64 size, u32 flags);
long sys_listxattr(const char *path, char *list, u64 size);
long sys_llistxattr(const char *path, char *list, u64 size);
long sys_flistxattr(int fd, char *list, u64 size);
long sys_removexattr(const char *path, const char *name);
long sys_lremovexattr(const char *path, const char *name);
long sys_fremovexattr(int fd, const char *name);

#endif
