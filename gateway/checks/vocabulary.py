"""Words that a text would say if it were read in another way: they tell whether it is to be read so.

Whether a text is backwards or rotated is one pass of RE2, however many words there are.
"""

from __future__ import annotations

import codecs
import unicodedata
from collections.abc import Iterable
from itertools import chain
from typing import Any

import re2

from gateway.checks.hurry import takes

TOLD = 2  # different words backwards or rotated, from which a text is read so
ANYWHERE = 6  # letters of a word that may stand inside others; shorter ones stand by themselves
FEWEST = 4  # letters of those
STEM = 3  # letters of the shortest
TYPED = 4  # letters of a word that may be mistyped
LONGEST = 16  # letters of a word in a row of them
CHEAP = 12  # letters that are parted in a moment
CROWD = 5  # words found that take a moment
MEMORY = 32 << 20  # bytes of one pass at most, and what so many words need to be one at all
IDEOGRAMS = "\u2e80"  # from here on there are no spaces, and two characters are as much as a long word
_COMMON = (
    "the and you your all this that ignore prompt system instructions rules what with have been told from how tell "
    "answer everything without any"
)  # no word that is one backwards or rotated, in a language that is written often
_BETWEEN = (
    "as at by do in is it me my no of on or so to up us we am are be but can did for get has her him his its let may "
    "new not now one our out own say was who why will into they them then when where which there their these those "
    "here just only over must also very were would should could about given mentioned received make made like sure "
    "want need please far aside away kindly allow allowed order orders safe written first last next name both step "
    "nothing something anything someone before after again always never list line word words write read says share "
    "explain explains expert build break used using use good bad great long little day days time times way ways thing "
    "things people man woman world life hand part place case work works week year years home house water money food "
    "game story poem song book page code block letter number numbers point points question questions sentence "
    "paragraph topic example reason result between under because while until since during without within through "
    "every each some many more most other another such same even still well back down off than too two three four "
    "five six seven eight nine ten half full real true false right left high low best better know think see look find "
    "take come go give put keep start stop begin end help try ask call turn move play run open close create change "
    "add send pay buy sell speak talk learn teach hear feel become stay live love hate fear hope "
    "follow exactly message mother fake"
)  # what stands between the words of a lexicon
_BOTH = "live court elif reviled devil ward drawer star stop parts pots keep deliver"  # words backwards as well
_RIGHT = (
    "form meat dose sing brad rouge compiles coed pots pats pest lots clam salve untied quiet tired ordering ordered "
    "summaries denied denies denis regal mots bene tono entier systeme systemes"
)  # that are no other word mistyped
_ENDINGS = ",e,es,ed,en,s,ing,ion,ions,ive,ives,ies"  # of a stem


class Vocabulary:
    """Words that matter to whoever reads the texts."""

    def __init__(self, entries: Iterable[str]) -> None:
        """`entries`: words and phrases as a lexicon has them; `*` at the end of one is any ending."""
        common, forms = _COMMON.split(), frozenset(chain.from_iterable(map(_forms, entries)))
        self._stems = tuple(form[:-1] for form in forms if form.endswith("*") and len(form) > STEM)
        self._words = frozenset([*common, *(form for form in forms if not form.endswith("*"))])
        words, stems = {*common, *filter(_tells, self._words)}, set(filter(_tells, self._stems))
        known = words | stems | {*_BOTH.split()}
        self._backwards = _compiled(
            [_bounded(word) for word in {word[::-1] for word in words} - known]
            + [_bounded(ending, before="") for ending in {stem[::-1] for stem in stems} - known]
        )
        self._rotated = _compiled(
            [_bounded(word) for word in set(map(rotated, words)) - known]
            + [_bounded(beginning, after="") for beginning in set(map(rotated, stems)) - known]
        )
        endings = (stem + ending for stem in self._stems for ending in _ENDINGS.split(","))
        self._in_rows = frozenset([*words, *_BETWEEN.split(), *endings])
        self._right = frozenset(_RIGHT.split())

    def knows(self, word: str) -> bool:
        plain = word.casefold()
        return plain in self._words or plain.startswith(self._stems)

    def mended(self, word: str) -> str:
        """A word in which two letters behind the first have changed places, as it is known; any other as it is."""
        if not TYPED <= len(word) <= LONGEST or word in self._in_rows:
            return word
        for at in range(2, len(word)):
            swapped = word[: at - 1] + word[at] + word[at - 1] + word[at + 1 :]
            if swapped in self._in_rows:
                return word if word in self._right or self.knows(word) else swapped
        return word

    def is_backwards(self, text: str) -> bool:
        """Whether several of the words stand in it backwards."""
        return _several(self._backwards, text)

    def is_rotated(self, text: str) -> bool:
        """Whether several of the words stand in it as ROT13 makes them."""
        return _several(self._rotated, text)

    def parted(self, letters: str) -> str:
        """A row of letters with spaces between the words that are in it, and as much as can be in long ones."""
        plain, count = letters.lower(), len(letters)
        best, ends = [0] * (count + 1), [0] * count
        for at in reversed(range(count)):
            takes(int(at % CHEAP == CHEAP - 1))
            best[at] = best[at + 1]
            for end in range(at + 2, min(at + LONGEST, count) + 1):
                worth = best[end] + (end - at) ** 2
                if worth > best[at] and plain[at:end] in self._in_rows:
                    best[at], ends[at] = worth, end
        found, at = "", 0
        while at < count:
            end = ends[at] or at + 1
            found += f" {letters[at:end]} " if ends[at] else letters[at]
            at = end
        return " ".join(found.split())


def rotated(text: str) -> str:
    return codecs.encode(text, "rot13")


def _forms(entry: str) -> Iterable[str]:
    """An entry without case, and without accents as well."""
    plain = entry.casefold()
    bare = "".join(c for c in unicodedata.normalize("NFD", plain) if not unicodedata.combining(c))
    return plain, unicodedata.normalize("NFC", bare)


def _tells(word: str) -> bool:
    return len(word) >= FEWEST or (len(word) > 1 and word[0] >= IDEOGRAMS)


def _bounded(part: str, before: str = r"\b", after: str = r"\b") -> str:
    """A pattern of a word or a part of one, inside others only if that can be no chance."""
    plain: str = re2.escape(part)
    return plain if len(part) >= ANYWHERE or not part.isascii() else before + plain + after


def _compiled(patterns: Iterable[str]) -> Any:
    options = re2.Options()
    options.case_sensitive = False
    options.longest_match = True
    options.log_errors = False
    options.max_mem = MEMORY
    return re2.compile("|".join(sorted(patterns)), options)


def _several(pattern: Any, text: str) -> bool:
    found = set[bytes]()
    for count, match in enumerate(pattern.finditer(text.encode("utf-8", "replace"))):
        takes(int(count % CROWD == CROWD - 1))
        found.add(match[0].lower())
        if len(found) >= TOLD:
            return True
    return False
