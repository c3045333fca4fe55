"""What the kinds share that look for patterns and then look closer at what matched: a checksum, entropy, a list."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar

import re2
from pydantic import PrivateAttr

from gateway.checks.base import Check
from gateway.checks.following import DECOY, LooksScanner, Patterns
from gateway.checks.hurry import takes
from gateway.checks.sieve import Sieve
from gateway.checks.texts import MAY_BE_DISGUISED, looks
from gateway.core.terms import Judgement, Passage


class Finding(Check):
    """A kind whose hits are matches that it accepts; it can follow a text and cut its hits out."""

    can_rewrite: ClassVar[bool] = True
    # Characters of which its patterns, made looser, say in half a millisecond that none matches.
    sifted: ClassVar[int] = 300
    # Bytes for all patterns; when RE2 has learned so much it forgets it, which takes a millisecond or two.
    memory: ClassVar[int] = 8 << 20

    _patterns: Any = PrivateAttr(default=None)

    def patterns(self) -> Sequence[tuple[str, str]]:
        """(category, RE2 pattern) pairs; of a pattern with a group, the group is the hit."""
        raise NotImplementedError

    def accepts(self, category: str, text: str) -> bool:
        """Whether what matched is a hit. A pure function of the two."""
        return True

    def model_post_init(self, context: Any) -> None:
        options = re2.Options()
        options.log_errors = False
        options.max_mem = self.memory
        found = tuple(self.patterns())
        self._patterns = Patterns(found, options, self.accepts)
        hits = [pattern for name, pattern in found if name != DECOY]
        self._sieve = Sieve(self._patterns.together, hits, at_once=self.sifted, unless=MAY_BE_DISGUISED)

    @cached_property
    def sieve(self) -> Sieve | None:
        return self._sieve_of(Finding)

    @property
    def follows(self) -> bool:
        followable: bool = self._patterns.followable
        return followable

    def scanner(self, *, settled: bool = False) -> LooksScanner:
        return LooksScanner(self._patterns, settled=settled)

    def judge(self, passages: Sequence[Passage]) -> Judgement:
        return self.find(passages)

    def _may_hit(self, text: str) -> bool:
        """One pass over a text tells of most that there is nothing in it."""
        takes(0)
        for one in looks(text):
            if self._patterns.together.Match(one.encode("utf-8", "replace")):
                return True
            takes(0)
        return False
