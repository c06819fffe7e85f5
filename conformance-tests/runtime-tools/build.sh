#!/bin/sh
# The programs of the OCI runtime-tools suite, the Go module that go.mod pins; go.sum has its checksum. Where they are is also
# where they run: there they look for the root file system of their containers, and for `runtimetest`, which runs in these.
# For scripts/go-programs.sh: GO is the compiler, OUT where to.
set -eu
suite=github.com/opencontainers/runtime-tools
"$GO" build -trimpath -buildvcs=false -ldflags '-s -w' -o "$OUT/" "$suite/validation/..." "$suite/cmd/runtimetest"
cp "$("$GO" list -m -f '{{.Dir}}' "$suite")"/rootfs-*.tar.gz "$OUT/"
