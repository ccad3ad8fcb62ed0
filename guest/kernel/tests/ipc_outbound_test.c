/* ipc_outbound_test.c: connections and questions to other machines, the Runtime API and standard input, with a monitor
 * that the test plays. */
// link: ../ipc/*.c ../fs/file.c ipc_host.c
#include "ipc_inet.h"

#include "../hoststream.h"

#define FAR 0xc6336407u /* 198.51.100.7 */

/* One stream at a time; rings hold what is under way. */
static struct vsock {
	struct file *f;
	void (*changed)(struct file *f);
	bool open, accepted, reset, ended, shut, closed_by_reset;
	u32 room;
	u8 to_guest[8192], from_guest[8192];
	u32 to, from;
} m;
static void (*on_kick)(void); /* what the monitor does when it looks */
static u32 wanted = ABI_NET_PORT;
static char in[512];

struct vsock *host_stream_open(struct file *f, u32 port, void (*changed)(struct file *f))
{
	CHECK_EQ(port, wanted);
	CHECK(!m.open);
	m = (struct vsock){.f = f, .changed = changed, .open = true, .room = sizeof m.from_guest};
	return &m;
}
bool host_stream_accepted(const struct vsock *s) { return s->accepted && !s->reset; }
bool host_stream_reset(const struct vsock *s) { return s->reset; }
bool host_stream_ended(const struct vsock *s) { return s->ended || s->reset; }
u32 host_stream_waiting(const struct vsock *s) { return s->to; }
u32 host_stream_room(const struct vsock *s) { return s->accepted && !s->reset && !s->shut ? s->room : 0; }
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
	s->room -= n;
	return n;
}
void host_stream_shutdown(struct vsock *s) { s->shut = true; }
void host_stream_close(struct vsock *s, bool reset)
{
	s->open = false;
	s->closed_by_reset = reset;
}
void host_stream_announce(void) {}
void host_stream_kick(void)
{
	if (on_kick)
		on_kick();
}

/* ---- what the monitor does ------------------------------------------------------ */

static void tell(void)
{
	if (m.open)
		m.changed(m.f);
}
static void send(const void *p, u32 n)
{
	memcpy(m.to_guest + m.to, p, n);
	m.to += n;
	tell();
}
static void refuse(void)
{
	m.reset = true;
	tell();
}
static void take_request(int kind, u32 port)
{
	struct abi_net_request r;
	CHECK(m.from >= sizeof r);
	memcpy(&r, m.from_guest, sizeof r);
	m.from -= sizeof r;
	memmove(m.from_guest, m.from_guest + sizeof r, m.from);
	CHECK_EQ(r.kind, kind);
	CHECK_EQ(r.port, port);
}
static void status(u32 e)
{
	on_kick = NULL;
	m.accepted = true;
	tell();
	take_request(ABI_NET_KIND_STREAM, 443);
	send(&e, sizeof e);
}
static void connected(void) { status(0); }
static void forbidden(void) { status(EACCES); }
static void unreachable(void) { status(EHOSTUNREACH); }
static void more_room(void)
{
	m.from = 0;
	m.room = sizeof m.from_guest;
	tell();
}
static void say_hello(void) { send("hello", 5); }
static void end(void)
{
	m.ended = true;
	tell();
}

static int far_socket(void)
{
	int fd = (int)sys_socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in a = v4(FAR, 443);
	on_kick = connected;
	CHECK_EQ(sys_connect(fd, &a, sizeof a), 0);
	return fd;
}

/* ---- TCP -------------------------------------------------------------------------- */

static void test_connect(void)
{
	struct sockaddr_in a = v4(FAR, 443), name;
	int fd = far_socket(), len = sizeof name;
	CHECK_EQ(sys_getpeername(fd, &name, &len), 0);
	CHECK(!memcmp(&name, &a, sizeof a));
	CHECK_EQ(sys_getsockname(fd, &name, &len), 0);
	CHECK_EQ(name.sin_addr.s_addr, __builtin_bswap32(0xc0000002)); /* 192.0.0.2 */
	CHECK_EQ(sys_connect(fd, &a, sizeof a), -EISCONN);
	CHECK_EQ(mask(fd), EPOLLOUT);
	CHECK_EQ(wr(fd, "data", 4), 4);
	CHECK(m.from == 4 && !memcmp(m.from_guest, "data", 4));
	ipc_other(say_hello);
	CHECK_EQ(sys_recvfrom(fd, in, 3, MSG_PEEK, NULL, NULL), 3);
	CHECK_EQ(mask(fd), EPOLLIN | EPOLLOUT);
	CHECK_EQ(rd(fd, in, 9), 5);
	CHECK_EQ(sys_shutdown(fd, SHUT_WR), 0);
	CHECK(m.shut);
	CHECK_EQ(wr(fd, "x", 1), -EPIPE);
	say_hello();
	end();
	CHECK_EQ(mask(fd), EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLHUP);
	CHECK_EQ(rd(fd, in, 9), 5);
	CHECK_EQ(rd(fd, in, 9), 0);
	close_all();
	CHECK(!m.open && !m.closed_by_reset);
	far_socket();
	say_hello();
	close_all(); /* with unread data */
	CHECK(!m.open && m.closed_by_reset);
}

