/*
 * fs_model_test.c: random sequences of calls on the merged tree against a
 * model that knows nothing of images, layers or whiteouts. Every result, every
 * errno, every listing and every byte must agree. Now and then an allocation
 * fails: then the call must have changed nothing.
 */
// link: ../fs/*.c
#include "fsimage.h"
#include "../fs/calls.h"

#include <linux/fs.h>

enum { NAMES = 6, MAX_CHILDREN = NAMES + 1, OPEN_FILES = 6, STEPS = 80000, FILE_MAX = 24000 };

static const struct image_file files[] = {
	DIRECTORY("/a"), DIRECTORY("/a/b"), DIRECTORY("/a/b/c"), DIRECTORY("/b"), DIRECTORY("/b/a"),
	TEXT("/a/c", "first"), TEXT("/a/d", ""), BLOB("/a/b/a", 9000), TEXT("/a/b/c/d", "deep"),
	HARDLINK("/b/c", "/a/c"), SYMLINK("/c", "a/b"), SYMLINK("/b/d", "/a/d"), SYMLINK("/b/b", "b"),
};

/* ---- the model ----------------------------------------------------------------------- */

struct m {
	u32 type, nlink, refs; /* refs: open slots */
	u8 *data;
	u64 size;
	struct { char name[4]; struct m *node; } child[MAX_CHILDREN];
	struct m *parent;
};
static struct m *root;

static struct m *m_new(u32 type)
{
	struct m *n = calloc(1, sizeof *n);
	n->type = type;
	if (type == S_IFREG)
		n->data = calloc(1, FILE_MAX);
	return n;
}

static void m_drop(struct m *n)
{
	if (n->nlink || n->refs)
		return;
	free(n->data);
	free(n);
}

static struct m **m_slot(struct m *dir, const char *name)
{
	for (int i = 0; i < MAX_CHILDREN; i++)
		if (dir->child[i].node && !strcmp(dir->child[i].name, name))
			return &dir->child[i].node;
	return NULL;
}

static void m_add(struct m *dir, const char *name, struct m *node)
{
	for (int i = 0; i < MAX_CHILDREN; i++)
		if (!dir->child[i].node) {
			strcpy(dir->child[i].name, name);
			dir->child[i].node = node;
			node->nlink++;
			if (node->type == S_IFDIR)
				node->parent = dir;
			return;
		}
	CHECK(!"too many children in the model");
}

static void m_remove(struct m *dir, const char *name)
{
	struct m **slot = m_slot(dir, name), *n = *slot;
	*slot = NULL;
	n->nlink--;
	m_drop(n);
}

static bool m_empty(struct m *dir)
{
	for (int i = 0; i < MAX_CHILDREN; i++)
		if (dir->child[i].node)
			return false;
	return true;
}

struct at {
	struct m *dir, *node;
	char name[4];
};

static long m_walk(struct m *cur, const char *path, bool follow, int *links, struct at *out)
{
	char next[512];
	if (*path == '/')
		cur = root;
	for (;;) {
		path += strspn(path, "/");
		size_t n = strcspn(path, "/");
		if (cur->type != S_IFDIR)
			return -ENOTDIR;
		memcpy(out->name, path, n);
		out->name[n] = 0;
		path += n;
		struct m **slot = m_slot(cur, out->name), *found = slot ? *slot : NULL;
		bool last = *path == 0;
		if (!found && !last)
			return -ENOENT;
		if (found && found->type == S_IFLNK && (!last || follow)) {
			if (++*links > 40)
				return -ELOOP;
			snprintf(next, sizeof next, "%s%s", (char *)found->data, path);
			return m_walk(cur, next, follow, links, out);
		}
		out->dir = cur;
		out->node = found;
		if (last)
			return 0;
		cur = found;
	}
}

static long find(const char *path, bool follow, struct at *out)
{
	int links = 0;
	return m_walk(root, path, follow, &links, out);
}

static struct m *m_link(const char *target)
{
	struct m *n = m_new(S_IFLNK);
	n->data = (u8 *)strdup(target);
	n->size = strlen(target);
	return n;
}

