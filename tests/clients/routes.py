"""The routes under test: a provider, its configuration, and what it can do. One row a route."""

from dataclasses import dataclass, field

#: Where the simulated model listens; replaced when the configuration is written.
MODEL = "http://{model}"

BEARER = {"header_name": "Authorization", "header_value": "Bearer sk-upstream"}
AWS = {"aws_access_key_id": "AKIDEXAMPLE", "aws_secret_access_key": "secret"}


@dataclass(frozen=True)
class Route:
    """A chat route at /NAME/chat/completions and perhaps one for completions beside it."""

    name: str
    provider: str
    model: str
    chat: str
    """The path of the simulated model's chat."""
    completions: str | None = None
    options: dict = field(default_factory=dict)
    auth: dict = field(default_factory=lambda: BEARER)
    lone: bool = True
    """Whether a question may stand alone, without a system's message before it."""
    tools: bool = True
    named_tool: bool = True
    """Whether the provider can be told which tool to call."""
    images: bool = True
    schema: bool = True
    cached: bool = True
    """Whether the provider tells which tokens came from a cache."""
    told: bool = True
    """Whether the provider counts tokens, and tells why an answer ended."""
    completion_counted: bool = True
    """Whether it does so for completions."""


@dataclass(frozen=True)
class Native:
    """A route for a provider's own SDK: everything below /NAME."""

    name: str
    provider: str
    auth: dict
    config: dict
    options: dict = field(default_factory=dict)
    path: str | None = None
    """The path at the simulated model, where the client's own is not kept."""


ROUTES = [
    Route(
        "openai", "openai", "gpt-4o-mini",
        chat="/v1/chat/completions", completions="/v1/completions",
    ),
    Route(
        "mistral", "mistral", "mistral-tiny",
        chat="/v1/chat/completions", options={"mistral_format": "openai"},
    ),
    Route(
        "llama2-openai", "llama2", "llama2",
        chat="/v1/chat/completions", completions="/v1/completions",
        options={"llama2_format": "openai"},
    ),
    Route(
        "llama2-ollama", "llama2", "llama2",
        chat="/api/chat", completions="/api/generate",
        options={"llama2_format": "ollama"}, cached=False,
    ),
    Route(
        "llama2-raw", "llama2", "llama2",
        chat="/raw", completions="/raw",
        options={"llama2_format": "raw"},
        lone=False, tools=False, images=False, schema=False, cached=False,
        told=False, completion_counted=False,
    ),
    Route(
        "azure", "azure", "gpt-4o",
        chat="/openai/deployments/d-1/chat/completions",
        completions="/openai/deployments/d-1/completions",
        auth={"header_name": "api-key", "header_value": "key"},
        options={"azure_instance": "i-1", "azure_deployment_id": "d-1"},
    ),
    Route(
        "anthropic", "anthropic", "claude-sonnet-5",
        chat="/v1/messages", completions="/v1/messages",
        auth={"header_name": "x-api-key", "header_value": "key"},
        options={"anthropic_version": "2023-06-01"},
    ),
    Route(
        "cohere", "cohere", "command-a-03-2025",
        chat="/v2/chat", completions="/v2/chat", named_tool=False,
    ),
    Route(
        "cohere-v1", "cohere", "command-r",
        chat="/v1/chat", completions="/v1/generate", tools=False, images=False,
    ),
    Route(
        "gemini", "gemini", "gemini-2.5-flash",
        chat="/v1beta/models/gemini-2.5-flash:generateContent",
        auth={"header_name": "x-goog-api-key", "header_value": "key"},
    ),
    Route(
        "gemini-vertex", "gemini", "gemini-2.5-flash",
        chat="/v1/projects/p/locations/l/publishers/google/models/gemini-2.5-flash:generateContent",
    ),
    Route(
        "bedrock", "bedrock", "anthropic.claude-3-haiku-20240307-v1:0",
        chat="/model/anthropic.claude-3-haiku-20240307-v1%3A0/converse",
        auth=AWS, options={"bedrock": {"aws_region": "us-east-1"}},
    ),
    Route(
        "huggingface", "huggingface", "org/model",
        chat="/models/org/model", completions="/models/org/model", completion_counted=False,
    ),
]

ANTHROPIC = Native(
    "anthropic-native", "anthropic",
    auth={"header_name": "x-api-key", "header_value": "key"},
    config={"route_type": "preserve"},
    options={"anthropic_version": "2023-06-01"},
)

BEDROCK = Native(
    "bedrock-native", "bedrock",
    auth=AWS,
    config={"route_type": "llm/v1/chat", "llm_format": "bedrock"},
    options={"bedrock": {"aws_region": "us-east-1"}},
    path="/model/anthropic.claude-3-haiku-20240307-v1%3A0/converse",
)


def configuration(routes: list[Route], natives: list[Native], model: str) -> dict:
    """Kong's declarative configuration for these routes."""
    entries = []
    for route in routes:
        entries.append(_entry(f"{route.name}-chat", f"~/{route.name}/chat/completions$", {
            "route_type": "llm/v1/chat", "auth": route.auth,
            "model": _model(route.provider, route.model, route.options, model, route.chat),
        }))
        if route.completions:
            entries.append(_entry(f"{route.name}-completions", f"~/{route.name}/completions$", {
                "route_type": "llm/v1/completions", "auth": route.auth,
                "model": _model(route.provider, route.model, route.options, model, route.completions),
            }))
    for native in natives:
        entries.append(_entry(native.name, f"/{native.name}/", {
            **native.config, "auth": native.auth,
            "model": _model(native.provider, None, native.options, model, native.path),
        }))
    service = {"name": "ai", "url": "http://localhost:32000", "routes": entries}
    return {"_format_version": "3.0", "services": [service]}


def _model(provider: str, name: str | None, options: dict, model: str, path: str | None) -> dict:
    url = MODEL.format(model=model) + (path or "")
    record = {"provider": provider, "options": {**options, "upstream_url": url}}
    return {**record, "name": name} if name else record


def _entry(name: str, path: str, config: dict) -> dict:
    config = {"max_request_body_size": 1048576, **config}
    return {"name": name, "paths": [path], "plugins": [{"name": "ai-proxy", "config": config}]}
