/*
 * contract_test.c: the kernel library gives up under a monitor of another version of
 * the contract, and says both versions and what to do.
 */
// link: ../contract.c
#include "host.h"

#include <setjmp.h>
#include <stdarg.h>

void contract_check(void);

static char said[200];
static jmp_buf out;

void panic(const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	vsnprintf(said, sizeof said, fmt, args);
	va_end(args);
	longjmp(out, 1);
}

static const char *check(u64 magic, u32 version)
{
	host_boot.magic = magic;
	host_boot.abi_version = version;
	said[0] = 0;
	if (!setjmp(out))
		contract_check();
	return said;
}

int main(void)
{
	char want[200];
	CHECK(strcmp(check(ABI_BOOT_MAGIC, ABI_KERNEL_VERSION), "") == 0);
	for (u32 other = 0; other < ABI_KERNEL_VERSION + 3; other++) {
		snprintf(want, sizeof want, "the monitor speaks version %u of the kernel contract, this kernel library %u: build the image anew", other, ABI_KERNEL_VERSION);
		CHECK(strcmp(check(ABI_BOOT_MAGIC, other), other == ABI_KERNEL_VERSION ? "" : want) == 0);
	}
	CHECK(strstr(check(1, ABI_KERNEL_VERSION), "no monitor's boot information"));
	return 0;
}
