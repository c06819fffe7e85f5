#!/bin/bash
# Runs the integration tests in the guest of scripts/guest: systemd, cgroup v2 with all controllers, AppArmor, an ordinary
# user with a cgroup of its own. As root; bin/tsrun must be built.
#
#   tests/guest/run.sh                                   every test but those that tests/guest/left-out names (GUEST_ALL=1: all)
#   tests/guest/run.sh tests/hooks.test.ts -t timeout    arguments as of tests/run.sh
#
# RUNTIME, MANAGER, VIEW, LOOPS: as of tests/run.sh; RUNTIME may be a path. GUEST_LIMIT: seconds for all tests, 2700 by default.
# GUEST_SUITE: another Debian (trixie). GUEST_BOOT: kernel arguments, for a guest that is started anew, such as
# "security=selinux selinux=1 apparmor=0" for tests/guest/selinux.test.ts.
set -euo pipefail
cd "$(dirname "$(realpath "$0")")/../.."

directory=$(mktemp -d "${TMPDIR:-/tmp}/tsrun-guest.XXXXXX")
trap 'rm -rf "$directory"' EXIT
trap 'kill "$guest" 2>/dev/null; exit 130' INT TERM HUP

cp -a --parents package.json tsconfig.json src tests scripts bench node_modules/@oven/bun-linux-x64 "$directory"
runtime=${RUNTIME:-bin/tsrun}
case $runtime in */*)
  mkdir "$directory/bin"
  cp -a "$runtime" "$directory/bin/"
  runtime=bin/$(basename "$runtime")
  ;;
esac
cp tests/guest/inside.sh "$directory/work"
case ${GUEST_BOOT:-} in *selinux=1*)
  secilc -c 33 -o "$directory/selinux.policy" -f "$directory/file_contexts" tests/guest/selinux.cil
  ;;
esac
{
  echo "RUNTIME=$runtime"
  env | grep -E "^(MANAGER|VIEW|LOOPS|GUEST_ALL|TEST_TIME_FACTOR)=" || true
} >"$directory/environment"

options=(--limit "${GUEST_LIMIT:-2700}" --suite "${GUEST_SUITE:-bookworm}")
[ -z "${GUEST_BOOT:-}" ] || options+=(--boot "$GUEST_BOOT")
scripts/guest/run.sh "${options[@]}" "$directory" "$@" &
guest=$!
status=0
wait "$guest" || status=$?

# What the guest cannot have beside AppArmor, in another one.
if [ $# = 0 ] && [ -z "${GUEST_BOOT:-}" ]; then
  GUEST_BOOT="security=selinux selinux=1 apparmor=0" tests/guest/run.sh tests/guest/selinux.test.ts &
  guest=$!
  wait "$guest" || status=1
fi
exit "$status"
