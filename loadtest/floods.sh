#!/bin/sh
# The floods at full size against the release build, each on its own gateway, and 100 streams of events on
# one HTTP/2 connection over TLS. Clients, gateway and model share the machine.
set -eu
ulimit -n "$(ulimit -Hn)"
export FLOODS=full TOLLGATE_BIN="${TOLLGATE_BIN:-$PWD/target/release/tollgate}"
cargo test --locked --test floods -- --nocapture --test-threads 1
cargo test --locked --test listeners -- --nocapture --ignored
