/*
 * region.c: what the module seuss cannot do in JavaScript, as an addon that is loaded when a
 * function first asks the host: map a file, as an ArrayBuffer, and an ioctl.
 *
 * Of Node-API it declares what it uses, as host.c does.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

typedef struct napi_env__ *napi_env;
typedef struct napi_value__ *napi_value;
typedef struct napi_callback_info__ *napi_callback_info;
typedef int napi_status;
typedef napi_value (*napi_callback)(napi_env, napi_callback_info);
typedef void (*napi_finalize)(napi_env, void *, void *);

extern napi_status napi_create_function(napi_env, const char *, size_t, napi_callback, void *, napi_value *);
extern napi_status napi_set_named_property(napi_env, napi_value, const char *, napi_value);
extern napi_status napi_get_cb_info(napi_env, napi_callback_info, size_t *, napi_value *, napi_value *, void **);
extern napi_status napi_get_value_int32(napi_env, napi_value, int32_t *);
extern napi_status napi_get_value_int64(napi_env, napi_value, int64_t *);
extern napi_status napi_get_value_bool(napi_env, napi_value, bool *);
extern napi_status napi_create_int32(napi_env, int32_t, napi_value *);
extern napi_status napi_create_external_arraybuffer(napi_env, void *, size_t, napi_finalize, void *, napi_value *);
extern napi_status napi_detach_arraybuffer(napi_env, napi_value);
extern napi_status napi_get_buffer_info(napi_env, napi_value, void **, size_t *);

static napi_value number(napi_env env, int n)
{
	napi_value v = NULL;
	napi_create_int32(env, n, &v);
	return v;
}

static void unmap(napi_env env, void *at, void *bytes)
{
	(void)env;
	munmap(at, (size_t)bytes);
}

/* map(descriptor, bytes, write): an ArrayBuffer, or an error number, negative. */
static napi_value map(napi_env env, napi_callback_info info)
{
	napi_value args[3], buffer = NULL;
	size_t n = 3;
	int32_t fd;
	int64_t bytes;
	bool write;
	if (napi_get_cb_info(env, info, &n, args, NULL, NULL) || n != 3 || napi_get_value_int32(env, args[0], &fd) ||
	    napi_get_value_int64(env, args[1], &bytes) || napi_get_value_bool(env, args[2], &write) || bytes <= 0)
		return number(env, -EINVAL);
	void *at = mmap(NULL, (size_t)bytes, PROT_READ | (write ? PROT_WRITE : 0), MAP_SHARED, fd, 0);
	if (at == MAP_FAILED)
		return number(env, -errno);
	if (napi_create_external_arraybuffer(env, at, (size_t)bytes, unmap, (void *)bytes, &buffer)) {
		munmap(at, (size_t)bytes);
		return number(env, -ENOTSUP);
	}
	return buffer;
}

/* close(buffer): its memory is out of reach at once, and unmapped soon. 0 or an error number. */
static napi_value detach(napi_env env, napi_callback_info info)
{
	napi_value buffer;
	size_t n = 1;
	bool bad = napi_get_cb_info(env, info, &n, &buffer, NULL, NULL) || n != 1 || napi_detach_arraybuffer(env, buffer);
	return number(env, bad ? -EINVAL : 0);
}

/* ask(descriptor, request, buffer): an ioctl with memory. 0 or an error number, negative. */
static napi_value ask(napi_env env, napi_callback_info info)
{
	napi_value args[3];
	size_t n = 3, bytes;
	int32_t fd;
	int64_t request;
	void *at;
	if (napi_get_cb_info(env, info, &n, args, NULL, NULL) || n != 3 || napi_get_value_int32(env, args[0], &fd) ||
	    napi_get_value_int64(env, args[1], &request) || napi_get_buffer_info(env, args[2], &at, &bytes))
		return number(env, -EINVAL);
	return number(env, ioctl(fd, (unsigned long)request, at) ? -errno : 0);
}

__attribute__((visibility("default"))) int32_t node_api_module_get_api_version_v1(void) { return 8; }

__attribute__((visibility("default"))) napi_value napi_register_module_v1(napi_env env, napi_value exports)
{
	static const struct {
		const char *name;
		napi_callback call;
	} calls[] = {{"map", map}, {"close", detach}, {"ask", ask}};
	for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
		napi_value f;
		if (napi_create_function(env, calls[i].name, strlen(calls[i].name), calls[i].call, NULL, &f) == 0)
			napi_set_named_property(env, exports, calls[i].name, f);
	}
	return exports;
}
