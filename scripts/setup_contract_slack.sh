#!/usr/bin/env bash
# Installs the official Slack clients for tests/it/contract_slack.rs. Does nothing when they are there.
set -euo pipefail

here=$(cd "$(dirname "$0")/../tests/contract" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/cervella-ci/contract
mkdir -p "$cache/node_modules"

# A later setup goes by what was asked for last time: a new version is installed, the same one is not asked for again.
same() { cmp -s "$1" "$2"; }

# The same folder holds the clients of Telegram, so nothing is taken away from it.
if ! same "$here/requirements-slack.txt" "$cache/requirements-slack.txt" || [ ! -x "$cache/venv/bin/python3" ]; then
  [ -x "$cache/venv/bin/python3" ] || python3 -m venv "$cache/venv"
  "$cache/venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/requirements-slack.txt"
  cp "$here/requirements-slack.txt" "$cache/requirements-slack.txt"
fi

# npm takes a folder to be all of one project, so these have one of their own and only a link in the shared one.
if ! same "$here/slack/package.json" "$cache/slack/installed.json" ||
  [ ! -e "$cache/slack/node_modules/@slack/bolt/package.json" ]; then
  mkdir -p "$cache/slack"
  cp "$here/slack/package.json" "$cache/slack/"
  (cd "$cache/slack" && npm install --no-audit --no-fund --no-package-lock --silent)
  cp "$here/slack/package.json" "$cache/slack/installed.json"
fi
ln -sfn ../slack/node_modules/@slack "$cache/node_modules/@slack"
