"""The stand: starts the upstream and each gateway as a process of its own, and reads what they cost.

Gateways run on one core, load and upstream on the other. CPU is user and system time of a gateway's whole process
tree; memory is its resident set. Only processes that were started here are ended, by pid.
"""

from __future__ import annotations

import compileall
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import psutil

HERE = Path(__file__).parent
GATEWAY_CORE, LOAD_CORE = 0, 1
START_WITHIN = 60.0  # seconds

BASELINE = """\
policy: baseline
checks:
  secrets: {at: [input, output], do: redact}
  words: {use: keywords, words: [FORBIDDEN-WORD], at: [input, output], do: block}
"""
PATTERNS = "policy: patterns\nchecks:\n  patterns:\n    use: regex\n    at: input\n    patterns:\n" + "".join(
    f"      p{n}: '{word}[- ]?(?:id|key|no)[:= ]+[A-Z]{{2}}\\d{{{4 + n % 5}}}'\n"
    for n, word in enumerate(
        "account admin agent alarm asset badge batch bill board booking card case charge claim client code contract "
        "court credit customer deal debt depot device door draft driver employee escrow file fleet gate grant guest "
        "invoice issue item lease ledger licence loan locker meter order parcel patient payroll permit policy ticket".split()
    )
)
NOBODYS = (
    "policy: other\nfor: {models: [nobody]}\nchecks:\n  words: {use: keywords, words: [FORBIDDEN-WORD], do: block}\n"
)
GUARD = "policy: safety\nchecks:\n  harm: {use: llama_guard, model: guard, at: input, do: block}\n"
VOTE = """\
  panel:
    strategy: vote
    members: [{model: one, samples: 5}]
    ballot: {type: text}
    early_stop: none
"""


@dataclass
class Gateway:
    """One gateway: how it is started, and what it can be asked."""

    name: str
    command: list[str]
    cases: set[str]
    health: str = "/healthz"
    files: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    headers: list[str] = field(default_factory=list)
    port: int = 0
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0  # seconds until healthy

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def outrider(name: str, cases: set[str], policy: str, models: str = "", *, receipts: str = "") -> Gateway:
    house = "upstreams:\n  up: {base_url: '$UPSTREAM/v1', api_key: sk-x}\ndefault_upstream: up\n" + models
    environment = {
        "OUTRIDER_PORT": "$PORT",
        "OUTRIDER_ADMIN_PORT": "0",
        "OUTRIDER_CONFIG": "outrider.yaml",
        "OUTRIDER_POLICIES": "policies",
        "OUTRIDER_LOG_LEVEL": "warning",
    }
    if receipts:
        environment["OUTRIDER_AUDIT_URL"] = receipts
    files = {"outrider.yaml": house, "policies/policy.yaml": policy}
    return Gateway(name, [sys.executable, "-m", "gateway", "serve"], cases, files=files, environment=environment)


def floor(name: str, cases: set[str], *options: str) -> Gateway:
    command = [sys.executable, str(HERE / "floor.py"), "--port", "$PORT", "--upstream", "$UPSTREAM", *options]
    return Gateway(name, command, cases)


def plane(name: str, cases: set[str], *options: str) -> Gateway:
    """Outrider's data plane by itself."""
    command = [sys.executable, str(HERE / "plane.py"), "--port", "$PORT", "--upstream", "$UPSTREAM", *options]
    return Gateway(name, command, cases)


NGINX = """\
worker_processes 1;
pid nginx.pid;
error_log error.log warn;
events { worker_connections 4096; }
http {
  access_log off;
  client_body_buffer_size 512k;
  client_body_temp_path body;
  proxy_temp_path proxy;
  keepalive_requests 1000000;
  upstream model { server $ADDRESS; keepalive 512; keepalive_requests 1000000; }
  server {
    listen 127.0.0.1:$PORT backlog=2048;
    location / {
      proxy_pass http://model;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
    }
  }
}
"""
LITELLM = """\
model_list:
  - {model_name: "*", litellm_params: {model: "openai/*", api_base: "$UPSTREAM/v1", api_key: sk-x}}
litellm_settings: {telemetry: false, num_retries: 0}
"""
LITELLM_GUARD = """\
guardrails:
  - guardrail_name: guard
    litellm_params: {guardrail: guard.Guard, mode: during_call, default_on: true}
"""
LITELLM_HOOK = """\
import os

import aiohttp
from fastapi import HTTPException
from litellm.integrations.custom_guardrail import CustomGuardrail


class Guard(CustomGuardrail):
    session = None

    async def async_moderation_hook(self, data, user_api_key_dict, call_type):
        if Guard.session is None:
            Guard.session = aiohttp.ClientSession()
        question = {"model": "guard-d50", "messages": data["messages"]}
        async with Guard.session.post(os.environ["GUARD_URL"], json=question) as answer:
            verdict = (await answer.json())["choices"][0]["message"]["content"]
        if verdict.startswith("unsafe"):
            raise HTTPException(status_code=400, detail={"error": "blocked"})
"""
KEY = "sk-local-0123456789abcdef0123456789abcdef"


