/* ipc_unix_test.c: AF_UNIX: pairs, names, closing, full queues, all three types. */
// link: ../ipc/*.c ../fs/file.c ipc_host.c
#include "ipc_host.h"

#include <asm/ioctls.h>
#include <linux/un.h>

#define SIGPIPE 13

static int s[2];
static char in[512];
static char big[SOCK_BUF * 2];

static void pair(int type) { CHECK_EQ(sys_socketpair(AF_UNIX, type, 0, s), 0); }

static struct sockaddr_un path(const char *name)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	snprintf(a.sun_path, sizeof a.sun_path, "%s", name);
	return a;
}

static int sock_error(int fd)
{
	int e = -1, len = sizeof e;
	CHECK_EQ(sys_getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &len), 0);
	return e;
}

static void send_x(void) { CHECK_EQ(wr(s[1], "x", 1), 1); }
static void close_1(void) { CHECK_EQ(fd_close(s[1]), 0); }
static void set_size(int fd, int opt, int bytes)
{
	CHECK_EQ(sys_setsockopt(fd, SOL_SOCKET, opt, &bytes, sizeof bytes), 0);
}
static void grow_sndbuf_0(void) { set_size(s[0], SO_SNDBUF, 100000); }
static void grow_rcvbuf_1(void) { set_size(s[1], SO_RCVBUF, 200000); }
static void read_all_1(void) { CHECK(rd(s[1], big, sizeof big) > 0); }

static void test_stream(void)
{
	pair(SOCK_STREAM);
	CHECK_EQ(mask(s[0]), EPOLLOUT);
	CHECK_EQ(wr(s[0], "ab", 2), 2);
	CHECK_EQ(wr(s[0], "cd", 2), 2);
	int n;
	CHECK_EQ(fd_get(s[1])->ops->ioctl(fd_get(s[1]), FIONREAD, (u64)&n), 0);
	CHECK_EQ(n, 4);
	CHECK_EQ(sys_recvfrom(s[1], in, 3, MSG_PEEK, NULL, NULL), 3);
	CHECK_EQ(rd(s[1], in, sizeof in), 4); /* a stream has no boundaries */
	CHECK(!memcmp(in, "abcd", 4));
	CHECK_EQ(sys_recvfrom(s[1], in, 1, MSG_DONTWAIT, NULL, NULL), -EAGAIN);
	ipc_other(send_x);
	CHECK_EQ(rd(s[0], in, 9), 1);
	ipc_other(send_x);
	ipc_other(send_x);
	CHECK_EQ(sys_recvfrom(s[0], in, 2, MSG_WAITALL, NULL, NULL), 2);
	ipc_other(send_x);
	ipc_other(close_1);
	CHECK_EQ(sys_recvfrom(s[0], in, 2, MSG_WAITALL, NULL, NULL), 1);
	CHECK_EQ(rd(s[0], in, 1), 0);
	CHECK_EQ(mask(s[0]), EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLHUP);
	host_last_signal = 0;
	CHECK_EQ(sys_sendto(s[0], "x", 1, MSG_NOSIGNAL, NULL, 0), -EPIPE);
	CHECK_EQ(host_last_signal, 0);
	CHECK_EQ(wr(s[0], "x", 1), -EPIPE);
	CHECK_EQ(host_last_signal, SIGPIPE);
	close_all();
}

static void test_stream_full(void)
{
	pair(SOCK_STREAM);
	CHECK_EQ(sys_sendto(s[0], big, sizeof big, MSG_DONTWAIT, NULL, 0), SOCK_BUF);
	CHECK_EQ(mask(s[0]), 0);
	CHECK_EQ(sys_sendto(s[0], big, 1, MSG_DONTWAIT, NULL, 0), -EAGAIN);
	ipc_other(read_all_1);
	CHECK_EQ(wr(s[0], big, 1000), 1000);
	struct __kernel_old_timeval tv = {0, 500};
	CHECK_EQ(sys_setsockopt(s[0], SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv), 0);
	CHECK_EQ(wr(s[0], big, sizeof big), SOCK_BUF - 1000);
	CHECK_EQ(wr(s[0], big, 1), -EAGAIN);
	CHECK_EQ(fd_close(s[1]), 0); /* unread data: reset */
	CHECK_EQ(mask(s[0]) & EPOLLERR, EPOLLERR);
	CHECK_EQ(rd(s[0], in, 1), -ECONNRESET);
	CHECK_EQ(rd(s[0], in, 1), 0);
	close_all();
}

