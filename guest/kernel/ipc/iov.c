/*
 * iov.c: walking the program's scattered buffers. Whoever calls has checked
 * them (message.c for the socket calls, the read and write calls otherwise).
 */
#include "ipc.h"

u64 iov_bytes(const struct iovec_k *iov, u64 n)
{
	u64 sum = 0;
	for (u64 i = 0; i < n; i++)
		sum += iov[i].len;
	return sum;
}

u64 iov_next(struct iov_cursor *c, u8 **p)
{
	while (c->count && c->off == c->iov->len) {
		c->iov++;
		c->count--;
		c->off = 0;
	}
	if (!c->count)
		return 0;
	*p = (u8 *)c->iov->base + c->off;
	return c->iov->len - c->off;
}

void iov_gather(const struct msghdr_k *m, void *dst, u64 n)
{
	struct iov_cursor c = {m->iov, m->iovlen, 0};
	u8 *p;
	for (u64 done = 0, take; done < n && (take = iov_next(&c, &p)); done += take) {
		take = MIN(take, n - done);
		memcpy((u8 *)dst + done, p, take);
		c.off += take;
	}
}

void iov_scatter(const struct msghdr_k *m, const void *src, u64 n)
{
	struct iov_cursor c = {m->iov, m->iovlen, 0};
	u8 *p;
	for (u64 done = 0, take; done < n && (take = iov_next(&c, &p)); done += take) {
		take = MIN(take, n - done);
		memcpy(p, (const u8 *)src + done, take);
		c.off += take;
	}
}
