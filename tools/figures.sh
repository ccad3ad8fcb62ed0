#!/usr/bin/env bash
# figures.sh: runs the benches one after the other and writes what they print, with
# the facts of the host, to docs/measurements/DATE.md (make figures). It needs a
# machine with nothing else on it: a load average above 0.5 is refused.
#
#   tools/figures.sh              everything: about an hour on 2 cores
#   BENCHES='start memory' tools/figures.sh    some of it
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

read -r busy _ </proc/loadavg
awk -v l="$busy" 'BEGIN { exit !(l > 0.5) }' && [ -z "${FORCE:-}" ] && {
	echo "the load average is $busy: figures of a busy machine are worth nothing (FORCE=1 takes them all the same)" >&2
	exit 1
}

out=docs/measurements/$(date +%F).md
[ ! -e "$out" ] || out=docs/measurements/$(date +%F-%H%M).md
state=$(mktemp -d)
trap 'rm -rf "$state"' EXIT
platforms=(process)
[ ! -w /dev/kvm ] || platforms=(kvm process)

run() { # title, command...
	local title=$1
	shift
	echo "$title" >&2
	printf '\n## %s\n\n    %s\n\n```\n' "$title" "$*"
	SEUSS_STATE=$state "$@" 2>&1 || echo "(failed with exit code $?)"
	printf '```\n'
}
wanted() { [ -z "${BENCHES:-}" ] || [[ " $BENCHES " == *" $1 "* ]]; }

{
	echo "# Measurements of $(date +%F)"
	echo
	echo "Made by \`make figures\`. What is promised, and with which limits, is in [SPECIFICATION.md](../../SPECIFICATION.md)."
	echo
	echo "| | |"
	echo "|---|---|"
	echo "| seuss | $(bin/seussctl version | head -1), $(git rev-parse --short=12 HEAD)$(git diff --quiet HEAD || echo ' with changes') |"
	echo "| processor | $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1), $(nproc) CPUs |"
	echo "| memory | $(awk '/^MemTotal/ { printf "%.0f GiB", $2 / 1048576 }' /proc/meminfo) |"
	echo "| kernel | $(uname -r) |"
	echo "| virtualisation | $(systemd-detect-virt 2>/dev/null || echo unknown); platforms: ${platforms[*]} |"
	echo "| file system | $(stat -f -c %T "$state") |"
	echo "| load average before | $busy |"
	for platform in "${platforms[@]}"; do
		for bench in start memory cold warmup guest huge chain state; do
			! wanted "$bench" || run "bench $bench, $platform" bin/seussctl --platform "$platform" bench "$bench"
		done
		! wanted plan || run "bench plan, $platform" bin/seussctl --platform "$platform" bench plan --plot "${out%.md}-plan-$platform.svg"
	done
	! wanted store || run "bench store" bin/seussctl bench store --nodes 50000
	! wanted load || run "the service under load" env SECONDS=60 tests/load.sh 60 0
	! wanted parts || run "parts" "${GO:-go}" test -run xxx -bench . ./lineage ./dispatcher/sched ./vmm ./dispatcher
} >"$out"
echo "wrote $out" >&2
