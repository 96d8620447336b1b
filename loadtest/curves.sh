#!/usr/bin/env bash
# Cost against body size, routes and streams: target/curves.json and docs/performance-curves.svg. Installs
# matplotlib in target/venv-curves.
#
#   ROUNDS=3 SECONDS_=1 loadtest/curves.sh
set -euo pipefail
. "$(dirname "$0")/processes.sh"

[ -x "$tollgate" ] || fail "$tollgate is missing; make curves builds it"
need wrk wrk
need nginx nginx
venv=target/venv-curves
"$venv/bin/python" -c 'import matplotlib' 2>/dev/null ||
    { python3 -m venv "$venv" && "$venv/bin/pip" install --quiet 'matplotlib>=3.8,<4' >&2; }
"$venv/bin/python" "$here/curves.py"
