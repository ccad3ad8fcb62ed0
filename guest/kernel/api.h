/* api.h: what the function asks of the host in one exit (struct abi_api_call). */
#ifndef SEUSS_API_H
#define SEUSS_API_H

#include "kernel.h"

/* The ioctl of /dev/seuss/api: arg is a struct abi_api_request. 0 or a negative errno; -ENXIO:
 * nobody answers. */
long api_ioctl(struct file *f, u32 request, u64 arg);

#endif
