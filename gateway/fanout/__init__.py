"""The strategies of fan-out. To add one, add a file here with one class."""

from __future__ import annotations

import sys

from gateway.fanout.base import Strategy
from gateway.kinds import Kinds

STRATEGIES: Kinds[Strategy] = Kinds(sys.modules[__name__], Strategy, "outrider.fanout", by="strategy")
