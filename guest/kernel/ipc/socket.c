/*
 * socket.c: the socket calls that name no data: they check the program's
 * pointers and dispatch to the family. What a family's sock_ops may rely on:
 * addresses lie in kernel memory, at least two bytes of them are there, and
 * the rest is zero; option values are accessible; the file is referenced for
 * the length of the call.
 */
#include "calls.h"
#include "ipc.h"

static const struct sock_family *const families[] = {&unix_family, &inet_family, &inet6_family, &netlink_family, &vsock_family};

static const struct sock_family *family_of(int family)
{
	for (u32 i = 0; i < ARRAY_SIZE(families); i++)
		if (families[i]->family == family)
			return families[i];
	return NULL;
}

/* Takes the flags out of a socket type. */
static long split_type(int *type, u32 *flags)
{
	*flags = (u32)*type & ~(u32)SOCK_TYPE_MASK;
	*type &= SOCK_TYPE_MASK;
	return *flags & ~(u32)(SOCK_CLOEXEC | SOCK_NONBLOCK) || *type == 0 || *type > 10 /* SOCK_MAX */ ? -EINVAL : 0;
}

long sys_socket(int family, int type, int protocol)
{
	u32 flags;
	long err = split_type(&type, &flags);
	if (err)
		return err;
	const struct sock_family *fam = family_of(family);
	if (!fam)
		return -EAFNOSUPPORT;
	struct file *f = fam->create(type, protocol, flags & SOCK_NONBLOCK, &err);
	return f ? fd_install(f, flags & SOCK_CLOEXEC, 0) : err;
}

long sys_socketpair(int family, int type, int protocol, int *fds)
{
	u32 flags;
	long err = split_type(&type, &flags);
	if (err)
		return err;
	if (!user_writable(fds, 2 * sizeof *fds))
		return -EFAULT;
	const struct sock_family *fam = family_of(family);
	if (!fam)
		return -EAFNOSUPPORT;
	if (!fam->pair)
		return -EOPNOTSUPP;
	struct file *f[2];
	err = fam->pair(type, protocol, flags & SOCK_NONBLOCK, f);
	if (err)
		return err;
	long a = fd_install(f[0], flags & SOCK_CLOEXEC, 0);
	if (a < 0) {
		file_put(f[1]);
		return a;
	}
	long b = fd_install(f[1], flags & SOCK_CLOEXEC, 0);
	if (b < 0) {
		fd_close((int)a);
		return b;
	}
	fds[0] = (int)a;
	fds[1] = (int)b;
	return 0;
}

/* ---- descriptors and addresses ------------------------------------------------------- */

struct file *sock_get(int fd, long *err)
{
	struct file *f = fd_get(fd);
	*err = !f ? -EBADF : !f->ops->sock ? -ENOTSOCK : 0;
	if (*err)
		return NULL;
	file_get(f);
	return f;
}

long addr_from_user(struct sockaddr_k *to, const void *addr, int len)
{
	memset(to, 0, sizeof *to);
	if (len < 0 || (u32)len > sizeof *to)
		return -EINVAL;
	if (!user_readable(addr, (u64)len))
		return -EFAULT;
	memcpy(to, addr, (u64)len);
	return 0;
}

long addr_check(void *addr, int *len)
{
	if (!user_writable(len, sizeof *len))
		return -EFAULT;
	if (*len < 0)
		return -EINVAL;
	return user_writable(addr, MIN((u64)*len, sizeof(struct sockaddr_k))) ? 0 : -EFAULT;
}

void addr_to_user(void *addr, int *len, const struct sockaddr_k *from, u32 bytes)
{
	memcpy(addr, from, MIN((u32)*len, bytes));
	*len = (int)bytes;
}

/* ---- calls ---------------------------------------------------------------------------- */

typedef long (*addr_op)(struct file *f, const struct sockaddr_k *a, u32 len);

static long with_addr(int fd, const void *addr, int len, addr_op (*op_of)(const struct sock_ops *))
{
	long err;
	struct file *f = sock_get(fd, &err);
	if (!f)
		return err;
	struct sockaddr_k a;
	addr_op op = op_of(f->ops->sock);
	err = addr_from_user(&a, addr, len);
	if (!err)
		err = (u32)len < sizeof a.family ? -EINVAL : op ? op(f, &a, (u32)len) : -EOPNOTSUPP;
	file_put(f);
	return err;
}

