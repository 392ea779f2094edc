#!/usr/bin/env bash
# Installs what the tests need beside Rust and Python: a browser for the chat page.
set -euo pipefail
if command -v chromedriver >/dev/null && command -v chromium >/dev/null; then
  exit 0
fi
if ! command -v apt-get >/dev/null; then
  echo "chromium and chromedriver are missing: install them, or the browser test will be skipped" >&2
  exit 0
fi
sudo=$([ "$(id -u)" = 0 ] || echo sudo)
$sudo apt-get update -qq
$sudo apt-get install -qq --yes --no-install-recommends chromium chromium-driver >/dev/null
