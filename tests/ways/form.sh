curl -X POST http://localhost:8001/services --data "name=ai-proxy" --data "url=http://localhost:32000"
curl -X POST http://localhost:8001/services/ai-proxy/routes --data "name=mistral-chat" --data "paths[]=~/mistral-chat$"
curl -X POST http://localhost:8001/routes/mistral-chat/plugins \
  --data "name=ai-proxy-advanced" \
  --data "config.targets[1].route_type=llm/v1/chat" \
  --data "config.targets[1].model.provider=mistral" \
  --data "config.targets[1].model.name=mistral-tiny" \
  --data "config.targets[1].model.options.mistral_format=ollama" \
  --data "config.targets[1].model.options.upstream_url=$MODEL/api/chat"
ask
