/*
 * procfs.c: /proc and /sys as a tree of nodes made from a table. A node's
 * argument is the thread (under task/) or the descriptor (under fd/). Files
 * are written out when they are read at position 0, as Linux does.
 */
#include "proc.h"

struct node proc_root(void) { return node_proc(P_PROC, 0); }
struct node sys_root(void) { return node_proc(P_SYS, 0); }
bool proc_is_root(struct node n) { return same(n, proc_root()) || same(n, sys_root()); }
u32 proc_mode(struct node n) { return proc_rows[proc_id(n)].mode; }

u32 proc_dev(struct node n)
{
	u32 id = proc_id(n);
	while (id != P_PROC && id != P_SYS)
		id = proc_rows[id].parent;
	return id == P_PROC ? DEV_PROC : DEV_SYS;
}

bool proc_of_process(struct node n)
{
	u32 id = proc_id(n);
	while (id != P_PROC && id != P_SYS && id != P_PID)
		id = proc_rows[id].parent;
	return id == P_PID;
}

/* The row whose children a directory shows. */
static u32 shown(struct node dir) { return proc_id(dir) == P_TASK ? P_PID : proc_id(dir); }

static bool child_of(struct node dir, u32 id)
{
	return id != P_PROC && id != P_SYS && id != P_TASK && id != P_FD && proc_rows[id].parent == shown(dir) &&
	       !(id == P_TASKS && proc_id(dir) == P_TASK);
}

static bool number(const char *s, u32 len, u32 *out)
{
	u64 v = 0;
	if (len == 0 || len > 9 || (len > 1 && *s == '0'))
		return false;
	for (u32 i = 0; i < len; i++) {
		if (s[i] < '0' || s[i] > '9')
			return false;
		v = v * 10 + (u64)(s[i] - '0');
	}
	*out = (u32)v;
	return true;
}

long proc_lookup(struct node dir, const char *name, u32 len, struct node *out)
{
	u32 n;
	if (proc_id(dir) == P_FDS || proc_id(dir) == P_TASKS) {
		bool fds = proc_id(dir) == P_FDS;
		if (!number(name, len, &n) || !(fds ? (void *)fd_get((int)n) : (void *)thread_name(n)))
			return -ENOENT;
		*out = node_proc(fds ? P_FD : P_TASK, n);
		return 0;
	}
	for (u32 id = 0; id < proc_row_count; id++) {
		const char *row = proc_rows[id].name;
		if (child_of(dir, id) && strlen(row) == len && memcmp(row, name, len) == 0) {
			*out = node_proc(id, proc_arg(dir));
			return 0;
		}
	}
	return -ENOENT;
}

struct node proc_parent(struct node n)
{
	switch (proc_id(n)) {
	case P_TASK:
		return node_proc(P_TASKS, 0);
	case P_FD:
		return node_proc(P_FDS, 0);
	default:
		if (proc_rows[proc_id(n)].parent == P_PID && proc_arg(n))
			return node_proc(P_TASK, proc_arg(n));
		return node_proc(proc_rows[proc_id(n)].parent, 0);
	}
}

const char *proc_name(struct node n, char tmp[16])
{
	if (proc_id(n) != P_TASK && proc_id(n) != P_FD)
		return proc_rows[proc_id(n)].name;
	ksnprintf(tmp, 16, "%u", proc_arg(n));
	return tmp;
}

/* The lowest thread number at or above min; 0: none. */
static u32 next_thread(u32 min)
{
	u32 have = thread_tids(NULL, 0), best = 0;
	u32 *tids = kmalloc(have * sizeof *tids);
	if (!tids)
		return 0;
	have = MIN(have, thread_tids(tids, have));
	for (u32 i = 0; i < have; i++)
		if (tids[i] >= min && (!best || tids[i] < best))
			best = tids[i];
	kfree(tids);
	return best;
}

bool proc_dirent(struct node dir, u64 *key, struct node *out, char name[PROC_NAME_MAX])
{
	if (*key >= 0x7fffffff)
		return false;
	if (proc_id(dir) == P_FDS) {
		int fd = (int)*key;
		if (!fd_next(&fd))
			return false;
		*key = (u64)fd;
		*out = node_proc(P_FD, (u32)fd);
	} else if (proc_id(dir) == P_TASKS) {
		u32 tid = next_thread((u32)*key);
		if (!tid)
			return false;
		*key = tid;
		*out = node_proc(P_TASK, tid);
	} else {
		while (*key < proc_row_count && !child_of(dir, (u32)*key))
			++*key;
		if (*key >= proc_row_count)
			return false;
		*out = node_proc((u32)*key, proc_arg(dir));
	}
	char tmp[16];
	ksnprintf(name, PROC_NAME_MAX, "%s", proc_name(*out, tmp));
	return true;
}

