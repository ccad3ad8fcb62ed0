/* ipc_udp_test.c: loopback UDP over IPv4, IPv6 and mapped addresses. */
// link: ../ipc/*.c ../fs/file.c ipc_host.c
#include "ipc_inet.h"

#define UDP(family) ((int)sys_socket(family, SOCK_DGRAM, 0))

static char in[512], big[1 << 17];
static int client, server;

static void send_udp(void)
{
	struct sockaddr_in a = v4(LO, 53);
	CHECK_EQ(sys_sendto(client, "late", 4, 0, &a, sizeof a), 4);
}

static void test_udp(void)
{
	struct sockaddr_in a = v4(0, 53), from;
	int len = sizeof from;
	server = UDP(AF_INET);
	client = UDP(AF_INET);
	CHECK_EQ(sys_bind(server, &a, sizeof a), 0);
	CHECK_EQ(wr(client, "x", 1), -EDESTADDRREQ);
	a = v4(LO + 5, 53);
	CHECK_EQ(sys_sendto(client, "hello", 5, 0, &a, sizeof a), 5);
	CHECK_EQ(mask(server), EPOLLIN | EPOLLOUT);
	CHECK_EQ(sys_recvfrom(server, in, 3, MSG_PEEK | MSG_TRUNC, NULL, NULL), 5);
	CHECK_EQ(sys_recvfrom(server, in, 9, 0, &from, &len), 5);
	CHECK_EQ(len, 16);
	CHECK_EQ(sys_sendto(server, "back", 4, 0, &from, sizeof from), 4);
	CHECK_EQ(rd(client, in, 9), 4);
	ipc_other(send_udp);
	CHECK_EQ(rd(server, in, 9), 4);
	a = v4(0x08080808, 53);
	CHECK_EQ(sys_sendto(client, "x", 1, 0, &a, sizeof a), -ENETUNREACH);
	CHECK_EQ(sys_sendto(client, big, 65508, 0, &from, sizeof from), -EMSGSIZE);
	a = v4(LO, 54); /* nobody there: an unconnected sender does not learn it */
	CHECK_EQ(sys_sendto(client, "x", 1, 0, &a, sizeof a), 1);
	CHECK_EQ(option(client, SOL_SOCKET, SO_ERROR), 0);
	CHECK_EQ(sys_connect(client, &a, sizeof a), 0);
	CHECK_EQ(wr(client, "x", 1), 1);
	CHECK_EQ(mask(client) & EPOLLERR, EPOLLERR);
	CHECK_EQ(rd(client, in, 9), -ECONNREFUSED);
	CHECK_EQ(sys_recvfrom(client, in, 9, MSG_DONTWAIT, NULL, NULL), -EAGAIN);
	close_all();
}

static void test_udp_connected(void)
{
	struct sockaddr_in a = v4(LO, 53), from;
	int len = sizeof from, other = UDP(AF_INET);
	server = UDP(AF_INET);
	client = UDP(AF_INET);
	CHECK_EQ(sys_bind(server, &a, sizeof a), 0);
	CHECK_EQ(sys_connect(client, &a, sizeof a), 0);
	CHECK_EQ(sys_getsockname(client, &from, &len), 0);
	/* A connected socket hears its peer only. */
	CHECK_EQ(sys_sendto(other, "no", 2, 0, &from, sizeof from), 2);
	CHECK_EQ(sys_recvfrom(client, in, 9, MSG_DONTWAIT, NULL, NULL), -EAGAIN);
	CHECK_EQ(sys_sendto(server, "yes", 3, 0, &from, sizeof from), 3);
	CHECK_EQ(rd(client, in, 9), 3);
	/* A full queue drops. */
	for (int i = 0; i < 100; i++)
		CHECK_EQ(wr(client, big, 60000), 60000);
	int got = 0;
	while (sys_recvfrom(server, big, 60000, MSG_DONTWAIT, NULL, NULL) > 0)
		got++;
	CHECK_EQ(got, 4); /* 208 KiB and the one that crosses the mark */
	CHECK_EQ(sys_shutdown(client, SHUT_RD), 0);
	CHECK_EQ(rd(client, in, 9), 0);
	CHECK_EQ(sys_shutdown(other, SHUT_RD), -ENOTCONN);
	struct sockaddr_k none = {.family = AF_UNSPEC};
	CHECK_EQ(sys_connect(client, &none, sizeof none), 0);
	CHECK_EQ(sys_getpeername(client, &from, &len), -ENOTCONN);
	CHECK_EQ(sys_getsockname(client, &from, &len), 0);
	CHECK_EQ(from.sin_addr.s_addr, 0); /* any address again */
	close_all();
}

static void test_udp_v6(void)
{
	struct sockaddr_in6 any = v6(0, 0, 53), from, lo = v6(1, 0, 53);
	struct sockaddr_in a = v4(LO, 53);
	int len = sizeof from;
	server = UDP(AF_INET6);
	client = UDP(AF_INET);
	CHECK_EQ(sys_bind(server, &any, sizeof any), 0);
	CHECK_EQ(sys_sendto(client, "four", 4, 0, &a, sizeof a), 4);
	CHECK_EQ(sys_recvfrom(server, in, 9, 0, &from, &len), 4);
	CHECK_EQ(from.sin6_addr.s6_addr[11], 0xff);
	CHECK_EQ(sys_sendto(server, "answer", 6, 0, &from, sizeof from), 6);
	len = sizeof a;
	CHECK_EQ(sys_recvfrom(client, in, 9, 0, &a, &len), 6);
	CHECK_EQ(a.sin_family, AF_INET);
	int six = UDP(AF_INET6);
	CHECK_EQ(sys_sendto(six, "six", 3, 0, &lo, sizeof lo), 3);
	CHECK_EQ(sys_recvfrom(server, in, 9, 0, &from, &len), 3);
	close_all();
}

int main(void)
{
	test_udp();
	test_udp_connected();
	test_udp_v6();
	return 0;
}
