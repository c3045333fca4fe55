"""The kinds of checks. To add one, add a file here with one class; or use the entry point `outrider.checks`."""

from __future__ import annotations

import sys

from gateway.checks.base import Check
from gateway.kinds import Kinds

KINDS: Kinds[Check] = Kinds(sys.modules[__name__], Check, "outrider.checks")
