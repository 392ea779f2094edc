#!/usr/bin/env bash
# Installs the official Telegram clients for tests/it/contract_telegram.rs. Does nothing when they are there.
set -euo pipefail

here=$(cd "$(dirname "$0")/../tests/contract" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/cervella-ci/contract
mkdir -p "$cache/node_modules"

# A later setup goes by what was asked for last time: a new version is installed, the same one is not asked for again.
same() { cmp -s "$1" "$2"; }

# The same folder holds the clients of Slack, so nothing is taken away from it.
if ! same "$here/requirements-telegram.txt" "$cache/requirements-telegram.txt" || [ ! -x "$cache/venv/bin/python3" ]; then
  [ -x "$cache/venv/bin/python3" ] || python3 -m venv "$cache/venv"
  "$cache/venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/requirements-telegram.txt"
  cp "$here/requirements-telegram.txt" "$cache/requirements-telegram.txt"
fi

# npm takes a folder to be all of one project, so grammY has one of its own and only a link in the shared one.
if ! same "$here/telegram/package-lock.json" "$cache/telegram/package-lock.json" ||
  [ ! -e "$cache/telegram/node_modules/grammy/package.json" ]; then
  mkdir -p "$cache/telegram"
  cp "$here/telegram/package.json" "$here/telegram/package-lock.json" "$cache/telegram/"
  (cd "$cache/telegram" && npm ci --no-audit --no-fund --silent) || {
    rm -f "$cache/telegram/package-lock.json"
    exit 1
  }
fi
ln -sfn ../telegram/node_modules/grammy "$cache/node_modules/grammy"
