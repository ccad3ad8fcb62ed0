/*
 * host.c: stands in for the kernel library's core (memory, waiting, time,
 * console) in host test programs. Weak definitions: a test may bring its own.
 */
#include "host.h"

#include "../cred.h"

#include <stdarg.h>

#define WEAK __attribute__((weak))

struct abi_boot host_boot = {.magic = ABI_BOOT_MAGIC, .abi_version = ABI_KERNEL_VERSION};
struct abi_identity host_identity = {.generation = 1, .tsc_mult = 1ull << 32, .cid = 3};
struct abi_control host_control;
char host_args[ABI_ARGS_SIZE];
u64 host_seed = 0x9e3779b97f4a7c15;

u32 host_random(u32 below)
{
	host_seed ^= host_seed << 13;
	host_seed ^= host_seed >> 7;
	host_seed ^= host_seed << 17;
	return below ? (u32)(host_seed >> 32) % below : 0;
}

/* ---- memory: from libc, so that the sanitizers watch every object ---------- */

u64 host_ram_pages = 65536, host_pages_out, host_objects_out;
s64 host_fail_after = -1;
char *host_bad;

static bool allocation_fails(void)
{
	if (host_fail_after < 0)
		return false;
	return host_fail_after-- == 0;
}

/* The program is root, unless a test links cred.c. */
WEAK struct cred cred;
WEAK bool cred_plain = true, cred_no_new_privs;
WEAK bool cred_in_group(u32 gid) { return gid == cred.fsgid; }
WEAK u32 cred_groups(const u32 **list) { return *list = NULL, 0; }
WEAK struct cred cred_as_real(void) { return cred; }
WEAK void cred_restore(const struct cred *old) { (void)old; }

WEAK void limit_get(int resource, u64 out[2])
{
	(void)resource;
	out[0] = out[1] = ~0ull;
}

WEAK void *page_alloc(u64 pages)
{
	if (pages == 0 || pages > host_ram_pages - MIN(host_ram_pages, host_pages_out) || allocation_fails())
		return NULL;
	void *p = aligned_alloc(PAGE_SIZE, pages * PAGE_SIZE);
	if (!p)
		return NULL;
	memset(p, 0, pages * PAGE_SIZE);
	host_pages_out += pages;
	return p;
}

/* Frees whole allocations; the tail of one may also be given back by itself
 * (as the real allocator allows): then the memory only counts as returned. */
WEAK void page_free(void *addr, u64 pages)
{
	host_pages_out -= pages;
	extern const char *__asan_locate_address(void *, char *, size_t, void **, size_t *);
	char name[8];
	void *start = addr;
	size_t bytes = 0;
	__asan_locate_address(addr, name, sizeof name, &start, &bytes);
	if (start == addr)
		free(addr);
}

WEAK void *kmalloc(size_t bytes)
{
	if (allocation_fails())
		return NULL;
	void *p = malloc(bytes);
	if (p) {
		memset(p, 0xa5, bytes); /* as garbage as a recycled object */
		host_objects_out++;
	}
	return p;
}

WEAK void *kzalloc(size_t bytes)
{
	void *p = kmalloc(bytes);
	return p ? memset(p, 0, bytes) : NULL;
}

WEAK void *krealloc(void *p, size_t old_bytes, size_t bytes)
{
	void *q = kmalloc(bytes);
	if (q && p) {
		memcpy(q, p, MIN(old_bytes, bytes));
		kfree(p);
	}
	return q;
}

WEAK void kfree(void *p)
{
	if (p)
		host_objects_out--;
	free(p);
}

static bool user_range(const void *p, u64 n)
{
	u64 a = (u64)p;
	if (a < PAGE_SIZE || a + n < a || a + n > 1ull << 47)
		return false;
	return !host_bad || a + n <= (u64)host_bad || a >= (u64)host_bad + PAGE_SIZE;
}

WEAK bool mm_mapped(u64 addr, u64 bytes) { return user_range((const void *)addr, bytes); }
WEAK bool user_readable(const void *p, u64 n) { return user_range(p, n); }
WEAK bool user_writable(void *p, u64 n) { return user_range(p, n); }

WEAK long user_strlen(const char *s, size_t max)
{
	for (size_t i = 0; i < max; i++) {
		if (!user_range(s + i, 1))
			return -EFAULT;
		if (!s[i])
			return (long)i;
	}
	return -ENAMETOOLONG;
}

WEAK u64 ram_pages_total(void) { return host_ram_pages; }
WEAK u64 ram_pages_free(void) { return host_ram_pages - MIN(host_ram_pages, host_pages_out); }

/* ---- time, entropy ------------------------------------------------------------ */

u64 host_mono_ns = 5 * NS_PER_SEC, host_wall_ns = 1700000000 * NS_PER_SEC;
u64 host_entropy_reads, host_clock_reads;
static struct timer *timers;

WEAK u64 mono_ns(void) { return host_mono_ns; }
WEAK u64 wall_ns(void) { return host_wall_ns; }
WEAK void purity_clock(void) { host_clock_reads++; }
WEAK void purity_entropy(void) { host_entropy_reads++; }
WEAK void purity_socket(void) {}

/* ---- regions: there are none ---------------------------------------------------- */

