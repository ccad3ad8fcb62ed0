/* sockets.c: AF_UNIX pairs and names, TCP and UDP on loopback, IPv4 and IPv6. */
#include "abi.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

static void arguments(void)
{
	R(socket(999, SOCK_STREAM, 0));
	R(socket(AF_INET, 99, 0));
	R(socket(AF_INET, SOCK_STREAM, 99));
	R(socket(AF_UNIX, SOCK_STREAM, 5));
	int sv[2];
	R(socketpair(AF_INET, SOCK_STREAM, 0, sv));
	R(socketpair(AF_UNIX, SOCK_STREAM, 0, (int *)8));
	int s = socket(AF_INET, SOCK_STREAM, 0), v;
	socklen_t n = 4;
	R(getsockopt(s, SOL_SOCKET, 9999, &v, &n));
	R(getsockopt(s, SOL_SOCKET, SO_TYPE, &v, &n));
	R(v);
	v = 1;
	R(setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &v, 1));
	R(setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &v, 4));
	R(setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &v, 4));
	R(setsockopt(0, SOL_SOCKET, SO_REUSEADDR, &v, 4));
	R(setsockopt(99, SOL_SOCKET, SO_REUSEADDR, &v, 4));
	R(accept(s, NULL, NULL));
	R(shutdown(s, SHUT_RD));
	R(shutdown(s, 9));
	R(send(s, "x", 1, MSG_NOSIGNAL));
	struct sockaddr_in a = {.sin_family = AF_INET};
	R(bind(s, (void *)&a, 3));
	R(getpeername(s, (void *)&a, &(socklen_t){sizeof a}));
	a = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x08080808)};
	R(bind(s, (void *)&a, sizeof a));
	R(bind(1, (void *)&a, sizeof a));
}

static void pairs(int type)
{
	int sv[2];
	char b[16] = "";
	R(socketpair(AF_UNIX, type | SOCK_NONBLOCK, 0, sv));
	R(send(sv[0], "hello", 5, 0));
	R(send(sv[0], "wor", 3, 0));
	R(recv(sv[1], b, 2, MSG_PEEK));
	R(recv(sv[1], b, 4, MSG_TRUNC));
	R(recv(sv[1], b, 16, 0));
	R(recv(sv[1], b, 16, 0));
	char control[CMSG_SPACE(sizeof(int))];
	struct iovec v = {"f", 1};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	*c = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))};
	int fd = eventfd(7, 0);
	memcpy(CMSG_DATA(c), &fd, sizeof fd);
	R(sendmsg(sv[0], &m, 0));
	v.iov_base = b;
	memset(control, 0, sizeof control);
	R(recvmsg(sv[1], &m, MSG_CMSG_CLOEXEC));
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof fd);
	R(fcntl(fd, F_GETFD));
	uint64_t value;
	R(read(fd, &value, 8));
	R((long)value);
	R(shutdown(sv[0], SHUT_WR));
	R(recv(sv[1], b, 16, 0));
	R(send(sv[0], "x", 1, MSG_NOSIGNAL));
	R(close(sv[0]));
	R(send(sv[1], "x", 1, MSG_NOSIGNAL));
	R(close(sv[1]));
}

static void named(void)
{
	struct sockaddr_un a = {AF_UNIX, "/tmp/abi-socket"};
	unlink(a.sun_path);
	int l = socket(AF_UNIX, SOCK_STREAM, 0), c = socket(AF_UNIX, SOCK_STREAM, 0), s;
	R(connect(c, (void *)&a, sizeof a));
	R(bind(l, (void *)&a, sizeof a));
	R(bind(c, (void *)&a, sizeof a));
	R(connect(c, (void *)&a, sizeof a));
	R(listen(l, 5));
	R(connect(c, (void *)&a, sizeof a));
	R(connect(c, (void *)&a, sizeof a));
	R((s = accept(l, NULL, NULL)) >= 0);
	R(write(c, "ping", 4));
	char b[8];
	R(read(s, b, 8));
	R(unlink(a.sun_path));
	struct sockaddr_un n;
	socklen_t len = sizeof n;
	R(getpeername(c, (void *)&n, &len));
	R(strcmp(n.sun_path, a.sun_path) + (long)len);
	R(close(l));
	R(connect(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&a, sizeof a));
}

