"""OpenAI's SDK through a translating route: the same calls, whatever the provider behind it."""

import base64
import json
import zlib
from collections.abc import Callable, Iterator

import openai
from pydantic import BaseModel

from routes import Route

QUESTION = "Why is the sky blue?"
ANSWER = f'You said: "{QUESTION}" This is a simulated answer.'
ARGUMENTS = {"city": "Kyoto"}
PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "unit": {"type": "string", "enum": ["C", "F"]}},
    "required": ["city"],
    "additionalProperties": False,
}
WEATHER = {
    "type": "function",
    "function": {"name": "weather", "description": "The weather in a city.", "parameters": PARAMETERS},
}
NOTHING = {"type": "object", "properties": {}}
CLOCK = {"type": "function", "function": {"name": "clock", "parameters": NOTHING}}

#: What the simulated model is told to answer, and what the SDK has to make of it.
FAILURES = {
    400: openai.BadRequestError,
    401: openai.AuthenticationError,
    403: openai.PermissionDeniedError,
    404: openai.NotFoundError,
    429: openai.RateLimitError,
    500: openai.InternalServerError,
    503: openai.InternalServerError,
}


class Trip(BaseModel):
    """An answer with a shape."""

    city: str
    days: int


def checks(route: Route, gateway: str) -> Iterator[tuple[str, Callable[[], None]]]:
    """The checks that this route has to pass."""
    client = openai.OpenAI(base_url=f"{gateway}/{route.name}", api_key="sk-client", max_retries=0, timeout=20)
    suite = Suite(client, route)
    yield "chat", suite.chat
    yield "conversation", suite.conversation
    yield "limit", suite.limit
    yield "stream", suite.stream
    yield "stream with usage", suite.stream_with_usage
    if route.tools:
        yield "tools", suite.tools
        yield "tools in a stream", suite.tools_in_a_stream
        yield "tool results", suite.tool_results
    if route.named_tool and route.tools:
        yield "a named tool", suite.named_tool
    if route.images:
        yield "images", suite.images
    if route.schema:
        yield "JSON schema", suite.json_schema
    if route.cached:
        yield "cached tokens", suite.cached_tokens
    if route.completions:
        yield "completions", suite.completions
        yield "completions in a stream", suite.completions_in_a_stream
    yield "invalid bodies", suite.invalid_bodies
    for status, error in FAILURES.items():
        yield f"upstream {status} as {error.__name__}", lambda s=status, e=error: suite.failure(s, e)
    yield "a cut stream", suite.cut_stream


