/*
 * api.c: a request of the function to the host, and its answer, in one exit: an ioctl of
 * /dev/seuss/api copies the request to pages that the monitor finds, rings, and copies the
 * answer back. What the bytes mean is the affair of the function and of the host.
 *
 * The answer is input from outside, as what a socket receives is.
 */
#include "api.h"
#include "core.h"

#include <asm/errno.h>

static struct abi_api_call *call; /* once there was one; as long as the longest */

long api_ioctl(struct file *f, u32 request, u64 arg)
{
	/* It may lie in memory that others write to: what was checked is what is used. */
	volatile struct abi_api_request *head = (void *)arg;
	struct abi_api_request *user = (void *)arg;
	(void)f;
	if (request != ABI_API_IOCTL)
		return -ENOTTY;
	if (!user_writable(user, sizeof *user))
		return -EFAULT;
	u32 bytes = head->bytes, room = head->room;
	if (bytes > ABI_API_BYTES || room > ABI_API_BYTES)
		return -EMSGSIZE;
	if (!user_writable(user, sizeof *user + MAX(bytes, room)))
		return -EFAULT;
	if (!identity->api)
		return -ENXIO;
	if (!call && !(call = page_alloc(PAGE_UP(sizeof *call + ABI_API_BYTES) / PAGE_SIZE)))
		return -ENOMEM;
	control->api_gpa = (u64)call;
	*call = (struct abi_api_call){.bytes = bytes, .room = room, .result = -EIO};
	memcpy(call + 1, user + 1, bytes);
	doorbell(ABI_DOORBELL_API, 0);
	if (call->result)
		return call->result;
	purity_socket();
	bytes = MIN(call->bytes, room);
	memcpy(user + 1, call + 1, bytes);
	user->bytes = bytes;
	return 0;
}
