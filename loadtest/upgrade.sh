#!/usr/bin/env bash
# The process is replaced again and again while streams are under way and requests come on new and on kept
# connections: no stream may break, no request fail, no counter fall, and the sums must be the upstream's.
# A Markdown table on standard output, the figures in target/upgrade.json.
#
#   STREAMS=200 STREAM_SECONDS=20 REPLACEMENTS=3 CONNECTIONS=8 loadtest/upgrade.sh
set -euo pipefail
. "$(dirname "$0")/processes.sh"

streams=${STREAMS:-200} stream_seconds=${STREAM_SECONDS:-20} replacements=${REPLACEMENTS:-3}
connections=${CONNECTIONS:-8}
[ -x "$tollgate" ] || fail "$tollgate is missing; make loadtest builds it"
need wrk wrk
need curl curl

read -r upstream_port proxy_port admin_port status_port <<<"$(ports 4)"
chat_route <<YAML
          - name: ai-proxy
            config:
              route_type: llm/v1/chat
              model:
                provider: openai
                name: gpt-4o-mini
                options: {upstream_url: "http://127.0.0.1:$upstream_port/v1/chat/completions"}
              logging: {log_statistics: true}
plugins:
  - name: prometheus
    config: {status_code_metrics: true, latency_metrics: true, bandwidth_metrics: true, ai_metrics: true}
YAML
launch upstream '' python3 "$here/counting_upstream.py" "$upstream_port" "$scratch/ledger" 3 "$stream_seconds"
upstream=$launched
reachable "$upstream_port"

named() { cat "$scratch/pid" 2>/dev/null || true; }
gateway --pid-file "$scratch/pid"
processes=("$launched")

sed '1s/^{/{"stream":true,/' "$here/chat-request.json" >"$scratch/stream.json"
launch streams '' python3 "$here/streams.py" "$proxy_port" "$status_port" "$streams" "$scratch/stream.json" \
    "$scratch/begun" "$scratch/streams"
watcher=$launched
for _ in {1..100}; do [ -e "$scratch/begun" ] && break; sleep 0.1; done
[ -e "$scratch/begun" ] || fail "the streams have not begun: $(cat "$scratch/streams.log")"

load() { # load NAME CONNECTION: wrk in the background
    BODY="$here/chat-request.json" wrk -t1 -c"$connections" -d"${stream_seconds}s" -s "$here/chat.lua" \
        -H "Connection: $2" "http://127.0.0.1:$proxy_port/chat" >"$scratch/wrk.$1" &
    loads+=("$!")
}
loads=()
load new close
load kept keep-alive
for ((n = 1; n <= replacements; n++)); do
    sleep "$(python3 -c "print($stream_seconds / ($replacements + 2))")"
    old=$(named)
    kill -USR2 "$old"
    for _ in {1..100}; do [ "$(named)" != "$old" ] && break; sleep 0.1; done
    new=$(named)
    [ -n "$new" ] && [ "$new" != "$old" ] || fail "not replaced: $(tail -n 5 "$scratch/tollgate.log")"
    started+=("$new")
    processes+=("$new")
    echo "replaced $old by $new" >&2
done
wait "${loads[@]}"
# The old ones end when their last client has gone.
last=${processes[-1]}
unset 'processes[-1]'
serving() { # serving PID...: does any of these still run? One that nobody waits for stays as a zombie.
    local pid
    for pid in "$@"; do grep -qs '^State:.[^Z]' "/proc/$pid/status" && return 0; done
    return 1
}
for _ in {1..300}; do serving "${processes[@]}" || break; sleep 0.1; done
! serving "${processes[@]}" || fail "a process that was replaced has not ended: $(tail -n 5 "$scratch/tollgate.log")"
sleep 1
kill -TERM "$watcher"
wait "$watcher" || true
curl -sf "http://127.0.0.1:$status_port/metrics" >"$scratch/metrics"
kill -TERM "$upstream" "$last"
wait "$upstream" || true

mkdir -p target
for kind in new kept; do tail -n 1 "$scratch/wrk.$kind" >"$scratch/result.$kind"; done
python3 "$here/replaced.py" "$scratch/streams" "$scratch/metrics" "$scratch/ledger" "$replacements" \
    "$scratch/result.new" "$scratch/result.kept"
