"""Whatever a check does wrong, of every kind: the outcome is the one without it, or a block, as its `on_error` says.

A kind without a row fails the first test.
"""

import asyncio
import json
import threading

import aiohttp
import pytest

from gateway.checks import KINDS
from gateway.checks.judge import Judge
from gateway.config.model import House
from gateway.core.terms import Judgement, Place, Side
from gateway.policy.load import load_policies
from gateway.policy.model import PolicySet
from gateway.server.app import Gateway
from gateway.server.upstreams import make_upstreams
from gateway.settings import Settings
from tests.patience import LONG

CALL = {"name": "search", "arguments": '{"q": "x"}'}
UP = {"scripted": [{"model": "calls", "tool_calls": [CALL]}, {"reply": "All is well with the boats."}]}
HOUSE = House.model_validate({"upstreams": {"up": UP}, "default_upstream": "up"})
# kind -> its settings, where each has to be told something
SETTINGS = {
    "keywords": {"words": ["swordfish"]}, "regex": {"patterns": {"ticket": "TCK-[0-9]{6}"}}, "secrets": {}, "pii": {}, "urls": {},
    "invisible": {}, "injection": {}, "toxicity": {}, "tools": {"deny": ["delete"]}, "json_schema": {}, "length": {"max_words": 999},
    "prompt_leak": {}, "verbatim": {"files": ["book.txt"]}, "code": {}, "language": {"allow": ["latin"]}, "repetition": {},
    "refusal": {}, "parameters": {"max_n": 9}, "judge": {"model": "m"}, "criteria": {"model": "m", "questions": {"rude": "Rude?"}},
    "moderation": {"model": "m"}, "llama_guard": {"model": "m"}, "qwen3guard": {"model": "m"}, "granite_guardian": {"model": "m"},
    "shieldgemma": {"model": "m"}, "wildguard": {"model": "m"}, "gpt_oss_safeguard": {"model": "m", "rules": "book.txt"},
    "azure_content_safety": {"url": "http://127.0.0.1:9"}, "bedrock": {"guardrail": "g"},
    "model_armor": {"template": "projects/p/locations/l/templates/t", "key_env": "LAKERA_GUARD_API_KEY"}, "lakera": {},
    "presidio": {"url": "http://127.0.0.1:9"}, "fms_detector": {"url": "http://127.0.0.1:9", "detector": "d"},
    "nemo": {"url": "http://127.0.0.1:9", "config_id": "c"}, "webhook": {"url": "http://127.0.0.1:9"},
}  # fmt: skip
# Where a kind is read on either side; of the others the first place that it can read.
READS = {Side.INPUT: [Place.USER, Place.TOOL_DEFINITION], Side.OUTPUT: [Place.CONTENT, Place.TOOL_CALL]}
QUESTION = {
    "messages": [{"role": "system", "content": "Speak of boats."}, {"role": "user", "content": "Is all well with the boats?"}],
    "tools": [{"type": "function", "function": {"name": "search"}}],
}  # fmt: skip


def place_of(kind, side):
    return next((place for place in READS[side] if place in KINDS[kind].can_read), None)


CASES = [(kind, side) for kind in SETTINGS for side in Side if place_of(kind, side)]


def test_no_kind_is_missing():
    assert {name for name, kind in KINDS.items() if kind.__module__.startswith("gateway.checks.")} == SETTINGS.keys()
    assert {kind for kind, _ in CASES} == SETTINGS.keys()


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in ("AZURE_CONTENT_SAFETY_KEY", "LAKERA_GUARD_API_KEY", "AWS_BEARER_TOKEN_BEDROCK"):
        monkeypatch.setenv(name, "k")


def policy_of(folder, kind, side, on_error):
    (folder / "book.txt").write_text("It was a bright cold day, and nobody spoke of boats or of the harbour at all.")
    check = {"use": kind, "at": str(place_of(kind, side)), "do": "block", "on_error": on_error, "timeout": "40ms"}
    (folder / "p.yaml").write_text(json.dumps({"policy": "p", "checks": {"it": {**check, **SETTINGS[kind]}}}))
    return load_policies(folder / "p.yaml")


