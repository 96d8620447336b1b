#!/usr/bin/env bash
# The bare upstream, nginx and tollgate side by side, under the same load on this machine: a Markdown
# table on standard output, every sample in target/loadtest.json.
#
#   ROUNDS=5 SECONDS_=3 CONNECTIONS=64 CHUNKS=50 LOAD=oha|wrk loadtest/run.sh
#
# In each round every cell is measured once, so that what else the machine does falls on all of them;
# the table has the medians, and the ratios are medians of the rounds' own ratios. CPU is that of the
# gateway's process alone, over the same interval as the requests it is divided by.
set -euo pipefail
. "$(dirname "$0")/processes.sh"

rounds=${ROUNDS:-5} seconds=${SECONDS_:-3} connections=${CONNECTIONS:-64}
load=${LOAD:-$(command -v oha >/dev/null && echo oha || echo wrk)}
[ -x "$tollgate" ] || fail "$tollgate is missing; make loadtest builds it"
need "$load" "$load"
need nginx nginx
need curl curl

# The gateway has a core of its own; with three or more the upstream and the load generator have, too.
gateway_cpu='' upstream_cpu='' load_cpu=''
if command -v taskset >/dev/null; then
    mapfile -t cores < <(python3 -c 'import os; print(*sorted(os.sched_getaffinity(0)), sep="\n")')
    if [ "${#cores[@]}" -ge 2 ]; then
        gateway_cpu=${cores[0]} upstream_cpu=${cores[1]} load_cpu=${cores[-1]}
    fi
fi

read -r chat_port stream_port nginx_port proxy_port admin_port status_port <<<"$(ports 6)"
launch_upstream "$upstream_cpu" "$chat_port"
launch mock-llm "$upstream_cpu" "$tollgate" mock-llm --listen "127.0.0.1:$stream_port" --chunks "${CHUNKS:-50}"
await mock-llm "http://127.0.0.1:$stream_port/health"

nginx_frame "$scratch/nginx.conf" <<NGINX
    upstream chat { server 127.0.0.1:$chat_port; keepalive 128; keepalive_requests 1000000000; }
    upstream stream { server 127.0.0.1:$stream_port; keepalive 128; keepalive_requests 1000000000; }
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    server {
        listen 127.0.0.1:$nginx_port;
        location = /up { return 204; }
        location = /chat { proxy_pass http://chat/v1/chat/completions; }
        location = /stream { proxy_pass http://stream/v1/chat/completions; proxy_buffering off; }
    }
NGINX
launch nginx "$gateway_cpu" nginx -e stderr -c "$scratch/nginx.conf"
await nginx "http://127.0.0.1:$nginx_port/up"
nginx_pid=$(cat "/proc/$launched/task/$launched/children") # the one worker
nginx_pid=${nginx_pid// /}

gateway_config "$scratch/kong.yaml" "$chat_port" "$stream_port"
launch tollgate "$gateway_cpu" "$tollgate" run --config "$scratch/kong.yaml" --threads 1 \
    --proxy-listen "127.0.0.1:$proxy_port" --admin-listen "127.0.0.1:$admin_port" \
    --status-listen "127.0.0.1:$status_port"
await tollgate "http://127.0.0.1:$status_port/status/ready"
tollgate_pid=$launched

cp "$here/chat-request.json" "$scratch/chat.json"
streaming "$scratch/stream.json"

# url SCENARIO THROUGH
url() {
    case $1-$2 in
    chat-direct) echo "http://127.0.0.1:$chat_port/v1/chat/completions" ;;
    stream-direct) echo "http://127.0.0.1:$stream_port/v1/chat/completions" ;;
    *-nginx) echo "http://127.0.0.1:$nginx_port/$1" ;;
    *-tollgate) echo "http://127.0.0.1:$proxy_port/$1" ;;
    esac
}

# probe SCENARIO THROUGH: one exchange; fails unless it is answered as the bare upstream answers it.
probe() {
    local status
    status=$(curl -s -o "$scratch/probe" -w '%{http_code}' -H 'Content-Type: application/json' \
        --data-binary "@$scratch/$1.json" "$(url "$1" "$2")") || true
    [ "$status" = 200 ] || { cat "$scratch/probe" "$scratch/tollgate.log" >&2; fail "$1 through $2: status $status"; }
    if [ "$1" = chat ]; then
        cmp "$scratch/probe" "$here/chat-reply.json" >&2 || fail "chat through $2: another answer than the upstream's"
        return
    fi
    local count
    count=$(grep -c '^data:' "$scratch/probe")
    [ "$count" = "${events:=$count}" ] || fail "stream through $2: $count events, directly $events"
}

# cpu PID: its user and system time so far, all threads, in clock ticks.
cpu() {
    if [ -n "$1" ]; then awk '{print $14, $15}' "/proc/$1/stat"; else echo 0 0; fi
}

# fire SCENARIO THROUGH SECONDS: loads, and prints requests, microseconds, p50, p99, failures.
fire() {
    local pin=()
    [ -z "$load_cpu" ] || pin=(taskset -c "$load_cpu")
    if [ "$load" = wrk ]; then
        BODY="$scratch/$1.json" "${pin[@]}" wrk -t1 -c"$connections" -d"${3}s" -s "$here/chat.lua" \
            "$(url "$1" "$2")" | tail -n 1
        return
    fi
    TOKIO_WORKER_THREADS=1 "${pin[@]}" oha --no-tui --output-format json -c "$connections" -z "${3}s" \
        -m POST -T application/json -D "$scratch/$1.json" "$(url "$1" "$2")" | python3 "$here/oha.py"
}

for scenario in chat stream; do
    for through in direct nginx tollgate; do
        probe "$scenario" "$through"
        fire "$scenario" "$through" 1 >"$scratch/warm-up"
    done
done
for ((round = 1; round <= rounds; round++)); do
    for scenario in chat stream; do
        for through in direct nginx tollgate; do
            case $through in nginx) pid=$nginx_pid ;; tollgate) pid=$tollgate_pid ;; *) pid='' ;; esac
            before=$(cpu "$pid")
            result=$(fire "$scenario" "$through" "$seconds")
            echo "$round $scenario $through $result $before $(cpu "$pid")" >>"$scratch/samples"
        done
    done
    echo "round $round of $rounds" >&2
done

mkdir -p target
python3 "$here/table.py" "$scratch/samples" target/loadtest.json "events=$events" "generator=$load" \
    "connections=$connections" "seconds=$seconds" "gateway_core=$gateway_cpu" "upstream_core=$upstream_cpu" \
    "load_core=$load_cpu" "nginx=$(nginx -v 2>&1 | sed 's/.*nginx.//')"
