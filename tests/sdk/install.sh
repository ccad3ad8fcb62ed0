#!/usr/bin/env bash
# Installs AWS SDK for JavaScript v3 from npm into the folder $1, once. Node and
# npm come through apt where they are missing.
set -euo pipefail

version=3.1164.0
dir=$1
if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
	if ! command -v apt-get >/dev/null; then
		echo "the tests with AWS SDK for JavaScript need node and npm, and this machine has no apt-get" >&2
		exit 1
	fi
	sudo=()
	[ "$(id -u)" -eq 0 ] || sudo=(sudo)
	install() { "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends nodejs npm >/dev/null; }
	install 2>/dev/null || { "${sudo[@]}" apt-get update -qq && install; }
fi
mkdir -p "$dir"
[ "$(cat "$dir/installed" 2>/dev/null)" = "$version" ] && exit 0
npm install --prefix "$dir" --no-save --no-audit --no-fund --silent "@aws-sdk/client-lambda@$version"
echo "$version" >"$dir/installed"
