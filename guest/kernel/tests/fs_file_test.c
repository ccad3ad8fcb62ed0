/*
 * fs_file_test.c: references, the descriptor table, and waiting for a file.
 */
// link: ../fs/*.c
#include "host.h"
#include "../fs/calls.h"
#include "../fs/fs.h"

#include <linux/eventpoll.h>

static int released;
static u32 events;
static void count_release(struct file *f) { (void)f, released++; }
static u32 poll(struct file *f) { return (void)f, events; }
static const struct file_ops ops = {.name = "test", .release = count_release, .poll = poll};

static void test_table(void)
{
	u64 objects = host_objects_out;
	struct file *f = file_new(&ops, O_RDWR, NULL);
	CHECK_EQ(fd_install(f, false, 0), 0);
	CHECK_EQ(sys_dup(0), 1);
	CHECK_EQ(sys_dup2(0, 100), 100);
	CHECK_EQ(sys_dup2(0, 0), 0);
	CHECK_EQ(sys_dup2(5, 5), -EBADF);
	CHECK_EQ(sys_dup3(0, 0, 0), -EINVAL);
	CHECK_EQ(sys_dup3(0, 7, O_CLOEXEC), 7);
	CHECK_EQ(sys_dup3(0, 1024, 0), -EBADF);
	CHECK_EQ(sys_dup3(0, -1, 0), -EBADF);
	CHECK_EQ(sys_fcntl(7, F_GETFD, 0), FD_CLOEXEC);
	CHECK_EQ(sys_fcntl(1, F_GETFD, 0), 0);
	CHECK_EQ(sys_fcntl(0, F_DUPFD, 5), 5);
	CHECK_EQ(sys_fcntl(0, F_DUPFD_CLOEXEC, 5), 6);
	CHECK_EQ(sys_fcntl(0, F_DUPFD, 1024), -EINVAL);
	CHECK_EQ(sys_dup(0), 2); /* the lowest, though higher ones were asked for before */
	CHECK_EQ(f->refs, 7);
	CHECK_EQ(sys_close(1), 0);
	CHECK_EQ(sys_close(1), -EBADF);
	CHECK_EQ(sys_dup(0), 1);
	CHECK_EQ(released, 0);
	CHECK_EQ(sys_close_range(1, 50, 4), 0);
	CHECK_EQ(sys_fcntl(1, F_GETFD, 0), FD_CLOEXEC);
	CHECK_EQ(sys_close_range(3, 2, 0), -EINVAL);
	CHECK_EQ(sys_close_range(0, ~0u, 0), 0);
	CHECK_EQ(released, 1);
	for (int i = 0; i < 1024; i++)
		CHECK_EQ(fd_install(file_new(&ops, 0, NULL), false, 0), i);
	CHECK_EQ(fd_install(file_new(&ops, 0, NULL), false, 0), -EMFILE);
	CHECK_EQ(released, 2);
	fd_set_limit(100000);
	CHECK_EQ(fd_limit(), FD_MAX);
	CHECK_EQ(sys_dup(0), 1024);
	CHECK_EQ(sys_close(512), 0);
	CHECK_EQ(sys_dup(0), 512);
	CHECK_EQ(sys_close_range(0, ~0u, 0), 0);
	CHECK_EQ(released, 1026);
	CHECK(host_objects_out <= objects + 1); /* the table itself */
	fd_set_limit(1024);
}

static int waits;
static long become_ready(struct waitq *q, u64 deadline)
{
	(void)q, (void)deadline;
	if (++waits == 3)
		events = EPOLLIN;
	return 0;
}

static void test_wait(void)
{
	struct file *f = file_new(&ops, O_RDWR | O_NONBLOCK, NULL);
	events = EPOLLOUT;
	CHECK_EQ(file_wait(f, EPOLLOUT, NO_DEADLINE), 0);
	CHECK_EQ(file_wait(f, EPOLLIN, NO_DEADLINE), -EAGAIN);
	f->flags = O_RDWR;
	CHECK_EQ(file_wait(f, EPOLLIN, NO_DEADLINE), -ERESTARTSYS);
	CHECK_EQ(file_wait(f, EPOLLIN, 1), -ETIMEDOUT);
	events = EPOLLHUP; /* ends every wait */
	CHECK_EQ(file_wait(f, EPOLLIN, NO_DEADLINE), 0);
	events = 0;
	host_wait = become_ready;
	CHECK_EQ(file_wait(f, EPOLLIN, NO_DEADLINE), 0);
	CHECK_EQ(waits, 3);
	host_wait = NULL;
	file_put(f);
}

static void test_console(void)
{
	struct stat st;
	char buf[4];
	int on = 1;
	file_init();
	CHECK_EQ(sys_write(1, "hello\n", 6), 6);
	struct iovec_k iov[] = {{"a", 1}, {NULL, 0}, {"bc\n", 3}};
	CHECK_EQ(sys_writev(2, iov, 3), 4);
	CHECK_STR(host_console, "hello\nabc\n");
	CHECK_EQ(sys_read(0, buf, 4), 0);
	CHECK_EQ(sys_write(0, buf, 4), -EBADF);
	CHECK_EQ(sys_write(1, (void *)16, 4), -EFAULT);
	CHECK_EQ(sys_write(1, NULL, 0), 0);
	CHECK_EQ(sys_lseek(1, 0, 0), -ESPIPE);
	CHECK_EQ(sys_pread64(0, buf, 1, 0), -ESPIPE);
	CHECK_EQ(sys_ioctl(1, 0x5401 /* TCGETS */, (u64)buf), -ENOTTY);
	CHECK_EQ(sys_ioctl(1, 0x5421 /* FIONBIO */, (u64)&on), 0);
	CHECK_EQ(sys_fcntl(1, F_GETFL, 0), O_RDWR | O_NONBLOCK);
	CHECK_EQ(sys_fstat(1, &st), 0);
	CHECK_EQ(st.st_mode & S_IFMT, S_IFCHR);
	CHECK_EQ(sys_fstat(9, &st), -EBADF);
	CHECK_EQ(sys_close_range(0, ~0u, 0), 0);
}

int main(void)
{
	test_table();
	test_wait();
	test_console();
	return 0;
}
