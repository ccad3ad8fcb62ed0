/* ipc_pipe_test.c: pipes: order, capacity, atomicity, end of file, wake-ups, memory. */
// link: ../ipc/*.c ../fs/file.c ipc_host.c
#include "ipc_host.h"

#include <asm/ioctls.h>
#define SIGPIPE 13 /* asm/signal.h and the C library cannot both be had */
#include <asm/stat.h>

static int p[2];
static u8 big[1 << 20], back[1 << 20];

static void open_pipe(int flags) { CHECK_EQ(sys_pipe2(p, flags), 0); }

static void test_basics(void)
{
	open_pipe(0);
	char buf[16];
	CHECK_EQ(mask(p[0]), 0);
	CHECK_EQ(mask(p[1]), EPOLLOUT);
	CHECK_EQ(wr(p[1], "hello", 5), 5);
	CHECK_EQ(mask(p[0]), EPOLLIN);
	int n = -1;
	struct file *f = fd_get(p[0]);
	CHECK_EQ(f->ops->ioctl(f, FIONREAD, (u64)&n), 0);
	CHECK_EQ(n, 5);
	CHECK_EQ(f->ops->ioctl(f, FIONREAD, 8), -EFAULT);
	CHECK_EQ(f->ops->ioctl(f, TCGETS, (u64)&n), -ENOTTY);
	CHECK_EQ(rd(p[0], buf, 3), 3);
	CHECK_EQ(rd(p[0], buf + 3, sizeof buf), 2);
	CHECK(!memcmp(buf, "hello", 5));
	CHECK_EQ(rd(p[0], buf, 0), 0);
	CHECK_EQ(wr(p[1], "", 0), 0);
	struct stat st = {0};
	CHECK_EQ(f->ops->stat(f, &st), 0);
	CHECK_EQ(st.st_mode & S_IFMT, S_IFIFO);
	CHECK_EQ(sys_pipe2(p, 1), -EINVAL);
	CHECK_EQ(sys_pipe2((int *)8, 0), -EFAULT);
	close_all();
}

static void write_x(void) { CHECK_EQ(wr(p[1], "x", 1), 1); }
static void close_writer(void) { CHECK_EQ(fd_close(p[1]), 0); }
static void close_reader(void) { CHECK_EQ(fd_close(p[0]), 0); }
static void read_page(void) { CHECK_EQ(rd(p[0], back, 4096), 4096); }
static void read_byte(void) { CHECK_EQ(rd(p[0], back, 1), 1); }
static void both_close(void) { close_writer(), close_reader(); }

static void test_blocking(void)
{
	char c;
	open_pipe(0);
	CHECK_EQ(rd(p[0], &c, 1), -ERESTARTSYS);
	ipc_other(write_x);
	CHECK_EQ(rd(p[0], &c, 1), 1);
	ipc_other(close_writer);
	CHECK_EQ(rd(p[0], &c, 1), 0);
	CHECK_EQ(mask(p[0]), EPOLLHUP);
	close_all();

	open_pipe(0); /* both ends closed under a blocked reader */
	ipc_other(both_close);
	CHECK_EQ(rd(p[0], &c, 1), 0);
	close_all();

	open_pipe(0); /* a blocked writer loses its reader */
	CHECK_EQ(wr(p[1], big, 65536), 65536);
	ipc_other(close_reader);
	host_last_signal = 0;
	CHECK_EQ(wr(p[1], "y", 1), -EPIPE);
	CHECK_EQ(host_last_signal, SIGPIPE);
	CHECK_EQ(mask(p[1]), EPOLLOUT | EPOLLERR);
	close_all();
}

