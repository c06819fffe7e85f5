#!/bin/sh
# dockerd with the machine's own cgroups, then what has to do with them again where there is only cgroup v2; each in a mount
# namespace of its own. As root. Arguments, if there are any, are for bun test.
set -u
. "$(dirname "$(realpath "$0")")/../lib/prepare.sh"
tests=./conformance-tests/docker
[ $# -gt 0 ] || set -- $tests

# Engines put sockets and empty folders into /run, and dockerd its key into /etc/docker, whatever their configuration says.
OWN='mount -t tmpfs none /run && mount -t tmpfs none /etc/docker'
status=0
unshare -m --propagation private sh -c "$OWN"' && exec "$@"' sh "$bun" test --timeout 120000 "$@" || status=1
# It was cgroup v2 already, or some tests only.
[ "$*" = $tests ] && [ ! -e /sys/fs/cgroup/cgroup.procs ] || exit $status
unshare -m --propagation private sh -c "$OWN && $V2"' && exec "$@"' sh \
  "$bun" test --timeout 120000 $tests/run.test.ts $tests/limits.test.ts \
  -t '(life of a|pause|top lists|is given|namespaces|exec: user|device|limits that|oom-score|137)' || status=1
exit $status
