/*
 * file.c: struct file and its references, the descriptor table, waiting for a
 * file, and the three descriptors a program starts with.
 */
#include "fs.h"

#include <linux/eventpoll.h>

/* ---- files ------------------------------------------------------------------- */

struct file *file_new(const struct file_ops *ops, u32 flags, void *priv)
{
	struct file *f = kzalloc(sizeof *f);
	if (!f)
		return NULL;
	f->ops = ops;
	f->refs = 1;
	f->flags = flags;
	f->priv = priv;
	return f;
}

void file_get(struct file *f) { f->refs++; }

void file_put(struct file *f)
{
	if (--f->refs)
		return;
	wake_all(&f->wq); /* epoll sets hold no reference: they see refs == 0 and forget the file */
	if (f->ops->release)
		f->ops->release(f);
	kfree(f->path);
	kfree(f);
}

long file_wait(struct file *f, u32 events, u64 deadline)
{
	for (;;) {
		if (!f->ops->poll || f->ops->poll(f) & (events | EPOLLERR | EPOLLHUP))
			return 0;
		if (f->flags & O_NONBLOCK)
			return -EAGAIN;
		long err = wait_on(&f->wq, deadline);
		if (err)
			return err;
	}
}

/* Pipes, sockets and their like have one anonymous inode each: its number is the file's address. */
long file_stat(struct file *f, struct stat *st)
{
	memset(st, 0, sizeof *st);
	st->st_blksize = (s64)PAGE_SIZE;
	if (f->ops->stat)
		return f->ops->stat(f, st);
	st->st_ino = (u64)f >> 4;
	st->st_nlink = 1;
	st->st_mode = f->ops->sock ? S_IFSOCK | 0777 : 0600;
	return 0;
}

/* ---- descriptors ---------------------------------------------------------------- */

/* An entry is the file's address; its lowest bit is FD_CLOEXEC. */
static u64 *table;
static u32 table_size;
static u32 limit = 1024;
static u32 lowest_free; /* no free descriptor below */

#define FILE_OF(e) ((struct file *)((e) & ~1ull))

void fd_set_limit(u32 n) { limit = MIN(n, FD_MAX); }
u32 fd_limit(void) { return limit; }
u32 fd_table_size(void) { return table_size; }

struct file *fd_get(int fd) { return (u32)fd < table_size ? FILE_OF(table[fd]) : NULL; }

struct file *fd_io(int fd)
{
	struct file *f = fd_get(fd);
	return f && !(f->flags & O_PATH) ? f : NULL;
}

struct file *fd_next(int *fd)
{
	for (; (u32)*fd < table_size; ++*fd)
		if (table[*fd])
			return FILE_OF(table[*fd]);
	return NULL;
}

bool fd_cloexec(int fd) { return table[fd] & 1; }
void fd_set_cloexec(int fd, bool on) { table[fd] = (table[fd] & ~1ull) | on; }

/* Makes room for descriptor fd, which is below the limit. */
static long table_grow(u32 fd)
{
	if (fd < table_size)
		return 0;
	u32 size = table_size ? table_size : 32;
	while (size <= fd)
		size *= 2;
	u64 *t = krealloc(table, table_size * sizeof *t, size * sizeof *t);
	if (!t)
		return -ENOMEM;
	memset(t + table_size, 0, (size - table_size) * sizeof *t);
	table = t;
	table_size = size;
	return 0;
}

/* The lowest free descriptor at or above lowest, with room for it in the table. */
static long find_free(u32 lowest)
{
	u32 fd = MAX(lowest, lowest_free);
	while (fd < table_size && table[fd])
		fd++;
	if (fd >= limit)
		return -EMFILE;
	long err = table_grow(fd);
	return err ? err : (long)fd;
}

long fd_reserve(void)
{
	long fd = find_free(0);
	return fd < 0 ? fd : 0;
}

long fd_install(struct file *f, bool cloexec, int lowest)
{
	long fd = find_free(lowest < 0 ? 0u : (u32)lowest);
	if (fd < 0) {
		file_put(f);
		return fd;
	}
	table[fd] = (u64)f | cloexec;
	if (lowest <= (int)lowest_free)
		lowest_free = (u32)fd + 1;
	return fd;
}

long fd_dup_to(struct file *f, int fd, bool cloexec)
{
	if ((u32)fd >= limit)
		return -EBADF;
	long err = table_grow((u32)fd);
	if (err)
		return err;
	struct file *old = FILE_OF(table[fd]);
	file_get(f);
	table[fd] = (u64)f | cloexec;
	if (old)
		file_put(old);
	return fd;
}

long fd_close(int fd)
{
	struct file *f = fd_get(fd);
	if (!f)
		return -EBADF;
	table[fd] = 0;
	lowest_free = MIN(lowest_free, (u32)fd);
	file_put(f);
	return 0;
}

void fd_close_on_exec(void)
{
	for (u32 fd = 0; fd < table_size; fd++)
		if (table[fd] & 1)
			fd_close((int)fd);
}

/* ---- standard input, output, error ------------------------------------------------ */

/* Character devices that are no terminals: what a program sees of a service's
 * standard descriptors, and what makes it write to them synchronously. */
static long console_stat(struct file *f, struct stat *st)
{
	st->st_mode = S_IFCHR | 0620;
	st->st_nlink = 1;
	st->st_ino = 1 + (u64)f->priv;
	st->st_dev = DEV_DEV;
	st->st_rdev = f->priv ? 5 << 8 | 1 : 1 << 8 | 3; /* console; null */
	return 0;
}

static long console_op_write(struct file *f, const void *buf, size_t n, u64 *pos)
{
	(void)pos;
	console_write((u16)(u64)f->priv, buf, n);
	return (long)n;
}

static long empty_read(struct file *f, void *buf, size_t n, u64 *pos)
{
	(void)f, (void)buf, (void)n, (void)pos;
	return 0;
}

static const struct file_ops stdin_ops = {
	.name = "stdin", .read = stdin_read, .stat = console_stat, .ioctl = stdin_ioctl, .poll = stdin_poll, .release = stdin_release};
static const struct file_ops console_ops = {
	.name = "console", .read = empty_read, .write = console_op_write, .stat = console_stat};

void file_init(void)
{
	for (u64 fd = 0; fd < 3; fd++) {
		struct file *f = file_new(fd ? &console_ops : &stdin_ops, fd ? O_RDWR : O_RDONLY, (void *)fd);
		if (!f || fd_install(f, false, (int)fd) != (long)fd)
			panic("no memory for descriptor %lu", fd);
	}
}
