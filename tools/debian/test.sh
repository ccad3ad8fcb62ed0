#!/usr/bin/env bash
# test.sh: the Debian package is made, installed into a root of its own, looked at,
# removed and purged. Needs dpkg, and systemd for its unit's checks; no network.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "Debian package: $*" >&2; exit 1; }
[ "$(id -u)" -eq 0 ] || { echo "Debian package: skipped: dpkg wants root" >&2; exit 0; }

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
if command -v systemd-sysusers >/dev/null; then
	grep -q '^seuss:' "$root/etc/passwd" || fail "no user seuss"
	grep -Eq '^kvm:.*:seuss$' "$root/etc/group" || fail "seuss is not in group kvm"
fi

if command -v systemd-analyze >/dev/null; then
	unit=$root/usr/lib/systemd/system/seuss.service
	# verify wants the program where the unit says it is.
	sed "s|/usr/bin/seussctl|$root/usr/bin/seussctl|" "$unit" >"$work/seuss.service"
	said=$(systemd-analyze verify --man=no --recursive-errors=no "$work/seuss.service" 2>&1) || fail "unit: $said"
	! grep -i "seuss.service:[0-9]" <<<"$said" || fail "unit: $said"
	# Exposure from 0 to 10, where most services are above 9. What is left is named in docs/security.md.
	systemd-analyze security --offline=yes --threshold=30 --no-pager "$unit" >"$work/security" 2>&1 || { cat "$work/security" >&2; fail "the unit leaves too much open"; }
	grep "Overall exposure" "$work/security" | sed 's/[^a-zA-Z0-9:. ]//g; s/^ *//'
fi

mkdir -p "$root/var/lib/seuss"
pkg --remove seuss
[ ! -e "$root/usr/bin/seussctl" ] || fail "remove leaves the program"
[ -e "$root/etc/default/seuss" ] && [ -d "$root/var/lib/seuss" ] || fail "remove takes what purge should"
pkg --purge seuss
left=$(cd "$root" && find . -path ./var/lib/dpkg -prune -o -name '*seuss*' -print)
[ -z "$left" ] || fail "purge leaves $left"
echo "the Debian package was made, installed, checked, removed and purged"