def nginx(program: str) -> Gateway:
    return Gateway(
        "nginx", [program, "-p", ".", "-c", "nginx.conf", "-g", "daemon off;"], PLAIN, files={"nginx.conf": NGINX}
    )


def litellm(program: str, *, guarded: bool) -> Gateway:
    """LiteLLM's proxy: one worker, no database, its production settings."""
    command = [program, "--config", "config.yaml", "--host", "127.0.0.1", "--port", "$PORT", "--num_workers", "1"]
    command += ["--telemetry", "False"]
    environment = {
        "LITELLM_MASTER_KEY": KEY,
        "LITELLM_LOG": "ERROR",
        "LITELLM_MODE": "PRODUCTION",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "GUARD_URL": "$UPSTREAM/v1/chat/completions",
        "PATH": f"{Path(program).parent}:{os.environ['PATH']}",
    }
    files = {"config.yaml": LITELLM + LITELLM_GUARD, "guard.py": LITELLM_HOOK} if guarded else {"config.yaml": LITELLM}
    return Gateway(
        "LiteLLM, guarded" if guarded else "LiteLLM",
        command,
        GUARDED if guarded else PLAIN,
        health="/health/liveliness",
        files=files,
        environment=environment,
        headers=[f"authorization: Bearer {KEY}"],
    )


PLAIN = {"plain", "large", "image", "stream", "paced", "idle", "start"}
GUARDED = {"guarded", "guarded_cpu", "first_token", "refused"}
VOTES = {"vote", "vote_cpu"}


