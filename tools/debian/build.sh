#!/usr/bin/env bash
# build.sh FILE: makes a Debian package of the program, its service, the service's
# user, completions and the manual page.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=$(realpath -m "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$here/../.."
root=$work/root
umask 022

mkdir -p "$root"/{DEBIAN,usr/bin,usr/lib/systemd/system,usr/lib/sysusers.d,usr/lib/udev/rules.d,etc/default} \
	"$root"/usr/share/{man/man1,doc/seuss,bash-completion/completions,zsh/vendor-completions,fish/vendor_completions.d}
CGO_ENABLED=0 ${GO:-go} build -ldflags=-s -o "$root/usr/bin/seussctl" ./tools/seussctl
program=$root/usr/bin/seussctl
install -m 644 "$here/seuss.service" "$root/usr/lib/systemd/system/"
install -m 644 "$here/seuss.sysusers" "$root/usr/lib/sysusers.d/seuss.conf"
install -m 644 "$here/seuss.udev" "$root/usr/lib/udev/rules.d/60-seuss.rules"
install -m 644 "$here/seuss.default" "$root/etc/default/seuss"
"$program" completion bash >"$root/usr/share/bash-completion/completions/seussctl"
"$program" completion zsh >"$root/usr/share/zsh/vendor-completions/_seussctl"
"$program" completion fish >"$root/usr/share/fish/vendor_completions.d/seussctl.fish"
"$program" manual | gzip -9n >"$root/usr/share/man/man1/seussctl.1.gz"
install -m 644 LICENSE "$root/usr/share/doc/seuss/copyright"
gzip -9nc CHANGELOG.md >"$root/usr/share/doc/seuss/changelog.gz"

for script in postinst prerm postrm; do install -m 755 "$here/$script" "$root/DEBIAN/"; done
echo /etc/default/seuss >"$root/DEBIAN/conffiles"
version=$("$program" version --json | sed -n 's/.*"version": *"\([^"]*\)".*/\1/p' | tr -d '\n')
version=${version#v}
[[ $version =~ ^[0-9] ]] || version=0~$(git log -1 --format=%cd.%h --date=format:%Y%m%d 2>/dev/null || echo dev)
cat >"$root/DEBIAN/control" <<CONTROL
Package: seuss
Version: $version
Architecture: amd64
Maintainer: seuss
Section: admin
Priority: optional
Installed-Size: $(du -sk --exclude=DEBIAN "$root" | cut -f1)
Depends: python3
Recommends: systemd | passwd
Suggests: nodejs, ruby, lua5.4, qemu-system-x86
Description: functions in unikernels, started from snapshots
 seussctl runs functions in unikernels on KVM and starts each invocation from a
 snapshot. Guests are made from the host's own Python, Node.js, Ruby and Lua.
CONTROL
(cd "$root" && find usr etc -type f -print0 | sort -z | xargs -0 md5sum) >"$root/DEBIAN/md5sums"
mkdir -p "$(dirname "$out")"
dpkg-deb --root-owner-group -Zxz --build "$root" "$out" >/dev/null
echo "$out"
