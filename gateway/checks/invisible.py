"""Characters that nobody sees and a model reads: zero-width ones, tags, changes of direction, control characters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from gateway.checks.finding import Finding
from gateway.checks.following import DECOY

Kind = Literal["tags", "direction", "zero_width", "control"]
CHARACTERS: dict[str, str] = {
    "tags": "[\U000e0000-\U000e007f\U000e0100-\U000e01ef]+",
    "direction": "[\u202a-\u202e\u2066-\u2069\u061c]+",
    "zero_width": "[\u200b\u2060-\u2064\ufeff\u180e\u00ad\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0]+",
    "control": "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f]+",
}
JOINED = "[0-9A-Za-z]([\u200c\u200d\u200e\u200f]+)[0-9A-Za-z]"  # needed between letters of other scripts and in emoji
FLAG = "\U0001f3f4[\U000e0061-\U000e007a\U000e0030-\U000e0039]{2,6}\U000e007f"  # of a country's part


class Invisible(Finding):
    """A hit where such a character stands; `do: redact` takes them out and leaves nothing in their place."""

    use: Literal["invisible"] = "invisible"
    kinds: list[Kind] = Field(["tags", "direction", "zero_width", "control"], min_length=1, description="which count")

    def patterns(self) -> Sequence[tuple[str, str]]:
        found = [("invisible", CHARACTERS[kind]) for kind in self.kinds]
        joined = [("invisible", JOINED)] if "zero_width" in self.kinds else []
        return [*found, *joined, (DECOY, FLAG)]
