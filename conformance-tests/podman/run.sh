#!/bin/sh
# podman of root and of an ordinary user, each in a mount namespace of its own. As root. Arguments, if there are any, are
# for bun test.
set -u
here=$(dirname "$(realpath "$0")")
cd "$here/../.." || exit 1
case $(uname -m) in aarch64) bun=bun-linux-aarch64 ;; *) bun=bun-linux-x64 ;; esac
bun=node_modules/@oven/$bun/bin/bun
[ "$(id -u)" = 0 ] || { echo "run.sh: containers need root here" >&2; exit 1; }
[ $# -gt 0 ] || set -- ./conformance-tests/podman
exec unshare -m --propagation private "$bun" test --timeout 120000 "$@"
