/*
 * unix_name.c: AF_UNIX addresses. A path's node in the file tree is found by
 * its inode number, so renames, links and relative paths work as on Linux; an
 * abstract name is its bytes (unix(7)).
 */
#include "unix.h"

static struct list bound; /* of unix_sock.bound */

static struct list *bound_list(void)
{
	if (!list_linked(&bound))
		list_init(&bound);
	return &bound;
}

static struct unix_sock *find_bound(u64 ino, const u8 *name, u32 bytes)
{
	struct list *head = bound_list();
	for (struct list *l = head->next; l != head; l = l->next) {
		struct unix_sock *u = container_of(l, struct unix_sock, bound);
		if (ino ? u->ino == ino : !u->ino && u->namelen - NAME_OFFSET == bytes && !memcmp(u->name, name, bytes))
			return u;
	}
	return NULL;
}

static long check(const struct sockaddr_k *a, u32 len)
{
	if (len < NAME_OFFSET || len > sizeof(struct sockaddr_un) || a->family != AF_UNIX)
		return -EINVAL;
	return 0;
}

/* The path of an address, terminated. */
static const char *path_of(const struct sockaddr_k *a, u32 len, char buf[UNIX_PATH_MAX + 1])
{
	memcpy(buf, a->data, len - NAME_OFFSET);
	buf[len - NAME_OFFSET] = 0;
	return buf;
}

static long set_name(struct unix_sock *u, const void *name, u32 bytes)
{
	u->name = kmalloc(bytes);
	if (!u->name)
		return -ENOMEM;
	memcpy(u->name, name, bytes);
	u->namelen = NAME_OFFSET + bytes;
	return 0;
}

/* An unused abstract name of five hexadecimal digits. */
static u32 autobind_name(u8 name[6])
{
	static u32 next;
	do {
		u32 v = next++ & 0xfffff;
		name[0] = 0;
		for (int i = 5; i > 0; i--, v >>= 4)
			name[i] = (u8)"0123456789abcdef"[v & 15];
	} while (find_bound(0, name, 6));
	return 6;
}

long unix_bind(struct file *f, const struct sockaddr_k *a, u32 len)
{
	struct unix_sock *u = unix_of(f);
	long err = check(a, len);
	if (err)
		return err;
	char path[UNIX_PATH_MAX + 1];
	u8 generated[6];
	if (u->namelen) { /* a path is made first, and so may be taken */
		u64 taken;
		if (len == NAME_OFFSET)
			return 0;
		err = a->data[0] ? vfs_socket_find(path_of(a, len, path), &taken) : -ENOENT;
		return err == 0 || err == -ECONNREFUSED ? -EADDRINUSE : -EINVAL;
	}
	const void *name = a->data;
	u32 bytes = len - NAME_OFFSET;
	u64 ino = 0;
	if (bytes == 0) {
		name = generated;
		bytes = autobind_name(generated);
	} else if (a->data[0]) {
		name = path_of(a, len, path);
		bytes = (u32)strlen(path) + 1;
	} else if (find_bound(0, name, bytes)) {
		return -EADDRINUSE;
	}
	err = set_name(u, name, bytes);
	if (!err && ((const u8 *)name)[0])
		err = vfs_socket_create(name, &ino);
	if (err) {
		kfree(u->name);
		u->name = NULL;
		u->namelen = 0;
		return err;
	}
	u->ino = ino;
	list_add_tail(bound_list(), &u->bound);
	return 0;
}

void unix_unbind(struct unix_sock *u)
{
	if (list_linked(&u->bound))
		list_del(&u->bound);
	kfree(u->name);
	u->name = NULL;
	u->namelen = 0;
}

long unix_copy_name(struct unix_sock *to, const struct unix_sock *from)
{
	return from->namelen ? set_name(to, from->name, from->namelen - NAME_OFFSET) : 0;
}

u32 unix_put_name(const struct unix_sock *u, struct sockaddr_k *a)
{
	a->family = AF_UNIX;
	if (!u->namelen)
		return NAME_OFFSET;
	memcpy(a->data, u->name, u->namelen - NAME_OFFSET);
	return u->namelen;
}

struct unix_sock *unix_find(const struct sockaddr_k *a, u32 len, int type, long *err)
{
	*err = check(a, len);
	if (!*err && len == NAME_OFFSET)
		*err = -EINVAL;
	u64 ino = 0;
	if (!*err && a->data[0]) {
		char path[UNIX_PATH_MAX + 1];
		*err = vfs_socket_find(path_of(a, len, path), &ino);
	}
	if (*err)
		return NULL;
	struct unix_sock *u = find_bound(ino, a->data, len - NAME_OFFSET);
	*err = !u ? -ECONNREFUSED : u->st.s.type != type ? -EPROTOTYPE : 0;
	return *err ? NULL : u;
}
