"""What clients ask and upstreams answer, in both dialects, always the same bytes."""
import json

from machine import HERE

CHAT = (HERE / "chat-request.json").read_bytes().strip()
STREAM = b'{"stream":true,' + CHAT[1:]
# Who names a model must name the target's.
CLAUDE_CHAT, CLAUDE_STREAM = (body.replace(b"gpt-4o-mini", b"claude-sonnet-4-5") for body in (CHAT, STREAM))
CHAT_REPLY = (HERE / "chat-reply.json").read_text().strip()
WORDS = "Three axles to the second exit come to 14.20 and you can pay by card at the gate as well".split()


def large(size):
    """A chat request whose body has about that many bytes, as one long message."""
    filler = " ".join(WORDS) + " "
    ask = json.loads(CHAT)
    ask["messages"][1]["content"] = (filler * (size // len(filler) + 1))[: max(size - 220, 1)]
    return json.dumps(ask).encode()


def anthropic_reply():
    text = json.loads(CHAT_REPLY)["choices"][0]["message"]["content"]
    reply = {"id": "msg_01tollgate00000000000001", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5-20250929",
             "content": [{"type": "text", "text": text}], "stop_reason": "end_turn", "stop_sequence": None,
             "usage": {"input_tokens": 76, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 41}}
    return json.dumps(reply, separators=(",", ":"))


def anthropic_events(count):
    """The events of a stream, so many with all that stand around the text."""
    message = json.loads(anthropic_reply()) | {"content": [], "stop_reason": None}
    yield anthropic_event("message_start", message=message)
    yield anthropic_event("content_block_start", index=0, content_block={"type": "text", "text": ""})
    yield anthropic_event("ping")
    for index in range(count - 6):
        delta = {"type": "text_delta", "text": f"{WORDS[index % len(WORDS)]} "}
        yield anthropic_event("content_block_delta", index=0, delta=delta)
    yield anthropic_event("content_block_stop", index=0)
    end = {"stop_reason": "end_turn", "stop_sequence": None}
    yield anthropic_event("message_delta", delta=end, usage={"output_tokens": count - 6})
    yield anthropic_event("message_stop")


def anthropic_event(kind, **fields):
    return f"event: {kind}\ndata: {json.dumps({'type': kind} | fields, separators=(',', ':'))}\n\n"


def openai_events(count):
    """The same for OpenAI's dialect, with the usage that the gateway asks for as one more before the last."""
    yield openai_event([choice({"role": "assistant", "content": "", "refusal": None})])
    for index in range(count - 3):
        yield openai_event([choice({"content": f"{WORDS[index % len(WORDS)]} "})])
    yield openai_event([choice({}, "stop")])
    yield openai_event([], {"prompt_tokens": 76, "completion_tokens": count - 3, "total_tokens": 73 + count})
    yield "data: [DONE]\n\n"


def choice(delta, finish=None):
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}


def openai_event(choices, usage=None):
    event = {"id": "chatcmpl-9tollgate00000000000000000000001", "object": "chat.completion.chunk", "created": 1760000000,
             "model": "gpt-4o-mini-2024-07-18", "service_tier": "default", "system_fingerprint": "fp_0000000000",
             "choices": choices, "usage": usage}
    return f"data: {json.dumps(event, separators=(',', ':'))}\n\n"