class Faulty:
    """What a kind's methods become. `released` lets go whoever waits on a thread."""

    def __init__(self, does):
        self.does = does
        self.released = threading.Event()

    def said(self):
        if self.does == "raise":
            raise RuntimeError("SECRET")
        return "fine" if self.does == "nonsense" else Judgement(hit=True, categories=("late",))

    def feed(self, _text):
        return self.said()

    def end(self):
        return self.said()

    def put_into(self, patch, kind):
        """In the place of the kind's own methods; on a thread if they can block."""
        victim = Judge if kind is KINDS["criteria"] else kind

        async def examine(_check, _passages, _ask):
            if self.does in {"hang", "late"}:
                await asyncio.sleep(30 if self.does == "hang" else 0.2)
            return self.said()

        def judge(_check, _passages):
            if self.does in {"hang", "late"}:
                self.released.wait(30 if self.does == "hang" else 0.2)
            return self.said()

        def scanner(_check, *, settled=False):
            return self

        for name, method in {"judge": judge, "find": judge, "scanner": scanner, "examine": examine}.items():
            patch.setattr(victim, name, method, raising=False)
        if self.does in {"hang", "late"}:
            patch.setattr(victim, "inline", -1, raising=False)
            patch.setattr(victim, "follows", False, raising=False)


async def answer_of(server, model, stream):
    """(status, what the client got, without what differs from call to call)."""
    async with (
        aiohttp.ClientSession() as client,
        client.post(
            server.make_url("/v1/chat/completions"), json={**QUESTION, "model": model, "stream": stream}
        ) as answer,
    ):
        text = await answer.text()
    frames = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
    told = frames or [json.loads(text)]
    return answer.status, [{key: value for key, value in one.items() if key not in {"id", "created"}} for one in told]


@pytest.fixture
async def serving(aiohttp_raw_server):
    async def serve(policies):
        receipts = []
        gateway = Gateway(Settings(), HOUSE, policies, make_upstreams(HOUSE), keep=receipts.append)
        opened.append(gateway)
        return await aiohttp_raw_server(gateway.handle), receipts

    opened = []
    yield serve
    for gateway in opened:
        await gateway.close()


@pytest.fixture
def fault(request, monkeypatch):
    """Puts a fault into a kind; whoever it keeps waiting is let go in the end."""

    def put(kind, does):
        faulty = Faulty(does)
        request.addfinalizer(faulty.released.set)
        faulty.put_into(monkeypatch, KINDS[kind])

    return put


@pytest.mark.parametrize("does", ["raise", "nonsense", "hang", "late"])
@pytest.mark.parametrize("case", CASES, ids=" of ".join)
async def test_a_fault_is_only_what_on_error_says(serving, tmp_path, fault, case, does):
    kind, side = case
    streams = [True] if does in {"hang", "late"} else [False, True]
    model = "calls" if place_of(kind, side) is Place.TOOL_CALL else "m"
    free, _ = await serving(PolicySet(()))
    served = {on_error: await serving(policy_of(tmp_path, kind, side, on_error)) for on_error in ("allow", "block")}
    expected = {stream: await answer_of(free, model, stream) for stream in streams}
    fault(kind, does)
    for stream in streams:
        assert expected[stream][0] == 200
        for on_error, (server, receipts) in served.items():
            got = await asyncio.wait_for(answer_of(server, model, stream), LONG)
            assert_as_told(on_error, got, expected[stream], receipts.pop())


def assert_as_told(on_error, got, expected, receipt):
    verdicts = {one["verdict"] for one in receipt.lines()["checks"] if one["check"] == "p.it"}
    assert verdicts in ({"failed"}, {"failed", "dropped"})
    if on_error == "allow":
        assert (got, receipt.decision, verdicts) == (expected, "released", {"failed"})
    else:
        assert (got[0], receipt.decision) == (400, "blocked")
        assert "boats" not in json.dumps(got)
    assert "SECRET" not in json.dumps([got, receipt.lines()])
