/*
 * scm.c: control messages of AF_UNIX sockets: files that travel with a message
 * (SCM_RIGHTS) and credentials (SCM_CREDENTIALS). Files in a queue hold
 * references; a socket sent to itself and then closed stays, for nothing here
 * looks for such cycles.
 */
#include "ipc.h"

struct ucred_k { s32 pid; u32 uid, gid; };      /* struct ucred */

#define PROGRAM_PID 1

void rights_free(struct rights *r)
{
	if (!r)
		return;
	for (u32 i = 0; i < r->n; i++)
		file_put(r->files[i]);
	kfree(r);
}

static long add_files(struct rights **out, const int *fds, u64 n)
{
	struct rights *old = *out;
	u32 have = old ? old->n : 0;
	if (n > SCM_MAX_FD - have)
		return -EINVAL;
	if (n == 0)
		return 0;
	struct rights *r = kzalloc(sizeof *r + (have + n) * sizeof r->files[0]);
	if (!r)
		return -ENOMEM;
	for (u64 i = 0; i < n; i++) {
		int fd;
		memcpy(&fd, fds + i, sizeof fd);
		struct file *f = fd_get(fd);
		if (!f) {
			rights_free(r); /* those of this message; the earlier ones are the caller's */
			return -EBADF;
		}
		file_get(f);
		r->files[r->n++] = f;
	}
	if (old) { /* a second SCM_RIGHTS: its files follow the first's */
		memmove(r->files + have, r->files, n * sizeof r->files[0]);
		memcpy(r->files, old->files, have * sizeof r->files[0]);
		r->n += have;
		kfree(old);
	}
	*out = r;
	return 0;
}

static long check_credentials(const struct ucred_k *program)
{
	struct ucred_k c;
	memcpy(&c, program, sizeof c);
	if (c.pid != PROGRAM_PID)
		return -ESRCH;
	bool user = c.uid == cred.uid || c.uid == cred.euid || c.uid == cred.suid;
	bool group = c.gid == cred.gid || c.gid == cred.egid || c.gid == cred.sgid;
	return cred.euid == 0 || (user && group) ? 0 : -EPERM;
}

long scm_parse(const struct msghdr_k *m, struct rights **out)
{
	const u8 *p = m->ctl;
	u64 left = m->ctllen;
	long err = 0;
	while (!err && left >= sizeof(struct cmsghdr_k)) {
		struct cmsghdr_k h;
		memcpy(&h, p, sizeof h);
		if (h.len < sizeof h || h.len > left) {
			err = -EINVAL;
			break;
		}
		const void *data = p + sizeof h;
		u64 bytes = h.len - sizeof h;
		if (h.level != SOL_SOCKET)
			; /* another layer's, as in Linux */
		else if (h.type == SCM_RIGHTS)
			err = add_files(out, data, bytes / sizeof(int));
		else if (h.type == SCM_CREDENTIALS && bytes == sizeof(struct ucred_k))
			err = check_credentials(data);
		else
			err = -EINVAL;
		u64 step = MIN(CMSG_ALIGN(h.len), left);
		p += step;
		left -= step;
	}
	if (err) {
		rights_free(*out);
		*out = NULL;
	}
	return err;
}

void cmsg_put(struct msghdr_k *m, u64 cap, int level, int type, const void *data, u32 n)
{
	struct cmsghdr_k h = {sizeof h + n, level, type};
	u64 left = cap - m->ctllen;
	if (!m->ctl || left < sizeof h) {
		m->flags |= MSG_CTRUNC;
		return;
	}
	if (h.len > left) {
		m->flags |= MSG_CTRUNC;
		h.len = left;
	}
	u8 *p = (u8 *)m->ctl + m->ctllen;
	memcpy(p, &h, sizeof h);
	memcpy(p + sizeof h, data, h.len - sizeof h);
	m->ctllen += MIN(CMSG_ALIGN(h.len), left);
}

void scm_put_rights(struct msghdr_k *m, u64 cap, const struct rights *r, int flags)
{
	int fds[SCM_MAX_FD];
	u64 left = m->ctl ? cap - m->ctllen : 0, head = sizeof(struct cmsghdr_k);
	u64 fit = left > head ? (left - head) / sizeof(int) : 0;
	u32 n = 0;
	while (n < r->n && n < fit) {
		file_get(r->files[n]);
		long fd = fd_install(r->files[n], flags & MSG_CMSG_CLOEXEC, 0);
		if (fd < 0)
			break;
		fds[n++] = (int)fd;
	}
	if (n)
		scm_put(m, cap, SCM_RIGHTS, fds, n * (u32)sizeof(int));
	if (n < r->n)
		m->flags |= MSG_CTRUNC;
}