static addr_op bind_op(const struct sock_ops *o) { return o->bind; }
static addr_op connect_op(const struct sock_ops *o) { return o->connect; }

long sys_bind(int fd, const void *addr, int len) { return with_addr(fd, addr, len, bind_op); }
long sys_connect(int fd, const void *addr, int len) { return with_addr(fd, addr, len, connect_op); }

long sys_listen(int fd, int backlog)
{
	long err;
	struct file *f = sock_get(fd, &err);
	if (!f)
		return err;
	err = f->ops->sock->listen ? f->ops->sock->listen(f, backlog) : -EOPNOTSUPP;
	file_put(f);
	return err;
}

static long accept_held(struct file *f, void *addr, int *len, u32 flags)
{
	long err = addr ? addr_check(addr, len) : 0;
	if (err)
		return err;
	if (!f->ops->sock->accept)
		return -EOPNOTSUPP;
	struct file *nf = f->ops->sock->accept(f, &err);
	if (!nf)
		return err;
	nf->flags = O_RDWR | (flags & SOCK_NONBLOCK);
	if (addr) {
		struct sockaddr_k a = {0};
		long n = nf->ops->sock->getname(nf, &a, true);
		if (n < 0) { /* the peer is gone already */
			file_put(nf);
			return -ECONNABORTED;
		}
		addr_to_user(addr, len, &a, (u32)n);
	}
	return fd_install(nf, flags & SOCK_CLOEXEC, 0);
}

long sys_accept4(int fd, void *addr, int *len, int flags)
{
	if (flags & ~(SOCK_CLOEXEC | SOCK_NONBLOCK))
		return -EINVAL;
	long err;
	struct file *f = sock_get(fd, &err);
	if (!f)
		return err;
	err = accept_held(f, addr, len, (u32)flags);
	file_put(f);
	return err;
}

long sys_accept(int fd, void *addr, int *len) { return sys_accept4(fd, addr, len, 0); }

long sys_shutdown(int fd, int how)
{
	long err;
	struct file *f = sock_get(fd, &err);
	if (!f)
		return err;
	if (how < SHUT_RD || how > SHUT_RDWR)
		err = -EINVAL;
	else
		err = f->ops->sock->shutdown ? f->ops->sock->shutdown(f, how) : -EOPNOTSUPP;
	file_put(f);
	return err;
}

static long name_of(int fd, void *addr, int *len, bool peer)
{
	long err;
	struct file *f = sock_get(fd, &err);
	if (!f)
		return err;
	struct sockaddr_k a = {0};
	err = addr_check(addr, len);
	if (!err)
		err = f->ops->sock->getname ? f->ops->sock->getname(f, &a, peer) : -EOPNOTSUPP;
	if (err >= 0) {
		addr_to_user(addr, len, &a, (u32)err);
		err = 0;
	}
	file_put(f);
	return err;
}

long sys_getsockname(int fd, void *addr, int *len) { return name_of(fd, addr, len, false); }
long sys_getpeername(int fd, void *addr, int *len) { return name_of(fd, addr, len, true); }

long sys_setsockopt(int fd, int level, int opt, const void *v, int len)
{
	if (len < 0)
		return -EINVAL;
	long err;
	struct file *f = sock_get(fd, &err);
	if (!f)
		return err;
	if (!user_readable(v, (u64)len))
		err = len ? -EFAULT : -EINVAL;
	else
		err = f->ops->sock->setsockopt ? f->ops->sock->setsockopt(f, level, opt, v, (u32)len) : -ENOPROTOOPT;
	file_put(f);
	return err;
}

long sys_getsockopt(int fd, int level, int opt, void *v, int *len)
{
	long err;
	struct file *f = sock_get(fd, &err);
	if (!f)
		return err;
	u32 n = 0;
	if (!user_writable(len, sizeof *len))
		err = -EFAULT;
	else if (*len < 0)
		err = -EINVAL;
	else if (n = (u32)*len, n && !user_writable(v, n))
		err = -EFAULT;
	else
		err = f->ops->sock->getsockopt ? f->ops->sock->getsockopt(f, level, opt, v, &n) : -ENOPROTOOPT;
	if (!err)
		*len = (int)n;
	file_put(f);
	return err;
}
