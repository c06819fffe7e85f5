#!/bin/sh
# Programs in Go that the conformance tests need, from pinned modules of others; nothing of these is in this repository.
#
#   scripts/go-programs.sh DIRECTORY    runs DIRECTORY/build.sh, which puts programs into $OUT by means of $GO, unless that was
#                                       done before from the same sources, and prints the directory in which they are
#   scripts/go-programs.sh which        prints which Go that would be
#   scripts/go-programs.sh fetch        has an older Go fetch the one that is needed
#
# TSRUN_GO_CACHE: where the programs are kept, /var/cache/tsrun-go. The directory's name has a hash of what they are made from.
set -eu
umask 022
cd "$(dirname "$(realpath "$0")")/.."
cache=${TSRUN_GO_CACHE:-/var/cache/tsrun-go}
# What go.mod files here say. Debian has it since 13.
NEEDED=1.24
# The one that an older Go fetches.
FETCHED=1.24.4
# What the environment or `go env -w` may say otherwise. Without cgo programs are static: they run in containers without a libc.
export CGO_ENABLED=0 GOFLAGS=-mod=readonly GOWORK=off GOTOOLCHAIN=local

main() {
  case ${1:-} in
  which) find_go && echo "$GO" ;;
  fetch) fetch ;;
  */*) find_go && programs "$1" ;;
  *) fail "usage: scripts/go-programs.sh which|DIRECTORY" ;;
  esac
}

# The Go in PATH, the newest of Debian's packages, which are not in PATH, one that was unpacked, or what was fetched.
candidates() {
  command -v go || :
  ls -d /usr/lib/go-1.*/bin/go 2>/dev/null | sort -rV
  ls -d /usr/local/go/bin/go "$cache/go-$FETCHED/bin/go" 2>/dev/null || :
}

find_go() {
  for GO in $(candidates); do
    found=$("$GO" env GOVERSION | sed 's/^go//')
    [ "$(printf '%s\n' "$NEEDED" "$found" | sort -V | head -1)" != "$NEEDED" ] || return 0
  done
  fail "Go $NEEDED or newer is needed${found:+, this is $found}"
}

# Go is a module too, which the database of checksums has, and any Go can fetch it from where modules come from.
fetch() {
  old=$(candidates | head -1)
  [ -n "$old" ] || fail "there is no Go that could fetch Go $FETCHED"
  mkdir -p "$cache"
  making=$(mktemp -d "$cache/.making.XXXXXX")
  trap 'rm -rf "$making"' EXIT
  module=golang.org/toolchain@v0.0.1-go$FETCHED.linux-$("$old" env GOARCH)
  (cd "$making" && GOMODCACHE=$making GOFLAGS=-modcacherw "$old" mod download "$module") ||
    fail "Go $FETCHED could not be fetched (the reason is above)"
  # Modules have no modes.
  chmod -R +x "$making/$module/bin" "$making/$module/pkg/tool"
  rm -rf "$cache/go-$FETCHED"
  mv "$making/$module" "$cache/go-$FETCHED"
}

programs() {
  name=$(basename "$1")
  out=$cache/$name-$(key "$1")
  mkdir -p "$cache"
  exec 9>"$cache/.lock"
  flock 9 # Someone else may be building them.
  [ -e "$out/.built" ] || build "$1"
  touch "$out" # See build: what nobody uses is removed.
  echo "$out"
}

key() {
  { (cd "$1" && find . -type f \( -name 'go.*' -o -name '*.go' -o -name build.sh \) -exec sha256sum {} + | sort) && "$GO" version; } |
    sha256sum | cut -c1-16
}

build() {
  rm -rf "$cache"/.making.* # What a killed run left: we hold the lock.
  OUT=$(mktemp -d "$cache/.making.XXXXXX")
  trap 'rm -rf "$OUT"' EXIT
  trap 'exit 130' INT TERM HUP
  chmod 755 "$OUT"
  export GO OUT
  echo "building the programs of $1 with $("$GO" version)" >&2
  (cd "$1" && ./build.sh) >&2 9>&- || fail "the programs of $1 could not be built (the reason is above)"
  touch "$OUT/.built"
  find "$cache" -mindepth 1 -maxdepth 1 -name "$name-*" -mtime +3 -exec rm -rf {} +
  mv "$OUT" "$out"
}

fail() {
  echo "go-programs: $*" >&2
  exit 1
}

main "$@"