/* ---- symbolic links --------------------------------------------------------------- */

static char exe_path[PATH_LEN_MAX]; /* untouched, so free of cost, for a program that never re-sets it */

void proc_set_exe(const char *path) { ksnprintf(exe_path, sizeof exe_path, "%s", path); }
const char *proc_exe(void) { return exe_path[0] ? exe_path : boot_args; }

long proc_link(struct node n, const char **text, u64 *len, struct node *target, struct file **file)
{
	static char self[32]; /* in use only until the walk has read it */
	switch (proc_id(n)) {
	case P_SELF:
		ksnprintf(self, sizeof self, "%u", (u32)KERNEL_PID);
		*text = self;
		break;
	case P_THREAD_SELF:
		ksnprintf(self, sizeof self, "%u/task/%u", (u32)KERNEL_PID, thread_self());
		*text = self;
		break;
	case P_MOUNTS:
		*text = "self/mounts";
		break;
	case P_EXE:
		*text = proc_exe();
		break;
	case P_ROOT:
		*text = "/";
		break;
	case P_CWD:
		*target = cwd;
		return 0;
	case P_FD:
		*file = fd_get((int)proc_arg(n));
		if (!*file)
			return -ENOENT;
		*target = file_node(*file);
		return 0;
	default:
		return -EINVAL;
	}
	*len = strlen(*text);
	return 0;
}

/* What a descriptor is called: its path, or what kind of object it is. */
static long describe(struct file *f, char *buf, u64 size)
{
	struct node n = file_node(f);
	if (n.v && f->path)
		return ksnprintf(buf, size, "%s%s", f->path, path_leads_to(f->path, n) ? "" : " (deleted)");
	if (n.v)
		return ksnprintf(buf, size, "/ (deleted)");
	if (f->path)
		return ksnprintf(buf, size, "%s", f->path);
	bool pipe = strcmp(f->ops->name, "pipe") == 0;
	if (!pipe && !f->ops->sock)
		return ksnprintf(buf, size, "anon_inode:[%s]", f->ops->name);
	struct stat st;
	file_stat(f, &st);
	return ksnprintf(buf, size, "%s:[%lu]", pipe ? "pipe" : "socket", st.st_ino);
}

long proc_readlink(struct node n, char *buf, u64 size)
{
	const char *text = NULL;
	struct node target = {0};
	struct file *file = NULL;
	u64 len = 0;
	long err = proc_link(n, &text, &len, &target, &file);
	if (err)
		return err;
	if (file)
		return describe(file, buf, size);
	if (text)
		return ksnprintf(buf, size, "%s", text);
	const char *path = dir_path(target, buf, size);
	if (!path)
		return -ENOENT;
	len = strlen(path);
	memmove(buf, path, len + 1);
	return (long)len;
}

/* ---- files --------------------------------------------------------------------------- */

struct proc_file {
	struct node node;
	struct text text;
};

struct node proc_file_node(struct file *f) { return ((struct proc_file *)f->priv)->node; }

static long fill(struct proc_file *p)
{
	u64 want = 512;
	for (;;) { /* more room until the text fits: what it shows may change in between */
		if (want > p->text.cap || !p->text.buf) {
			char *buf = kmalloc(want);
			if (!buf)
				return -ENOMEM;
			kfree(p->text.buf);
			p->text.buf = buf;
			p->text.cap = want;
		}
		p->text.len = 0;
		proc_rows[proc_id(p->node)].show(&p->text, proc_arg(p->node));
		if (p->text.len < p->text.cap)
			return 0;
		want = p->text.len + 256;
	}
}

static long proc_read(struct file *f, void *buf, size_t n, u64 *pos)
{
	struct proc_file *p = f->priv;
	long err = *pos == 0 || !p->text.buf ? fill(p) : 0;
	if (err)
		return err;
	if (*pos >= p->text.len)
		return 0;
	n = MIN(n, p->text.len - *pos);
	memcpy(buf, p->text.buf + *pos, n);
	*pos += n;
	return (long)n;
}

static long proc_stat(struct file *f, struct stat *st)
{
	node_stat(proc_file_node(f), st);
	return 0;
}

static void proc_release(struct file *f)
{
	struct proc_file *p = f->priv;
	kfree(p->text.buf);
	kfree(p);
}

const struct file_ops proc_file_ops = {
	.name = "proc", .read = proc_read, .seek = vfs_seek_op, .stat = proc_stat, .release = proc_release};

struct file *proc_open(struct node n, u32 flags, long *err)
{
	struct proc_file *p = kzalloc(sizeof *p);
	struct file *f = p ? file_new(&proc_file_ops, flags, p) : NULL;
	if (!f) {
		kfree(p);
		*err = -ENOMEM;
		return NULL;
	}
	p->node = n;
	return f;
}
