"""Drives the gateway with the official SDKs; the last line says how many checks passed and failed.

    run.py [ROUTE...]        all routes, or those whose names begin so
"""

import os
import sys
import traceback
import urllib.request
from collections.abc import Callable

import anthropic_sdk
import bedrock_sdk
import openai
import openai_sdk
from gateway import Gateway, binary
from routes import ANTHROPIC, BEDROCK, ROUTES, configuration


class Report:
    """What passed and what failed."""

    def __init__(self) -> None:
        self.passed = 0
        self.failed = 0

    def check(self, name: str, run: Callable[[], None]) -> None:
        """Runs a check."""
        try:
            run()
        except Exception as error:
            self.failed += 1
            frame = traceback.extract_tb(error.__traceback__)[-1]
            print(f"FAIL {name}: {type(error).__name__}: {str(error)[:600]} ({frame.name}, {frame.lineno})")
        else:
            self.passed += 1
            print(f"ok   {name}")
        sys.stdout.flush()


def nowhere(gateway: Gateway) -> None:
    """A path without a route is OpenAI's 404."""
    client = openai.OpenAI(base_url=f"{gateway.url}/nowhere", api_key="sk-client", max_retries=0)
    messages = [{"role": "user", "content": "Hello"}]
    error = openai_sdk.expect(
        openai.NotFoundError, lambda: client.chat.completions.create(model="m", messages=messages)
    )
    assert "no Route matched" in str(error), error


def stopped(gateway: Gateway) -> None:
    """The gateway ends by itself, and well, when told to."""
    status = gateway.stop()
    assert status == 0, f"exit status {status}:\n{gateway.log.read_text()}"


def ready(gateway: Gateway) -> None:
    """The gateway is alive after all that."""
    with urllib.request.urlopen(f"http://{gateway.status}/status/ready", timeout=5) as reply:
        assert reply.status == 200, reply.status


def main(wanted: list[str]) -> int:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        os.environ.pop(name, None)
        os.environ.pop(name.upper(), None)
    begin = tuple(wanted or [""])
    routes = [route for route in ROUTES if route.name.startswith(begin)]
    natives = [native for native in (ANTHROPIC, BEDROCK) if native.name.startswith(begin)]
    if not routes and not natives:
        raise SystemExit(f"no route begins with {' or '.join(wanted)}")
    report = Report()
    with Gateway(binary()) as gateway:
        gateway.start(configuration(routes, natives, gateway.model))
        for route in routes:
            for name, run in openai_sdk.checks(route, gateway.url):
                report.check(f"openai SDK, {route.name}: {name}", run)
        for native, sdk in ((ANTHROPIC, anthropic_sdk), (BEDROCK, bedrock_sdk)):
            if native in natives:
                for name, run in sdk.checks(f"{gateway.url}/{native.name}"):
                    report.check(f"{native.name}: {name}", run)
        report.check("a path without a route", lambda: nowhere(gateway))
        report.check("readiness afterwards", lambda: ready(gateway))
        report.check("a clean end", lambda: stopped(gateway))
    print(f"{report.passed} passed, {report.failed} failed")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
