#!/usr/bin/env bash
# Installs the official clients of the chat platforms for tests/it/contract_*.rs. Does nothing when they are there.
set -euo pipefail

here=$(cd "$(dirname "$0")/../tests/contract" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/cervella-ci/contract
mkdir -p "$cache"

# A later setup goes by what was installed last time: the same versions are not asked for again.
installed() { cmp -s "$here/$1" "$cache/installed/$1"; }
note() { mkdir -p "$cache/installed" && cp "$here/$1" "$cache/installed/$1"; }

if ! installed requirements.txt || [ ! -x "$cache/venv/bin/python3" ]; then
  python3 -m venv --clear "$cache/venv"
  "$cache/venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/requirements.txt"
  note requirements.txt
fi
if ! installed package-lock.json || [ ! -e "$cache/node_modules/grammy/package.json" ]; then
  cp "$here/package.json" "$here/package-lock.json" "$cache/"
  (cd "$cache" && npm ci --no-audit --no-fund --silent)
  note package-lock.json
fi
