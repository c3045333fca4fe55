"""Kinds that ask a service, over real HTTP: what each sends, what each documented answer means, and every failure."""

import asyncio
import time

import pytest
from aiohttp import web
from pydantic import ValidationError

from gateway.checks.azure_content_safety import AzureContentSafety
from gateway.checks.bedrock import Bedrock
from gateway.checks.fms_detector import FmsDetector
from gateway.checks.lakera import Lakera
from gateway.checks.model_armor import ModelArmor
from gateway.checks.nemo import Nemo
from gateway.checks.presidio import Presidio
from gateway.checks.webhook import PATH, Webhook
from gateway.config.model import House
from gateway.core.terms import Examine, Passage, Place, Span
from gateway.server.consult import Counsel, look_once
from gateway.server.targets import Targets
from tests.patience import LONG
from tests.world import watch

USER = Passage("messages[0].content", Place.USER, "call Ann at noon")
TOOL = Passage("messages[1].content", Place.TOOL_RESULT, "from a page")
ANSWER = Passage("choices[0].message.content", Place.CONTENT, "Ann is fine")
TEMPLATE = "projects/p/locations/europe-west4/templates/t"
ENVIRONMENT = {"AZURE_CONTENT_SAFETY_KEY": "k1", "LAKERA_GUARD_API_KEY": "k2", "SERVICE_KEY": "k3",
               "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_CONFIG_FILE": "/none",
               "AWS_SHARED_CREDENTIALS_FILE": "/none"}  # fmt: skip


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_BEARER_TOKEN_BEDROCK", raising=False)


@pytest.fixture
async def service(aiohttp_server):
    class Service:
        seen, answer, status, hang = [], None, 200, False

        async def handle(self, request):
            self.seen.append((request.path_qs, request.headers.copy(), await request.json()))
            if self.hang:
                await asyncio.sleep(30)
            if isinstance(self.answer, bytes):
                return web.Response(body=self.answer, content_type="application/json")
            return web.json_response(self.answer, status=self.status)

    one = Service()
    one.seen = []
    app = web.Application()
    app.router.add_post("/{path:.*}", one.handle)
    server = await aiohttp_server(app)
    one.url = f"http://{server.host}:{server.port}"
    targets = Targets(House.model_validate({"upstreams": {"u": {"base_url": "http://u"}}}), {})
    one.counsel = Counsel(targets.until)
    yield one
    await targets.close()


def made(kind, url, **settings):
    return kind.model_validate({"use": kind.model_fields["use"].default, "url": url, **settings})


async def look(service, check, *passages, timeout=LONG):
    del service.seen[:]
    return await look_once(check, Examine(watch("one", timeout=timeout), passages), service.counsel)


def azure(violence=0, lists=()):
    severities = {"Hate": 0, "SelfHarm": 0, "Sexual": 2, "Violence": violence}
    return {
        "blocklistsMatch": [
            {"blocklistName": name, "blocklistItemId": "1", "blocklistItemText": "x"} for name in lists
        ],
        "categoriesAnalysis": [{"category": name, "severity": level} for name, level in severities.items()],
    }


def shielded(user, *documents):
    return {
        "userPromptAnalysis": {"attackDetected": user},
        "documentsAnalysis": [{"attackDetected": one} for one in documents],
    }


def lakera(**detectors):
    breakdown = [
        {"detector_type": name, "detected": found, "result": "l1_confident"} for name, found in detectors.items()
    ]
    return {"flagged": any(detectors.values()), "breakdown": breakdown, "metadata": {"request_uuid": "u"}}


def armor(state, **filters):
    return {"sanitizationResult": {"filterMatchState": state, "filterResults": filters, "invocationResult": "SUCCESS"}}


