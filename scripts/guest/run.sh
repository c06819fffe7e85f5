#!/bin/bash
# Runs a program in the guest of image.sh: a directory becomes a disk there, and its file `work` is run in it as root.
#
#   scripts/guest/run.sh [--suite NAME] [--limit SECONDS] [--boot ARGUMENTS] DIRECTORY [ARGUMENT…]
#
# --boot starts the guest anew with more kernel arguments (systemd.unified_cgroup_hierarchy=0: cgroup v1), which takes half a
# minute more. Output is the work's. The exit status is the work's; 124 when it took longer than --limit (600 s);
# 125 when the guest failed, with the reason on standard error.
set -euo pipefail
export LC_ALL=C PATH=$PATH:/usr/sbin:/sbin
here=$(dirname "$(realpath "$0")")
suite=bookworm
limit=600
boot=

main() {
  parse "$@"
  image=$("$here/image.sh" --suite "$suite") || fail "there is no image (the reason is above)"
  run=$(mktemp -d "${TMPDIR:-/tmp}/tsrun-guest.XXXXXX")
  trap clean_up EXIT
  trap 'exit 130' INT TERM HUP
  source "$here/qemu.sh"
  make_work_disk
  start_guest
  status=$(sed -n 's/^ended \([0-9]*\)$/\1/p' "$run/events")
  [ -n "$status" ] || fail "the guest ended without a status"
  [ "$status" != 124 ] || say "the work took longer than $limit s"
  exit "$status"
}

parse() {
  while [ $# -gt 1 ]; do
    case $1 in
    --suite) suite=$2 ;;
    --limit) limit=$2 ;;
    --boot) boot=$2 ;;
    *) break ;;
    esac
    shift 2
  done
  [ $# -ge 1 ] && [ -x "$1/work" ] || fail "usage: scripts/guest/run.sh [options] DIRECTORY-WITH-work [ARGUMENT…]"
  directory=$1
  shift
  arguments=("$@")
}

# What the lane must know goes into the directory's file .guest, in the shell's syntax. A restored clock stands still.
make_work_disk() {
  echo "limit=${limit@Q} now=$(date +%s.%N) arguments=(${arguments[*]@Q})" >"$directory/.guest"
  truncate -s "$WORK_DISK_BYTES" "$run/work"
  mke2fs -q -t ext4 -m 0 -O ^has_journal,^metadata_csum -E lazy_itable_init=1,nodiscard,root_owner=0:0 \
    -d "$directory" "$run/work" >"$run/mke2fs" 2>&1 || { cat "$run/mke2fs" >&2; fail "$directory could not be put into a disk"; }
}

# Every run has the image's disk as it was: snapshot=on keeps changes in a file of its own, in TMPDIR.
start_guest() {
  if [ -n "$boot" ]; then
    KERNEL_ARGUMENTS=$boot machine "$image" "$run" "file=$image/disk,format=raw,snapshot=on"
  else
    machine "$image" "$run" "file=$image/changes,format=qcow2,snapshot=on"
    MACHINE+=(-incoming "exec:cat $image/snapshot")
  fi
  touch "$run/events" "$run/console"
  # Through cat: QEMU opens /dev/stdout once more, which would overwrite a file.
  TMPDIR=$run timeout --foreground $((limit + 120)) \
    qemu-system-x86_64 "${MACHINE[@]}" -monitor none -pidfile "$run/pid" </dev/null 2>"$run/errors" | cat &
  wait $! || true
}

clean_up() {
  [ ! -s "$run/pid" ] || kill "$(cat "$run/pid")" 2>/dev/null || true
  rm -rf "$run"
}

say() {
  echo "guest: $*" >&2
}

fail() {
  for file in console errors events; do
    [ ! -s "${run:-/nonexistent}/$file" ] || { say "$file:"; tail -c 3000 "$run/$file" >&2; }
  done
  say "$*"
  exit 125
}

main "$@"
