"""boto3 through a route in Bedrock's own format. The signature that AWS would check is the gateway's."""

from collections.abc import Callable, Iterator

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from openai_sdk import ANSWER, ARGUMENTS, PARAMETERS, QUESTION, png

MODEL = "anthropic.claude-3-haiku-20240307-v1:0"

#: What the simulated model answers, and the code of the exception that botocore makes of it.
FAILURES = {400: "ValidationException", 403: "AccessDeniedException", 429: "ThrottlingException"}


def checks(endpoint: str) -> Iterator[tuple[str, Callable[[], None]]]:
    """The checks that the route at this address has to pass."""
    client = boto3.client(
        "bedrock-runtime", endpoint_url=endpoint, region_name="us-east-1",
        aws_access_key_id="client", aws_secret_access_key="client",
        config=Config(retries={"total_max_attempts": 1}, read_timeout=20),
    )
    headers = {}
    client.meta.events.register(
        "before-send.bedrock-runtime", lambda request, **_: request.headers.update(headers)
    )
    suite = Suite(client, headers)
    yield "converse", suite.converse
    yield "converse_stream", suite.converse_stream
    yield "tools", suite.tools
    yield "tools in a stream", suite.tools_in_a_stream
    yield "images", suite.images
    yield "cached tokens", suite.cached_tokens
    for status, code in FAILURES.items():
        yield f"upstream {status} as {code}", lambda s=status, c=code: suite.failure(s, c)


class Suite:
    """The checks. What is in `headers` goes out with the next requests, unsigned."""

    def __init__(self, client, headers: dict):
        self.client = client
        self.headers = headers

    def body(self, text: str = QUESTION, **extra: object) -> dict:
        messages = [{"role": "user", "content": [{"text": text}]}]
        return {"modelId": MODEL, "messages": messages, **extra}

    def demand(self) -> dict:
        spec = {"name": "weather", "inputSchema": {"json": PARAMETERS}}
        return {"tools": [{"toolSpec": spec}], "toolChoice": {"any": {}}}

    def converse(self) -> None:
        reply = self.client.converse(**self.body(), system=[{"text": "Be kind."}])
        assert reply["output"]["message"]["content"] == [{"text": ANSWER}], reply
        usage = reply["usage"]
        assert reply["stopReason"] == "end_turn" and usage["outputTokens"] >= 9, reply
        assert usage["totalTokens"] == usage["inputTokens"] + usage["outputTokens"], usage

    def converse_stream(self) -> None:
        events = list(self.client.converse_stream(**self.body())["stream"])
        pieces = [e["contentBlockDelta"]["delta"]["text"] for e in events if "contentBlockDelta" in e]
        assert len(pieces) > 3 and "".join(pieces) == ANSWER, pieces
        assert events[-1]["metadata"]["usage"]["outputTokens"] >= 9, events[-1]
        assert {"messageStop": {"stopReason": "end_turn"}} in events, events

    def tools(self) -> None:
        reply = self.client.converse(**self.body("Kyoto", toolConfig=self.demand()))
        (block,) = reply["output"]["message"]["content"]
        assert (block["toolUse"]["name"], block["toolUse"]["input"]) == ("weather", ARGUMENTS), block
        assert reply["stopReason"] == "tool_use", reply

    def tools_in_a_stream(self) -> None:
        events = list(self.client.converse_stream(**self.body("Kyoto", toolConfig=self.demand()))["stream"])
        deltas = [e["contentBlockDelta"]["delta"] for e in events if "contentBlockDelta" in e]
        assert "".join(delta["toolUse"]["input"] for delta in deltas) == '{"city":"Kyoto"}', deltas

    def images(self) -> None:
        body = self.body("Look")
        body["messages"][0]["content"].append({"image": {"format": "png", "source": {"bytes": png()}}})
        (block,) = self.client.converse(**body)["output"]["message"]["content"]
        assert "showed an image" in block["text"], block

    def cached_tokens(self) -> None:
        with_header(self.headers, "x-mock-cached", "4", lambda: self.check_cached())

    def check_cached(self) -> None:
        usage = self.client.converse(**self.body())["usage"]
        assert usage["cacheReadInputTokens"] == 4, usage

    def failure(self, status: int, code: str) -> None:
        with_header(self.headers, "x-mock-status", str(status), lambda: self.check_failure(code))

    def check_failure(self, code: str) -> None:
        for call in (self.client.converse, self.client.converse_stream):
            try:
                call(**self.body())
            except ClientError as error:
                assert error.response["Error"]["Code"] == code, error
                assert "failed as the request asked" in str(error), error
            else:
                raise AssertionError(f"no {code}")


def with_header(headers: dict, name: str, value: str, run: Callable[[], None]) -> None:
    """Runs it with a request header."""
    headers[name] = value
    try:
        run()
    finally:
        del headers[name]
