/* ipc_tcp_test.c: loopback TCP over IPv4, IPv6 and mapped addresses. */
// link: ../ipc/*.c ../fs/file.c ipc_host.c
#include "ipc_inet.h"

#include <linux/tcp.h>

#define SIGPIPE 13
#define TCP(family) ((int)sys_socket(family, SOCK_STREAM, 0))

static char in[512], big[SOCK_BUF * 2];
static int listener, client, server;

static int listen_on(int port, int backlog)
{
	struct sockaddr_in a = v4(LO, port);
	int fd = TCP(AF_INET);
	CHECK_EQ(sys_bind(fd, &a, sizeof a), 0);
	CHECK_EQ(sys_listen(fd, backlog), 0);
	return fd;
}

static long connect4(int fd, u32 ip, int port)
{
	struct sockaddr_in a = v4(ip, port);
	return sys_connect(fd, &a, sizeof a);
}

static void connection(void)
{
	listener = listen_on(80, 5);
	client = TCP(AF_INET);
	CHECK_EQ(connect4(client, LO, 80), 0);
	server = (int)sys_accept(listener, NULL, NULL);
	CHECK(server >= 0);
}

static void send_x(void) { CHECK_EQ(wr(server, "x", 1), 1); }
static void accept_one(void) { server = (int)sys_accept(listener, NULL, NULL); CHECK(server >= 0); }
static void close_listener(void) { CHECK_EQ(fd_close(listener), 0); }
static void grow_backlog(void) { CHECK_EQ(sys_listen(listener, 5), 0); }
static void drain(void) { CHECK(rd(server, big, sizeof big) > 0); }

static void test_names(void)
{
	connection();
	struct sockaddr_in a, b;
	int len = sizeof a;
	CHECK_EQ(sys_getsockname(client, &a, &len), 0);
	CHECK_EQ(len, 16);
	CHECK_EQ(a.sin_addr.s_addr, __builtin_bswap32(LO));
	CHECK(__builtin_bswap16(a.sin_port) >= 32768);
	CHECK_EQ(sys_getpeername(server, &b, &len), 0);
	CHECK(!memcmp(&a, &b, 16));
	CHECK_EQ(sys_getpeername(client, &b, &len), 0);
	CHECK_EQ(b.sin_port, be16(80));
	CHECK_EQ(sys_getpeername(listener, &b, &len), -ENOTCONN);
	CHECK_EQ(connect4(client, LO, 80), -EISCONN);
	CHECK_EQ(option(listener, SOL_SOCKET, SO_ACCEPTCONN), 1);
	CHECK_EQ(option(client, SOL_SOCKET, SO_PROTOCOL), IPPROTO_TCP);
	close_all();
}

static void test_data(void)
{
	connection();
	CHECK_EQ(mask(client), EPOLLOUT);
	CHECK_EQ(wr(client, "ping", 4), 4);
	CHECK_EQ(mask(server), EPOLLIN | EPOLLOUT);
	CHECK_EQ(sys_recvfrom(server, in, 9, MSG_PEEK, NULL, NULL), 4);
	CHECK_EQ(rd(server, in, 9), 4);
	ipc_other(send_x);
	ipc_other(send_x);
	CHECK_EQ(sys_recvfrom(client, in, 2, MSG_WAITALL, NULL, NULL), 2);
	CHECK_EQ(sys_recvfrom(client, in, 2, MSG_DONTWAIT, NULL, NULL), -EAGAIN);
	CHECK_EQ(sys_recvfrom(client, in, 2, MSG_OOB, NULL, NULL), -EINVAL);
	CHECK_EQ(sys_sendto(client, "u", 1, MSG_OOB, NULL, 0), -EOPNOTSUPP);
	struct __kernel_old_timeval tv = {0, 1000};
	CHECK_EQ(sys_setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv), 0);
	u64 start = host_mono_ns;
	CHECK_EQ(rd(client, in, 1), -EAGAIN);
	CHECK_EQ(host_mono_ns - start, 1000000);
	CHECK_EQ(sys_sendto(client, big, sizeof big, MSG_DONTWAIT, NULL, 0), SOCK_BUF);
	ipc_other(drain);
	CHECK_EQ(wr(client, big, 5000), 5000);
	CHECK_EQ(rd(server, big, sizeof big), 5000);
	close_all();
}