static void test_refusals(void)
{
	static const struct { void (*monitor)(void); long want; } cases[] = {
		{refuse, -ENETUNREACH}, {forbidden, -EACCES}, {unreachable, -EHOSTUNREACH},
	};
	struct sockaddr_in a = v4(FAR, 443), local = v4(0, 5000);
	for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
		int fd = (int)sys_socket(AF_INET, SOCK_STREAM, 0);
		on_kick = cases[i].monitor;
		CHECK_EQ(sys_connect(fd, &a, sizeof a), cases[i].want);
		CHECK(!m.open);
		CHECK_EQ(sys_bind(fd, &local, sizeof local), 0); /* nothing is left of the attempt */
		on_kick = connected;
		CHECK_EQ(sys_connect(fd, &a, sizeof a), 0);
		close_all();
	}
	on_kick = NULL;
	int fd = (int)sys_socket(AF_INET, SOCK_STREAM, 0);
	local = v4(LO, 5000);
	CHECK_EQ(sys_bind(fd, &local, sizeof local), 0);
	CHECK_EQ(sys_connect(fd, &a, sizeof a), -EINVAL); /* a loopback address leaves no machine */
	a = v4(LO, 53);
	on_kick = refuse;
	CHECK_EQ(sys_connect(fd, &a, sizeof a), -ECONNREFUSED);
	on_kick = NULL;
	close_all();
}

static void test_nonblocking(void)
{
	struct sockaddr_in a = v4(FAR, 443);
	for (int good = 0; good < 2; good++) {
		int fd = (int)sys_socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		CHECK_EQ(sys_connect(fd, &a, sizeof a), -EINPROGRESS);
		CHECK_EQ(sys_connect(fd, &a, sizeof a), -EALREADY);
		CHECK_EQ(mask(fd), 0);
		CHECK_EQ(rd(fd, in, 1), -EAGAIN);
		status(good ? 0 : ETIMEDOUT);
		CHECK_EQ(mask(fd), good ? EPOLLOUT : EPOLLOUT | EPOLLERR | EPOLLHUP);
		CHECK_EQ(option(fd, SOL_SOCKET, SO_ERROR), good ? 0 : ETIMEDOUT);
		close_all();
	}
	int fd = (int)sys_socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0); /* closed while it connects */
	CHECK_EQ(sys_connect(fd, &a, sizeof a), -EINPROGRESS);
	close_all();
	CHECK(!m.open && m.closed_by_reset);
}

static void test_backpressure(void)
{
	static char big[20000];
	int fd = far_socket();
	set_nonblock(fd, true);
	CHECK_EQ(wr(fd, big, sizeof big), sizeof m.from_guest - sizeof(struct abi_net_request));
	CHECK_EQ(wr(fd, big, 1), -EAGAIN);
	CHECK_EQ(mask(fd), 0);
	set_nonblock(fd, false);
	ipc_other(more_room);
	CHECK_EQ(wr(fd, big, 5000), 5000);
	refuse();
	CHECK_EQ(mask(fd), EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLHUP | EPOLLERR);
	CHECK_EQ(rd(fd, in, 1), -ECONNRESET);
	CHECK_EQ(rd(fd, in, 1), 0);
	CHECK_EQ(wr(fd, in, 1), -EPIPE);
	close_all();
}

/* ---- DNS --------------------------------------------------------------------------- */

static void answer(const char *text, u32 ip, u32 claim)
{
	struct abi_net_datagram d = {.port = 53, .bytes = (u16)claim, .addr = {[10] = 0xff, 0xff, (u8)(ip >> 24), (u8)(ip >> 16), (u8)(ip >> 8), (u8)ip}};
	memcpy(m.to_guest + m.to, &d, sizeof d);
	m.to += sizeof d;
	send(text, (u32)strlen(text));
}

