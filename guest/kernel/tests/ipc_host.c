/*
 * ipc_host.c: waiting as sched.c does it, without threads, and stand-ins for
 * what ipc/ uses of the rest: signal masks, socket nodes in the file tree,
 * AF_VSOCK.
 */
#include "ipc_host.h"

#include "../hoststream.h"

/* ---- waiting -------------------------------------------------------------------- */

enum { STEPS = 16 };
static void (*steps[STEPS])(void);
static int first_step, last_step;
static bool wake_pending;
int ipc_blocked;

void ipc_other(void (*step)(void))
{
	CHECK(last_step - first_step < STEPS);
	steps[last_step++ % STEPS] = step;
}

void waitq_add(struct waitq *q, struct waiter *w)
{
	w->q = q;
	w->woken = false;
	if (!q->head) {
		q->head = w->next = w->prev = w;
		return;
	}
	w->next = q->head;
	w->prev = q->head->prev;
	w->prev->next = w;
	q->head->prev = w;
}

void waitq_remove(struct waiter *w)
{
	struct waitq *q = w->q;
	if (!q)
		return;
	if (w->next == w) {
		q->head = NULL;
	} else {
		w->next->prev = w->prev;
		w->prev->next = w->next;
		if (q->head == w)
			q->head = w->next;
	}
	w->q = NULL;
}

static void wake_some(struct waitq *q, bool all)
{
	if (!q->head)
		return;
	struct waiter *w = q->head, *last = w->prev;
	for (bool done = false; !done;) {
		struct waiter *next = w->next;
		done = w == last;
		if (w->notify) {
			w->notify(w);
		} else if (!w->woken) {
			w->woken = wake_pending = true;
			if (!all)
				return;
		}
		w = next;
	}
}

void wake_all(struct waitq *q) { wake_some(q, true); }
void wake_one(struct waitq *q) { wake_some(q, false); }

long wait_queued(u64 deadline)
{
	ipc_blocked++;
	while (!wake_pending && first_step < last_step)
		steps[first_step++ % STEPS]();
	if (!wake_pending && deadline == NO_DEADLINE)
		return -ERESTARTSYS;
	if (!wake_pending) {
		host_mono_ns = MAX(host_mono_ns, deadline);
		host_run_timers();
		if (!wake_pending)
			return -ETIMEDOUT;
	}
	wake_pending = false;
	return 0;
}

long wait_on(struct waitq *q, u64 deadline)
{
	struct waiter w = {0};
	wake_pending = false;
	waitq_add(q, &w);
	long r = wait_queued(deadline);
	waitq_remove(&w);
	return r;
}

u64 ipc_mask;
int ipc_pushes;
void sigmask_push(const u64 *m) { ipc_mask = *m, ipc_pushes++; }
void sigmask_pop(void) { ipc_mask = 0; }

/* ---- the file tree: a few socket nodes by name ------------------------------------- */

static char nodes[8][UINT8_MAX];

long vfs_socket_create(const char *path, u64 *ino)
{
	u64 unused;
	if (!vfs_socket_find(path, &unused))
		return -EADDRINUSE;
	for (u32 i = 0; i < ARRAY_SIZE(nodes); i++)
		if (!nodes[i][0]) {
			snprintf(nodes[i], sizeof nodes[i], "%s", path);
			*ino = 100 + i;
			return 0;
		}
	return -ENOSPC;
}

long vfs_socket_find(const char *path, u64 *ino)
{
	for (u32 i = 0; i < ARRAY_SIZE(nodes); i++)
		if (!strcmp(nodes[i], path)) {
			*ino = 100 + i;
			return 0;
		}
	return -ENOENT;
}

static struct file *no_vsock(int type, int protocol, u32 flags, long *err)
{
	(void)type, (void)protocol, (void)flags;
	*err = -ESOCKTNOSUPPORT;
	return NULL;
}
const struct sock_family vsock_family = {.family = 40, .create = no_vsock};

/* ---- the monitor: a machine without the device, unless a test brings one ------------- */

#define WEAK __attribute__((weak))
WEAK struct vsock *host_stream_open(struct file *f, u32 port, void (*changed)(struct file *f))
{
	(void)f, (void)port, (void)changed;
	return NULL;
}
WEAK bool host_stream_accepted(const struct vsock *s) { return s && false; }
WEAK bool host_stream_reset(const struct vsock *s) { return s && false; }
WEAK bool host_stream_ended(const struct vsock *s) { return s && false; }
WEAK u32 host_stream_waiting(const struct vsock *s) { return s && false; }
WEAK u32 host_stream_room(const struct vsock *s) { return s && false; }
WEAK u32 host_stream_sending(const struct vsock *s) { return s && false; }
WEAK u32 host_stream_take(struct vsock *s, void *buf, u32 n, bool peek) { return s && buf && n && peek && false; }
WEAK u32 host_stream_put(struct vsock *s, const void *buf, u32 n) { return s && buf && n && false; }
WEAK void host_stream_shutdown(struct vsock *s) { (void)s; }
WEAK void host_stream_close(struct vsock *s, bool reset) { (void)s, (void)reset; }
WEAK void host_stream_announce(void) {}
WEAK void host_stream_kick(void) {}

/* ---- descriptors ---------------------------------------------------------------------- */

long rd(int fd, void *buf, size_t n)
{
	struct file *f = fd_get(fd);
	CHECK(f && f->ops->read);
	return f->ops->read(f, buf, n, &f->pos);
}

long wr(int fd, const void *buf, size_t n)
{
	struct file *f = fd_get(fd);
	CHECK(f && f->ops->write);
	return f->ops->write(f, buf, n, &f->pos);
}

u32 mask(int fd) { return poll_mask(fd_get(fd)) & ~(u32)(EPOLLRDNORM | EPOLLWRNORM); }

void set_nonblock(int fd, bool on)
{
	struct file *f = fd_get(fd);
	f->flags = on ? f->flags | O_NONBLOCK : f->flags & ~(u32)O_NONBLOCK;
}

void close_all(void)
{
	for (int fd = 0; fd < 1024; fd++)
		if (fd_get(fd))
			CHECK_EQ(fd_close(fd), 0);
	CHECK(first_step == last_step);
	first_step = last_step = 0;
	CHECK_EQ(host_pages_out, 0);
	CHECK(host_objects_out <= 1); /* the descriptor table stays */
}
