#!/usr/bin/env bash
# test.sh: the demo on a host whose BLAS is OpenBLAS, as any scientific package makes it
# (make test-blas). The host is an overlay of this one's file system that is gone when
# the script ends: this one's alternatives stay as they are. Needs root and apt.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

if [ "${1:-}" != inside ]; then
	before=$(readlink -f /etc/alternatives/libblas.so.3-x86_64-linux-gnu || true)
	work=$(mktemp -d)
	trap 'rm -rf "$work"' EXIT
	# A mount namespace of its own: what is mounted in it ends with it.
	unshare --mount --propagation private "${BASH_SOURCE[0]}" inside "$work" "$PWD/bin/seussctl"
	[ "$(readlink -f /etc/alternatives/libblas.so.3-x86_64-linux-gnu || true)" = "$before" ] || { echo "this host's BLAS is another one now" >&2; exit 1; }
	exit
fi

work=$2 seussctl=$3
mount -t tmpfs tmpfs "$work"
mkdir "$work/upper" "$work/work" "$work/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$work/upper,workdir=$work/work" "$work/root"
for dir in proc sys dev; do mount --rbind "/$dir" "$work/root/$dir"; done
mount -t tmpfs tmpfs "$work/root/tmp"
cp "$seussctl" "$work/root/tmp/seussctl"
cp -L /etc/resolv.conf "$work/root/tmp/resolv.conf" && mount --bind "$work/root/tmp/resolv.conf" "$work/root/etc/resolv.conf" 2>/dev/null || true

chroot "$work/root" /bin/bash -euo pipefail <<'EOF'
export DEBIAN_FRONTEND=noninteractive
apt-get install -y -qq --no-install-recommends libopenblas0-pthread >/dev/null 2>&1 || { apt-get update -qq; apt-get install -y -qq --no-install-recommends libopenblas0-pthread >/dev/null; }
blas=$(readlink -f /usr/lib/x86_64-linux-gnu/libblas.so.3)
case "$blas" in
*openblas*) echo "BLAS of this host: $blas" ;;
*) echo "BLAS of this host is still $blas" >&2; exit 1 ;;
esac
/tmp/seussctl --state /tmp/state demo | tee /tmp/demo.out
grep -q '^ *matrix ' /tmp/demo.out || { echo "the demo has not run matrix, which uses NumPy" >&2; exit 1; }
EOF