static void m_load(void)
{
	root = m_new(S_IFDIR);
	root->nlink = 1;
	for (u32 i = 0; i < ARRAY_SIZE(files); i++) {
		const struct image_file *f = &files[i];
		struct at at, old;
		CHECK_EQ(find(f->path, false, &at), 0);
		if (f->link_to) {
			CHECK_EQ(find(f->link_to, false, &old), 0);
			m_add(at.dir, at.name, old.node);
			continue;
		}
		struct m *n = (f->mode & S_IFMT) == S_IFLNK ? m_link(f->content) : m_new(f->mode & S_IFMT);
		if (n->type == S_IFREG) {
			n->size = f->content ? strlen(f->content) : f->size;
			for (u64 k = 0; k < n->size; k++)
				n->data[k] = f->content ? (u8)f->content[k] : image_pattern(k);
		}
		m_add(at.dir, at.name, n);
	}
}

/* ---- operations: the model's answer and the file system's -------------------------------- */

static struct { int fd; struct m *node; } slots[OPEN_FILES];
static u64 done[9], failed;

/* Runs a call with or without a failing allocation. True: it ran out of memory, and the model stays. */
static long result;
#define CALL(expr)                                                             \
	({                                                                     \
		host_fail_after = host_random(8) ? -1 : (s64)host_random(5);   \
		result = (expr);                                               \
		host_fail_after = -1;                                          \
		failed += result == -ENOMEM || result == -ENOSPC;              \
		result == -ENOMEM || result == -ENOSPC;                        \
	})

static const char *random_path(char *buf)
{
	*buf = 0;
	for (u32 n = 1 + host_random(host_random(3) ? 2 : 4); n; n--)
		sprintf(buf + strlen(buf), "/%c", 'a' + host_random(NAMES));
	return buf;
}

/* Mostly a path of something that exists, maybe deep down. */
static const char *known_path(char *buf)
{
	struct m *n = root;
	*buf = 0;
	for (int depth = 0; depth < 14 && n->type == S_IFDIR && (depth == 0 || host_random(6)); depth++) {
		u32 i = host_random(MAX_CHILDREN), tries = 0;
		while (!n->child[i].node && ++tries <= MAX_CHILDREN)
			i = (i + 1) % MAX_CHILDREN;
		if (!n->child[i].node)
			break;
		sprintf(buf + strlen(buf), "/%s", n->child[i].name);
		n = n->child[i].node;
	}
	return *buf ? buf : random_path(buf);
}

static void op_open(void)
{
	char path[32];
	struct at at;
	u32 slot = host_random(OPEN_FILES), flags = O_RDWR | (host_random(3) ? O_CREAT : 0) | (host_random(4) ? 0 : O_EXCL) |
						    (host_random(4) ? 0 : O_TRUNC);
	if (!(flags & O_CREAT))
		flags &= ~(u32)O_EXCL;
	if (slots[slot].node) {
		CHECK_EQ(sys_close(slots[slot].fd), 0);
		slots[slot].node->refs--;
		m_drop(slots[slot].node);
		slots[slot].node = NULL;
	}
	long want = find(random_path(path), !(flags & O_EXCL), &at);
	if (!want)
		want = !at.node ? (flags & O_CREAT ? 0 : -ENOENT) : flags & O_EXCL ? -EEXIST : at.node->type == S_IFDIR ? -EISDIR : 0;
	if (CALL(sys_open(path, flags, 0644)))
		return;
	CHECK_EQ(MIN(result, 0), want);
	if (result < 0)
		return;
	if (!at.node)
		m_add(at.dir, at.name, at.node = m_new(S_IFREG));
	if (flags & O_TRUNC) {
		memset(at.node->data, 0, FILE_MAX);
		at.node->size = 0;
	}
	slots[slot].fd = (int)result;
	slots[slot].node = at.node;
	at.node->refs++;
	done[0]++;
}

static void op_content(void)
{
	static u8 buf[FILE_MAX];
	u32 slot = host_random(OPEN_FILES);
	struct m *n = slots[slot].node;
	if (!n)
		return;
	int fd = slots[slot].fd;
	u64 off = host_random(12000), len = host_random(host_random(3) ? 200 : 9000);
	switch (host_random(4)) {
	case 0:
		for (u64 i = 0; i < len; i++)
			buf[i] = (u8)host_random(256);
		if (CALL(sys_pwrite64(fd, buf, len, (s64)off)))
			break;
		CHECK_EQ(result, len);
		memcpy(n->data + off, buf, len);
		if (len)
			n->size = MAX(n->size, off + len);
		break;
	case 1:
		if (CALL(sys_ftruncate(fd, (s64)off)))
			break;
		CHECK_EQ(result, 0);
		if (off < n->size)
			memset(n->data + off, 0, n->size - off);
		n->size = off;
		break;
	}
	CHECK_EQ(sys_pread64(fd, buf, sizeof buf, 0), n->size);
	CHECK(memcmp(buf, n->data, n->size) == 0);
	done[1]++;
}

