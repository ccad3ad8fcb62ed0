/* ipc_inet.h: addresses for the tests of TCP and UDP. */
#ifndef SEUSS_IPC_INET_TEST_H
#define SEUSS_IPC_INET_TEST_H

#include "ipc_host.h"

#include <linux/in.h>
#include <linux/in6.h>

static inline u16 be16(int port) { return __builtin_bswap16((u16)port); }

static inline struct sockaddr_in v4(u32 ip, int port)
{
	return (struct sockaddr_in){.sin_family = AF_INET, .sin_port = be16(port), .sin_addr = {__builtin_bswap32(ip)}};
}

/* last: 0 is ::, 1 is ::1; ip: mapped instead. */
static inline struct sockaddr_in6 v6(int last, u32 ip, int port)
{
	struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_port = be16(port)};
	a.sin6_addr.s6_addr[15] = (u8)last;
	if (ip) {
		ip = __builtin_bswap32(ip);
		memset(a.sin6_addr.s6_addr + 10, 0xff, 2);
		memcpy(a.sin6_addr.s6_addr + 12, &ip, 4);
	}
	return a;
}

#define LO 0x7f000001u

static inline int option(int fd, int level, int opt)
{
	int v = -1, len = sizeof v;
	CHECK_EQ(sys_getsockopt(fd, level, opt, &v, &len), 0);
	return v;
}

#endif
