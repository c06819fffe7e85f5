#!/bin/sh
# containerd with the machine's own cgroups, then again, but for load and kills, where there is only cgroup v2; each in a
# mount namespace of its own. As root. Arguments go to bun test.
set -u
here=$(dirname "$(realpath "$0")")
cd "$here/../.." || exit 1
case $(uname -m) in aarch64) bun=bun-linux-aarch64 ;; *) bun=bun-linux-x64 ;; esac
bun=node_modules/@oven/$bun/bin/bun
[ "$(id -u)" = 0 ] || { echo "run.sh: containers need root here" >&2; exit 1; }

# Shims put their sockets into /run, whatever the configuration says.
OWN='mount -t tmpfs none /run'
V2='umount -R -l /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup'
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
