#!/usr/bin/env bash
# Installs CPython's test suite, which the distribution packages apart from Python.
set -euo pipefail
package=libpython3.11-testsuite
[ -e /usr/lib/python3.11/test/test_grammar.py ] && exit 0
command -v apt-get >/dev/null || { echo "the suite needs Debian's package $package, and this machine has no apt-get" >&2; exit 1; }
sudo=()
if [ "$(id -u)" -ne 0 ]; then
	command -v sudo >/dev/null || { echo "run as root, or install this package first: $package" >&2; exit 1; }
	sudo=(sudo)
fi
echo "installing $package" >&2
install() { "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$package" >/dev/null; }
install 2>/dev/null || { "${sudo[@]}" apt-get update -qq && install; }