static void op_mkdir(void)
{
	char path[32];
	struct at at;
	long want = find(random_path(path), false, &at);
	if (!want && at.node)
		want = -EEXIST;
	if (CALL(sys_mkdir(path, 0755)))
		return;
	CHECK_EQ(result, want);
	if (!want)
		m_add(at.dir, at.name, m_new(S_IFDIR)), done[2]++;
}

static void op_remove(void)
{
	char path[32];
	struct at at;
	bool dir = host_random(2);
	long want = find(host_random(3) ? known_path(path) : random_path(path), false, &at);
	if (!want)
		want = !at.node ? -ENOENT : dir ? (at.node->type != S_IFDIR ? -ENOTDIR : m_empty(at.node) ? 0 : -ENOTEMPTY)
						: (at.node->type == S_IFDIR ? -EISDIR : 0);
	if (CALL(dir ? sys_rmdir(path) : sys_unlink(path)))
		return;
	CHECK_EQ(result, want);
	if (!want)
		m_remove(at.dir, at.name), done[3 + dir]++;
}

static bool m_within(struct m *dir, struct m *top)
{
	for (; dir; dir = dir->parent)
		if (dir == top)
			return true;
	return false;
}

static void op_rename(void)
{
	char from[32], to[32];
	struct at a, b;
	long want = find(host_random(2) ? known_path(from) : random_path(from), false, &a), err = find(random_path(to), false, &b);
	if (!want)
		want = err;
	if (!want && !a.node)
		want = -ENOENT;
	if (!want) {
		bool dir = a.node->type == S_IFDIR;
		if (dir && m_within(b.dir, a.node))
			want = -EINVAL;
		else if (b.node && m_within(a.dir, b.node))
			want = -ENOTEMPTY;
		else if (b.node && b.node != a.node)
			want = dir ? (b.node->type != S_IFDIR ? -ENOTDIR : m_empty(b.node) ? 0 : -ENOTEMPTY)
				   : (b.node->type == S_IFDIR ? -EISDIR : 0);
	}
	if (CALL(sys_rename(from, to)))
		return;
	CHECK_EQ(result, want);
	if (want || a.node == b.node)
		return;
	if (b.node)
		m_remove(b.dir, b.name);
	m_add(b.dir, b.name, a.node);
	m_remove(a.dir, a.name);
	done[5]++;
}

static void op_link(void)
{
	char from[32], to[32];
	struct at a, b;
	long want = find(host_random(2) ? known_path(from) : random_path(from), false, &a), err = find(random_path(to), false, &b);
	if (!want && !a.node)
		want = -ENOENT;
	if (!want)
		want = err ? err : b.node ? -EEXIST : a.node->type == S_IFDIR ? -EPERM : 0;
	if (CALL(sys_link(from, to)))
		return;
	CHECK_EQ(result, want);
	if (!want)
		m_add(b.dir, b.name, a.node), done[6]++;
}

static void op_symlink(void)
{
	char target[32], path[32];
	struct at at;
	random_path(target);
	const char *text = target + host_random(2); /* relative or absolute */
	long want = find(random_path(path), false, &at);
	if (!want && at.node)
		want = -EEXIST;
	if (CALL(sys_symlink(text, path)))
		return;
	CHECK_EQ(result, want);
	if (!want)
		m_add(at.dir, at.name, m_link(text)), done[7]++;
}

static void op_chmod(void)
{
	char path[32];
	struct at at;
	long want = find(random_path(path), true, &at);
	if (!want && !at.node)
		want = -ENOENT;
	if (CALL(sys_chmod(path, 0700)))
		return;
	CHECK_EQ(result, want);
	done[8]++;
}

/* ---- comparing everything ------------------------------------------------------------------- */

