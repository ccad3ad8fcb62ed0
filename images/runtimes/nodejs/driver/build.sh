#!/bin/sh
# Builds the Node.js driver's addons, NAME.node of NAME.c: build.sh NAME. The same source and compiler
# give the same bytes. Node's symbols are found when it is loaded.
set -eu
cd "$(dirname "$0")"
${CC:-gcc} -std=gnu11 -O2 -g0 -shared -fPIC -fvisibility=hidden -ffile-prefix-map="$PWD"=. -Wall -Wextra -Werror \
	-Wl,--build-id=none -Wl,-z,noexecstack -Wl,-z,now -s -o "$1.node" "$1.c"
