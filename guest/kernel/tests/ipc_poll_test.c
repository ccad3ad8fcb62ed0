/* ipc_poll_test.c: poll, ppoll, select, pselect6. */
// link: ../ipc/*.c ../fs/file.c ipc_host.c
#include "ipc_host.h"

#include <asm/poll.h>

static int p[2], q[2];
static char in[64];

static void put_q(void) { CHECK_EQ(wr(q[1], "x", 1), 1); }
static void put_then_take(void) { put_q(); CHECK_EQ(rd(q[0], in, 1), 1); }
static void close_q(void) { CHECK_EQ(fd_close(q[0]), 0); }

static void set_up(void)
{
	CHECK_EQ(sys_pipe(p), 0);
	CHECK_EQ(sys_pipe(q), 0);
}

static void test_poll(void)
{
	set_up();
	struct pollfd f[4] = {{p[0], POLLIN, 7}, {q[0], POLLIN, 7}, {-1, POLLIN, 7}, {p[1], 0, 7}};
	CHECK_EQ(sys_poll(f, 4, 0), 0);
	CHECK_EQ(f[2].revents, 0);
	CHECK_EQ(sys_poll(f, 4, -1), -EINTR);
	ipc_other(put_q);
	CHECK_EQ(sys_poll(f, 4, -1), 1);
	CHECK_EQ(f[0].revents, 0);
	CHECK_EQ(f[1].revents, POLLIN);
	CHECK_EQ(rd(q[0], in, 8), 1);
	/* A wake-up for what another thread took: it waits on, and the next one counts. */
	ipc_other(put_then_take);
	ipc_other(put_q);
	CHECK_EQ(sys_poll(f, 4, -1), 1);
	f[1].events = POLLIN | POLLRDNORM;
	CHECK_EQ(sys_poll(f, 4, 0), 1);
	CHECK_EQ(f[1].revents, POLLIN | POLLRDNORM);
	CHECK_EQ(rd(q[0], in, 8), 1);
	u64 start = host_mono_ns;
	CHECK_EQ(sys_poll(f, 4, 30), 0);
	CHECK_EQ(host_mono_ns - start, 30000000);
	CHECK_EQ(sys_poll(NULL, 0, 30), 0); /* sleeps */
	CHECK_EQ(host_mono_ns - start, 60000000);
	f[0].fd = 99;
	CHECK_EQ(sys_poll(f, 4, -1), 1);
	CHECK_EQ(f[0].revents, POLLNVAL);
	ipc_other(close_q); /* the polled file stays while it is polled */
	f[0].fd = -1;
	CHECK_EQ(sys_poll(f, 2, 5), 0);
	CHECK_EQ(sys_poll((void *)8, 1, 0), -EFAULT);
	CHECK_EQ(sys_poll(f, 5000, 0), -EINVAL);
	static const struct file_ops regular = {.name = "regular"};
	f[0] = (struct pollfd){(int)fd_install(file_new(&regular, O_RDWR, NULL), false, 0), POLLIN | POLLOUT, 0};
	CHECK_EQ(sys_poll(f, 1, -1), 1);
	CHECK_EQ(f[0].revents, POLLIN | POLLOUT);
	close_all();
}

static void test_ppoll(void)
{
	set_up();
	struct pollfd f = {q[0], POLLIN, 0};
	u64 set = 1;
	struct __kernel_timespec ts = {1, 0};
	int pushes = ipc_pushes;
	ipc_other(put_q);
	CHECK_EQ(sys_ppoll(&f, 1, &ts, &set, 8), 1);
	CHECK_EQ(ipc_pushes, pushes + 1);
	CHECK_EQ(ipc_mask, 0);
	CHECK_EQ(ts.tv_sec, 1); /* no time passed */
	CHECK_EQ(rd(q[0], in, 8), 1);
	CHECK_EQ(sys_ppoll(&f, 1, &ts, NULL, 0), 0);
	CHECK_EQ(ts.tv_sec, 0);
	ts = (struct __kernel_timespec){0, 1000000000};
	CHECK_EQ(sys_ppoll(&f, 1, &ts, NULL, 0), -EINVAL);
	CHECK_EQ(sys_ppoll(&f, 1, NULL, &set, 16), -EINVAL);
	close_all();
}

static void test_many(void)
{
	static struct pollfd f[100];
	for (int i = 0; i < 100; i++)
		f[i] = (struct pollfd){(int)sys_eventfd(0), POLLIN, 0};
	CHECK_EQ(sys_poll(f, 100, 10), 0);
	u64 one = 1;
	CHECK_EQ(wr(f[77].fd, &one, 8), 8);
	CHECK_EQ(sys_poll(f, 100, -1), 1);
	CHECK_EQ(f[77].revents, POLLIN);
	host_fail_after = 0;
	CHECK_EQ(sys_poll(f, 100, -1), -ENOMEM);
	host_fail_after = -1;
	close_all();
}

static void test_select(void)
{
	set_up();
	u64 i[2] = {1ull << p[0] | 1ull << q[0], 0}, o[2] = {1ull << p[1], 0}, none[2] = {0};
	struct __kernel_old_timeval tv = {2, 0};
	CHECK_EQ(sys_select(q[1] + 1, i, o, none, &tv), 1);
	CHECK_EQ(i[0], 0);
	CHECK_EQ(o[0], 1ull << p[1]);
	i[0] = 1ull << p[0] | 1ull << q[0];
	ipc_other(put_q);
	CHECK_EQ(sys_select(q[1] + 1, i, NULL, NULL, NULL), 1);
	CHECK_EQ(i[0], 1ull << q[0]);
	CHECK_EQ(rd(q[0], in, 8), 1);
	u64 start = host_mono_ns;
	tv = (struct __kernel_old_timeval){0, 1500000}; /* more than a second of microseconds */
	CHECK_EQ(sys_select(q[1] + 1, i, NULL, NULL, &tv), 0);
	CHECK_EQ(host_mono_ns - start, 1500000000);
	CHECK_EQ(tv.tv_sec, 0);
	CHECK_EQ(i[0], 0);
	i[0] = 1ull << 60;
	CHECK_EQ(sys_select(64, i, NULL, NULL, NULL), -EBADF);
	CHECK_EQ(sys_select(-1, i, NULL, NULL, NULL), -EINVAL);
	CHECK_EQ(sys_select(64, (u64 *)8, NULL, NULL, NULL), -EFAULT);
	/* The end of a pipe is readable to select, POLLHUP to poll. */
	CHECK_EQ(fd_close(q[1]), 0);
	i[0] = 1ull << q[0];
	CHECK_EQ(sys_select(64, i, NULL, NULL, NULL), 1);

	u64 set = 3;
	struct { const u64 *set; u64 size; } arg = {&set, 8};
	int pushes = ipc_pushes;
	struct __kernel_timespec ts = {0, 500};
	i[0] = 1ull << p[0];
	CHECK_EQ(sys_pselect6(64, i, NULL, NULL, &ts, &arg), 0);
	CHECK_EQ(ipc_pushes, pushes + 1);
	arg.size = 7;
	CHECK_EQ(sys_pselect6(64, i, NULL, NULL, &ts, &arg), -EINVAL);
	arg.set = NULL;
	CHECK_EQ(sys_pselect6(0, NULL, NULL, NULL, &ts, &arg), 0);
	close_all();
}

int main(void)
{
	test_poll();
	test_ppoll();
	test_many();
	test_select();
	return 0;
}
