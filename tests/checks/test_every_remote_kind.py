"""Every kind that asks a model or a service, over real HTTP: success, a hit, errors, silence, and answers that are none.

A kind without a row fails the first test.
"""

import asyncio
import json
import math

import pytest
from aiohttp import web

from gateway.checks import KINDS
from gateway.config.model import House
from gateway.core.terms import Examine, Passage, Place
from gateway.server.consult import Counsel, look_once
from gateway.server.targets import Targets
from gateway.server.upstreams import make_upstreams
from tests.patience import LONG
from tests.world import watch

SECRET = "the text of the user"
SHOWN = (Passage("messages[0].content", Place.USER, SECRET),)
TEMPLATE = "projects/p/locations/europe-west4/templates/t"


def chat(text, finish="stop"):
    message = {"role": "assistant", "content": text}
    return {
        "id": "c",
        "object": "chat.completion",
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
    }


def completion(text, **more):
    return {"object": "text_completion", "choices": [{"text": text, "finish_reason": "stop", **more}]}


def first_token(yes):
    tops = {"Yes": math.log(yes), "No": math.log(1 - yes)}
    return completion("", logprobs={"top_logprobs": [tops]})


def moderated(flagged):
    scores = {"violence": 0.9 if flagged else 0.1}
    return {"results": [{"flagged": flagged, "categories": {"violence": flagged}, "category_scores": scores}]}


def guardrail(action):
    return {"action": action, "outputs": [], "assessments": [{}], "usage": {}}


def severity(level):
    categories = ("Hate", "SelfHarm", "Sexual", "Violence")
    return {"blocklistsMatch": [], "categoriesAnalysis": [{"category": c, "severity": level} for c in categories]}


def armor(state):
    return {"sanitizationResult": {"filterMatchState": state, "filterResults": {}, "invocationResult": "SUCCESS"}}


WILD = "Harmful request: {}\nResponse refusal: no\nHarmful response: no"
# kind -> (settings, an answer that is no hit, one that is)
MATRIX = {
    "judge": ({}, chat("NO"), chat("YES")),
    "criteria": ({"questions": {"rude": "Is it rude?"}}, chat("NO"), chat("YES")),
    "moderation": ({}, moderated(False), moderated(True)),
    "llama_guard": ({}, chat("\n\nsafe"), chat("\n\nunsafe\nS1")),
    "qwen3guard": ({}, chat("Safety: Safe\nCategories: None"), chat("Safety: Unsafe\nCategories: Violent")),
    "granite_guardian": ({}, chat("<score> no </score>"), chat("<score> yes </score>")),
    "shieldgemma": ({}, first_token(0.1), first_token(0.9)),
    "wildguard": ({}, completion(WILD.format("no")), completion(WILD.format("yes"))),
    "gpt_oss_safeguard": ({"rules": "rules.md"}, chat("SAFE"), chat("VIOLATION")),
    "azure_content_safety": ({}, severity(0), severity(6)),
    "bedrock": ({"guardrail": "g"}, guardrail("NONE"), guardrail("GUARDRAIL_INTERVENED")),
    "model_armor": ({"template": TEMPLATE, "key_env": "SERVICE_KEY"}, armor("NO_MATCH_FOUND"), armor("MATCH_FOUND")),
    "lakera": ({}, {"flagged": False}, {"flagged": True}),
    "presidio": ({}, [], [{"entity_type": "PERSON", "start": 0, "end": 3, "score": 0.9}]),
    "fms_detector": ({"detector": "d"}, [[]],
                     [[{"start": 0, "end": 3, "text": "the", "detection": "X", "detection_type": "y", "score": 0.9}]]),
    "nemo": ({"config_id": "c"}, {"status": "success", "rails_status": {}}, {"status": "blocked", "rails_status": {}}),
    "webhook": ({}, {"action": "NONE"}, {"action": "BLOCKED", "blocked_reason": "because"}),
}  # fmt: skip
EACH = pytest.mark.parametrize("kind", MATRIX)


def test_no_kind_is_missing():
    asking = {name for name, kind in KINDS.items() if not kind.local and kind.__module__.startswith("gateway.checks.")}
    assert asking == MATRIX.keys()


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    keys = ("AZURE_CONTENT_SAFETY_KEY", "LAKERA_GUARD_API_KEY", "SERVICE_KEY", "AWS_BEARER_TOKEN_BEDROCK")
    for name in keys:
        monkeypatch.setenv(name, f"key-{name}")


