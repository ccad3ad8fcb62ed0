#!/bin/sh
# Builds the stub: build.sh OUTPUT.elf. The same sources and compiler give the
# same bytes.
set -eu
out=$1
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
CC=${CC:-gcc}
flags="-std=gnu11 -O2 -g0 -ffreestanding -fpie -fno-plt -fno-stack-protector -fno-strict-aliasing -fno-jump-tables
 -fno-asynchronous-unwind-tables -fno-tree-loop-distribute-patterns -fcf-protection=none
 -mgeneral-regs-only -ffile-prefix-map=$PWD=. -Wall -Wextra -Werror -I. -I.. -I$work"

# Offsets for assembly, from the compiler itself.
fields="rax rbx rcx rdx rsi rdi rsp rbp r8 r9 r10 r11 r12 r13 r14 r15 rip rflags fs_base gs_base
 ds es fs gs load_segments load_xsave xsave_mask syscall_entry device_offset device_value"
{
	echo '#include "stub.h"'
	echo '#define OFFSET(name, field) __asm__("#define AREA_" name " %c0" ::"i"(offsetof(struct abi_area, field)))'
	echo 'void offsets(void) {'
	for f in $fields; do
		echo "OFFSET(\"$(echo "$f" | tr a-z A-Z)\", $f);"
	done
	echo '}'
} >"$work/offsets.c"
# shellcheck disable=SC2086 # the flags are words
$CC $flags -S -o "$work/offsets.s" "$work/offsets.c"
sed -n 's/^[[:space:]]*\(#define AREA_.*\)/\1/p' "$work/offsets.s" >"$work/offsets.h"

# shellcheck disable=SC2086
$CC $flags -c -o "$work/entry.o" entry.S
$CC $flags -c -o "$work/stub.o" stub.c
$CC -E -P -x c -I.. -D__ASSEMBLER__ link.ld.S -o "$work/link.ld"
$CC -nostdlib -static -no-pie -Wl,--build-id=none -Wl,-z,noexecstack -Wl,-z,max-page-size=4096 -Wl,-T,"$work/link.ld" \
	-o "$work/stub.elf" "$work/entry.o" "$work/stub.o"
objcopy --strip-debug "$work/stub.elf"
mv "$work/stub.elf" "$out"
