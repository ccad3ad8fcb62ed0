#!/bin/bash
# selftest.sh: shows that run.sh fails closed. It boots the guest with a test
# that passes and with each way of going wrong, and checks run.sh's exit code
# and what it printed; and it feeds the parser of apt sources both formats.
#
# Use: selftest.sh [NAME...]   runs all cases, or those named
# Ends with the line "N passed, N failed"; exit code 0 only if none failed.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/seuss-selftest.XXXXXX")
trap 'rm -rf "$work"' EXIT
probe=$work/probe.test
passed=0 failed=0
only=" $* "

# verdict NAME PROBLEM: counts the case; an empty PROBLEM is a pass.
verdict() {
	if [[ -z $2 ]]; then
		passed=$((passed + 1))
		printf -- '--- ok: %s (%d s)\n' "$1" $((SECONDS - since))
	else
		failed=$((failed + 1))
		printf -- '--- FAILED: %s: %s; it printed:\n' "$1" "$2"
		sed 's/^/    /' "$work/output"
	fi
}

chosen() {
	since=$SECONDS
	[[ $only == "  " || $only == *" $1 "* ]]
}

# expect NAME CODE TEXT ARG...: run.sh with ARGs must end with CODE and print
# TEXT. Unless CODE is 0 it must not claim success.
expect() {
	local name=$1 code=$2 text=$3 got=0 problem=''
	shift 3
	chosen "$name" || return 0
	"$here/run.sh" "$@" >"$work/output" 2>&1 || got=$?
	if ((got != code)); then
		problem="exit code $got, want $code"
	elif ! grep -qF -- "$text" "$work/output"; then
		problem="no line with '$text'"
	elif ((code != 0)) && grep -q '^nested: all passed' "$work/output"; then
		problem="it claims success"
	fi
	verdict "$name" "$problem"
}

# sources NAME BACKPORTS WANT INPUT SUFFIX: aptsources.awk on one file.
sources() {
	local problem=''
	chosen "$1" || return 0
	printf '%s\n' "$4" >"$work/in.$5"
	awk -v codename=bookworm -v backports="$2" -f "$here/aptsources.awk" "$work/in.$5" >"$work/output" 2>&1 ||
		problem="awk failed"
	[[ $(cat "$work/output") == "$3" ]] || problem="want: $3"
	verdict "$1" "$problem"
}

(cd "$here" && CGO_ENABLED=0 GOOS=linux GOARCH=amd64 go test -c -o "$probe" ./probe)
printf "it's a \"file\"" >"$work/text"

sources sources-line 1 'Types: deb
URIs: http://mirror.test/debian
Suites: bookworm bookworm-backports
Components: main
Targets: Packages
Signed-By: /k/a.gpg

Types: deb
URIs: http://mirror.test/security
Suites: bookworm-security
Components: main
Targets: Packages' \
	'# deb http://commented.test/debian bookworm main
deb [arch=amd64 signed-by=/k/a.gpg] http://mirror.test/debian bookworm main contrib # trailing
deb-src http://source.test/debian bookworm main
deb http://mirror.test/security bookworm-security main
deb http://other.test/debian trixie main
deb http://nonfree.test/debian bookworm non-free' list

sources sources-deb822 1 'Types: deb
URIs: http://mirror.test/debian
Suites: bookworm bookworm-backports bookworm-updates
Components: main
Targets: Packages
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mQINB=
 -----END PGP PUBLIC KEY BLOCK-----
Check-Valid-Until: no' \
	'Types: deb deb-src
URIs: http://mirror.test/debian
# a comment between fields
Suites: bookworm
 bookworm-updates
Components: main contrib
Check-Valid-Until: no
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mQINB=
 -----END PGP PUBLIC KEY BLOCK-----

Enabled: no
Types: deb
URIs: http://disabled.test/debian
Suites: bookworm
Components: main' sources

sources sources-stable 0 'Types: deb
URIs: http://mirror.test/debian
Suites: bookworm
Components: main
Targets: Packages' 'deb http://mirror.test/debian bookworm main' list

# A complete cache is used as it is; a damaged one is noticed and replaced.
if chosen cache; then
	problem=''
	kit=$("$here/fetch.sh")
	mkdir -p "$work/cache/nested"
	cp -a "$kit" "$work/cache/nested/"
	copy=$work/cache/nested/${kit##*/}
	if ! SEUSS_CACHE=$work/cache "$here/fetch.sh" >"$work/output" 2>&1; then
		problem="fetch.sh failed on a complete cache"
	elif grep -q downloading "$work/output"; then
		problem="it downloads what the cache holds"
	fi
	printf x >>"$copy/vmlinuz"
	if ! SEUSS_CACHE=$work/cache "$here/fetch.sh" >>"$work/output" 2>&1; then
		problem="fetch.sh failed on a damaged cache"
	elif ! grep -q 'is damaged' "$work/output" || ! (cd "$copy" && sha256sum --quiet -c sha256) >>"$work/output" 2>&1; then
		problem="a damaged cache was not replaced"
	fi
	verdict cache "$problem"
fi

expect pass 0 '2 passed, 0 failed' --file "$work/text:/data/in put" -- "$probe" -test.v ::: \
	"$probe" -want-dir /work/probe.2 -want-file '/data/in put' -want-text "it's a \"file\""
expect fail 1 '1 passed, 1 failed' -- "$probe" ::: "$probe" -fate fail
expect panic 1 '0 passed, 1 failed' -- "$probe" -fate panic
expect exit-33 1 'exit code 33' -- "$probe" -fate exit
expect no-test 1 'it ran no test' -- "$probe" -test.run TestThatIsNotThere
expect hang-go 1 'panic: test timed out' --timeout 20 -- "$probe" -fate hang
expect hang 124 'timed out' --timeout 15 --command -- sleep 1000
expect kernel-panic 1 'without a verdict' --command -- sh -c 'echo c >/proc/sysrq-trigger'
expect reset 1 'without a verdict' --command -- sh -c 'reboot -f'
expect no-svm 1 'no usable KVM' --cpu EPYC,svm=off -- "$probe"
expect no-device 1 'open KVM' --command -- sh -c "rm /dev/kvm; exec /tests/probe" ::: "$probe"
expect not-static 1 'not static' --command -- /bin/bash
expect not-there 2 'no such file' -- "$work/absent.test"
expect nothing 2 'nothing to run' --
expect memory 1 'need --memory' --memory 256 -- "$probe"

printf '%d passed, %d failed\n' "$passed" "$failed"
((failed == 0 && passed > 0))
