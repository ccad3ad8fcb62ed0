#!/usr/bin/env bash
# image.sh [TAG]: makes a container image of the daemon with podman (default: seuss:latest).
# Nothing is fetched: the program is built here, the certificates are this machine's.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tag=${1:-seuss:latest}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$here/../.."
umask 022

root=$work/root
mkdir -p "$root"/{usr/bin,etc/ssl/certs,var/lib/seuss,tmp}
chmod 1777 "$root/tmp"
chmod 700 "$root/var/lib/seuss"
CGO_ENABLED=0 ${GO:-go} build -ldflags=-s -o "$root/usr/bin/seussctl" ./tools/seussctl
certificates=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}
[ ! -e "$certificates" ] || install -m 644 "$certificates" "$root/etc/ssl/certs/ca-certificates.crt"
echo 'root:x:0:0::/:/none
seuss:x:65532:65532::/var/lib/seuss:/none' >"$root/etc/passwd"
echo 'root:x:0:
seuss:x:65532:' >"$root/etc/group"

install -m 644 "$here/Containerfile" "$work/Containerfile"
podman --runtime runc --cgroup-manager cgroupfs --log-level error build --network=none --isolation "${ISOLATION:-oci}" -q -t "$tag" -f "$work/Containerfile" "$work" >/dev/null
echo "$tag"
