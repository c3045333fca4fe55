"""Answers a moderation for the model `outrider/<policy>`: the policy's own checks, in OpenAI's shape."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from gateway.checks.base import Check
from gateway.core.terms import Action, Document, Examine, Finding, Outcome, Passage, Place, Request, Side, Watch
from gateway.policy.model import PolicySet
from gateway.policy.plan import watches_of
from gateway.server.consult import Counsel, look_once
from gateway.server.record import Receipt
from gateway.wire.errors import BadRequest
from gateway.wire.moderations import OWN, Result, answer, inputs
from gateway.yamlfile import did_you_mean

MOST = 64  # inputs of one request
FIRST = {Side.INPUT: Place.USER, Side.OUTPUT: Place.CONTENT}  # what a moderated text stands for, if the check reads it


async def moderate(request: Request, policies: PolicySet, counsel: Counsel, receipt: Receipt) -> Document:
    """Every check of the policy on every input, whatever side it is for. Raises BadRequest."""
    watches, checks = _of(request.model.removeprefix(OWN), policies, receipt)
    texts = inputs(request.document)
    if len(texts) > MOST:
        raise BadRequest(f"'input' may hold at most {MOST} texts.", param="input", code="invalid_value")
    results = [await _judge(one, watches, checks, counsel, receipt) for one in texts]
    if receipt.unread and _refuses_unread(request.model.removeprefix(OWN), policies):
        results = [Result(flagged=True, scores={**one.scores, "opaque": 1.0}) for one in results]
    return answer(results, model=request.model, request_id=receipt.id)


def _of(name: str, policies: PolicySet, receipt: Receipt) -> tuple[list[Watch], Mapping[str, Check]]:
    policy = next((p for p in policies.policies if p.name == name), None)
    if policy is None:
        names = [p.name for p in policies.policies]
        message = f"There is no policy '{name[:100]}' here{did_you_mean(name, names)}"
        raise BadRequest(message, status=404, code="model_not_found", param="model")
    receipt.policies = (policy.version,)
    return watches_of(policy)


def _refuses_unread(name: str, policies: PolicySet) -> bool:
    return any(p.name == name and p.head.opaque == "block" for p in policies.policies)


async def _judge(
    texts: list[str], watches: list[Watch], checks: Mapping[str, Check], counsel: Counsel, receipt: Receipt
) -> Result:
    """All checks at once."""
    findings: list[Finding] = []

    async def look(watch: Watch) -> None:
        place = FIRST[watch.side] if FIRST[watch.side] in watch.places else min(watch.places)
        examine = Examine(watch, tuple(Passage(f"input[{i}]", place, text) for i, text in enumerate(texts)))
        kept = receipt.look(examine)
        finding = await look_once(checks[watch.name], examine, counsel, kept.spends())
        receipt.found(kept, finding)
        findings.append(finding)

    async with asyncio.TaskGroup() as group:
        for watch in watches:
            group.create_task(look(watch))
    scores: dict[str, float] = {}
    for finding in findings:
        for name, score in _scores(finding).items():
            scores[name] = max(score, scores.get(name, 0.0))
    return Result(any(f.action is not Action.PASS for f in findings), scores)


def _scores(finding: Finding) -> dict[str, float]:
    """The check's own name, and what it hit; 1.0 is a hit."""
    name = finding.watch.name.partition(".")[2]
    hit = finding.action is not Action.PASS
    judged = finding.judgement
    scores = {name: 1.0 if hit else (judged.score or 0.0) * 0.999 if judged else 0.0}
    if judged is not None and finding.outcome is Outcome.HIT:
        scores |= dict.fromkeys(judged.categories, 1.0)
    return scores
