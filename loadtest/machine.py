"""Processes, cores and what the kernel keeps of them; that nothing outlives the measuring."""
import contextlib
import datetime
import os
import pathlib
import platform
import resource
import socket
import subprocess
import sys
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
TOLLGATE = pathlib.Path(os.environ.get("TOLLGATE", TARGET / "release/tollgate"))
BARE = TARGET / "release/examples/bare"
LOAD = TARGET / "release/examples/load"
CPU_CLOCK = 2  # of another process, as clock_getcpuclockid makes it: all that its threads have spent
TICK = 1e6 / os.sysconf("SC_CLK_TCK")  # microseconds

os.environ["PATH"] += ":/usr/sbin:/sbin"


def raise_file_limit():
    """As many open files as this user may have; that many."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (65_536, max(hard, 65_536)))
        return 65_536
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def cores():
    """The cores of proxy, upstream and load: the proxy has one of its own. All None where there is but one."""
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2:
        return None, None, None
    return usable[0], usable[1], usable[-1]


def free_ports(count):
    taken = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in taken]
    for one in taken:
        one.close()
    return ports


class Process:
    """A program in the background, pinned to a core unless that is None. Its output goes to a log."""

    def __init__(self, name, argv, core, scratch, **options):
        self.name, self.log = name, scratch / f"{name}.log"
        pin = [] if core is None else ["taskset", "-c", str(core)]
        with open(self.log, "ab") as log:
            options = {"stdout": log, "stderr": log} | options
            self.child = subprocess.Popen([*pin, *map(str, argv)], cwd=ROOT, **options)
        self.pid = self.child.pid

    def stop(self):
        self.child.terminate()
        try:
            self.child.wait(3)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()

    def await_answer(self, url, seconds=20):
        """Until it answers there with a success."""
        end = time.monotonic() + seconds
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5) as answer:
                answer.read()
                return
            if self.child.poll() is not None or time.monotonic() > end:
                sys.exit(f"{self.name} did not come up:\n{self.log.read_text()[-2000:]}")
            time.sleep(0.05)

    def await_port(self, port):
        """Until it takes connections there."""
        end = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return
            if self.child.poll() is not None or time.monotonic() > end:
                sys.exit(f"{self.name} did not come up:\n{self.log.read_text()[-2000:]}")
            time.sleep(0.05)

    def only_child(self):
        """From here on the accounts are those of its one child: nginx works in a process of its own."""
        children = pathlib.Path(f"/proc/{self.pid}/task/{self.pid}/children")
        end = time.monotonic() + 5
        while not (found := children.read_text().split()):
            if time.monotonic() > end:
                sys.exit(f"{self.name} has no worker")
            time.sleep(0.02)
        self.pid = int(found[0])

    def cpu(self):
        """Microseconds on a core so far, all threads: (all, of them user by the coarser clock, system likewise)."""
        # The process's own clock: that of its threads would go back when one of them ends.
        on_core = time.clock_gettime((~self.pid << 3) | CPU_CLOCK) * 1e6
        fields = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return on_core, int(fields[11]) * TICK, int(fields[12]) * TICK

    def rss(self):
        """KiB of memory that are present: all, and of these its own, which are not pages of the program's file."""
        return self.status("VmRSS"), self.status("RssAnon")

    def most_rss(self):
        """KiB of memory that were present at any time."""
        return self.status("VmHWM")

    def status(self, field):
        lines = pathlib.Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def said(*argv):
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=ROOT)
    return (done.stdout + done.stderr).strip()


def cpu_model():
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def commit():
    """The last commit that changed the program."""
    program = ["src", "vendor", "Cargo.toml", "Cargo.lock"]
    changed = said("git", "status", "--porcelain", "--", *program)
    return said("git", "log", "-1", "--format=%h", "--", *program) + (" and changes" if changed else "")


def facts():
    """What one has to know of this machine and these programs to compare figures."""
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "commit": commit(),
        "tollgate": said(TOLLGATE, "--version"),
        "nginx": said("nginx", "-v").rpartition("nginx/")[2],
        "wrk": (said("wrk", "-v").split() or ["", "?"])[1],
        "rustc": said("rustc", "--version"),
        "kernel": platform.release(),
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "load_average": os.getloadavg()[0],
    }
