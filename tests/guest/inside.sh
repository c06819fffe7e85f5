#!/bin/sh
# What tests/guest/run.sh runs inside the guest, in a copy of the tree.
set -eu
set -a
. ./environment
set +a
export TSRUN_GUEST=1 TEST_TIME_FACTOR="${TEST_TIME_FACTOR:-10}" NO_COLOR=1
if [ $# = 0 ]; then
  for file in tests/*.test.ts tests/guest/*.test.ts; do
    grep -q "^$(basename "$file"):" tests/guest/left-out || set -- "$@" "./$file"
  done
  status=0
  tests/run.sh "$@" || status=$?
  # The same limits once more, where systemd makes the cgroups.
  [ -n "${MANAGER:-}" ] || MANAGER=systemd tests/run.sh ./tests/resources.test.ts ./tests/resource-effects.test.ts || status=$?
  exit "$status"
fi
exec tests/run.sh "$@"
