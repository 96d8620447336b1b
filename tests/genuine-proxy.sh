#!/usr/bin/env bash
# The transformers through a genuine HTTP proxy: installs tinyproxy if it is missing (apt-get, as root), and runs
# the tests that start it. `cargo test` proves the same with a proxy of its own.
set -euo pipefail
. "$(dirname "$0")/../loadtest/processes.sh"

need tinyproxy tinyproxy
cargo test --locked --test transformers genuine -- --ignored