static void test_half_close(void)
{
	connection();
	CHECK_EQ(wr(client, "end", 3), 3);
	CHECK_EQ(sys_shutdown(client, SHUT_WR), 0);
	CHECK_EQ(wr(client, "x", 1), -EPIPE);
	CHECK_EQ(mask(server), EPOLLIN | EPOLLOUT | EPOLLRDHUP);
	CHECK_EQ(rd(server, in, 9), 3);
	CHECK_EQ(rd(server, in, 9), 0);
	CHECK_EQ(wr(server, "answer", 6), 6);
	CHECK_EQ(rd(client, in, 9), 6);
	CHECK_EQ(fd_close(server), 0);
	CHECK_EQ(rd(client, in, 9), 0);
	CHECK_EQ(mask(client) & EPOLLHUP, EPOLLHUP);
	close_all();
}

static void test_reset(void)
{
	connection(); /* close with unread data resets */
	CHECK_EQ(wr(client, "unread", 6), 6);
	CHECK_EQ(wr(server, "tail", 4), 4);
	CHECK_EQ(fd_close(server), 0);
	CHECK_EQ(mask(client), EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLERR | EPOLLHUP);
	CHECK_EQ(rd(client, in, 9), 4); /* what came before is still read */
	CHECK_EQ(rd(client, in, 9), -ECONNRESET);
	CHECK_EQ(rd(client, in, 9), 0);
	close_all();

	connection(); /* close in order: the first write is lost, the second fails */
	CHECK_EQ(fd_close(server), 0);
	CHECK_EQ(mask(client), EPOLLIN | EPOLLOUT | EPOLLRDHUP);
	CHECK_EQ(rd(client, in, 9), 0);
	CHECK_EQ(wr(client, "lost", 4), 4);
	host_last_signal = 0;
	CHECK_EQ(wr(client, "x", 1), -EPIPE);
	CHECK_EQ(host_last_signal, SIGPIPE);
	CHECK_EQ(rd(client, in, 9), 0);
	close_all();

	connection(); /* SO_LINGER 0 resets */
	int linger[2] = {1, 0};
	CHECK_EQ(sys_setsockopt(server, SOL_SOCKET, SO_LINGER, linger, sizeof linger), 0);
	CHECK_EQ(fd_close(server), 0);
	CHECK_EQ(option(client, SOL_SOCKET, SO_ERROR), ECONNRESET);
	CHECK_EQ(option(client, SOL_SOCKET, SO_ERROR), 0);
	close_all();
}

static void test_connect_errors(void)
{
	client = TCP(AF_INET);
	CHECK_EQ(mask(client), EPOLLOUT | EPOLLHUP);
	CHECK_EQ(connect4(client, LO, 81), -ECONNREFUSED);
	CHECK_EQ(connect4(client, 0x08080808, 53), -ENETUNREACH);
	CHECK_EQ(rd(client, in, 1), -ENOTCONN);
	CHECK_EQ(wr(client, "x", 1), -EPIPE);
	CHECK_EQ(sys_shutdown(client, SHUT_WR), -ENOTCONN);
	struct sockaddr_in a = v4(LO, 81);
	CHECK_EQ(sys_connect(client, &a, 8), -EINVAL);
	CHECK_EQ(sys_connect(client, &a, 1), -EINVAL);
	a.sin_family = AF_UNIX;
	CHECK_EQ(sys_connect(client, &a, sizeof a), -EAFNOSUPPORT);
	a = v4(0x0a000001, 81);
	CHECK_EQ(sys_bind(client, &a, sizeof a), -EADDRNOTAVAIL);
	CHECK_EQ(sys_socket(AF_INET, SOCK_RAW, 1), -ESOCKTNOSUPPORT);
	CHECK_EQ(sys_socket(AF_INET, SOCK_STREAM, 262 /* MPTCP */), -EPROTONOSUPPORT);
	CHECK_EQ(sys_socket(AF_INET, SOCK_DGRAM, 1), -EPROTONOSUPPORT);
	close_all();
}

