#!/usr/bin/env bash
# Configures and builds native targets: scripts/build-native.sh FOLDER 'TARGET...' [CMake options]
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$1
read -ra targets <<<"$2"
shift 2

generator=()
# A build folder keeps the generator that it was made with.
if [[ ! -e $folder/CMakeCache.txt ]] && command -v ninja >/dev/null; then generator=(-G Ninja); fi

cmake --log-level=NOTICE -S . -B "$folder" "${generator[@]}" "$@"
# make would start every compiler at once if it were not told how many.
cmake --build "$folder" --parallel "$(nproc)" --target "${targets[@]}"
