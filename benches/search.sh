#!/usr/bin/env bash
# Latency of `search` over 200 runs of the program's own loop, on an index that exists.
# Usage: benches/search.sh DATA QUESTIONS.jsonl
set -euo pipefail
data=${1:?the data folder} questions=${2:?a file of questions}
cervella=${CARGO_TARGET_DIR:-target}/release/cervella
many=$(mktemp --suffix=.jsonl)
trap 'rm -f "$many"' EXIT
while [ "$(wc -l <"$many")" -lt 200 ]; do cat "$questions" >>"$many"; done
head -n 200 "$many" >"$many.200" && mv "$many.200" "$many"
"$cervella" --data "$data" eval "$many" | tail -n 1
