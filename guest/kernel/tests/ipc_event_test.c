/* ipc_event_test.c: eventfd and timerfd. */
// link: ../ipc/*.c ../fs/file.c ipc_host.c
#include "ipc_host.h"

#define EFD_SEMAPHORE 1
#define TFD_TIMER_ABSTIME 1
enum { CLOCK_REALTIME_ID = 0, CLOCK_MONOTONIC_ID = 1, CLOCK_CPU_ID = 2 };

static int fd;
static u64 v;

static void add_three(void)
{
	u64 three = 3;
	CHECK_EQ(wr(fd, &three, 8), 8);
}

static void drain(void) { CHECK_EQ(rd(fd, &v, 8), 8); }

static void test_eventfd(void)
{
	CHECK_EQ(sys_eventfd2(0, 2), -EINVAL);
	fd = (int)sys_eventfd(2);
	CHECK_EQ(mask(fd), EPOLLIN | EPOLLOUT);
	CHECK_EQ(rd(fd, &v, 7), -EINVAL);
	CHECK_EQ(wr(fd, &v, 7), -EINVAL);
	CHECK_EQ(rd(fd, &v, 8), 8);
	CHECK_EQ(v, 2);
	CHECK_EQ(mask(fd), EPOLLOUT);
	CHECK_EQ(rd(fd, &v, 8), -ERESTARTSYS);
	ipc_other(add_three);
	CHECK_EQ(rd(fd, &v, 8), 8);
	CHECK_EQ(v, 3);

	u64 top = ~0ull - 1, none = ~0ull, one = 1;
	CHECK_EQ(wr(fd, &none, 8), -EINVAL);
	CHECK_EQ(wr(fd, &top, 8), 8);
	CHECK_EQ(mask(fd), EPOLLIN);
	set_nonblock(fd, true);
	CHECK_EQ(wr(fd, &one, 8), -EAGAIN);
	set_nonblock(fd, false);
	ipc_other(drain);
	CHECK_EQ(wr(fd, &one, 8), 8);
	CHECK_EQ(v, top);
	/* A value that does not fit waits although poll says EPOLLOUT. */
	ipc_other(drain);
	CHECK_EQ(wr(fd, &top, 8), 8);
	CHECK_EQ(v, 1);
	close_all();
}

static void test_semaphore(void)
{
	fd = (int)sys_eventfd2(2, EFD_SEMAPHORE | O_NONBLOCK);
	for (int i = 0; i < 2; i++) {
		CHECK_EQ(rd(fd, &v, 8), 8);
		CHECK_EQ(v, 1);
	}
	CHECK_EQ(rd(fd, &v, 8), -EAGAIN);
	close_all();
}

static struct __kernel_itimerspec spec(s64 value_ns, s64 interval_ns)
{
	return (struct __kernel_itimerspec){
		.it_value = {value_ns / (s64)NS_PER_SEC, value_ns % (s64)NS_PER_SEC},
		.it_interval = {interval_ns / (s64)NS_PER_SEC, interval_ns % (s64)NS_PER_SEC},
	};
}

static void pass(u64 ns)
{
	host_mono_ns += ns;
	host_wall_ns += ns;
	host_run_timers();
}

static void pass_1000(void) { pass(1000); }

static void test_timerfd(void)
{
	struct __kernel_itimerspec s, old;
	CHECK_EQ(sys_timerfd_create(CLOCK_CPU_ID, 0), -EINVAL);
	CHECK_EQ(sys_timerfd_create(CLOCK_MONOTONIC_ID, 1), -EINVAL);
	fd = (int)sys_timerfd_create(CLOCK_MONOTONIC_ID, 0);
	CHECK_EQ(mask(fd), 0);
	s = spec(1000, 0);
	s.it_value.tv_nsec = 1000000000;
	CHECK_EQ(sys_timerfd_settime(fd, 0, &s, NULL), -EINVAL);
	CHECK_EQ(sys_timerfd_settime(fd, 0, (void *)8, NULL), -EFAULT);

	s = spec(1000, 0);
	CHECK_EQ(sys_timerfd_settime(99, 0, &s, NULL), -EBADF);
	int other = (int)sys_eventfd(0);
	CHECK_EQ(sys_timerfd_settime(other, 0, &s, NULL), -EINVAL);
	CHECK_EQ(sys_timerfd_settime(fd, 0, &s, NULL), 0);
	pass(400);
	CHECK_EQ(sys_timerfd_gettime(fd, &old), 0);
	CHECK_EQ(old.it_value.tv_nsec, 600);
	ipc_other(pass_1000);
	CHECK_EQ(rd(fd, &v, 8), 8);
	CHECK_EQ(v, 1);
	CHECK_EQ(mask(fd), 0);

	/* An interval timer counts what passed unread, and goes on from there. */
	s = spec(1000, 100);
	CHECK_EQ(sys_timerfd_settime(fd, 0, &s, &old), 0);
	CHECK_EQ(old.it_value.tv_nsec, 0);
	pass(1000);
	CHECK_EQ(mask(fd), EPOLLIN);
	pass(350);
	u64 reads = host_clock_reads;
	CHECK_EQ(rd(fd, &v, 8), 8);
	CHECK_EQ(v, 4);
	CHECK_EQ(host_clock_reads, reads + 1);
	CHECK_EQ(sys_timerfd_gettime(fd, &old), 0);
	CHECK_EQ(old.it_value.tv_nsec, 50);
	CHECK_EQ(old.it_interval.tv_nsec, 100);
	pass(50);
	CHECK_EQ(sys_timerfd_gettime(fd, &old), 0); /* arms it again; the expiry stays readable */
	CHECK_EQ(old.it_value.tv_nsec, 100);
	CHECK_EQ(mask(fd), EPOLLIN);
	CHECK_EQ(rd(fd, &v, 8), 8);
	CHECK_EQ(v, 1);
	s = spec(0, 0);
	CHECK_EQ(sys_timerfd_settime(fd, 0, &s, NULL), 0);
	pass(10000);
	set_nonblock(fd, true);
	CHECK_EQ(rd(fd, &v, 8), -EAGAIN);

	/* Due, though the list of timers was not looked at. */
	s = spec(100, 0);
	CHECK_EQ(sys_timerfd_settime(fd, 0, &s, NULL), 0);
	host_mono_ns += 200;
	CHECK_EQ(mask(fd), EPOLLIN);
	CHECK_EQ(rd(fd, &v, 8), 8);
	CHECK_EQ(v, 1);
	close_all();
}

static void test_absolute(void)
{
	fd = (int)sys_timerfd_create(CLOCK_REALTIME_ID, O_NONBLOCK);
	struct __kernel_itimerspec s = spec((s64)host_wall_ns + 500, 0), old;
	CHECK_EQ(sys_timerfd_settime(fd, TFD_TIMER_ABSTIME, &s, NULL), 0);
	CHECK_EQ(sys_timerfd_gettime(fd, &old), 0);
	CHECK_EQ(old.it_value.tv_nsec, 500);
	pass(500);
	CHECK_EQ(rd(fd, &v, 8), 8);
	s = spec(5, 0); /* long ago: at once */
	CHECK_EQ(sys_timerfd_settime(fd, TFD_TIMER_ABSTIME, &s, NULL), 0);
	CHECK_EQ(mask(fd), EPOLLIN);
	CHECK_EQ(rd(fd, &v, 8), 8);
	CHECK_EQ(v, 1);
	close_all();
}

int main(void)
{
	test_eventfd();
	test_semaphore();
	test_timerfd();
	test_absolute();
	return 0;
}
