#!/usr/bin/env bash
# The gateway in front of a genuine model: llama.cpp's OpenAI-compatible server with a tiny story teller.
# Chat and completions, streamed and not, by the mistral and the llama2 provider; each answer is checked, and
# what the meter says of it. llama.cpp sends no usage with a stream, so there the counts must be estimates.
# Then both transformers before an ordinary service, the model's own list of models: whatever the story that the
# model makes of it, the calls are made, metered and logged.
#
#   MODEL=model.gguf loadtest/real-model.sh
set -euo pipefail
. "$(dirname "$0")/processes.sh"

model=${MODEL:-../shared/models/stories260K.gguf}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/tollgate
[ -x "$tollgate" ] || fail "$tollgate is missing; make real-model builds it"
[ -f "$model" ] || fail "there is no model at $model: set MODEL to a small .gguf file, such as stories260K of karpathy/tinyllamas"
need curl curl

if ! "$cache/llama/bin/python" -c 'import llama_cpp.server' 2>/dev/null; then
    echo "installing llama-cpp-python in $cache/llama: it compiles llama.cpp, which takes about ten minutes" >&2
    mkdir -p "$cache"
    python3 -m venv "$cache/llama"
    "$cache/llama/bin/pip" install --quiet 'llama-cpp-python[server]==0.3.36' >&2
fi

read -r llama_port proxy_port admin_port status_port <<<"$(ports 4)"
launch llama '' "$cache/llama/bin/python" -m llama_cpp.server --model "$model" --host 127.0.0.1 --port "$llama_port"
await llama "http://127.0.0.1:$llama_port/v1/models" 60

{
    echo '_format_version: "3.0"'
    echo 'services:'
    echo '  - name: ai'
    echo '    url: http://127.0.0.1:1'
    echo '    routes:'
    for provider in mistral llama2; do
        for operation in chat completions; do
            path=/v1/$operation
            [ "$operation" = completions ] || path=/v1/chat/completions
            cat <<YAML
      - name: $provider-$operation
        paths: ["~/$provider-$operation$"]
        plugins:
          - name: ai-proxy
            config:
              route_type: llm/v1/$operation
              model:
                provider: $provider
                name: stories
                options:
                  ${provider}_format: openai
                  upstream_url: http://127.0.0.1:$llama_port$path
                  max_tokens: 24
                  input_cost: 10
                  output_cost: 20
              logging: {log_statistics: true}
YAML
        done
    done
    transformer() {
        cat <<YAML
          - name: ai-$1-transformer
            config:
              prompt: Tell a story about this.
              llm:
                route_type: llm/v1/chat
                model:
                  provider: mistral
                  name: $1-stories
                  options:
                    mistral_format: openai
                    upstream_url: http://127.0.0.1:$llama_port/v1/chat/completions
                    max_tokens: 24
                    input_cost: 10
                    output_cost: 20
                logging: {log_statistics: true}
YAML
    }
    cat <<YAML
  - name: ordinary
    url: http://127.0.0.1:$llama_port/v1/models
    routes:
      - name: transformed
        paths: ["~/transformed$"]
        plugins:
          - name: file-log
            config: {path: $scratch/records, reopen: true}
YAML
    transformer request
    transformer response
    echo 'plugins:'
    echo '  - name: prometheus'
    echo '    config: {status_code_metrics: true, ai_metrics: true}'
} >"$scratch/kong.yaml"
launch tollgate '' "$tollgate" run --config "$scratch/kong.yaml" --proxy-listen "127.0.0.1:$proxy_port" \
    --admin-listen "127.0.0.1:$admin_port" --status-listen "127.0.0.1:$status_port"
await tollgate "http://127.0.0.1:$status_port/status/ready"

metrics() {
    curl -sf "http://127.0.0.1:$status_port/metrics"
}

failed=0
# check NAME COMMAND...: the command prints what is wrong and fails, or all is well.
check() {
    local name=$1 wrong
    shift
    if wrong=$("$@" 2>&1); then
        echo "ok      $name"
    else
        echo "FAILED  $name: $wrong"
        failed=$((failed + 1))
    fi
}

# exchange ROUTE plain|stream: one request by curl, its answer, and what it added to the metrics.
exchange() {
    local body status way=$2
    case $1 in
    *-chat) body='{"messages": [{"role": "user", "content": "Tell me a story about a little dog"}]' ;;
    *) body='{"prompt": "Once upon a time there was a little dog"' ;;
    esac
    [ "$way" = plain ] || body+=', "stream": true'
    metrics >"$scratch/before"
    status=$(curl -sN -m 60 -o "$scratch/answer" -w '%{http_code}' -H 'Content-Type: application/json' \
        -d "$body}" "http://127.0.0.1:$proxy_port/$1") || true
    check "$1, $way: status 200" test "$status" = 200
    check "$1, $way: the answer" python3 "$here/judge.py" answer "${1#*-}" "$way" "$scratch/answer"
    # The exchange is settled when the answer is out, so the meter may be a moment behind curl.
    for _ in {1..20}; do
        metrics >"$scratch/after"
        cmp -s <(grep ^tollgate_settlements_total "$scratch/before") \
            <(grep ^tollgate_settlements_total "$scratch/after") || break
        sleep 0.1
    done
    check "$1, $way: the meter" python3 "$here/judge.py" meter "${1%-*}" "$way" "$scratch/answer" \
        "$scratch/before" "$scratch/after"
}

for provider in mistral llama2; do
    for operation in chat completions; do
        for way in plain stream; do exchange "$provider-$operation" "$way"; done
    done
done

# transformed: the list of models through both transformers.
transformed() {
    local status
    metrics >"$scratch/before"
    status=$(curl -s -m 60 -o "$scratch/answer" -w '%{http_code}' -X GET -d 'a little dog' \
        "http://127.0.0.1:$proxy_port/transformed") || true
    check "transformers: status 200" test "$status" = 200
    check "transformers: the answer is the model's" test -s "$scratch/answer"
    for _ in {1..20}; do
        [ -s "$scratch/records" ] && break
        sleep 0.1
    done
    metrics >"$scratch/after"
    check "transformers: the meter and the log" python3 "$here/judge.py" transformers "$scratch/answer" \
        "$scratch/before" "$scratch/after" "$scratch/records"
}
transformed

if [ "$failed" -gt 0 ]; then
    tail -n 20 "$scratch/tollgate.log" >&2
    fail "$failed checks failed"
fi
