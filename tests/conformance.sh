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
run() {
  "$venv/bin/python" "$suite/run.py" "$suite/public" "$@"
}
# A gateway that serves files takes no writes, as Kong without a database: those cases need a store.
writable='target/release/tollgate run --config {config} --state {dir}/state --proxy-listen 127.0.0.1:{proxy_port}'
writable+=' --admin-listen 127.0.0.1:{admin_port} --status-listen 127.0.0.1:{status_port}'
run --gateway "$writable" --only admin-write
run --without admin-write \
  --without start-with-bad-regex # such a pattern is refused when the file is loaded
