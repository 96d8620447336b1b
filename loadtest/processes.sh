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

# chat_route: writes $scratch/kong.yaml, one AI route /chat with the plugins (and what follows) of standard input.
chat_route() {
    {
        cat <<'YAML'
_format_version: "3.0"
services:
  - name: ai
    url: http://127.0.0.1:1
    routes:
      - name: chat
        paths: ["/chat"]
        plugins:
YAML
        cat
    } >"$scratch/kong.yaml"
}

# reachable PORT: until somebody listens there.
reachable() {
    until (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; do sleep 0.05; done
}

# gateway ARGUMENT...: starts it on $scratch/kong.yaml, $proxy_port, $admin_port and $status_port, until it is ready.
gateway() {
    launch tollgate '' "$tollgate" run --config "$scratch/kong.yaml" --proxy-listen "127.0.0.1:$proxy_port" \
        --admin-listen "127.0.0.1:$admin_port" --status-listen "127.0.0.1:$status_port" "$@"
    await tollgate "http://127.0.0.1:$status_port/status/ready"
}
