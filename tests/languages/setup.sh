#!/usr/bin/env bash
# setup.sh: installs the Debian packages that the programs of this folder name, and their
# compilers. As root; what is there is kept.
set -euo pipefail
cd "$(dirname "$0")/../../tools/seussctl/samples/languages"
packages=$(sed -n 's/.*"packages": \[\([^]]*\)\].*/\1/p' programs/*/program.json | tr -d '" ' | tr ',' '\n' | sort -u)
command -v gcc >/dev/null || packages+=" gcc libc6-dev"
command -v javac >/dev/null || packages+=" openjdk-17-jdk-headless"
command -v npm >/dev/null || packages+=" npm"
command -v rustc >/dev/null || packages+=" rustc"
missing=()
for p in $packages; do
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || missing+=("$p")
done
[ ${#missing[@]} -eq 0 ] && exit 0
echo "installing ${missing[*]}" >&2
install() { DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null; }
install 2>/dev/null || { apt-get update -qq && install; }
