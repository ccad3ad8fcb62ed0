/*
 * signalfd.c: signals read from a descriptor (signalfd(2)). What is pending is
 * looked at for the thread that reads or polls, and only signals that it blocks
 * wait long enough to be read.
 */
#include "thread_calls.h"

#include <asm/signal.h>
#include <linux/eventpoll.h>
#include <linux/signalfd.h>

struct signalfd {
	struct signalfd *next;
	struct file *file;
	u64 mask;
};
static struct signalfd *all;

/* The signal whose sending is being announced: whoever waits looks with a poll
 * in the sender's context, and in its own once more before it returns. */
static u64 announced;

void signalfd_notify(int sig)
{
	announced = SIGBIT(sig);
	for (struct signalfd *s = all; s; s = s->next)
		if (s->mask & announced)
			wake_all(&s->file->wq);
	announced = 0;
}

static u32 signalfd_poll(struct file *f)
{
	struct signalfd *s = f->priv;
	return (signal_waiting() | announced) & s->mask ? EPOLLIN : 0;
}

/* siginfo_t's union by the signal's source, as fs/signalfd.c copies it. */
static void fill(struct signalfd_siginfo *out, const struct siginfo_k *i)
{
	memset(out, 0, sizeof *out);
	out->ssi_signo = (u32)i->signo;
	out->ssi_errno = i->err;
	out->ssi_code = i->code;
	u32 low = (u32)i->fields[0], high = (u32)(i->fields[0] >> 32);
	if (i->code == -2) { /* SI_TIMER: timer, overruns, value */
		out->ssi_tid = low;
		out->ssi_overrun = high;
		out->ssi_ptr = i->fields[1];
		out->ssi_int = (s32)i->fields[1];
		return;
	}
	out->ssi_pid = low;
	out->ssi_uid = high;
	if (i->code == -1) { /* SI_QUEUE */
		out->ssi_ptr = i->fields[1];
		out->ssi_int = (s32)i->fields[1];
	}
}

static long signalfd_read(struct file *f, void *buf, size_t n, u64 *pos)
{
	(void)pos;
	struct signalfd *s = f->priv;
	size_t most = n / sizeof(struct signalfd_siginfo), got = 0;
	struct siginfo_k info;
	long err = 0;
	if (!most)
		return -EINVAL;
	file_get(f);
	while (!err && !got) {
		while (got < most && signal_take(s->mask, &info))
			fill((struct signalfd_siginfo *)buf + got++, &info);
		if (!got)
			err = file_wait(f, EPOLLIN, NO_DEADLINE);
	}
	file_put(f);
	return got ? (long)(got * sizeof(struct signalfd_siginfo)) : err;
}

static void signalfd_release(struct file *f)
{
	struct signalfd *s = f->priv;
	for (struct signalfd **p = &all; *p; p = &(*p)->next)
		if (*p == s) {
			*p = s->next;
			break;
		}
	kfree(s);
}

static const struct file_ops signalfd_ops = {
	.name = "signalfd",
	.read = signalfd_read,
	.poll = signalfd_poll,
	.release = signalfd_release,
};

long sys_signalfd4(int fd, const u64 *mask, u64 size, int flags)
{
	if (size != sizeof *mask)
		return -EINVAL;
	if (!user_readable(mask, size))
		return -EFAULT;
	if (flags & ~(SFD_CLOEXEC | SFD_NONBLOCK))
		return -EINVAL;
	u64 set = *mask & ~(SIGBIT(SIGKILL) | SIGBIT(SIGSTOP));
	if (fd != -1) {
		struct file *f = fd_get(fd);
		if (!f)
			return -EBADF;
		if (f->ops != &signalfd_ops)
			return -EINVAL;
		((struct signalfd *)f->priv)->mask = set;
		wake_all(&f->wq);
		return fd;
	}
	struct signalfd *s = kzalloc(sizeof *s);
	struct file *f = s ? file_new(&signalfd_ops, O_RDWR | ((u32)flags & SFD_NONBLOCK), s) : NULL;
	if (!f) {
		kfree(s);
		return -ENOMEM;
	}
	*s = (struct signalfd){all, f, set};
	all = s;
	return fd_install(f, flags & SFD_CLOEXEC, 0);
}

long sys_signalfd(int fd, const u64 *mask, u64 size) { return sys_signalfd4(fd, mask, size, 0); }