static void test_bind(void)
{
	listener = listen_on(80, 5);
	struct sockaddr_in a = v4(LO, 80), any = v4(0, 80), other = v4(LO + 1, 80);
	int fd = TCP(AF_INET), on = 1;
	CHECK_EQ(sys_bind(fd, &a, sizeof a), -EADDRINUSE);
	CHECK_EQ(sys_bind(fd, &any, sizeof any), -EADDRINUSE);
	CHECK_EQ(sys_setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, 4), 0);
	CHECK_EQ(sys_setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, 4), 0);
	CHECK_EQ(sys_bind(fd, &a, sizeof a), -EADDRINUSE); /* somebody listens */
	CHECK_EQ(sys_bind(fd, &other, sizeof other), 0);   /* 127.0.0.2 is another address */
	CHECK_EQ(sys_listen(fd, 1), 0);
	client = TCP(AF_INET);
	CHECK_EQ(connect4(client, LO + 1, 80), 0);
	CHECK_EQ(mask(fd), EPOLLIN);
	CHECK_EQ(mask(listener), 0);

	int x = TCP(AF_INET), y = TCP(AF_INET);
	a = v4(LO, 90);
	CHECK_EQ(sys_setsockopt(x, SOL_SOCKET, SO_REUSEPORT, &on, 4), 0);
	CHECK_EQ(sys_bind(x, &a, sizeof a), 0);
	CHECK_EQ(sys_bind(y, &a, sizeof a), -EADDRINUSE);
	CHECK_EQ(sys_setsockopt(y, SOL_SOCKET, SO_REUSEPORT, &on, 4), 0);
	CHECK_EQ(sys_bind(y, &a, sizeof a), 0);
	CHECK_EQ(sys_listen(x, 5) | sys_listen(y, 5), 0);
	for (int i = 0; i < 2; i++) /* shared out */
		CHECK_EQ(connect4(TCP(AF_INET), LO, 90), 0);
	CHECK_EQ(mask(x) & mask(y), EPOLLIN);

	int p = TCP(AF_INET), q = TCP(AF_INET), len = sizeof a;
	CHECK_EQ(sys_listen(p, 1), 0); /* binds an ephemeral port */
	CHECK_EQ(sys_getsockname(p, &a, &len), 0);
	CHECK(a.sin_port != 0);
	CHECK_EQ(connect4(q, 0, __builtin_bswap16(a.sin_port)), 0); /* 0.0.0.0: this host */
	close_all();
	listener = listen_on(80, 5); /* free again */
	close_all();
}

static void test_two_listeners(void)
{
	/* SO_REUSEADDR lets both bind, but only one listen. */
	struct sockaddr_in any = v4(0, 85), one = v4(LO, 85);
	int x = TCP(AF_INET), y = TCP(AF_INET), on = 1;
	CHECK_EQ(sys_setsockopt(x, SOL_SOCKET, SO_REUSEADDR, &on, 4), 0);
	CHECK_EQ(sys_setsockopt(y, SOL_SOCKET, SO_REUSEADDR, &on, 4), 0);
	CHECK_EQ(sys_bind(x, &one, sizeof one), 0);
	CHECK_EQ(sys_bind(y, &any, sizeof any), 0);
	CHECK_EQ(sys_listen(x, 1), 0);
	CHECK_EQ(sys_listen(y, 1), -EADDRINUSE);
	close_all();
}