static void tcp(int family, int nonblock)
{
	union { struct sockaddr_in v4; struct sockaddr_in6 v6; } a = {0}, peer;
	socklen_t n = sizeof a;
	if (family == AF_INET)
		a.v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	else
		a.v6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	int l = socket(family, SOCK_STREAM, 0), c = socket(family, SOCK_STREAM | nonblock, 0), s, err;
	R(bind(l, (void *)&a, n));
	R(getsockname(l, (void *)&a, &n));
	R(connect(c, (void *)&a, n));
	socklen_t four = 4;
	R(getsockopt(c, SOL_SOCKET, SO_ERROR, &err, &four));
	R(err);
	close(c);
	c = socket(family, SOCK_STREAM | nonblock, 0);
	R(listen(l, 5));
	R(connect(c, (void *)&a, n));
	R(connect(c, (void *)&a, n));
	R(connect(c, (void *)&a, n));
	struct pollfd f = {c, POLLOUT | POLLIN, 0};
	R(poll(&f, 1, 1000));
	R(f.revents);
	n = sizeof peer;
	R((s = accept4(l, (void *)&peer, &n, SOCK_CLOEXEC)) >= 0);
	R(n);
	R(fcntl(s, F_GETFD));
	R(send(c, "hello", 5, 0));
	char b[16];
	R(recv(s, b, 16, 0));
	R(recv(s, b, 16, MSG_DONTWAIT));
	R(send(s, "bye", 3, 0));
	R(shutdown(s, SHUT_WR));
	f.fd = c, f.events = POLLIN | POLLRDHUP;
	R(poll(&f, 1, 1000));
	R(f.revents);
	R(recv(c, b, 2, MSG_WAITALL));
	R(recv(c, b, 16, 0));
	R(recv(c, b, 16, 0));
	R(send(c, "unread", 6, 0));
	R(close(s)); /* with data unread: a reset */
	usleep(10000);
	R(recv(c, b, 16, 0) <= 0);
	R(send(c, "x", 1, MSG_NOSIGNAL));
	R(getpeername(c, (void *)&peer, &n));
	R(close(c));
	R(close(l));
}

static void udp(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}, from;
	socklen_t n = sizeof a;
	int x = socket(AF_INET, SOCK_DGRAM, 0), y = socket(AF_INET, SOCK_DGRAM, 0);
	char b[16];
	R(bind(x, (void *)&a, n));
	R(getsockname(x, (void *)&a, &n));
	R(send(y, "x", 1, 0));
	R(sendto(y, "datagram", 8, 0, (void *)&a, n));
	R(recvfrom(x, b, 4, MSG_TRUNC, (void *)&from, &n));
	R(recv(x, b, 4, MSG_DONTWAIT));
	R(connect(y, (void *)&a, n));
	R(send(y, "", 0, 0));
	R(recv(x, b, 4, 0));
	R(listen(x, 1));
	R(accept(x, NULL, NULL));
	static char big[70000];
	R(send(y, big, sizeof big, 0));
}

/* Prints the control messages of a datagram. */
static void control(int s, size_t room)
{
	union { char b[256]; struct cmsghdr align; } u;
	char b[8];
	struct iovec v = {b, sizeof b};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = &u, .msg_controllen = room};
	R(recvmsg(s, &m, 0));
	R(m.msg_controllen);
	R(m.msg_flags);
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
		R(c->cmsg_level);
		R(c->cmsg_type);
		R(c->cmsg_len);
		int value = 0;
		memcpy(&value, CMSG_DATA(c), c->cmsg_len - CMSG_LEN(0) < 4 ? c->cmsg_len - CMSG_LEN(0) : 4);
		R(value);
	}
}

static void send_control(int s, int level, int type, int value, size_t bytes)
{
	union { char b[CMSG_SPACE(sizeof(int))]; struct cmsghdr align; } u = {.align = {CMSG_LEN(bytes), level, type}};
	struct iovec v = {"c", 1};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = &u, .msg_controllen = sizeof u};
	memcpy(CMSG_DATA(&u.align), &value, bytes);
	R(sendmsg(s, &m, 0));
}

