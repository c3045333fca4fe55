"""Which tool results of a request answer a call that it shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from gateway.core.terms import Document

UNSEEN = ("previous_response_id", "conversation")  # calls may stand where they cannot be read
Key = tuple[str, str]  # an id or a name, and its value


def orphans(document: Document) -> Iterator[str]:
    """Paths of results that answer no call before them, or one that has been answered."""
    if any(document.get(name) for name in UNSEEN):
        return
    waiting: set[Key] = set()
    for path, step in _steps(document):
        if step.get("type") == "item_reference":
            return
        answers = _answers(step)
        if answers is None:
            waiting.update(_calls(step))
        elif answers in waiting:
            waiting.remove(answers)
        else:
            yield path


def _steps(document: Document) -> Iterator[tuple[str, dict[str, Any]]]:
    for name in ("messages", "input"):
        for number, step in enumerate(_listed(document.get(name))):
            if isinstance(step, dict):
                yield f"{name}[{number}]", step


def _answers(step: dict[str, Any]) -> Key | None:
    """The call that a result names; None: the step is no result."""
    if step.get("role") == "tool":
        return "id", str(step.get("tool_call_id"))
    if step.get("role") == "function":
        return "name", str(step.get("name"))
    if str(step.get("type")).endswith("_call_output"):
        return "id", str(step.get("call_id"))
    return None


def _calls(step: dict[str, Any]) -> Iterator[Key]:
    for call in _listed(step.get("tool_calls")):
        if isinstance(call, dict):
            yield "id", str(call.get("id"))
    function = step.get("function_call")
    if isinstance(function, dict):
        yield "name", str(function.get("name"))
    if str(step.get("type")).endswith("_call"):
        yield "id", str(step.get("call_id"))


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else ()
