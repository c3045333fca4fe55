"""The shape that nearly every plain chat answer has: which strings it holds is known without a walk.

It is a shape and not a guess: one key more, one list, one number where a string is due, and it is not this shape.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from gateway.core.terms import Document, Spot
from gateway.wire.fields import KEYS
from gateway.wire.walk import SCALARS, Steps, hidden, hides, render, says

Placed = tuple[str, Steps, str, Document, str]  # a string: its channel, its steps, what it says, who holds it, as what


def _places(base: Steps, names: str) -> dict[str, tuple[str, Steps]]:
    return {name: (render((*base, name)), (*base, name)) for name in names.split()}


TOP = _places((), "id object created model choices usage system_fingerprint service_tier")
CHOICE = _places(("choices", "[0]"), "index message logprobs finish_reason")
MESSAGE = _places(("choices", "[0]", "message"), "role content refusal")
PLAIN = SCALARS | {str}


def strings(frame: Document) -> list[Placed] | None:
    """Every string of an answer of this shape that says anything, in document order; None: it has another shape.

    Of this shape is no answer where anything but a text of the message holds a text in another coat.
    """
    if not frame.keys() <= TOP.keys():
        return None
    found: list[Placed] = []
    for name, value in frame.items():
        if type(value) is str:
            if says(name, value):
                found.append(_placed(TOP, name, value, frame))
        elif name == "choices":
            if not _add_choice(found, value):
                return None
        elif type(value) not in SCALARS and (name != "usage" or not is_numbers(value)):
            return None
    for _, _, text, _, key in found:
        if key not in MESSAGE and _is_wrapped(text):
            return None
    return found


def _add_choice(found: list[Placed], choices: Any) -> bool:
    """Those of the only choice. False: it has another shape."""
    if len(choices) != 1 or choices[0]["index"] != 0:
        return False
    choice = choices[0]
    message = choice["message"]
    if not (choice.keys() <= CHOICE.keys() and message.keys() <= MESSAGE.keys()):
        return False
    if not PLAIN.issuperset(map(type, message.values())):
        return False
    for name, value in choice.items():
        if name == "message":
            texts = [(key, text) for key, text in message.items() if type(text) is str]
            found += [_placed(MESSAGE, key, text, message) for key, text in texts if says(key, text)]
        elif name == "finish_reason" and type(value) is str:
            if says(name, value):
                found.append(_placed(CHOICE, name, value, choice))
        elif type(value) not in SCALARS:
            return False
    return True


def _placed(places: dict[str, tuple[str, Steps]], name: str, value: str, holder: Document) -> Placed:
    channel, steps = places[name]
    return channel, steps, value, holder, name


def is_numbers(usage: Any) -> bool:
    """Whether it holds numbers only, under names that the protocol knows; they may be in objects of their own."""
    if type(usage) is not dict or not usage.keys() <= KEYS:
        return False
    for value in usage.values():
        if type(value) in SCALARS:
            continue
        if type(value) is not dict or not value.keys() <= KEYS or not SCALARS.issuperset(map(type, value.values())):
            return False
    return True


def _is_wrapped(text: str) -> bool:
    """Whether a text stands in it in another coat."""
    return hides(text) and next(hidden(text), None) is not None


class Spots:
    """Where the strings of such an answer stand, made for who needs them: hardly anything is cut out of most answers."""

    def __init__(self, said: Sequence[Placed]) -> None:
        self._said = said

    def __iter__(self) -> Iterator[Spot]:
        for channel, steps, text, holder, key in self._said:
            start = 0 if key in MESSAGE else 1  # behind the line's end that stands before what is said once
            yield Spot(channel, start, text, steps, holder, key)