static void test_backlog(void)
{
	listener = listen_on(80, 0);
	int a = TCP(AF_INET), b = (int)sys_socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), c = TCP(AF_INET);
	CHECK_EQ(connect4(a, LO, 80), 0);
	CHECK_EQ(connect4(b, LO, 80), -EINPROGRESS);
	CHECK_EQ(connect4(b, LO, 80), -EALREADY);
	CHECK_EQ(mask(b), 0);
	CHECK_EQ(rd(b, in, 1), -EAGAIN);
	CHECK_EQ(sys_accept(listener, NULL, NULL) >= 0, 1);
	CHECK_EQ(mask(b), EPOLLOUT);
	CHECK_EQ(option(b, SOL_SOCKET, SO_ERROR), 0);
	CHECK_EQ(connect4(b, LO, 80), 0); /* tells the end once, as on Linux */
	CHECK_EQ(connect4(b, LO, 80), -EISCONN);
	/* Without a listener: the refusal comes behind the call, and the socket can listen. */
	int r = (int)sys_socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	CHECK_EQ(connect4(r, LO, 81), -EINPROGRESS);
	CHECK_EQ(connect4(r, LO, 81), -ECONNREFUSED);
	CHECK_EQ(connect4(r, LO, 81), -EINPROGRESS);
	CHECK_EQ(sys_listen(r, 1), 0);
	CHECK_EQ(sys_accept(r, NULL, NULL), -EAGAIN);
	CHECK_EQ(fd_close(r), 0);
	ipc_other(accept_one);
	CHECK_EQ(connect4(c, LO, 80), 0);
	ipc_other(grow_backlog);
	CHECK_EQ(connect4(TCP(AF_INET), LO, 80), 0);
	CHECK_EQ(sys_listen(listener, 0), 0);
	int d = (int)sys_socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), e = TCP(AF_INET);
	CHECK_EQ(connect4(d, LO, 80), -EINPROGRESS);
	ipc_other(close_listener);
	CHECK_EQ(connect4(e, LO, 80), -ECONNREFUSED);
	CHECK_EQ(mask(d) & EPOLLERR, EPOLLERR);
	CHECK_EQ(option(d, SOL_SOCKET, SO_ERROR), ECONNREFUSED);
	CHECK_EQ(rd(c, in, 1), -ECONNRESET); /* in the queue when the listener went */
	int f = (int)sys_socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	listener = listen_on(80, 0);
	CHECK_EQ(connect4(TCP(AF_INET), LO, 80), 0);
	CHECK_EQ(connect4(f, LO, 80), -EINPROGRESS);
	CHECK_EQ(fd_close(f), 0); /* gives up while it waits */
	CHECK_EQ(sys_accept(listener, NULL, NULL) >= 0, 1);
	set_nonblock(listener, true);
	CHECK_EQ(sys_accept(listener, NULL, NULL), -EAGAIN);
	close_all();
}

