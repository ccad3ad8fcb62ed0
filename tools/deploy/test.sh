#!/usr/bin/env bash
# test.sh: the container image with the rights that the manifests give it. In it a program
# becomes an image and a function, and is invoked; SIGTERM ends the daemon in order. As
# root, with podman and runc, which tests/container/test.sh installs; where they do not work
# one line says so, and CI_CONTAINER=1 makes that a failure.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cannot() {
	echo "container image: not tested: $*" >&2
	[ "${CI_CONTAINER:-0}" = 0 ] || exit 1
	exit 0
}
fail() { echo "container image: $*" >&2; podman logs "$name" >&2 || true; exit 1; }
command -v podman >/dev/null && command -v runc >/dev/null || cannot "there is no podman and runc: apt-get install podman runc"

work=$(mktemp -d)
name=seuss-test-$$
tag=localhost/$name
trap 'podman rm -f "$name" >/dev/null 2>&1; podman rmi -f "$tag" >/dev/null 2>&1; rm -rf "$work"' EXIT
chmod 755 "$work"
"$here/image.sh" "$tag" >/dev/null 2>"$work/why" || cannot "no image can be built: $(tail -n 1 "$work/why")"

mkdir -p "$work/root"
cat >"$work/count.c" <<'C'
#include <stdio.h>
int main(void) { int n = 0; while (getchar() != EOF) n++; printf("%d\n", n); return 0; }
C
gcc -static -O1 -o "$work/root/count" "$work/count.c"

# The user that root becomes has the group of /dev/kvm; where that is root's it stays root.
user=() device=()
if [ -e /dev/kvm ]; then
	device=(--device /dev/kvm)
	[ "$(stat -c %g /dev/kvm)" != 0 ] || [ $((0$(stat -c %a /dev/kvm) & 6)) = 6 ] || user=(--user root)
fi
SEUSS_TOKEN=$(head -c 24 /dev/urandom | base64)
export SEUSS_TOKEN
podman --runtime runc --cgroup-manager cgroupfs --log-level error run -d --name "$name" --network=none \
	--ulimit nofile=4096:4096 --ulimit nproc=4096:4096 --read-only --tmpfs /tmp "${device[@]}" -e SEUSS_TOKEN \
	--cap-drop=all --cap-add=CHOWN,DAC_OVERRIDE,FOWNER,SETGID,SETUID --security-opt no-new-privileges \
	-v "$work/root:/root:ro" "$tag" serve --listen 0.0.0.0:9001 "${user[@]}" >/dev/null 2>"$work/why" ||
	cannot "no container can be started: $(tail -n 1 "$work/why")"
inside() { podman exec "$name" /usr/bin/seussctl "$@"; }

for _ in $(seq 300); do inside ps >/dev/null 2>&1 && break; sleep 0.1; done
inside ps >/dev/null || fail "it does not serve"
inside function deploy count --program --allow-shared-generators --image dir:/root -- /count || fail "a program cannot be deployed"
answer=$(inside invoke count --event '"hello"') || fail "it cannot be invoked"
[ "$answer" = 7 ] || fail "the answer is $answer, and not 7"
podman stop -t 40 "$name" >/dev/null
[ "$(podman inspect -f '{{.State.ExitCode}}' "$name")" = 0 ] || fail "it did not end in order"
echo "the container image served a function under the manifests' rights"
