/*
 * vsock_fuzz.c: packets from the monitor in any order and of any content, to
 * sockets in every state, while the program reads and writes.
 *
 * An input is a sequence of steps: one byte says which, the others are its.
 */
// link: ../vsock_stream.c ../fs/file.c
#include "fuzz.h"
#include "../vsock_stream.h"

static u8 buffers[VSOCK_RING][256];
static bool lent[VSOCK_RING]; /* received buffers that were not released */
static u64 sent;

bool vsock_present(void) { return true; }
bool vsock_tx_room(void) { return true; }
void vsock_kick(void) {}
void poll_devices(void) {}
struct thread *current;
void signal_send_thread(struct thread *t, int sig, const struct siginfo_k *info) { (void)t, (void)sig, (void)info; }

/* Nobody listens; sockets that do are ipc_inbound_test.c's. */
struct file *host_stream_incoming(u16 port, u16 from, struct vsock *s, void (**changed)(struct file *f))
{
	(void)port, (void)from, (void)s, (void)changed;
	return NULL;
}

void vsock_transmit(const struct virtio_vsock_hdr *h, const void *payload)
{
	CHECK(h->len <= VSOCK_BUFFER - sizeof *h);
	for (u32 i = 0; i < h->len; i++)
		sent += ((const u8 *)payload)[i];
}

void vsock_release(u16 id)
{
	CHECK(id < VSOCK_RING && lent[id]);
	lent[id] = false;
}

struct input { const u8 *p; u64 left; };

static u8 byte(struct input *in)
{
	if (!in->left)
		return 0;
	in->left--;
	return *in->p++;
}

static void packet(struct input *in)
{
	u16 id = byte(in) % VSOCK_RING;
	if (lent[id])
		return; /* the device has no such buffer */
	struct virtio_vsock_hdr h = {
		.src_cid = byte(in) % 3, .dst_cid = 3, .src_port = byte(in) % 4, .dst_port = 1020 + byte(in) % 8,
		.type = byte(in) % 4 ? VIRTIO_VSOCK_TYPE_STREAM : 2, .op = byte(in) % 9, .flags = byte(in),
		.buf_alloc = byte(in) * 0x01010101u, .fwd_cnt = byte(in) * 0x01010101u,
	};
	if (h.src_cid == 2 && h.flags & 0x80)
		h.dst_port += ABI_INBOUND_PORT;
	h.len = byte(in);
	memset(buffers[id], byte(in), h.len);
	lent[id] = true;
	vsock_receive(&h, buffers[id], id);
}

void fuzz_seed(void)
{
	/* A connection comes in and is accepted; one that is open gets data, which is read. */
	static const u8 steps[] = {0, 4, 0, 2, 0, 0, 1, 1, 0, 255, 0, 0, 0, 0, 3, 2, 5, 1, 2, 2, 2, 1, 5, 0, 255, 0, 200, 'x', 2, 0, 100, 0};
	fwrite(steps, sizeof steps, 1, stdout);
}

void fuzz_one(u8 *data, u64 n)
{
	static const struct file_ops ops = {.name = "vsock", .poll = vsock_stream_poll};
	struct input in = {data, n};
	struct file *files[4];
	u8 out[512];
	for (u32 i = 0; i < ARRAY_SIZE(files); i++) {
		files[i] = file_new(&ops, 2 /* O_RDWR */, NULL);
		struct vsock *s = vsock_new(files[i]);
		files[i]->priv = s;
		s->local_port = 1020 + i;
		s->peer_port = i % 4;
		s->peer_cid = 2;
		s->state = i == 0 ? LISTENING : i == 1 ? CONNECTING : i == 2 ? CONNECTED : UNCONNECTED;
		s->backlog_max = 2;
	}
	struct vsock *accepted[64];
	u32 count = 0;
	while (in.left) {
		struct file *f = files[byte(&in) % ARRAY_SIZE(files)];
		struct vsock *s = f->priv;
		switch (byte(&in) % 8) {
		case 0:
			vsock_stream_receive(f, out, byte(&in) * 2, byte(&in) | MSG_DONTWAIT_FLAG);
			break;
		case 1:
			vsock_stream_transmit(f, out, byte(&in) * 2, MSG_DONTWAIT_FLAG);
			break;
		case 2:
			vsock_stream_poll(f);
			break;
		case 3:
			if (s->state == LISTENING && s->backlog && count < ARRAY_SIZE(accepted)) {
				accepted[count++] = s->backlog;
				s->backlog = s->backlog->backlog;
				s->backlog_len--;
			}
			break;
		default:
			packet(&in);
		}
	}
	struct vsock *l = files[0]->priv;
	while (l->backlog) {
		struct vsock *s = l->backlog;
		l->backlog = s->backlog;
		vsock_free(s);
	}
	while (count)
		vsock_free(accepted[--count]);
	for (u32 i = 0; i < ARRAY_SIZE(files); i++) {
		vsock_free(files[i]->priv);
		file_put(files[i]);
	}
	for (u32 i = 0; i < VSOCK_RING; i++)
		CHECK(!lent[i]); /* every buffer came back */
	CHECK_EQ(host_objects_out, 0);
}
