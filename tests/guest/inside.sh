#!/bin/sh
# What tests/guest/run.sh runs inside the guest, in a copy of the tree: everything with cgroupfs; what asks who makes the
# cgroups with systemd too; the list of limits against runc and crun, to test the tests.
set -eu
set -a
. ./environment
set +a
export TSRUN_GUEST=1 TEST_TIME_FACTOR="${TEST_TIME_FACTOR:-10}" NO_COLOR=1
[ $# = 0 ] || exec tests/run.sh "$@"

left_in() {
  for file in "$@"; do
    grep -q "^$(basename "$file"):" tests/guest/left-out || echo "./$file"
  done
}

# shellcheck disable=SC2046 # no file has a space in its name
{
  status=0
  tests/run.sh $(left_in tests/*.test.ts tests/guest/*.test.ts) || status=1
  MANAGER=systemd tests/run.sh $(left_in $(grep -lE 'helpers/(manager|cgroup-files)' tests/*.test.ts)) || status=1
  for runtime in runc crun; do
    for manager in cgroupfs systemd; do
      RUNTIME=$runtime MANAGER=$manager tests/run.sh ./tests/resources.test.ts || status=1
    done
  done
}
exit $status
