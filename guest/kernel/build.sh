#!/bin/sh
# Builds the kernel library: build.sh OUTPUT.elf. The same sources and compiler
# give the same bytes: no paths, no build id, no dates.
set -eu
out=$1
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
CC=${CC:-gcc}
flags="-std=gnu11 -O2 -g0 -ffreestanding -fno-pic -fno-pie -fno-stack-protector -fno-strict-aliasing
 -fno-asynchronous-unwind-tables -fno-tree-loop-distribute-patterns -fcf-protection=none
 -mcmodel=small -mno-red-zone -mgeneral-regs-only -ffile-prefix-map=$PWD=. -Wall -Wextra -Werror -I."
# shellcheck disable=SC2086 # the flags are words
$CC $flags -fPIC -mcmodel=small -c -o "$work/vdso.part" vdso/vdso.c
ld -shared -soname linux-vdso.so.1 --build-id=none --hash-style=both -z noexecstack -z max-page-size=4096 -T vdso/link.ld \
	-o "$work/vdso.so" "$work/vdso.part"
objcopy -S "$work/vdso.so"
# shellcheck disable=SC2086
for source in start.S vdso.S *.c fs/*.c ipc/*.c; do
	object=$work/$(echo "$source" | tr / _).o
	$CC $flags -Wa,-I"$work" -c -o "$object" "$source"
done
$CC -E -P -x c -D__ASSEMBLER__ link.ld.S -o "$work/link.ld"
$CC -nostdlib -static -no-pie -Wl,--build-id=none -Wl,-z,noexecstack -Wl,-z,max-page-size=4096 -Wl,-T,"$work/link.ld" \
	-o "$work/kernel.elf" "$work"/*.o
objcopy --strip-debug "$work/kernel.elf"
mv "$work/kernel.elf" "$out"
