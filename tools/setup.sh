#!/usr/bin/env bash
# Installs what seuss needs and the machine lacks, through apt: the Python that
# the image is made from, numpy for it, the compiler for the guest, and the
# runtimes of further images, which the demo and the tests use.
set -euo pipefail

missing=()
need() { # package, test command...
	local package=$1
	shift
	"$@" >/dev/null 2>&1 || missing+=("$package")
}
need python3-minimal test -x /usr/bin/python3
need python3 /usr/bin/python3 -c 'import json, sqlite3, ssl'
need python3-numpy /usr/bin/python3 -c 'import numpy'
need gcc sh -c 'command -v gcc'
need libc6-dev test -e /usr/include/stdio.h
need nodejs sh -c 'test -x /usr/bin/node || test -x /usr/local/bin/node'
need lua5.4 test -x /usr/bin/lua5.4
need binutils sh -c 'command -v objcopy'

[ ${#missing[@]} -eq 0 ] && exit 0
if ! command -v apt-get >/dev/null; then
	echo "seuss needs these Debian packages, and this machine has no apt-get: ${missing[*]}" >&2
	exit 1
fi
sudo=()
if [ "$(id -u)" -ne 0 ]; then
	command -v sudo >/dev/null || { echo "run as root, or install these packages first: ${missing[*]}" >&2; exit 1; }
	sudo=(sudo)
fi
echo "installing ${missing[*]}" >&2
install() { "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null; }
install 2>/dev/null || { "${sudo[@]}" apt-get update -qq && install; }
