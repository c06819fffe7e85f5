#!/bin/sh
# The main job on what every machine has: a container of the host's own files, with a throw-away layer above them.
set -eu
tsrun=$(dirname "$0")/../bin/tsrun
[ "$(id -u)" = 0 ] || echo "demo: not root; this works where user namespaces and overlay allow it" >&2

echo '$ tsrun try --hostname demo -- sh -c …'
# shellcheck disable=SC2016 # the container's shell expands it
"$tsrun" try --hostname demo -- sh -c '
  echo "host name   $(cat /proc/sys/kernel/hostname)"
  echo "processes   $(ls /proc | grep -c "^[0-9]"), and this one is number $$"
  echo "network     $(ls /sys/class/net 2>/dev/null | tr "\n" " ")"
  echo "capabilities $(sed -n "s/^CapEff:.//p" /proc/self/status)"
  rm -rf /etc && echo "/etc        removed: $(ls /etc 2>&1)"
'
echo "$ ls /etc | wc -l      # the host still has its own"
find /etc -maxdepth 1 | wc -l
