#!/bin/bash
# Makes the disk and the snapshot of the guest that tests/guest/run.sh uses, where they are not cached, and prints their
# directory. The guest is a Debian with systemd as its process 1, cgroup v2 with all controllers, AppArmor and an ordinary
# user; QEMU emulates the processor, so the machine that makes or runs it needs none of that, and no KVM.
#
#   scripts/guest/image.sh [--suite bookworm|trixie|…]      as root, with the packages of `scripts/setup.sh debian`
#
# TSRUN_GUEST_CACHE: where images are kept, /var/cache/tsrun-guest. The name of an image is a hash of everything in this
# folder but run.sh, and of QEMU's version, so a change makes a new one; delete the folder to get newer Debian packages.
set -euo pipefail
umask 022
export LC_ALL=C PATH=$PATH:/usr/sbin:/sbin
here=$(dirname "$(realpath "$0")")
cache=${TSRUN_GUEST_CACHE:-/var/cache/tsrun-guest}
suite=bookworm
log=/dev/null

packages="
  linux-image-cloud-amd64 systemd systemd-sysv udev dbus dbus-user-session libpam-systemd
  apparmor kmod iproute2 procps passwd e2fsprogs busybox-static
  runc crun uidmap strace libcap2-bin"

main() {
  parse "$@"
  [ "$(id -u)" = 0 ] || fail "making a Debian needs root"
  for tool in qemu-system-x86_64 qemu-img mmdebstrap mke2fs; do
    command -v "$tool" >/dev/null || fail "$tool is missing: scripts/setup.sh debian installs it"
  done
  image=$cache/$suite-$(key)
  if [ ! -e "$image/snapshot" ]; then
    mkdir -p "$cache"
    exec 9>"$cache/.lock"
    flock 9 # Someone else may be making it.
    [ -e "$image/snapshot" ] || make_image
  fi
  touch "$image" # See make_image: what nobody uses is removed.
  echo "$image"
}

parse() {
  [ $# = 0 ] && return
  [ $# = 2 ] && [ "$1" = --suite ] || fail "usage: scripts/guest/image.sh [--suite NAME]"
  suite=$2
}

key() {
  (cd "$here" && find image.sh qemu.sh rootfs -type f -exec sha256sum {} + | sort && qemu-system-x86_64 --version) | sha256sum | cut -c1-16
}

make_image() {
  rm -rf --one-file-system "$cache"/.making.* # What a killed run left: we hold the lock.
  making=$(mktemp -d "$cache/.making.XXXXXX")
  chmod 755 "$making"
  trap clean_up EXIT
  trap 'exit 130' INT TERM HUP
  log=$making/log
  say "making $image"
  make_rootfs "$making/rootfs"
  make_disk "$making/rootfs"
  make_snapshot
  find "$cache" -mindepth 1 -maxdepth 1 -name "$suite-*" -mtime +3 -exec rm -rf --one-file-system {} +
  mv "$making" "$image"
  say "made $image, $(du -sm "$image" | cut -f1) MiB"
}

clean_up() {
  [ -z "${qemu:-}" ] || kill "$qemu" 2>/dev/null || true
  rm -rf --one-file-system "$making" # Never into a file system that is still mounted in the tree.
}

make_rootfs() {
  [ -n "$(apt-get indextargets)" ] || quietly apt-get update
  debian_sources >"$making/sources.list"
  [ -s "$making/sources.list" ] || fail "this machine's apt knows no Debian mirror"
  quietly mmdebstrap --mode=root --variant=essential --include="$(echo $packages | tr ' ' ,)" $(proxies) \
    --aptopt='Apt::Install-Recommends "false"' --aptopt='Acquire::Retries "3"' --dpkgopt=force-unsafe-io \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --essential-hook='copy-in "'"$here"'/rootfs/etc/initramfs-tools" /etc' \
    --customize-hook='sync-in "'"$here"'/rootfs" /' \
    --customize-hook='chroot "$1" /usr/local/sbin/guest-setup' \
    "$suite" "$1" "$making/sources.list"
  say "Debian $suite with $(find "$1/var/lib/dpkg/info" -name '*.list' | wc -l) packages"
}

# sources.list lines for the suite, from the mirrors that this machine's apt uses, which may have another suite.
debian_sources() {
  apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(COMPONENT) $(ORIGIN)' 'Identifier: Packages' |
    awk -v suite="$suite" '$4 == "Debian" && $3 == "main" && $2 ~ /^[a-z]+(-updates|-security)?$/ {
      sub(/^[a-z]+/, suite, $2); print "deb", $1, $2, $3 }' | sort -u
}

proxies() {
  apt-config dump | sed -n 's/^\(Acquire::https\?::Proxy\) "\(..*\)";$/--aptopt=\1\x20"\2"/p' | tr '\n' ' '
}

make_disk() {
  cp -L "$1/vmlinuz" "$making/vmlinuz"
  cp -L "$1/initrd.img" "$making/initrd.img"
  truncate -s 16G "$making/disk"
  quietly mke2fs -q -t ext4 -O ^has_journal,^metadata_csum -E lazy_itable_init=1,nodiscard,root_owner=0:0 -d "$1" "$making/disk"
  rm -rf --one-file-system "$1"
}

# Boots once and keeps the state of the machine in which the lane waits for work: from there a run starts in a second.
make_snapshot() {
  source "$here/qemu.sh"
  mkdir "$making/run"
  truncate -s "$WORK_DISK_BYTES" "$making/run/work"
  quietly qemu-img create -f qcow2 -F raw -b disk "$making/changes"
  mkfifo "$making/run/monitor"
  machine "$making" "$making/run" "file=$making/changes,format=qcow2"
  qemu-system-x86_64 "${MACHINE[@]}" -monitor stdio <"$making/run/monitor" >>"$log" 2>&1 9>&- &
  qemu=$!
  exec 8>"$making/run/monitor"
  until_ready
  # The machine is saved while it runs: what is saved stopped is restored stopped. Usually 128 MiB/s are the limit.
  printf '%s\n' 'migrate_set_parameter max-bandwidth 1T' "migrate \"exec:cat > $making/snapshot\"" 'info migrate' quit >&8
  exec 8>&-
  wait "$qemu" || true
  qemu=
  grep -q 'Migration status: completed' "$log" || fail "QEMU could not save the guest"
  rm -rf "$making/run"
}

until_ready() {
  for ((tries = 0; tries < 3000; tries++)); do
    if grep -q '^ready' "$making/run/events" 2>/dev/null; then
      say "up: $(cat "$making/run/events")"
      return
    fi
    kill -0 "$qemu" 2>/dev/null || break
    sleep 0.1
  done
  tail -30 "$making/run/console" >&2 || true
  fail "the guest did not start (its console is above)"
}

# Output only when it fails.
quietly() {
  "$@" >>"$log" 2>&1 9>&- </dev/null || fail "failed: $*"
}

say() {
  echo "guest image: $*" >&2
}

fail() {
  tail -25 "$log" >&2
  say "$*"
  exit 1
}

main "$@"
