/* ipc_inbound_test.c: connections that the monitor opens to TCP ports, with a monitor that the test plays. */
// link: ../ipc/*.c ../fs/file.c ipc_host.c
#include "ipc_inet.h"

#include "../ipc/inbound.h"

#include <asm/poll.h>

#define PORT 8080

/* The streams that were ever offered. */
static struct vsock {
	struct file *f;
	void (*changed)(struct file *f);
	bool reset, ended, shut, closed, closed_by_reset;
	char to_guest[64], from_guest[64];
	u32 to, from;
} streams[64];
static u32 count;

struct vsock *host_stream_open(struct file *f, u32 port, void (*changed)(struct file *f)) { return (void)f, (void)port, (void)changed, NULL; }
bool host_stream_accepted(const struct vsock *s) { return !s->reset; }
bool host_stream_reset(const struct vsock *s) { return s->reset; }
bool host_stream_ended(const struct vsock *s) { return s->ended || s->reset; }
u32 host_stream_waiting(const struct vsock *s) { return s->to; }
u32 host_stream_room(const struct vsock *s) { return s->reset || s->shut ? 0 : (u32)sizeof s->from_guest - s->from; }
u32 host_stream_sending(const struct vsock *s) { return s->from; }
u32 host_stream_take(struct vsock *s, void *buf, u32 n, bool peek)
{
	n = MIN(n, s->to);
	memcpy(buf, s->to_guest, n);
	if (!peek) {
		s->to -= n;
		memmove(s->to_guest, s->to_guest + n, s->to);
	}
	return n;
}
u32 host_stream_put(struct vsock *s, const void *buf, u32 n)
{
	n = MIN(n, host_stream_room(s));
	memcpy(s->from_guest + s->from, buf, n);
	s->from += n;
	return n;
}
void host_stream_shutdown(struct vsock *s) { s->shut = true; }
void host_stream_close(struct vsock *s, bool reset)
{
	s->closed = true;
	s->closed_by_reset = reset;
}
void host_stream_announce(void) {}
void host_stream_kick(void) {}

/* Offers a connection: the stream, or NULL if nobody takes it. */
static struct vsock *dial(u16 port)
{
	struct vsock *s = &streams[count];
	*s = (struct vsock){0};
	s->f = host_stream_incoming(port, (u16)(40000 + count), s, &s->changed);
	if (!s->f)
		return NULL;
	count++;
	return s;
}
static void dial_port(void) { CHECK(dial(PORT)); }

static void send(struct vsock *s, const char *text)
{
	s->to = (u32)strlen(text);
	memcpy(s->to_guest, text, s->to);
	s->changed(s->f);
}

static int listen_at(int family, const void *addr, int len, int backlog, int v6only)
{
	int fd = (int)sys_socket(family, SOCK_STREAM, 0);
	if (v6only >= 0)
		CHECK_EQ(sys_setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, sizeof v6only), 0);
	CHECK_EQ(sys_bind(fd, addr, len), 0);
	CHECK_EQ(sys_listen(fd, backlog), 0);
	return fd;
}
static int listen4(u32 ip, int backlog)
{
	struct sockaddr_in a = v4(ip, PORT);
	return listen_at(AF_INET, &a, sizeof a, backlog, -1);
}
static int listen6(int last, int v6only)
{
	struct sockaddr_in6 a = v6(last, 0, PORT);
	return listen_at(AF_INET6, &a, sizeof a, 9, v6only);
}

static void published(u32 n, u32 flags, u32 queued)
{
	tcp_publish_listeners();
	CHECK_EQ(control->listener_count, n);
	if (!n)
		return;
	CHECK_EQ(control->listeners[0].port, PORT);
	CHECK_EQ(control->listeners[0].flags, flags);
	CHECK_EQ(control->listeners[0].queued, queued);
}

