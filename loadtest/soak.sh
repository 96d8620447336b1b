#!/usr/bin/env bash
# Full load and a reload every second, by SIGHUP and by the Admin API in turn, for as long as SECONDS_ says: no
# request may fail, no reload may be refused, and from the second minute on the memory that the process holds
# grows by no more than 5 %. Figures on standard output and in target/soak.json.
#
#   SECONDS_=600 CONNECTIONS=64 loadtest/soak.sh
set -euo pipefail
. "$(dirname "$0")/processes.sh"

seconds=${SECONDS_:-600} connections=${CONNECTIONS:-64}
[ -x "$tollgate" ] || fail "$tollgate is missing; make soak builds it"
[ "$seconds" -gt 70 ] || fail "SECONDS_ must be over 70: memory is compared from the second minute on"
need wrk wrk
need nginx nginx-light
need curl curl

read -r upstream_port proxy_port admin_port status_port <<<"$(ports 4)"
# An upstream, and two configurations that differ, so that each reload has something to do.
PYTHONPATH=$here python3 - "$scratch" "$upstream_port" <<'PY'
import pathlib, sys
import configs
scratch, port = pathlib.Path(sys.argv[1]), sys.argv[2]
one = configs.kong({"fixed": port, "paced": port})
two = one.replace('"name": "events"', '"name": "events-anew"').replace('"input_cost": 0.15', '"input_cost": 0.16')
upstream = scratch / "upstream.conf"
upstream.write_text(configs.nginx(upstream, 1024, configs.fixed(port)))
(scratch / "one.yaml").write_text(one)
(scratch / "two.yaml").write_text(two)
PY
launch upstream '' nginx -e stderr -c "$scratch/upstream.conf"
await upstream "http://127.0.0.1:$upstream_port/"
cp "$scratch/one.yaml" "$scratch/kong.yaml"
launch tollgate '' "$tollgate" run --config "$scratch/kong.yaml" --proxy-listen "127.0.0.1:$proxy_port" \
    --admin-listen "127.0.0.1:$admin_port" --status-listen "127.0.0.1:$status_port"
gateway=$launched
await tollgate "http://127.0.0.1:$status_port/status/ready"

resident() { awk '/^VmRSS:/ { print $2 }' "/proc/$gateway/status"; }
reloads() { curl -sf "http://127.0.0.1:$status_port/metrics" | awk -v kind="result=\"$1\"" \
    '/^tollgate_config_reloads_total/ && index($0, kind) { n += $2 } END { print n + 0 }'; }

BODY="$here/chat-request.json" wrk -t1 -c"$connections" -d"${seconds}s" -s "$here/chat.lua" \
    "http://127.0.0.1:$proxy_port/chat" >"$scratch/wrk" &
load=$!
began=$SECONDS hangups=0 posts=0 refused=0
while running "$load"; do
    sleep 1
    file=$scratch/$([ $(((hangups + posts) % 4)) -lt 2 ] && echo two || echo one).yaml
    if [ $(((hangups + posts) % 2)) = 0 ]; then
        # Renamed into place: a reload must not read half a file.
        cp "$file" "$scratch/next" && mv "$scratch/next" "$scratch/kong.yaml"
        kill -HUP "$gateway"
        hangups=$((hangups + 1))
    else
        # While another change is under way the Admin API says 429, as Kong does: then once more.
        for _ in 1 2 3; do
            code=$(curl -s -o "$scratch/posted" -w '%{http_code}' -H 'content-type: text/yaml' \
                --data-binary "@$file" "http://127.0.0.1:$admin_port/config" || true)
            [ "$code" = 429 ] || break
        done
        [ "$code" = 201 ] || { refused=$((refused + 1)); echo "POST /config: $code: $(cat "$scratch/posted")" >&2; }
        posts=$((posts + 1))
    fi
    echo "$((SECONDS - began)) $(resident)" >>"$scratch/memory"
done
wait "$load" || true
sleep 1
mkdir -p target
tail -n 1 "$scratch/wrk" >"$scratch/result"
python3 "$here/soaked.py" "$scratch/result" "$scratch/memory" "$hangups" "$(reloads ok)" "$posts" \
    "$((refused + $(reloads refused)))"
