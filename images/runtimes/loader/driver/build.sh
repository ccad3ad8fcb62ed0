#!/bin/sh
# Builds the loader: build.sh OUTPUT. The same source and compiler give the same bytes.
set -eu
out=$1
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
${CC:-gcc} -std=gnu11 -O2 -g0 -ffreestanding -fPIE -static-pie -nostdlib -fno-stack-protector -fno-strict-aliasing \
	-fno-asynchronous-unwind-tables -fno-tree-loop-distribute-patterns -fno-jump-tables -fcf-protection=none -fvisibility=hidden \
	-ffile-prefix-map="$PWD"=. -Wall -Wextra -Werror -Wl,--build-id=none -Wl,-z,noexecstack -Wl,-z,max-page-size=4096 \
	-o "$work/loader" loader.c
objcopy -S "$work/loader"
mv "$work/loader" "$out"