static void test_connection(void)
{
	char in[16];
	struct sockaddr_in name, lo = v4(LO, PORT);
	int len = sizeof name, l = listen4(0, 9);
	published(1, ABI_LISTENER_INBOUND, 0);
	ipc_other(dial_port); /* accept waits for it */
	int fd = (int)sys_accept4(l, &name, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
	CHECK(fd > l);
	struct vsock *s = &streams[count - 1];
	CHECK(name.sin_family == AF_INET && name.sin_addr.s_addr == lo.sin_addr.s_addr && name.sin_port == be16((int)(40000 + count - 1)));
	CHECK_EQ(sys_getsockname(fd, &name, &len), 0);
	CHECK(!memcmp(&name, &lo, sizeof lo));
	CHECK_EQ(mask(fd), EPOLLOUT);
	CHECK_EQ(rd(fd, in, sizeof in), -EAGAIN);
	send(s, "request");
	CHECK_EQ(mask(fd), EPOLLIN | EPOLLOUT);
	CHECK_EQ(rd(fd, in, sizeof in), 7);
	CHECK(!memcmp(in, "request", 7));
	s->ended = true; /* half-closed: the answer still goes out */
	s->changed(s->f);
	CHECK_EQ(mask(fd), EPOLLIN | EPOLLOUT | EPOLLRDHUP);
	CHECK_EQ(rd(fd, in, sizeof in), 0);
	CHECK_EQ(wr(fd, "answer", 6), 6);
	CHECK(s->from == 6 && !memcmp(s->from_guest, "answer", 6));
	CHECK_EQ(sys_shutdown(fd, SHUT_WR), 0);
	CHECK(s->shut && !s->closed);
	CHECK_EQ(fd_close(fd), 0);
	CHECK(s->closed && !s->closed_by_reset);
	close_all();
}

static void test_refused(void)
{
	CHECK(!dial(PORT)); /* nobody listens */
	published(0, 0, 0);
	int l = listen4(LO, 1);
	CHECK(!dial(PORT + 1));
	CHECK(dial(PORT) && dial(PORT)); /* Linux queues one more than the backlog */
	CHECK(!dial(PORT));
	published(1, ABI_LISTENER_INBOUND, 2);
	int fd = (int)sys_accept(l, NULL, NULL);
	CHECK(fd > l);
	struct vsock *third = dial(PORT);
	CHECK(third);
	CHECK_EQ(fd_close(l), 0);
	CHECK(third->closed && third->closed_by_reset); /* was not accepted */
	CHECK(!dial(PORT));
	published(0, 0, 0);
	close_all();
	l = listen4(0x7f000005, 9); /* 127.0.0.5 alone */
	CHECK(!dial(PORT));
	published(1, 0, 0);
	close_all();
	l = listen4(0, 9);
	CHECK_EQ(sys_shutdown(l, SHUT_RD), 0);
	CHECK(!dial(PORT));
	published(0, 0, 0);
	close_all();
}

static void test_v6(void)
{
	struct sockaddr_in6 name, mapped = v6(0, LO, PORT), lo = v6(1, 0, PORT);
	int len = sizeof name, l = listen6(0, 0);
	CHECK(dial(PORT));
	int fd = (int)sys_accept(l, &name, &len);
	CHECK(!memcmp(&name.sin6_addr, &mapped.sin6_addr, 16));
	CHECK_EQ(sys_getsockname(fd, &name, &len), 0);
	CHECK(!memcmp(&name, &mapped, sizeof name));
	close_all();
	l = listen6(1, -1); /* ::1 alone */
	published(1, ABI_LISTENER_INBOUND, 0);
	CHECK(dial(PORT));
	len = sizeof name;
	fd = (int)sys_accept(l, &name, &len);
	CHECK(!memcmp(&name.sin6_addr, &lo.sin6_addr, 16));
	close_all();
	l = listen6(0, 1);
	CHECK(dial(PORT));
	close_all();
}

static void test_reset(void)
{
	char in[4];
	int l = listen4(0, 9);
	struct vsock *s = dial(PORT), *gone = dial(PORT);
	gone->reset = true; /* the client has left before it was accepted */
	gone->changed(gone->f);
	int fd = (int)sys_accept(l, NULL, NULL);
	send(s, "abc");
	CHECK_EQ(fd_close(fd), 0); /* unread: RFC 2525 */
	CHECK(s->closed_by_reset);
	fd = (int)sys_accept(l, NULL, NULL);
	CHECK_EQ(rd(fd, in, 1), -ECONNRESET);
	close_all();
}

static int epfd;
static void waited(void) { published(1, ABI_LISTENER_INBOUND | ABI_LISTENER_WAITED, 0); }
static void not_waited(void) { published(1, ABI_LISTENER_INBOUND, 0); }

static void test_waited(void)
{
	struct epoll_event ev = {.events = EPOLLIN};
	int l = listen4(0, 9);
	struct pollfd p = {.fd = l, .events = POLLIN};
	not_waited();
	ipc_other(waited);
	CHECK_EQ(sys_poll(&p, 1, 1000), 0);
	ipc_other(waited);
	sys_accept(l, NULL, NULL);
	epfd = (int)sys_epoll_create1(0);
	int outer = (int)sys_epoll_create1(0);
	CHECK_EQ(sys_epoll_ctl(epfd, EPOLL_CTL_ADD, l, &ev), 0);
	not_waited(); /* in a set for which nobody waits */
	ipc_other(waited);
	CHECK_EQ(sys_epoll_wait(epfd, &ev, 1, 1000), 0);
	ev.events = EPOLLIN;
	CHECK_EQ(sys_epoll_ctl(outer, EPOLL_CTL_ADD, epfd, &ev), 0);
	ipc_other(waited);
	CHECK_EQ(sys_epoll_wait(outer, &ev, 1, 1000), 0);
	CHECK_EQ(sys_epoll_ctl(epfd, EPOLL_CTL_DEL, l, &ev), 0);
	ipc_other(not_waited);
	CHECK_EQ(sys_epoll_wait(outer, &ev, 1, 1000), 0);
	close_all();
}

static void test_many(void)
{
	struct sockaddr_in a;
	for (int i = 0; i < ABI_LISTENERS_MAX + 8; i++) {
		a = v4(0, 9000 + i);
		listen_at(AF_INET, &a, sizeof a, 1, -1);
	}
	tcp_publish_listeners();
	CHECK_EQ(control->listener_count, ABI_LISTENERS_MAX);
	close_all();
	listen4(0, 9);
	for (int i = 0; i < 3; i++) {
		host_fail_after = i; /* no memory: refused, and nothing is left */
		dial(PORT);
	}
	host_fail_after = -1;
	close_all();
}

int main(void)
{
	test_connection();
	test_refused();
	test_v6();
	test_reset();
	test_waited();
	test_many();
	return 0;
}
