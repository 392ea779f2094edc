#!/usr/bin/env bash
# fuzz.sh [SECONDS] [DECODER…]: hands every decoder, or those named, what libFuzzer makes up, for so many seconds each (60), one on
# each core. It begins with fuzz/seeds and with what earlier runs found worth keeping in target/fuzz. Ends with an error, and
# the input in target/fuzz/DECODER.*, when a decoder panics, takes more than ten seconds or more than 2 GB.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}
[ $# -eq 0 ] || shift
decoders=("$@")
if [ ${#decoders[@]} -eq 0 ]; then
  mapfile -t decoders < <(sed -n 's/^    ("\([a-z_]*\)", .*/\1/p' fuzz/targets.rs)
fi
target=${CARGO_TARGET_DIR:-target}
RUSTC_WORKSPACE_WRAPPER=$PWD/scripts/fuzz_rustc.sh cargo build --release --locked --features fuzz --example fuzz
export target seconds
fuzz() {
  local kept=$target/fuzz/$1
  mkdir -p "$kept"
  if CERVELLA_FUZZ=$1 "$target/release/examples/fuzz" "$kept" "fuzz/seeds/$1" -artifact_prefix="$kept." \
    -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=8192 -print_final_stats=1 >"$kept.log" 2>&1; then
    echo "fuzz: $1: $(sed -n 's/^stat::number_of_executed_units: *//p' "$kept.log") inputs, nothing found"
  else
    grep -aE 'panicked|ERROR|SUMMARY|Test unit written' "$kept.log" >&2 || tail -n 5 "$kept.log" >&2
    echo "fuzz: $1: an input that it cannot take lies in $kept.*, the rest of what happened in $kept.log" >&2
    return 1
  fi
}
export -f fuzz
printf '%s\n' "${decoders[@]}" | xargs -P "$(nproc)" -I{} bash -c 'fuzz {}'
