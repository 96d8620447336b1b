curl -X POST http://localhost:8001/services --data "name=ai-proxy" --data "url=http://localhost:32000"
route=$(curl -X POST http://localhost:8001/services/ai-proxy/routes --data "name=mistral-chat" --data "paths[]=~/mistral-chat$")
routeId=$(printf '%s' "$route" | sed 's/^{"id":"\([^"]*\)".*/\1/')
curl -X POST "http://localhost:8001/v2/control-planes/9524ec7d-36d9-465d-a8c5-83a3c9390458/core-entities/routes/$routeId/plugins" \
  --header "accept: application/json" \
  --header "Content-Type: application/json" \
  --header "Authorization: Bearer TOKEN" \
  --data '{"name":"ai-proxy","config":{"route_type":"llm/v1/chat","model":{"provider":"mistral","name":"mistral-tiny","options":{"mistral_format":"openai","upstream_url":"'"$MODEL"'/v1/chat/completions"}}}}'
ask
