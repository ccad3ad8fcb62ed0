#!/bin/sh
# Builds the Node.js driver's addon: build.sh OUTPUT. The same source and compiler
# give the same bytes. Node's symbols are found when it is loaded.
set -eu
out=$1
cd "$(dirname "$0")"
${CC:-gcc} -std=gnu11 -O2 -g0 -shared -fPIC -fvisibility=hidden -ffile-prefix-map="$PWD"=. -Wall -Wextra -Werror \
	-Wl,--build-id=none -Wl,-z,noexecstack -Wl,-z,now -s -o "$out" host.c