class Suite:
    """The checks of one route."""

    def __init__(self, client: openai.OpenAI, route: Route):
        self.client = client
        self.route = route

    def ask(self, content: object = QUESTION, **extra: object):
        """A chat, of one question unless it is given."""
        messages = extra.pop("messages", None) or self.messages(content)
        return self.client.chat.completions.create(model=self.route.model, messages=messages, **extra)

    def messages(self, content: object) -> list[dict]:
        """One question."""
        system = [] if self.route.lone else [{"role": "system", "content": "Be kind."}]
        return [*system, {"role": "user", "content": content}]

    def usage(self, usage) -> None:
        """Tokens were counted, and add up."""
        assert usage is not None, "no usage"
        assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens, usage
        assert usage.prompt_tokens >= 6 and usage.completion_tokens >= 9, usage

    def chat(self) -> None:
        raw = self.client.chat.completions.with_raw_response.create(
            model=self.route.model, messages=self.messages(QUESTION)
        )
        header = raw.headers.get("x-kong-llm-model")
        assert header == f"{self.route.provider}/{self.route.model}", header
        reply = raw.parse()
        assert reply.id and reply.created > 1_700_000_000 and reply.model, reply
        assert reply.object == "chat.completion", reply.object
        (choice,) = reply.choices
        assert (choice.index, choice.message.role, choice.finish_reason) == (0, "assistant", "stop"), choice
        assert choice.message.content == ANSWER, choice.message.content
        if self.route.told:
            self.usage(reply.usage)

    def conversation(self) -> None:
        reply = self.ask(messages=[
            {"role": "system", "content": "You are a mathematician."},
            {"role": "user", "content": "Hello"},
            {"role": "assistant", "content": "Hello! How can I help?"},
            {"role": "user", "content": "What is 1+1?"},
        ], temperature=0.5, top_p=0.9)
        assert reply.choices[0].message.content == "2", reply

    def limit(self) -> None:
        reply = self.ask(max_tokens=3)
        if self.route.told:
            assert reply.choices[0].finish_reason == "length", reply
        assert ANSWER.startswith(reply.choices[0].message.content), reply

    def stream(self) -> None:
        chunks = list(self.ask(stream=True))
        check_chunks(chunks)
        assert all(chunk.usage is None for chunk in chunks), "nobody asked for usage"
        first = chunks[0].choices[0].delta
        assert first.role == "assistant", first
        text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
        assert text == ANSWER, text
        assert sum(bool(c.choices and c.choices[0].delta.content) for c in chunks) > 3, "not in pieces"
        assert finish(chunks) == ["stop"], finish(chunks)

    def stream_with_usage(self) -> None:
        chunks = list(self.ask(stream=True, stream_options={"include_usage": True}))
        check_chunks(chunks)
        *others, last = chunks
        assert not last.choices and all(chunk.usage is None for chunk in others), chunks
        if self.route.told:
            self.usage(last.usage)
            assert last.usage.total_tokens == self.ask().usage.total_tokens, last.usage

    def tools(self) -> None:
        reply = self.ask("Kyoto", tools=[WEATHER, CLOCK], tool_choice="required")
        (choice,) = reply.choices
        assert choice.finish_reason == "tool_calls", choice
        (call,) = choice.message.tool_calls
        assert call.id and call.type == "function" and call.function.name == "weather", call
        assert json.loads(call.function.arguments) == ARGUMENTS, call
        free = self.ask(tools=[WEATHER], tool_choice="auto")
        assert free.choices[0].message.content == ANSWER and not free.choices[0].message.tool_calls, free

    def named_tool(self) -> None:
        choice = {"type": "function", "function": {"name": "clock"}}
        reply = self.ask("Kyoto", tools=[WEATHER, CLOCK], tool_choice=choice)
        (call,) = reply.choices[0].message.tool_calls
        assert (call.function.name, json.loads(call.function.arguments)) == ("clock", {}), call

    def tools_in_a_stream(self) -> None:
        chunks = list(self.ask("Kyoto", tools=[WEATHER], tool_choice="required", stream=True))
        check_chunks(chunks)
        deltas = [c for chunk in chunks for choice in chunk.choices for c in choice.delta.tool_calls or []]
        assert {delta.index for delta in deltas} == {0}, deltas
        ids = [delta.id for delta in deltas if delta.id]
        names = [delta.function.name for delta in deltas if delta.function.name]
        assert len(set(ids)) == 1 and names == ["weather"], deltas
        arguments = "".join(delta.function.arguments or "" for delta in deltas)
        assert json.loads(arguments) == ARGUMENTS, arguments
        assert finish(chunks) == ["tool_calls"], finish(chunks)

    def tool_results(self) -> None:
        def call(number: int) -> dict:
            function = {"name": "weather", "arguments": json.dumps(ARGUMENTS)}
            return {"id": f"call_{number}", "type": "function", "function": function}

        reply = self.ask(tools=[WEATHER], messages=[
            {"role": "user", "content": "Kyoto"},
            {"role": "assistant", "content": None, "tool_calls": [call(1), call(2)]},
            {"role": "tool", "tool_call_id": "call_1", "content": '{"weather": "sunny"}'},
            {"role": "tool", "tool_call_id": "call_2", "content": "sunny, too"},
        ])
        assert reply.choices[0].message.content.startswith('You said: "Kyoto"'), reply

    def images(self) -> None:
        url = "data:image/png;base64," + base64.b64encode(png()).decode()
        reply = self.ask([
            {"type": "text", "text": "Look"},
            {"type": "image_url", "image_url": {"url": url}},
        ])
        assert reply.choices[0].message.content.startswith('You said: "Look" and showed an image.'), reply

    def json_schema(self) -> None:
        reply = self.client.chat.completions.parse(
            model=self.route.model,
            messages=[{"role": "user", "content": "Kyoto"}],
            response_format=Trip,
        )
        assert reply.choices[0].message.parsed == Trip(city="Kyoto", days=1), reply

    def cached_tokens(self) -> None:
        plain = self.ask().usage
        cached = self.ask(extra_headers={"x-mock-cached": "4"}).usage
        assert cached.prompt_tokens_details.cached_tokens == 4, cached
        assert cached.prompt_tokens == plain.prompt_tokens, (cached, plain)
        *_, last = self.ask(
            stream=True, stream_options={"include_usage": True}, extra_headers={"x-mock-cached": "4"}
        )
        assert last.usage.prompt_tokens_details.cached_tokens == 4, last
        assert last.usage.prompt_tokens == plain.prompt_tokens, (last, plain)

    def completions(self) -> None:
        reply = self.client.completions.create(model=self.route.model, prompt=QUESTION)
        assert reply.object == "text_completion" and reply.id and reply.model, reply
        (choice,) = reply.choices
        assert (choice.text.strip(), choice.finish_reason) == (ANSWER, "stop"), choice
        if self.route.completion_counted:
            self.usage(reply.usage)

    def completions_in_a_stream(self) -> None:
        chunks = list(self.client.completions.create(model=self.route.model, prompt=QUESTION, stream=True))
        text = "".join(choice.text for chunk in chunks for choice in chunk.choices)
        assert text.strip() == ANSWER, text
        assert finish(chunks) == ["stop"], chunks

    def invalid_bodies(self) -> None:
        create = self.client.chat.completions.create
        model = self.route.model
        for messages in ([], "Hello"):
            expect(openai.BadRequestError, lambda: create(model=model, messages=messages))
        messages = self.messages(QUESTION)
        error = expect(openai.BadRequestError, lambda: create(model="another", messages=messages))
        assert f"must be: {self.route.model}" in error.message, error.message

    def failure(self, status: int, kind: type[openai.APIStatusError]) -> None:
        for stream in (False, True):
            error = expect(
                kind, lambda: self.ask(stream=stream, extra_headers={"x-mock-status": str(status)})
            )
            assert error.status_code == status, error
            assert "failed as the request asked" in error.response.text, error.response.text

    def cut_stream(self) -> None:
        """A stream that breaks off must not look complete."""
        chunks, error = [], None
        try:
            for chunk in self.ask(stream=True, extra_headers={"x-mock-cut-after": "2"}):
                chunks.append(chunk)
        except openai.OpenAIError as raised:
            error = raised
        except Exception as raised:  # the HTTP library's own, which the SDK lets through in mid-stream
            assert type(raised).__module__.startswith("http"), raised
            error = raised
        assert error is not None, "the stream ended as if it were complete"
        assert finish(chunks) == [], chunks