static void test_sndbuf(void)
{
	pair(SOCK_STREAM);
	set_size(s[0], SO_SNDBUF, 3000);
	CHECK_EQ(sys_sendto(s[0], big, sizeof big, MSG_DONTWAIT, NULL, 0), 6000);
	ipc_other(grow_sndbuf_0);
	CHECK_EQ(wr(s[0], big, 6000), 6000);
	close_all();
}

static void test_half_close(void)
{
	pair(SOCK_STREAM);
	CHECK_EQ(sys_shutdown(s[0], SHUT_WR), 0);
	CHECK_EQ(rd(s[1], in, 1), 0);
	CHECK_EQ(mask(s[1]), EPOLLIN | EPOLLOUT | EPOLLRDHUP);
	CHECK_EQ(wr(s[0], "x", 1), -EPIPE);
	CHECK_EQ(wr(s[1], "back", 4), 4); /* the other direction lives */
	CHECK_EQ(rd(s[0], in, 9), 4);
	CHECK_EQ(sys_shutdown(s[0], SHUT_RD), 0);
	CHECK_EQ(wr(s[1], "x", 1), -EPIPE);
	CHECK_EQ(mask(s[1]) & EPOLLHUP, EPOLLHUP);
	CHECK_EQ(sys_shutdown(s[0], 3), -EINVAL);
	close_all();
}

/* ---- names -------------------------------------------------------------------------- */

static int listener, client;
static struct sockaddr_un name;

static void accept_one(void) { CHECK(sys_accept(listener, NULL, NULL) >= 0); }
static void connect_one(void)
{
	client = (int)sys_socket(AF_UNIX, SOCK_STREAM, 0);
	CHECK_EQ(sys_connect(client, &name, sizeof name), 0);
}
static void close_listener(void) { CHECK_EQ(fd_close(listener), 0); }
static void grow_backlog(void) { CHECK_EQ(sys_listen(listener, 5), 0); }
static void stop_listener(void) { CHECK_EQ(sys_shutdown(listener, SHUT_RD), 0); }

