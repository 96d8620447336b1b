curl -X POST http://localhost:8001/services \
  --data "name=ai-proxy" \
  --data "url=http://localhost:32000"
curl -X POST http://localhost:8001/services/ai-proxy/routes \
  --data "name=mistral-chat" \
  --data "paths[]=~/mistral-chat$"
curl -X POST http://localhost:8001/routes/mistral-chat/plugins \
  --header "accept: application/json" \
  --header "Content-Type: application/json" \
  --data '
  {
    "name": "ai-proxy",
    "config": {
      "route_type": "llm/v1/chat",
      "auth": { "header_name": "Authorization", "header_value": "Bearer <MISTRAL_AI_KEY>" },
      "model": {
        "provider": "mistral",
        "name": "mistral-tiny",
        "options": { "mistral_format": "openai", "upstream_url": "'"$MODEL"'/v1/chat/completions" }
      }
    }
  }'
ask
