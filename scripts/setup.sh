#!/bin/sh
# Installs what the Makefile's targets need, and nothing that is there already.
#
#   scripts/setup.sh packages     node_modules, as package-lock.json says
#   scripts/setup.sh debian       Debian packages for the tests; as root
#   scripts/setup.sh bun ARCH     the Bun of another architecture, for cross-compiling, into build/bun-ARCH
set -eu
cd "$(dirname "$0")/.."

# A file each, and the package that has it.
TOOLS="
/usr/sbin/runc runc
/usr/bin/crun crun
/usr/bin/containerd containerd
/usr/sbin/dockerd docker.io
/usr/bin/docker-registry docker-registry
/usr/bin/skopeo skopeo
/usr/lib/cni/bridge containernetworking-plugins
/usr/sbin/iptables iptables
/sbin/mkfs.btrfs btrfs-progs
/usr/bin/hyperfine hyperfine
/usr/bin/strace strace
/usr/bin/qemu-aarch64 qemu-user
/usr/aarch64-linux-gnu/lib/libc.so.6 libc6-arm64-cross
/usr/bin/aarch64-linux-gnu-as binutils-aarch64-linux-gnu
/usr/bin/as binutils
/bin/busybox busybox-static
/sbin/ip iproute2
/usr/bin/newuidmap uidmap
/usr/bin/podman podman
/usr/bin/conmon conmon
/usr/lib/podman/netavark netavark
/usr/lib/podman/aardvark-dns aardvark-dns
/usr/bin/slirp4netns slirp4netns
/usr/bin/fuse-overlayfs fuse-overlayfs
/usr/bin/catatonit catatonit
/usr/bin/buildah buildah
/usr/bin/unshare util-linux
/usr/bin/mandoc mandoc
/usr/bin/qemu-system-x86_64 qemu-system-x86
/usr/bin/qemu-img qemu-utils
/usr/bin/mmdebstrap mmdebstrap
/sbin/mke2fs e2fsprogs
/usr/bin/secilc secilc
"

packages() {
  need_node
  npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
}

need_node() {
  command -v npm >/dev/null || fail "npm is needed (Debian: apt-get install nodejs npm)"
  major=$(node --version | sed 's/^v\([0-9]*\).*/\1/')
  [ "$major" -ge 20 ] || fail "Node.js 20 or newer is needed, this is $(node --version)"
}

debian() {
  missing=$(echo "$TOOLS" | while read -r file package; do
    [ -z "$file" ] || [ -e "$file" ] || echo "$package"
  done)
  go=
  scripts/go-programs.sh which >/dev/null 2>&1 || go=golang
  [ -n "$missing$go" ] || return 0
  # shellcheck disable=SC2086 # one word per package
  set -- $missing
  [ "$(id -u)" = 0 ] || fail "the tests need these Debian packages; install them as root: $* $go"
  echo installing "$@" $go
  export DEBIAN_FRONTEND=noninteractive
  quietly apt-get -o DPkg::Lock::Timeout=400 -y update
  # An interrupted upgrade leaves packages whose versions do not fit; nothing can be installed before that is mended.
  quietly apt-get -o DPkg::Lock::Timeout=400 -y --fix-broken install
  [ $# = 0 ] || install "$@"
  [ -z "$go" ] || newest_go
}

install() {
  quietly apt-get -o DPkg::Lock::Timeout=400 -y --no-install-recommends install "$@"
}

# There is a package per version of Go, and several in backports. When the newest is too old, it fetches one that is not.
newest_go() {
  newest=$(apt-cache search --names-only '^golang-1\.[0-9]+-go$' | sed 's/ .*//' | sort -V | tail -1)
  [ -z "$newest" ] || install "$newest"
  scripts/go-programs.sh which >/dev/null 2>&1 || scripts/go-programs.sh fetch ||
    fail "the newest Go that apt has is ${newest:-none}: unpack one from https://go.dev/dl to /usr/local/go, or use Debian 13"
}

# apt's pages of output only when it fails.
quietly() {
  mkdir -p build/logs
  "$@" >build/logs/apt.log 2>&1 </dev/null || { cat build/logs/apt.log; fail "failed: $*"; }
}

# Only the optional dependencies are of another architecture: with --omit=dev npm installs that Bun and nothing else,
# and compares its checksum with package-lock.json.
bun() {
  need_node
  cpu=$(echo "$1" | sed 's/aarch64/arm64/; s/x86-64/x64/')
  case $cpu in arm64 | x64) ;; *) fail "unknown architecture $1: x86-64 or aarch64" ;; esac
  mkdir -p "build/bun-$1"
  cp package.json package-lock.json .npmrc "build/bun-$1"
  (cd "build/bun-$1" &&
    npm ci --omit=dev --os=linux --cpu="$cpu" --libc=glibc --ignore-scripts --no-audit --no-fund --loglevel=error)
}

fail() {
  echo "setup: $*" >&2
  exit 1
}

case ${1:-} in
packages | debian | bun) "$@" ;;
*) fail "usage: scripts/setup.sh packages|debian|bun ARCH" ;;
esac
