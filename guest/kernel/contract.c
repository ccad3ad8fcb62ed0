/*
 * contract.c: refuses a monitor that speaks another version of the contract than
 * this kernel library was built for (guest/abi/kernel.h). The monitor has looked at
 * abi_entries before; this is for one that has not.
 */
#include "kernel.h"

void contract_check(void)
{
	if (boot_info->magic != ABI_BOOT_MAGIC)
		panic("there is no monitor's boot information at %x", ABI_BOOT_GPA);
	if (boot_info->abi_version != ABI_KERNEL_VERSION)
		panic("the monitor speaks version %u of the kernel contract, this kernel library %u: build the image anew",
		      boot_info->abi_version, ABI_KERNEL_VERSION);
}
