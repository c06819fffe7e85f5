#!/bin/sh
# The OCI runtime-tools suite with the machine's own cgroups, where there is nothing but cgroup v2, and in the guest, where cgroup v2
# has its controllers and root all capabilities. As root; bin/tsrun must be built.
#
#   conformance-tests/runtime-tools/run.sh [bun test arguments…]     -t mounts
#
# RUNTIME: another tsrun, by its path; or runc or crun, which the guest's lane leaves out. LANES="v1 v2 guest": only these.
set -u
. "$(dirname "$(realpath "$0")")/../lib/prepare.sh"
tests=conformance-tests/runtime-tools
if [ "$(uname -m)" != x86_64 ]; then
  echo "skipped: runtime-tools: the suite has a root file system for its containers on x86-64 only"
  echo "(skip) runtime-tools"
  exit 0
fi
RUNTIME_TOOLS=$(scripts/go-programs.sh "./$tests") || exit 1
export RUNTIME_TOOLS

runs() {
  case " ${LANES:-v1 v2 guest} " in *" $1 "*) ;; *) return 1 ;; esac
  case $1 in
  v1) [ ! -e /sys/fs/cgroup/cgroup.procs ] ;; # Otherwise it is cgroup v2 already.
  guest) [ "$(basename "${RUNTIME:-tsrun}")" = tsrun ] ;;
  esac
}

in_guest() {
  directory=$(mktemp -d "${TMPDIR:-/tmp}/tsrun-guest.XXXXXX")
  cp -a --parents package.json tsconfig.json tests/helpers "$tests" node_modules/@oven/bun-linux-x64 "$directory"
  install -D "${RUNTIME:-bin/tsrun}" "$directory/bin/tsrun"
  cp -a "$RUNTIME_TOOLS" "$directory/programs"
  cat >"$directory/work" <<END
#!/bin/sh
export RUNTIME_TOOLS="\$PWD/programs" TSRUN_GUEST=1 TEST_TIME_FACTOR=10 NO_COLOR=1
exec $bun test ./$tests/suite.test.ts "\$@"
END
  chmod +x "$directory/work"
  scripts/guest/run.sh --limit 2400 "$directory" "$@"
  status=$?
  rm -rf "$directory"
  return $status
}

lane() {
  view=$1
  shift
  unshare --mount --ipc --propagation private sh -c "$view"' && exec "$@"' sh "$bun" test "$@"
}

# Side by side: the programs sleep most of their time. Then the outputs, one after the other.
outputs=$(mktemp -d "${TMPDIR:-/tmp}/tsrun-runtime-tools.XXXXXX")
jobs=
trap 'for job in $jobs; do kill "$job" 2>/dev/null; done; rm -rf "$outputs"' EXIT
trap 'exit 130' INT TERM HUP
if runs guest; then
  in_guest "$@" >"$outputs/guest" 2>&1 &
  jobs="$jobs $!"
fi
if runs v2; then
  lane "$V2" "./$tests/suite.test.ts" "$@" >"$outputs/v2" 2>&1 &
  jobs="$jobs $!"
fi
status=0
if runs v1; then lane : "./$tests/suite.test.ts" "$@" || status=1; fi
for job in $jobs; do wait "$job" || status=1; done
jobs=
for output in "$outputs"/*; do [ ! -e "$output" ] || cat "$output"; done
# The runner itself.
[ $# -gt 0 ] || lane : "./$tests/tap.test.ts" "./$tests/judge.test.ts" "./$tests/null-runtime.test.ts" || status=1
exit $status
