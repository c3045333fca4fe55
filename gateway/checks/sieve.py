"""One pass over many texts at once, which says of most that none of some patterns stands in any of them."""

from __future__ import annotations

import re
import re._constants as sre
import re._parser as parser
from collections.abc import Iterable, Sequence
from typing import Any

from gateway.checks.following import RE2_ONLY
from gateway.core.terms import Passage

_MAY_ASK = re.compile(r"\^|\$|\\[^bBdsw.+*?/(){}\[\]|-]|\[:")  # a pattern without any need not be parsed
BETWEEN = "\n"  # stands between the texts: what matches in one of them matches in all of them together


class Sieve:
    """A compiled RE2 set, asked of all texts together where its patterns allow that.

    Joined, a text keeps its matches: a match reads nothing outside itself but whether a word begins or ends, and a
    line's end is to that what a text's end is. Across two texts there may be more matches, so only "no" is an answer.
    """

    def __init__(self, together: Any, patterns: Iterable[str]) -> None:
        """`together` says "no" of a text by returning nothing; `patterns` are those in it."""
        self._together = together
        self._joins = not any(map(looks_at_ends, patterns))

    def lets_pass(self, passages: Sequence[Passage]) -> bool:
        """Whether all are plain ASCII and no pattern matches in any of them."""
        texts = [passage.text for passage in passages]
        if self._joins and len(texts) > 1:
            texts = [BETWEEN.join(texts)]
        return all(text.isascii() and not self._together.Match(text.encode()) for text in texts)


def looks_at_ends(pattern: str) -> bool:
    """Whether a pattern may ask where its text begins or ends. What only RE2 can read may."""
    if not _MAY_ASK.search(pattern):
        return False
    if RE2_ONLY.search(pattern):
        return True
    try:
        return _asks(parser.parse(pattern))
    except (re.error, RecursionError, OverflowError):
        return True


def _asks(node: Any) -> bool:
    """Assertions in a parsed pattern, other than that a word begins or ends."""
    if isinstance(node, tuple) and node and node[0] is sre.AT:
        return node[1] not in {sre.AT_BOUNDARY, sre.AT_NON_BOUNDARY}
    return isinstance(node, (tuple, list, parser.SubPattern)) and any(map(_asks, node))
