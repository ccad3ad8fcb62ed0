/*
 * calls_copy.c: copying from file to file inside the kernel library, through
 * a buffer: a destination may block, and the source may change meanwhile.
 */
#include "calls.h"
#include "fs.h"

enum { BUFFER_PAGES = 4 };
#define COPY_MAX 0x7ffff000ull

/* Copies n bytes at *from (NULL: the source's position) to *to (likewise). */
static long copy(struct file *in, u64 *from, struct file *out, u64 *to, u64 n)
{
	u64 pages = BUFFER_PAGES;
	u8 *buf = page_alloc(pages);
	if (!buf && !(buf = page_alloc(pages = 1)))
		return -ENOMEM;
	u64 *in_pos = from ? from : &in->pos;
	long done = 0, err = 0;
	n = MIN(n, COPY_MAX);
	file_get(in);
	file_get(out);
	while ((u64)done < n) {
		u64 at = *in_pos;
		long got = in->ops->read(in, buf, MIN(n - (u64)done, pages * PAGE_SIZE), &at);
		if (got <= 0) {
			err = got;
			break;
		}
		long put = out->ops->write(out, buf, (size_t)got, to ? to : &out->pos);
		if (put <= 0) {
			err = put;
			break;
		}
		*in_pos += (u64)put;
		done += put;
		if (put < got)
			break;
	}
	page_free(buf, pages);
	file_put(out);
	file_put(in);
	return done ? done : err;
}

static bool may(struct file *f, u32 not) { return f && (f->flags & O_ACCMODE) != not; }

long sys_sendfile(int out_fd, int in_fd, s64 *off, u64 n)
{
	struct file *in = fd_io(in_fd), *out = fd_io(out_fd);
	if (!may(in, O_WRONLY) || !may(out, O_RDONLY))
		return -EBADF;
	if (!in->ops->read || !in->ops->seek || !out->ops->write || out->flags & O_APPEND)
		return -EINVAL;
	if (!off)
		return copy(in, NULL, out, NULL, n);
	if (!user_writable(off, sizeof *off))
		return -EFAULT;
	u64 from = (u64)*off;
	if ((s64)from < 0)
		return -EINVAL;
	long r = copy(in, &from, out, NULL, n);
	*off = (s64)from;
	return r;
}

static bool regular(struct file *f) { return (node_mode(file_node(f)) & S_IFMT) == S_IFREG; }

long sys_copy_file_range(int in_fd, s64 *off_in, int out_fd, s64 *off_out, u64 n, u32 flags)
{
	struct file *in = fd_io(in_fd), *out = fd_io(out_fd);
	if (!may(in, O_WRONLY) || !may(out, O_RDONLY) || (out && out->flags & O_APPEND))
		return -EBADF;
	if (in->ops == &dir_ops)
		return -EISDIR;
	if (flags || !regular(in) || !regular(out))
		return -EINVAL;
	if ((off_in && !user_writable(off_in, sizeof *off_in)) || (off_out && !user_writable(off_out, sizeof *off_out)))
		return -EFAULT;
	u64 from = off_in ? (u64)*off_in : in->pos, to = off_out ? (u64)*off_out : out->pos;
	if ((s64)from < 0 || (s64)to < 0)
		return -EINVAL;
	n = MIN(n, COPY_MAX);
	struct stat st; /* of the source: what is behind its end is not copied, and cannot overlap */
	file_stat(in, &st);
	if (from >= (u64)st.st_size)
		return 0;
	n = MIN(n, (u64)st.st_size - from);
	if (same(canon(file_node(in)), canon(file_node(out))) && from < to + n && to < from + n)
		return -EINVAL;
	long r = copy(in, &from, out, &to, n);
	*(off_in ? off_in : (s64 *)&in->pos) = (s64)from;
	*(off_out ? off_out : (s64 *)&out->pos) = (s64)to;
	return r;
}

/* Pages do not move between files here; a caller must be ready for files that
 * cannot be spliced, and read and write itself. ENOSYS it need not expect. */
long sys_splice(void) { return -EINVAL; }
