#!/usr/bin/env bash
# How far the systemd units shut the service in: an exposure of more than 1.5 fails.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! command -v systemd-analyze >/dev/null; then
  echo "systemd-analyze is missing: the exposure of the units is not checked" >&2
  exit "${CERVELLA_TESTS_SKIP_NOTHING:-0}"
fi
for unit in systemd/*.service; do
  if ! verdict=$(systemd-analyze security --offline=true --threshold=15 "$unit" 2>&1); then
    echo "$verdict" >&2
    exit 1
  fi
  tail -n 1 <<<"$verdict"
done
