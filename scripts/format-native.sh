#!/usr/bin/env bash
# Formats native/ and bench/native/ with clang-format (from npm); with --check, only tells whether that would change a file.
set -euo pipefail
cd "$(dirname "$0")/.."
mode=(-i)
[[ "${1:-}" == "--check" ]] && mode=(--dry-run --Werror)
find native bench/native \( -name '*.cc' -o -name '*.h' -o -name '*.inl' -o -name '*.cu' -o -name '*.cuh' \) -print0 |
  xargs -0 --no-run-if-empty node_modules/.bin/clang-format "${mode[@]}"
