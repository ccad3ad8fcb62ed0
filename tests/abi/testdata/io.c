/* io.c: pipes, eventfd, epoll, poll, select. */
#include "abi.h"

static void pipes(void)
{
	int p[2];
	char b[70000];
	R(pipe2(p, O_NONBLOCK));
	R(read(p[0], b, 1));
	R(write(p[1], b, sizeof b));
	R(write(p[1], b, 1));
	R(fcntl(p[0], F_GETPIPE_SZ));
	R(read(p[0], b, 4096));
	R(write(p[1], b, 1));
	R(lseek(p[0], 0, SEEK_SET));
	R(read(p[1], b, 1));
	R(write(p[0], b, 1));
	R(close(p[1]));
	R(read(p[0], b, sizeof b));
	R(read(p[0], b, 1));
	R(close(p[0]));
	R(pipe(p));
	signal(SIGPIPE, SIG_IGN);
	R(close(p[0]));
	R(write(p[1], b, 1));
	struct pollfd f = {p[1], POLLOUT, 0};
	R(poll(&f, 1, 0));
	R(f.revents);
	R(pipe2(p, 0x123));
	R(pipe((int *)8));
}

/* A vector is filled from what a pipe holds, and nobody waits for more. */
static void vectors(void)
{
	int p[2], e = eventfd(2, EFD_SEMAPHORE | EFD_NONBLOCK);
	char a[4] = "", b[5] = "", c[20] = "";
	struct iovec v[4] = {{a, 3}, {NULL, 0}, {b, 4}, {c, sizeof c}};
	uint64_t counts[2] = {9, 9};
	struct iovec w[2] = {{&counts[0], 8}, {&counts[1], 8}};
	R(pipe(p));
	R(write(p[1], "0123456789", 10));
	R(readv(p[0], v, 4));
	R(memcmp(a, "012", 4) || memcmp(b, "3456", 5) || memcmp(c, "789", 4));
	R(write(p[1], "01234", 5));
	R(readv(p[0], v, 4));
	R(write(p[1], "012", 3));
	R(readv(p[0], v, 4)); /* the first is full, and there is no more */
	R(write(p[1], "0123456789", 10));
	R(readv(p[0], v, 3));
	R(read(p[0], c, sizeof c));
	R(write(p[1], "0123", 4));
	R(close(p[1]));
	R(readv(p[0], v, 4));
	R(readv(p[0], v, 4));
	R(readv(e, w, 2)); /* one record, however much there is room for */
	R((long)counts[0]);
	R((long)counts[1]);
}

static void events(void)
{
	uint64_t v = 5;
	int e = eventfd(3, EFD_NONBLOCK), s = eventfd(2, EFD_NONBLOCK | EFD_SEMAPHORE);
	R(read(e, &v, 8));
	R((long)v);
	R(read(e, &v, 8));
	R(read(e, &v, 4));
	v = UINT64_MAX;
	R(write(e, &v, 8));
	v = UINT64_MAX - 1;
	R(write(e, &v, 8));
	R(write(e, &v, 8));
	R(read(s, &v, 8));
	R((long)v);
	R(read(s, &v, 8));
	R(read(s, &v, 8));
	R(eventfd(0, 77));
}