BLOCKED_TOPIC = {
    "action": "GUARDRAIL_INTERVENED", "actionReason": "Guardrail blocked.", "outputs": [{"text": "Sorry."}],
    "assessments": [{"topicPolicy": {"topics": [{"name": "Boats", "type": "DENY", "action": "BLOCKED"}]},
                     "sensitiveInformationPolicy": {"piiEntities": [{"type": "NAME", "match": "Ann", "action": "ANONYMIZED"}]},
                     "contentPolicy": {"filters": [{"type": "HATE", "confidence": "LOW", "action": "NONE"}]}}],
    "usage": {"topicPolicyUnits": 1, "contentPolicyUnits": 1},
}  # fmt: skip
NOT_BLOCKED = {"action": "NONE", "outputs": [], "assessments": [{}], "usage": {"topicPolicyUnits": 1}}
SPOTTED = {"start": 5, "end": 8, "text": "Ann", "detection": "NAME", "detection_type": "pii", "score": 0.9}

CASES = [
    (AzureContentSafety, {}, azure(), None),
    (AzureContentSafety, {}, azure(4), ("Violence",)),
    (AzureContentSafety, {"threshold": 2}, azure(), ("Sexual",)),
    (AzureContentSafety, {"threshold": {"Violence": 6}}, azure(4), None),
    (AzureContentSafety, {"categories": ["Hate"]}, azure(6), None),
    (AzureContentSafety, {"blocklists": ["mine"]}, azure(lists=["mine"]), ("mine",)),
    (AzureContentSafety, {"shield": True}, shielded(False, False), None),
    (AzureContentSafety, {"shield": True}, shielded(True, False), ("prompt_attack",)),
    (AzureContentSafety, {"shield": True}, shielded(False, True), ("document_attack",)),
    (Lakera, {}, lakera(prompt_attack=False, pii=False), None),
    (Lakera, {}, lakera(prompt_attack=True, pii=False), ("prompt_attack",)),
    (Lakera, {}, {"flagged": True}, ("flagged",)),
    (ModelArmor, {"template": TEMPLATE, "key_env": "SERVICE_KEY"}, armor("NO_MATCH_FOUND", rai={}), None),
    (ModelArmor, {"template": TEMPLATE, "key_env": "SERVICE_KEY"},
     armor("MATCH_FOUND", pi_and_jailbreak={"piAndJailbreakFilterResult": {"matchState": "MATCH_FOUND"}},
           rai={"raiFilterResult": {"matchState": "NO_MATCH_FOUND"}}), ("pi_and_jailbreak",)),
    (Nemo, {"config_id": "c"}, {"status": "success", "rails_status": {"self check": {"status": "success"}}}, None),
    (Nemo, {"config_id": "c"}, {"status": "blocked", "rails_status": {"self check": {"status": "blocked"}}}, ("self check",)),
    (Bedrock, {"guardrail": "g"}, NOT_BLOCKED, None),
    (Bedrock, {"guardrail": "g"}, BLOCKED_TOPIC,
     ("topicPolicy", "topicPolicy.DENY", "sensitiveInformationPolicy", "sensitiveInformationPolicy.NAME")),
    (FmsDetector, {"detector": "d"}, [[], []], None),
    (FmsDetector, {"detector": "d"}, [[SPOTTED], []], ("NAME",)),
    (FmsDetector, {"detector": "d", "threshold": 0.95}, [[SPOTTED], []], None),
    (Webhook, {}, {"action": "NONE"}, None),
    (Webhook, {}, {"action": "BLOCKED", "blocked_reason": "because"}, ("blocked",)),
    (Webhook, {}, {"action": "GUARDRAIL_INTERVENED", "texts": ["call [NAME] at noon", "from a page"]}, ("changed",)),
    (Webhook, {}, {"action": "GUARDRAIL_INTERVENED", "texts": ["call Ann at noon", "from a page"]}, ("intervened",)),
]  # fmt: skip
KINDS = list({kind: (kind, settings) for kind, settings, _, _ in reversed(CASES)}.values())


