#!/usr/bin/env bash
# Licences, duplicate versions and sources of the dependencies; advisories where their database can be reached.
set -euo pipefail
version=0.20.2
if ! cargo deny --version 2>/dev/null | grep -q "$version"; then
  # Unoptimised: it runs for a second and takes minutes less to build.
  cargo install --quiet --locked --debug "cargo-deny@$version"
fi
cargo deny check bans licenses sources
if cargo deny fetch db >/dev/null 2>&1; then
  cargo deny check advisories
else
  echo "advisories: the database cannot be reached from here, so this check did not run" >&2
fi
