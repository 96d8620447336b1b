"""Upstreams and proxies side by side, and one measurement of one of them."""
import http.client
import json
import os
import subprocess
import sys

import answers
import configs
import machine
from machine import BARE, HERE, LOAD, TOLLGATE, Process
from rows import AWAKE

BODIES = {
    "chat": answers.CHAT,
    "stream": answers.STREAM,
    "claude-chat": answers.CLAUDE_CHAT,
    "claude-stream": answers.CLAUDE_STREAM,
    "large": answers.large(10_000_000),
}
# Beside these the gateway with busy polling, AWAKE.
THROUGHS = ("direct", "nginx", "bare", "tollgate")


class Rig:
    """Everything that is started for a run, and stopped with it."""

    def __init__(self, scratch, connections=1024):
        self.scratch, self.connections = scratch, connections
        self.proxy_core, self.upstream_core, self.load_core = machine.cores()
        self.started, self.proxies, self.ports = [], {}, {}
        for name, body in BODIES.items():
            (scratch / f"{name}.json").write_bytes(body)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in reversed(self.started):
            process.stop()

    def launch(self, name, argv, core, **options):
        process = Process(name, argv, core, self.scratch, **options)
        self.started.append(process)
        return process

    def stop(self, process):
        self.started.remove(process)
        process.stop()

    def upstreams(self, ticks=0):
        self.ports["fixed"], self.ports["paced"] = machine.free_ports(2)
        port = self.ports["fixed"]
        process = self.launch_nginx("upstream", 1024, configs.fixed(port), self.upstream_core)
        process.await_port(port)
        address = f"127.0.0.1:{self.ports['paced']}"
        argv = [LOAD, "upstream", address, HERE / "chat-reply.json", "--ticks", ticks]
        self.launch("paced", argv, self.upstream_core).await_port(self.ports["paced"])

    def launch_nginx(self, name, connections, http, core):
        file = self.scratch / f"{name}.conf"
        file.write_text(configs.nginx(file, connections, http))
        return self.launch(name, ["nginx", "-e", "stderr", "-c", file], core)

    def proxy(self, through, routes=0, wrapper=(), patience=20):
        """Starts a proxy; `wrapper` is a command that runs it."""
        start = {"nginx": self.start_nginx, "bare": self.start_bare, "tollgate": self.start_tollgate, AWAKE: self.start_awake}[through]
        self.proxies[through] = start(routes, wrapper, patience)
        return self.proxies[through]

    def start_nginx(self, routes, *_):
        port, = machine.free_ports(1)
        process = self.launch_nginx("nginx", self.connections, configs.proxy(port, self.ports, routes), self.proxy_core)
        process.await_answer(f"http://127.0.0.1:{port}/up")
        process.only_child()
        self.ports["nginx"] = port
        return process

    def start_bare(self, _, wrapper, patience):
        """One process for each upstream, since this proxy knows but one; the one before the paced upstream is returned."""
        for upstream in ("fixed", "paced"):
            self.ports[f"bare-{upstream}"], = machine.free_ports(1)
            addresses = [f"127.0.0.1:{self.ports[name]}" for name in (f"bare-{upstream}", upstream)]
            process = self.launch(f"bare-{upstream}", [*wrapper, BARE, *addresses], self.proxy_core)
            process.await_port(self.ports[f"bare-{upstream}"])
            self.proxies[f"bare-{upstream}"] = process
        return process

    def start_tollgate(self, routes, wrapper, patience, name="tollgate", **environment):
        port, admin, status = machine.free_ports(3)
        file = self.scratch / "kong.json"
        file.write_text(configs.kong(self.ports, routes))
        process = self.launch(name, [
            *wrapper, TOLLGATE, "run", "--config", file, "--threads", 1, "--proxy-listen", f"127.0.0.1:{port}",
            "--admin-listen", f"127.0.0.1:{admin}", "--status-listen", f"127.0.0.1:{status}",
        ], self.proxy_core, env=os.environ | environment)
        process.await_answer(f"http://127.0.0.1:{status}/status/ready", patience)
        self.ports[name] = port
        return process

    def start_awake(self, *how):
        return self.start_tollgate(*how, name=AWAKE, TOLLGATE_BUSY_POLLING="true")

    def accounts(self, through, route):
        """The process that works for this route, if any."""
        if through == "bare":
            return self.proxies[f"bare-{configs.ROUTES[route][0]}"]
        return self.proxies.get(through)

    def where(self, through, route):
        """Port and path. A route that is not among the measured ones is a chat by another name."""
        upstream, path, _ = configs.ROUTES.get(route, configs.ROUTES["chat"])
        port = {"direct": upstream, "bare": f"bare-{upstream}"}.get(through, through)
        return self.ports[port], path if through in ("direct", "bare") else f"/{route}"

    def probe(self, through, route, body):
        """One exchange, which must be answered; its answer."""
        port, path = self.where(through, route)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("POST", path, (self.scratch / f"{body}.json").read_bytes(), headers(route))
        response = connection.getresponse()
        answer = response.read()
        connection.close()
        if response.status != 200 or not answer:
            sys.exit(f"{route} through {through}: status {response.status}: {answer[:500]!r}")
        return answer

    def wrk(self, through, route, body, seconds, connections=64):
        port, path = self.where(through, route)
        extra = [word for name, value in headers(route).items() for word in ("-H", f"{name}: {value}")]
        argv = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", *extra, "-s", HERE / "chat.lua", f"http://127.0.0.1:{port}{path}"]
        out = self.run(argv, {"BODY": str(self.scratch / f"{body}.json")})
        requests, micros, p50, p99, failures = map(int, out.split("\n")[-1].split())
        if failures or not requests:
            sys.exit(f"{route} through {through}: {failures} of {requests} requests failed")
        return {"requests": requests, "seconds": micros / 1e6, "p50_us": p50, "p99_us": p99}

    def load(self, command, through, route, body, *flags):
        port, path = self.where(through, route)
        return json.loads(self.run([LOAD, command, f"127.0.0.1:{port}", path, self.scratch / f"{body}.json", *flags]))

    def hold(self, through, count):
        """Opens so many streams and keeps them: the process that does, and how many it has."""
        port, path = self.where(through, "hold")
        argv = [LOAD, "hold", f"127.0.0.1:{port}", path, self.scratch / "stream.json", "--connections", count]
        client = self.launch("hold", argv, self.load_core, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        held = json.loads(client.child.stdout.readline())
        return client, held["held"], held["trouble"]

    def run(self, argv, environment=None):
        pin = [] if self.load_core is None else ["taskset", "-c", str(self.load_core)]
        argv = [*pin, *map(str, argv)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, env=os.environ | (environment or {}))
        if done.returncode:
            sys.exit(f"{' '.join(argv)}:\n{done.stdout}{done.stderr}")
        return done.stdout.strip()

    def accounted(self, through, route, fire):
        """What `fire` measures, with what it cost the proxy."""
        process = self.accounts(through, route)
        before = process and process.cpu()
        sample = fire()
        if process:
            spent, user, system = (after - start for start, after in zip(before, process.cpu(), strict=True))
            ticks = max(user + system, 1)
            sample |= {"cpu_us": spent / sample["requests"], "system_share": system / ticks}
        return sample


def headers(route):
    key = {"apikey": configs.KEY} if route == "protected" else {}
    return {"Content-Type": "application/json"} | key
