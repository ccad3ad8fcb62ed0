/*
 * walk.c: from a path to a node, and the working directory. Symbolic links
 * are followed with a stack of what remains of each path, not by recursion;
 * the texts of paths are read where they are, since nothing else runs
 * meanwhile.
 */
#include "fs.h"

enum { TRAIL = 16 };

struct rest {
	const char *p, *end;
};

struct walker {
	struct node cur;
	struct node trail[TRAIL]; /* the directories above cur, as far as the walk came through them */
	u32 trail_len;
	struct rest rest[LINKS_MAX + 1]; /* of the path and of links in it; the last is being read */
	u32 depth;
	struct path_text *text;
};

/* ---- the absolute path --------------------------------------------------------- */

static void text_set(struct path_text *t, const char *path)
{
	if (!t)
		return;
	u64 len = path ? strlen(path) : 0;
	t->lost = !path || len >= PATH_LEN_MAX;
	t->len = t->lost || len == 1 ? 0 : (u32)len; /* "/" is "" */
	if (t->len)
		memcpy(t->buf, path, t->len);
}

static void text_down(struct path_text *t, const char *name, u32 len)
{
	if (!t || t->lost)
		return;
	if (t->len + len + 2 > PATH_LEN_MAX) {
		t->lost = true;
		return;
	}
	t->buf[t->len++] = '/';
	memcpy(t->buf + t->len, name, len);
	t->len += len;
}

static void text_up(struct path_text *t)
{
	if (!t)
		return;
	while (t->len && t->buf[--t->len] != '/')
		;
}

/* ---- steps ------------------------------------------------------------------------ */

static void to_root(struct walker *w)
{
	w->cur = node_inode(root_inode);
	w->trail_len = 0;
	text_set(w->text, "/");
}

static void down(struct walker *w, struct node n, const char *name, u32 len)
{
	if (w->trail_len == TRAIL)
		w->trail_len = 0; /* ".." asks dir_parent() for what is forgotten */
	w->trail[w->trail_len++] = w->cur;
	w->cur = n;
	text_down(w->text, name, len);
}

static void up(struct walker *w)
{
	w->cur = w->trail_len ? w->trail[--w->trail_len] : dir_parent(w->cur);
	text_up(w->text);
}

static void push(struct walker *w, const char *text, u64 len)
{
	struct rest *r = &w->rest[w->depth - 1];
	if (r->p < r->end)
		r = &w->rest[w->depth++]; /* else the link was the end of its path: replace that */
	*r = (struct rest){text, text + len};
}

/* Is only slashes left? *slash: at least one. */
static bool at_end(const struct walker *w, bool *slash)
{
	bool any = false;
	for (u32 i = 0; i < w->depth; i++)
		for (const char *p = w->rest[i].p; p < w->rest[i].end; p++) {
			if (*p != '/')
				return false;
			any = true;
		}
	*slash = any;
	return true;
}

/* The next component, or NULL at the end of everything. */
static const char *next(struct walker *w, u32 *len)
{
	while (w->depth) {
		struct rest *r = &w->rest[w->depth - 1];
		while (r->p < r->end && *r->p == '/')
			r->p++;
		if (r->p < r->end) {
			const char *name = r->p;
			while (r->p < r->end && *r->p != '/')
				r->p++;
			u64 n = (u64)(r->p - name);
			*len = (u32)MIN(n, PATH_LEN_MAX);
			return name;
		}
		if (w->depth == 1)
			return NULL;
		w->depth--;
	}
	return NULL;
}

/* Goes on at the target of link n. 1: the walk jumped to at->node or at->file. */
static long follow(struct walker *w, struct node n, struct place *at)
{
	const char *text = NULL;
	u64 len = 0;
	struct node target = {0};
	struct file *file = NULL;
	long err = node_kind(n) == NODE_PROC ? proc_link(n, &text, &len, &target, &file) : node_link(n, &text, &len);
	if (err)
		return err;
	if (!text) {
		at->node = target.v ? canon(target) : n;
		at->file = target.v ? NULL : file;
		text_set(w->text, file ? file->path : target.v && node_is_dir(target) ? cwd_text() : NULL);
		return 1;
	}
	if (len == 0)
		return -ENOENT;
	push(w, text, len);
	if (*text == '/')
		to_root(w);
	return 0;
}

