/* ipc_epoll_test.c: epoll: level, edge, one-shot, nested sets, closing, timeouts. */
// link: ../ipc/*.c ../fs/file.c ipc_host.c
#include "ipc_host.h"

static int ep, p[2];
static struct epoll_event got[8];

static long ctl(int set, int op, int fd, u32 events, u64 data)
{
	struct epoll_event e = {events, data};
	return sys_epoll_ctl(set, op, fd, &e);
}

static long now(void) { return sys_epoll_wait(ep, got, 8, 0); }

static void set_up(u32 events)
{
	ep = (int)sys_epoll_create1(0);
	CHECK_EQ(sys_pipe2(p, O_NONBLOCK), 0);
	CHECK_EQ(ctl(ep, EPOLL_CTL_ADD, p[0], events, 42), 0);
}

static void put(const char *s) { CHECK_EQ(wr(p[1], s, strlen(s)), (long)strlen(s)); }
static char in[64];

static void test_level(void)
{
	set_up(EPOLLIN);
	CHECK_EQ(now(), 0);
	put("ab");
	for (int i = 0; i < 3; i++) {
		CHECK_EQ(now(), 1);
		CHECK_EQ(got[0].events, EPOLLIN);
		CHECK_EQ(got[0].data, 42);
	}
	CHECK_EQ(rd(p[0], in, 8), 2);
	CHECK_EQ(now(), 0);
	CHECK_EQ(fd_close(p[1]), 0);
	CHECK_EQ(now(), 1);
	CHECK_EQ(got[0].events, EPOLLHUP); /* always asked for */
	close_all();
}

static void test_edge(void)
{
	set_up(EPOLLIN | EPOLLET);
	put("a");
	CHECK_EQ(now(), 1);
	CHECK_EQ(now(), 0); /* nothing new */
	put("b");
	CHECK_EQ(now(), 1); /* new input, though the old was not read */
	CHECK_EQ(rd(p[0], in, 1), 1);
	CHECK_EQ(now(), 0); /* reading makes no edge */
	CHECK_EQ(ctl(ep, EPOLL_CTL_MOD, p[0], EPOLLIN | EPOLLET, 43), 0);
	CHECK_EQ(now(), 1); /* MOD looks again */
	CHECK_EQ(got[0].data, 43);
	close_all();
}

static void test_edge_out(void)
{
	static char buf[65536];
	set_up(EPOLLIN);
	CHECK_EQ(ctl(ep, EPOLL_CTL_ADD, p[1], EPOLLOUT | EPOLLET, 7), 0);
	CHECK_EQ(now(), 1);
	CHECK_EQ(wr(p[1], buf, sizeof buf), sizeof buf);
	CHECK_EQ(rd(p[0], buf, 4095), 4095);
	CHECK_EQ(sys_epoll_wait(ep, got, 1, 0), 1); /* the reader */
	CHECK_EQ(got[0].data, 42);
	CHECK_EQ(ctl(ep, EPOLL_CTL_DEL, p[0], 0, 0), 0);
	CHECK_EQ(now(), 0); /* no room for an atomic write yet */
	CHECK_EQ(rd(p[0], buf, 1), 1);
	CHECK_EQ(now(), 1);
	CHECK_EQ(rd(p[0], buf, 100), 100);
	CHECK_EQ(now(), 0); /* was writable before */
	close_all();
}

static void test_socket_edges(void)
{
	int s[2];
	ep = (int)sys_epoll_create1(0);
	CHECK_EQ(sys_socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s), 0);
	CHECK_EQ(ctl(ep, EPOLL_CTL_ADD, s[0], EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, 1), 0);
	CHECK_EQ(now(), 1);
	CHECK_EQ(got[0].events, EPOLLOUT);
	CHECK_EQ(wr(s[1], "x", 1), 1);
	CHECK_EQ(now(), 1);
	CHECK_EQ(got[0].events, EPOLLIN | EPOLLOUT);
	CHECK_EQ(rd(s[0], in, 8), 1);
	CHECK_EQ(wr(s[0], "y", 1), 1);
	CHECK_EQ(rd(s[1], in, 8), 1); /* the peer reads: we were writable all the time */
	CHECK_EQ(now(), 0);
	CHECK_EQ(fd_close(s[1]), 0);
	CHECK_EQ(now(), 1);
	CHECK_EQ(got[0].events, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLHUP);
	close_all();
}

