# shellcheck shell=sh
# Read by the run.sh of each engine, as root: goes to the top of the tree, and says what `bun` and `V2` are.
cd "$(dirname "$(realpath "$0")")/../.." || exit 1
case $(uname -m) in aarch64) bun=bun-linux-aarch64 ;; *) bun=bun-linux-x64 ;; esac
# shellcheck disable=SC2034 # for run.sh
bun=node_modules/@oven/$bun/bin/bun
[ "$(id -u)" = 0 ] || { echo "run.sh: containers need root here" >&2; exit 1; }
# For a mount namespace of its own: there is nothing but cgroup v2.
# shellcheck disable=SC2034
V2='umount -R -l /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup'
