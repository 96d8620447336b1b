"""Anthropic's SDK through a route that keeps what it says as it is."""

from collections.abc import Callable, Iterator

import anthropic

from openai_sdk import ANSWER, ARGUMENTS, PARAMETERS, QUESTION, expect

MODEL = "claude-sonnet-5"

FAILURES = {
    400: anthropic.BadRequestError,
    401: anthropic.AuthenticationError,
    404: anthropic.NotFoundError,
    429: anthropic.RateLimitError,
    500: anthropic.InternalServerError,
}


def checks(base_url: str) -> Iterator[tuple[str, Callable[[], None]]]:
    """The checks that the route at this address has to pass."""
    client = anthropic.Anthropic(base_url=base_url, api_key="client", max_retries=0, timeout=20)
    suite = Suite(client)
    yield "messages", suite.messages
    yield "stream", suite.stream
    yield "tools", suite.tools
    yield "cached tokens", suite.cached_tokens
    for status, error in FAILURES.items():
        yield f"upstream {status} as {error.__name__}", lambda s=status, e=error: suite.failure(s, e)


class Suite:
    """The checks."""

    def __init__(self, client: anthropic.Anthropic):
        self.client = client

    def ask(self, content: str = QUESTION, **extra: object):
        messages = [{"role": "user", "content": content}]
        return self.client.messages.create(model=MODEL, max_tokens=100, messages=messages, **extra)

    def messages(self) -> None:
        reply = self.ask(system="Be kind.")
        assert [block.text for block in reply.content] == [ANSWER], reply
        assert (reply.model, reply.stop_reason) == (MODEL, "end_turn"), reply
        assert reply.usage.input_tokens >= 6 and reply.usage.output_tokens >= 9, reply.usage

    def stream(self) -> None:
        messages = [{"role": "user", "content": QUESTION}]
        with self.client.messages.stream(model=MODEL, max_tokens=100, messages=messages) as stream:
            pieces = list(stream.text_stream)
            reply = stream.get_final_message()
        assert len(pieces) > 3 and "".join(pieces) == ANSWER, pieces
        assert reply.stop_reason == "end_turn" and reply.usage.output_tokens >= 9, reply

    def tools(self) -> None:
        tools = [{"name": "weather", "input_schema": PARAMETERS}]
        reply = self.ask("Kyoto", tools=tools, tool_choice={"type": "any"})
        (block,) = reply.content
        assert (block.type, block.name, block.input) == ("tool_use", "weather", ARGUMENTS), block
        assert reply.stop_reason == "tool_use", reply

    def cached_tokens(self) -> None:
        usage = self.ask(extra_headers={"x-mock-cached": "4"}).usage
        assert usage.cache_read_input_tokens == 4, usage

    def failure(self, status: int, kind: type[anthropic.APIStatusError]) -> None:
        error = expect(kind, lambda: self.ask(extra_headers={"x-mock-status": str(status)}))
        assert "failed as the request asked" in error.response.text, error
