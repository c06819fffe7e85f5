#!/bin/sh
# The main job on what every machine has: containers of the host's own files, with a throw-away layer above them.
set -eu
tsrun=$(dirname "$0")/../bin/tsrun
changes=$(mktemp -d)
trap 'rm -rf "$changes"' EXIT
[ "$(id -u)" = 0 ] || echo "demo: not root; some of this needs it, the rest works where user namespaces do" >&2

# Shows the command line, then runs it.
try() {
  printf '\n$ tsrun try'
  for word; do case $word in *[!A-Za-z0-9_/.=-]*) printf " '%s'" "$word" ;; *) printf ' %s' "$word" ;; esac; done
  printf '\n'
  status=0
  "$tsrun" try "$@" || status=$?
  [ $status = 0 ] || echo "(exit status $status)"
}

# shellcheck disable=SC2016 # the containers' shells expand these
{
  try sh -c 'echo "$(hostname): $(id -un), process $$ of $(ls -d /proc/[0-9]* | wc -l), network: $(ls /sys/class/net | xargs)"'
  try sh -c 'rm -rf /etc /home 2>/dev/null; ls -d /etc /home'
  printf '\n$ ls -d /etc /home    # the host has its own still\n'
  ls -d /etc /home
  try --keep "$changes" sh -c 'echo demo > /etc/demo; rm /etc/shells; mkdir -p /srv/www; echo hello > /srv/www/index.html'
  printf '\n$ find %s -type f\n' "$changes"
  find "$changes" -type f
  try --memory 64m tail /dev/zero
  try --pids 5 sh -c 'for n in 1 2 3 4 5 6; do sleep 1 & done; wait'
}

start=$(date +%s%N)
for _ in 1 2 3 4 5 6 7 8 9 10; do "$tsrun" try true; done
end=$(date +%s%N)
printf '\nten containers, one after another: %d ms\n' $(((end - start) / 1000000))
