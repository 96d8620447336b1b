# The curl of the guides, as they print it: the ports that it names are those of this run.
set -euo pipefail
curl() {
  command curl --silent --show-error --fail-with-body \
    --connect-to "localhost:8000:127.0.0.1:$PROXY_PORT" --connect-to "localhost:8001:127.0.0.1:$ADMIN_PORT" "$@"
}
ask() {
  curl -X POST http://localhost:8000/mistral-chat \
    -H 'Content-Type: application/json' \
    --data-raw '{ "messages": [ { "role": "system", "content": "You are a mathematician" }, { "role": "user", "content": "What is 1+1?"} ] }'
}
