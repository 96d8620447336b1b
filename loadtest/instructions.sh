#!/usr/bin/env bash
# User instructions of five fixed exchanges, by callgrind: a table, and status 1 if one rose by more than 3 % above
# loadtest/instructions.json. BLESS=1 rewrites that file.
set -euo pipefail
. "$(dirname "$0")/processes.sh"

[ -x "$tollgate" ] || fail "$tollgate is missing; make instructions builds it"
need valgrind valgrind
python3 "$here/instructions.py"