static void test_v6(void)
{
	struct sockaddr_in6 any = v6(0, 0, 80), lo = v6(1, 0, 80), mapped = v6(0, LO, 80), a;
	listener = TCP(AF_INET6);
	int len = sizeof a, on = 1;
	CHECK_EQ(sys_bind(listener, &any, sizeof any), 0);
	CHECK_EQ(sys_listen(listener, 5), 0);
	client = TCP(AF_INET6);
	CHECK_EQ(sys_connect(client, &lo, sizeof lo), 0);
	server = (int)sys_accept(listener, &a, &len);
	CHECK_EQ(len, 28);
	CHECK_EQ(a.sin6_addr.s6_addr[15], 1);
	client = TCP(AF_INET); /* an IPv4 client reaches a dual-stack listener */
	CHECK_EQ(connect4(client, LO, 80), 0);
	len = sizeof a;
	server = (int)sys_accept(listener, &a, &len);
	struct sockaddr_in6 want = v6(0, LO, __builtin_bswap16(a.sin6_port));
	CHECK(!memcmp(a.sin6_addr.s6_addr, want.sin6_addr.s6_addr, 16));
	client = TCP(AF_INET6);
	CHECK_EQ(sys_connect(client, &mapped, sizeof mapped), 0);
	int v4sock = TCP(AF_INET);
	struct sockaddr_in one = v4(LO, 80);
	CHECK_EQ(sys_bind(v4sock, &one, sizeof one), -EADDRINUSE);
	close_all();

	listener = TCP(AF_INET6);
	CHECK_EQ(sys_setsockopt(listener, IPPROTO_IPV6, IPV6_V6ONLY, &on, 4), 0);
	CHECK_EQ(sys_bind(listener, &any, sizeof any), 0);
	CHECK_EQ(sys_listen(listener, 5), 0);
	CHECK_EQ(sys_setsockopt(listener, IPPROTO_IPV6, IPV6_V6ONLY, &on, 4), -EINVAL); /* bound */
	client = TCP(AF_INET);
	CHECK_EQ(connect4(client, LO, 80), -ECONNREFUSED);
	v4sock = TCP(AF_INET);
	CHECK_EQ(sys_bind(v4sock, &one, sizeof one), 0);
	client = TCP(AF_INET6);
	CHECK_EQ(sys_setsockopt(client, IPPROTO_IPV6, IPV6_V6ONLY, &on, 4), 0);
	CHECK_EQ(sys_connect(client, &mapped, sizeof mapped), -ENETUNREACH);
	struct sockaddr_in6 far = v6(0x77, 0, 80);
	far.sin6_addr.s6_addr[0] = 0x20;
	CHECK_EQ(sys_connect(client, &far, sizeof far), -ENETUNREACH);
	CHECK_EQ(sys_connect(client, &lo, 16), -EINVAL);
	close_all();
}

static void test_options(void)
{
	connection();
	int on = 1, keep = 30, bad = 0;
	CHECK_EQ(option(client, IPPROTO_TCP, TCP_NODELAY), 0);
	CHECK_EQ(sys_setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, 4), 0);
	CHECK_EQ(option(client, IPPROTO_TCP, TCP_NODELAY), 1);
	CHECK_EQ(sys_setsockopt(client, IPPROTO_TCP, TCP_KEEPIDLE, &keep, 4), 0);
	CHECK_EQ(option(client, IPPROTO_TCP, TCP_KEEPIDLE), 30);
	CHECK_EQ(sys_setsockopt(client, IPPROTO_TCP, TCP_KEEPIDLE, &bad, 4), -EINVAL);
	CHECK_EQ(sys_setsockopt(client, IPPROTO_TCP, 999, &on, 4), -ENOPROTOOPT);
	CHECK_EQ(sys_setsockopt(client, SOL_SOCKET, SO_KEEPALIVE, &on, 4), 0);
	CHECK_EQ(option(client, SOL_SOCKET, SO_KEEPALIVE), 1);
	CHECK_EQ(sys_setsockopt(client, SOL_SOCKET, SO_KEEPALIVE, &on, 2), -EINVAL);
	CHECK_EQ(sys_setsockopt(client, SOL_SOCKET, SO_ERROR, &on, 4), -ENOPROTOOPT);
	close_all();
}

static void test_stop_listening(void)
{
	listener = listen_on(80, 5);
	CHECK_EQ(sys_shutdown(listener, SHUT_RD), 0);
	CHECK_EQ(sys_accept(listener, NULL, NULL), -EINVAL);
	CHECK_EQ(mask(listener), EPOLLOUT | EPOLLHUP);
	client = TCP(AF_INET);
	CHECK_EQ(connect4(client, LO, 80), -ECONNREFUSED);
	close_all();

	connection(); /* connect to AF_UNSPEC ends a connection; the socket can be used again */
	struct sockaddr_k none = {.family = AF_UNSPEC};
	CHECK_EQ(sys_connect(client, &none, sizeof none), 0);
	CHECK_EQ(rd(server, in, 1), 0);
	CHECK_EQ(connect4(client, LO, 80), 0);
	close_all();
}

int main(void)
{
	test_names();
	test_data();
	test_half_close();
	test_reset();
	test_connect_errors();
	test_bind();
	test_two_listeners();
	test_backlog();
	test_v6();
	test_options();
	test_stop_listening();
	return 0;
}
