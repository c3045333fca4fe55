"""Outrider as the guardrail of another gateway: its policies judge texts that it does not carry itself."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from gateway.checks.base import Check
from gateway.core.masking import Masks
from gateway.core.rewriting import QuestionCuts
from gateway.core.terms import UNREAD_PLACES, Action, Document, Examine, Finding, Outcome, Passage, Request, Span, Watch
from gateway.core.verdict import stops
from gateway.policy.model import Policy, PolicySet
from gateway.policy.plan import Plan, plan, plan_for
from gateway.server.consult import Counsel, look_once
from gateway.server.record import Receipt
from gateway.wire.errors import BadRequest
from gateway.wire.guardrails import SAID, Detection, Screening, shown, webhook_answer
from gateway.yamlfile import did_you_mean


async def screen(
    asked: Screening, policies: PolicySet, counsel: Counsel, mask_key: bytes, receipt: Receipt
) -> Document:
    """The verdict of the policies on one side of an exchange, in LiteLLM's shape. Raises BadRequest."""
    request = Request("chat", "", False, {}, asked.passages)
    planned = (
        plan(policies, models=("",), endpoint="chat").bound(request)
        if asked.policy is None
        else plan_for(_named(asked.policy, policies), request)
    )
    receipt.policies = planned.policies
    findings = await _look(asked, planned, counsel, receipt)
    texts, stuck = _cut(asked, findings, Masks(mask_key, asked.scope))
    blocked = [finding for finding in findings if stops(finding) or finding in stuck]
    changed = texts != asked.texts
    receipt.decision = "blocked" if blocked else "masked" if changed else "released"
    names = dict.fromkeys(finding.watch.name for finding in blocked)
    return webhook_answer(texts, blocked_by=tuple(names), changed=changed)


async def detect(
    detector: str, texts: Sequence[str], policies: PolicySet, counsel: Counsel, receipt: Receipt
) -> list[list[Detection]]:
    """What a policy, or the check `policy.check`, finds in each text. Raises BadRequest; LookupError where a check failed."""
    policy, _, name = detector.partition(".")
    planned = plan_for(_named(policy, policies), Request("chat", "", False, {}, ()))
    readers = [watch for watch in planned.watches if _reads_texts(watch)]
    watches = {watch.name: watch for watch in readers if name in {"", watch.name.partition(".")[2]}}
    if not watches:
        names = [watch.name for watch in readers]
        raise BadRequest(f"There is no detector '{detector[:100]}' here{did_you_mean(detector, names)}", status=404)
    receipt.policies = planned.policies
    found: list[list[Detection]] = [[] for _ in texts]

    async def one(number: int, watch: Watch) -> None:
        check = planned.checks[watch.name]
        place = SAID[watch.side] if SAID[watch.side] in watch.places else min(watch.places)
        located = replace(watch, action=Action.REDACT, shadow=False) if check.local and check.can_rewrite else watch
        examine = Examine(located, tuple(shown(texts[number], "text", place)))
        kept = receipt.look(examine)
        finding = await look_once(check, examine, counsel, kept.spends())
        receipt.found(kept, finding)
        if finding.outcome is Outcome.FAILED:
            raise LookupError(watch.name)
        found[number] += _detections(finding, texts[number])

    try:
        async with asyncio.TaskGroup() as group:
            for number in range(len(texts)):
                for watch in watches.values():
                    group.create_task(one(number, watch))
    except* LookupError as failures:
        raise LookupError(str(failures.exceptions[0])) from None
    return found


def _detections(finding: Finding, text: str) -> list[Detection]:
    """By their places where the check tells them, else the whole text."""
    judged = finding.judgement
    if judged is None or not judged.hit:
        return []
    check, score = finding.watch.name, judged.score if judged.score is not None else 1.0
    placed = [Detection(s.start, s.end, s.category, check, 1.0) for s in judged.spans if s.path == "text"]
    if placed and len(placed) == len(judged.spans):
        return placed
    return [Detection(0, len(text), name, check, score) for name in judged.categories or ("hit",)]


def _named(name: str, policies: PolicySet) -> Policy:
    policy = next((p for p in policies.policies if p.name == name), None)
    if policy is None:
        names = [p.name for p in policies.policies]
        message = f"There is no policy '{name[:100]}' here{did_you_mean(name, names)}"
        raise BadRequest(message, status=404, code="policy_not_found")
    return policy


async def _look(asked: Screening, planned: Plan, counsel: Counsel, receipt: Receipt) -> list[Finding]:
    """Every check of that side at once; the texts stand for what it reads, whatever speaker it is for."""
    findings: list[Finding] = []

    async def one(watch: Watch, check: Check) -> None:
        place = SAID[watch.side]
        stands = place if place in watch.places else min(watch.places)
        seen = tuple(
            replace(p, place=stands) if p.place is place else p
            for p in asked.passages
            if (p.place is place and _reads_texts(watch)) or p.place in watch.places
        )
        if not seen and not watch.always_asked:
            return
        examine = Examine(watch, seen)
        kept = receipt.look(examine)
        finding = await look_once(check, examine, counsel, kept.spends())
        receipt.found(kept, finding)
        findings.append(finding)

    async with asyncio.TaskGroup() as group:
        for watch in planned.watches:
            if watch.side is asked.side:
                group.create_task(one(watch, planned.checks[watch.name]))
    return findings


def _reads_texts(watch: Watch) -> bool:
    return not watch.places <= UNREAD_PLACES


def _cut(asked: Screening, findings: Sequence[Finding], masks: Masks) -> tuple[tuple[str, ...], list[Finding]]:
    """The texts without what was found to be cut, and the findings that could not be cut out."""
    cuts, stuck, placed = QuestionCuts(masks), [], {f"texts[{i}]": i for i in range(len(asked.texts))}
    whole: dict[str, Passage] = {p.path: p for p in asked.passages}
    for finding in findings:
        if finding.outcome is not Outcome.HIT or not finding.watch.rewrites or finding.judgement is None:
            continue
        spans = finding.judgement.spans
        if not spans or any(path not in placed for span in spans for path in _stands_in(span, whole[span.path])):
            stuck.append(finding)
        else:
            cuts.add(finding.watch, finding.judgement)
    texts = list(asked.texts)
    for (path, _), text in (cuts.texts(asked.passages) if cuts else {}).items():
        texts[placed[path]] = text
    return tuple(texts), stuck


def _stands_in(span: Span, passage: Passage) -> list[str]:
    """The paths of the texts that a hit is really in."""
    behind = passage.origin.spans(span.start, span.end) if passage.origin else [(passage.path, 0, 0)]
    return [path for path, _, _ in behind]
