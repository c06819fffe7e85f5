#!/bin/sh
# What tests/guest/run.sh runs inside the guest, in a copy of the tree: everything (but see left-out) with cgroupfs; beside it, for there are two
# processors, what asks who makes the cgroups with systemd, and the list of limits against runc and crun, to test the tests.
# Before and after that: is the guest what it should be?
set -eu
set -a
. ./environment
set +a
export TSRUN_GUEST=1 TEST_TIME_FACTOR="${TEST_TIME_FACTOR:-10}" LOOPS="${LOOPS:-40}" NO_COLOR=1
[ $# = 0 ] || exec tests/run.sh "$@"

left_in() {
  for file in "$@"; do
    [ -z "${GUEST_ALL:-}" ] && grep -qx "$(basename "$file" .test.ts)" tests/guest/left-out || echo "./$file"
  done
}

# shellcheck disable=SC2046 # no file has a space in its name
with_cgroupfs() {
  tests/run.sh $(left_in tests/*.test.ts tests/guest/*.test.ts)
}

# shellcheck disable=SC2046
with_systemd() {
  MANAGER=systemd tests/run.sh $(left_in $(grep -l helpers/manager tests/*.test.ts) tests/resource-effects.test.ts)
}

of_reference() {
  for runtime in runc crun; do
    for manager in cgroupfs systemd; do
      RUNTIME=$runtime MANAGER=$manager tests/run.sh ./tests/resources.test.ts || return 1
    done
  done
}

status=0
tests/run.sh ./tests/guest/machine.ts || status=1
{
  with_systemd || echo failed >failed
  of_reference || echo failed >failed
} >beside 2>&1 &
with_cgroupfs || status=1
wait
cat beside
[ ! -e failed ] || status=1
tests/run.sh ./tests/guest/machine.ts || status=1
exit $status
