#!/usr/bin/env bash
# Installs what seuss needs and the machine lacks, through apt: the compiler for the
# guest, and what images/runtimes/*/setup.list name, a package and a test a line: the
# runtimes that images are made from, which the demo and the tests use. With the argument
# redis also what `seussctl bench state` compares with.
set -euo pipefail
cd "$(dirname "$0")/.."

missing=()
need() { # package, test command...
	local package=$1
	shift
	"$@" >/dev/null 2>&1 || missing+=("$package")
}
need gcc sh -c 'command -v gcc'
need libc6-dev test -e /usr/include/stdio.h
need binutils sh -c 'command -v objcopy'

# Only what is compared with: no test and no demo uses it.
[ "${1:-}" != redis ] || need redis-server sh -c 'command -v redis-server'

while read -r package test; do
	need "$package" sh -c "$test"
done < <(cat images/runtimes/*/setup.list)

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
