/*
 * ipc_fuzz_test.c: random calls on random descriptors. After every call epoll
 * must agree with what poll says of each file: a level-triggered set exactly,
 * an edge-triggered one at least about every bit that appeared. A wake-up that
 * is missing anywhere in ipc/ shows here. Allocations fail now and then. In
 * the end nothing may have leaked.
 */
// link: ../ipc/*.c ../fs/file.c ipc_host.c
#include "ipc_inet.h"

#include <asm/ioctls.h>
#include <linux/un.h>

enum { FDS = 48, STEPS_A_ROUND = 3000, ROUNDS = 60 };
#define WATCHED ((u32)EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLERR | EPOLLHUP)

static int level, edge;
static bool open_fd[FDS], plain[FDS]; /* plain: not a socket, so it may travel */
static u32 before[FDS];
static u8 buf[1 << 16];
static int last_op, last_fd; /* for the report of a failure */

static void watch(long fd)
{
	host_fail_after = -1;
	if (fd < 0)
		return;
	CHECK(fd < FDS);
	struct epoll_event e = {EPOLLIN | EPOLLOUT | EPOLLRDHUP, (u64)fd};
	CHECK_EQ(sys_epoll_ctl(level, EPOLL_CTL_ADD, (int)fd, &e), 0);
	e.events |= EPOLLET;
	CHECK_EQ(sys_epoll_ctl(edge, EPOLL_CTL_ADD, (int)fd, &e), 0);
	set_nonblock((int)fd, true);
	open_fd[fd] = true;
	plain[fd] = !fd_get((int)fd)->ops->sock;
	before[fd] = 0;
}

static void drop(int fd)
{
	CHECK_EQ(sys_epoll_ctl(level, EPOLL_CTL_DEL, fd, NULL), 0);
	CHECK_EQ(sys_epoll_ctl(edge, EPOLL_CTL_DEL, fd, NULL), 0);
	open_fd[fd] = false;
	CHECK_EQ(fd_close(fd), 0);
}

static int some_fd(void)
{
	for (int i = 0, fd = (int)host_random(FDS); i < FDS; i++, fd = (fd + 1) % FDS)
		if (open_fd[fd])
			return fd;
	return FDS - 1;
}

static int some_plain(void)
{
	for (int fd = (int)host_random(FDS), i = 0; i < FDS; i++, fd = (fd + 1) % FDS)
		if (open_fd[fd] && plain[fd])
			return fd;
	return 999;
}

static int count_open(void)
{
	int n = 0;
	for (int fd = 0; fd < FDS; fd++)
		n += open_fd[fd];
	return n;
}

static int some_address(struct sockaddr_k *a)
{
	int port = 1000 + (int)host_random(3);
	memset(a, 0, sizeof *a);
	switch (host_random(6)) {
	case 0: {
		struct sockaddr_in sin = v4(host_random(2) ? LO : 0, port);
		memcpy(a, &sin, sizeof sin);
		return sizeof sin;
	}
	case 1: {
		struct sockaddr_in6 sin = v6((int)host_random(2), host_random(3) ? 0 : LO, port);
		memcpy(a, &sin, sizeof sin);
		return sizeof sin;
	}
	case 2:
	case 3: { /* abstract */
		struct sockaddr_un un = {.sun_family = AF_UNIX};
		un.sun_path[1] = (char)('a' + host_random(3));
		memcpy(a, &un, sizeof un);
		return 4;
	}
	case 4:
		return 2; /* AF_UNSPEC */
	default:
		for (u32 i = 0; i < sizeof *a; i++)
			((u8 *)a)[i] = (u8)host_random(host_random(2) ? 3 : 256);
		return (int)host_random(130);
	}
}

static void make(void)
{
	static const int families[] = {AF_UNIX, AF_INET, AF_INET6}, types[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};
	int two[2];
	if (count_open() > FDS - 10)
		return;
	switch (host_random(5)) {
	case 0:
		if (!sys_pipe2(two, O_NONBLOCK))
			watch(two[0]), watch(two[1]);
		return;
	case 1:
		if (!sys_socketpair(AF_UNIX, types[host_random(3)], 0, two))
			watch(two[0]), watch(two[1]);
		return;
	case 2:
		watch(host_random(2) ? sys_eventfd2(host_random(3), (int)host_random(2)) : sys_timerfd_create(1, 0));
		return;
	default:
		watch(sys_socket(families[host_random(3)], types[host_random(3)], 0));
	}
}