@pytest.mark.parametrize(("kind", "settings", "answer", "named"), CASES)
async def test_a_verdict(service, kind, settings, answer, named):
    service.answer = answer
    finding = await look(service, made(kind, service.url, **settings), USER, TOOL)
    assert (finding.outcome, finding.note) == ("clear" if named is None else "hit", "")
    assert finding.judgement.categories == (named or ())
    assert len(service.seen) == 1


GARBAGE = [
    {}, [], None, 1, "NONE", b"<html>", b"", {"action": "MAYBE"}, {"action": "NONE", "usage": []} | {"action": 0},
    {"flagged": "no"}, {"flagged": 0}, {"status": "fine"}, {"sanitizationResult": {}}, armor("PERHAPS"), armor(None),
    {"sanitizationResult": {"filterMatchState": "NO_MATCH_FOUND", "invocationResult": "PARTIAL"}},
    {"categoriesAnalysis": []}, {"categoriesAnalysis": [{"category": "Hate", "severity": "0"}]}, [[]], [[], [], []],
    [[{}], []], [[SPOTTED | {"end": 99}], []], [[SPOTTED | {"start": -1}], []], [[SPOTTED | {"score": 7}], []],
    [{"entity_type": "X", "start": 9, "end": 2, "score": 1}], [{"entity_type": 3, "start": 0, "end": 2, "score": 1}],
    {"action": "GUARDRAIL_INTERVENED", "texts": ["one"], "assessments": [3]}, {"error": {"message": "SECRET"}},
    {"userPromptAnalysis": {}}, shielded(False, False, True), {"userPromptAnalysis": {"attackDetected": False}},
]  # fmt: skip


@pytest.mark.parametrize("garbage", GARBAGE)
async def test_garbage_is_a_failure(service, garbage):
    service.answer = garbage
    for kind, settings in [*KINDS, (AzureContentSafety, {"shield": True}), (Presidio, {})]:
        if kind is Presidio and garbage == []:
            continue  # nothing found
        finding = await look(service, made(kind, service.url, **settings), USER, TOOL)
        assert finding.outcome == "failed", (kind, garbage)
        assert "SECRET" not in finding.note


@pytest.mark.parametrize(("kind", "settings"), [*KINDS, (Presidio, {})])
async def test_errors_and_silence_are_failures(service, kind, settings):
    check = made(kind, service.url, **settings)
    service.answer = {"error": "SECRET"}
    for service.status in (400, 401, 404, 503):
        finding = await look(service, check, USER)
        assert (finding.outcome, finding.note) == ("failed", f"its service answered {service.status}")
        assert len(service.seen) in ({1} if service.status < 500 else {1, 2, 3})
    service.hang = True
    finding = await look(service, check, USER, timeout=0.05)
    assert (finding.outcome, finding.note) == ("failed", "timed out")


async def test_azure_is_asked_as_it_wants(service):
    service.answer = azure()
    await look(service, made(AzureContentSafety, service.url + "/", blocklists=["b"]), USER, TOOL)
    path, headers, body = service.seen[0]
    assert path == "/contentsafety/text:analyze?api-version=2024-09-01"
    assert headers["Ocp-Apim-Subscription-Key"] == "k1"
    assert body["text"] == "call Ann at noon\n\nfrom a page"
    assert (body["categories"], body["blocklistNames"]) == (["Hate", "SelfHarm", "Sexual", "Violence"], ["b"])
    service.answer = shielded(False, False)
    await look(service, made(AzureContentSafety, service.url, shield=True), USER, TOOL)
    assert service.seen[0][0] == "/contentsafety/text:shieldPrompt?api-version=2024-09-01"
    assert service.seen[0][2] == {"userPrompt": USER.text, "documents": [TOOL.text]}


async def test_azure_reads_long_texts_in_pieces(service):
    service.answer = azure()
    long = Passage("p", Place.USER, "all is well " * 2500)
    assert (await look(service, made(AzureContentSafety, service.url), long)).outcome == "clear"
    assert len(service.seen) == 4
    assert all(len(body["text"]) <= 10_000 for _, _, body in service.seen)


