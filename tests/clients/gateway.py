"""The gateway and the simulated model as one process, on free ports."""

import json
import os
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

READY_WITHIN = 15
STOPPED_WITHIN = 15


class Gateway:
    """Runs inside `with`; leaving it stops the process and checks that it ends well."""

    def __init__(self, binary: str):
        self.binary = binary
        addresses = free_addresses(4)
        self.proxy, self.admin, self.status, self.model = addresses
        self.url = f"http://{self.proxy}"
        self.folder = tempfile.TemporaryDirectory(prefix="tollgate-clients-")
        self.log = Path(self.folder.name, "log")
        self.process = None

    def start(self, configuration: dict) -> None:
        """Starts with this configuration and waits until it is ready."""
        file = Path(self.folder.name, "kong.yaml")
        file.write_text(json.dumps(configuration, indent=1))  # JSON is YAML
        command = [
            self.binary, "run", "--config", file, "--mock-llm", self.model,
            "--proxy-listen", self.proxy, "--admin-listen", self.admin, "--status-listen", self.status,
        ]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until = time.monotonic() + READY_WITHIN
        while not self._ready():
            if self.process.poll() is not None or time.monotonic() > until:
                raise SystemExit(f"{self.binary} does not get ready:\n{self.log.read_text()}")
            time.sleep(0.05)

    def stop(self) -> int:
        """The exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOPPED_WITHIN)

    def __enter__(self) -> "Gateway":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.folder.cleanup()

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{self.status}/status/ready", timeout=1) as reply:
                return reply.status == 200
        except (urllib.error.URLError, OSError):
            return False


def free_addresses(count: int) -> list[str]:
    """Loopback addresses that nobody listens at."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    addresses = ["%s:%d" % one.getsockname() for one in sockets]
    for one in sockets:
        one.close()
    return addresses


def binary() -> str:
    """The gateway to test."""
    return os.environ.get("TOLLGATE", "target/release/tollgate")
