#!/bin/sh
# The client of the CRI. For scripts/go-programs.sh: GO is the compiler, OUT where to.
set -eu
"$GO" build -trimpath -buildvcs=false -ldflags '-s -w' -o "$OUT/" ./client