static void test_oneshot(void)
{
	set_up(EPOLLIN | EPOLLONESHOT);
	put("a");
	CHECK_EQ(now(), 1);
	put("b");
	CHECK_EQ(now(), 0);
	CHECK_EQ(fd_close(p[1]), 0);
	CHECK_EQ(now(), 0); /* not even EPOLLHUP */
	CHECK_EQ(ctl(ep, EPOLL_CTL_MOD, p[0], EPOLLIN | EPOLLONESHOT, 1), 0);
	CHECK_EQ(now(), 1);
	CHECK_EQ(got[0].events, EPOLLIN | EPOLLHUP);
	close_all();
}

static void put_z(void) { put("z"); }
static void wake_for_nothing(void) { put("z"); CHECK_EQ(rd(p[0], in, 1), 1); }

static void test_blocking(void)
{
	set_up(EPOLLIN);
	CHECK_EQ(sys_epoll_wait(ep, got, 8, -1), -EINTR); /* a signal: never restarted */
	ipc_other(put_z);
	CHECK_EQ(sys_epoll_wait(ep, got, 8, -1), 1);
	CHECK_EQ(rd(p[0], in, 8), 1);
	u64 start = host_mono_ns;
	CHECK_EQ(sys_epoll_wait(ep, got, 8, 25), 0);
	CHECK_EQ(host_mono_ns - start, 25000000);
	ipc_other(wake_for_nothing);
	ipc_other(put_z);
	CHECK_EQ(sys_epoll_wait(ep, got, 8, -1), 1);
	CHECK_EQ(rd(p[0], in, 8), 1);

	u64 set = 5;
	struct __kernel_timespec ts = {0, 1000};
	CHECK_EQ(sys_epoll_pwait2(ep, got, 8, &ts, &set, 8), 0);
	CHECK_EQ(ipc_pushes, 1);
	CHECK_EQ(ipc_mask, 0);
	CHECK_EQ(sys_epoll_pwait(ep, got, 8, 0, &set, 4), -EINVAL);
	ts.tv_nsec = -1;
	CHECK_EQ(sys_epoll_pwait2(ep, got, 8, &ts, NULL, 0), -EINVAL);
	close_all();
}

static void test_fair(void)
{
	/* With room for one event at a time every ready file gets its turn. */
	int e[3];
	bool seen[3] = {0};
	ep = (int)sys_epoll_create(1);
	for (int i = 0; i < 3; i++) {
		e[i] = (int)sys_eventfd(1);
		CHECK_EQ(ctl(ep, EPOLL_CTL_ADD, e[i], EPOLLIN, (u64)i), 0);
	}
	for (int i = 0; i < 3; i++) {
		CHECK_EQ(sys_epoll_wait(ep, got, 1, 0), 1);
		seen[got[0].data] = true;
	}
	CHECK(seen[0] && seen[1] && seen[2]);
	CHECK_EQ(now(), 3);
	close_all();
}

static void test_closing(void)
{
	set_up(EPOLLIN);
	put("a");
	/* A duplicate keeps the file, and so the item, alive (epoll(7), Q6). */
	struct file *f = fd_get(p[0]);
	file_get(f);
	CHECK_EQ(fd_close(p[0]), 0);
	CHECK_EQ(now(), 1);
	file_put(f);
	CHECK_EQ(now(), 0);
	CHECK_EQ(ctl(ep, EPOLL_CTL_DEL, p[0], 0, 0), -EBADF);
	close_all();

	set_up(EPOLLIN); /* the set goes first */
	put("a");
	CHECK_EQ(fd_close(ep), 0);
	CHECK_EQ(rd(p[0], in, 8), 1);
	close_all();
}