long walk(struct node start, const char *path, u64 len, u32 flags, struct place *at, struct path_text *text)
{
	struct walker w = {.cur = canon(start), .depth = 1, .text = text};
	u32 links = 0;
	*at = (struct place){.last = LAST_ROOT};
	if (len == 0)
		return -ENOENT;
	w.rest[0] = (struct rest){path, path + len};
	if (*path == '/')
		to_root(&w);
	for (;;) {
		u32 n;
		const char *name = next(&w, &n);
		if (!name) { /* the path named the directory it started from */
			at->node = w.cur;
			return 0;
		}
		if (!node_is_dir(w.cur))
			return -ENOTDIR;
		if (!node_may(w.cur, MAY_EXEC))
			return -EACCES;
		if (n > NAME_LEN_MAX)
			return -ENAMETOOLONG;
		bool last = at_end(&w, &at->slash);
		if (name[0] == '.' && (n == 1 || (n == 2 && name[1] == '.'))) {
			if (n == 2)
				up(&w);
			at->last = n == 1 ? LAST_DOT : LAST_DOTDOT;
			if (!last)
				continue;
			at->dir = at->node = w.cur;
			return 0;
		}
		struct node found = {0};
		long err = dir_lookup(w.cur, name, n, &found);
		if (err && !(err == -ENOENT && last && flags & WALK_CREATE))
			return err;
		bool link = !err && (node_mode(found) & S_IFMT) == S_IFLNK;
		if (link && (!last || flags & WALK_FOLLOW || (at->slash && !(flags & WALK_CREATE)))) {
			if (++links > LINKS_MAX)
				return -ELOOP;
			at->last = LAST_ROOT; /* should the link lead to "/" */
			err = follow(&w, found, at);
			if (err < 0)
				return err;
			if (err == 0)
				continue;
			at->last = LAST_JUMP;
			if (last)
				return at->slash && !node_is_dir(at->node) ? -ENOTDIR : 0;
			w.cur = at->node;
			w.trail_len = 0;
			at->file = NULL;
			continue;
		}
		if (!last) {
			down(&w, found, name, n);
			continue;
		}
		at->dir = w.cur;
		at->name = name;
		at->len = n;
		at->last = LAST_NAME;
		at->node = found;
		text_down(text, name, n);
		return found.v && at->slash && !(flags & WALK_CREATE) && !node_is_dir(found) ? -ENOTDIR : 0;
	}
}

/* ---- the working directory, and paths from the program ------------------------------ */

struct node cwd;
static char *cwd_path; /* as it was reached; NULL: the root, or too long */

const char *cwd_text(void) { return cwd_path ? cwd_path : same(cwd, node_inode(root_inode)) ? "/" : NULL; }

long cwd_set(struct node dir, const char *path)
{
	u64 n = path ? strlen(path) + 1 : 0;
	char *copy = n > 2 ? kmalloc(n) : NULL;
	if (n > 2 && !copy)
		return -ENOMEM;
	if (copy)
		memcpy(copy, path, n);
	node_get(dir);
	node_put(cwd);
	kfree(cwd_path);
	cwd = dir;
	cwd_path = copy;
	return 0;
}

long walk_at(int dirfd, const char *path, u32 flags, struct place *at, struct path_text *text)
{
	long len = user_strlen(path, PATH_LEN_MAX);
	if (len < 0)
		return len;
	struct node start = cwd;
	struct file *f = NULL;
	if (dirfd != AT_FDCWD && (len == 0 || *path != '/')) {
		f = fd_get(dirfd);
		if (!f && (len || flags & WALK_EMPTY))
			return -EBADF;
		start = f ? file_node(f) : start;
	}
	text_set(text, f ? f->path : cwd_text());
	if (len == 0) {
		if (!(flags & WALK_EMPTY))
			return -ENOENT;
		*at = (struct place){.last = LAST_JUMP, .node = canon(start), .file = start.v ? NULL : f};
		return 0;
	}
	if (f && (!start.v || !node_is_dir(start)))
		return -ENOTDIR;
	return walk(start, path, (u64)len, flags, at, text);
}

bool path_leads_to(const char *path, struct node n)
{
	struct place at;
	return walk(node_inode(root_inode), path, strlen(path), 0, &at, NULL) == 0 && same(at.node, canon(n));
}
