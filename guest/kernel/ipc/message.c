/*
 * message.c: the socket calls that move data. They check every pointer of a
 * message first, so that nothing is consumed by a call that then fails. What a
 * family's sendmsg and recvmsg may rely on: buffers are accessible; a sender's
 * name lies in kernel memory; a receiver's name has room for any address; ctl
 * is the program's, ctllen bytes of it accessible. recvmsg sets namelen,
 * ctllen (what it used) and flags.
 */
#include "calls.h"
#include "ipc.h"

#define IOV_MAX_K 1024        /* UIO_MAXIOV */
#define BATCH_MAX 1024        /* of sendmmsg and recvmmsg: UIO_MAXIOV */
#define BYTES_MAX 0x7ffff000u /* MAX_RW_COUNT */

static long send_held(struct file *f, const struct msghdr_k *m, int flags)
{
	return f->ops->sock->sendmsg ? f->ops->sock->sendmsg(f, m, flags) : -EOPNOTSUPP;
}

static long recv_held(struct file *f, struct msghdr_k *m, int flags)
{
	return f->ops->sock->recvmsg ? f->ops->sock->recvmsg(f, m, flags) : -EOPNOTSUPP;
}

long sys_sendto(int fd, const void *buf, u64 n, int flags, const void *addr, int len)
{
	struct iovec_k v = {(void *)buf, MIN(n, (u64)BYTES_MAX)};
	struct msghdr_k m = {.iov = &v, .iovlen = 1};
	struct sockaddr_k a;
	if (!user_readable(buf, v.len) && v.len)
		return -EFAULT;
	long err;
	struct file *f = sock_get(fd, &err);
	if (!f)
		return err;
	if (addr && len && !(err = addr_from_user(&a, addr, len))) {
		m.name = &a;
		m.namelen = (u32)len;
	}
	if (!err)
		err = send_held(f, &m, flags);
	file_put(f);
	return err;
}

long sys_recvfrom(int fd, void *buf, u64 n, int flags, void *addr, int *len)
{
	struct iovec_k v = {buf, MIN(n, (u64)BYTES_MAX)};
	struct sockaddr_k a = {0};
	struct msghdr_k m = {.iov = &v, .iovlen = 1, .name = addr ? &a : NULL};
	if (!user_writable(buf, v.len) && v.len)
		return -EFAULT;
	long err;
	struct file *f = sock_get(fd, &err);
	if (!f)
		return err;
	if (addr)
		err = addr_check(addr, len);
	if (!err)
		err = recv_held(f, &m, flags & ~MSG_CMSG_CLOEXEC);
	if (err >= 0 && addr)
		addr_to_user(addr, len, &a, m.namelen);
	file_put(f);
	return err;
}

/* Copies and checks the program's message header; write: its buffers are to be filled. */
static long header_from_user(struct msghdr_k *m, const struct msghdr_k *user, bool write)
{
	if (!user_readable(user, sizeof *user) || (write && !user_writable((void *)user, sizeof *user)))
		return -EFAULT;
	*m = *user;
	if ((s32)m->namelen < 0)
		return -EINVAL;
	if (!m->name)
		m->namelen = 0;
	m->namelen = MIN(m->namelen, (u32)sizeof(struct sockaddr_k));
	if (m->iovlen > IOV_MAX_K)
		return -EMSGSIZE;
	if (m->ctllen > 0x7fffffff)
		return -ENOBUFS;
	if (m->iovlen && !user_readable(m->iov, m->iovlen * sizeof *m->iov))
		return -EFAULT;
	u64 total = 0;
	for (u64 i = 0; i < m->iovlen; i++) {
		const struct iovec_k *v = &m->iov[i];
		if ((s64)v->len < 0)
			return -EINVAL;
		if (v->len && !(write ? user_writable(v->base, v->len) : user_readable(v->base, v->len)))
			return -EFAULT;
		total += v->len;
		if (total > BYTES_MAX)
			return -EINVAL;
	}
	if (!m->ctl)
		m->ctllen = 0;
	if (m->ctllen && !(write ? user_writable(m->ctl, m->ctllen) : user_readable(m->ctl, m->ctllen)))
		return -EFAULT;
	if (m->namelen && !(write ? user_writable(m->name, m->namelen) : user_readable(m->name, m->namelen)))
		return -EFAULT;
	return 0;
}

