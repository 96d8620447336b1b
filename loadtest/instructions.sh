#!/usr/bin/env bash
# User instructions a request, counted by callgrind: unlike time, nearly the same on every machine and every
# run, so it shows what a change costs. Prints a Markdown table.
#
#   CHATS=1000 STREAMS=100 loadtest/instructions.sh
#
# The gateway is run four times: with a warm-up only, with CHATS chats after it, with as many guarded ones, with
# STREAMS streams after it. The difference to the first run is what the requests took, without start and shutdown.
set -euo pipefail
. "$(dirname "$0")/processes.sh"

chats=${CHATS:-1000} streams=${STREAMS:-100}
[ -x "$tollgate" ] || fail "$tollgate is missing; make instructions builds it"
need valgrind valgrind
need nginx nginx
need curl curl

read -r chat_port stream_port proxy_port admin_port status_port <<<"$(ports 5)"
launch_upstream '' "$chat_port"
# The pause makes each event a read of its own, as it is with a real model: without it their number varies.
launch mock-llm '' "$tollgate" mock-llm --listen "127.0.0.1:$stream_port" --chunks "${CHUNKS:-50}" --chunk-delay 5
await mock-llm "http://127.0.0.1:$stream_port/health"
gateway_config "$scratch/kong.yaml" "$chat_port" "$stream_port"
echo 'grace_seconds: 1' >"$scratch/server.yaml"
streaming "$scratch/stream.json"

# send PATH BODY COUNT: on one connection; prints the number of events of the last answer.
send() {
    python3 "$here/send.py" "$proxy_port" "$1" "$2" "$3"
}

# count NAME CHATS GUARDED STREAMS: the instructions of a run with so many requests after the warm-up.
count() {
    local out=$scratch/callgrind.$1
    launch "$1" '' valgrind --tool=callgrind --callgrind-out-file="$out" \
        "$tollgate" run --config "$scratch/kong.yaml" --server "$scratch/server.yaml" --threads 1 \
        --proxy-listen "127.0.0.1:$proxy_port" --admin-listen "127.0.0.1:$admin_port" \
        --status-listen "127.0.0.1:$status_port"
    await "$1" "http://127.0.0.1:$status_port/status/ready" 120
    send /chat "$here/chat-request.json" $((200 + $2)) >"$scratch/events"
    send /guarded "$here/chat-request.json" $((200 + $3)) >"$scratch/events"
    send /stream "$scratch/stream.json" $((5 + $4)) >"$scratch/events"
    kill "$launched"
    for _ in {1..300}; do running "$launched" || break; sleep 0.1; done
    [ -s "$out" ] || { tail -n 20 "$scratch/$1.log" >&2; fail "callgrind wrote no profile"; }
    awk '/^(totals|summary):/ {total = $2} END {print total}' "$out" >"$scratch/total"
}

count warm-up 0 0 0
none=$(cat "$scratch/total")
count chats "$chats" 0 0
chat=$((($(cat "$scratch/total") - none) / chats))
count guarded 0 "$chats" 0
guarded=$((($(cat "$scratch/total") - none) / chats))
count streams 0 0 "$streams"
stream=$((($(cat "$scratch/total") - none) / streams))
events=$(cat "$scratch/events")

echo '| exchange | user instructions/request |'
echo '|---|--:|'
echo "| chat, not streamed | $chat |"
echo "| chat behind a guard with ten allow and ten deny patterns | $guarded |"
echo "| chat, stream of $events events | $stream |"
