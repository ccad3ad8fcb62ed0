/*
 * host.c: what the Node.js driver cannot do in JavaScript, as an addon: connect
 * an AF_VSOCK stream to the host, declare it the driver's own, wait on it in the
 * middle of anything, stir fresh entropy into OpenSSL, and say that all generators are
 * seeded.
 *
 * Of Node-API (stable since version 1) it declares the few functions that it
 * uses, and OpenSSL's RAND_add is one that every node binary has: it is linked
 * with OpenSSL, statically or not. So it needs no headers of Node's, and one
 * binary fits all versions.
 */
#include <errno.h>
#include <linux/vm_sockets.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../../../guest/abi/driver.h"

typedef struct napi_env__ *napi_env;
typedef struct napi_value__ *napi_value;
typedef struct napi_callback_info__ *napi_callback_info;
typedef int napi_status;
typedef napi_value (*napi_callback)(napi_env, napi_callback_info);

extern napi_status napi_create_function(napi_env, const char *, size_t, napi_callback, void *, napi_value *);
extern napi_status napi_set_named_property(napi_env, napi_value, const char *, napi_value);
extern napi_status napi_get_cb_info(napi_env, napi_callback_info, size_t *, napi_value *, napi_value *, void **);
extern napi_status napi_get_buffer_info(napi_env, napi_value, void **, size_t *);
extern napi_status napi_get_value_uint32(napi_env, napi_value, uint32_t *);
extern napi_status napi_create_int32(napi_env, int32_t, napi_value *);
extern void RAND_add(const void *, int, double);

static int stream = -1;

static napi_value number(napi_env env, long n)
{
	napi_value v = NULL;
	napi_create_int32(env, (int32_t)n, &v);
	return v;
}

static napi_value say(napi_env env, int option)
{
	uint64_t none = 0;
	return number(env, setsockopt(stream, AF_VSOCK, option, &none, sizeof none) ? -errno : 0);
}

/* own(): the stream is the driver's own, and the purity counters start at zero. */
static napi_value own(napi_env env, napi_callback_info info)
{
	(void)info;
	return say(env, ABI_SO_DRIVER);
}

/* seeded(): other threads, which have had to wait after a restore, may run. */
static napi_value seeded(napi_env env, napi_callback_info info)
{
	(void)info;
	return say(env, ABI_SO_SEEDED);
}

/* connect(): to the host; 0 or an error number, negative. */
static napi_value connect_host(napi_env env, napi_callback_info info)
{
	struct sockaddr_vm host = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_HOST, .svm_port = ABI_DRIVER_PORT};
	stream = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (stream < 0 || connect(stream, (struct sockaddr *)&host, sizeof host))
		return number(env, -errno);
	return own(env, info);
}

/* Takes a buffer and a range [from, to) of it off the call's arguments. */
static uint8_t *range(napi_env env, napi_callback_info info, uint32_t *from, uint32_t *to)
{
	napi_value args[3];
	size_t n = 3, bytes = 0;
	void *data = NULL;
	if (napi_get_cb_info(env, info, &n, args, NULL, NULL) || n != 3 || napi_get_buffer_info(env, args[0], &data, &bytes) ||
	    napi_get_value_uint32(env, args[1], from) || napi_get_value_uint32(env, args[2], to) || *from > *to || *to > bytes)
		return NULL;
	return data;
}

/* receive(buffer, from, to): waits for some bytes; how many, 0 at the end. */
static napi_value receive(napi_env env, napi_callback_info info)
{
	uint32_t from, to;
	uint8_t *p = range(env, info, &from, &to);
	ssize_t n = -1;
	if (!p)
		return number(env, -EINVAL);
	do
		n = recv(stream, p + from, to - from, 0);
	while (n < 0 && errno == EINTR);
	return number(env, n < 0 ? -errno : n);
}

/* send(buffer, from, to): all of it; 0 or an error number, negative. */
static napi_value transmit(napi_env env, napi_callback_info info)
{
	uint32_t from, to;
	uint8_t *p = range(env, info, &from, &to);
	if (!p)
		return number(env, -EINVAL);
	while (from < to) {
		ssize_t n = send(stream, p + from, to - from, MSG_NOSIGNAL);
		if (n < 0 && errno != EINTR)
			return number(env, -errno);
		from += n > 0 ? (uint32_t)n : 0;
	}
	return number(env, 0);
}

/* reseed(buffer, from, to): OpenSSL's primary generator takes the bytes in; those
 * of the threads notice, and reseed from it before they give out anything. */
static napi_value reseed(napi_env env, napi_callback_info info)
{
	uint32_t from, to;
	uint8_t *p = range(env, info, &from, &to);
	if (!p)
		return number(env, -EINVAL);
	RAND_add(p + from, (int)(to - from), to - from);
	return number(env, 0);
}

__attribute__((visibility("default"))) int32_t node_api_module_get_api_version_v1(void) { return 8; }

__attribute__((visibility("default"))) napi_value napi_register_module_v1(napi_env env, napi_value exports)
{
	static const struct {
		const char *name;
		napi_callback call;
	} calls[] = {{"connect", connect_host}, {"own", own}, {"receive", receive}, {"send", transmit}, {"reseed", reseed}, {"seeded", seeded}};
	for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
		napi_value f;
		if (napi_create_function(env, calls[i].name, strlen(calls[i].name), calls[i].call, NULL, &f) == 0)
			napi_set_named_property(env, exports, calls[i].name, f);
	}
	return exports;
}
