#!/bin/sh
# Runs the integration tests, as root, in a mount namespace of their own.
#
#   tests/run.sh [bun test arguments…]      all tests, or tests/hooks.test.ts -t timeout
#
# RUNTIME=runc or crun tests these instead of bin/tsrun, against the lists in tests/expected/.
# ATTACKS=1000 runs so many rounds of each race in tests/attacks; 50 by default.
# TEST_TIME_FACTOR=10 gives everything ten times as long, on a slow machine.
# COLD=1 has bin/tsrun start as Bun does, where tests say nothing else of the environment.
# VIEW=v2 shows the tests and the runtime nothing but cgroup v2 (crun 1.8.1 refuses a mixed hierarchy, so always for crun).
set -eu
here=$(dirname "$(realpath "$0")")
bun=$here/../node_modules/@oven/bun-linux-x64/bin/bun
[ "$(id -u)" = 0 ] || { echo "tests/run.sh: containers need root here" >&2; exit 1; }
case $(basename "${RUNTIME:-tsrun}") in crun) VIEW=v2 ;; esac
[ $# -gt 0 ] || set -- "$here"/*.test.ts "$here"/attacks/*.test.ts # tests/guest has those that only the guest can run
export VIEW="${VIEW:-}" here
exec unshare -m --propagation private sh -c '
  if [ "$VIEW" = v2 ]; then
    umount -R -l /sys/fs/cgroup
    mount -t cgroup2 none /sys/fs/cgroup
  fi
  TSRUN_TEST_NAMESPACE=$(readlink /proc/self/ns/mnt)
  export TSRUN_TEST_NAMESPACE
  cd "$here/.."
  exec "$@"
' sh "$bun" test --timeout $((5000 * ${TEST_TIME_FACTOR:-1})) "$@"
