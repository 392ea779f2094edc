#!/usr/bin/env bash
# Prefill and decode of one GGUF file by Cervella and by llama.cpp, in turns on the same threads.
# Usage: benches/compare.sh MODEL.gguf BENCH_LLAMA_CPP.py [PROMPT_TOKENS] [NEW_TOKENS]
# Needs a Python with llama-cpp-python (PYTHON, default python3) and target/release/cervella.
set -euo pipefail
model=${1:?a GGUF file} script=${2:?the script that measures llama.cpp} prompt=${3:-512} new=${4:-32}
cervella=${CARGO_TARGET_DIR:-target}/release/cervella
for _ in 1 2 3; do
  "$cervella" bench generate --model "$model" --prompt-tokens "$prompt" --new-tokens "$new" --runs 1 --json
  "${PYTHON:-python3}" "$script" "$model" --prompt "$prompt" --new "$new" --threads "$(nproc)" --runs 1
done
