#!/usr/bin/env bash
# Three targets of three dialects behind one route under load, one of them killed and started again every
# five seconds: no client may see an error, and the meter must agree with what each upstream counted.
# A Markdown table on standard output, the figures in target/failover.json.
#
#   SECONDS_=60 CONNECTIONS=64 EVERY=5 loadtest/failover.sh
set -euo pipefail
. "$(dirname "$0")/processes.sh"

seconds=${SECONDS_:-60} connections=${CONNECTIONS:-64} every=${EVERY:-5}
[ -x "$tollgate" ] || fail "$tollgate is missing; make loadtest builds it"
need wrk wrk
need curl curl

models=(gpt claude llama)
read -r p0 p1 p2 proxy_port admin_port status_port <<<"$(ports 6)"
upstream_ports=("$p0" "$p1" "$p2")

# upstream N: starts it anew; its id is then in ${pids[N]}.
upstream() {
    launch "${models[$1]}" '' python3 "$here/counting_upstream.py" "${upstream_ports[$1]}" "$scratch/${models[$1]}.ledger" 3
    pids[$1]=$launched
}

chat_route <<YAML
          - name: ai-proxy-advanced
            config:
              balancer:
                algorithm: round-robin
                failover_criteria: [error, timeout, invalid_header, non_idempotent]
                max_fails: 3
                fail_timeout: 1000
                read_timeout: 5000
              targets:
                - route_type: llm/v1/chat
                  model: {provider: openai, name: gpt, options: {upstream_url: "http://127.0.0.1:$p0/v1/chat/completions"}}
                - route_type: llm/v1/chat
                  model: {provider: anthropic, name: claude, options: {anthropic_version: "2023-06-01", upstream_url: "http://127.0.0.1:$p1/v1/messages"}}
                - route_type: llm/v1/chat
                  model: {provider: llama2, name: llama, options: {llama2_format: ollama, upstream_url: "http://127.0.0.1:$p2/api/chat"}}
YAML

pids=()
for n in 0 1 2; do
    upstream "$n"
    reachable "${upstream_ports[$n]}"
done
gateway

# Each target has a model of its own: the client names none.
sed 's/"model": *"[^"]*", *//' "$here/chat-request.json" >"$scratch/chat.json"
BODY="$scratch/chat.json" wrk -t1 -c"$connections" -d"${seconds}s" -s "$here/chat.lua" \
    "http://127.0.0.1:$proxy_port/chat" >"$scratch/wrk" &
load=$!
for ((n = 0; n < seconds / every - 1; n++)); do
    sleep "$every"
    victim=$((n % 3))
    kill -TERM "${pids[$victim]}"
    # Down for a while, so that connections are refused and not only broken.
    sleep 0.5
    upstream "$victim"
done
wait "$load"
# What was under way when the load ended is answered and settled by now.
sleep 1
curl -sf "http://127.0.0.1:$status_port/metrics" >"$scratch/metrics"
for pid in "${pids[@]}"; do kill -TERM "$pid"; done
wait "${pids[@]}" || true

mkdir -p target
tail -n 1 "$scratch/wrk" >"$scratch/result"
ledgers=()
for model in "${models[@]}"; do ledgers+=("$model=$scratch/$model.ledger"); done
python3 "$here/ledger.py" "$scratch/result" "$scratch/metrics" "${ledgers[@]}"