static void test_nested(void)
{
	set_up(EPOLLIN);
	int outer = (int)sys_epoll_create1(0), inner = ep;
	CHECK_EQ(ctl(outer, EPOLL_CTL_ADD, inner, EPOLLIN | EPOLLET, 9), 0);
	CHECK_EQ(sys_epoll_wait(outer, got, 8, 0), 0);
	ipc_other(put_z);
	CHECK_EQ(sys_epoll_wait(outer, got, 8, -1), 1);
	CHECK_EQ(got[0].data, 9);
	CHECK_EQ(sys_epoll_wait(outer, got, 8, 0), 0); /* edge */
	put("more");
	CHECK_EQ(sys_epoll_wait(outer, got, 8, 0), 1);
	CHECK_EQ(mask(inner), EPOLLIN);
	CHECK_EQ(rd(p[0], in, 8), 5);
	CHECK_EQ(mask(inner), 0);
	CHECK_EQ(ctl(inner, EPOLL_CTL_ADD, outer, EPOLLIN, 0), -ELOOP);
	int chain = outer;
	for (int i = 0; i < 3; i++) { /* five sets in a row are the limit */
		int next = (int)sys_epoll_create1(0);
		CHECK_EQ(ctl(next, EPOLL_CTL_ADD, chain, EPOLLIN, 0), 0);
		chain = next;
	}
	int last = (int)sys_epoll_create1(0);
	CHECK_EQ(ctl(last, EPOLL_CTL_ADD, chain, EPOLLIN, 0), -ELOOP);
	close_all();
}

static void test_errors(void)
{
	set_up(EPOLLIN);
	CHECK_EQ(sys_epoll_create(0), -EINVAL);
	CHECK_EQ(sys_epoll_create1(1), -EINVAL);
	CHECK_EQ(ctl(ep, EPOLL_CTL_ADD, p[0], EPOLLIN, 0), -EEXIST);
	CHECK_EQ(ctl(ep, EPOLL_CTL_MOD, p[1], EPOLLIN, 0), -ENOENT);
	CHECK_EQ(ctl(ep, EPOLL_CTL_DEL, p[1], EPOLLIN, 0), -ENOENT);
	CHECK_EQ(ctl(ep, 77, p[1], EPOLLIN, 0), -EINVAL);
	CHECK_EQ(ctl(ep, EPOLL_CTL_ADD, ep, EPOLLIN, 0), -EINVAL);
	CHECK_EQ(ctl(p[0], EPOLL_CTL_ADD, p[1], EPOLLIN, 0), -EINVAL);
	CHECK_EQ(ctl(ep, EPOLL_CTL_ADD, 99, EPOLLIN, 0), -EBADF);
	CHECK_EQ(ctl(99, EPOLL_CTL_ADD, p[1], EPOLLIN, 0), -EBADF);
	CHECK_EQ(sys_epoll_ctl(ep, EPOLL_CTL_ADD, p[1], (void *)8), -EFAULT);
	static const struct file_ops regular = {.name = "regular"};
	int fd = (int)fd_install(file_new(&regular, O_RDWR, NULL), false, 0);
	CHECK_EQ(ctl(ep, EPOLL_CTL_ADD, fd, EPOLLIN, 0), -EPERM);
	CHECK_EQ(ctl(ep, EPOLL_CTL_ADD, p[1], EPOLLEXCLUSIVE | EPOLLIN | EPOLLONESHOT, 0), -EINVAL);
	CHECK_EQ(ctl(ep, EPOLL_CTL_ADD, p[1], EPOLLEXCLUSIVE | EPOLLOUT, 5), 0);
	CHECK_EQ(ctl(ep, EPOLL_CTL_MOD, p[1], EPOLLOUT, 5), -EINVAL);
	CHECK_EQ(now(), 1);
	CHECK_EQ(got[0].data, 5);
	CHECK_EQ(sys_epoll_wait(ep, got, 0, 0), -EINVAL);
	CHECK_EQ(sys_epoll_wait(ep, (void *)8, 1, 0), -EFAULT);
	CHECK_EQ(sys_epoll_wait(p[0], got, 1, 0), -EINVAL);
	CHECK_EQ(sys_epoll_wait(99, got, 1, 0), -EBADF);
	close_all();
}

int main(void)
{
	test_level();
	test_edge();
	test_edge_out();
	test_socket_edges();
	test_oneshot();
	test_blocking();
	test_fair();
	test_closing();
	test_nested();
	test_errors();
	return 0;
}
