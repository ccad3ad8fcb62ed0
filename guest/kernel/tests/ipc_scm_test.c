/* ipc_scm_test.c: control messages: passing files and credentials; batches of messages. */
// link: ../ipc/*.c ../fs/file.c ipc_host.c
#include "ipc_host.h"

static int s[2];
static char in[512];

static void pair(int type) { CHECK_EQ(sys_socketpair(AF_UNIX, type, 0, s), 0); }

struct cmsg { u64 len; int level, type, fd[6]; };

static struct msghdr_k message(struct iovec_k *v, void *ctl, u64 ctllen)
{
	return (struct msghdr_k){.iov = v, .iovlen = 1, .ctl = ctl, .ctllen = ctllen};
}

static long send_fds(int to, const char *text, int n, const int *fds)
{
	struct cmsg c = {16 + 4 * (u64)n, SOL_SOCKET, SCM_RIGHTS, {0}};
	memcpy(c.fd, fds, (size_t)n * 4);
	struct iovec_k v = {(void *)text, strlen(text)};
	struct msghdr_k m = message(&v, &c, c.len);
	return sys_sendmsg(to, &m, 0);
}

static struct cmsg got;
static struct msghdr_k got_header;

static long recv_fds(int from, u64 bytes, u64 ctllen, int flags)
{
	struct iovec_k v = {in, bytes};
	memset(&got, 0, sizeof got);
	got_header = message(&v, &got, ctllen);
	return sys_recvmsg(from, &got_header, flags);
}

static void test_rights(int type)
{
	int p[2];
	pair(type);
	CHECK_EQ(sys_pipe(p), 0);
	CHECK_EQ(send_fds(s[0], "with", 2, p), 4);
	CHECK_EQ(fd_close(p[0]), 0);
	CHECK_EQ(fd_close(p[1]), 0);
	CHECK_EQ(recv_fds(s[1], 9, sizeof got, MSG_PEEK), 4); /* a look installs copies */
	CHECK_EQ(fd_close(got.fd[0]) | fd_close(got.fd[1]), 0);
	CHECK_EQ(recv_fds(s[1], 9, sizeof got, MSG_CMSG_CLOEXEC), 4);
	CHECK_EQ(got.type, SCM_RIGHTS);
	CHECK_EQ(got.len, 24);
	CHECK_EQ(got_header.ctllen, 24);
	CHECK_EQ(got_header.flags, MSG_CMSG_CLOEXEC);
	p[0] = got.fd[0], p[1] = got.fd[1];
	CHECK_EQ(wr(p[1], "!", 1), 1);
	CHECK_EQ(rd(p[0], in, 1), 1);

	CHECK_EQ(send_fds(s[0], "few", 2, p), 3); /* room for one of two */
	CHECK_EQ(recv_fds(s[1], 9, 20, 0), 3);
	CHECK_EQ(got.len, 20);
	CHECK_EQ(got_header.flags, MSG_CTRUNC);
	CHECK_EQ(fd_close(got.fd[0]), 0);
	CHECK_EQ(send_fds(s[0], "none", 2, p), 4); /* a plain read drops them */
	CHECK_EQ(rd(s[1], in, 9), 4);
	int bad[2] = {p[0], 99};
	CHECK_EQ(send_fds(s[0], "bad", 2, bad), -EBADF);
	CHECK_EQ(send_fds(s[0], "left", 2, p), 4); /* freed with the socket */
	close_all();
}

static void test_rights_in_stream(void)
{
	int p[2];
	pair(SOCK_STREAM);
	CHECK_EQ(sys_pipe(p), 0);
	CHECK_EQ(wr(s[0], "ab", 2), 2);
	CHECK_EQ(send_fds(s[0], "cd", 1, p), 2);
	CHECK_EQ(send_fds(s[0], "ef", 1, p), 2);
	CHECK_EQ(wr(s[0], "gh", 2), 2);
	CHECK_EQ(recv_fds(s[1], 100, sizeof got, 0), 4); /* up to the end of what files came with */
	CHECK(!memcmp(in, "abcd", 4));
	CHECK_EQ(got.len, 20);
	CHECK_EQ(recv_fds(s[1], 1, sizeof got, 0), 1); /* with the first byte already */
	CHECK_EQ(got.len, 20);
	CHECK_EQ(recv_fds(s[1], 100, sizeof got, 0), 3);
	CHECK(!memcmp(in, "fgh", 3));
	CHECK_EQ(got_header.ctllen, 0);
	close_all();
}