class Service:
    """Stands for the model and the service alike: says one thing to whoever asks."""

    def __init__(self):
        self.status, self.body, self.does, self.asked = 200, b"", "answer", 0

    def says(self, body, status=200):
        self.body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.status, self.does, self.asked = status, "answer", 0

    async def handle(self, request):
        self.asked += 1
        await request.read()
        match self.does:
            case "hang":
                await asyncio.sleep(30)
            case "late":
                await asyncio.sleep(0.3)
            case "cut":
                answer = web.StreamResponse(headers={"content-type": "application/json", "content-length": "999"})
                await answer.prepare(request)
                await answer.write(self.body)
                request.transport.abort()
                return answer
            case "hang up":
                request.transport.abort()
        return web.Response(status=self.status, body=self.body, content_type="application/json")


@pytest.fixture
async def service(aiohttp_server):
    one = Service()
    app = web.Application()
    app.router.add_post("/{path:.*}", one.handle)
    server = await aiohttp_server(app)
    one.url = f"http://{server.host}:{server.port}"
    house = House.model_validate({"upstreams": {"up": {"base_url": f"{one.url}/v1"}}, "default_upstream": "up"})
    upstreams = make_upstreams(house)
    targets = Targets(house, upstreams)
    one.counsel = Counsel(targets.until)
    yield one
    await targets.close()
    await upstreams["up"].close()


@pytest.fixture
def made(service, tmp_path):
    (tmp_path / "rules.md").write_text("No talk of boats.")

    def make(kind):
        whom = {"url": service.url} if "url" in KINDS[kind].model_fields else {"model": "guard"}
        return KINDS[kind].model_validate({"use": kind, **whom, **MATRIX[kind][0]}, context={"folder": tmp_path})

    return make


async def look(service, check, timeout=LONG):
    return await look_once(check, Examine(watch("one", timeout=timeout), SHOWN), service.counsel)


def assert_failed(finding, *whatever):
    assert finding.outcome == "failed", whatever
    assert finding.judgement is None
    assert finding.note
    assert SECRET not in finding.note
    assert "key-" not in finding.note


@EACH
async def test_success_and_a_hit(service, made, kind):
    _, clear, hit = MATRIX[kind]
    for answer, outcome in ((clear, "clear"), (hit, "hit")):
        service.says(answer)
        service.counsel.verdicts._kept.clear()
        finding = await look(service, made(kind))
        assert (finding.outcome, finding.note, service.asked) == (outcome, "", 1)


@EACH
@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 429, 500, 502, 503])
async def test_an_error(service, made, kind, status):
    service.says(MATRIX[kind][1], status)  # even where the body would be a verdict
    assert_failed(await look(service, made(kind)), status)
    assert service.asked >= 1


@EACH
@pytest.mark.parametrize("does", ["hang", "late"])
async def test_silence(service, made, kind, does):
    service.says(MATRIX[kind][2])
    service.does = does
    finding = await look(service, made(kind), timeout=0.1)
    assert_failed(finding)
    assert finding.note == "timed out"


@EACH
@pytest.mark.parametrize("does", ["cut", "hang up"])
async def test_an_answer_that_breaks_off(service, made, kind, does):
    service.says(MATRIX[kind][1])
    service.does = does
    assert_failed(await look(service, made(kind)))


GARBAGE = [
    b"", b"<html>", b"NONE", b"\xff\xfe", b"{", b"[" * 100_000, None, True, 0, "NO", [], {}, [[], []], [[[]]], [None],
    {"error": {"message": SECRET}}, {"choices": []}, {"choices": [{}]}, chat(None), chat(""), chat(SECRET), chat(f"NO {SECRET}"),
    chat("safe\nunsafe"), completion(""), completion(SECRET), {"results": []}, {"results": [{}]}, {"action": SECRET}, {"action": None},
    {"flagged": None}, {"status": SECRET}, {"sanitizationResult": None}, {"categoriesAnalysis": None}, {"detail": "Not Found"},
]  # fmt: skip


@EACH
async def test_an_answer_that_is_no_verdict(service, made, kind):
    for garbage in GARBAGE:
        if garbage == MATRIX[kind][1]:
            continue  # of this kind it is one
        service.says(garbage)
        for target in service.counsel.until.__self__._targets.values():
            target.breaker.succeeded()  # each of these is met by an open ear
        assert_failed(await look(service, made(kind)), garbage)
        assert service.asked >= 1, garbage


@EACH
async def test_an_answer_cut_short_anywhere(service, made, kind):
    whole = json.dumps(MATRIX[kind][2]).encode()
    for end in range(0, len(whole), max(1, len(whole) // 12)):
        service.says(whole[:end])
        for target in service.counsel.until.__self__._targets.values():
            target.breaker.succeeded()
        assert_failed(await look(service, made(kind)), whole[:end])
