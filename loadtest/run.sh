#!/usr/bin/env bash
# The gateway, a bare Pingora proxy, nginx and the upstream alone under the same load: the table of
# docs/performance.md on standard output, every sample in target/loadtest.json.
#
#   ROUNDS=5 SECONDS_=2.5 ONLY=chat,stream loadtest/run.sh
set -euo pipefail
. "$(dirname "$0")/processes.sh"

[ -x "$tollgate" ] || fail "$tollgate is missing; make loadtest builds it"
need wrk wrk
need nginx nginx
need valgrind valgrind
python3 "$here/measure.py"