def gateways(*, peers: bool) -> list[Gateway]:
    """What stands side by side: the floors, Outrider as it is set up for each case, and the peers that are installed."""
    house = "models:\n  guard: {upstream: up, model: guard-d50}\n"
    votes = "models:\n  one: {upstream: up, model: vote-d50-k1}\n" + VOTE
    found = [
        floor("floor", PLAIN),
        outrider("Outrider", PLAIN, BASELINE),
        outrider("Outrider, 50 patterns", {"plain"}, PATTERNS),
        outrider("Outrider, no check", {"plain"}, NOBODYS),
        outrider("Outrider, no check, no receipts", {"plain"}, NOBODYS, receipts="none://"),
        plane("its data plane, reading", {"plain", "large"}, "--reads"),
        plane("its data plane alone", {"plain", "large", "stream", "paced"}),
        floor("floor, guarded", GUARDED, "--guard", "guard-d50"),
        outrider("Outrider, guarded", GUARDED, GUARD, house),
        floor("floor, 5 votes", VOTES, "--votes", "5"),
        outrider("Outrider, 5 votes", VOTES, BASELINE, votes),
    ]
    if peers and (program := shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")):
        found.append(nginx(program))
    if peers and (program := os.environ.get("LITELLM") or shutil.which("litellm")):
        found += [litellm(program, guarded=False), litellm(program, guarded=True)]
    return found


class Stand:
    """The upstream, and the gateways that are up."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        self.upstream = ""

    def start_upstream(self, program: Sequence[str] = (), port: int = 0) -> None:
        """The scripted model, or another program that listens on a port."""
        compileall.compile_dir(HERE.parents[1] / "gateway", quiet=1)  # as pip does when it installs
        port = port or free_port()
        self.upstream = f"http://127.0.0.1:{port}"
        command = [sys.executable, *(program or (str(HERE / "model.py"), "--port", str(port)))]
        self._spawn(command, LOAD_CORE, self._folder, {}, "upstream")
        self._until_healthy(f"{self.upstream}/healthz", self._processes[-1])

    def start(self, gateway: Gateway) -> None:
        """Start it and wait until it is healthy; the seconds that took are kept."""
        gateway.port = free_port()
        folder = self._folder / gateway.name.replace(", ", "-").replace(" ", "-")
        for name, text in gateway.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(self._filled(text, gateway))
        folder.mkdir(exist_ok=True)
        command = [self._filled(word, gateway) for word in gateway.command]
        environment = {name: self._filled(value, gateway) for name, value in gateway.environment.items()}
        environment["PYTHONPATH"] = str(HERE.parents[1])
        began = time.perf_counter()
        gateway.process = self._spawn(command, GATEWAY_CORE, folder, environment, gateway.name)
        self._until_healthy(gateway.url + gateway.health, gateway.process)
        gateway.started = time.perf_counter() - began

    def _filled(self, text: str, gateway: Gateway) -> str:
        address = self.upstream.removeprefix("http://")
        return text.replace("$PORT", str(gateway.port)).replace("$UPSTREAM", self.upstream).replace("$ADDRESS", address)

    def _spawn(
        self, command: list[str], core: int, folder: Path, environment: dict[str, str], name: str
    ) -> subprocess.Popen[bytes]:
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("OUTRIDER_", "OPENAI_"))}
        with (self._folder / f"{name.replace(' ', '-')}.log").open("wb") as log:
            process = subprocess.Popen(
                ["taskset", "-c", str(core), *command],
                cwd=folder,
                env={**clean, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._processes.append(process)
        return process

    def _until_healthy(self, url: str, process: subprocess.Popen[bytes]) -> None:
        until = time.perf_counter() + START_WITHIN
        while time.perf_counter() < until:
            with contextlib.suppress(OSError, urllib.error.URLError), urllib.request.urlopen(url, timeout=2) as answer:
                if answer.status == 200:
                    return
            if process.poll() is not None:
                break
            time.sleep(0.01)
        raise RuntimeError(f"{url} did not become healthy; the logs are in {self._folder}")

    def stats(self) -> dict[str, dict[str, int]]:
        with urllib.request.urlopen(f"{self.upstream}/stats", timeout=5) as answer:
            return dict(orjson.loads(answer.read()))

    def load(self, gateway: Gateway, *options: object) -> dict[str, Any]:
        """One run of the load in a process of its own."""
        url = f"{gateway.url}/v1/chat/completions"
        headers = [word for header in gateway.headers for word in ("--header", header)]
        command = ["taskset", "-c", str(LOAD_CORE), sys.executable, str(HERE / "load.py"), url, *headers]
        ran = subprocess.run([*command, *map(str, options)], capture_output=True, check=True, timeout=120)
        return dict(orjson.loads(ran.stdout))

    def stop(self, gateway: Gateway) -> None:
        assert gateway.process is not None
        self._end(gateway.process)
        self._processes.remove(gateway.process)

    def close(self) -> None:
        for process in reversed(self._processes):
            self._end(process)

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        tree = list(_tree(process.pid))
        for one in tree:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.terminate()
        for one in psutil.wait_procs(tree, timeout=5)[1]:
            one.kill()
        process.wait(10)


def _tree(pid: int) -> Iterator[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        yield from root.children(recursive=True)
        yield root


def cpu(gateway: Gateway) -> float:
    """Seconds of CPU that its process tree has used."""
    assert gateway.process is not None
    used = 0.0
    for process in _tree(gateway.process.pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            used += times.user + times.system
    return used


def on_cpu(gateway: Gateway) -> float:
    """Seconds, as `cpu`, of the threads that live: to the microsecond, which psutil does not tell."""
    assert gateway.process is not None
    told = [file for one in _tree(gateway.process.pid) for file in Path(f"/proc/{one.pid}/task").glob("*/schedstat")]
    return sum(int(file.read_text().split()[0]) for file in told) / 1e9


def memory(gateway: Gateway) -> float:
    """MiB of resident memory of its process tree."""
    assert gateway.process is not None
    used = 0
    for process in _tree(gateway.process.pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            used += process.memory_info().rss
    return used / 2**20
