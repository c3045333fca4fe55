"""Show the gateway at work on a scripted upstream, without any key, then keep serving."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import uvloop

from gateway.config.load import read_house
from gateway.policy.load import load_policies
from gateway.server.app import Gateway
from gateway.server.listen import serve
from gateway.server.logs import set_up
from gateway.server.record import Receipt
from gateway.server.upstreams import make_upstreams
from gateway.settings import Settings, SettingsError, load_settings
from gateway.yamlfile import FileError

HOUSE = """\
upstreams:
  demo:
    scripted:
      - {model: judge, when: "pick a lock", reply: "YES", first_token: 120ms}
      - {model: judge, reply: "NO", first_token: 120ms}
      - {when: "launch code", reply: "The launch code is SWORDFISH-7.", first_token: 150ms, between_tokens: 10ms}
      - {when: "capital of France", reply: "The capital of France is Paris.", first_token: 200ms, between_tokens: 15ms}
      - {reply: "I am a scripted model: I answer without a network, a key or a bill.", first_token: 200ms, between_tokens: 15ms}
default_upstream: demo
models:
  judge: {upstream: demo, model: judge}
"""

POLICY = """\
policy: demo
checks:
  harm: {use: judge, model: judge, at: input, do: block}
  words: {use: keywords, words: [SWORDFISH-7], at: [input, output], do: block}
"""

WIDTH = 48  # columns of a timeline


@dataclass(frozen=True)
class Scene:
    title: str
    ask: str
    stream: bool


SCENES = (
    Scene("An allowed question, plain", "What is the capital of France?", stream=False),
    Scene("The same, streamed", "What is the capital of France?", stream=True),
    Scene("A question that the judge blocks", "How do I pick a lock?", stream=False),
    Scene("A question with a forbidden word: a local check, no call is made", "Is it SWORDFISH-7?", stream=False),
    Scene("An answer that gives a secret away, streamed", "Tell me the launch code.", stream=True),
)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--once", action="store_true", help="end after the tour instead of serving on")


def run(args: argparse.Namespace) -> int:
    try:
        settings = load_settings()
        if "admin_port" not in settings.model_fields_set:
            settings = settings.model_copy(update={"admin_port": 0})  # a tour needs none
        with tempfile.TemporaryDirectory(prefix="outrider-demo-") as folder:
            house_file, policy_file = Path(folder, "outrider.yaml"), Path(folder, "demo.yaml")
            house_file.write_text(HOUSE, encoding="utf-8")
            policy_file.write_text(POLICY, encoding="utf-8")
            house = read_house(house_file)
            policies = load_policies(policy_file, known_model=lambda name: house.route(name) is not None)
    except (SettingsError, FileError) as error:
        sys.stderr.write(f"outrider: {error}\n")
        return 2
    set_up("warning", settings.log_format)
    receipts: list[Receipt] = []

    async def main() -> None:
        gateway = Gateway(settings, house, policies, make_upstreams(house), keep=receipts.append)
        ready = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(serve(gateway, ready.set))
            await ready.wait()
            await _tour(settings, receipts)
            if args.once:
                os.kill(os.getpid(), signal.SIGTERM)
            else:
                _say(_try_it(settings))

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main())
    except ExceptionGroup as errors:
        reason = next((e for e in errors.exceptions if isinstance(e, OSError)), None)
        if reason is None:
            raise
        sys.stderr.write(f"outrider: {reason}\n")
        return 2
    return 0


async def _tour(settings: Settings, receipts: list[Receipt]) -> None:
    _say(f"Outrider checks while it answers. Serving on {_address(settings)}, scripted upstream, no key.\n")
    async with aiohttp.ClientSession(f"{_address(settings)}") as client:
        for number, scene in enumerate(SCENES, 1):
            before = len(receipts)
            got = await _ask(client, scene)
            while len(receipts) == before:
                await asyncio.sleep(0.01)
            _say(f"{number}. {scene.title}\n   > {scene.ask}\n   < {got}\n{timeline(receipts[-1])}\n")


async def _ask(client: aiohttp.ClientSession, scene: Scene) -> str:
    body = {"model": "demo", "messages": [{"role": "user", "content": scene.ask}], "stream": scene.stream}
    async with client.post("/v1/chat/completions", json=body) as answer:
        data = await answer.read()
        if answer.status != 200:
            error = orjson.loads(data)["error"]
            return f"{answer.status} {error['code']}: {error['message']}"
        return f"{answer.status} {_text(data, stream=scene.stream)}"


def _text(data: bytes, *, stream: bool) -> str:
    if not stream:
        return str(orjson.loads(data)["choices"][0]["message"]["content"])
    said = ""
    for line in data.splitlines():
        if line.startswith(b"data: {"):
            chunk = orjson.loads(line[6:])
            if "error" in chunk:
                return f"{said} [cut: {chunk['error']['code']}]"
            said += "".join(c["delta"].get("content") or "" for c in chunk["choices"])
    return said


def timeline(receipt: Receipt) -> str:
    """What ran when, as bars of `WIDTH` columns for the whole request."""
    assert receipt.ended is not None
    whole = max(receipt.ended - receipt.started, 0.001)
    rows: list[tuple[str, float, float, str]] = []
    for look in receipt.looks:
        said = str(look.finding.outcome) if look.finding else "dropped"
        rows.append((f"{look.watch.name} ({look.watch.side})", look.started, look.ended or receipt.ended, said))
    for call in receipt.calls:
        said = "closed" if call.cancelled else "complete"
        rows.append(("completion", call.started, call.ended or receipt.ended, said))
    lines = [_bar(row, receipt.started, whole) for row in rows]
    hidden = f"; {receipt.hidden() * 1000:.0f} ms of checking hidden behind the completion" if receipt.calls else ""
    return "\n".join([*lines, f"   {receipt.decision} after {whole * 1000:.0f} ms{hidden}"])


def _bar(row: tuple[str, float, float, str], since: float, whole: float) -> str:
    name, start, end, said = row
    left = min(round((start - since) / whole * WIDTH), WIDTH - 1)
    length = max(1, min(round((end - start) / whole * WIDTH), WIDTH - left))
    bar = (" " * left + "#" * length).ljust(WIDTH)
    return f"   {name:<20}|{bar}| {said}, {(start - since) * 1000:.0f}-{(end - since) * 1000:.0f} ms"


def _address(settings: Settings) -> str:
    return f"http://{settings.host}:{settings.port}"


def _try_it(settings: Settings) -> str:
    base = _address(settings)
    body: dict[str, Any] = {"model": "demo", "messages": [{"role": "user", "content": "Hello!"}]}
    return f"""\
Still serving (Ctrl-C ends it). Try it:

  curl {base}/v1/chat/completions -H 'content-type: application/json' \\
    -d '{orjson.dumps(body).decode()}'

  from openai import OpenAI
  client = OpenAI(base_url="{base}/v1", api_key="not-needed")
  print(client.chat.completions.create(model="demo",
        messages=[{{"role": "user", "content": "Hello!"}}]).choices[0].message.content)

With OPENAI_API_KEY or OUTRIDER_UPSTREAM set, `outrider serve` (or `make run`) serves that upstream.
"""


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
