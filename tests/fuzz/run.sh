#!/bin/sh
# Fuzzing, as root, in a mount namespace of its own: see tests/fuzz/fuzz.ts for MINUTES, SEED, TARGET and CASE.
set -eu
here=$(dirname "$(realpath "$0")")
bun=$here/../../node_modules/@oven/bun-linux-x64/bin/bun
[ "$(id -u)" = 0 ] || { echo "tests/fuzz/run.sh: containers need root here" >&2; exit 1; }
cd "$here/../.."
exec unshare -m --propagation private "$bun" tests/fuzz/fuzz.ts
