#!/usr/bin/env bash
# Writes what the program is made of, as CycloneDX JSON: target/cervella.cdx.json. Tests and build tools are not in it.
set -euo pipefail
cd "$(dirname "$0")/.."
version=0.5.9
if ! cargo cyclonedx --version 2>/dev/null | grep -q "$version"; then
  # Unoptimised: it runs for a second.
  cargo install --quiet --locked --debug "cargo-cyclonedx@$version"
fi
target=${CARGO_TARGET_DIR:-target}
cargo cyclonedx --quiet --format json --no-build-deps --target x86_64-unknown-linux-gnu --override-filename cervella.cdx
mkdir -p "$target"
mv cervella.cdx.json "$target/cervella.cdx.json"
echo "sbom: $(grep -c '"purl"' "$target/cervella.cdx.json") components in $target/cervella.cdx.json"