static void epolls(void)
{
	struct epoll_event ev = {EPOLLIN, {.u64 = 42}}, out[4];
	int ep = epoll_create1(0), p[2], e = eventfd(0, EFD_NONBLOCK);
	uint64_t one = 1;
	R(pipe(p));
	R(epoll_create(0));
	R(epoll_create1(5));
	R(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &ev));
	R(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &ev));
	R(epoll_ctl(ep, EPOLL_CTL_MOD, p[1], &ev));
	R(epoll_ctl(ep, EPOLL_CTL_DEL, p[1], &ev));
	R(epoll_ctl(ep, 99, p[0], &ev));
	R(epoll_ctl(ep, EPOLL_CTL_ADD, ep, &ev));
	R(epoll_ctl(p[0], EPOLL_CTL_ADD, e, &ev));
	R(epoll_ctl(ep, EPOLL_CTL_ADD, 99, &ev));
	int reg = open("/proc/self/exe", O_RDONLY);
	R(epoll_ctl(ep, EPOLL_CTL_ADD, reg, &ev));
	R(epoll_wait(ep, out, 4, 0));
	R(epoll_wait(ep, out, 0, 0));
	R(epoll_wait(ep, out, -1, 0));
	R(write(p[1], "x", 1));
	R(epoll_wait(ep, out, 4, -1));
	R(out[0].events + out[0].data.u64);
	R(epoll_wait(ep, out, 4, 0)); /* level: still */
	ev.events = EPOLLIN | EPOLLET;
	R(epoll_ctl(ep, EPOLL_CTL_MOD, p[0], &ev));
	R(epoll_wait(ep, out, 4, 0));
	R(epoll_wait(ep, out, 4, 0)); /* edge: told already */
	R(write(p[1], "x", 1));
	R(epoll_wait(ep, out, 4, 0));
	ev.events = EPOLLIN | EPOLLONESHOT;
	R(epoll_ctl(ep, EPOLL_CTL_MOD, p[0], &ev));
	R(epoll_wait(ep, out, 4, 0));
	R(epoll_wait(ep, out, 4, 0));
	R(write(p[1], "x", 1));
	R(epoll_wait(ep, out, 4, 0));
	R(epoll_ctl(ep, EPOLL_CTL_MOD, p[0], &ev));
	R(epoll_wait(ep, out, 4, 0));
	ev = (struct epoll_event){EPOLLIN | EPOLLOUT | EPOLLET, {.u64 = 7}};
	R(epoll_ctl(ep, EPOLL_CTL_ADD, e, &ev));
	R(epoll_wait(ep, out, 4, 0));
	R(out[0].events);
	R(write(e, &one, 8));
	R(epoll_wait(ep, out, 4, 0));
	R(out[0].events);
	int outer = epoll_create1(0);
	ev = (struct epoll_event){EPOLLIN, {.u64 = 9}};
	R(epoll_ctl(outer, EPOLL_CTL_ADD, ep, &ev));
	R(epoll_ctl(ep, EPOLL_CTL_ADD, outer, &ev));
	R(write(e, &one, 8));
	R(epoll_wait(outer, out, 4, 0));
	R(close(p[1]));
	ev.events = EPOLLIN;
	R(epoll_ctl(ep, EPOLL_CTL_MOD, p[0], &ev));
	R(epoll_wait(ep, out, 4, 0));
	R(close(p[0]));
	R(epoll_ctl(ep, EPOLL_CTL_DEL, p[0], NULL));
}

static void polls(void)
{
	int p[2], q[2];
	R(pipe(p));
	R(pipe(q));
	struct pollfd f[4] = {{p[0], POLLIN, 0}, {p[1], POLLOUT, 0}, {99, POLLIN, 0}, {-1, POLLIN, 7}};
	R(poll(f, 4, 0));
	printf("%d %d %d %d\n", f[0].revents, f[1].revents, f[2].revents, f[3].revents);
	R(poll(f, 1, 1));
	R(poll(NULL, 1, 0));
	struct timespec bad = {0, 2000000000}, zero = {0, 0};
	R(ppoll(f, 1, &bad, NULL));
	R(ppoll(f, 1, &zero, NULL));
	fd_set r, w;
	FD_ZERO(&r);
	FD_ZERO(&w);
	FD_SET(p[0], &r);
	FD_SET(p[1], &w);
	struct timeval t = {0, 1000};
	R(select(p[1] + 1, &r, &w, NULL, &t));
	R(FD_ISSET(p[0], &r) + 2 * !!FD_ISSET(p[1], &w));
	R(select(-1, NULL, NULL, NULL, &t));
	t = (struct timeval){0, 0};
	for (int fd = 40; fd < 64; fd += 5) { /* closed; above 64 Linux's answer depends on the table's size */
		FD_ZERO(&r);
		FD_SET(fd, &r);
		R(select(fd + 1, &r, NULL, NULL, &t));
		R(FD_ISSET(fd, &r));
	}
	t = (struct timeval){-1, 0};
	R(select(0, NULL, NULL, NULL, &t));
}

int main(void)
{
	pipes(), vectors(), events(), epolls(), polls();
	return 0;
}
