#!/bin/sh
# containerd with the machine's own cgroups, then again, but for load and kills, where there is only cgroup v2; each in a
# mount namespace of its own. As root. Arguments go to bun test.
set -u
. "$(dirname "$(realpath "$0")")/../lib/prepare.sh"

# Shims put their sockets into /run, whatever the configuration says.
OWN='mount -t tmpfs none /run'
tests=./conformance-tests/containerd
in_view() {
  view=$1
  shift
  unshare -m --propagation private sh -c "$OWN && $view"' && exec "$@"' sh "$bun" test --timeout 120000 "$@" || status=1
}
status=0
in_view : $tests "$@"
# It was cgroup v2 already?
[ -e /sys/fs/cgroup/cgroup.procs ] || in_view "$V2" $tests/containerd.test.ts $tests/limits.test.ts "$@"
exit $status