/* A connection, or a receiver and a sender that is connected to it. */
static void make_connected(void)
{
	host_fail_after = -1;
	bool tcp = host_random(2);
	int a = (int)sys_socket(AF_INET, tcp ? SOCK_STREAM : SOCK_DGRAM, 0), b = (int)sys_socket(AF_INET, tcp ? SOCK_STREAM : SOCK_DGRAM, 0);
	struct sockaddr_in addr = v4(LO, 0);
	int len = sizeof addr;
	CHECK_EQ(sys_bind(a, &addr, sizeof addr), 0);
	CHECK_EQ(tcp ? sys_listen(a, 3) : 0, 0);
	CHECK_EQ(sys_getsockname(a, &addr, &len), 0);
	CHECK_EQ(sys_connect(b, &addr, sizeof addr), 0);
	if (tcp && host_random(4)) {
		watch(sys_accept(a, NULL, NULL));
		CHECK_EQ(fd_close(a), 0);
	} else {
		watch(a);
	}
	watch(b);
}

/* Two datagram sockets that send to a third. */
static void make_unix_dgram(void)
{
	static u32 number;
	host_fail_after = -1;
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int len = 2 + 1 + 4;
	number++;
	memcpy(addr.sun_path + 1, &number, sizeof number);
	int to = (int)sys_socket(AF_UNIX, SOCK_DGRAM, 0);
	CHECK_EQ(sys_bind(to, &addr, len), 0);
	watch(to);
	for (int i = 0; i < 2; i++) {
		int fd = (int)sys_socket(AF_UNIX, SOCK_DGRAM, 0);
		CHECK_EQ(sys_connect(fd, &addr, len), 0);
		watch(fd);
	}
}

static u32 some_size(void) { return host_random(host_random(3) ? 20 : 60000); }

static void send_rights(int fd)
{
	struct { u64 len; int level, type, fd[4]; } c = {16 + 4 * (u64)host_random(5), SOL_SOCKET, 1, {0}};
	for (int i = 0; i < 4; i++)
		c.fd[i] = some_plain();
	if (!host_random(8))
		for (u32 i = 0; i < sizeof c; i++)
			if (!host_random(4))
				((u8 *)&c)[i] = (u8)host_random(256);
	bool any_socket = false;
	for (int i = 0; i < 4; i++)
		any_socket |= fd_get(c.fd[i]) && fd_get(c.fd[i])->ops->sock; /* could be a cycle */
	struct iovec_k v[2] = {{buf, some_size()}, {buf, host_random(3)}};
	struct msghdr_k m = {.iov = v, .iovlen = 1 + host_random(2), .ctl = &c, .ctllen = MIN(sizeof c, c.len)};
	if (!any_socket)
		sys_sendmsg(fd, &m, (int)host_random(2) * MSG_DONTWAIT);
}

static void recv_rights(int fd)
{
	struct { u64 len; int level, type, fd[12]; } c = {0};
	struct iovec_k v[2] = {{buf, host_random(9)}, {buf + 100, some_size() % 60000}};
	struct msghdr_k m = {.iov = v, .iovlen = 2, .ctl = &c, .ctllen = host_random(sizeof c)};
	long r = sys_recvmsg(fd, &m, host_random(4) ? 0 : MSG_PEEK);
	if (r < 0 || m.ctllen < 20 || c.type != 1)
		return;
	for (u64 i = 0; i < (c.len - 16) / 4; i++) {
		if (c.fd[i] < FDS - 10)
			watch(c.fd[i]);
		else
			CHECK_EQ(fd_close(c.fd[i]), 0);
	}
}

static void options(int fd)
{
	static const int levels[] = {SOL_SOCKET, 6, 0, 41, 17};
	int v[4] = {(int)host_random(3) * 3000, (int)host_random(2), 0, 0}, len = (int)host_random(20);
	int opt = (int)host_random(80), lvl = levels[host_random(5)];
	if (opt == SO_RCVTIMEO || opt == SO_SNDTIMEO)
		return;
	if (host_random(2))
		sys_setsockopt(fd, lvl, opt, v, MIN(len, (int)sizeof v));
	else if (len = MIN(len, (int)sizeof v), !sys_getsockopt(fd, lvl, opt, v, &len) && lvl == SOL_SOCKET && opt == SO_ERROR)
		before[fd] = mask(fd) & WATCHED;
}

