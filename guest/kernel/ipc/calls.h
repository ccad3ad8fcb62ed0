/*
 * calls.h: the system calls that ipc/ serves, for the table in syscalls.def.
 * Times are Linux's 64-bit kernel types, which equal the program's on x86-64.
 */
#ifndef SEUSS_IPC_CALLS_H
#define SEUSS_IPC_CALLS_H

#include "../kernel.h"

struct pollfd;
struct epoll_event;
struct mmsghdr_k { struct msghdr_k hdr; u32 len, pad; }; /* struct mmsghdr */
struct __kernel_timespec;
struct __kernel_old_timeval;
struct __kernel_itimerspec;

/* pipe.c */
long sys_pipe(int *fds);
long sys_pipe2(int *fds, int flags);

/* eventfd.c */
long sys_eventfd(u32 count);
long sys_eventfd2(u32 count, int flags);

/* timerfd.c */
long sys_timerfd_create(int clock, int flags);
long sys_timerfd_settime(int fd, int flags, const struct __kernel_itimerspec *value, struct __kernel_itimerspec *old);
long sys_timerfd_gettime(int fd, struct __kernel_itimerspec *value);

/* epoll.c */
long sys_epoll_create(int size);
long sys_epoll_create1(int flags);
long sys_epoll_ctl(int epfd, int op, int fd, const struct epoll_event *event);
long sys_epoll_wait(int epfd, struct epoll_event *events, int max, int timeout_ms);
long sys_epoll_pwait(int epfd, struct epoll_event *events, int max, int timeout_ms, const u64 *mask, u64 size);
long sys_epoll_pwait2(int epfd, struct epoll_event *events, int max, const struct __kernel_timespec *timeout,
		      const u64 *mask, u64 size);

/* poll.c, select.c */
long sys_poll(struct pollfd *fds, u64 n, int timeout_ms);
long sys_ppoll(struct pollfd *fds, u64 n, struct __kernel_timespec *timeout, const u64 *mask, u64 size);
long sys_select(int n, u64 *in, u64 *out, u64 *except, struct __kernel_old_timeval *timeout);
long sys_pselect6(int n, u64 *in, u64 *out, u64 *except, struct __kernel_timespec *timeout, const void *mask);

/* socket.c */
long sys_socket(int family, int type, int protocol);
long sys_socketpair(int family, int type, int protocol, int *fds);
long sys_bind(int fd, const void *addr, int len);
long sys_connect(int fd, const void *addr, int len);
long sys_listen(int fd, int backlog);
long sys_accept(int fd, void *addr, int *len);
long sys_accept4(int fd, void *addr, int *len, int flags);
long sys_shutdown(int fd, int how);
long sys_getsockname(int fd, void *addr, int *len);
long sys_getpeername(int fd, void *addr, int *len);
long sys_setsockopt(int fd, int level, int opt, const void *v, int len);
long sys_getsockopt(int fd, int level, int opt, void *v, int *len);

/* message.c */
long sys_sendto(int fd, const void *buf, u64 n, int flags, const void *addr, int len);
long sys_recvfrom(int fd, void *buf, u64 n, int flags, void *addr, int *len);
long sys_sendmsg(int fd, const struct msghdr_k *m, int flags);
long sys_recvmsg(int fd, struct msghdr_k *m, int flags);
long sys_sendmmsg(int fd, struct mmsghdr_k *v, u32 n, int flags);
long sys_recvmmsg(int fd, struct mmsghdr_k *v, u32 n, int flags, struct __kernel_timespec *timeout);

#endif
