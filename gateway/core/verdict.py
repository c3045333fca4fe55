"""The lattice: how findings become one verdict, whatever their order.

Rule 1: the strongest action wins: block > redact > mask > flag > pass. Merging is associative, commutative
        and idempotent, so the order of findings cannot matter.
Rule 2: a failed check counts as a hit unless its policy says `on_error: allow`.
Rule 3: a shadow check asks for nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from gateway.core.terms import Action, Finding, Outcome


def strongest(findings: Iterable[Finding]) -> Action:
    """The action that all findings together ask for."""
    found = [finding.action for finding in findings if finding.outcome is not Outcome.CLEAR]
    return max(found, default=Action.PASS)


def as_enforced(finding: Finding) -> Action:
    """What a finding would ask for if its check did not only look on."""
    return replace(finding, watch=replace(finding.watch, shadow=False)).action


def stops(finding: Finding) -> bool:
    """Whether this one finding ends the answer, so that nothing else needs to be waited for."""
    return finding.action is Action.BLOCK