static void test_capacity(void)
{
	open_pipe(O_NONBLOCK);
	CHECK_EQ(rd(p[0], back, 1), -EAGAIN);
	CHECK_EQ(wr(p[1], big, 65536 - 100), 65536 - 100);
	CHECK_EQ(mask(p[1]), 0); /* less than PIPE_BUF is free */
	CHECK_EQ(wr(p[1], big, 4096), -EAGAIN); /* all or nothing */
	CHECK_EQ(wr(p[1], big, 5000), 100);     /* above PIPE_BUF: what fits */
	CHECK_EQ(wr(p[1], big, 1), -EAGAIN);
	CHECK_EQ(rd(p[0], back, 4095), 4095);
	CHECK_EQ(mask(p[1]), 0);
	CHECK_EQ(rd(p[0], back, 1), 1);
	CHECK_EQ(mask(p[1]), EPOLLOUT);
	close_all();

	open_pipe(0); /* blocked until PIPE_BUF bytes are free, then whole */
	CHECK_EQ(wr(p[1], big, 65536), 65536);
	ipc_other(read_byte);
	ipc_other(read_page);
	CHECK_EQ(wr(p[1], big, 4096), 4096);
	ipc_other(read_page); /* a large write is cut short by a signal */
	CHECK_EQ(wr(p[1], big, 100000), 4097); /* one byte was free */
	close_all();
}

static void test_size(void)
{
	open_pipe(O_NONBLOCK);
	struct file *f = fd_get(p[1]);
	CHECK_EQ(f->ops->ioctl(f, F_GETPIPE_SZ, 0), 65536);
	CHECK_EQ(f->ops->ioctl(f, F_SETPIPE_SZ, 5000), 8192);
	CHECK_EQ(wr(p[1], big, 10000), 8192);
	CHECK_EQ(f->ops->ioctl(f, F_SETPIPE_SZ, 1), -EBUSY);
	CHECK_EQ(f->ops->ioctl(f, F_SETPIPE_SZ, 1 << 21), -EPERM);
	CHECK_EQ(f->ops->ioctl(f, F_SETPIPE_SZ, 1ull << 40), -EINVAL);
	CHECK_EQ(f->ops->ioctl(f, F_SETPIPE_SZ, 1 << 20), 1 << 20);
	CHECK_EQ(mask(p[1]), EPOLLOUT);
	close_all();
}

/* Random chunks come out as they went in, and an empty pipe holds no pages. */
static void test_stream(void)
{
	open_pipe(O_NONBLOCK);
	for (u32 i = 0; i < sizeof big; i++)
		big[i] = (u8)host_random(256);
	u64 in = 0, out = 0;
	while (out < sizeof big) {
		if (in < sizeof big && host_random(2)) {
			long n = wr(p[1], big + in, MIN(sizeof big - in, (u64)host_random(host_random(2) ? 300 : 30000)));
			CHECK(n >= 0 || n == -EAGAIN);
			in += n > 0 ? (u64)n : 0;
		} else {
			long n = rd(p[0], back + out, host_random(host_random(2) ? 300 : 40000) + 1);
			CHECK(n > 0 || n == -EAGAIN);
			out += n > 0 ? (u64)n : 0;
			if (in == out)
				CHECK(host_pages_out <= 1);
		}
	}
	CHECK(!memcmp(big, back, sizeof big));
	close_all();
}

static void test_no_memory(void)
{
	for (int i = 0; i < 6; i++) {
		host_fail_after = i;
		long r = sys_pipe2(p, 0);
		host_fail_after = -1;
		CHECK(r == 0 || r == -ENOMEM);
		close_all();
	}
	open_pipe(0);
	CHECK_EQ(wr(p[1], big, 100), 100);
	host_fail_after = 0;
	CHECK_EQ(wr(p[1], big, 4096), -ENOMEM); /* atomic: not in part */
	host_fail_after = 0;
	CHECK_EQ(wr(p[1], big, 5000), 5000); /* what fits, then the rest */
	CHECK_EQ(rd(p[0], back, sizeof back), 5100);
	close_all();
}

int main(void)
{
	test_basics();
	test_blocking();
	test_capacity();
	test_size();
	test_stream();
	test_no_memory();
	return 0;
}
