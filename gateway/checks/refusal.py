"""Answers that decline: useful as a flag, and where an answer must be one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from gateway.checks.finding import Finding
from gateway.core.terms import OUTPUT_PLACES

PATTERNS = (
    r"(?i:\bI(?:['’]m| am)(?: (?:really|very|so))? (?:sorry|afraid)(?:,| but| that)? (?:but )?I (?:can(?:['’]?t|not)|am not able|won['’]?t|must decline))",  # noqa: RUF001
    r"(?i:\bI (?:can(?:['’]?t|not)|won['’]?t|will not|am unable to|['’]?m (?:unable|not able) to|am not able to) (?:help|assist|comply|provide|support|engage|fulfil?l|answer|discuss|create|generate|share)\b)",  # noqa: RUF001
    r"(?i:\bI (?:must|have to) (?:respectfully )?decline\b)",
    r"(?i:\bas an AI(?: language model| assistant)?,? I (?:can(?:['’]?t|not)|do not|don['’]?t|am not|must))",  # noqa: RUF001
    r"(?i:\b(?:against|violates?) (?:my|our|the) (?:guidelines|policies|policy|programming|terms))",
    r"(?i:\bcan(?:['’]?t|not) (?:help|assist) (?:you )?with (?:that|this)\b)",  # noqa: RUF001
)


class Refusal(Finding):
    """A hit where an answer says that it will not answer."""

    can_read = OUTPUT_PLACES

    use: Literal["refusal"] = "refusal"

    def patterns(self) -> Sequence[tuple[str, str]]:
        return [("refusal", pattern) for pattern in PATTERNS]