static void test_control_errors(void)
{
	pair(SOCK_STREAM);
	struct iovec_k v = {"x", 1};
	struct cmsg c = {15, SOL_SOCKET, SCM_RIGHTS, {0}};
	struct msghdr_k m = message(&v, &c, sizeof c);
	CHECK_EQ(sys_sendmsg(s[0], &m, 0), -EINVAL);
	c.len = sizeof c + 1;
	CHECK_EQ(sys_sendmsg(s[0], &m, 0), -EINVAL);
	c = (struct cmsg){20, SOL_SOCKET, 99, {0}};
	m.ctllen = 24;
	CHECK_EQ(sys_sendmsg(s[0], &m, 0), -EINVAL);
	c = (struct cmsg){28, SOL_SOCKET, SCM_CREDENTIALS, {2, 0, 0}};
	m.ctllen = 28;
	CHECK_EQ(sys_sendmsg(s[0], &m, 0), -ESRCH);
	c.fd[0] = 1, c.fd[1] = 5;
	cred.uid = cred.euid = cred.suid = 7; /* root may say that he is anybody */
	CHECK_EQ(sys_sendmsg(s[0], &m, 0), -EPERM);
	cred.uid = cred.euid = cred.suid = 0;
	c.fd[1] = 0;
	CHECK_EQ(sys_sendmsg(s[0], &m, 0), 1);
	/* Two control messages: their files arrive together, in order. */
	struct { struct cmsg a; struct { u64 len; int level, type, fd; } b; } two = {
		{24, SOL_SOCKET, SCM_RIGHTS, {s[0], s[1]}}, {20, SOL_SOCKET, SCM_RIGHTS, s[0]}};
	u8 flat[48];
	memcpy(flat, &two.a, 24);
	memcpy(flat + 24, &two.b, 20);
	m.ctl = flat;
	m.ctllen = 44;
	CHECK_EQ(rd(s[1], in, 9), 1);
	CHECK_EQ(sys_sendmsg(s[0], &m, 0), 1);
	CHECK_EQ(recv_fds(s[1], 9, sizeof got, 0), 1);
	CHECK_EQ(got.len, 28);
	CHECK(fd_get(got.fd[0]) == fd_get(s[0]) && fd_get(got.fd[1]) == fd_get(s[1]) && fd_get(got.fd[2]) == fd_get(s[0]));
	int on = 1;
	CHECK_EQ(sys_setsockopt(s[1], SOL_SOCKET, SO_PASSCRED, &on, 4), 0);
	CHECK_EQ(wr(s[0], "c", 1), 1);
	CHECK_EQ(recv_fds(s[1], 9, sizeof got, 0), 1);
	CHECK_EQ(got.type, SCM_CREDENTIALS);
	CHECK_EQ(got.fd[0], 1);
	int cred[3] = {9, 9, 9}, len = sizeof cred;
	CHECK_EQ(sys_getsockopt(s[0], SOL_SOCKET, SO_PEERCRED, cred, &len), 0);
	CHECK(cred[0] == 1 && cred[1] == 0 && cred[2] == 0);
	close_all();
}

static void test_batches(void)
{
	pair(SOCK_DGRAM);
	struct iovec_k v[3] = {{"a", 1}, {"bb", 2}, {"ccc", 3}};
	struct mmsghdr_k out[3] = {0}, back[4] = {0};
	char buf[4][8];
	struct iovec_k w[4];
	for (int i = 0; i < 3; i++)
		out[i].hdr = message(&v[i], NULL, 0);
	for (int i = 0; i < 4; i++) {
		w[i] = (struct iovec_k){buf[i], 8};
		back[i].hdr = message(&w[i], NULL, 0);
	}
	CHECK_EQ(sys_sendmmsg(s[0], out, 3, 0), 3);
	CHECK_EQ(out[2].len, 3);
	CHECK_EQ(sys_recvmmsg(s[1], back, 4, MSG_WAITFORONE, NULL), 3);
	CHECK_EQ(back[1].len, 2);
	CHECK_EQ(sys_recvmmsg(s[1], back, 4, MSG_DONTWAIT, NULL), -EAGAIN);
	close_all();
}

int main(void)
{
	test_rights(SOCK_STREAM);
	test_rights(SOCK_DGRAM);
	test_rights(SOCK_SEQPACKET);
	test_rights_in_stream();
	test_control_errors();
	test_batches();
	return 0;
}