static void test_listen(void)
{
	static int round;
	char text[32];
	snprintf(text, sizeof text, "/tmp/stream%d", round++);
	name = path(text);
	listener = (int)sys_socket(AF_UNIX, SOCK_STREAM, 0);
	CHECK_EQ(sys_listen(listener, 1), -EINVAL); /* no name */
	int c = (int)sys_socket(AF_UNIX, SOCK_STREAM, 0);
	CHECK_EQ(mask(c), EPOLLOUT | EPOLLHUP);
	CHECK_EQ(sys_connect(c, &name, sizeof name), -ENOENT);
	CHECK_EQ(sys_bind(listener, &name, sizeof name), 0);
	CHECK_EQ(sys_bind(listener, &name, sizeof name), -EADDRINUSE);
	CHECK_EQ(sys_connect(c, &name, sizeof name), -ECONNREFUSED); /* not listening */
	CHECK_EQ(sys_listen(listener, 0), 0);
	int other = (int)sys_socket(AF_UNIX, SOCK_DGRAM, 0);
	CHECK_EQ(sys_connect(other, &name, sizeof name), -EPROTOTYPE);
	CHECK_EQ(sys_bind(other, &name, sizeof name), -EADDRINUSE);
	CHECK_EQ(sys_accept4(listener, NULL, NULL, 0), -ERESTARTSYS);
	CHECK_EQ(mask(listener), 0);
	CHECK_EQ(sys_connect(c, &name, sizeof name), 0);
	CHECK_EQ(mask(listener), EPOLLIN);
	CHECK_EQ(sys_connect(c, &name, sizeof name), -EISCONN);
	CHECK_EQ(wr(c, "early", 5), 5); /* before accept */
	struct sockaddr_un peer;
	int len = sizeof peer;
	int a = (int)sys_accept4(listener, &peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
	CHECK(a >= 0);
	CHECK_EQ(len, 2); /* the client has no name */
	CHECK_EQ(fd_get(a)->flags & O_NONBLOCK, O_NONBLOCK);
	CHECK_EQ(rd(a, in, 9), 5);
	len = sizeof peer;
	CHECK_EQ(sys_getpeername(c, &peer, &len), 0);
	CHECK_STR(peer.sun_path, text);
	CHECK_EQ(len, 2 + (int)strlen(text) + 1);

	/* A backlog of 0 holds one; the next waits, or fails if it must not. */
	connect_one();
	int c2 = (int)sys_socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	CHECK_EQ(sys_connect(c2, &name, sizeof name), -EAGAIN);
	set_nonblock(c2, false);
	ipc_other(accept_one);
	CHECK_EQ(sys_connect(c2, &name, sizeof name), 0);
	int c4 = (int)sys_socket(AF_UNIX, SOCK_STREAM, 0);
	ipc_other(grow_backlog);
	CHECK_EQ(sys_connect(c4, &name, sizeof name), 0);
	CHECK_EQ(sys_listen(listener, 0), 0);
	int c3 = (int)sys_socket(AF_UNIX, SOCK_STREAM, 0);
	ipc_other(close_listener);
	CHECK_EQ(sys_connect(c3, &name, sizeof name), -ECONNREFUSED);
	CHECK_EQ(rd(c2, in, 1), -ECONNRESET); /* never accepted */
	close_all();
}

static void test_accept_blocking(void)
{
	name = path("/tmp/accept");
	listener = (int)sys_socket(AF_UNIX, SOCK_STREAM, 0);
	CHECK_EQ(sys_bind(listener, &name, sizeof name), 0);
	CHECK_EQ(sys_listen(listener, 5), 0);
	ipc_other(connect_one);
	int a = (int)sys_accept(listener, NULL, NULL);
	CHECK(a >= 0);
	/* A client that is gone before accept still delivers what it sent. */
	connect_one();
	CHECK_EQ(wr(client, "bye", 3), 3);
	CHECK_EQ(fd_close(client), 0);
	struct sockaddr_un peer;
	int len = sizeof peer;
	a = (int)sys_accept(listener, &peer, &len);
	CHECK(a >= 0);
	CHECK_EQ(rd(a, in, 9), 3);
	ipc_other(stop_listener);
	CHECK_EQ(sys_accept(listener, NULL, NULL), -EINVAL);
	CHECK_EQ(mask(listener), EPOLLIN | EPOLLRDHUP);
	close_all();
}

static void test_abstract(void)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX, .sun_path = "\0name"};
	int x = (int)sys_socket(AF_UNIX, SOCK_DGRAM, 0), y = (int)sys_socket(AF_UNIX, SOCK_DGRAM, 0);
	CHECK_EQ(sys_bind(x, &a, 7), 0);
	CHECK_EQ(sys_bind(y, &a, 7), -EADDRINUSE);
	CHECK_EQ(sys_bind(y, &a, 6), 0); /* another name: its bytes count */
	CHECK_EQ(fd_close(x), 0);
	x = (int)sys_socket(AF_UNIX, SOCK_DGRAM, 0);
	CHECK_EQ(sys_bind(x, &a, 7), 0); /* gone with the socket */
	int z = (int)sys_socket(AF_UNIX, SOCK_DGRAM, 0);
	CHECK_EQ(sys_bind(z, &a, 2), 0); /* autobind */
	struct sockaddr_un got_name;
	int len = sizeof got_name;
	CHECK_EQ(sys_getsockname(z, &got_name, &len), 0);
	CHECK_EQ(len, 8);
	CHECK_EQ(got_name.sun_path[0], 0);
	CHECK_EQ(sys_bind(x, &a, 1), -EINVAL);
	CHECK_EQ(sys_bind(x, &a, 200), -EINVAL);
	close_all();
}

/* ---- messages ------------------------------------------------------------------------ */

static void take_1(void) { CHECK(sys_recvfrom(s[1], big, sizeof big, MSG_DONTWAIT, NULL, NULL) >= 0); }

