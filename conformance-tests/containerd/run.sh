#!/bin/sh
# containerd with the machine's own cgroups, then again where there is only cgroup v2; each in a mount namespace of its
# own. As root. Arguments go to bun test.
set -u
here=$(dirname "$(realpath "$0")")
cd "$here/../.." || exit 1
case $(uname -m) in aarch64) bun=bun-linux-aarch64 ;; *) bun=bun-linux-x64 ;; esac
bun=node_modules/@oven/$bun/bin/bun
[ "$(id -u)" = 0 ] || { echo "run.sh: containers need root here" >&2; exit 1; }

# Shims put their sockets into /run, whatever the configuration says.
OWN='mount -t tmpfs none /run'
V2='umount -R -l /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup'
status=0
for view in : "$V2"; do
  [ "$view" = : ] || [ ! -e /sys/fs/cgroup/cgroup.procs ] || continue # It was cgroup v2 already.
  unshare -m --propagation private sh -c "$OWN && $view"' && exec "$@"' sh \
    "$bun" test --timeout 120000 "./conformance-tests/containerd" "$@" || status=1
done
exit $status
