#!/usr/bin/env bash
# Starts a daemon on a state directory of its own and puts it under load: a mixed
# workload for SECONDS at the sustainable rate and for shorter at 2 and 5 times
# that, then a burst. It prints what an invocation costs in pages, calls and faults, and
# the ratios that a release is measured by. The generator shares the machine and so runs at a lower
# priority than the daemon (NICE=10), or, with PIN=1, on a processor of its own, the last,
# while the daemon has the others.
# Usage: [PIN=1|NICE=0] load.sh SECONDS [WORK]
#   WORK: numbers that each invocation of the mixed workload adds up, default 0
set -euo pipefail

cd "$(dirname "$0")/.."
seconds=${1:-20}
work=${2:-0}
dir=$(mktemp -d)
pid=
daemon=(env)
generator=(nice -n "${NICE:-10}")
if [ "${PIN:-0}" = 1 ]; then
	last=$(($(nproc) - 1))
	[ "$last" -gt 0 ] || { echo "load.sh: PIN=1 needs two processors" >&2; exit 2; }
	daemon=(taskset -c "0-$((last - 1))")
	generator=(taskset -c "$last")
fi
trap '[ -z "$pid" ] || { kill "$pid" 2>/dev/null; wait "$pid" 2>/dev/null; }; rm -rf "$dir"' EXIT
mkdir -p bin
go build -o bin/load ./tools/load

# serve ARGS: sets pid, url and token, the file with what the daemon asks for.
serve() {
	"${daemon[@]}" bin/seussctl --state "$dir" --json serve --listen 127.0.0.1:0 --log-level error "$@" >"$dir/listening" &
	pid=$!
	until grep -q '\]' "$dir/listening"; do
		kill -0 "$pid"
		sleep 0.1
	done
	url=$(grep -o 'http://[^"]*' "$dir/listening")
	token=$dir/token
}

serve
"${generator[@]}" bin/load -url "$url" -token-file "$token" -pid "$pid" -duration "${seconds}s" -work "$work" -burst 0
kill "$pid"
wait "$pid"
# The burst waits for its turn rather than be refused.
serve --queue 2000 --function-queue 2000 --max-wait 5m --target-wait 5m
bin/load -url "$url" -token-file "$token" -pid "$pid" -functions 0 -burst 1000
