"""Contracts by which other gateways ask for verdicts: LiteLLM's generic guardrail, and a detector of the FMS orchestrator."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.core.terms import Document, Passage, Place, Side
from gateway.wire.coats import Coat
from gateway.wire.endpoint import invalid
from gateway.wire.walk import hidden, leaves

WEBHOOK = "/beta/litellm_basic_guardrail_api"
CONTENTS = "/api/v1/text/contents"
MOST = 512  # texts of one request
SIDES = {"request": Side.INPUT, "response": Side.OUTPUT}
SAID = {Side.INPUT: Place.USER, Side.OUTPUT: Place.CONTENT}


@dataclass(frozen=True, slots=True)
class Screening:
    """Texts of one side of an exchange, to be judged by a policy."""

    side: Side
    texts: tuple[str, ...]
    passages: tuple[Passage, ...]
    policy: str | None = None  # None: all that are enforced
    scope: str = ""  # the same for all calls of one conversation


@dataclass(frozen=True, slots=True)
class Detection:
    """A hit in one text, in characters."""

    start: int
    end: int
    name: str  # of what was hit
    check: str
    score: float


def webhook(document: Document) -> Screening:
    """A request of LiteLLM's contract. Raises BadRequest."""
    side = SIDES.get(document.get("input_type", ""))
    if side is None:
        raise invalid("input_type", "must be 'request' or 'response'")
    texts = _texts(document, "texts")
    passages = list(_passages(texts, "texts", SAID[side]))
    tools, calls, images = (document.get(name) or [] for name in ("tools", "tool_calls", "images"))
    passages += [Passage(f"tools.{leaf.path}", Place.TOOL_DEFINITION, leaf.text) for leaf in leaves({"_": tools})]
    spoken = Place.TOOL_CALL if side is Side.OUTPUT else Place.ASSISTANT
    passages += [Passage(f"tool_calls.{leaf.path}", spoken, leaf.text) for leaf in leaves({"_": calls})]
    unread = Place.UNREAD_OUTPUT if side is Side.OUTPUT else Place.UNREAD_INPUT
    passages += [Passage(f"images[{i}]", unread, "image") for i, _ in enumerate(images)]
    told = document.get("additional_provider_specific_params")
    policy = told.get("policy") if isinstance(told, dict) else None
    if policy is not None and not isinstance(policy, str):
        raise invalid("additional_provider_specific_params.policy", "must be the name of a policy")
    scope = next(
        (one for name in ("litellm_trace_id", "litellm_call_id") if isinstance(one := document.get(name), str)), ""
    )
    return Screening(side, texts, tuple(p for p in passages if p.text), policy, scope)


def webhook_answer(texts: Sequence[str], *, blocked_by: Sequence[str], changed: bool) -> Document:
    if blocked_by:
        return {"action": "BLOCKED", "blocked_reason": f"Blocked by {', '.join(blocked_by)}."}
    return {"action": "GUARDRAIL_INTERVENED", "texts": list(texts)} if changed else {"action": "NONE"}


def contents(document: Document) -> tuple[str, ...]:
    """The texts of a request to a detector. Raises BadRequest."""
    return _texts(document, "contents")


def contents_answer(texts: Sequence[str], found: Iterable[Sequence[Detection]]) -> list[list[Document]]:
    return [[_detected(text, one) for one in some] for text, some in zip(texts, found, strict=True)]


def _detected(text: str, found: Detection) -> Document:
    return {
        "start": found.start,
        "end": found.end,
        "text": text[found.start : found.end],
        "detection": found.name,
        "detection_type": found.check,
        "score": found.score,
        "evidence": [],
        "metadata": {},
    }


def shown(text: str, path: str, place: Place) -> Iterator[Passage]:
    """A text as it stands, and decoded where something is wrapped in it."""
    yield Passage(path, place, text)
    for step, inner in hidden(text):
        yield Passage(path + step, place, inner, Coat(path, text, step))


def _passages(texts: Sequence[str], name: str, place: Place) -> Iterator[Passage]:
    for number, text in enumerate(texts):
        yield from shown(text, f"{name}[{number}]", place)


def _texts(document: Mapping[str, Any], name: str) -> tuple[str, ...]:
    texts = document.get(name)
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise invalid(name, "must be a list of strings")
    if len(texts) > MOST:
        raise invalid(name, f"may hold at most {MOST} texts")
    return tuple(texts)