static void test_dgram(void)
{
	struct sockaddr_un a = path("/tmp/dgram-a"), b = path("/tmp/dgram-b"), from;
	int x = (int)sys_socket(AF_UNIX, SOCK_DGRAM, 0), y = (int)sys_socket(AF_UNIX, SOCK_RAW, 0), len = sizeof from;
	CHECK_EQ(sys_bind(x, &a, sizeof a), 0);
	CHECK_EQ(sys_bind(y, &b, sizeof b), 0);
	CHECK_EQ(wr(x, "?", 1), -ENOTCONN);
	CHECK_EQ(sys_sendto(x, "one", 3, 0, &b, sizeof b), 3);
	CHECK_EQ(sys_sendto(x, "", 0, 0, &b, sizeof b), 0);
	CHECK_EQ(sys_sendto(x, "three", 5, 0, &b, sizeof b), 5);
	CHECK_EQ(sys_recvfrom(y, in, 2, MSG_TRUNC, &from, &len), 3); /* the rest of it is lost */
	CHECK_STR(from.sun_path, "/tmp/dgram-a");
	CHECK_EQ(rd(y, in, 9), 0);
	struct iovec_k v = {in, 2};
	struct msghdr_k m = {.iov = &v, .iovlen = 1};
	CHECK_EQ(sys_recvmsg(y, &m, 0), 2);
	CHECK_EQ(m.flags, MSG_TRUNC);
	CHECK_EQ(sys_listen(x, 1), -EOPNOTSUPP);
	CHECK_EQ(sys_connect(x, &b, sizeof b), 0);
	CHECK_EQ(wr(x, "hi", 2), 2);
	CHECK_EQ(rd(y, in, 9), 2);
	int z = (int)sys_socket(AF_UNIX, SOCK_DGRAM, 0);
	CHECK_EQ(sys_sendto(z, "x", 1, 0, &a, sizeof a), -EPERM); /* x talks to y only */
	CHECK_EQ(sys_sendto(x, big, sizeof big, 0, NULL, 0), -EMSGSIZE);
	CHECK_EQ(fd_close(y), 0);
	CHECK_EQ(wr(x, "gone", 4), -ECONNREFUSED);
	CHECK_EQ(wr(x, "gone", 4), -ENOTCONN);
	CHECK_EQ(sock_error(x), 0);
	close_all();
}

static void fill(int fd)
{
	long r;
	while ((r = sys_sendto(fd, big, 4000, MSG_DONTWAIT, NULL, 0)) == 4000)
		;
	CHECK_EQ(r, -EAGAIN);
}

static void test_full_queue(int type)
{
	pair(type);
	int ep = (int)sys_epoll_create1(0);
	struct epoll_event e = {EPOLLOUT | EPOLLET, 0};
	CHECK_EQ(sys_epoll_ctl(ep, EPOLL_CTL_ADD, s[0], &e), 0);
	CHECK_EQ(sys_epoll_wait(ep, &e, 1, 0), 1);
	fill(s[0]);
	CHECK_EQ(mask(s[0]) & EPOLLOUT, 0);
	CHECK_EQ(sys_epoll_wait(ep, &e, 1, 0), 0);
	ipc_other(take_1);
	CHECK_EQ(wr(s[0], big, 10), 10);
	CHECK_EQ(sys_epoll_wait(ep, &e, 1, 0), mask(s[0]) & EPOLLOUT ? 1 : 0);
	fill(s[0]);
	take_1();
	CHECK_EQ(sys_epoll_wait(ep, &e, 1, 0), 1);
	fill(s[0]);
	set_size(s[1], SO_RCVBUF, 2000);
	ipc_other(grow_rcvbuf_1);
	CHECK_EQ(wr(s[0], big, 100), 100);
	fill(s[0]);
	if (type == SOCK_DGRAM) { /* poll hears of it, too */
		int twin[2] = {s[0], s[1]};
		pair(type);
		e = (struct epoll_event){EPOLLOUT | EPOLLET, 1};
		CHECK_EQ(sys_epoll_ctl(ep, EPOLL_CTL_ADD, s[0], &e), 0);
		fill(s[0]);
		CHECK_EQ(sys_epoll_wait(ep, &e, 1, 0), 0);
		close_1();
		CHECK_EQ(sys_epoll_wait(ep, &e, 1, 0), 1);
		memcpy(s, twin, sizeof s);
	}
	ipc_other(close_1); /* a blocked sender learns that the receiver went away */
	long r = wr(s[0], "x", 1);
	CHECK(type == SOCK_DGRAM ? r == -ECONNREFUSED : r == -ECONNRESET);
	close_all();
}

