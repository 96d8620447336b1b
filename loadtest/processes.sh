# Sourced by the scripts beside it: programs they need, processes they start, and that nothing outlives them.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/.."
PATH=$PATH:/usr/sbin:/sbin
tollgate=${TOLLGATE:-${CARGO_TARGET_DIR:-target}/release/tollgate}
scratch=$(mktemp -d)
started=()

stop_all() {
    local pid
    for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
    for _ in {1..30}; do
        running "${started[@]}" || break
        sleep 0.1
    done
    for pid in "${started[@]}"; do kill -KILL "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$scratch"
}
trap stop_all EXIT
trap 'exit 130' INT TERM

# running PID...: is any of these still there?
running() {
    local pid
    for pid in "$@"; do kill -0 "$pid" 2>/dev/null && return 0; done
    return 1
}

fail() {
    echo "$(basename "$0"): $*" >&2
    exit 1
}

# need PROGRAM PACKAGE: installs the package if the program is missing.
need() {
    command -v "$1" >/dev/null && return
    local root=()
    [ "$(id -u)" = 0 ] || root=(sudo -n)
    echo "$1 is missing: installing $2 by apt-get" >&2
    # RUNLEVEL=1 keeps the package from starting its own service.
    { "${root[@]}" apt-get update -qq &&
        "${root[@]}" env RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive \
            apt-get install -y -qq --no-install-recommends "$2"; } >"$scratch/apt.log" 2>&1 ||
        { tail -n 5 "$scratch/apt.log" >&2; fail "$1 could not be installed (apt-get as root is needed); install it and start again"; }
}

# ports N: that many free ports of 127.0.0.1, on one line.
ports() {
    python3 - "$1" <<'PY'
import socket, sys
taken = [socket.create_server(("127.0.0.1", 0)) for _ in range(int(sys.argv[1]))]
print(*(one.getsockname()[1] for one in taken))
PY
}

# launch NAME CPU COMMAND...: in the background, on that core unless CPU is empty; its id is then in $launched.
launch() {
    local name=$1 cpu=$2
    shift 2
    [ -z "$cpu" ] || set -- taskset -c "$cpu" "$@"
    "$@" >"$scratch/$name.log" 2>&1 &
    launched=$!
    started+=("$launched")
}

# await NAME URL [SECONDS]: until the process launched last answers there with a success.
await() {
    local tries=$((${3:-20} * 10))
    until curl -sf -o "$scratch/await" "$2"; do
        tries=$((tries - 1))
        if ! running "$launched" || [ "$tries" -le 0 ]; then
            tail -n 20 "$scratch/$1.log" >&2
            fail "$1 did not come up"
        fi
        sleep 0.1
    done
}

# nginx_frame FILE: standard input as the http block of a one-worker nginx, without access log or files of the system.
nginx_frame() {
    cat >"$1" <<NGINX
daemon off;
worker_processes 1;
pid $1.pid;
error_log stderr warn;
events { worker_connections 1024; }
http {
    access_log off;
    default_type application/json;
    keepalive_requests 1000000000;
    client_body_temp_path $1.body;
    proxy_temp_path $1.proxy;
    fastcgi_temp_path $1.fastcgi;
    uwsgi_temp_path $1.uwsgi;
    scgi_temp_path $1.scgi;
$(cat)
}
NGINX
}

# launch_upstream CPU PORT: an nginx that answers every chat with the bytes of chat-reply.json.
launch_upstream() {
    nginx_frame "$scratch/upstream.conf" <<NGINX
    server {
        listen 127.0.0.1:$2;
        location / { return 200 '$(cat "$here/chat-reply.json")'; }
    }
NGINX
    launch upstream "$1" nginx -e stderr -c "$scratch/upstream.conf"
    await upstream "http://127.0.0.1:$2/"
}

# gateway_config FILE CHAT_PORT STREAM_PORT: metered OpenAI routes as a user would have them: /chat and /stream, and
# /guarded, which is /chat behind a guard with as many patterns as it may have.
gateway_config() {
    {
        echo '_format_version: "3.0"'
        echo 'services:'
        echo '  - name: ai'
        echo '    url: http://127.0.0.1:1'
        echo '    routes:'
        local route
        for route in "chat $2" "stream $3" "guarded $2"; do
            cat <<YAML
      - name: ${route% *}
        paths: ["/${route% *}"]
        plugins:
          - name: ai-proxy
            config:
              route_type: llm/v1/chat
              auth: {header_name: Authorization, header_value: Bearer loadtest}
              model:
                provider: openai
                name: gpt-4o-mini
                options:
                  upstream_url: http://127.0.0.1:${route#* }/v1/chat/completions
                  input_cost: 0.15
                  output_cost: 0.6
              logging: {log_statistics: true}
YAML
        done
        cat <<'YAML'
          - name: ai-prompt-guard
            config:
              max_request_body_size: 1048576
              deny_patterns:
                - '(?i)ignore (?:all|the|any) (?:previous|above) instructions'
                - '(?i)\bsystem prompt\b'
                - '\b(?:\d[ -]?){13,16}\b'
                - '\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}\b'
                - '[\w.+-]+@[\w-]+\.[\w.]+'
                - '(?i)\b(?:password|passphrase|secret key)\s*[:=]'
                - 'sk-[A-Za-z0-9]{20,}'
                - 'AKIA[0-9A-Z]{16}'
                - '-----BEGIN [A-Z ]*PRIVATE KEY-----'
                - '(?i)\bjailbreak\b'
              allow_patterns:
                - '(?i)\binvoice\b'
                - '(?i)\brefund\b'
                - '(?i)\bdelivery\b'
                - '(?i)\bwarranty\b'
                - '(?i)\breturn(?:s|ed)?\b'
                - '(?i)\border number\b'
                - '(?i)\bopening hours\b'
                - '(?i)\bcontact\b'
                - '(?i)\bspare parts?\b'
                - '(?i)\b(?:what|why|how|when|who|where|tell|explain|write|summari[sz]e)\b'
YAML
        cat <<'YAML'
plugins:
  - name: prometheus
    config: {status_code_metrics: true, latency_metrics: true, bandwidth_metrics: true, ai_metrics: true}
YAML
    } >"$1"
}

# streaming FILE: the chat request with "stream": true in front.
streaming() {
    sed '1s/^{/{"stream":true,/' "$here/chat-request.json" >"$1"
}
