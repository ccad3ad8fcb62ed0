#!/usr/bin/env bash
# test.sh: the demo and a slice of the tests on the process platform, in a
# container as engines make it by default, and stricter: an ordinary user, no
# capabilities, no new privileges, no network, Docker's own system call filter.
#
#   tests/container/test.sh             what CI runs
#   tests/container/test.sh COMMAND...  any command, in a clone of this tree,
#                                       for instance: make check unit e2e
#
# Podman runs it, since that needs no daemon; apt brings it. Where no container
# can be started one line says so; CI_CONTAINER=1 makes that a failure.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root"
profiles=github.com/moby/profiles/seccomp@v0.3.0 # Docker's filter, as a Go module

cannot() {
	echo "container tests skipped: $*" >&2
	[ "${CI_CONTAINER:-0}" = 0 ] || exit 1
	exit 0
}

if ! command -v podman >/dev/null || ! command -v runc >/dev/null; then
	[ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null || cannot "podman and runc are not installed: apt-get install podman runc"
	install() { DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends podman runc >/dev/null; }
	echo "installing podman runc" >&2
	install 2>/dev/null || { apt-get update -qq && install; } || cannot "apt-get cannot install podman and runc"
fi

work=$(mktemp -d)
trap 'chmod -R u+w "$work" && rm -rf "$work"' EXIT
chmod 755 "$work"
mkdir -p "$work"/root/{usr,etc,tmp,proc,sys,dev,work,go,modules,var/lib/dpkg} "$work"/home/{home,tmp}
system=(-v /usr:/usr:ro -v /etc:/etc:ro -v /var/lib/dpkg:/var/lib/dpkg:ro)
for d in lib lib64 bin sbin; do # links into /usr, on most systems
	if [ -L "/$d" ]; then cp -P "/$d" "$work/root/$d"; else mkdir "$work/root/$d" && system+=(-v "/$d:/$d:ro"); fi
done
(cd "$work" && go mod download -json "$profiles") >"$work/module.json"
profile=$(sed -n 's/^\t"Dir": "\(.*\)",$/\1/p' "$work/module.json")/default.json

# inside COMMAND...: runs it in a container.
inside() {
	podman --runtime runc --cgroup-manager cgroupfs --log-level error run --rm --network=none \
		--ulimit nofile=4096:4096 --ulimit nproc=4096:4096 \
		--user 1000:1000 --cap-drop=all --security-opt no-new-privileges --security-opt "seccomp=$profile" \
		-e HOME=/work/home -e GOMODCACHE=/modules -e GOFLAGS=-mod=mod -e GOPROXY=off -e GOTOOLCHAIN=local \
		-e PATH=/go/bin:/usr/local/bin:/usr/bin:/bin \
		"${system[@]}" -v "$(go env GOROOT):/go:ro" -v "$(go env GOMODCACHE):/modules:ro" \
		-v "$work/home:/work" -v "$work/home/tmp:/tmp" -w "$in" --rootfs "$work/root" "$@"
}

in=/
inside true 2>"$work/why" || cannot "no container can be started: $(tail -n 1 "$work/why")"
inside sh -c 'grep -q "^Seccomp:.2" /proc/self/status && grep -q "^NoNewPrivs:.1" /proc/self/status &&
	grep -q "^CapBnd:.0*$" /proc/self/status && [ "$(id -u)" = 1000 ] && ! unshare -U true 2>/dev/null' ||
	{ echo "the container is not as strict as it should be" >&2; exit 1; }

[ $# -eq 0 ] || go mod download
git clone -q "$root" "$work/home/seuss"
if [ $# -eq 0 ]; then
	CGO_ENABLED=0 go build -o "$work/home/seussctl" ./tools/seussctl
	CGO_ENABLED=0 go test -c -o "$work/home/process.test" ./vmm/platform/process
	CGO_ENABLED=0 go test -c -o "$work/home/tests.test" ./tests
fi
chown -R 1000:1000 "$work/home"

if [ $# -gt 0 ]; then
	in=/work/seuss
	inside "$@"
	exit
fi
in=/work/seuss/vmm/platform/process
inside /work/process.test -test.short
in=/work/seuss/tests
inside /work/tests.test -test.run 'TestStartPaths|TestClonesAreDistinct|TestEveryInvocationIsFresh|TestHostileFunctions|TestKilledProcesses|TestReadOnlyState'
in=/work
inside ./seussctl demo
echo "the demo and a slice of the tests ran as user 1000 under $profiles"
