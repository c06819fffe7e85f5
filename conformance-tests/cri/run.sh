#!/bin/sh
# containerd's CRI with the machine's own cgroups, in a mount namespace of its own. As root. Arguments go to bun test.
set -u
. "$(dirname "$(realpath "$0")")/../lib/prepare.sh"
CRI_CLIENT=$(scripts/go-programs.sh ./conformance-tests/cri) || exit 1
export CRI_CLIENT

# The CRI gives every pod its share of the processor, so cgroup v2 alone will not do where v1 has that controller. Engines put
# sockets and empty folders into /run, whatever their configuration says.
[ -e /sys/fs/cgroup/cgroup.procs ] || echo "cgroup v2 alone: not here, where cgroup v1 has the cpu controller"
unshare -m --propagation private sh -c 'mount -t tmpfs none /run && exec "$@"' sh \
  "$bun" test --timeout 120000 ./conformance-tests/cri "$@"
