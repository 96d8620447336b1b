#!/bin/sh
# The floods at full size against the release build, each on its own gateway, and 100 streams of events on
# one HTTP/2 connection over TLS. Clients, gateway and model share the machine.
set -eu
ulimit -n "$(ulimit -Hn)"
PROFILE=${PROFILE:-release}
export FLOODS=full
cargo test --profile "$PROFILE" --locked --test floods -- --nocapture --test-threads 1
cargo test --profile "$PROFILE" --locked --test listeners -- --nocapture --ignored
