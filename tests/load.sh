#!/usr/bin/env bash
# Starts a daemon on a state directory of its own and puts it under load.
# Usage: load.sh SECONDS-PER-RATE
set -euo pipefail

cd "$(dirname "$0")/.."
seconds=${1:-20}
dir=$(mktemp -d)
trap 'kill "$pid" 2>/dev/null; wait "$pid" 2>/dev/null; rm -rf "$dir"' EXIT
mkdir -p bin
go build -o bin/load ./tools/load
bin/seussctl --state "$dir" --json serve --listen 127.0.0.1:0 --log-level warn --machines 16 --queue 2000 --function-queue 2000 --max-wait "${MAX_WAIT:-2s}" >"$dir/listening" &
pid=$!
until grep -q '\]' "$dir/listening"; do
	kill -0 "$pid"
	sleep 0.1
done
url=$(grep -o 'http://[^"]*' "$dir/listening")
bin/load -url "$url" -pid "$pid" -duration "${seconds}s" -burst 0; [ -n "${NO_BURST:-}" ] && exit 0
kill "$pid"
wait "$pid"
# The burst waits for its turn rather than be refused.
bin/seussctl --state "$dir" --json serve --listen 127.0.0.1:0 --log-level warn --machines 16 --queue 2000 --function-queue 2000 --max-wait 5m >"$dir/listening2" &
pid=$!
until grep -q '\]' "$dir/listening2"; do
	kill -0 "$pid"
	sleep 0.1
done
url=$(grep -o 'http://[^"]*' "$dir/listening2")
bin/load -url "$url" -pid "$pid" -functions 0 -burst 1000