WEAK long region_open(const char *name, u64 len, u32 flags, u64 *size)
{
	(void)name, (void)len, (void)flags, (void)size;
	return -ENOENT;
}
WEAK long region_remove(const char *name, u64 len)
{
	(void)name, (void)len;
	return -ENOENT;
}
WEAK long region_map(const char *name, u64 len, u64 off, u64 bytes, bool write)
{
	(void)name, (void)len, (void)off, (void)bytes, (void)write;
	return -ENOMEM;
}
WEAK long region_sync(u64 addr, u64 bytes)
{
	(void)addr, (void)bytes;
	return -ENOMEM;
}

/* ---- the function's API: nobody answers -------------------------------------------- */

WEAK long api_ioctl(struct file *f, u32 request, u64 arg)
{
	(void)f, (void)request, (void)arg;
	return -ENXIO;
}

WEAK void random_bytes(void *buf, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((u8 *)buf)[i] = (u8)host_random(256);
}

WEAK void timer_cancel(struct timer *t)
{
	for (struct timer **p = &timers; *p; p = &(*p)->next)
		if (*p == t) {
			*p = t->next;
			break;
		}
	t->armed = false;
}

WEAK void timer_arm(struct timer *t, u64 deadline)
{
	timer_cancel(t);
	t->deadline = deadline;
	t->armed = true;
	struct timer **p = &timers;
	while (*p && (*p)->deadline <= deadline)
		p = &(*p)->next;
	t->next = *p;
	*p = t;
}

void host_run_timers(void)
{
	while (timers && timers->deadline <= host_mono_ns) {
		struct timer *t = timers;
		timers = t->next;
		t->armed = false;
		t->fire(t);
	}
}

/* ---- waiting: nothing blocks in a test ------------------------------------------ */

long (*host_wait)(struct waitq *q, u64 deadline);

static long host_block(struct waitq *q, u64 deadline)
{
	if (host_wait)
		return host_wait(q, deadline);
	return deadline == NO_DEADLINE ? -ERESTARTSYS : -ETIMEDOUT;
}

WEAK long stdin_read(struct file *f, void *buf, size_t n, u64 *pos) { return (void)f, (void)buf, (void)n, (void)pos, 0; }
WEAK u32 stdin_poll(struct file *f) { return (void)f, 1u; }
WEAK long stdin_ioctl(struct file *f, u32 request, u64 arg) { return (void)f, (void)request, (void)arg, -ENOTTY; }
WEAK void stdin_release(struct file *f) { (void)f; }
WEAK long wait_on(struct waitq *q, u64 deadline) { return host_block(q, deadline); }
WEAK long wait_queued(u64 deadline) { return host_block(NULL, deadline); }

WEAK void waitq_add(struct waitq *q, struct waiter *w)
{
	w->q = q;
	w->woken = false;
	if (!q->head) {
		w->next = w->prev = w;
		q->head = w;
		return;
	}
	w->next = q->head;
	w->prev = q->head->prev;
	w->prev->next = w->next->prev = w;
}

WEAK void waitq_remove(struct waiter *w)
{
	if (!w->q)
		return;
	if (w->next == w)
		w->q->head = NULL;
	else if (w->q->head == w)
		w->q->head = w->next;
	w->next->prev = w->prev;
	w->prev->next = w->next;
	w->q = NULL;
}

static void wake(struct waitq *q, bool all)
{
	struct waiter *w = q->head, *last = w ? w->prev : NULL;
	while (w) {
		struct waiter *next = w->next;
		bool end = w == last;
		w->woken = true;
		if (w->notify)
			w->notify(w);
		else if (!all)
			return;
		if (end)
			return;
		w = next;
	}
}

WEAK void wake_all(struct waitq *q) { wake(q, true); }
WEAK void wake_one(struct waitq *q) { wake(q, false); }

int host_last_signal;
WEAK void content_read(u64 offset, void *buf, u64 n)
{
	(void)offset;
	memset(buf, 0, n);
}
void signal_self(int sig);
WEAK void signal_self(int sig) { host_last_signal = sig; }

/* ---- console, printf -------------------------------------------------------------- */

char host_console[4097];

WEAK void console_write(u16 fd, const void *buf, size_t n)
{
	(void)fd;
	size_t have = strlen(host_console), max = sizeof host_console - 1;
	const char *p = buf;
	if (n > max) {
		p += n - max;
		n = max;
	}
	if (have + n > max) {
		size_t drop = have + n - max;
		memmove(host_console, host_console + drop, have - drop);
		have -= drop;
	}
	memcpy(host_console + have, p, n);
	host_console[have + n] = 0;
}

WEAK int ksnprintf(char *buf, size_t size, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(buf, size, fmt, ap);
	va_end(ap);
	return n;
}

WEAK void kprintf(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
}

WEAK void panic(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	fprintf(stderr, "panic: ");
	vfprintf(stderr, fmt, ap);
	fprintf(stderr, "\n");
	va_end(ap);
	abort();
}

/* ---- what /proc shows ----------------------------------------------------------------- */

u64 exec_auxv[48] WEAK = {6 /* AT_PAGESZ */, 4096, 0, 0};

WEAK long mm_maps(char *buf, size_t n, bool sizes)
{
	(void)sizes;
	return ksnprintf(buf, n, "00400000-00500000 rwxp 00000000 00:00 0 %s\n", "[heap]");
}

WEAK u32 thread_tids(u32 *tids, u32 max)
{
	if (max > 0)
		tids[0] = 1;
	if (max > 1)
		tids[1] = 7;
	return 2;
}

WEAK u32 thread_self(void) { return 1; }
WEAK const char *thread_name(u32 tid) { return tid == 1 ? "main" : tid == 7 ? "worker" : NULL; }