static void compare(struct m *n, const char *path)
{
	static u8 buf[FILE_MAX];
	char below[300];
	struct stat st;
	CHECK_EQ(sys_lstat(*path ? path : "/", &st), 0);
	CHECK_EQ(st.st_mode & S_IFMT, n->type);
	if (n->type != S_IFDIR) {
		CHECK_EQ(st.st_nlink, n->nlink);
		CHECK_EQ(st.st_size, n->size);
	}
	if (n->type == S_IFLNK) {
		CHECK_EQ(sys_readlink(path, (char *)buf, sizeof buf), n->size);
		CHECK(memcmp(buf, n->data, n->size) == 0);
		return;
	}
	int fd = (int)sys_open(*path ? path : "/", O_RDONLY, 0);
	CHECK(fd >= 0);
	if (n->type == S_IFREG) {
		CHECK_EQ(sys_read(fd, buf, sizeof buf), n->size);
		CHECK(memcmp(buf, n->data, n->size) == 0);
		sys_close(fd);
		return;
	}
	u32 names = 0, want = 0, subdirs = 0;
	for (long got; (got = sys_getdents64(fd, buf, 64 + host_random(100))) > 0;)
		for (long at = 0; at < got; at += *(u16 *)(buf + at + 16)) {
			const char *name = (char *)buf + at + 19;
			if (name[0] == '.' || (n == root && name[1])) /* proc, dev, sys */
				continue;
			struct m **slot = m_slot(n, name);
			CHECK(slot != NULL);
			CHECK_EQ(buf[at + 18], (*slot)->type >> 12);
			names++;
		}
	sys_close(fd);
	for (int i = 0; i < MAX_CHILDREN; i++)
		if (n->child[i].node) {
			want++;
			subdirs += n->child[i].node->type == S_IFDIR;
			snprintf(below, sizeof below, "%s/%s", path, n->child[i].name);
			compare(n->child[i].node, below);
		}
	CHECK_EQ(names, want);
	if (n != root)
		CHECK_EQ(st.st_nlink, 2 + subdirs);
}

static void remove_all(struct m *n, const char *path)
{
	char below[300];
	for (int i = 0; i < MAX_CHILDREN; i++)
		if (n->child[i].node) {
			snprintf(below, sizeof below, "%s/%s", path, n->child[i].name);
			bool dir = n->child[i].node->type == S_IFDIR;
			if (dir)
				remove_all(n->child[i].node, below);
			CHECK_EQ(dir ? sys_rmdir(below) : sys_unlink(below), 0);
			m_remove(n, n->child[i].name);
		}
}

/* fs_model [seed]: another seed is another sequence. */
int main(int argc, char **argv)
{
	static void (*const ops[])(void) = {op_open,   op_open,   op_content, op_content, op_content, op_mkdir, op_mkdir, op_mkdir,
					    op_remove, op_remove, op_remove,  op_rename,  op_link,    op_link,    op_symlink, op_chmod};
	if (argc > 1)
		host_seed = strtoull(argv[1], NULL, 0);
	struct image im = image_build(files, ARRAY_SIZE(files));
	u8 *pristine = malloc(im.size);
	memcpy(pristine, im.bytes, im.size);
	vfs_init(im.bytes, im.size);
	u64 objects = host_objects_out;
	m_load();
	compare(root, "");
	for (int step = 0; step < STEPS; step++) {
		ops[host_random(ARRAY_SIZE(ops))]();
		if (step % 50 == 0)
			compare(root, "");
	}
	compare(root, "");
	for (int i = 0; i < 9; i++)
		CHECK(done[i] > STEPS / 1000); /* every kind of call succeeded often enough to mean something */
	CHECK(failed > 200);
	for (int i = 0; i < OPEN_FILES; i++)
		if (slots[i].node) {
			sys_close(slots[i].fd);
			slots[i].node->refs--;
			m_drop(slots[i].node);
		}
	remove_all(root, "");
	compare(root, "");
	CHECK_EQ(host_pages_out, 0);
	/* What may stay: tables and whiteouts of the image's names. */
	CHECK(host_objects_out < objects + ARRAY_SIZE(files) + 8);
	CHECK(memcmp(pristine, im.bytes, im.size) == 0); /* the image itself was never written */
	free(pristine);
	return 0;
}