static void test_seqpacket(void)
{
	pair(SOCK_SEQPACKET);
	CHECK_EQ(wr(s[0], "one", 3), 3);
	CHECK_EQ(wr(s[0], "two", 3), 3);
	CHECK_EQ(rd(s[1], in, 9), 3);
	CHECK_EQ(rd(s[1], in, 1), 1);
	CHECK_EQ(sys_recvfrom(s[1], in, 9, MSG_DONTWAIT, NULL, NULL), -EAGAIN);
	ipc_other(close_1);
	CHECK_EQ(rd(s[0], in, 1), 0);
	CHECK_EQ(wr(s[0], "x", 1), -EPIPE);
	CHECK_EQ(mask(s[0]) & EPOLLHUP, EPOLLHUP);
	close_all();
}

static void test_errors(void)
{
	CHECK_EQ(sys_socket(17 /* AF_PACKET */, SOCK_RAW, 0), -EAFNOSUPPORT);
	CHECK_EQ(sys_socket(AF_UNIX, 4, 0), -ESOCKTNOSUPPORT);
	CHECK_EQ(sys_socket(AF_UNIX, SOCK_STREAM, 7), -EPROTONOSUPPORT);
	CHECK_EQ(sys_socket(AF_UNIX, SOCK_STREAM | 0x100, 0), -EINVAL);
	CHECK_EQ(sys_socketpair(AF_INET, SOCK_STREAM, 0, s), -EOPNOTSUPP);
	CHECK_EQ(sys_socketpair(AF_UNIX, SOCK_STREAM, 0, (int *)8), -EFAULT);
	pair(SOCK_STREAM);
	int fd = (int)sys_eventfd(0);
	CHECK_EQ(sys_listen(fd, 1), -ENOTSOCK);
	CHECK_EQ(sys_shutdown(99, 0), -EBADF);
	CHECK_EQ(sys_sendto(s[0], (void *)8, 1, 0, NULL, 0), -EFAULT);
	CHECK_EQ(sys_recvfrom(s[0], (void *)8, 1, 0, NULL, NULL), -EFAULT);
	int len = -1, v = 0;
	CHECK_EQ(sys_getsockname(s[0], in, &len), -EINVAL);
	CHECK_EQ(sys_getsockopt(s[0], SOL_SOCKET, SO_TYPE, &v, &len), -EINVAL);
	len = 2;
	CHECK_EQ(sys_getsockopt(s[0], SOL_SOCKET, SO_TYPE, &v, &len), 0);
	CHECK_EQ(len, 2);
	CHECK_EQ(v, SOCK_STREAM);
	CHECK_EQ(sys_setsockopt(s[0], SOL_SOCKET, 9999, &v, 4), -ENOPROTOOPT);
	CHECK_EQ(sys_setsockopt(s[0], 6, 1, &v, 4), -EOPNOTSUPP);
	v = 1000;
	CHECK_EQ(sys_setsockopt(s[0], SOL_SOCKET, SO_SNDBUF, &v, 4), 0);
	len = 4;
	CHECK_EQ(sys_getsockopt(s[0], SOL_SOCKET, SO_SNDBUF, &v, &len), 0);
	CHECK_EQ(v, 4608);
	struct iovec_k iov[2] = {{in, 1}, {(void *)8, 1}};
	struct msghdr_k m = {.iov = iov, .iovlen = 2};
	CHECK_EQ(sys_sendmsg(s[0], &m, 0), -EFAULT);
	m.iovlen = 2000;
	CHECK_EQ(sys_sendmsg(s[0], &m, 0), -EMSGSIZE);
	iov[0].len = ~0ull;
	m.iovlen = 1;
	CHECK_EQ(sys_sendmsg(s[0], &m, 0), -EINVAL);
	close_all();
}

int main(void)
{
	test_stream();
	test_stream_full();
	test_sndbuf();
	test_half_close();
	test_listen();
	test_accept_blocking();
	test_abstract();
	test_dgram();
	test_full_queue(SOCK_DGRAM);
	test_full_queue(SOCK_SEQPACKET);
	test_seqpacket();
	test_errors();
	return 0;
}
