#!/usr/bin/env bash
# test.sh: the Debian package is made, installed into a root of its own, looked at,
# removed and purged, and its upgrade restarts the service. Needs root, dpkg, and systemd's
# programs for its unit's checks; no network.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "Debian package: $*" >&2; exit 1; }
[ "$(id -u)" -eq 0 ] || fail "nothing was tested: dpkg wants root"
for program in systemd-sysusers systemd-analyze unshare; do
	command -v "$program" >/dev/null || fail "nothing was tested: there is no $program"
done

"$here/build.sh" "$work/seuss.deb" >/dev/null
root=$work/root
mkdir -p "$root"/var/lib/dpkg/{info,updates} "$root/etc"
touch "$root/var/lib/dpkg/status" "$root/var/lib/dpkg/available"
pkg() { dpkg --root="$root" --force-depends --force-script-chrootless --log=/dev/null "$@" >"$work/log" 2>&1 || { cat "$work/log" >&2; fail "dpkg $1"; }; }

pkg --install "$work/seuss.deb"
for f in usr/bin/seussctl usr/lib/systemd/system/seuss.service usr/lib/sysusers.d/seuss.conf usr/lib/udev/rules.d/60-seuss.rules etc/default/seuss usr/share/man/man1/seussctl.1.gz \
	usr/share/bash-completion/completions/seussctl usr/share/zsh/vendor-completions/_seussctl usr/share/fish/vendor_completions.d/seussctl.fish; do
	[ -s "$root/$f" ] || fail "$f is not there"
done
(cd "$root" && md5sum --quiet -c var/lib/dpkg/info/seuss.md5sums) || fail "files differ"
"$root/usr/bin/seussctl" version >/dev/null
bash -n "$root/usr/share/bash-completion/completions/seussctl"
gzip -dc "$root/usr/share/man/man1/seussctl.1.gz" >"$work/manual"
grep -q '^\.TH ' "$work/manual" || fail "no manual page"
for command in serve doctor invoke; do grep -q "$command" "$work/manual" || fail "the manual lacks $command"; done
grep -q '^seuss:' "$root/etc/passwd" || fail "no user seuss"
grep -Eq '^kvm:.*:seuss$' "$root/etc/group" || fail "seuss is not in group kvm"

unit=$root/usr/lib/systemd/system/seuss.service
# verify wants the program where the unit says it is.
sed "s|/usr/bin/seussctl|$root/usr/bin/seussctl|" "$unit" >"$work/seuss.service"
said=$(systemd-analyze verify --man=no --recursive-errors=no "$work/seuss.service" 2>&1) || fail "unit: $said"
! grep -i "seuss.service:[0-9]" <<<"$said" || fail "unit: $said"
# With the drop-in that makes it a member of a cluster, too.
mkdir "$work/seuss.service.d"
sed "s|/usr/bin/seussctl|$root/usr/bin/seussctl|" "$here/../deploy/systemd/cluster.conf" >"$work/seuss.service.d/cluster.conf"
said=$(systemd-analyze verify --man=no --recursive-errors=no "$work/seuss.service" 2>&1) || fail "drop-in: $said"
! grep -Ei "(seuss.service|cluster.conf):[0-9]" <<<"$said" || fail "drop-in: $said"
# Exposure from 0 to 10, where most services are above 9. What is left is named in docs/security.md.
systemd-analyze security --offline=yes --threshold=30 --no-pager "$unit" >"$work/security" 2>&1 || { cat "$work/security" >&2; fail "the unit leaves too much open"; }
grep "Overall exposure" "$work/security" | sed 's/[^a-zA-Z0-9:. ]//g; s/^ *//'

# configure does what an installation, and an upgrade from a version, has systemd do, on a
# host where it runs: its programs only say what they were called with.
mkdir "$work/programs"
for program in systemctl deb-systemd-invoke systemd-sysusers udevadm; do
	printf '#!/bin/sh\necho "%s $*" >>"$CALLS"\n' "$program" >"$work/programs/$program"
done
chmod 755 "$work"/programs/*
configure() {
	: >"$work/calls"
	CALLS=$work/calls PATH=$work/programs:$PATH unshare --mount sh -ec \
		'mount -t tmpfs none /run; mkdir -p /run/systemd/system; exec sh "$0" configure "$1"' "$here/postinst" "$1" || fail "postinst configure $1"
}
configure ""
! grep restart "$work/calls" || fail "an installation starts the service"
configure 0.1
grep -A9 daemon-reload "$work/calls" | grep -qx "deb-systemd-invoke try-restart seuss.service" || fail "an upgrade leaves the earlier version running: $(cat "$work/calls")"

mkdir -p "$root/var/lib/seuss"
pkg --remove seuss
[ ! -e "$root/usr/bin/seussctl" ] || fail "remove leaves the program"
[ -e "$root/etc/default/seuss" ] && [ -d "$root/var/lib/seuss" ] || fail "remove takes what purge should"
pkg --purge seuss
left=$(cd "$root" && find . -path ./var/lib/dpkg -prune -o -name '*seuss*' -print)
[ -z "$left" ] || fail "purge leaves $left"
echo "the Debian package was made, installed, checked, removed and purged"