static void test_dns(void)
{
	struct sockaddr_in a = v4(FAR, 53), from;
	int fd = (int)sys_socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0), len = sizeof from;
	CHECK_EQ(sys_sendto(fd, "one", 3, 0, &a, sizeof a), 3);
	CHECK_EQ(sys_sendto(fd, "two", 3, 0, &a, sizeof a), 3); /* both before the monitor has accepted */
	m.accepted = true;
	tell();
	take_request(ABI_NET_KIND_DATAGRAM, 0);
	CHECK_EQ(m.from, 2 * (sizeof(struct abi_net_datagram) + 3));
	answer("first", FAR, 5);
	answer("half", FAR, 8); /* in two pieces */
	CHECK_EQ(sys_recvfrom(fd, in, 9, 0, &from, &len), 5);
	CHECK(!memcmp(&from, &a, sizeof a));
	CHECK_EQ(rd(fd, in, 9), -EAGAIN);
	send("half", 4);
	CHECK_EQ(rd(fd, in, 9), 8);
	static char big[ABI_NET_DATAGRAM_BYTES + 1];
	CHECK_EQ(sys_sendto(fd, big, sizeof big, 0, &a, sizeof a), -EMSGSIZE);
	a = v4(FAR, 54); /* no other datagrams leave */
	CHECK_EQ(sys_sendto(fd, "x", 1, 0, &a, sizeof a), -ENETUNREACH);
	CHECK_EQ(sys_connect(fd, &a, sizeof a), -ENETUNREACH);
	a = v4(LO, 53);
	CHECK_EQ(sys_connect(fd, &a, sizeof a), 0);
	refuse(); /* idle: as after a restore, which nobody notices */
	CHECK_EQ(option(fd, SOL_SOCKET, SO_ERROR), 0);
	on_kick = refuse;
	CHECK_EQ(wr(fd, "x", 1), 1);
	CHECK_EQ(rd(fd, in, 1), -ECONNREFUSED);
	on_kick = NULL;
	CHECK_EQ(wr(fd, "x", 1), 1);
	answer("", LO, ABI_NET_DATAGRAM_BYTES + 1); /* no datagram is that long */
	CHECK(!m.open);
	close_all();
	on_kick = NULL;
	fd = (int)sys_socket(AF_INET, SOCK_DGRAM, 0); /* closed with a question under way */
	CHECK_EQ(sys_sendto(fd, "x", 1, 0, &a, sizeof a), 1);
	close_all();
	CHECK(!m.open);
}

/* ---- contracts with programs -------------------------------------------------------- */

static void accept_stream(void)
{
	on_kick = NULL;
	m.accepted = true;
	tell();
}

/* A TCP port of loopback that leads to one of the monitor's. */
static void test_served(u16 tcp, u32 port)
{
	struct sockaddr_in a = v4(LO, tcp), name;
	int fd = (int)sys_socket(AF_INET, SOCK_STREAM, 0), len = sizeof name;
	wanted = port;
	on_kick = accept_stream;
	CHECK_EQ(sys_connect(fd, &a, sizeof a), 0);
	CHECK_EQ(m.from, 0); /* the connection's from its first byte */
	CHECK_EQ(wr(fd, "GET", 3), 3);
	CHECK_EQ(m.from, 3);
	ipc_other(say_hello);
	CHECK_EQ(rd(fd, in, 9), 5);
	CHECK_EQ(sys_getpeername(fd, &name, &len), 0);
	CHECK(!memcmp(&name, &a, sizeof a));
	close_all();
	on_kick = refuse; /* whoever serves nothing */
	fd = (int)sys_socket(AF_INET, SOCK_STREAM, 0);
	CHECK_EQ(sys_connect(fd, &a, sizeof a), -ECONNREFUSED);
	wanted = ABI_NET_PORT; /* the same socket is none of the API's any more */
	struct sockaddr_in far = v4(FAR, 443);
	on_kick = connected;
	CHECK_EQ(sys_connect(fd, &far, sizeof far), 0);
	close_all();
	on_kick = NULL;
	int listener = (int)sys_socket(AF_INET, SOCK_STREAM, 0); /* who listens there in the guest is first */
	CHECK_EQ(sys_bind(listener, &a, sizeof a), 0);
	CHECK_EQ(sys_listen(listener, 1), 0);
	fd = (int)sys_socket(AF_INET, SOCK_STREAM, 0);
	CHECK_EQ(sys_connect(fd, &a, sizeof a), 0);
	CHECK(!m.open);
	close_all();
}

static void test_stdin(void)
{
	wanted = ABI_STDIN_PORT;
	file_init();
	CHECK_EQ(rd(0, in, 0), 0);
	CHECK(!m.open); /* nobody has asked */
	set_nonblock(0, true);
	on_kick = accept_stream;
	CHECK_EQ(rd(0, in, 9), -EAGAIN);
	CHECK(m.open);
	stdin_publish();
	CHECK_EQ(control->input, ABI_INPUT_OPEN);
	CHECK_EQ(mask(0), 0);
	set_nonblock(0, false);
	ipc_other(say_hello);
	CHECK_EQ(rd(0, in, 2), 2);
	CHECK_EQ(control->input, 2);
	stdin_publish();
	CHECK_EQ(control->input, ABI_INPUT_OPEN | 2);
	CHECK_EQ(mask(0), EPOLLIN);
	end();
	CHECK_EQ(rd(0, in, 9), 3);
	CHECK(!m.open);
	stdin_publish();
	CHECK_EQ(control->input, 5);
	CHECK_EQ(rd(0, in, 9), 0);
	CHECK_EQ(mask(0), EPOLLIN);
	close_all();
}

int main(void)
{
	test_connect();
	test_refusals();
	test_nonblocking();
	test_backpressure();
	test_dns();
	test_served(ABI_RUNTIME_API_TCP, ABI_RUNTIME_API_PORT);
	test_served(ABI_FUNCTION_API_TCP, ABI_FUNCTION_API_PORT);
	test_stdin();
	return 0;
}
