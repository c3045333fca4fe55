"""The kinds of checks. To add one, add a file here with one class; or use the entry point `outrider.checks`."""

from __future__ import annotations

import sys

from gateway.checks.base import Check
from gateway.kinds import gather

KINDS: dict[str, type[Check]] = gather(sys.modules[__name__], Check, "outrider.checks")