async def test_lakera_and_nemo_are_told_who_speaks(service):
    service.answer = lakera(pii=False)
    await look(service, made(Lakera, service.url, project_id="project-1"), USER, TOOL, ANSWER)
    path, headers, body = service.seen[0]
    assert (path, headers["authorization"], body["project_id"]) == ("/v2/guard", "Bearer k2", "project-1")
    assert [(m["role"], m["content"]) for m in body["messages"]] == [
        ("user", USER.text), ("tool", TOOL.text), ("assistant", ANSWER.text)
    ]  # fmt: skip
    service.answer = {"status": "success"}
    await look(service, made(Nemo, service.url, config_id="c"), USER, ANSWER)
    path, _, body = service.seen[0]
    assert (path, body["guardrails"]) == ("/v1/guardrail/checks", {"config_id": "c"})
    assert [m["role"] for m in body["messages"]] == ["user", "assistant"]


async def test_model_armor_knows_prompts_from_answers(service, tmp_path):
    token = tmp_path / "token"
    token.write_text("first\n")
    check = made(ModelArmor, service.url, template=TEMPLATE, token_file=str(token))
    service.answer = armor("NO_MATCH_FOUND")
    await look(service, check, USER)
    path, headers, body = service.seen[0]
    assert path == f"/v1/{TEMPLATE}:sanitizeUserPrompt"
    assert (headers["authorization"], body) == ("Bearer first", {"userPromptData": {"text": USER.text}})
    token.write_text("second")
    await look(service, check, ANSWER)
    path, headers, body = service.seen[0]
    assert path == f"/v1/{TEMPLATE}:sanitizeModelResponse"
    assert (headers["authorization"], body) == ("Bearer second", {"modelResponseData": {"text": ANSWER.text}})
    token.unlink()
    assert (await look(service, check, TOOL)).note == "its access token cannot be read"
    located = ModelArmor.model_validate({"use": "model_armor", "template": TEMPLATE, "key_env": "SERVICE_KEY"})
    assert located.url == "https://modelarmor.europe-west4.rep.googleapis.com"


def today():
    return time.strftime("%Y%m%d", time.gmtime())


async def test_bedrock_signs(service):
    service.answer, days = BLOCKED_TOPIC, [today()]
    finding = await look(service, made(Bedrock, service.url, guardrail="arn:aws:g/1", region="eu-west-1"), ANSWER)
    assert finding.judgement.usage == {"topicPolicyUnits": 1, "contentPolicyUnits": 1}
    path, headers, body = service.seen[0]
    assert path == "/guardrail/arn%3Aaws%3Ag%2F1/version/DRAFT/apply"
    assert body == {"source": "OUTPUT", "content": [{"text": {"text": ANSWER.text}}]}
    signed = headers["Authorization"]
    day = headers["X-Amz-Date"][:8]
    assert day in {*days, today()}
    assert signed.startswith(f"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/{day}/eu-west-1/bedrock/aws4_request,")
    assert "host" in signed.partition("SignedHeaders=")[2]


async def test_bedrock_with_an_api_key(service, monkeypatch):
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "k4")
    service.answer = NOT_BLOCKED
    await look(service, made(Bedrock, service.url, guardrail="g", guardrail_version="2"), USER)
    assert service.seen[0][1]["authorization"] == "Bearer k4"
    assert service.seen[0][2]["source"] == "INPUT"
    assert Bedrock.model_validate({"use": "bedrock", "guardrail": "g", "region": "eu-north-1"}).url == (
        "https://bedrock-runtime.eu-north-1.amazonaws.com"
    )


