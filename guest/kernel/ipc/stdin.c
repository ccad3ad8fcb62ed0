/*
 * stdin.c: descriptor 0. What the program reads comes on a stream to the monitor, which
 * is opened when it first reads, or asks whether it could: so the monitor knows when a
 * program waits for its input. Where nobody gives any, the input is empty.
 */
#include "ipc.h"

#include "../hoststream.h"

#include <asm/ioctls.h>

static struct vsock *in; /* NULL: nothing comes any more, or nobody has asked yet */
static bool asked;
static struct file *of; /* that asked */
static u32 taken;       /* bytes */

void stdin_publish(void)
{
	u32 is = taken & ABI_INPUT_TAKEN;
	if (in)
		is |= ABI_INPUT_OPEN;
	if (in && !host_stream_waiting(in) && file_waited(of))
		is |= ABI_INPUT_WAITED;
	control->input = is;
}

static void changed(struct file *f)
{
	if (host_stream_reset(in) || (host_stream_ended(in) && !host_stream_waiting(in))) {
		struct vsock *s = in;
		in = NULL;
		host_stream_close(s, true);
	}
	wake_all(&f->wq);
}

static void ask(struct file *f)
{
	if (asked)
		return;
	asked = true;
	of = f;
	in = host_stream_open(f, ABI_STDIN_PORT, changed);
	if (in)
		host_stream_kick();
}

u32 stdin_poll(struct file *f)
{
	ask(f);
	return !in || host_stream_waiting(in) ? EPOLL_READ : 0;
}

long stdin_read(struct file *f, void *buf, size_t n, u64 *pos)
{
	(void)pos;
	if (!n)
		return 0;
	long err = file_wait(f, EPOLLIN, NO_DEADLINE);
	if (err || !in)
		return err;
	purity_socket();
	u32 got = host_stream_take(in, buf, (u32)MIN(n, 0x40000000ul), false);
	taken += got;
	control->input = taken & ABI_INPUT_TAKEN; /* it does not wait until the CPU idles again */
	if (host_stream_ended(in))
		changed(f);
	return got;
}

long stdin_ioctl(struct file *f, u32 request, u64 arg)
{
	if (request != FIONREAD)
		return -ENOTTY;
	ask(f);
	return user_put_int(arg, in ? (int)host_stream_waiting(in) : 0);
}

void stdin_release(struct file *f)
{
	(void)f;
	if (in)
		host_stream_close(in, true);
	in = NULL;
	asked = true;
}
