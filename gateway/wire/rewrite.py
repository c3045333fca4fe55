"""Writes changed texts back to where they stand: in a frame of an answer, in the document of a request."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gateway.core.terms import Document, Spot
from gateway.wire.walk import HOLDERS, Leaf, leaves

LOGPROBS = "logprobs"


def copied(document: Any) -> Any:
    """The document in objects and lists of its own."""
    if isinstance(document, dict):
        return {key: copied(value) if isinstance(value, (dict, list)) else value for key, value in document.items()}
    return [copied(value) for value in document] if isinstance(document, list) else document


def write(frame: Any, changes: Iterable[tuple[Spot, str]]) -> None:
    """Change the strings of a frame; the log probabilities of a choice that changed are dropped: they spell it again."""
    choices: set[str | None] = set()
    for spot, text in changes:
        if LOGPROBS not in spot.steps:
            _put(spot.holder, spot.key, text)
        choices.add(spot.steps[1] if spot.steps[0] == "choices" and len(spot.steps) > 1 else None)
    if None in choices:  # not told apart by choices
        _drop_logprobs(frame)
        return
    for choice in frame["choices"]:
        if f"[{choice.get('index')}]" in choices:
            _drop_logprobs(choice)


def _put(holder: Any, key: Any, text: str) -> None:
    if isinstance(holder, (dict, list)):
        holder[key] = text
    else:
        setattr(holder, key, text.encode())


def _drop_logprobs(node: Any) -> None:
    stack = [node]
    while stack:
        node = stack.pop()
        if isinstance(node, dict):
            held = node.get(LOGPROBS)
            if isinstance(held, (dict, list)):
                node[LOGPROBS] = [] if isinstance(held, list) else None
            stack += [value for value in node.values() if isinstance(value, HOLDERS)]
        elif isinstance(node, list):
            stack += [value for value in node if isinstance(value, HOLDERS)]


def rewritten(document: Document, texts: Mapping[tuple[str, str], str]) -> Document:
    """A copy of a request's document in which these texts, by path and text, say something else."""
    made: Document = copied(document)
    changes: list[tuple[Leaf, str]] = []
    for leaf in leaves(made):
        text = texts.get((leaf.path, leaf.text))
        if text is not None and leaf.holder is not None:
            changes.append((leaf, text))
    for leaf, text in changes:
        leaf.holder[leaf.key] = text
    return made