def check_chunks(chunks: list) -> None:
    """What all chunks of a stream have in common."""
    assert chunks and len({chunk.id for chunk in chunks}) == 1 and chunks[0].id, "one id for all chunks"
    assert all(chunk.object == "chat.completion.chunk" for chunk in chunks), chunks[0]
    assert all(chunk.model and chunk.created > 1_700_000_000 for chunk in chunks), chunks[0]


def finish(chunks: list) -> list[str]:
    """The reasons to end that a stream gave."""
    return [choice.finish_reason for chunk in chunks for choice in chunk.choices if choice.finish_reason]


def expect(kind: type[Exception], run: Callable[[], object]) -> Exception:
    """Runs it, and wants exactly this exception."""
    try:
        run()
    except Exception as error:
        assert type(error) is kind, f"{type(error).__name__} instead of {kind.__name__}: {error}"
        return error
    raise AssertionError(f"no {kind.__name__}")


def png() -> bytes:
    """A picture of one black point."""
    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(kind + data).to_bytes(4, "big")
        return len(data).to_bytes(4, "big") + kind + data + checksum

    size = b"\0\0\0\1" * 2 + b"\x08\0\0\0\0"
    parts = chunk(b"IHDR", size) + chunk(b"IDAT", zlib.compress(b"\0\0")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts
