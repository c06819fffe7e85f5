#!/bin/sh
# podman of root and of an ordinary user, each in a mount namespace of its own. As root. Arguments, if there are any, are
# for bun test.
set -u
. "$(dirname "$(realpath "$0")")/../lib/prepare.sh"
[ $# -gt 0 ] || set -- ./conformance-tests/podman
exec unshare -m --propagation private "$bun" test --timeout 120000 "$@"