static void step(void)
{
	int fd = some_fd();
	struct file *f = fd_get(fd);
	struct sockaddr_k a;
	int len = some_address(&a);
	last_fd = fd;
	switch (last_op = (int)host_random(18)) {
	case 0:
		make();
		break;
	case 1:
		if (count_open() < FDS - 10) {
			if (host_random(3))
				make_connected();
			else
				make_unix_dgram();
		}
		break;
	case 2:
		if (count_open() > 8)
			drop(fd);
		break;
	case 3:
		sys_bind(fd, &a, len);
		break;
	case 4:
		sys_listen(fd, (int)host_random(3));
		break;
	case 5:
	case 6:
		sys_connect(fd, &a, len);
		break;
	case 7:
	case 8:
		if (count_open() < FDS - 10) {
			len = sizeof a;
			watch(sys_accept4(fd, &a, &len, SOCK_NONBLOCK));
		}
		break;
	case 9:
		sys_sendto(fd, buf, some_size(), 0, host_random(2) ? &a : NULL, len);
		break;
	case 10:
		sys_recvfrom(fd, buf, some_size(), host_random(3) ? 0 : MSG_PEEK | MSG_WAITALL, NULL, NULL);
		break;
	case 11:
		send_rights(fd);
		break;
	case 12:
		recv_rights(fd);
		break;
	case 13:
		if (!host_random(4))
			sys_shutdown(fd, (int)host_random(3));
		break;
	case 14:
		options(fd);
		break;
	case 15: {
		struct __kernel_itimerspec t = {{0, host_random(500)}, {0, host_random(500)}};
		sys_timerfd_settime(fd, 0, &t, NULL);
		host_mono_ns += host_random(300);
		host_run_timers();
		if (f->ops->ioctl)
			f->ops->ioctl(f, F_SETPIPE_SZ, 4096u << host_random(6));
		break;
	}
	case 16:
		if (f->ops->write)
			wr(fd, buf, some_size());
		break;
	default:
		if (f->ops->read)
			rd(fd, buf, some_size());
	}
}

/* Both sets against poll. */
static void compare(void)
{
	struct epoll_event e[FDS];
	u32 now[FDS] = {0}, reported[FDS] = {0}, edges[FDS] = {0};
	long n = sys_epoll_wait(level, e, FDS, 0);
	for (long i = 0; i < n; i++)
		reported[e[i].data] = e[i].events;
	n = sys_epoll_wait(edge, e, FDS, 0);
	for (long i = 0; i < n; i++)
		edges[e[i].data] = e[i].events;
	for (int fd = 0; fd < FDS; fd++) {
		if (open_fd[fd])
			now[fd] = mask(fd) & WATCHED;
		u32 gained = now[fd] & ~before[fd];
		if (reported[fd] != now[fd] || (edges[fd] & gained) != gained)
			fprintf(stderr, "after operation %d on %d: %s %d has %x, had %x; level %x, edge %x\n", last_op, last_fd,
				open_fd[fd] ? fd_get(fd)->ops->name : "closed", fd, now[fd], before[fd], reported[fd], edges[fd]);
		CHECK_EQ(reported[fd], now[fd]);
		CHECK_EQ(edges[fd] & gained, gained);
		before[fd] = now[fd];
	}
}

int main(void)
{
	for (int round = 0; round < ROUNDS; round++) {
		level = (int)sys_epoll_create1(0);
		edge = (int)sys_epoll_create1(0);
		for (int i = 0; i < 12; i++)
			make();
		for (int i = 0; i < STEPS_A_ROUND; i++) {
			host_fail_after = host_random(10) ? -1 : (s64)host_random(4); /* now and then memory is short */
			step();
			host_fail_after = -1;
			compare();
		}
		memset(open_fd, 0, sizeof open_fd);
		host_mono_ns += 1000;
		close_all();
	}
	return 0;
}
