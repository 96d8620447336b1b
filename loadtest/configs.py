"""The configurations: of the gateway as a user would have it, and of nginx, doing as much of the same as it can."""
import json

from answers import CHAT_REPLY, anthropic_events, anthropic_reply

KEY = "loadtest-client"
# Path at the proxy: (upstream, path there, provider). The fixed upstream is an nginx, the paced one `load upstream`.
ROUTES = {
    "chat": ("fixed", "/v1/chat/completions", "openai"),
    "protected": ("fixed", "/v1/chat/completions", "openai"),
    "translated": ("fixed", "/v1/messages", "anthropic"),
    "translated-stream": ("fixed", "/v1/messages-stream", "anthropic"),
    "stream": ("paced", "/stream/51/0", "openai"),
    "paced": ("paced", "/stream/64/2000", "openai"),
    "events": ("paced", "/stream/40/50000", "openai"),
    "hold": ("paced", "/hold", "openai"),
    "whole": ("paced", "/whole", "openai"),
}
STREAMS = ("translated-stream", "stream", "paced", "events", "hold")
LARGEST = 16 * 1024 * 1024

DENY = [
    r"(?i)ignore (?:all|the|any) (?:previous|above) instructions",
    r"(?i)\bsystem prompt\b",
    r"\b(?:\d[ -]?){13,16}\b",
    r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}\b",
    r"[\w.+-]+@[\w-]+\.[\w.]+",
    r"(?i)\b(?:password|passphrase|secret key)\s*[:=]",
    r"sk-[A-Za-z0-9]{20,}",
    r"AKIA[0-9A-Z]{16}",
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
    r"(?i)\bjailbreak\b",
]
ALLOW = [
    r"(?i)\binvoice\b",
    r"(?i)\brefund\b",
    r"(?i)\bdelivery\b",
    r"(?i)\bwarranty\b",
    r"(?i)\breturn(?:s|ed)?\b",
    r"(?i)\border number\b",
    r"(?i)\bopening hours\b",
    r"(?i)\bcontact\b",
    r"(?i)\bspare parts?\b",
    r"(?i)\b(?:what|why|how|when|who|where|tell|explain|write|summari[sz]e)\b",
]


def plugin(name, **config):
    return {"name": name, "config": config}


def ai_proxy(provider, url):
    model = {
        "openai": {"provider": "openai", "name": "gpt-4o-mini"},
        "anthropic": {"provider": "anthropic", "name": "claude-sonnet-4-5"},
    }[provider]
    options = {"upstream_url": url, "input_cost": 0.15, "output_cost": 0.6}
    auth = {"header_name": "Authorization", "header_value": "Bearer loadtest"}
    if provider == "anthropic":
        options["anthropic_version"] = "2023-06-01"
        auth = {"header_name": "x-api-key", "header_value": "loadtest"}
    return plugin("ai-proxy", route_type="llm/v1/chat", auth=auth, model=model | {"options": options},
                  max_request_body_size=LARGEST, logging={"log_statistics": True})


def guarding():
    return [
        plugin("key-auth", key_names=["apikey"], hide_credentials=True),
        plugin("ai-prompt-guard", max_request_body_size=LARGEST, deny_patterns=DENY, allow_patterns=ALLOW),
        plugin("ai-prompt-decorator", prompts={
            "prepend": [{"role": "system", "content": "You speak for a company: promise nothing that is not in its terms."}],
            "append": [{"role": "user", "content": "Answer in the language of the question."}],
        }),
    ]


def kong(ports, more=0):
    """Metered, priced and exported, as text. `more` routes stand beside those that are measured."""
    routes = []
    for name, (upstream, path, provider) in ROUTES.items():
        plugins = [ai_proxy(provider, f"http://127.0.0.1:{ports[upstream]}{path}")]
        plugins += guarding() if name == "protected" else []
        routes.append({"name": name, "paths": [f"/{name}"], "plugins": plugins})
    url = f"http://127.0.0.1:{ports['fixed']}/v1/chat/completions"
    routes += [{"name": f"team-{index}", "paths": [f"/team-{index}/chat"], "plugins": [ai_proxy("openai", url)]}
               for index in range(more)]
    prometheus = plugin("prometheus", status_code_metrics=True, latency_metrics=True, bandwidth_metrics=True,
                        ai_metrics=True)
    return json.dumps({
        "_format_version": "3.0",
        "services": [{"name": "ai", "url": "http://127.0.0.1:1", "routes": routes}],
        "consumers": [{"username": "client", "keyauth_credentials": [{"key": KEY}]}],
        "plugins": [prometheus],
    })


def nginx(file, connections, http):
    """A one-worker nginx without access log or files of the system."""
    return f"""
daemon off;
worker_processes 1;
pid {file}.pid;
error_log stderr warn;
events {{ worker_connections {connections}; }}
http {{
    access_log off;
    default_type application/json;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    client_max_body_size 0;
    client_body_temp_path {file}.body;
    proxy_temp_path {file}.proxy;
    fastcgi_temp_path {file}.fastcgi;
    uwsgi_temp_path {file}.uwsgi;
    scgi_temp_path {file}.scgi;
    {http}
}}
"""


def fixed(port):
    """The upstream that answers from memory. A long answer is cut: no word of a configuration may be longer than 4 KB."""
    events = list(anthropic_events(64))
    parts = ["".join(events[start : start + 16]) for start in range(0, len(events), 16)]
    sets = "\n".join(f"set $part{index} '{part}';" for index, part in enumerate(parts))
    whole = "".join(f"$part{index}" for index in range(len(parts)))
    return f"""
    server {{
        listen 127.0.0.1:{port};
        location / {{ return 200 '{CHAT_REPLY}'; }}
        location = /v1/messages {{ return 200 '{anthropic_reply()}'; }}
        location = /v1/messages-stream {{ default_type text/event-stream; {sets} return 200 "{whole}"; }}
    }}"""


def proxy(port, ports, more=0):
    """The reverse proxy: the same routes, its connections kept, large bodies kept in memory and not in a file."""
    chat = "proxy_pass http://fixed/v1/chat/completions;"
    locations = [f"location = /team-{index}/chat {{ {chat} }}" for index in range(more)]
    for name, (upstream, path, _) in ROUTES.items():
        unbuffered = "proxy_buffering off;" if name in STREAMS else ""
        locations.append(f"location = /{name} {{ proxy_pass http://{upstream}{path}; {unbuffered} }}")
    return f"""
    upstream fixed {{ server 127.0.0.1:{ports['fixed']}; keepalive 128; keepalive_requests 1000000000; }}
    upstream paced {{ server 127.0.0.1:{ports['paced']}; keepalive 128; keepalive_requests 1000000000; }}
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_read_timeout 1h;
    client_body_buffer_size {LARGEST};
    server {{
        listen 127.0.0.1:{port};
        location = /up {{ return 204; }}
        {' '.join(locations)}
    }}"""
