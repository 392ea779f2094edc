#!/usr/bin/env bash
# Builds the Debian package of what was built, with cargo-deb, which is installed when it is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v cargo-deb >/dev/null || cargo install --locked --quiet cargo-deb@3.8.0
cargo deb --no-build --no-strip "$@"