async def test_presidio_tells_places(service):
    service.answer = [{"entity_type": "PERSON", "start": 5, "end": 8, "score": 0.85, "analysis_explanation": None}]
    check = made(Presidio, service.url, entities=["PERSON"], language="de")
    finding = await look(service, check, USER)
    assert finding.judgement.spans == (Span(USER.path, 5, 8, "PERSON"),)
    assert service.seen[0][2] == {
        "text": USER.text, "language": "de", "score_threshold": 0.5, "entities": ["PERSON"]
    }  # fmt: skip
    service.answer = []
    assert (await look(service, check, TOOL)).outcome == "clear"


async def test_presidio_in_pieces_tells_places_of_the_whole(service):
    text = "so it goes. " * 5000 + "Ann"

    async def ann(request):
        body = await request.json()
        at = body["text"].find("Ann")
        found = [{"entity_type": "PERSON", "start": at, "end": at + 3, "score": 0.9}] if at >= 0 else []
        return web.json_response(found)

    app = web.Application()
    app.router.add_post("/analyze", ann)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        port = site._server.sockets[0].getsockname()[1]
        check = made(Presidio, f"http://127.0.0.1:{port}")
        passages = (Passage("a", Place.USER, text), Passage("b", Place.USER, "Ann and Bob"))
        finding = await look(service, check, *passages)
    finally:
        await runner.cleanup()
    assert set(finding.judgement.spans) == {Span("a", len(text) - 3, len(text), "PERSON"), Span("b", 0, 3, "PERSON")}


@pytest.mark.parametrize(
    ("now", "span"),
    [
        ("call [NAME] at noon", (5, 8)),
        ("call Ann", (8, 16)),
        ("Please call Ann at noon", (0, 1)),
        ("call Ann at noon!", (15, 16)),
        ("", (0, 16)),
        ("call An at noon", (7, 8)),
    ],
)
async def test_what_a_webhook_changes_is_told_with_its_place(service, now, span):
    service.answer = {"action": "GUARDRAIL_INTERVENED", "texts": [now, TOOL.text]}
    check = made(Webhook, service.url, parameters={"a": 1}, key_env="SERVICE_KEY")
    finding = await look(service, check, USER, TOOL)
    assert finding.judgement.spans == (Span(USER.path, *span, "changed"),)
    path, headers, body = service.seen[0]
    assert (path, headers["authorization"]) == (PATH, "Bearer k3")
    assert (body["texts"], body["input_type"]) == ([USER.text, TOOL.text], "request")
    assert body["additional_provider_specific_params"] == {"a": 1}
    service.answer = {"action": "NONE"}
    await look(service, check, ANSWER)
    assert service.seen[0][2]["input_type"] == "response"


@pytest.mark.parametrize(
    ("kind", "settings", "words"),
    [
        (Presidio, {"url": "ftp://x"}, "http or https"),
        (Presidio, {"url": "https://user:key@x"}, "must not hold a user"),
        (Presidio, {"url": "https://x", "key_env": "NOT_THERE"}, "'NOT_THERE' is not set"),
        (Lakera, {"key_env": "NOT_THERE"}, "'NOT_THERE' is not set"),
        (ModelArmor, {"template": TEMPLATE}, "one of 'key_env' and 'token_file'"),
        (ModelArmor, {"template": "t", "key_env": "SERVICE_KEY"}, "should match"),
        (AzureContentSafety, {"url": "https://x", "threshold": 9}, "less than or equal to 7"),
        (AzureContentSafety, {"url": "https://x", "categories": ["Hat"]}, "'Hate'"),
    ],
)
def test_settings_that_cannot_act(kind, settings, words):
    with pytest.raises(ValidationError, match=words):
        kind.model_validate({"use": kind.model_fields["use"].default, **settings})


def test_no_credentials(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(ValidationError, match="no AWS credentials"):
        Bedrock.model_validate({"use": "bedrock", "guardrail": "g"})


def test_a_key_is_in_no_repr():
    check = Lakera.model_validate({"use": "lakera"})
    assert "k2" not in repr(check) + check.model_dump_json()