static long send_one(struct file *f, const struct msghdr_k *user, int flags)
{
	struct msghdr_k m;
	struct sockaddr_k a = {0};
	long err = header_from_user(&m, user, false);
	if (err)
		return err;
	if (m.namelen) {
		memcpy(&a, m.name, m.namelen);
		m.name = &a;
	} else {
		m.name = NULL;
	}
	return send_held(f, &m, flags);
}

static long recv_one(struct file *f, struct msghdr_k *user, int flags)
{
	struct msghdr_k m;
	struct sockaddr_k a = {0};
	long err = header_from_user(&m, user, true);
	if (err)
		return err;
	void *name = m.name;
	u32 room = m.namelen;
	m.name = name ? &a : NULL;
	m.namelen = 0;
	err = recv_held(f, &m, flags);
	if (err < 0)
		return err;
	if (name) {
		memcpy(name, &a, MIN(room, m.namelen));
		user->namelen = m.namelen;
	}
	user->ctllen = m.ctllen;
	user->flags = m.flags | (flags & MSG_CMSG_CLOEXEC);
	return err;
}

long sys_sendmsg(int fd, const struct msghdr_k *m, int flags)
{
	long err;
	struct file *f = sock_get(fd, &err);
	if (!f)
		return err;
	err = send_one(f, m, flags);
	file_put(f);
	return err;
}

long sys_recvmsg(int fd, struct msghdr_k *m, int flags)
{
	long err;
	struct file *f = sock_get(fd, &err);
	if (!f)
		return err;
	err = recv_one(f, m, flags);
	file_put(f);
	return err;
}

/* ---- several messages a call --------------------------------------------------------- */

/* The count, unless the first message failed. */
static long batch_result(u32 done, long err) { return done ? (long)done : err; }

long sys_sendmmsg(int fd, struct mmsghdr_k *v, u32 n, int flags)
{
	n = MIN(n, (u32)BATCH_MAX);
	if (n && !user_writable(v, n * sizeof *v))
		return -EFAULT;
	long err;
	struct file *f = sock_get(fd, &err);
	if (!f)
		return err;
	u32 done = 0;
	for (err = 0; done < n; done++) {
		err = send_one(f, &v[done].hdr, flags);
		if (err < 0)
			break;
		v[done].len = (u32)err;
	}
	file_put(f);
	return batch_result(done, MIN(err, 0l));
}

/* As on Linux the timeout is looked at after each message only. */
long sys_recvmmsg(int fd, struct mmsghdr_k *v, u32 n, int flags, struct __kernel_timespec *timeout)
{
	n = MIN(n, (u32)BATCH_MAX);
	if ((n && !user_writable(v, n * sizeof *v)) || (timeout && !user_writable(timeout, sizeof *timeout)))
		return -EFAULT;
	if (timeout && !timespec_valid(timeout))
		return -EINVAL;
	u64 deadline = timeout ? deadline_in(timespec_to_ns(timeout)) : NO_DEADLINE;
	long err;
	struct file *f = sock_get(fd, &err);
	if (!f)
		return err;
	u32 done = 0;
	for (err = 0; done < n && (done == 0 || mono_ns() < deadline); done++) {
		err = recv_one(f, &v[done].hdr, flags & ~MSG_WAITFORONE);
		if (err < 0)
			break;
		v[done].len = (u32)err;
		if (flags & MSG_WAITFORONE)
			flags |= MSG_DONTWAIT;
	}
	file_put(f);
	if (timeout && done) {
		u64 now = mono_ns(), left = deadline > now ? deadline - now : 0;
		purity_clock();
		*timeout = (struct __kernel_timespec){(s64)(left / NS_PER_SEC), (s64)(left % NS_PER_SEC)};
	}
	return batch_result(done, MIN(err, 0l));
}
