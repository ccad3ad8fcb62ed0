#!/usr/bin/env bash
# test.sh: the tests of Node.js functions with Debian's own nodejs, whatever Node.js
# this machine has. The packages are downloaded and unpacked, not installed: only the
# tests see them, in a mount namespace of their own.
#
#   tests/debiannode/test.sh            what CI runs
#   tests/debiannode/test.sh COMMAND... any command that is to see that Node.js
#
# It needs root and apt's lists. Where it cannot be one line says so.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root"

cannot() {
	echo "tests of Debian's nodejs skipped: $*" >&2
	exit 0
}

[ "$(id -u)" -eq 0 ] || cannot "they need root, for a mount namespace"
command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || cannot "this machine has no apt"
# Other sources may offer a nodejs of their own; Debian's depends on libnode.
version=$(apt-cache madison libnode108 2>/dev/null | awk 'NR == 1 { print $3 }')
[ -n "$version" ] || cannot "apt knows no libnode108 (Debian 12; try apt-get update)"

cache=$root/.cache/debian-node-$version
if [ ! -d "$cache" ]; then
	work=$(mktemp -d "$root/.cache/.debian-node-XXXXXX" 2>/dev/null || { mkdir -p "$root/.cache" && mktemp -d "$root/.cache/.debian-node-XXXXXX"; })
	trap 'rm -rf "$work"' EXIT
	mkdir "$work/debs" "$work/tree"
	(cd "$work/debs" && apt-get download -qq "nodejs=$version" "libnode108=$version" libuv1 libc-ares2 libnghttp2-14 libicu72 libbrotli1 \
		node-acorn node-cjs-module-lexer node-undici node-busboy node-xtend 2>/dev/null) || cannot "apt cannot download nodejs $version"
	for deb in "$work"/debs/*.deb; do
		dpkg-deb -x "$deb" "$work/tree"
	done
	chmod 755 "$work/tree" && mv "$work/tree" "$cache"
fi

[ $# -gt 0 ] || set -- go test -vet=off -count=1 -run TestNode -skip TestNodeRequirements ./tests # that one is npm's
unshare -m true 2>/dev/null || cannot "mount namespaces are not allowed"
exec unshare -m bash -c '
	mount -t overlay overlay -o "lowerdir=$0/usr:/usr" /usr || exit 1
	echo "Node.js $(node --version) of Debian" >&2
	exec "$@"' "$cache" "$@"