/* Header fields: options, and control messages in both directions. */
static void header(int family)
{
	union { struct sockaddr_in v4; struct sockaddr_in6 v6; } a = {0};
	socklen_t n = sizeof a;
	if (family == AF_INET)
		a.v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	else
		a.v6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	const struct { int level, ttl, tos, recv_ttl, recv_tos, cmsg_ttl; } names[] = {
		{IPPROTO_IP, IP_TTL, IP_TOS, IP_RECVTTL, IP_RECVTOS, IP_TTL},
		{IPPROTO_IPV6, IPV6_UNICAST_HOPS, IPV6_TCLASS, IPV6_RECVHOPLIMIT, IPV6_RECVTCLASS, IPV6_HOPLIMIT},
	}, *o = &names[family == AF_INET6];
	int x = socket(family, SOCK_DGRAM, 0), y = socket(family, SOCK_DGRAM, 0), v;
	R(bind(x, (void *)&a, n));
	R(getsockname(x, (void *)&a, &n));
	R(connect(y, (void *)&a, n));
	n = sizeof v;
	const int opts[] = {o->ttl, o->tos, o->recv_ttl, o->recv_tos}, values[] = {-2, -1, 0, 1, 7, 255, 256};
	for (int i = 0; i < 4; i++) {
		R(getsockopt(y, o->level, opts[i], &v, &n));
		R(v);
		for (int k = 0; k < 7; k++) {
			if (family == AF_INET && opts[i] == IP_TOS && values[k] != 7 && values[k] != 0)
				continue;
			R(setsockopt(y, o->level, opts[i], &values[k], sizeof v));
			R(getsockopt(y, o->level, opts[i], &v, &n));
			R(v);
		}
		v = -1;
		R(setsockopt(y, o->level, opts[i], &v, sizeof v));
	}
	v = 1;
	R(send(y, "a", 1, 0));
	control(x, 256);
	R(setsockopt(x, o->level, o->recv_ttl, &v, sizeof v));
	R(send(y, "b", 1, 0));
	control(x, 256);
	R(setsockopt(x, o->level, o->recv_tos, &v, sizeof v));
	send_control(y, o->level, o->cmsg_ttl, 17, 4);
	control(x, 256);
	send_control(y, o->level, o->tos, 32, 4);
	control(x, CMSG_SPACE(sizeof v) + 8);
	send_control(y, o->level, o->tos, 32, 2);
	send_control(y, o->level, o->cmsg_ttl, 256, 4);
	send_control(y, o->level, 9999, 1, 4);
	for (size_t room = 0; room < 24; room += 5) {
		R(send(y, "c", 1, 0));
		control(x, room);
	}
}

static void bound_twice(void)
{
	struct sockaddr_un a = {AF_UNIX, "/tmp/abi-bound"}, b = {AF_UNIX, "/tmp/abi-bound2"}, name = {AF_UNIX, "\0abi-bound"};
	unlink(a.sun_path), unlink(b.sun_path);
	int s = socket(AF_UNIX, SOCK_STREAM, 0), t = socket(AF_UNIX, SOCK_STREAM, 0);
	R(bind(s, (void *)&a, sizeof a));
	R(bind(s, (void *)&a, sizeof a));
	R(bind(s, (void *)&b, sizeof b));
	R(access(b.sun_path, F_OK));
	R(bind(s, (void *)&name, sizeof name));
	R(bind(s, (void *)&a, sizeof(sa_family_t)));
	R(bind(t, (void *)&a, sizeof a));
	R(bind(t, (void *)&name, sizeof name));
	R(bind(t, (void *)&name, sizeof name));
	R(unlink(a.sun_path));
	R(close(s));
	R(close(t));
}

int main(void)
{
	bound_twice();
	arguments(), pairs(SOCK_STREAM), pairs(SOCK_DGRAM), pairs(SOCK_SEQPACKET), named();
	tcp(AF_INET, 0), tcp(AF_INET, SOCK_NONBLOCK), tcp(AF_INET6, 0), udp();
	header(AF_INET), header(AF_INET6);
	return 0;
}
