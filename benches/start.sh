#!/usr/bin/env bash
# Seconds from the start of the daemon to its readiness, and its memory once it is ready and after one question.
# Usage: benches/start.sh DATA [more arguments of `serve`]; as root the files' pages are dropped from memory before.
set -euo pipefail
data=${1:?the data folder of an index} && shift
cervella=${CARGO_TARGET_DIR:-target}/release/cervella
page=http://127.0.0.1:8717
sync
if [ -w /proc/sys/vm/drop_caches ]; then echo 3 >/proc/sys/vm/drop_caches; fi
start=$EPOCHREALTIME
"$cervella" serve --data "$data" "$@" 2>/dev/null &
daemon=$!
trap 'kill $daemon; wait $daemon || true' EXIT
until curl --silent --fail --output /dev/null "$page/readyz"; do sleep 0.02; done
memory() { awk '/^(VmRSS|RssAnon|VmHWM):/ { printf "%s %d MB  ", $1, $2 / 1024 }' "/proc/$daemon/status"; }
awk -v start="$start" -v end="$EPOCHREALTIME" 'BEGIN { printf "ready after %.1f s\n", end - start }'
echo "ready:            $(memory)"
curl --silent --output /dev/null --json '{"question": "How many days of leave do I have?"}' "$page/api/ask"
echo "after a question: $(memory)"
